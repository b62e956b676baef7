//! One member of a stage: reads its partitions in turn, within its bound, and tells what becomes of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::groups::{Event, MemberId, Order};
use super::owners::Owners;
use super::request::{Request, Requests};
use super::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::lag::Lag;
use crate::stream::log::{Committer, Epoch, Flushed, LogError, Part, Signal};
use crate::stream::room::Room;
use crate::telemetry::metrics::LOG_SKIPPED;

/// Records and bytes of one signal, at most.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// Before a read or a write that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Ends the membership when the last handle is dropped.
pub(super) type Leave = Arc<DropGuard>;

pub(super) struct EmbeddedCommitter {
    pub(super) stage: &'static str,
    pub(super) requests: Requests,
    pub(super) owners: Arc<Owners>,
    pub(super) lag: Arc<Lag>,
    /// One commit at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) _leave: Leave,
}

#[async_trait]
impl Committer for EmbeddedCommitter {
    async fn commit(&self, mut parts: Vec<Part>) -> Result<Flushed, LogError> {
        let _turn = self.turn.lock().await;
        let reached: Vec<_> = parts.iter().map(|p| (p.commit.partition, p.commit.offset)).collect();
        loop {
            let (stage, owners) = (self.stage, self.owners.clone());
            match self.requests.ask(|done| Request::Commit { stage, owners, parts, done }).await? {
                Ok(flushed) => {
                    let left_out = |p: &Partition| flushed.left_out.iter().any(|(gone, _)| gone == p);
                    reached.iter().filter(|(p, _)| !left_out(p)).for_each(|(p, o)| self.lag.committed(*p, *o));
                    return Ok(flushed);
                }
                // What was not written may be when the disk has room again; what may have been is written over.
                Err((LogError::Unavailable(_) | LogError::UnknownOutcome(_), back)) => parts = back,
                Err((error, _)) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whoever gives a partition to another lives in this process and has voided the epoch before: no member, however long it hung,
    /// needs a sign of life to be sure of itself. Its signals may come late; what it does between is refused here and by the writer.
    fn may_act(&self, partition: Partition, epoch: Epoch) -> bool {
        self.owners.holds(partition, epoch)
    }
}

struct Reading {
    epoch: Epoch,
    /// The next offset to be delivered.
    next: Offset,
}

/// What feeds a member.
pub(super) struct Feeder {
    pub(super) store: Arc<Store>,
    pub(super) topic: Topic,
    pub(super) stage: &'static str,
    pub(super) room: Arc<Room>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) moved: watch::Receiver<()>,
    reading: BTreeMap<Partition, Reading>,
    /// Read last.
    last: Partition,
}

/// The ends of the channels that a feeder holds.
pub(super) struct Wires {
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) moved: watch::Receiver<()>,
}

/// Tells the group that the member has left, however its feeder ends.
pub(super) struct Leaving {
    pub(super) id: MemberId,
    pub(super) group: mpsc::Sender<Event>,
    pub(super) tasks: TaskTracker,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let (id, group) = (self.id, self.group.clone());
        // A group that is gone needs no word.
        self.tasks.spawn(async move { drop(group.send(Event::Leave(id)).await) });
    }
}

impl Feeder {
    pub(super) fn new(
        store: Arc<Store>,
        (stage, topic): (&'static str, Topic),
        room: Arc<Room>,
        wires: Wires,
    ) -> Feeder {
        let Wires { signals, orders, moved } = wires;
        Feeder { store, topic, stage, room, signals, orders, moved, reading: BTreeMap::new(), last: Partition(-1) }
    }

    /// Until the member has left, or `stop`.
    pub(super) async fn run(mut self, leave: CancellationToken, stop: CancellationToken) {
        let gone = {
            let signals = self.signals.clone();
            async move {
                leave.cancelled().await;
                signals.closed().await;
            }
        };
        tokio::pin!(gone);
        loop {
            self.moved.mark_unchanged();
            let fed = self.feed().await;
            // An empty channel that is closed has no more to say: the member was put out.
            let ordered = !self.orders.is_empty() || self.orders.is_closed();
            if matches!(fed, Ok(true)) && !ordered && !stop.is_cancelled() {
                continue;
            }
            let idle = fed.as_ref().is_ok_and(|more| !more);
            let pause = if fed.is_err() { PAUSE } else { Duration::ZERO };
            match fed {
                Ok(_) => {}
                Err(error @ LogError::Unavailable(_)) => {
                    tracing::warn!(stage = self.stage, %error, "the log cannot be read; trying on");
                }
                Err(error) => {
                    // What is damaged is not read again.
                    self.reading.clear();
                    self.tell(Signal::Failed(error)).await;
                }
            }
            tokio::select! {
                biased;
                () = &mut gone => break,
                () = stop.cancelled() => break,
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => {
                        let why = "the membership has ended: the stage took no orders for too long, or its group broke";
                        self.tell(Signal::Failed(LogError::Unavailable(why.into()))).await;
                        break;
                    }
                },
                _ = self.moved.changed(), if idle => {}
                () = self.room.freed(), if idle => {}
                () = tokio::time::sleep(pause), if !idle => {}
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        let signal = match order {
            Order::Assign(assignments) => {
                for a in &assignments {
                    let start = || self.store.spans.start(self.topic, a.partition).unwrap_or_default();
                    let next = a.committed.as_ref().map_or_else(start, |c| c.offset);
                    self.reading.insert(a.partition, Reading { epoch: a.epoch, next });
                }
                Signal::Assigned(assignments)
            }
            Order::Revoke { partitions, until, drained } => {
                self.reading.retain(|held, _| !partitions.iter().any(|(p, _)| p == held));
                match until.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => Signal::Lost { partitions },
                    deadline => Signal::Revoked { partitions, deadline, drained },
                }
            }
            Order::Fail(error) => {
                self.reading.clear();
                Signal::Failed(error)
            }
        };
        self.tell(signal).await;
    }

    /// Hands out what the next partition has; false where none has anything, or there is no room.
    async fn feed(&mut self) -> Result<bool, LogError> {
        if self.signals.is_closed() {
            return Ok(false);
        }
        let after = self.reading.range((Bound::Excluded(self.last), Bound::Unbounded));
        let turn: Vec<Partition> = after.chain(self.reading.range(..=self.last)).map(|(p, _)| *p).collect();
        for partition in turn {
            let (start, end) =
                (self.store.spans.start(self.topic, partition)?, self.store.spans.end(self.topic, partition)?);
            let Some(reading) = self.reading.get_mut(&partition) else { continue };
            let (epoch, from) = (reading.epoch, reading.next);
            if from < start {
                reading.next = start;
                self.skip(partition, epoch, (from, start)).await;
                return Ok(true);
            }
            let (records, bytes) = self.room.left();
            if from >= end || records == 0 || bytes == 0 {
                continue;
            }
            // Before it is read: one that cannot be read does not take the turn of the others.
            self.last = partition;
            let most = (records.min(BATCH), bytes.min(BATCH_BYTES));
            let batch = match self.store.read((self.topic, partition), from, most).await {
                Err(LogError::OutOfRange { .. }) => return Ok(true),
                batch => batch?,
            };
            reading.next = batch.position;
            self.room.take(batch.records.len(), batch.records.iter().map(|r| r.record.size()).sum());
            let (records, position) = (batch.records, batch.position);
            self.tell(Signal::Records { partition, epoch, records, position }).await;
            return Ok(true);
        }
        Ok(false)
    }

    async fn skip(&self, partition: Partition, epoch: Epoch, (from, to): (Offset, Offset)) {
        let (stage, topic) = (self.stage, self.topic.name());
        tracing::error!(stage, topic, %partition, %from, %to, "offsets are gone before they were read; going on after them");
        metrics::counter!(LOG_SKIPPED, "topic" => topic).increment(u64::try_from(to.0 - from.0).unwrap_or(0));
        self.tell(Signal::Skipped { partition, epoch, from, to }).await;
    }

    /// A stage that has gone needs no word.
    async fn tell(&self, signal: Signal) {
        let _ = self.signals.send(signal).await;
    }
}
