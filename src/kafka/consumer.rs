//! A member of a stage's group: one thread that polls, hands out records within the bound, and never lets a partition speak
//! after it was revoked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::mpsc;

use super::Engine;
use super::codec::received;
use super::committer::{KafkaCommitter, Writer};
use super::group::{Group, Held, RESERVED_SIGNALS, Reading, State};
use super::health::{Context, log_error};
use super::ownership::Ownership;
use super::positions::{Start, Starts, look_up};
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::lag::Lag;
use crate::stream::log::{Assignment, LogError, Member, Membership, Signal};
use crate::stream::room::{Room, RoomCredit};
use crate::telemetry::metrics::{LOG_SKIPPED, REJOINS};

/// Records that one round of polling may gather before they are handed out.
const ROUND: usize = 500;
const IDLE: Duration = Duration::from_millis(100);
const BUSY: Duration = Duration::from_millis(20);
/// How long leaving may take before the member joins again.
const LEAVE: Duration = Duration::from_secs(10);

pub(super) type Client = BaseConsumer<Context<Group>>;

/// Held by the handles of a member; the last one gone ends its threads.
pub(super) struct Leave(Arc<Ownership>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Joins the stage's group.
pub(super) fn join(engine: &Arc<Engine>, membership: &Membership) -> Result<Member, LogError> {
    let stage = membership.stage;
    let topic = membership.topic;
    let name = engine.names.of(topic).to_owned();
    engine.metadata.partitions(&name)?;
    let own = Arc::new(Ownership::new(engine.config.session() / 2));
    let room = Arc::new(Room::new(membership.max_records, membership.max_bytes));
    let lag = Arc::new(Lag::new(engine.config.group(stage), name.clone()));
    // Every signal but the reserved ones carries a record or tells a position, and each record takes room.
    let (tx, signals) = mpsc::channel(membership.max_records + 2 * RESERVED_SIGNALS);
    let group = Group {
        topic: name.clone(),
        metadata: engine.metadata.clone(),
        own: own.clone(),
        room: room.clone(),
        lag: lag.clone(),
        signals: tx.clone(),
        state: State::default().into(),
    };
    let context = Context::new(engine.config.group(stage), &engine.health, group);
    let consumer: Client = engine
        .config
        .member(stage)
        .create_with_context(context)
        .map_err(|e| log_error(&e, &format!("the consumer of {stage}"), &engine.health))?;
    consumer.subscribe(&[&name]).map_err(|e| log_error(&e, &name, &engine.health))?;
    let consumer = Arc::new(consumer);

    let (jobs, queue) = mpsc::channel(1);
    let writer = Writer {
        engine: engine.clone(),
        stage,
        topic,
        own: own.clone(),
        lag,
        consumer: Arc::downgrade(&consumer),
        signals: tx,
        producer: None,
        fences: Vec::new(),
    };
    engine.threads.spawn(&format!("commit-{stage}"), move || writer.run(queue))?;
    let poller = Poller {
        engine: engine.clone(),
        consumer,
        stage,
        topic,
        answers: mpsc::channel(ANSWERS),
        paused: false,
        rejoining: None,
    };
    engine.threads.spawn(&format!("poll-{stage}"), move || poller.run())?;
    let leave = Arc::new(Leave(own.clone()));
    Ok(Member {
        signals,
        committer: Arc::new(KafkaCommitter { jobs, own, _leave: leave.clone() }),
        credit: Arc::new(RoomCredit { room, leave }),
    })
}

/// Answers that may wait for the poll thread; whoever looks up waits with the next.
const ANSWERS: usize = 64;

/// A member whose partitions were lost is given some within this time, or a new one takes its place.
const JOIN_WITHIN: Duration = Duration::from_secs(15);
/// The same for the start of partitions that it was given: a predecessor's transaction holds it up for 20 s at most.
const START_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Poller {
    pub(super) engine: Arc<Engine>,
    pub(super) consumer: Arc<Client>,
    pub(super) stage: &'static str,
    pub(super) topic: Topic,
    /// Where partitions begin, as it is found out.
    answers: (mpsc::Sender<Starts>, mpsc::Receiver<Starts>),
    /// All partitions are paused, for want of room.
    pub(super) paused: bool,
    /// Since when the member has been leaving, to join again with new epochs.
    rejoining: Option<Instant>,
}

impl Poller {
    pub(super) fn group(&self) -> &Group {
        &self.consumer.context().hooks
    }

    fn run(mut self) {
        while !self.has_ended() {
            self.group().own.touch();
            if self.group().give_up_void() {
                self.leave();
            }
            self.join_again();
            self.find_starts();
            self.mind_the_room();
            if let Err(error) = self.round().and_then(|()| self.is_in_group()) {
                self.group().own.fail();
                self.group().tell(Signal::Failed(error));
            }
            self.hand_out();
        }
        // Leaving may block, and does so on this thread.
        self.group().own.stop();
        self.group().own.void_all();
        self.group().give_up_void();
    }

    fn has_ended(&self) -> bool {
        let group = self.group();
        group.own.has_failed() || (group.own.is_stopped() && group.signals.is_closed())
    }

    /// Gives everything back to the group, so that what comes next is a new assignment.
    fn leave(&mut self) {
        tracing::warn!(stage = self.stage, "the member cannot be sure of its partitions; leaving and joining again");
        metrics::counter!(REJOINS, "stage" => self.stage).increment(1);
        self.consumer.unsubscribe();
        self.rejoining = Some(Instant::now());
    }

    fn join_again(&mut self) {
        let Some(since) = self.rejoining else { return };
        let left = self.consumer.assignment().is_ok_and(|a| a.count() == 0);
        if !left && since.elapsed() < LEAVE {
            return;
        }
        match self.consumer.subscribe(&[self.engine.names.of(self.topic)]) {
            Ok(()) => self.rejoining = None,
            Err(error) => tracing::warn!(stage = self.stage, %error, "joining again failed; trying on"),
        }
    }

    /// Asks where partitions that were assigned since begin, and starts those for which there is an answer.
    fn find_starts(&mut self) {
        let asked = self.group().state().take_unasked();
        if let Some((number, partitions)) = asked {
            let assignment = (number, self.topic, partitions);
            if let Err(error) = look_up(&self.engine, &self.consumer, assignment, &self.answers.0) {
                tracing::error!(stage = self.stage, %error, "the start of partitions cannot be asked for");
                self.leave();
            }
        }
        // Work that cannot be flushed yet would be repeated if the process ended now.
        while self.group().own.can_commit()
            && let Ok((number, starts)) = self.answers.1.try_recv()
        {
            self.start(number, starts);
        }
    }

    /// Signals the assignment, then lets the partitions be fetched.
    fn start(&self, number: u64, starts: Vec<Start>) {
        let group = self.group();
        let mut assigned = Vec::new();
        let mut skipped = Vec::new();
        {
            let mut state = group.state();
            for start in starts {
                let partition = start.partition;
                if !state.is_pending(partition, number) {
                    continue;
                }
                let epoch = group.own.grant(partition);
                group.lag.committed(partition, start.next);
                let reading = Reading::new(epoch, start.next);
                state.parts.insert(partition.0, Held::Reading(reading));
                if let Some(from) = start.lost_from {
                    skipped.push(Signal::Skipped { partition, epoch, from, to: start.next });
                }
                assigned.push(Assignment { partition, epoch, committed: start.committed });
            }
        }
        if assigned.is_empty() {
            return;
        }
        group.tell(Signal::Assigned(assigned));
        skipped.into_iter().for_each(|signal| self.skip(signal));
    }

    fn skip(&self, signal: Signal) {
        if let Signal::Skipped { partition, from, to, .. } = &signal {
            let (stage, topic) = (self.stage, self.topic.name());
            tracing::error!(stage, topic, %partition, %from, %to, "offsets are gone before they were read; going on after them");
            let lost = u64::try_from(to.0 - from.0).unwrap_or(0);
            metrics::counter!(LOG_SKIPPED, "topic" => topic).increment(lost);
        }
        self.group().tell(signal);
    }

    /// Polls until the log is dry, the round is full or there is no room.
    fn round(&mut self) -> Result<(), LogError> {
        let mut wait = if self.is_waiting() { BUSY } else { IDLE };
        for _ in 0..ROUND {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => self.group().gather(received(&message)),
                Some(Err(error)) => self.handle(&error)?,
            }
            wait = Duration::ZERO;
            if !self.group().room.is_free() {
                break;
            }
        }
        Ok(())
    }

    /// After a session that timed out with the coordinator away, librdkafka may never join again, or never be told where its
    /// partitions begin. A new client does, and is.
    fn is_in_group(&self) -> Result<(), LogError> {
        let mut state = self.group().state();
        if self.engine.health.is_down() {
            state.wait_anew();
            return Ok(());
        }
        if state.lost_at.is_some_and(|since| since.elapsed() > JOIN_WITHIN) {
            let why = format!("the group of {} has given nothing since its partitions were lost", self.stage);
            return Err(LogError::Unavailable(why));
        }
        if state.pending_for() > START_WITHIN {
            return Err(LogError::Unavailable(format!(
                "the broker does not tell where the partitions of {} begin: most often a transaction on their offsets was \
                 left open by it; kafka-transactions.sh find-hanging shows it, kafka-transactions.sh abort ends it",
                self.stage
            )));
        }
        Ok(())
    }

    /// Is something expected that does not come through the poll?
    fn is_waiting(&self) -> bool {
        let mut state = self.group().state();
        self.paused || self.rejoining.is_some() || state.any_pending() || state.any_seeking()
    }

    fn handle(&mut self, error: &KafkaError) -> Result<(), LogError> {
        let code = error.rdkafka_error_code();
        match code {
            Some(Code::AutoOffsetReset) => {
                // Retention overtook the reader. The next assignment finds out by how much.
                tracing::warn!(stage = self.stage, "the offset to be read is not in the log any more");
                self.group().own.void_all();
                Ok(())
            }
            Some(Code::FencedInstanceId) => {
                Err(LogError::InstanceShared(self.engine.config.instance_name().to_owned()))
            }
            Some(Code::GroupAuthorizationFailed) => {
                let group = self.engine.config.group(self.stage);
                Err(log_error(error, &format!("group {group}"), &self.engine.health))
            }
            Some(Code::TopicAuthorizationFailed) => {
                Err(log_error(error, &format!("topic {}", self.engine.names.of(self.topic)), &self.engine.health))
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(LogError::Fatal(format!("the consumer of {} failed for good: {error}", self.stage)))
            }
            _ => {
                tracing::debug!(stage = self.stage, %error, "poll");
                Ok(())
            }
        }
    }

    /// Hands out what was gathered, as far as the channel has room; where nothing came, tells positions that passed gaps.
    fn hand_out(&self) {
        let group = self.group();
        let mut state = group.state();
        let mut quiet = true;
        for (partition, part) in &mut state.parts {
            let Held::Reading(reading) = part else { continue };
            if reading.records.is_empty() || group.signals.capacity() <= RESERVED_SIGNALS {
                quiet &= reading.records.is_empty();
                continue;
            }
            quiet = false;
            let records = std::mem::take(&mut reading.records);
            reading.bytes = 0;
            reading.told = reading.next;
            let (partition, epoch, position) = (Partition(*partition), reading.epoch, Offset(reading.next));
            let _ = group.signals.try_send(Signal::Records { partition, epoch, records, position });
        }
        if quiet {
            drop(state);
            self.tell_positions();
        }
    }

    /// Markers of transactions and aborted records move a position although no record comes: without this, the last of them
    /// would count as lag for ever.
    fn tell_positions(&self) {
        let Ok(positions) = self.consumer.position() else { return };
        let group = self.group();
        let mut state = group.state();
        for element in positions.elements() {
            let rdkafka::Offset::Offset(position) = element.offset() else { continue };
            let Some(Held::Reading(reading)) = state.parts.get_mut(&element.partition()) else { continue };
            let room = group.signals.capacity() > RESERVED_SIGNALS;
            if room
                && reading.seeking.is_none()
                && reading.records.is_empty()
                && position > reading.told.max(reading.next)
            {
                (reading.next, reading.told) = (position, position);
                let _ = group.signals.try_send(Signal::Records {
                    partition: Partition(element.partition()),
                    epoch: reading.epoch,
                    records: Vec::new(),
                    position: Offset(position),
                });
            }
        }
    }
}
