//! Records of every partition of a topic, in the order of their times where they are there already, as they come afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::app::view::{Reader, View};
use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::{Batch, LogError};

const BATCH: usize = 100;
const POLL: Duration = Duration::from_secs(1);
/// Records up to the end that do not come in this time are markers, or of a transaction that is still open.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between tries while the log is away.
const AGAIN: Duration = Duration::from_secs(1);
/// Offsets that the first look back passes.
const LOOK_BACK: i64 = 200;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// So many of the last records that are wanted.
    Last(usize),
    Beginning,
    Since(Timestamp),
    End,
}

/// Who is shown records. `wants` may be asked for more of them than are shown.
pub(super) trait Watcher {
    fn wants(&self, received: &Received) -> bool;
    /// Is shown a record that is wanted; false: enough.
    fn show(&mut self, received: &Received) -> bool;
    /// Nothing more is there for now; false: enough.
    fn pause(&mut self) -> bool;
    /// The log is away, and is tried again.
    fn away(&mut self, error: &LogError);
    /// The log was started over, and the new one is shown from its beginning.
    fn replaced(&mut self);
}

/// Why a tail ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Enough,
    /// The log was started over: what comes is in another.
    Replaced,
}

/// One partition on its way.
struct Source {
    partition: Partition,
    reader: Reader,
    /// Where the catching up ends.
    end: Offset,
    position: Offset,
    waiting: VecDeque<Received>,
}

impl Source {
    async fn next(&mut self, wait: Duration) -> Result<Batch, LogError> {
        let batch = self.reader.next(BATCH, wait).await?;
        self.position = batch.position;
        Ok(batch)
    }
}

/// The topic as it is read.
pub(super) struct Tail<'a> {
    pub view: &'a View,
    pub topic: Topic,
}

impl Tail<'_> {
    /// Shows what is there from `begin` on, and, where `follow` says so, what comes.
    pub(super) async fn run(&self, begin: Begin, follow: bool, watcher: &mut impl Watcher) -> Result<Ended, LogError> {
        let count = self.view.partitions(self.topic).await?;
        let mut ends = Vec::new();
        for partition in (0..count).map(Partition) {
            ends.push((partition, self.view.end(self.topic, partition).await?));
        }
        if let Begin::Last(count) = begin {
            let last = self.last(count, &ends, watcher).await?;
            if !last.values().all(|received| watcher.show(received)) {
                return Ok(Ended::Enough);
            }
        }
        let mut sources = Vec::new();
        for (partition, end) in ends {
            sources.push(self.source((partition, end), begin).await?);
        }
        let catches_up = matches!(begin, Begin::Beginning | Begin::Since(_));
        let more = (!catches_up || self.catch_up(&mut sources, watcher).await?) && watcher.pause();
        if more && follow { self.follow(sources, watcher).await } else { Ok(Ended::Enough) }
    }

    async fn source(&self, (partition, end): (Partition, Offset), begin: Begin) -> Result<Source, LogError> {
        let mut reader = match begin {
            Begin::Beginning => self.view.since(self.topic, partition, Timestamp(0)).await?,
            Begin::Since(time) => self.view.since(self.topic, partition, time).await?,
            Begin::Last(_) | Begin::End => self.view.at(self.topic, partition, end).await?,
        };
        // Asked for nothing, it says where it is.
        let position = reader.next(0, Duration::ZERO).await?.position;
        Ok(Source { partition, reader, end, position, waiting: VecDeque::new() })
    }

    /// The last records that are wanted: so many of all partitions together are kept, however far one has to look for them.
    async fn last(
        &self,
        count: usize,
        ends: &[(Partition, Offset)],
        watcher: &impl Watcher,
    ) -> Result<BTreeMap<(Timestamp, Partition, Offset), Received>, LogError> {
        let mut kept = BTreeMap::new();
        for (partition, end) in ends {
            let (mut until, mut step, mut found) = (*end, LOOK_BACK, 0);
            while found < count && until > Offset(0) {
                let from = Offset((until.0 - step).max(0));
                let mut start = from;
                let mut reader = self.view.at(self.topic, *partition, from).await?;
                let mut position = from;
                while position < until {
                    let batch = match reader.next(BATCH, PATIENCE).await {
                        Err(LogError::OutOfRange { start: first, .. }) if first > start => {
                            start = first.min(until);
                            reader = self.view.at(self.topic, *partition, start).await?;
                            position = start;
                            continue;
                        }
                        batch => batch?,
                    };
                    let wanted = |r: &Received| r.offset < until && watcher.wants(r);
                    let moved = batch.position > position;
                    position = batch.position;
                    for received in batch.records.into_iter().filter(wanted) {
                        found += 1;
                        kept.insert((received.timestamp, *partition, received.offset), received);
                        if kept.len() > count {
                            kept.pop_first();
                        }
                    }
                    if !moved {
                        break;
                    }
                }
                // Below what retention has left there is nothing to look for.
                until = if start > from { Offset(0) } else { from };
                step = step.saturating_mul(4);
            }
        }
        Ok(kept)
    }

    /// Everything up to the ends, the earliest record of all partitions first; false: enough.
    async fn catch_up(&self, sources: &mut [Source], watcher: &mut impl Watcher) -> Result<bool, LogError> {
        loop {
            for source in sources.iter_mut() {
                while source.waiting.is_empty() && source.position < source.end {
                    let before = source.position;
                    match source.next(PATIENCE).await {
                        Ok(batch) => source.waiting.extend(batch.records.into_iter().filter(|r| watcher.wants(r))),
                        Err(LogError::OutOfRange { start, .. }) => self.again(source, start).await?,
                        Err(error) => return Err(error),
                    }
                    if source.position == before {
                        source.end = before;
                    }
                }
            }
            let first = sources
                .iter_mut()
                .filter(|source| !source.waiting.is_empty())
                .min_by_key(|source| source.waiting.front().map(|received| (received.timestamp, source.partition)));
            match first.and_then(|source| source.waiting.pop_front()) {
                Some(received) if !watcher.show(&received) => return Ok(false),
                Some(_) => {}
                None => return Ok(true),
            }
        }
    }

    async fn again(&self, source: &mut Source, at: Offset) -> Result<(), LogError> {
        source.reader = self.view.at(self.topic, source.partition, at).await?;
        source.position = at;
        Ok(())
    }

    async fn look(&self, mut source: Source) -> (Source, Result<Batch, LogError>) {
        let batch = match source.next(POLL).await {
            Err(LogError::OutOfRange { start, .. }) => {
                let again = self.again(&mut source, start).await;
                again.map(|()| Batch { records: Vec::new(), position: start })
            }
            batch => batch,
        };
        if batch.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
        (source, batch)
    }

    /// What comes, from whichever partition, until it is enough.
    async fn follow(&self, sources: Vec<Source>, watcher: &mut impl Watcher) -> Result<Ended, LogError> {
        let mut looks: FuturesUnordered<_> = sources.into_iter().map(|source| self.look(source)).collect();
        while let Some((source, batch)) = looks.next().await {
            match batch {
                Ok(batch) => {
                    let all = batch.records.iter().filter(|r| watcher.wants(r)).cloned().collect::<Vec<_>>();
                    if !all.iter().all(|received| watcher.show(received)) || !watcher.pause() {
                        return Ok(Ended::Enough);
                    }
                }
                Err(_) if self.view.is_replaced() => return Ok(Ended::Replaced),
                Err(error @ LogError::Unavailable(_)) => watcher.away(&error),
                Err(error) => return Err(error),
            }
            if self.view.is_replaced() {
                return Ok(Ended::Replaced);
            }
            looks.push(self.look(source));
        }
        Ok(Ended::Enough)
    }
}
