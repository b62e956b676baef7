//! Runs a `Map` stage: records in, records out, offsets and outputs in one transaction, in input order.

mod inbox;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::log::{
    Assignment, Committer, Credit, Epoch, Flushed, From, Log, LogError, Member, Membership, Part, PartitionCommit,
    Signal,
};
use crate::stream::metadata::Progress;
use crate::stream::stage::Map;
use crate::telemetry::metrics::TRANSACTION_SECONDS;
use inbox::Inbox;

/// A transaction is closed at the latest with so many outputs or bytes; sooner when the input runs dry.
const FLUSH_RECORDS: usize = 1_000;
const FLUSH_BYTES: usize = 4 << 20;
/// Records read again at a time when a partition's recent past is recalled.
const RECALL_BATCH: usize = 5_000;
/// For how long nothing may come of it, and the pause before it is tried again.
const RECALL_PATIENCE: Duration = Duration::from_secs(15);
/// Of the last flush, when the stage is asked to end.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
const RECALL_PAUSE: Duration = Duration::from_secs(1);

/// Owns a `Map` stage and its membership. `run` returns when told to stop, or when the log has failed for good.
pub struct MapRunner<M> {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    membership: Membership,
    stage: M,
}

/// A partition in hand.
struct Owned {
    epoch: Epoch,
    /// The number of its last flush.
    flush: u64,
    /// The next offset to map: everything below is in `pending` or committed.
    position: Offset,
    committed: Offset,
    pending: Vec<Output>,
    /// Bytes of `pending`.
    made: usize,
    /// Input records since the last flush, and their bytes: owed to the credit.
    records: usize,
    bytes: usize,
}

/// A flush under way and the credit to give back after it.
struct Flight {
    done: BoxFuture<'static, Result<Flushed, LogError>>,
    records: usize,
    bytes: usize,
    since: Instant,
}

struct Session<M> {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    topic: Topic,
    name: &'static str,
    stage: M,
    committer: Arc<dyn Committer>,
    credit: Arc<dyn Credit>,
    owned: BTreeMap<Partition, Owned>,
    flight: Option<Flight>,
    inbox: Inbox,
}

impl<M: Map> MapRunner<M> {
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, membership: Membership, stage: M) -> Self {
        MapRunner { log, clock, membership, stage }
    }

    /// Runs until `stop`, then flushes what was mapped and leaves the group.
    pub async fn run(self, stop: CancellationToken) -> Result<(), LogError> {
        let (topic, name) = (self.membership.topic, self.membership.stage);
        let Member { signals, committer, credit } = self.log.join(self.membership).await?;
        let mut session = Session {
            log: self.log,
            clock: self.clock,
            topic,
            name,
            stage: self.stage,
            committer,
            credit,
            owned: BTreeMap::new(),
            flight: None,
            inbox: Inbox::new(signals, stop.clone()),
        };
        loop {
            if session.flight.is_none() && (session.inbox.is_empty() || session.full()) {
                session.start_flush();
            }
            let full = session.full();
            tokio::select! {
                done = landed(&mut session.flight) => session.landed(done)?,
                signal = session.inbox.next(), if !full => session.handle(signal).await?,
                () = stop.cancelled() => break,
            }
        }
        // Without the log a flush is tried for ever; what it held is mapped again by whoever comes next.
        match tokio::time::timeout(SETTLE_WITHIN, session.settle()).await {
            Ok(settled) => settled,
            Err(_) => Err(LogError::Unavailable("the last flush was not written in time".into())),
        }
    }
}

/// Waits for the flush under way; for ever where there is none.
async fn landed(flight: &mut Option<Flight>) -> Result<Flushed, LogError> {
    match flight {
        Some(flight) => (&mut flight.done).await,
        None => std::future::pending().await,
    }
}

fn is_full(outputs: usize, bytes: usize) -> bool {
    outputs >= FLUSH_RECORDS || bytes >= FLUSH_BYTES
}

/// Does `work` while the flush under way goes on, whose result comes second. Gives up for what cannot wait: `None`.
async fn meanwhile<T>(
    work: impl Future<Output = T>,
    flight: &mut Option<Flight>,
    inbox: &mut Inbox,
) -> (Option<T>, Option<Result<Flushed, LogError>>) {
    tokio::pin!(work);
    let mut flushed = None;
    loop {
        tokio::select! {
            biased;
            result = &mut work => return (Some(result), flushed),
            done = landed(flight), if flushed.is_none() => flushed = Some(done),
            () = inbox.urgent() => return (None, flushed),
        }
    }
}

/// Shows the stage what came since a moment, up to where mapping begins. What cannot be read in time is given up: an
/// event that was repeated may then be delivered again, under the same id where it names the same time, and nothing waits.
async fn recall<M: Map>(stage: &mut M, log: &dyn Log, place: (Topic, Partition), (since, end): (Timestamp, Offset)) {
    let mut at = From::Time(since);
    let mut progress = Instant::now();
    loop {
        let Err(error) = recall_from(stage, log, place, (&mut at, &mut progress, end)).await else { return };
        let (topic, partition) = (place.0.name(), place.1.0);
        if progress.elapsed() > RECALL_PATIENCE {
            return tracing::error!(topic, partition, %error, "going on without the recent past");
        }
        tracing::warn!(topic, partition, %error, "the recent past cannot be read; trying again");
        tokio::time::sleep(RECALL_PAUSE).await;
    }
}

async fn recall_from<M: Map>(
    stage: &mut M,
    log: &dyn Log,
    (topic, partition): (Topic, Partition),
    (at, progress, end): (&mut From, &mut Instant, Offset),
) -> Result<(), LogError> {
    let mut reader = log.read(topic, partition, *at).await?;
    loop {
        let batch = reader.next(RECALL_BATCH, Duration::from_millis(500)).await?;
        for record in batch.records.iter().filter(|r| r.offset < end) {
            stage.recall(record);
        }
        if batch.position >= end {
            return Ok(());
        }
        if !batch.records.is_empty() {
            (*at, *progress) = (From::At(batch.position), Instant::now());
        } else if progress.elapsed() > RECALL_PATIENCE {
            return Err(LogError::Unavailable(format!("nothing comes before offset {end}, from {}", batch.position)));
        }
    }
}

impl<M: Map> Session<M> {
    async fn handle(&mut self, signal: Signal) -> Result<(), LogError> {
        match signal {
            Signal::Assigned(assignments) => {
                let mut assignments = VecDeque::from(assignments);
                while let Some(assignment) = assignments.pop_front() {
                    if !self.assign(&assignment).await? {
                        assignments.push_front(assignment);
                        self.inbox.postpone(Signal::Assigned(assignments.into()));
                        break;
                    }
                }
            }
            Signal::Records { partition, epoch, records, position } => {
                self.records((partition, epoch), records, position).await?;
            }
            Signal::Skipped { partition, epoch, to, .. } => {
                if let Some(owned) = self.owned.get_mut(&partition).filter(|o| o.epoch == epoch) {
                    owned.position = owned.position.max(to);
                }
            }
            Signal::Revoked { partitions, drained, .. } => {
                self.settle().await?;
                self.drop_partitions(&partitions);
                drop(drained);
            }
            Signal::Lost { partitions } => self.drop_partitions(&partitions),
            Signal::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// False: something else comes first, and the partition is to be assigned after it.
    async fn assign(&mut self, assignment: &Assignment) -> Result<bool, LogError> {
        let Assignment { partition, epoch, committed } = assignment;
        let progress = Progress::decode(committed.as_ref());
        let memory = self.stage.memory();
        if memory > Duration::ZERO && committed.is_some() {
            let millis = i64::try_from(memory.as_millis()).unwrap_or(i64::MAX);
            let since = Timestamp(self.clock.now().as_millis().saturating_sub(millis));
            let place = (self.topic, *partition);
            let recall = recall(&mut self.stage, &*self.log, place, (since, progress.watermark));
            let (recalled, flushed) = meanwhile(recall, &mut self.flight, &mut self.inbox).await;
            flushed.map_or(Ok(()), |flushed| self.landed(flushed))?;
            if recalled.is_none() {
                self.stage.forget(*partition);
                return Ok(false);
            }
        }
        let (epoch, start) = (*epoch, progress.watermark);
        let owned = Owned {
            epoch,
            flush: progress.flush,
            position: start,
            committed: start,
            pending: Vec::new(),
            made: 0,
            records: 0,
            bytes: 0,
        };
        self.owned.insert(*partition, owned);
        Ok(true)
    }

    /// Maps the records of one partition, once the stage is ready for them, as far as a transaction takes them: one of them
    /// may become thousands.
    async fn records(
        &mut self,
        (partition, epoch): (Partition, Epoch),
        records: Vec<Received>,
        position: Offset,
    ) -> Result<(), LogError> {
        let is_ours = |session: &Self| session.owned.get(&partition).is_some_and(|o| o.epoch == epoch);
        if is_ours(self) && !records.is_empty() {
            let prepare = self.stage.prepare(&records);
            let (ready, flushed) = meanwhile(prepare, &mut self.flight, &mut self.inbox).await;
            flushed.map_or(Ok(()), |flushed| self.landed(flushed))?;
            if ready.is_none() {
                self.inbox.postpone(Signal::Records { partition, epoch, records, position });
                return Ok(());
            }
        }
        let (mut outputs, mut bytes) = self.pending();
        let Some(owned) = self.owned.get_mut(&partition).filter(|o| o.epoch == epoch) else {
            self.credit.release(records.len(), records.iter().map(|r| r.record.size()).sum());
            return Ok(());
        };
        let mut rest = records.into_iter();
        for record in rest.by_ref() {
            let before = owned.pending.len();
            self.stage.map(&record, &mut owned.pending);
            let (size, made) = (record.record.size(), owned.pending[before..].iter().map(|o| o.record.size()).sum());
            owned.position = record.offset.next();
            (owned.records, owned.bytes, owned.made) = (owned.records + 1, owned.bytes + size, owned.made + made);
            (outputs, bytes) = (outputs + (owned.pending.len() - before).max(1), bytes + size.max(made));
            if is_full(outputs, bytes) {
                break;
            }
        }
        let records: Vec<Received> = rest.collect();
        if records.is_empty() {
            owned.position = position;
        } else {
            self.inbox.postpone(Signal::Records { partition, epoch, records, position });
        }
        Ok(())
    }

    fn full(&self) -> bool {
        let (outputs, bytes) = self.pending();
        is_full(outputs, bytes)
    }

    /// What the next flush has, by its input or its output, whichever is more.
    fn pending(&self) -> (usize, usize) {
        let more = |o: &Owned| (o.pending.len().max(o.records), o.bytes.max(o.made));
        self.owned.values().map(more).fold((0, 0), |(n, b), (outputs, bytes)| (n + outputs, b + bytes))
    }

    /// Hands everything that is pending to the committer; the next batch is mapped meanwhile.
    fn start_flush(&mut self) {
        let (mut records, mut bytes) = (0, 0);
        let mut parts = Vec::new();
        for (&partition, owned) in self.owned.iter_mut().filter(|(_, o)| o.position > o.committed) {
            owned.flush += 1;
            owned.committed = owned.position;
            records += std::mem::take(&mut owned.records);
            bytes += std::mem::take(&mut owned.bytes);
            owned.made = 0;
            let progress = Progress { watermark: owned.position, flush: owned.flush, done: Vec::new() };
            let commit =
                PartitionCommit { partition, epoch: owned.epoch, offset: owned.position, metadata: progress.encode() };
            parts.push(Part { commit, outputs: std::mem::take(&mut owned.pending) });
        }
        if parts.is_empty() {
            return;
        }
        let committer = self.committer.clone();
        let done = async move { committer.commit(parts).await }.boxed();
        self.flight = Some(Flight { done, records, bytes, since: Instant::now() });
    }

    fn landed(&mut self, result: Result<Flushed, LogError>) -> Result<(), LogError> {
        if let Some(flight) = self.flight.take() {
            self.credit.release(flight.records, flight.bytes);
            metrics::histogram!(TRANSACTION_SECONDS, "stage" => self.name).record(flight.since.elapsed().as_secs_f64());
        }
        self.drop_partitions(&result?.left_out);
        Ok(())
    }

    /// Flushes until nothing is pending.
    async fn settle(&mut self) -> Result<(), LogError> {
        loop {
            if self.flight.is_none() {
                self.start_flush();
            }
            if self.flight.is_none() {
                return Ok(());
            }
            let done = landed(&mut self.flight).await;
            self.landed(done)?;
        }
    }

    fn drop_partitions(&mut self, partitions: &[(Partition, Epoch)]) {
        self.inbox.forget(partitions);
        for (partition, epoch) in partitions {
            if self.owned.get(partition).is_some_and(|o| o.epoch == *epoch) {
                let owned = self.owned.remove(partition);
                self.stage.forget(*partition);
                if let Some(owned) = owned {
                    self.credit.release(owned.records, owned.bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
