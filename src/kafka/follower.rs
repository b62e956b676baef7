//! Reads many partitions by one consumer, on a thread of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use super::codec::received;
use super::health::{Context, Plain, log_error};
use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;
use crate::model::topic::Topic;
use crate::stream::log::{Batch, Follower, LogError, READ_BYTES};

type Found = Result<Vec<(Topic, Partition, Batch)>, LogError>;

struct Ask {
    max: usize,
    wait: Duration,
    reply: oneshot::Sender<Found>,
}

/// The handle; dropping it ends the thread and the consumer.
pub(super) struct KafkaFollower(mpsc::Sender<Ask>);

impl KafkaFollower {
    /// Opens the partitions at these offsets.
    pub(super) async fn open(
        engine: &Arc<Engine>,
        places: Vec<(Topic, Partition, Offset)>,
    ) -> Result<KafkaFollower, LogError> {
        let (sender, mut asked) = mpsc::channel::<Ask>(1);
        let (tx, opened) = oneshot::channel();
        let shared = engine.clone();
        engine.threads.spawn("kafka-follower", move || match Following::open(shared, places) {
            Ok(mut following) => {
                if tx.send(Ok(())).is_ok() {
                    while let Some(Ask { max, wait, reply }) = asked.blocking_recv() {
                        // Whoever gave up takes what was read with it; their next follower begins where they are.
                        drop(reply.send(following.next(max, wait)));
                    }
                }
            }
            Err(error) => drop(tx.send(Err(error))),
        })?;
        opened.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(KafkaFollower(sender))
    }
}

fn gone() -> LogError {
    LogError::Unavailable("the follower has ended".into())
}

#[async_trait]
impl Follower for KafkaFollower {
    async fn next(&mut self, max: usize, wait: Duration) -> Found {
        let (reply, answer) = oneshot::channel();
        self.0.send(Ask { max, wait, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

struct Following {
    engine: Arc<Engine>,
    consumer: BaseConsumer<Context<Plain>>,
    topics: HashMap<String, Topic>,
    /// The next offset of each partition.
    positions: BTreeMap<(Topic, Partition), Offset>,
}

impl Following {
    fn open(engine: Arc<Engine>, places: Vec<(Topic, Partition, Offset)>) -> Result<Following, LogError> {
        let context = Context::new("follower", &engine.health, Plain);
        let fail = |e: &KafkaError| log_error(e, "the follower", &engine.health);
        let consumer = engine.config.follower().create_with_context(context).map_err(|e| fail(&e))?;
        let consumer: BaseConsumer<Context<Plain>> = consumer;
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in &places {
            let added =
                list.add_partition_offset(engine.names.of(*topic), partition.0, rdkafka::Offset::Offset(offset.0));
            added.map_err(|e| fail(&e))?;
        }
        consumer.assign(&list).map_err(|e| fail(&e))?;
        let topics = places.iter().map(|(topic, ..)| (engine.names.of(*topic).to_owned(), *topic)).collect();
        let positions = places.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect();
        Ok(Following { engine, consumer, topics, positions })
    }

    fn next(&mut self, max: usize, wait: Duration) -> Found {
        let until = Instant::now() + wait;
        let mut records: BTreeMap<(Topic, Partition), Vec<Received>> = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0);
        while count < max && bytes < READ_BYTES {
            let left = if count == 0 { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.consumer.poll(left) {
                None => break,
                Some(Ok(message)) => {
                    let Some(topic) = self.topics.get(message.topic()) else { continue };
                    let record = received(&message);
                    (count, bytes) = (count + 1, bytes + record.record.size());
                    records.entry((*topic, record.partition)).or_default().push(record);
                }
                // Markers at the end of a partition are passed without a record; more may wait in another one.
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                    return Err(self.out_of_range());
                }
                Some(Err(error)) => match log_error(&error, "the follower", &self.engine.health) {
                    LogError::Unavailable(_) if self.engine.health.is_down() && count == 0 => {
                        return Err(self.engine.health.unreachable());
                    }
                    LogError::Unavailable(_) => {}
                    other => return Err(other),
                },
            }
        }
        Ok(self.taken(records))
    }

    /// Each partition that has moved, with its records.
    fn taken(&mut self, mut records: BTreeMap<(Topic, Partition), Vec<Received>>) -> Vec<(Topic, Partition, Batch)> {
        let reached = self.consumer.position().ok();
        let mut found = Vec::new();
        for ((topic, partition), position) in &mut self.positions {
            let records = records.remove(&(*topic, *partition)).unwrap_or_default();
            let name = self.engine.names.of(*topic);
            let passed = reached.as_ref().and_then(|list| list.find_partition(name, partition.0)).map(|e| e.offset());
            let mut next = records.last().map_or(*position, |r| r.offset.next());
            if let Some(rdkafka::Offset::Offset(offset)) = passed {
                next = next.max(Offset(offset));
            }
            if next > *position {
                *position = next;
                found.push((*topic, *partition, Batch { records, position: next }));
            }
        }
        found
    }

    /// The partition whose next offset is gone, as far as the broker tells.
    fn out_of_range(&self) -> LogError {
        for ((topic, partition), asked) in &self.positions {
            match self.engine.metadata.span(self.engine.names.of(*topic), *partition) {
                Ok(span) if !(span.start..=span.end).contains(asked) => {
                    let (topic, partition, asked) = (*topic, *partition, *asked);
                    return LogError::OutOfRange { topic, partition, asked, start: span.start };
                }
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        LogError::Unavailable("an offset that is followed is out of range".into())
    }
}
