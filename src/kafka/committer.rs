//! The commit rule: outputs and offsets in one transaction, only while the partitions are this member's.
//!
//! A thread of its own runs it, since rdkafka's transaction calls block. Order is everything: the group metadata is taken
//! first, then the epochs are checked, then the offsets are sent. Whoever loses a partition after the check has an old
//! generation in the metadata, and the broker refuses it; whoever lost it before is refused here. (The broker checks membership,
//! not ownership: KIP-447.)

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use super::config::TRANSACTION_TIMEOUT;
use super::consumer::Leave;
use super::group::Group;
use super::health::Context;
use super::ownership::Ownership;
use super::transaction::{Fault, Transactions};
use crate::model::ids::{Offset, Partition};
use crate::model::record::Output;
use crate::model::topic::Topic;
use crate::stream::lag::Lag;
use crate::stream::log::{Committed, Committer, Epoch, Flushed, LogError, Part, PartitionCommit, Signal};
use crate::telemetry::metrics::{PRODUCERS_REPLACED, TRANSACTION_ABORTS};

/// Two fences within this time mean that another process uses the name.
const FENCES: Duration = Duration::from_secs(60);
const READ_BACK: Duration = Duration::from_secs(2);
/// A producer whose id is not ready for so long is told of: a transaction's time-out and the broker's sweep.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Job {
    parts: Vec<Part>,
    done: oneshot::Sender<Result<Flushed, LogError>>,
}

/// The handle that a stage holds.
pub(super) struct KafkaCommitter {
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) own: Arc<Ownership>,
    pub(super) _leave: Arc<Leave>,
}

#[async_trait]
impl Committer for KafkaCommitter {
    async fn commit(&self, parts: Vec<Part>) -> Result<Flushed, LogError> {
        let gone = || LogError::Unavailable("the membership has ended".into());
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job { parts, done }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn may_act(&self, partition: Partition, epoch: Epoch) -> bool {
        self.own.may_act(partition, epoch)
    }
}

/// What the commit thread has.
pub(super) struct Writer {
    pub(super) engine: Arc<Engine>,
    pub(super) stage: &'static str,
    pub(super) topic: Topic,
    pub(super) own: Arc<Ownership>,
    pub(super) lag: Arc<Lag>,
    pub(super) consumer: Weak<BaseConsumer<Context<Group>>>,
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) producer: Option<Transactions>,
    pub(super) fences: Vec<Instant>,
}

/// What is known of a flush after an attempt.
enum After {
    /// Nothing of it is in the log.
    NotCommitted,
    /// It may be in the log; the producer has been dropped.
    Unknown,
}

impl Writer {
    /// Settles what a predecessor left open, at once: others wait for it. Then commits what comes.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        if let Err(error) = self.take_id(|| true) {
            return self.fail(&error);
        }
        self.own.set_can_commit();
        while let Some(Job { parts, done }) = self.next(&mut jobs) {
            let result = self.commit(parts);
            if let Err(error @ LogError::InstanceShared(_)) = &result {
                self.fail(error);
            }
            // Nobody waits any more where the stage was dropped.
            let _ = done.send(result);
        }
    }

    /// The next flush. A producer that was given up is replaced without waiting for one: what it left open holds up whoever
    /// takes the partitions over, this member too.
    fn next(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Option<Job> {
        // What is wrong for good is told by the flush that comes next.
        let _ = self.take_id(|| jobs.is_empty() && !jobs.is_closed());
        jobs.blocking_recv()
    }

    /// Tries until there is a producer, as long as it is `wanted`.
    fn take_id(&mut self, wanted: impl Fn() -> bool) -> Result<(), LogError> {
        let mut pause = FIRST_PAUSE;
        let mut told = Instant::now();
        while self.producer.is_none() && !self.own.is_stopped() && wanted() {
            match self.open() {
                Ok(()) => {}
                Err(LogError::Unavailable(why)) => {
                    if told.elapsed() > PATIENCE {
                        told = Instant::now();
                        tracing::warn!(
                            stage = self.stage,
                            why,
                            "the transactional id is not ready; nothing is committed"
                        );
                    }
                    self.rest(&mut pause);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn fail(&self, error: &LogError) {
        self.own.fail();
        // The channel keeps room for it. Where the stage is gone nobody needs to know.
        let _ = self.signals.try_send(Signal::Failed(error.clone()));
    }

    fn rest(&self, pause: &mut Duration) {
        std::thread::sleep(*pause);
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }

    fn commit(&mut self, mut parts: Vec<Part>) -> Result<Flushed, LogError> {
        let mut flushed = Flushed::default();
        let mut unknown = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let standing = |p: &Part| self.own.may_act(p.commit.partition, p.commit.epoch);
            // With the outcome unknown it must be found out first, as long as there is anybody to find it out for.
            if !unknown || !parts.iter().any(standing) {
                let gone = parts.extract_if(.., |p| !standing(p));
                flushed.left_out.extend(gone.map(|p| (p.commit.partition, p.commit.epoch)));
            }
            if parts.is_empty() {
                return Ok(flushed);
            }
            match self.try_once(&parts, &mut unknown)? {
                true => {
                    parts.iter().for_each(|p| self.lag.committed(p.commit.partition, p.commit.offset));
                    return Ok(flushed);
                }
                false if self.own.is_stopped() => {
                    return Err(LogError::Unavailable("the member was left before the flush was committed".into()));
                }
                false => self.rest(&mut pause),
            }
        }
    }

    /// One round: a producer, the outcome of the last round where it is unknown, a transaction. False: go on trying.
    fn try_once(&mut self, parts: &[Part], unknown: &mut bool) -> Result<bool, LogError> {
        if self.producer.is_none() {
            match self.open() {
                Err(LogError::Unavailable(_)) => return Ok(false),
                opened => opened?,
            }
        }
        if *unknown {
            match self.was_committed(parts) {
                Some(true) => return Ok(true),
                Some(false) => *unknown = false,
                None => return Ok(false),
            }
        }
        match self.attempt(parts) {
            Ok(()) => Ok(true),
            Err((fault, sent)) => {
                *unknown = matches!(self.settle(fault, sent)?, After::Unknown);
                Ok(false)
            }
        }
    }

    fn open(&mut self) -> Result<(), LogError> {
        let id = self.engine.config.transactional_id(self.stage);
        let producer = Transactions::new(
            &self.engine.config,
            (&id, TRANSACTION_TIMEOUT),
            &self.engine.names,
            &self.engine.health,
        )?;
        match producer.init() {
            Ok(()) => {
                self.producer = Some(producer);
                Ok(())
            }
            Err(error) => {
                self.engine.threads.bury(producer);
                Err(error)
            }
        }
    }

    /// The transaction. With a fault comes whether the commit itself had been asked for.
    fn attempt(&mut self, parts: &[Part]) -> Result<(), (Fault, bool)> {
        let Some(producer) = self.producer.as_mut() else { return Err((Fault::Abort(KafkaError::Canceled), false)) };
        let outputs: Vec<&Output> = parts.iter().flat_map(|p| &p.outputs).collect();
        let list = offset_list(self.engine.names.of(self.topic), parts).map_err(|f| (f, false))?;
        producer.begin().map_err(|f| (f, false))?;
        producer.write(&outputs).map_err(|f| (f, false))?;
        let ended = || Fault::Permanent(LogError::Unavailable("the membership has ended".into()));
        let consumer = self.consumer.upgrade().ok_or_else(|| (ended(), false))?;
        let metadata = consumer.group_metadata().ok_or_else(|| (ended(), false))?;
        // librdkafka sets this flag in the same step in which it forgets the generation and the member id, which rdkafka does
        // not show: metadata that the broker would not check is never used.
        if consumer.assignment_lost() {
            self.own.void_all();
        }
        if !parts.iter().all(|p| self.own.may_act(p.commit.partition, p.commit.epoch)) {
            return Err((Fault::Abort(KafkaError::Canceled), false));
        }
        producer.send_offsets(&list, &metadata).map_err(|f| (f, false))?;
        producer.commit().map_err(|f| (f, true))
    }

    /// Does what a fault asks for.
    fn settle(&mut self, fault: Fault, sent: bool) -> Result<After, LogError> {
        let after = if sent { After::Unknown } else { After::NotCommitted };
        match fault {
            Fault::Abort(error) => {
                tracing::debug!(stage = self.stage, %error, "transaction aborted");
                metrics::counter!(TRANSACTION_ABORTS, "stage" => self.stage).increment(1);
                self.abort();
                // Another process has joined under this name. Seen here, before its producer fences ours, and ended here: a
                // producer that is made anew would fence the other in turn, and both would end.
                if matches!(&error, KafkaError::Transaction(e) if e.code() == Code::FencedInstanceId) {
                    self.fenced(true)?;
                }
                Ok(After::NotCommitted)
            }
            Fault::Permanent(error) => {
                self.abort();
                Err(error)
            }
            Fault::Replace(error) => {
                tracing::warn!(stage = self.stage, %error, "transactional producer replaced");
                self.replace();
                Ok(after)
            }
            Fault::Fenced { young } => {
                tracing::warn!(stage = self.stage, young, "transactional producer fenced");
                self.replace();
                self.fenced(young)?;
                Ok(after)
            }
        }
    }

    fn abort(&mut self) {
        if let Some(Err(fault)) = self.producer.as_ref().map(Transactions::abort) {
            tracing::warn!(stage = self.stage, ?fault, "abort failed, transactional producer replaced");
            self.replace();
        }
    }

    fn replace(&mut self) {
        metrics::counter!(PRODUCERS_REPLACED, "stage" => self.stage).increment(1);
        if let Some(producer) = self.producer.take() {
            self.engine.threads.bury(producer);
        }
    }

    fn fenced(&mut self, young: bool) -> Result<(), LogError> {
        if young {
            self.fences.retain(|at| at.elapsed() < FENCES);
            self.fences.push(Instant::now());
        }
        if self.fences.len() >= 2 {
            return Err(LogError::InstanceShared(self.engine.config.instance_name().to_owned()));
        }
        Ok(())
    }

    /// After the id was initialised anew, which settled the transaction: is what was sent what is committed? `None`: no answer,
    /// or none of the partitions is still ours.
    fn was_committed(&self, parts: &[Part]) -> Option<bool> {
        let consumer = self.consumer.upgrade()?;
        let name = self.engine.names.of(self.topic);
        let found = committed(&consumer, name, parts.iter().map(|p| p.commit.partition), READ_BACK).ok()?;
        let is = |c: &PartitionCommit, (partition, there): &(Partition, Option<Committed>)| {
            let same = |t: &Committed| t.offset == c.offset && t.metadata == c.metadata;
            *partition == c.partition && there.as_ref().is_some_and(same)
        };
        // Asked after the answer: what a new owner committed meanwhile may look the same, and says nothing of our flush.
        let mut ours = parts.iter().map(|p| &p.commit).filter(|c| self.own.may_act(c.partition, c.epoch)).peekable();
        ours.peek()?;
        // One is enough, they were written together.
        Some(ours.any(|c| found.iter().any(|f| is(c, f))))
    }
}

/// The committed offsets with their metadata, once no transaction is pending on them. Blocks up to `wait`.
pub(super) fn committed(
    consumer: &BaseConsumer<Context<Group>>,
    topic: &str,
    partitions: impl Iterator<Item = Partition>,
    wait: Duration,
) -> Result<Vec<(Partition, Option<Committed>)>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, partition.0);
    }
    let found = consumer.committed_offsets(asked, wait)?;
    let one = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        e.error()?;
        let committed = match e.offset() {
            rdkafka::Offset::Offset(o) => Some(Committed { offset: Offset(o), metadata: e.metadata().to_owned() }),
            _ => None,
        };
        Ok((Partition(e.partition()), committed))
    };
    found.elements().iter().map(one).collect()
}

fn offset_list(topic: &str, parts: &[Part]) -> Result<TopicPartitionList, Fault> {
    let mut list = TopicPartitionList::with_capacity(parts.len());
    for o in parts.iter().map(|p| &p.commit) {
        // A NUL would cut it short on its way through C and panic in the binding.
        if o.metadata.contains('\0') {
            return Err(Fault::Permanent(LogError::Fatal("offset metadata may not contain NUL".into())));
        }
        let mut element = list.add_partition(topic, o.partition.0);
        element.set_offset(rdkafka::Offset::Offset(o.offset.0)).map_err(Fault::Abort)?;
        element.set_metadata(&o.metadata);
    }
    Ok(list)
}
