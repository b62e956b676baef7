//! The client that asks about topics and offsets. It belongs to no group and reads nothing.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::config::KafkaConfig;
use super::health::{Context, Health, Plain, log_error};
use crate::model::ids::{Offset, Partition};
use crate::model::time::Timestamp;
use crate::stream::log::LogError;

const ANSWER: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(1);
const SPREAD: Duration = Duration::from_secs(1);

type Client = BaseConsumer<Context<Plain>>;

/// Every call blocks for as long as the broker takes, five seconds at most; `start` one.
#[derive(Clone)]
pub(super) struct Metadata {
    client: Arc<Client>,
    health: Arc<Health>,
}

/// The first offset that a partition has, and the one after its last, those of open transactions included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Offset,
    pub(super) end: Offset,
}

impl Metadata {
    pub(super) fn new(config: &KafkaConfig, health: &Arc<Health>) -> Result<Self, LogError> {
        let context = Context::new("metadata", health, Plain);
        let client: Client =
            config.metadata().create_with_context(context).map_err(|e| log_error(&e, "the metadata client", health))?;
        let client = Arc::new(client);
        let polled = Arc::downgrade(&client);
        // Not counted: it ends by itself with the last handle, and leaves nothing at the broker.
        let name = "kafka-metadata".to_owned();
        let spawned = thread::Builder::new().name(name).spawn(move || serve(&polled));
        spawned.map_err(|e| LogError::Unavailable(format!("no thread can be started: {e}")))?;
        Ok(Metadata { client, health: health.clone() })
    }

    /// How many partitions the topic has.
    pub(super) fn partitions(&self, topic: &str) -> Result<i32, LogError> {
        until_known(|| self.partitions_now(topic))
    }

    fn partitions_now(&self, topic: &str) -> Result<i32, LogError> {
        let found = self.client.fetch_metadata(Some(topic), ANSWER).map_err(|e| self.error(&e, topic))?;
        self.health.up();
        let described = found.topics().iter().find(|t| t.name() == topic);
        if let Some(error) = described.and_then(|t| t.error()) {
            return Err(self.error(&KafkaError::MetadataFetch(error.into()), topic));
        }
        let count = described.map_or(0, |t| t.partitions().len());
        if count == 0 {
            return Err(self.error(&KafkaError::MetadataFetch(rdkafka::types::RDKafkaErrorCode::UnknownTopic), topic));
        }
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    pub(super) fn span(&self, topic: &str, partition: Partition) -> Result<Span, LogError> {
        until_known(|| {
            let found = self.client.fetch_watermarks(topic, partition.0, ANSWER);
            if found.is_err() {
                // librdkafka keeps "no such topic" for minutes; asking for it by name makes it look again.
                self.partitions_now(topic)?;
            }
            let (start, end) = found.map_err(|e| self.error(&e, topic))?;
            self.health.up();
            Ok(Span { start: Offset(start), end: Offset(end) })
        })
    }

    /// The first offset that the partition has, if the broker tells it soon.
    pub(super) fn start(&self, topic: &str, partition: Partition) -> Option<Offset> {
        self.client.fetch_watermarks(topic, partition.0, SOON).ok().map(|(start, _)| Offset(start))
    }

    /// The first offset whose timestamp is not before `time`; `None` where all are.
    pub(super) fn at_time(
        &self,
        topic: &str,
        partition: Partition,
        time: Timestamp,
    ) -> Result<Option<Offset>, LogError> {
        let mut asked = TopicPartitionList::new();
        asked
            .add_partition_offset(topic, partition.0, rdkafka::Offset::Offset(time.as_millis().max(0)))
            .map_err(|e| self.error(&e, topic))?;
        let found = self.client.offsets_for_times(asked, ANSWER).map_err(|e| self.outdated(&e, topic))?;
        let element = found.elements().into_iter().next();
        match element.map(|e| (e.error(), e.offset())) {
            Some((Ok(()), rdkafka::Offset::Offset(o))) => Ok(Some(Offset(o))),
            Some((Ok(()), _)) | None => Ok(None),
            Some((Err(e), _)) => Err(self.outdated(&e, topic)),
        }
    }

    /// Does any broker answer, within `wait`?
    pub(super) fn ping(&self, wait: Duration) -> Result<(), LogError> {
        match self.client.fetch_metadata(Some("__consumer_offsets"), wait) {
            Ok(_) => {
                self.health.up();
                Ok(())
            }
            Err(e) => Err(self.error(&e, "the cluster")),
        }
    }

    /// After a broker was away this client may go by a leader epoch that is over: it learns the new one, for the next try.
    fn outdated(&self, error: &KafkaError, topic: &str) -> LogError {
        let _ = self.client.fetch_metadata(Some(topic), ANSWER);
        self.error(error, topic)
    }

    fn error(&self, error: &KafkaError, topic: &str) -> LogError {
        log_error(error, &format!("topic {topic}"), &self.health)
    }
}

/// A topic that was created just now takes a moment to be known to every broker.
fn until_known<T>(ask: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
    let until = Instant::now() + SPREAD;
    loop {
        match ask() {
            Err(LogError::Fatal(_)) if Instant::now() < until => thread::sleep(Duration::from_millis(50)),
            answer => return answer,
        }
    }
}

/// Serves logs, errors and statistics until the last handle is gone.
fn serve(client: &Weak<Client>) {
    while let Some(client) = client.upgrade() {
        client.poll(Duration::from_millis(200));
    }
}
