//! Kafka as the bench uses it, straight on rdkafka: topics of its own, and clients set as the gateway sets its own, so that the
//! comparison is fair.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::topology::DeclaredTopic;

const PATIENCE: Duration = Duration::from_secs(15);

/// Where Kafka is, and the user's librdkafka properties (SASL, TLS).
#[derive(Clone, Debug)]
pub struct Broker {
    pub brokers: String,
    pub properties: BTreeMap<String, String>,
}

impl Broker {
    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Error);
        config.set("bootstrap.servers", &self.brokers).set("socket.nagle.disable", "true");
        let own = settings.iter().map(|(key, value)| (*key, *value));
        for (key, value) in own.chain(self.properties.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
            config.set(key, value);
        }
        config
    }

    /// An idempotent producer, or a transactional one.
    pub fn producer(&self, transactional_id: Option<&str>) -> ClientConfig {
        let mut config = self.client(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            ("linger.ms", "1"),
            ("message.max.bytes", "4194304"),
            ("message.timeout.ms", "8000"),
            ("queue.buffering.max.kbytes", "65536"),
        ]);
        if let Some(id) = transactional_id {
            // The broker refuses a transaction while the markers of the last are being written; this is the wait until it is
            // asked again.
            config.set("transactional.id", id).set("transaction.timeout.ms", "10000").set("retry.backoff.ms", "5");
        }
        config
    }

    /// A member of a group that reads what is committed, from the start where it never committed.
    pub fn member(&self, group: &str) -> ClientConfig {
        self.client(&[
            ("group.id", group),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "earliest"),
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.wait.max.ms", "100"),
        ])
    }

    /// Makes the topics of the bare pipeline, as the gateway's are.
    pub async fn create_topics(&self, prefix: &str, wanted: &[&DeclaredTopic]) -> anyhow::Result<()> {
        let names: Vec<String> = wanted.iter().map(|declared| declared.topic.full_name(prefix)).collect();
        let settings: Vec<_> = wanted.iter().map(|declared| declared.config()).collect();
        let mut topics = Vec::new();
        for ((name, settings), declared) in names.iter().zip(&settings).zip(wanted) {
            let replication = TopicReplication::Fixed(declared.replication);
            let topic = NewTopic::new(name, i32::try_from(declared.partitions)?, replication);
            topics.push(settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value)));
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for result in self.admin()?.create_topics(&topics, &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("{topic} could not be created: {code}"))?;
        }
        Ok(())
    }

    /// Deletes every topic under the prefix, which must be one that the bench made.
    pub async fn delete_topics(&self, prefix: &str) -> anyhow::Result<()> {
        let found = self.topics_under(prefix)?;
        let names: Vec<&str> = found.iter().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(());
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for result in self.admin()?.delete_topics(&names, &options).await? {
            result.map_err(|(topic, code)| anyhow::anyhow!("{topic} could not be deleted: {code}"))?;
        }
        Ok(())
    }

    pub fn topics_under(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let consumer: BaseConsumer = self.client(&[]).create()?;
        let metadata = consumer
            .fetch_metadata(None, PATIENCE)
            .with_context(|| format!("Kafka at {} does not answer; is KAFKA_BROKERS right?", self.brokers))?;
        let dotted = format!("{prefix}.");
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        Ok(names.filter(|name| name.starts_with(&dotted)).collect())
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.client(&[]).create()?)
    }
}
