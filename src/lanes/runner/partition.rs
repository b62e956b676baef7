//! One partition's actor: it alone decides what is sent, read and committed there.

mod commit;
mod fetch;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::flying::Flying;
use super::owed::Owed;
use super::payloads::Payloads;
use super::reads::Reads;
use super::table::Table;
use super::tell;
use crate::lanes::{About, Answer, Lanes, Limits, Seen, Start, Task};
use crate::model::ids::{IntegrationId, Offset, Partition};
use crate::model::record::{Output, Received};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::flusher::{FlushQueue, PartResult};
use crate::stream::log::{Assignment, Committer, Credit, Epoch, Log, LogError};
use crate::stream::metadata::Progress;
use crate::stream::stage::{Admission, Attempted, Job, Outcome, Work};
use commit::flushed;

/// Outputs wait so long for company before they are committed: nothing that is sent depends on them.
const LINGER: Duration = Duration::from_millis(20);
/// Progress without outputs (markers passed) waits longer.
const IDLE_LINGER: Duration = Duration::from_millis(500);
/// A flush is handed in at once with so many outputs or bytes.
const FLUSH_OUTPUTS: usize = 1_000;
const FLUSH_BYTES: usize = 4 << 20;
/// Bytes of what ended and is not committed, above which nothing more is started or taken in.
const HELD_BYTES: usize = 4 * FLUSH_BYTES;
/// Attempts under way, above which nothing more is started.
const IN_FLIGHT: usize = 16 << 10;
/// How often the gauges are set.
const GAUGES: Duration = Duration::from_secs(5);
/// The longest sleep without a reason to wake.
const IDLE: Duration = Duration::from_secs(60);
/// While nothing may be started the question is asked again: nobody tells when a membership is sure of itself again.
const UNSURE: Duration = Duration::from_millis(250);
/// A change of the catalog makes every integration that waits be looked at: so often at most.
const LOOK: Duration = Duration::from_millis(100);

/// What an actor is told.
pub(super) enum Mail {
    Records {
        records: Vec<Received>,
        position: Offset,
        owed: Owed,
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
    record: Arc<Received>,
    integration: IntegrationId,
    first_at: Timestamp,
    attempted: Attempted,
}

pub(super) struct Actor<W> {
    means: Means<W>,
    partition: Partition,
    epoch: Epoch,
    lanes: Lanes,
    payloads: Payloads,
    reads: Reads,
    /// Whose turn it is: queues that run empty, or records that are due and not in memory.
    refills_first: bool,
    /// Handed out by the lanes, but their records are not in memory.
    fetching: BTreeMap<Offset, Start>,
    /// Their records have come. They are started like all others: when that may be.
    fetched: VecDeque<(Start, Arc<Received>)>,
    attempts: FuturesUnordered<BoxFuture<'static, Ended>>,
    flying: Flying,
    /// Read, but the window has no room for them yet; then the position behind them.
    backlog: VecDeque<Received>,
    position: Offset,
    /// The room that the backlog takes.
    owed: Owed,
    outputs: Vec<Output>,
    output_bytes: usize,
    /// Of the flush under way, and their bytes.
    committing: usize,
    committing_bytes: usize,
    dirty_since: Option<Instant>,
    flushing: Option<BoxFuture<'static, PartResult>>,
    /// While draining nothing is started; this is the last moment.
    draining: Option<Instant>,
    /// More might be started than may be.
    held_back: bool,
    gauges_at: Instant,
    /// When standings were looked at last, and when they are to be again.
    looked_at: Option<Instant>,
    look_at: Option<Instant>,
}

impl<W: Work> Actor<W> {
    /// Takes over where the last owner committed: its progress and its lanes.
    pub fn new(means: Means<W>, assignment: &Assignment, records: &[Received]) -> Result<Self, LogError> {
        let progress = Progress::decode(assignment.committed.as_ref());
        let Table { entries, outputs } = Table::read(records, progress.watermark)?;
        tell::count_rejected(&outputs);
        let limits = Limits { total_bytes: means.budget, queue_bytes: means.budget / 4, ..Limits::default() };
        let mut lanes = Lanes::load(limits, &progress, entries);
        if !outputs.is_empty() {
            lanes.touch();
        }
        Ok(Actor {
            partition: assignment.partition,
            epoch: assignment.epoch,
            position: lanes.position(),
            lanes,
            payloads: Payloads::new(means.budget),
            reads: Reads::new(means.log.clone(), means.topic, assignment.partition),
            refills_first: false,
            fetching: BTreeMap::new(),
            fetched: VecDeque::new(),
            attempts: FuturesUnordered::new(),
            flying: Flying::default(),
            backlog: VecDeque::new(),
            owed: Owed::new(means.credit.clone(), &[]),
            output_bytes: 0,
            committing: 0,
            committing_bytes: 0,
            dirty_since: None,
            outputs,
            flushing: None,
            draining: None,
            held_back: false,
            gauges_at: Instant::now() + GAUGES,
            looked_at: None,
            look_at: None,
            means,
        })
    }

    /// Works until it is drained, or its mailbox is closed: then the partition is lost and nothing may be said any more.
    pub async fn run(mut self, mut inbox: mpsc::Receiver<Mail>) -> Result<(), LogError> {
        let mut changed = self.means.changed.clone();
        loop {
            self.take_in();
            self.look_around();
            self.start_what_may();
            self.read_what_is_wanted();
            self.flush_when_due()?;
            if self.draining.is_some_and(|until| self.attempts.is_empty() || Instant::now() >= until) {
                return self.settle().await;
            }
            let wake = self.wake_at();
            let (committer, place) = (&self.means.committer, (self.partition, self.epoch));
            tokio::select! {
                Some(ended) = while_sure(&mut self.attempts, &**committer, place) => self.ended(ended),
                result = flushed(&mut self.flushing) => if !self.flushed(result)? { return Ok(()) },
                mail = inbox.recv() => match mail {
                    Some(mail) => self.mail(mail),
                    None => return Ok(()),
                },
                stretch = self.reads.next() => self.reread(stretch),
                Ok(()) = changed.changed(), if self.look_at.is_none() => {
                    let now = Instant::now();
                    self.look_at = Some(self.looked_at.map_or(now, |at| now.max(at + LOOK)));
                }
                () = sleep_until(wake) => {}
            }
            while self.means.committer.may_act(self.partition, self.epoch)
                && let Some(Some(ended)) = self.attempts.next().now_or_never()
            {
                self.ended(ended);
            }
        }
    }

    pub fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::Records { records, position, owed } => {
                self.backlog.extend(records);
                self.position = position;
                self.owed.add(owed);
            }
            Mail::Drain { until } => self.draining = Some(until),
        }
    }

    /// Gives the lanes what was read, as far as the window has room.
    fn take_in(&mut self) {
        let (mut records, mut bytes) = (0, 0);
        while self.lanes.room() && !self.is_behind() {
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
        self.owed.pay(records, bytes);
        self.forget_released();
    }

    /// Standings may have changed.
    fn look_around(&mut self) {
        let now = Instant::now();
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.looked_at = Some(now);
            self.lanes.poke_all();
        }
    }

    fn forget_released(&mut self) {
        for offset in self.lanes.take_released() {
            self.payloads.forget(offset);
        }
    }

    /// What ended and is not committed would be repeated after a crash: with a flush of it nothing more is begun.
    fn is_behind(&self) -> bool {
        self.outputs.len() + self.committing >= FLUSH_OUTPUTS || self.output_bytes + self.committing_bytes >= HELD_BYTES
    }

    fn may_start(&self) -> bool {
        self.draining.is_none()
            && !self.is_behind()
            && self.attempts.len() + self.fetching.len() < IN_FLIGHT
            && !self.flying.is_full()
            && self.means.committer.may_act(self.partition, self.epoch)
    }

    fn start_what_may(&mut self) {
        loop {
            self.held_back = !self.may_start();
            if self.held_back {
                break;
            }
            if let Some((start, record)) = self.fetched.pop_front() {
                self.start_fetched(start, record);
                continue;
            }
            let (work, flying) = (&self.means.work, &self.flying);
            let standing = |id: &_| flying.bound(id, work.standing(id));
            let Some(start) = self.lanes.next(self.means.clock.now(), &standing) else { break };
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
                let (work, now) = (self.means.work.clone(), self.means.clock.now());
                self.flying.begins(&start.integration, record.record.size());
                let integration = start.integration;
                let attempt = async move {
                    let attempted = work.attempt(Job { record: &record, attempt, first_at }).await;
                    Ended { record, integration, first_at: first_at.unwrap_or(now), attempted }
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
        let Ended { record, integration, first_at, attempted } = ended;
        let offset = record.offset;
        self.flying.ends(&integration, record.record.size());
        self.tell(attempted.outputs);
        let answer = match attempted.outcome {
            Outcome::Delivered => Answer::Delivered,
            Outcome::Dead => Answer::Dead,
            Outcome::Abandoned => Answer::Abandoned,
            Outcome::Retry { due, error, status } => {
                let (error, first_at, delivery) = (Some(error), Some(first_at), tell::delivery(&record));
                let about = About { error, status, first_at, delivery };
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
        tell::count_rejected(&outputs);
        self.output_bytes += outputs.iter().map(|o| o.record.size()).sum::<usize>();
        self.outputs.extend(outputs);
    }

    fn wake_at(&mut self) -> Instant {
        let now = Instant::now();
        if now >= self.gauges_at {
            self.gauges_at = now + GAUGES;
            tell::gauges(self.partition, &self.lanes);
        }
        let flush = self.dirty_since.filter(|_| self.flushing.is_none()).map(|since| since + self.linger());
        let again = self.draining.is_none().then(|| now + UNSURE).filter(|_| self.held_back);
        let due = self.lanes.next_due().filter(|_| !self.held_back);
        let due = due.map(|at| now + at.since(self.means.clock.now()).min(IDLE));
        let wake = [flush, due, again, self.look_at, self.draining].into_iter().flatten();
        wake.fold(self.gauges_at, Instant::min)
    }
}

/// The next attempt that ends. A process that slept too long must not send what it was about to: so it is asked each time
/// before the attempts go on, not only when the wait begins.
async fn while_sure(
    attempts: &mut FuturesUnordered<BoxFuture<'static, Ended>>,
    committer: &dyn Committer,
    (partition, epoch): (Partition, Epoch),
) -> Option<Ended> {
    poll_fn(|cx| match committer.may_act(partition, epoch) {
        true => attempts.poll_next_unpin(cx),
        false => Poll::Pending,
    })
    .await
}
