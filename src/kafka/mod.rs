//! The log port on Kafka, through librdkafka.
//!
//! * `consumer` polls for a group, with `group` for rebalances, `positions` for where to begin, `ownership` for what is still
//!   this member's;
//! * `committer` holds the commit rule, `transaction` the producer below it and below a `seat`;
//! * `producer` appends, `reader` reads partitions without a group, `table` loads one, `metadata` answers questions.

mod codec;
mod committer;
mod config;
mod consumer;
mod fetching;
mod group;
mod health;
mod metadata;
mod ownership;
mod positions;
mod producer;
mod reader;
mod seat;
mod table;
mod threads;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

pub use config::{KafkaConfig, MAX_MESSAGE_BYTES};

use self::config::Names;
use self::health::Health;
use self::metadata::Metadata;
use self::producer::Appender;
use self::reader::{KafkaFollower, KafkaReader};
use self::threads::Threads;
use crate::model::ids::{Offset, Partition};
use crate::model::record::Output;
use crate::model::topic::Topic;
use crate::stream::log::{Follower, From, Log, LogError, Member, Membership, PartitionReader, Seat};

const PING: Duration = Duration::from_secs(2);
const CONNECT: Duration = Duration::from_secs(5);

/// The log on a Kafka cluster.
pub struct KafkaLog {
    engine: Arc<Engine>,
    appender: Appender,
    /// Held by the append that asks whether brokers that were lost are back.
    asking: tokio::sync::Mutex<()>,
}

/// What every part of the engine shares.
struct Engine {
    config: KafkaConfig,
    names: Arc<Names>,
    health: Arc<Health>,
    metadata: Metadata,
    threads: Threads,
}

impl KafkaLog {
    /// Makes the clients and waits up to five seconds for a broker to answer. `Unavailable`: may be tried again; `Fatal`: the
    /// configuration or the credentials are wrong.
    pub async fn connect(config: KafkaConfig) -> Result<KafkaLog, LogError> {
        config.check()?;
        let names = Arc::new(Names::new(&config.prefix));
        let health = Arc::new(Health::new(&config.brokers));
        let threads = Threads::new();
        let metadata = Metadata::new(&config, &health)?;
        let engine = Arc::new(Engine { config, names, health, metadata, threads });
        engine.ask(|e| e.metadata.ping(CONNECT)).await?;
        let appender = Appender::new(&engine.config, &engine.names, &engine.health, &engine.threads)?;
        Ok(KafkaLog { engine, appender, asking: tokio::sync::Mutex::default() })
    }

    /// Waits until members, readers and seats that were dropped have left Kafka; false where `deadline` came first. A process
    /// that ends earlier leaves its group without saying so, and its partitions wait for the session's end.
    pub async fn close(&self, deadline: Duration) -> bool {
        self.engine.threads.ended(deadline).await
    }
}

impl Engine {
    /// Runs a blocking call on a thread of its own.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Arc<Engine>) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let (tx, answer) = oneshot::channel();
        let engine = self.clone();
        self.threads.spawn("kafka-ask", move || drop(tx.send(question(&engine))))?;
        answer.await.unwrap_or_else(|_| Err(LogError::Unavailable("the question was dropped".into())))
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn append(&self, outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        // With the brokers lost, a record would wait in the queue and time out with its outcome unknown. Asking first keeps the
        // answer honest and quick: nothing was written. One asks, with a thread of its own; the others go by what is known.
        if self.engine.health.is_down() {
            let Ok(_asking) = self.asking.try_lock() else { return Err(self.engine.health.unreachable()) };
            self.ping().await?;
        }
        self.appender.append(outputs).await
    }

    async fn join(&self, membership: Membership) -> Result<Member, LogError> {
        self.engine.ask(move |e| consumer::join(e, &membership)).await
    }

    async fn read(&self, topic: Topic, partition: Partition, from: From) -> Result<Box<dyn PartitionReader>, LogError> {
        let offset = match from {
            From::At(offset) => offset,
            From::Start => self.engine.ask(move |e| Ok(e.metadata.span(e.names.of(topic), partition)?.start)).await?,
            From::Time(time) => {
                self.engine
                    .ask(move |e| match e.metadata.at_time(e.names.of(topic), partition, time)? {
                        Some(offset) => Ok(offset),
                        None => Ok(e.metadata.span(e.names.of(topic), partition)?.end),
                    })
                    .await?
            }
        };
        Ok(Box::new(KafkaReader::open(&self.engine, topic, partition, offset).await?))
    }

    async fn follow(&self, places: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(KafkaFollower::open(&self.engine, places).await?))
    }

    async fn end(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError> {
        self.engine.ask(move |e| Ok(e.metadata.span(e.names.of(topic), partition)?.end)).await
    }

    async fn load(&self, topic: Topic, partition: Partition) -> Result<Vec<crate::model::record::Received>, LogError> {
        table::load(&self.engine, topic, partition).await
    }

    async fn seat(&self, name: &'static str, within: Duration) -> Result<Box<dyn Seat>, LogError> {
        let seat = self.engine.ask(move |e| seat::KafkaSeat::take(e.clone(), (name, within))).await?;
        Ok(Box::new(seat))
    }

    async fn partitions(&self, topic: Topic) -> Result<i32, LogError> {
        self.engine.ask(move |e| e.metadata.partitions(e.names.of(topic))).await
    }

    async fn ping(&self) -> Result<(), LogError> {
        self.engine.ask(|e| e.metadata.ping(PING)).await
    }
}
pub mod admin;
