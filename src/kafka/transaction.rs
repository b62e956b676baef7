//! A transactional producer: one transaction at a time, its calls blocking, its faults sorted by what they ask for.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::codec::outgoing;
use super::config::{KafkaConfig, Names};
use super::health::{Context, Health, Hooks, log_error};
use super::producer::refusal;
use crate::model::record::Output;
use crate::stream::log::LogError;

/// For each of the calls that wait for the coordinator; below the transaction's own time-out.
const CALL: Duration = Duration::from_secs(8);

/// What went wrong in a transaction, by what is to be done.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing was committed. Abort and go on with the same producer.
    Abort(KafkaError),
    /// The producer is of no use any more: drop it, make another.
    Replace(KafkaError),
    /// A producer of the same id was started. `young`: the transaction was not old enough to have been timed out by the
    /// broker, which looks the same.
    Fenced { young: bool },
    /// It will never work. Nothing was committed; abort.
    Permanent(LogError),
}

/// Counts the delivery reports of the current transaction; the commit thread waits for the last one. (rdkafka's own `flush`
/// waits in steps of 100 ms on a queue that another thread empties.)
#[derive(Debug, Default)]
pub(super) struct Acks {
    state: Mutex<Reports>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Reports {
    transaction: usize,
    open: usize,
    failed: Option<(usize, KafkaError)>,
}

impl Hooks for Acks {}

/// Which record of which transaction a report is for.
pub(super) struct Ticket {
    transaction: usize,
    index: usize,
}

impl ProducerContext for Context<Acks> {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let Ok(mut state) = self.hooks.state.lock() else { return };
        if state.transaction != ticket.transaction {
            return;
        }
        state.open = state.open.saturating_sub(1);
        if let Err((error, _)) = result {
            state.failed.get_or_insert_with(|| (ticket.index, error.clone()));
        }
        if state.open == 0 {
            self.hooks.changed.notify_all();
        }
    }
}

pub(super) struct Transactions {
    client: ThreadedProducer<Context<Acks>>,
    id: String,
    names: Arc<Names>,
    /// The broker aborts a transaction that is open for longer.
    lasts: Duration,
    began: Instant,
}

impl Transactions {
    /// Makes the producer; `init` must follow.
    pub(super) fn new(
        config: &KafkaConfig,
        (id, lasts): (&str, Duration),
        names: &Arc<Names>,
        health: &Arc<Health>,
    ) -> Result<Self, LogError> {
        let context = Context::new(id, health, Acks::default());
        let client = config
            .transactional(id, lasts)
            .create_with_context(context)
            .map_err(|e| log_error(&e, &format!("the producer {id}"), health))?;
        Ok(Transactions { client, id: id.to_owned(), names: names.clone(), lasts, began: Instant::now() })
    }

    fn health(&self) -> &Health {
        self.client.client().context().health()
    }

    /// Settles what a predecessor of the same id left open, and fences it. May be called again after `Unavailable`.
    pub(super) fn init(&self) -> Result<(), LogError> {
        match self.client.init_transactions(CALL) {
            Ok(()) => {
                self.health().up();
                Ok(())
            }
            Err(e) => Err(log_error(&e, &format!("transactional id {}", self.id), self.health())),
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        self.began = Instant::now();
        self.client.begin_transaction().map_err(|e| self.fault(e))
    }

    /// Writes the records and waits until the broker has every one.
    pub(super) fn write(&self, outputs: &[&Output]) -> Result<(), Fault> {
        let acks = &self.client.client().context().hooks;
        let transaction = acks.start(outputs.len());
        for (index, output) in outputs.iter().enumerate() {
            self.enqueue(output, Ticket { transaction, index })?;
        }
        match acks.wait() {
            None => Ok(()),
            Some((index, error)) => Err(self.undelivered(error, outputs.get(index).copied())),
        }
    }

    fn enqueue(&self, output: &Output, ticket: Ticket) -> Result<(), Fault> {
        let name = self.names.of(output.topic);
        let mut ticket = Box::new(ticket);
        let deadline = Instant::now() + CALL;
        loop {
            let Err((error, record)) = self.client.send(outgoing(name, output.partition, &output.record, ticket))
            else {
                return Ok(());
            };
            let full = error.rdkafka_error_code() == Some(Code::QueueFull);
            if !full || Instant::now() > deadline {
                return Err(self.undelivered(error, Some(output)));
            }
            ticket = record.delivery_opaque;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn undelivered(&self, error: KafkaError, output: Option<&Output>) -> Fault {
        if let Some((code, _)) = self.client.client().fatal_error() {
            return self.fatal(code, error);
        }
        match (error.rdkafka_error_code(), output) {
            (
                Some(
                    Code::MessageSizeTooLarge
                    | Code::InvalidMessageSize
                    | Code::UnknownTopic
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownPartition
                    | Code::TopicAuthorizationFailed
                    | Code::InvalidRecord
                    | Code::PolicyViolation,
                ),
                Some(output),
            ) => Fault::Permanent(refusal(&error, output, self.names.of(output.topic), self.health())),
            _ => Fault::Abort(error),
        }
    }

    pub(super) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Fault> {
        self.client.send_offsets_to_transaction(offsets, group, CALL).map_err(|e| self.fault(e))
    }

    /// `Abort`: not committed. `Replace` and `Fenced`: whether it was committed is not known until the id is initialised anew.
    pub(super) fn commit(&self) -> Result<(), Fault> {
        match self.client.commit_transaction(CALL) {
            Ok(()) => {
                self.health().up();
                Ok(())
            }
            Err(error) => Err(match self.fault(error) {
                Fault::Abort(KafkaError::Transaction(e)) if !e.txn_requires_abort() => {
                    Fault::Replace(KafkaError::Transaction(e))
                }
                other => other,
            }),
        }
    }

    pub(super) fn abort(&self) -> Result<(), Fault> {
        self.client.abort_transaction(CALL).map_err(|error| match self.fault(error) {
            Fault::Abort(e) => Fault::Replace(e),
            other => other,
        })
    }

    fn fault(&self, error: KafkaError) -> Fault {
        match &error {
            KafkaError::Transaction(e) if is_fence(e.code()) || e.is_fatal() => self.fatal(e.code(), error.clone()),
            KafkaError::Transaction(e) if never(e.code()) => {
                Fault::Permanent(log_error(&error, &format!("transactional id {}", self.id), self.health()))
            }
            _ => Fault::Abort(error),
        }
    }

    fn fatal(&self, code: Code, error: KafkaError) -> Fault {
        if is_fence(code) { Fault::Fenced { young: self.began.elapsed() < self.lasts } } else { Fault::Replace(error) }
    }
}

fn is_fence(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

fn never(code: Code) -> bool {
    matches!(
        code,
        Code::TransactionalIdAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}

impl Acks {
    fn start(&self, open: usize) -> usize {
        let Ok(mut state) = self.state.lock() else { return 0 };
        let transaction = state.transaction.wrapping_add(1);
        *state = Reports { transaction, open, failed: None };
        transaction
    }

    /// Waits for every report; each comes at the latest when its message times out.
    fn wait(&self) -> Option<(usize, KafkaError)> {
        let state = self.state.lock().ok()?;
        let done = self.changed.wait_while(state, |s| s.open > 0 && s.failed.is_none());
        done.ok().and_then(|mut s| s.failed.take())
    }
}
