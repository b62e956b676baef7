//! The plain appender: idempotent, acks=all, outside any transaction.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::codec::outgoing;
use super::config::{KafkaConfig, Names};
use super::health::{Context, Health, Hooks, log_error};
use super::threads::Threads;
use crate::model::ids::{Offset, Partition};
use crate::model::record::Output;
use crate::stream::log::LogError;

/// How long a full queue may hold an append back.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

type Place = Result<(Partition, Offset), KafkaError>;
type Client = ThreadedProducer<Context<Appends>>;

pub(super) struct Appender {
    config: KafkaConfig,
    names: Arc<Names>,
    health: Arc<Health>,
    threads: Threads,
    client: RwLock<Arc<Client>>,
}

/// The records of one `append`, until the last of them is answered for.
struct Batch {
    state: Mutex<(usize, Vec<Option<Place>>)>,
    done: Mutex<Option<oneshot::Sender<Vec<Option<Place>>>>>,
}

impl Batch {
    fn new(len: usize) -> (Arc<Batch>, oneshot::Receiver<Vec<Option<Place>>>) {
        let (tx, rx) = oneshot::channel();
        let state = Mutex::new((len, vec![None; len]));
        (Arc::new(Batch { state, done: Mutex::new(Some(tx)) }), rx)
    }

    fn answer(&self, index: usize, place: Place) {
        let Ok(mut state) = self.state.lock() else { return };
        state.0 = state.0.saturating_sub(1);
        if let Some(slot) = state.1.get_mut(index) {
            *slot = Some(place);
        }
        if state.0 == 0
            && let Some(done) = self.done.lock().ok().and_then(|mut d| d.take())
        {
            // Nobody waits any more where the caller was cancelled.
            let _ = done.send(std::mem::take(&mut state.1));
        }
    }
}

pub(super) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

pub(super) struct Appends;

impl Hooks for Appends {}

impl ProducerContext for Context<Appends> {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let place = match result {
            Ok(message) => {
                self.health().up();
                Ok((Partition(message.partition()), Offset(message.offset())))
            }
            Err((error, _)) => Err(error.clone()),
        };
        ticket.batch.answer(ticket.index, place);
    }
}

impl Appender {
    pub(super) fn new(
        config: &KafkaConfig,
        names: &Arc<Names>,
        health: &Arc<Health>,
        threads: &Threads,
    ) -> Result<Self, LogError> {
        let client = RwLock::new(Arc::new(open(config, health)?));
        Ok(Appender {
            config: config.clone(),
            names: names.clone(),
            health: health.clone(),
            threads: threads.clone(),
            client,
        })
    }

    pub(super) async fn append(&self, outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.client()?;
        let (batch, answers) = Batch::new(outputs.len());
        let deadline = Instant::now() + QUEUE_WAIT;
        for (index, output) in outputs.iter().enumerate() {
            while let Err(error) = self.enqueue(&client, output, &batch, index) {
                let full = error.rdkafka_error_code() == Some(Code::QueueFull);
                if !full || Instant::now() >= deadline {
                    batch.answer(index, Err(error));
                    break;
                }
                sleep(Duration::from_millis(2)).await;
            }
        }
        let places = answers.await.map_err(|_| LogError::UnknownOutcome("the producer was closed".into()))?;
        self.replace_if_dead(&client);
        self.judge(&outputs, places)
    }

    fn client(&self) -> Result<Arc<Client>, LogError> {
        self.client.read().map(|c| c.clone()).map_err(|_| LogError::Unavailable("the producer is gone".into()))
    }

    fn enqueue(&self, client: &Client, output: &Output, batch: &Arc<Batch>, index: usize) -> Result<(), KafkaError> {
        let ticket = Box::new(Ticket { batch: batch.clone(), index });
        let name = self.names.of(output.topic);
        client.send(outgoing(name, output.partition, &output.record, ticket)).map_err(|(error, _)| error)
    }

    /// A fatal error (a gap in the sequence that cannot be mended) ends an idempotent producer for good.
    fn replace_if_dead(&self, dead: &Arc<Client>) {
        let Some((code, reason)) = dead.client().fatal_error() else { return };
        let Ok(mut current) = self.client.write() else { return };
        if Arc::ptr_eq(&current, dead)
            && let Ok(fresh) = open(&self.config, &self.health)
        {
            tracing::warn!(?code, reason, "the producer ended with a fatal error and was replaced");
            let old = std::mem::replace(&mut *current, Arc::new(fresh));
            self.threads.bury(old);
        }
    }

    /// All written: their places. None written: why. Anything else is not known well enough to be called either.
    fn judge(&self, outputs: &[Output], places: Vec<Option<Place>>) -> Result<Vec<(Partition, Offset)>, LogError> {
        let total = places.len();
        let mut written = Vec::with_capacity(total);
        let mut first: Option<LogError> = None;
        let mut unknown = None;
        for (output, place) in outputs.iter().zip(places) {
            match place {
                Some(Ok(place)) => written.push(place),
                Some(Err(error)) if certain(&error) => {
                    first.get_or_insert_with(|| refusal(&error, output, self.names.of(output.topic), &self.health));
                }
                Some(Err(error)) => unknown = Some(error.to_string()),
                None => unknown = Some("no answer".into()),
            }
        }
        match (first, unknown) {
            (None, None) => Ok(written),
            (Some(why), None) if written.is_empty() => Err(why),
            (Some(why), None) => {
                Err(LogError::UnknownOutcome(format!("{} of {total} records were written, then: {why}", written.len())))
            }
            (_, Some(error)) => Err(LogError::UnknownOutcome(error)),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        // The last handle ends on a thread of its own: the end waits for the producer's own thread.
        if let Ok(client) = self.client() {
            self.threads.bury(client);
        }
    }
}

fn open(config: &KafkaConfig, health: &Arc<Health>) -> Result<Client, LogError> {
    let context = Context::new("appender", health, Appends);
    config.appender().create_with_context(context).map_err(|e| log_error(&e, "the producer", health))
}

/// Is the record certainly not in the log? A time-out says nothing: the request may have arrived.
fn certain(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::QueueFull
                | Code::PurgeQueue
                | Code::MessageSizeTooLarge
                | Code::InvalidMessageSize
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::InvalidRecord
                | Code::PolicyViolation
                | Code::NotEnoughReplicas
        )
    ) || matches!(error, KafkaError::Nul(_))
}

/// Why a record was not taken, in the words of the port.
pub(super) fn refusal(error: &KafkaError, output: &Output, name: &str, health: &Health) -> LogError {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
            LogError::TooLarge { topic: output.topic, bytes: output.record.size() }
        }
        Some(Code::QueueFull) => {
            LogError::Unavailable("the producer's queue is full: the brokers do not keep up".into())
        }
        Some(Code::InvalidRecord | Code::PolicyViolation) => {
            LogError::Fatal(format!("topic {name} refuses the record: {error}"))
        }
        _ => log_error(error, &format!("topic {name}"), health),
    }
}
