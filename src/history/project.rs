//! The stage that follows the topics and writes what they tell into the store. One process projects; how far it is stands in
//! the store itself, in the transaction of the rows. Where the store is away it waits and catches up; nobody waits for it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use metrics::{counter, gauge, histogram};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::History;
use super::rows::Batch;
use super::store::{Census, Connections, Retention, Store, StoreError};
use crate::model::ids::{Offset, Partition};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::log::{Follower, Log, LogError};
use crate::telemetry::metrics::{
    DEAD_LETTERS_KEPT, HISTORY_LAG, HISTORY_PRUNED, HISTORY_RECORDS, HISTORY_UNREADABLE, HISTORY_WRITE_SECONDS,
    LOG_SKIPPED, OLDEST_UNFINISHED, STORE_POOL,
};

/// What is followed together, and the topic whose times tell how far that is: the beginnings of deliveries, and their ends. Both are
/// read in step, by the log's time, for a delivery costs half as much where its end is not read long before or after its beginning.
const WAYS: [(&[Topic], Topic); 2] = [
    (&[Topic::Events, Topic::Deliveries, Topic::Rejected, Topic::Audit], Topic::Deliveries),
    (&[Topic::Attempts, Topic::Dlq], Topic::Attempts),
];
/// Records of one transaction, and their bytes, about: the last read may go beyond by what the log reads at once, some MiB.
const MAX_RECORDS: usize = 15_000;
const MAX_BYTES: usize = 12 << 20;
/// How long records are gathered for one transaction. What is written together costs less: a page of an index once for all that
/// falls on it, a delivery once for all that became of it.
const GATHER: Duration = Duration::from_millis(250);
/// Records of one look at a way: neither gets ahead of the other by more.
const STEP: usize = 1_000;
/// Between two looks meanwhile, where the one before found fewer.
const LOOK: Duration = Duration::from_millis(25);
/// Of them, how many are read without a look at whether more can be written.
const AT_ONCE: usize = 50;
/// How long one look at a way that has nothing new lasts.
const WAIT: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LAG_EVERY: Duration = Duration::from_secs(10);
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// Rows of each table that one step of retention deletes: writing waits for no more than that.
const PRUNE_ROWS: u32 = 2_000;

/// Opens the store.
pub type Opener = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Store>, StoreError>> + Send + Sync>;
/// Told how history stands, whenever that may have changed.
pub type Tell = Box<dyn Fn(Result<(), String>) + Send + Sync>;

pub struct Project {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    /// Where the API finds the store once it is open.
    pub history: Arc<History>,
    pub open: Opener,
    pub tell: Tell,
    pub retention: Retention,
    /// Between tries, at first; it grows to 30 s.
    pub pause: Duration,
}

impl Project {
    /// Until `stop`. What was read and not written by then is read again.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            let store = self.until_done("the history is not kept", || self.opened()).await;
            self.history.set(Ok(store.clone()));
            tokio::join!(self.follow(&*store), self.keep(&*store));
        };
        stop.run_until_cancelled(work).await;
        // The file is closed when the last request that reads it has its answer.
        self.history.set(Err(StoreError::Away("the process is ending; try again in a moment".into())));
    }

    /// Whoever asks for the store meanwhile is told why it is not there.
    async fn opened(&self) -> Result<Arc<dyn Store>, StoreError> {
        (self.open)().await.inspect_err(|why| self.history.set(Err(why.clone())))
    }

    /// Tries until it is done, and tells of each failure and of its end.
    async fn until_done<T, F: Future<Output = Result<T, StoreError>>>(&self, what: &str, task: impl Fn() -> F) -> T {
        let mut pause = self.pause;
        loop {
            match task().await {
                Ok(done) => {
                    (self.tell)(Ok(()));
                    return done;
                }
                Err(why) => {
                    tracing::error!(%why, again_in_s = pause.as_secs_f32(), "{what}");
                    (self.tell)(Err(why.to_string()));
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn follow(&self, store: &dyn Store) {
        let known = self.until_done("the history cannot be read", || store.offsets()).await;
        self.history.reached(known);
        loop {
            let Err(error) = self.read_on(store).await;
            match error {
                LogError::OutOfRange { topic, partition, asked, start } if asked != start => {
                    // What was never read is no gap: the log began before the history did.
                    if self.position(topic, partition).is_some() {
                        passed((topic, partition), (asked, start));
                    }
                    self.history.reached([((topic, partition), start)]);
                }
                error => {
                    tracing::debug!(%error, "history waits for the log");
                    sleep(self.pause).await;
                }
            }
        }
    }

    fn position(&self, topic: Topic, partition: Partition) -> Option<Offset> {
        self.history.positions().borrow().get(&(topic, partition)).copied()
    }

    /// Projects what comes, until something goes wrong at the log.
    async fn read_on(&self, store: &dyn Store) -> Result<Infallible, LogError> {
        let mut ways = Vec::new();
        for (topics, pace) in WAYS {
            let mut places = Vec::new();
            for topic in topics.iter().copied() {
                for partition in (0..self.log.partitions(topic).await?).map(Partition) {
                    places.push((topic, partition, self.position(topic, partition).unwrap_or(Offset(0))));
                }
            }
            ways.push(Way { follower: self.log.follow(places).await?, pace, at: Timestamp(i64::MIN), is_idle: false });
        }
        let mut ready = None;
        loop {
            // While one batch is written the next is read, no more than that: what waits for the store is bounded.
            let (read, ()) = tokio::join!(next(&mut ways), self.write(store, ready.take()));
            ready = Some(read?);
        }
    }

    async fn write(&self, store: &dyn Store, batch: Option<Batch>) {
        let Some(batch) = batch.filter(|batch| !batch.offsets.is_empty()) else { return };
        let began = Instant::now();
        self.until_done("the history is not written", || store.write(&batch)).await;
        histogram!(HISTORY_WRITE_SECONDS).record(began.elapsed().as_secs_f64());
        counter!(HISTORY_UNREADABLE).increment(batch.unreadable as u64);
        for (topic, records) in batch.records {
            counter!(HISTORY_RECORDS, "topic" => topic.name()).increment(records);
        }
        self.history.reached(batch.offsets);
    }

    /// Retention, and how far history is behind.
    async fn keep(&self, store: &dyn Store) {
        let mut tick = tokio::time::interval(LAG_EVERY);
        let mut pruned: Option<Instant> = None;
        loop {
            tick.tick().await;
            if pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) {
                self.prune(store).await;
                pruned = Some(Instant::now());
            }
            let known = self.history.positions().borrow().clone();
            let mut behind = BTreeMap::new();
            for ((topic, partition), next) in known {
                if let Ok(end) = self.log.end(topic, partition).await {
                    *behind.entry(topic).or_insert(0.0) += end.0.saturating_sub(next.0).max(0) as f64;
                }
            }
            behind.into_iter().for_each(|(topic, lag)| gauge!(HISTORY_LAG, "topic" => topic.name()).set(lag));
            self.tell_of(store).await;
        }
    }

    /// What nobody else can tell: how all deliveries stand, whichever process has them.
    async fn tell_of(&self, store: &dyn Store) {
        let Connections { in_use, idle } = store.connections();
        for (state, count) in [("in_use", in_use), ("idle", idle)] {
            gauge!(STORE_POOL, "state" => state).set(count as f64);
        }
        match store.census().await {
            Ok(Census { dead, oldest_unfinished }) => {
                let age = oldest_unfinished.map_or(0, |at| self.clock.now().0.saturating_sub(at.0).max(0));
                gauge!(DEAD_LETTERS_KEPT).set(dead as f64);
                gauge!(OLDEST_UNFINISHED, "topic" => Topic::Deliveries.name()).set(age as f64 / 1_000.0);
            }
            Err(error) => tracing::debug!(%error, "deliveries were not counted; they are again later"),
        }
    }

    async fn prune(&self, store: &dyn Store) {
        let cutoffs = self.retention.at(self.clock.now());
        loop {
            match store.prune(cutoffs, PRUNE_ROWS).await {
                Ok(0) => return,
                Ok(rows) => counter!(HISTORY_PRUNED).increment(rows),
                Err(error) => return tracing::warn!(%error, "old history was not deleted; it is tried again later"),
            }
        }
    }
}

/// Topics that are followed together.
struct Way {
    follower: Box<dyn Follower>,
    pace: Topic,
    /// How far the last look at `pace` got, in the partition that is the least far; where it had nothing, at the other topics.
    at: Timestamp,
    /// The last look found nothing.
    is_idle: bool,
}

impl Way {
    /// Reads what is new into the batch. Answers with its records and their bytes.
    async fn look(&mut self, max: usize, wait: Duration, batch: &mut Batch) -> Result<(usize, usize), LogError> {
        let (mut records, mut bytes, mut at) = (0, 0, None);
        for (topic, partition, read) in self.follower.next(max, wait).await? {
            for some in read.records.chunks(AT_ONCE) {
                for received in some {
                    bytes += received.record.size();
                    batch.take(topic, received);
                }
                tokio::task::yield_now().await;
            }
            records += read.records.len();
            if let Some(last) = read.records.last() {
                // The topic that sets the pace goes before the others.
                let last = (topic != self.pace, last.timestamp);
                at = Some(at.map_or(last, |at: (bool, Timestamp)| at.min(last)));
            }
            batch.offsets.insert((topic, partition), read.position);
        }
        self.at = at.map_or(self.at, |(_, at)| at);
        self.is_idle = records == 0;
        Ok((records, bytes))
    }
}

/// What is new, as rows.
async fn next(ways: &mut [Way]) -> Result<Batch, LogError> {
    let mut batch = Batch::default();
    let (mut records, mut bytes) = (0, 0);
    let mut until = None;
    loop {
        let before = records;
        // First the one that is behind, then the other, unless the first has more: what has no end must not keep the other waiting.
        ways.sort_by_key(|way| way.at);
        for way in ways.iter_mut() {
            let wait = match (records, way.is_idle) {
                (0, _) => WAIT,
                (_, false) => LOOK,
                (_, true) => Duration::ZERO,
            };
            let most = STEP.min(MAX_RECORDS - records);
            let found = way.look(most, wait, &mut batch).await?;
            (records, bytes) = (records + found.0, bytes + found.1);
            if found.0 >= most {
                break;
            }
        }
        if records == 0 {
            return Ok(batch);
        }
        let until = *until.get_or_insert_with(|| Instant::now() + GATHER);
        let left = until.saturating_duration_since(Instant::now());
        if records >= MAX_RECORDS || bytes >= MAX_BYTES || left.is_zero() {
            return Ok(batch);
        }
        // A look ends with the first record that it finds: without a pause many would find a few each.
        if records - before < STEP {
            sleep(left.min(LOOK)).await;
        }
    }
}

/// Retention has deleted what was not read yet, or the topic was made anew.
fn passed((topic, partition): (Topic, Partition), (asked, start): (Offset, Offset)) {
    let lost = u64::try_from(start.0 - asked.0).unwrap_or(0);
    let (from, to, partition) = (asked.0, start.0, partition.0);
    tracing::warn!(%topic, partition, from, to, lost, "history has a gap: these records are gone");
    counter!(LOG_SKIPPED, "topic" => topic.name()).increment(lost);
}

#[cfg(test)]
mod tests;
