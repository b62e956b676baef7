//! Reads partitions without a group: one, or many by one consumer. Each reader has a consumer and a thread of its own: assigning at
//! an offset is cheap, and none of librdkafka's blocking calls reaches an async thread.

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
use crate::stream::log::{Batch, Follower, LogError, PartitionReader, READ_BYTES};

/// How long a seek may take, which asks no broker.
const SEEK: Duration = Duration::from_secs(1);
/// Commands that may wait: one is asked, another may be left by a caller that gave up.
const COMMANDS: usize = 2;

type Place = (Topic, Partition, Offset);
type Found = Vec<(Topic, Partition, Batch)>;
type Reply<T> = oneshot::Sender<Result<T, LogError>>;

enum Command {
    Next { max: usize, wait: Duration, reply: Reply<Found> },
    Seek { offset: Offset, reply: Reply<()> },
}

/// Reads many partitions. Dropping it ends the thread and the consumer.
pub(super) struct KafkaFollower(mpsc::Sender<Command>);

/// Reads one partition.
pub(super) struct KafkaReader {
    follower: KafkaFollower,
    /// The next offset to be handed out.
    position: Offset,
}

#[derive(Clone, Copy)]
enum Pace {
    /// Somebody waits for what comes.
    Prompt,
    Relaxed,
}

impl KafkaFollower {
    /// Opens the partitions at these offsets.
    pub(super) async fn open(engine: &Arc<Engine>, places: Vec<Place>) -> Result<KafkaFollower, LogError> {
        KafkaFollower::at(engine, Pace::Relaxed, places).await
    }

    async fn at(engine: &Arc<Engine>, pace: Pace, places: Vec<Place>) -> Result<KafkaFollower, LogError> {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (tx, opened) = oneshot::channel();
        let shared = engine.clone();
        engine.threads.spawn("kafka-reader", move || match Reading::open(shared, pace, places) {
            Ok(reading) => {
                if tx.send(Ok(())).is_ok() {
                    reading.run(queue);
                }
            }
            Err(error) => drop(tx.send(Err(error))),
        })?;
        opened.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(KafkaFollower(commands))
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl KafkaReader {
    /// Opens the partition at `offset`.
    pub(super) async fn open(
        engine: &Arc<Engine>,
        topic: Topic,
        partition: Partition,
        offset: Offset,
    ) -> Result<KafkaReader, LogError> {
        let follower = KafkaFollower::at(engine, Pace::Prompt, vec![(topic, partition, offset)]).await?;
        Ok(KafkaReader { follower, position: offset })
    }
}

fn gone() -> LogError {
    LogError::Unavailable("the reader has ended".into())
}

#[async_trait]
impl Follower for KafkaFollower {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Found, LogError> {
        self.ask(|reply| Command::Next { max, wait, reply }).await
    }
}

#[async_trait]
impl PartitionReader for KafkaReader {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let found = self.follower.next(max, wait).await?.pop();
        let batch = found.map_or(Batch { records: Vec::new(), position: self.position }, |(.., batch)| batch);
        self.position = batch.position;
        Ok(batch)
    }

    async fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        self.follower.ask(|reply| Command::Seek { offset, reply }).await?;
        self.position = offset;
        Ok(())
    }
}

struct Reading {
    engine: Arc<Engine>,
    pace: Pace,
    consumer: BaseConsumer<Context<Plain>>,
    topics: HashMap<String, Topic>,
    /// The next offset of each partition.
    positions: BTreeMap<(Topic, Partition), Offset>,
}

impl Reading {
    fn open(engine: Arc<Engine>, pace: Pace, places: Vec<Place>) -> Result<Reading, LogError> {
        let config = match pace {
            Pace::Prompt => engine.config.reader(),
            Pace::Relaxed => engine.config.follower(),
        };
        let context = Context::new("reader", &engine.health, Plain);
        let made = config.create_with_context(context);
        let consumer = made.map_err(|e| log_error(&e, "the reader", &engine.health))?;
        let topics = places.iter().map(|(topic, ..)| (engine.names.of(*topic).to_owned(), *topic)).collect();
        let positions = places.into_iter().map(|(topic, partition, offset)| ((topic, partition), offset)).collect();
        let reading = Reading { engine, pace, consumer, topics, positions };
        let assigned = reading.list().and_then(|list| reading.consumer.assign(&list));
        assigned.map_err(|e| reading.error(&e))?;
        Ok(reading)
    }

    fn list(&self) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &self.positions {
            let offset = rdkafka::Offset::Offset(offset.0);
            list.add_partition_offset(self.engine.names.of(*topic), partition.0, offset)?;
        }
        Ok(list)
    }

    fn error(&self, error: &KafkaError) -> LogError {
        let mut names = self.topics.keys();
        let what = match (names.next(), names.next()) {
            (Some(one), None) => format!("topic {one}"),
            _ => "the topics that are followed".to_owned(),
        };
        log_error(error, &what, &self.engine.health)
    }

    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        // A caller that was cancelled takes its answer with it: what was read is lost to it until it seeks, as with any dropped
        // future, or read again by its next follower.
        while let Some(command) = commands.blocking_recv() {
            match command {
                Command::Next { max, wait, reply } => drop(reply.send(self.next(max, wait))),
                Command::Seek { offset, reply } => drop(reply.send(self.seek(offset))),
            }
        }
    }

    /// Goes on at `offset`. Never by a second `assign`: librdkafka ends the process where a partition is assigned and taken
    /// away again before its last fetch has stopped.
    fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        self.positions.values_mut().for_each(|position| *position = offset);
        let list = self.list().map_err(|e| self.error(&e))?;
        let sought = self.consumer.seek_partitions(list, SEEK);
        if sought.is_ok_and(|list| list.elements().iter().all(|e| e.error().is_ok())) {
            return Ok(());
        }
        // After an offset that was out of range it takes no seek.
        let places = self.positions.iter().map(|((topic, partition), offset)| (*topic, *partition, *offset)).collect();
        *self = Reading::open(self.engine.clone(), self.pace, places)?;
        Ok(())
    }

    fn next(&mut self, max: usize, wait: Duration) -> Result<Found, LogError> {
        let until = Instant::now() + wait;
        let mut records: BTreeMap<(Topic, Partition), Vec<Received>> = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0);
        let mut failed = None;
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
                // Markers and aborted records before the end are passed without a record.
                Some(Err(KafkaError::PartitionEOF(_))) if count == 0 && self.has_moved() => break,
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                    return Err(self.out_of_range());
                }
                Some(Err(error)) => match self.error(&error) {
                    unavailable @ LogError::Unavailable(_) => failed = Some(unavailable),
                    other => return Err(other),
                },
            }
        }
        let found = self.taken(records);
        match failed {
            Some(error) if count == 0 && self.engine.health.is_down() => Err(error),
            _ => Ok(found),
        }
    }

    /// How far the consumer is, gaps included, where that is known.
    fn reached(&self) -> BTreeMap<(Topic, Partition), Offset> {
        let list = self.consumer.position().ok();
        let elements = list.as_ref().map(|list| list.elements()).unwrap_or_default();
        let known = elements.iter().filter_map(|e| match (self.topics.get(e.topic()), e.offset()) {
            (Some(topic), rdkafka::Offset::Offset(offset)) => {
                Some(((*topic, Partition(e.partition())), Offset(offset)))
            }
            _ => None,
        });
        known.collect()
    }

    fn has_moved(&self) -> bool {
        self.reached().iter().any(|(place, reached)| self.positions.get(place).is_some_and(|known| reached > known))
    }

    /// Each partition that has moved, with its records.
    fn taken(&mut self, mut records: BTreeMap<(Topic, Partition), Vec<Received>>) -> Found {
        let reached = self.reached();
        let mut found = Vec::new();
        for (place, position) in &mut self.positions {
            let records = records.remove(place).unwrap_or_default();
            let behind = records.last().map_or(*position, |r| r.offset.next());
            let next = reached.get(place).map_or(behind, |offset| behind.max(*offset));
            if next > *position {
                *position = next;
                found.push((place.0, place.1, Batch { records, position: next }));
            }
        }
        found
    }

    /// The partition whose next offset is gone, as far as the broker tells. Where there is one it is that.
    fn out_of_range(&self) -> LogError {
        let alone = self.positions.len() == 1;
        for ((topic, partition), asked) in &self.positions {
            match self.engine.metadata.span(self.engine.names.of(*topic), *partition) {
                Ok(span) if alone || !(span.start..=span.end).contains(asked) => {
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
