//! One partition's actor: it alone decides what is sent, read and committed there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::payloads::Payloads;
use super::reads::{Reads, Stretch};
use super::table::Table;
use super::tell;
use crate::lanes::{About, Answer, Lanes, Limits, Seen, Start, Task};
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::flusher::{FlushQueue, PartResult};
use crate::stream::log::{Assignment, Committer, Credit, Epoch, Log, LogError, Part, PartitionCommit};
use crate::stream::metadata::Progress;
use crate::stream::stage::{Admission, Attempted, Job, Outcome, Work};

/// Outputs wait so long for company before they are committed: nothing that is sent depends on them.
const LINGER: Duration = Duration::from_millis(20);
/// Progress without outputs (markers passed) waits longer.
const IDLE_LINGER: Duration = Duration::from_millis(500);
/// A flush is handed in at once with so many outputs or bytes.
const FLUSH_OUTPUTS: usize = 1_000;
const FLUSH_BYTES: usize = 4 << 20;
/// Attempts under way and bytes of their payloads, above which nothing more is started.
const IN_FLIGHT: usize = 4_096;
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// What is asked of the second reader ahead of time.
const WANTS: usize = 64;
/// How often the gauges are set.
const GAUGES: Duration = Duration::from_secs(5);
/// The longest sleep without a reason to wake.
const IDLE: Duration = Duration::from_secs(60);

/// What an actor is told.
pub(super) enum Mail {
    Records {
        records: Vec<Received>,
        position: Offset,
    },
    /// Start nothing more, finish what runs by `until`, commit, end.
    Drain {
        until: Instant,
    },
}

/// What an actor works with.
pub(super) struct Means<W> {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub topic: Topic,
    pub work: Arc<W>,
    pub committer: Arc<dyn Committer>,
    pub credit: Arc<dyn Credit>,
    pub flushes: FlushQueue,
    pub changed: watch::Receiver<Option<Offset>>,
    /// Bytes of payloads to hold.
    pub budget: usize,
}

/// An attempt that has ended.
struct Ended {
    offset: Offset,
    first_at: Timestamp,
    bytes: usize,
    attempted: Attempted,
}

pub(super) struct Actor<W> {
    means: Means<W>,
    partition: Partition,
    epoch: Epoch,
    lanes: Lanes,
    payloads: Payloads,
    reads: Reads,
    /// Handed out by the lanes, but their records are not in memory.
    fetching: BTreeMap<Offset, Start>,
    attempts: FuturesUnordered<BoxFuture<'static, Ended>>,
    in_flight_bytes: usize,
    /// Read, but the window has no room for them yet; then the position behind them.
    backlog: VecDeque<Received>,
    position: Offset,
    outputs: Vec<Output>,
    output_bytes: usize,
    dirty_since: Option<Instant>,
    flushing: Option<BoxFuture<'static, PartResult>>,
    /// While draining nothing is started; this is the last moment.
    draining: Option<Instant>,
    /// More might be started than may be.
    held_back: bool,
    gauges_at: Instant,
}

impl<W: Work> Actor<W> {
    /// Takes over where the last owner committed: its progress and its lanes.
    pub async fn load(means: Means<W>, assignment: Assignment) -> Result<Self, LogError> {
        let Assignment { partition, epoch, committed } = assignment;
        let progress = Progress::decode(committed.as_ref());
        let records = means.log.load(Topic::Retry, partition).await?;
        let Table { entries, outputs } = Table::read(&records, progress.watermark)?;
        let limits = Limits { total_bytes: means.budget, queue_bytes: means.budget / 4, ..Limits::default() };
        let mut lanes = Lanes::load(limits, &progress, entries);
        if !outputs.is_empty() {
            lanes.touch();
        }
        Ok(Actor {
            partition,
            epoch,
            position: lanes.position(),
            lanes,
            payloads: Payloads::new(means.budget),
            reads: Reads::new(means.log.clone(), means.topic, partition),
            fetching: BTreeMap::new(),
            attempts: FuturesUnordered::new(),
            in_flight_bytes: 0,
            backlog: VecDeque::new(),
            output_bytes: 0,
            dirty_since: None,
            outputs,
            flushing: None,
            draining: None,
            held_back: false,
            gauges_at: Instant::now() + GAUGES,
            means,
        })
    }

    /// Works until it is drained, or its mailbox is closed: then the partition is lost and nothing may be said any more.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Mail>) -> Result<(), LogError> {
        let mut changed = self.means.changed.clone();
        loop {
            self.take_in();
            self.start_what_may();
            self.read_what_is_wanted();
            self.flush_when_due();
            if self.draining.is_some_and(|until| self.attempts.is_empty() || Instant::now() >= until) {
                return self.settle().await;
            }
            let wake = self.wake_at();
            tokio::select! {
                Some(ended) = self.attempts.next() => self.ended(ended),
                result = flushed(&mut self.flushing) => if !self.flushed(result)? { return Ok(()) },
                mail = inbox.recv() => match mail {
                    Some(mail) => self.mail(mail),
                    None => return Ok(()),
                },
                stretch = self.reads.next() => self.reread(stretch),
                Ok(()) = changed.changed() => self.lanes.poke_all(),
                () = sleep_until(wake) => {}
            }
            while let Some(Some(ended)) = self.attempts.next().now_or_never() {
                self.ended(ended);
            }
        }
    }

    fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::Records { records, position } => {
                self.backlog.extend(records);
                self.position = position;
            }
            Mail::Drain { until } => self.draining = Some(until),
        }
    }

    /// Gives the lanes what was read, as far as the window has room.
    fn take_in(&mut self) {
        let (mut records, mut bytes) = (0, 0);
        while self.lanes.room() {
            let Some(record) = self.backlog.pop_front() else { break };
            (records, bytes) = (records + 1, bytes + record.record.size());
            let offset = record.offset;
            match self.means.work.admit(&record) {
                Admission::Take { integration, expires } => {
                    let seen = Seen { offset, integration, key: None, expires, bytes: record.record.size() };
                    if self.lanes.receive(seen) {
                        self.payloads.offer(record);
                    }
                }
                Admission::Refuse(outputs) => {
                    if !self.lanes.is_done(offset) {
                        self.tell(outputs);
                    }
                    self.lanes.passed(offset.next());
                }
            }
        }
        if self.backlog.is_empty() {
            self.lanes.passed(self.position);
        }
        if records > 0 {
            self.means.credit.release(records, bytes);
        }
        self.forget_released();
    }

    fn forget_released(&mut self) {
        for offset in self.lanes.take_released() {
            self.payloads.forget(offset);
        }
    }

    fn may_start(&self) -> bool {
        self.draining.is_none()
            && self.attempts.len() + self.fetching.len() < IN_FLIGHT
            && self.in_flight_bytes < IN_FLIGHT_BYTES
            && self.means.committer.may_act(self.partition, self.epoch)
    }

    fn start_what_may(&mut self) {
        loop {
            self.held_back = !self.may_start();
            if self.held_back {
                break;
            }
            let work = &self.means.work;
            let Some(start) = self.lanes.next(self.means.clock.now(), &|id: &_| work.standing(id)) else { break };
            match self.payloads.get(start.offset).cloned() {
                Some(record) => self.start(start, record),
                None => _ = self.fetching.insert(start.offset, start),
            }
        }
        self.forget_released();
    }

    fn start(&mut self, start: Start, record: Arc<Received>) {
        let first_at = start.first_at;
        match start.task {
            Task::Attempt(attempt) => {
                let (work, bytes) = (self.means.work.clone(), record.record.size());
                let now = self.means.clock.now();
                self.in_flight_bytes += bytes;
                let attempt = async move {
                    let attempted = work.attempt(Job { record: &record, attempt, first_at }).await;
                    Ended { offset: record.offset, first_at: first_at.unwrap_or(now), bytes, attempted }
                };
                self.attempts.push(attempt.boxed());
            }
            Task::End(how, attempt) => {
                let outputs = self.means.work.end(Job { record: &record, attempt, first_at }, how);
                self.tell(outputs);
                self.payloads.forget(start.offset);
                self.lanes.ended(start.offset);
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { offset, first_at, bytes, attempted } = ended;
        self.in_flight_bytes -= bytes;
        self.tell(attempted.outputs);
        let answer = match attempted.outcome {
            Outcome::Delivered => Answer::Delivered,
            Outcome::Dead => Answer::Dead,
            Outcome::Abandoned => Answer::Abandoned,
            Outcome::Retry { due, error, status } => {
                let delivery = self.payloads.get(offset).and_then(|r| tell::delivery(r));
                let about = About { error: Some(error), status, first_at: Some(first_at), delivery };
                Answer::Retry { due, about }
            }
        };
        match answer {
            Answer::Retry { .. } => self.payloads.settle(offset),
            Answer::Delivered | Answer::Dead | Answer::Abandoned => self.payloads.forget(offset),
        }
        self.lanes.complete(offset, answer, self.means.clock.now());
    }

    /// These belong to the next flush.
    fn tell(&mut self, outputs: Vec<Output>) {
        self.output_bytes += outputs.iter().map(|o| o.record.size()).sum::<usize>();
        self.outputs.extend(outputs);
    }

    fn read_what_is_wanted(&mut self) {
        if !self.reads.is_idle() || self.draining.is_some() {
            return;
        }
        let next = self.fetching.keys().next().copied();
        let now = self.means.clock.now();
        if let Some(from) = next.or_else(|| self.lanes.wants(WANTS, now).stretches.first().copied()) {
            self.reads.start(from);
        }
    }

    /// A stretch serves whoever waits for something in it.
    fn reread(&mut self, stretch: Result<Stretch, LogError>) {
        let Stretch { from, records, position } = match stretch {
            Ok(stretch) => stretch,
            Err(error) => return tracing::warn!(partition = self.partition.0, %error, "waiting records cannot be read"),
        };
        let seen = |record: &Received| match self.means.work.admit(record) {
            Admission::Take { integration, expires } => {
                Some(Seen { offset: record.offset, integration, key: None, expires, bytes: record.record.size() })
            }
            Admission::Refuse(_) => None,
        };
        let all = records.iter().filter_map(seen).collect();
        let taken = self.lanes.reread(from, all, position);
        for record in records {
            if let Some(start) = self.fetching.remove(&record.offset) {
                let record = self.payloads.hold(record);
                self.start(start, record);
            } else if taken.binary_search(&record.offset).is_ok() {
                self.payloads.offer(record);
            }
        }
        let gone: Vec<Offset> = self.fetching.range(from..position).map(|(o, _)| *o).collect();
        for offset in gone {
            self.fetching.remove(&offset);
            tell::lost(self.partition, offset);
            self.lanes.ended(offset);
        }
        self.forget_released();
    }

    fn flush_when_due(&mut self) {
        if !self.lanes.is_dirty() && self.outputs.is_empty() {
            self.dirty_since = None;
            return;
        }
        let since = *self.dirty_since.get_or_insert_with(Instant::now);
        let full = self.outputs.len() >= FLUSH_OUTPUTS || self.output_bytes >= FLUSH_BYTES;
        if self.flushing.is_none() && (full || since.elapsed() >= self.linger()) {
            self.flush();
        }
    }

    fn linger(&self) -> Duration {
        if self.outputs.is_empty() && self.lanes.dirty_lanes() == 0 { IDLE_LINGER } else { LINGER }
    }

    fn flush(&mut self) {
        let Some(flush) = self.lanes.flush() else { return };
        let mut outputs = std::mem::take(&mut self.outputs);
        self.output_bytes = 0;
        self.dirty_since = None;
        outputs.extend(flush.entries.iter().map(|(name, entry)| tell::entry(self.partition, name, entry.as_ref())));
        let commit = PartitionCommit {
            partition: self.partition,
            epoch: self.epoch,
            offset: flush.progress.watermark,
            metadata: flush.progress.encode(),
        };
        self.flushing = Some(self.means.flushes.clone().flush(Part { commit, outputs }).boxed());
    }

    /// False where the partition is no longer ours.
    fn flushed(&mut self, result: PartResult) -> Result<bool, LogError> {
        self.flushing = None;
        match result {
            PartResult::Committed => self.lanes.committed(),
            PartResult::LeftOut => return Ok(false),
            PartResult::Failed(error) => return Err(error),
        }
        Ok(true)
    }

    /// Drops what is still in flight and commits the rest.
    async fn settle(mut self) -> Result<(), LogError> {
        if !self.attempts.is_empty() {
            tracing::warn!(
                partition = self.partition.0,
                attempts = self.attempts.len(),
                "not finished in time, will be repeated"
            );
        }
        loop {
            if self.flushing.is_none() {
                self.flush();
            }
            if self.flushing.is_none() {
                return Ok(());
            }
            let result = flushed(&mut self.flushing).await;
            if !self.flushed(result)? {
                return Ok(());
            }
        }
    }

    fn wake_at(&mut self) -> Instant {
        let now = Instant::now();
        if now >= self.gauges_at {
            self.gauges_at = now + GAUGES;
            tell::gauges(self.partition, &self.lanes);
        }
        let flush = self.dirty_since.filter(|_| self.flushing.is_none()).map(|since| since + self.linger());
        // What holds everything back ends with an attempt, a revoke or a loss, and each of these wakes.
        let due = self.lanes.next_due().filter(|_| !self.held_back);
        let due = due.map(|at| now + at.since(self.means.clock.now()).min(IDLE));
        [flush, due, self.draining, Some(self.gauges_at)].into_iter().flatten().min().unwrap_or(now + IDLE)
    }
}

/// Waits for the flush under way; for ever where there is none.
async fn flushed(flushing: &mut Option<BoxFuture<'static, PartResult>>) -> PartResult {
    match flushing {
        Some(flushing) => flushing.await,
        None => std::future::pending().await,
    }
}
