//! Events onto the log: a backlog as fast as it goes, or a steady stream that does not wait for anybody.

use std::ops::Range;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::bench::broker::Broker;
use crate::bench::sample::{self, Kind};
use crate::model::time::{Clock as _, SystemClock};

/// When the first event of a stream is due, and how far the next is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub start: Instant,
    pub every: Duration,
}

/// Appends events to one topic of `events`, as any Kafka client may.
pub struct Sender {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    kind: Kind,
}

impl Sender {
    pub fn new(broker: &Broker, topic: String, kind: Kind) -> anyhow::Result<Sender> {
        Ok(Sender { producer: broker.producer(None).create()?, topic, kind })
    }

    /// All of them at once; returns when every one is durable.
    pub fn backlog(&self, numbers: Range<u64>) -> anyhow::Result<()> {
        let due = Instant::now();
        numbers.into_iter().try_for_each(|number| self.send(number, due))?;
        self.settle()
    }

    /// One after the other at a fixed distance, the moment each is due written into it: an answer that comes late does not
    /// hide how long the next would have waited (coordinated omission). Ends early when the other end of `stop` is dropped.
    pub fn stream(&self, numbers: Range<u64>, pace: Pace, stop: &mpsc::Receiver<()>) -> anyhow::Result<()> {
        let first = numbers.start;
        for number in numbers {
            let due = pace.start + pace.every * u32::try_from(number - first).unwrap_or(u32::MAX);
            if stop.recv_timeout(due.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            self.send(number, due)?;
        }
        self.settle()
    }

    fn settle(&self) -> anyhow::Result<()> {
        self.producer.flush(Duration::from_secs(30)).context("the broker did not take the events")
    }

    fn send(&self, number: u64, due: Instant) -> anyhow::Result<()> {
        let payload = sample::payload(number, due);
        let key = format!("{}/p{}", sample::ORG, number % 1_000);
        let mut record = BaseRecord::to(&self.topic).key(&key).payload(&payload).headers(self.headers(number));
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error).context("an event could not be produced"),
            }
        }
    }

    fn headers(&self, number: u64) -> OwnedHeaders {
        let (id, event_type, subject) = (format!("{number}"), self.kind.event_type(number), number % 1_000);
        let subject = format!("Patient/{subject}");
        // Ids of deliveries begin with it: that all had one would be unlike life, and unkind to indexes.
        let time = SystemClock.now().to_string();
        let all = [
            ("ce_specversion", "1.0"),
            ("ce_id", &id),
            ("ce_source", "/bench"),
            ("ce_type", &event_type),
            ("ce_time", &time),
            ("ce_subject", &subject),
            ("ce_orgid", sample::ORG),
            ("content-type", "application/json"),
        ];
        let list = OwnedHeaders::new_with_capacity(all.len());
        all.iter().fold(list, |list, (key, value)| list.insert(Header { key, value: Some(*value) }))
    }
}
