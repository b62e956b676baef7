//! The topics and groups as any Kafka client sees them.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::task::spawn_blocking;

const ASK: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(60);

/// A record that was read.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v);
        value.map(|v| std::str::from_utf8(v).expect("headers are readable text"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().expect("a value")).expect("JSON")
    }
}

/// A record to write. Without a key or a value: null. Without a partition the key decides.
#[derive(Clone, Debug, Default)]
pub struct Write<'a> {
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a str, Vec<u8>)>,
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("message.max.bytes", "4194304");
    config
}

/// A topic with so many partitions.
pub async fn create_topic(brokers: &str, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().expect("a client");
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await.expect("an answer");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

/// Writes records in turn, where Java's default partitioner would put them.
pub async fn produce(brokers: &str, topic: &str, records: &[Write<'_>]) {
    let producer: FutureProducer = client(brokers).set("partitioner", "murmur2_random").create().expect("a client");
    for record in records {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &record.headers {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
        let mut new: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(headers);
        new.partition = record.partition;
        new.key = record.key;
        new.payload = record.value;
        producer.send(new, ASK).await.map_err(|(e, _)| e).expect("the record is written");
    }
}

/// Every committed record of a topic, partition by partition in the order of offsets.
pub async fn read(brokers: &str, topic: &str) -> Vec<Record> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    spawn_blocking(move || read_now(&brokers, &topic)).await.expect("a reader")
}

fn read_now(brokers: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = client(brokers)
        .set("group.id", "reader-of-the-tests")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a client");
    let partitions = partitions_of(&consumer, topic);
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let (mut open, mut found) = (partitions, Vec::new());
    let deadline = Instant::now() + READ_WITHIN;
    while open > 0 {
        assert!(Instant::now() < deadline, "{topic} could not be read to its end within {READ_WITHIN:?}");
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => found.push(record(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => panic!("{topic}: {error}"),
        }
    }
    found.sort_by_key(|r| (r.partition, r.offset));
    found
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let headers =
        message.headers().map(|all| all.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())));
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.into_iter().flatten().collect(),
    }
}

fn partitions_of(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), ASK).expect("metadata");
    let topic = metadata.topics().iter().find(|t| t.name() == topic).expect("the topic");
    i32::try_from(topic.partitions().len()).expect("small")
}

/// Where a group stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub partition: i32,
    /// `None` where nothing was committed.
    pub committed: Option<i64>,
    pub metadata: String,
    /// Of committed records.
    pub end: i64,
}

/// Where a group stands in every partition of a topic; an error while the broker settles transactions or is away.
pub async fn standing(brokers: &str, group: &str, topic: &str) -> Result<Vec<Standing>, KafkaError> {
    let (brokers, group, topic) = (brokers.to_owned(), group.to_owned(), topic.to_owned());
    spawn_blocking(move || standing_now(&brokers, &group, &topic)).await.expect("a reader")
}

fn standing_now(brokers: &str, group: &str, topic: &str) -> Result<Vec<Standing>, KafkaError> {
    let mut config = client(brokers);
    let consumer: BaseConsumer = config.set("group.id", group).set("isolation.level", "read_committed").create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions_of(&consumer, topic) {
        list.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(list, ASK)?;
    let mut all = Vec::new();
    for element in committed.elements() {
        let (_, end) = consumer.fetch_watermarks(topic, element.partition(), ASK)?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let metadata = element.metadata().to_owned();
        all.push(Standing { partition: element.partition(), committed, metadata, end });
    }
    Ok(all)
}
