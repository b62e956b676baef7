//! Reads one partition without a group. Each reader has a consumer and a thread of its own: assigning at an offset is cheap,
//! and none of librdkafka's blocking calls reaches an async thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use super::codec::received;
use super::health::{Context, Plain, log_error};
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::{Batch, LogError, PartitionReader, READ_BYTES};

/// How long a seek may take, which asks no broker.
const SEEK: Duration = Duration::from_secs(1);

enum Command {
    Next { max: usize, wait: Duration, reply: oneshot::Sender<Result<Batch, LogError>> },
    Seek { offset: Offset, reply: oneshot::Sender<Result<(), LogError>> },
}

/// Commands that may wait: one is asked, another may be left by a caller that gave up.
const COMMANDS: usize = 2;

/// The handle; dropping it ends the thread and the consumer.
pub(super) struct KafkaReader {
    commands: mpsc::Sender<Command>,
}

impl KafkaReader {
    /// Opens the partition at `offset`.
    pub(super) async fn open(
        engine: &Arc<Engine>,
        topic: Topic,
        partition: Partition,
        offset: Offset,
    ) -> Result<KafkaReader, LogError> {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (tx, opened) = oneshot::channel();
        let shared = engine.clone();
        engine.threads.spawn("kafka-reader", move || match Reading::open(shared, topic, partition, offset) {
            Ok(reading) => {
                if tx.send(Ok(())).is_ok() {
                    reading.run(queue);
                }
            }
            Err(error) => drop(tx.send(Err(error))),
        })?;
        opened.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(KafkaReader { commands })
    }

    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<Result<T, LogError>>) -> Result<T, LogError> {
        self.commands.send(command).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> LogError {
    LogError::Unavailable("the reader has ended".into())
}

#[async_trait]
impl PartitionReader for KafkaReader {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Next { max, wait, reply }, answer).await
    }

    async fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Seek { offset, reply }, answer).await
    }
}

struct Reading {
    engine: Arc<Engine>,
    topic: Topic,
    partition: Partition,
    consumer: BaseConsumer<Context<Plain>>,
    /// The next offset to be read.
    position: Offset,
}

impl Reading {
    fn open(engine: Arc<Engine>, topic: Topic, partition: Partition, offset: Offset) -> Result<Reading, LogError> {
        let context = Context::new("reader", &engine.health, Plain);
        let consumer = engine
            .config
            .reader()
            .create_with_context(context)
            .map_err(|e| log_error(&e, "the reader", &engine.health))?;
        let reading = Reading { engine, topic, partition, consumer, position: offset };
        reading.at(offset).and_then(|at| reading.consumer.assign(&at)).map_err(|e| reading.error(&e))?;
        Ok(reading)
    }

    fn name(&self) -> &str {
        self.engine.names.of(self.topic)
    }

    fn error(&self, error: &KafkaError) -> LogError {
        log_error(error, &format!("topic {}", self.name()), &self.engine.health)
    }

    fn at(&self, offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.name(), self.partition.0, rdkafka::Offset::Offset(offset.0))?;
        Ok(list)
    }

    /// Goes on at `offset`. Never by a second `assign`: librdkafka ends the process where a partition is assigned and taken
    /// away again before its last fetch has stopped.
    fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        let at = self.at(offset).map_err(|e| self.error(&e))?;
        let sought = self.consumer.seek_partitions(at, SEEK);
        if sought.is_ok_and(|list| list.elements().iter().all(|e| e.error().is_ok())) {
            self.position = offset;
            return Ok(());
        }
        // After an offset that was out of range it takes no seek.
        *self = Reading::open(self.engine.clone(), self.topic, self.partition, offset)?;
        Ok(())
    }

    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        // A caller that was cancelled takes its answer with it; what it read is read again after its next seek, or is lost to
        // it as it would be with any dropped future, so `position` is what counts.
        while let Some(command) = commands.blocking_recv() {
            match command {
                Command::Next { max, wait, reply } => drop(reply.send(self.next(max, wait))),
                Command::Seek { offset, reply } => drop(reply.send(self.seek(offset))),
            }
        }
    }

    fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let until = Instant::now() + wait;
        let mut batch = Batch { records: Vec::new(), position: self.position };
        let mut bytes = 0;
        let mut failed = None;
        while batch.records.len() < max && bytes < READ_BYTES {
            let left =
                if batch.records.is_empty() { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.consumer.poll(left) {
                None => break,
                Some(Ok(message)) => {
                    let record = received(&message);
                    bytes += record.record.size();
                    self.position = record.offset.next();
                    batch.records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    // Markers and aborted records before the end are passed without a record.
                    let moved = self.passed() > batch.position;
                    if moved || !batch.records.is_empty() {
                        break;
                    }
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                    return Err(self.out_of_range());
                }
                Some(Err(error)) => match self.error(&error) {
                    LogError::Unavailable(_) => failed = Some(error),
                    other => return Err(other),
                },
            }
        }
        self.position = self.passed();
        batch.position = self.position;
        match failed {
            Some(error) if batch.records.is_empty() && self.engine.health.is_down() => Err(self.error(&error)),
            _ => Ok(batch),
        }
    }

    /// How far the reading is, gaps included.
    fn passed(&self) -> Offset {
        let position = self.consumer.position().ok();
        let found = position.as_ref().and_then(|p| p.find_partition(self.name(), self.partition.0).map(|e| e.offset()));
        match found {
            Some(rdkafka::Offset::Offset(o)) => self.position.max(Offset(o)),
            _ => self.position,
        }
    }

    fn out_of_range(&self) -> LogError {
        match self.engine.metadata.span(self.name(), self.partition) {
            Ok(span) => LogError::OutOfRange {
                topic: self.topic,
                partition: self.partition,
                asked: self.position,
                start: span.start,
            },
            Err(error) => error,
        }
    }
}
