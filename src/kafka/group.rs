//! What a group consumer knows of its partitions, and what it does when the group takes or gives some.
//!
//! librdkafka calls `rebalance` inside the poll, on the thread that polls, and waits for it. So does the whole group, for a
//! revoke: it lasts until the stage has drained, half a session at most. An assignment is taken over at once, paused; where to
//! begin is asked for beside the poll, since the answer waits for the predecessor's transactions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;
use tokio::sync::oneshot::error::TryRecvError;

use super::health::{Context, Hooks};
use super::metadata::Metadata;
use super::ownership::Ownership;
use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;
use crate::stream::lag::Lag;
use crate::stream::log::{Drained, Epoch, Signal};
use crate::stream::room::Room;

/// Left free in the channel of signals, for those that carry no records.
pub(super) const RESERVED_SIGNALS: usize = 64;

/// For so long the brokers are asked where the partitions of an assignment begin.
const STARTS_WITHIN: Duration = Duration::from_secs(2);

/// A partition that the group gave to this member.
pub(super) enum Held {
    /// Assigned and paused; where to begin is not known yet. The number tells one assignment from the next.
    Pending {
        number: u64,
        since: Instant,
        asked: bool,
    },
    Reading(Reading),
}

pub(super) struct Reading {
    pub(super) epoch: Epoch,
    /// The next offset to be delivered.
    pub(super) next: i64,
    /// The position that was last told.
    pub(super) told: i64,
    pub(super) records: Vec<Received>,
    pub(super) bytes: usize,
    /// Not fetching: since then a seek to `next` is to be taken.
    pub(super) seeking: Option<Instant>,
}

/// A partition that takes no position for this long never will: the fetch before was out of range.
const SEEK_WITHIN: Duration = Duration::from_secs(3);

impl Reading {
    /// Has a seek been asked for in vain for too long? One that is not ready to be set is tried again in the next round.
    pub(super) fn is_stuck(&self) -> bool {
        self.seeking.is_some_and(|since| since.elapsed() > SEEK_WITHIN)
    }

    pub(super) fn new(epoch: Epoch, next: Offset) -> Self {
        Reading { epoch, next: next.0, told: next.0, records: Vec::new(), bytes: 0, seeking: Some(Instant::now()) }
    }
}

/// The state of a group consumer, shared between its poll loop and the callbacks inside the poll.
pub(super) struct Group {
    pub(super) topic: String,
    pub(super) metadata: Metadata,
    pub(super) own: Arc<Ownership>,
    pub(super) room: Arc<Room>,
    pub(super) lag: Arc<Lag>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Since when the group has not given anything after a loss.
    pub(super) lost_at: Option<Instant>,
    pub(super) parts: HashMap<i32, Held>,
    assignments: u64,
}

impl State {
    fn readings(&mut self) -> impl Iterator<Item = &mut Reading> {
        self.parts.values_mut().filter_map(|part| match part {
            Held::Reading(reading) => Some(reading),
            Held::Pending { .. } => None,
        })
    }

    /// The partitions of the oldest assignment whose start has not been asked for. From here on it has.
    pub(super) fn take_unasked(&mut self) -> Option<(u64, Vec<Partition>)> {
        let unasked = |part: &Held| match part {
            Held::Pending { number, asked: false, .. } => Some(*number),
            _ => None,
        };
        let oldest = self.parts.values().filter_map(unasked).min()?;
        let mut partitions = Vec::new();
        for (partition, part) in &mut self.parts {
            if unasked(part) == Some(oldest)
                && let Held::Pending { asked, .. } = part
            {
                *asked = true;
                partitions.push(Partition(*partition));
            }
        }
        Some((oldest, partitions))
    }

    pub(super) fn is_pending(&self, partition: Partition, number: u64) -> bool {
        matches!(self.parts.get(&partition.0), Some(Held::Pending { number: n, .. }) if *n == number)
    }

    /// Nothing can be expected while the brokers are away: whatever is waited for is waited for from now on.
    pub(super) fn wait_anew(&mut self) {
        let now = Instant::now();
        self.lost_at = self.lost_at.map(|_| now);
        for held in self.parts.values_mut() {
            if let Held::Pending { since, .. } = held {
                *since = now;
            }
        }
    }

    /// For how long a partition has been given whose start is not known yet.
    pub(super) fn pending_for(&self) -> Duration {
        let since = |held: &Held| match held {
            Held::Pending { since, .. } => since.elapsed(),
            Held::Reading(_) => Duration::ZERO,
        };
        self.parts.values().map(since).max().unwrap_or_default()
    }

    pub(super) fn any_pending(&self) -> bool {
        self.parts.values().any(|part| matches!(part, Held::Pending { .. }))
    }

    /// Every partition is to be set to its position again.
    pub(super) fn seek_all(&mut self) {
        let now = Instant::now();
        self.readings().for_each(|r| r.seeking = Some(now));
    }

    pub(super) fn any_stuck(&mut self) -> bool {
        self.readings().any(|r| r.is_stuck())
    }

    pub(super) fn any_seeking(&mut self) -> bool {
        self.readings().any(|r| r.seeking.is_some())
    }

    /// The partitions that are read and fit, at their positions.
    pub(super) fn reading(&self, topic: &str, fits: impl Fn(&Reading) -> bool) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, part) in &self.parts {
            if let Held::Reading(reading) = part
                && fits(reading)
                && let Err(error) = list.add_partition_offset(topic, *partition, rdkafka::Offset::Offset(reading.next))
            {
                tracing::error!(topic, partition, %error, "a position that Kafka does not know");
            }
        }
        list
    }
}

impl Hooks for Group {
    fn statistics(&self, statistics: &Statistics) {
        if let Some(topic) = statistics.topics.get(&self.topic) {
            self.lag.ends(topic.partitions.values().map(|p| (Partition(p.partition), p.hi_offset)));
        }
    }
}

impl ConsumerContext for Context<Group> {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let result = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.hooks.assigned(consumer, list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.hooks.revoked(consumer, list),
            other => {
                let code: Code = other.into();
                tracing::warn!(topic = %self.hooks.topic, %code, "rebalance failed");
                self.hooks.own.void_all();
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::warn!(topic = %self.hooks.topic, %error, "rebalance failed; leaving and joining again");
            self.hooks.own.void_all();
        }
    }
}

impl Group {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assigned(
        &self,
        consumer: &BaseConsumer<Context<Group>>,
        list: &TopicPartitionList,
    ) -> rdkafka::error::KafkaResult<()> {
        self.own.touch();
        let mut paused = TopicPartitionList::new();
        let until = Instant::now() + STARTS_WITHIN;
        for partition in list.elements().iter().map(|e| Partition(e.partition())) {
            let start = if Instant::now() < until { self.metadata.start(&self.topic, partition) } else { None };
            self.own.touch();
            let start = rdkafka::Offset::Offset(start.unwrap_or_default().0);
            paused.add_partition_offset(&self.topic, partition.0, start)?;
        }
        // A fetch may be out before the pause is in. So it must be of an offset that exists: after one that is out of range
        // librdkafka takes no seek. And never of `End` or `Beginning`: what that is must be asked for, the pause makes the answer
        // outdated, and librdkafka asks again half a second later, when its answer overrules the seek and records are skipped.
        // (Assigning only once the start is known would take back that an assignment was lost, which a flush goes by.)
        consumer.incremental_assign(&paused)?;
        consumer.pause(&paused)?;
        let mut state = self.state();
        state.assignments += 1;
        state.lost_at = None;
        let (number, since) = (state.assignments, Instant::now());
        for element in list.elements() {
            state.parts.insert(element.partition(), Held::Pending { number, since, asked: false });
        }
        Ok(())
    }

    fn revoked(
        &self,
        consumer: &BaseConsumer<Context<Group>>,
        list: &mut TopicPartitionList,
    ) -> rdkafka::error::KafkaResult<()> {
        self.own.touch();
        let taken = self.take(list.elements().iter().map(|e| e.partition()));
        let lost = consumer.assignment_lost();
        if lost {
            self.state().lost_at = Some(Instant::now());
        }
        let (standing, void): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(p, e)| !lost && self.own.holds(*p, *e));
        if !standing.is_empty() {
            self.drain(standing.clone());
        }
        for (partition, epoch) in standing.iter().chain(&void) {
            self.own.revoke(*partition, *epoch);
            self.lag.forget(*partition);
        }
        if !void.is_empty() {
            self.tell(Signal::Lost { partitions: void });
        }
        consumer.incremental_unassign(list)
    }

    /// Does the assignment of this number still wait for the partition's start?
    pub(super) fn is_pending(&self, partition: Partition, number: u64) -> bool {
        self.state().is_pending(partition, number)
    }

    /// Takes partitions out of the state: nothing of them is delivered from here on.
    fn take(&self, partitions: impl Iterator<Item = i32>) -> Vec<(Partition, Epoch)> {
        let mut state = self.state();
        let mut taken = Vec::new();
        for partition in partitions {
            if let Some(Held::Reading(reading)) = state.parts.remove(&partition) {
                self.room.give_back(reading.records.len(), reading.bytes);
                taken.push((Partition(partition), reading.epoch));
            }
        }
        taken
    }

    /// Keeps a record until it is handed out. One that was fetched before a seek, or of a partition that is not read, is dropped.
    pub(super) fn gather(&self, record: Received) {
        let mut state = self.state();
        let Some(Held::Reading(reading)) = state.parts.get_mut(&record.partition.0) else { return };
        if reading.seeking.is_some() || record.offset.0 < reading.next {
            return;
        }
        let size = record.record.size();
        self.room.take(1, size);
        reading.next = record.offset.next().0;
        reading.bytes += size;
        reading.records.push(record);
    }

    /// Waits until the stage has finished with the partitions, half a session at most.
    fn drain(&self, partitions: Vec<(Partition, Epoch)>) {
        let deadline = self.own.limit();
        let until = Instant::now() + deadline;
        let (drained, mut done) = Drained::new();
        if !self.tell(Signal::Revoked { partitions, deadline, drained }) {
            return;
        }
        while matches!(done.try_recv(), Err(TryRecvError::Empty)) && Instant::now() < until {
            self.own.touch();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.own.touch();
    }

    /// Partitions whose epochs are void although the group has not said so: told as lost. True where there were some.
    pub(super) fn give_up_void(&self) -> bool {
        let void: Vec<i32> = {
            let state = self.state();
            let gone = |(p, part): (&i32, &Held)| match part {
                Held::Reading(r) if !self.own.holds(Partition(*p), r.epoch) => Some(*p),
                _ => None,
            };
            state.parts.iter().filter_map(gone).collect()
        };
        let lost = self.take(void.into_iter());
        if lost.is_empty() {
            return false;
        }
        for (partition, epoch) in &lost {
            self.own.revoke(*partition, *epoch);
            self.lag.forget(*partition);
        }
        self.tell(Signal::Lost { partitions: lost })
    }

    /// Sends a signal that carries no records. The channel keeps room for those; where the stage has stopped taking even them,
    /// the member is not to be trusted any more. False where nobody was told.
    pub(super) fn tell(&self, signal: Signal) -> bool {
        let until = Instant::now() + self.own.limit();
        let mut signal = signal;
        loop {
            match self.signals.try_send(signal) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(back)) if Instant::now() < until => signal = back,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::error!(topic = %self.topic, "a stage takes no signals; its partitions are void");
                    self.own.void_all();
                    return false;
                }
            }
            self.own.touch();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
