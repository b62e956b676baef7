//! The bare pipeline: the hops of the gateway and nothing else, straight on rdkafka. It is the yardstick: what this
//! machine and this broker allow.
//!
//! Consume events and copy them to deliveries in transactions; consume those, POST each, produce an attempt, commit offsets.

mod publish;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::broker::Broker;
use crate::model::topic::Topic;

pub use publish::BarePublish;

/// Records in one transaction, or between two commits, at most.
const BATCH: usize = 1_000;

/// Requests at once.
const IN_FLIGHT: usize = 256;

/// Attempts on their way to the log at once.
const UNTOLD: usize = 4_096;

const COMMIT_EVERY: Duration = Duration::from_millis(50);

const PATIENCE: Duration = Duration::from_secs(20);

/// Both hops at work, until it is stopped or dropped.
pub struct Bare {
    stop: CancellationToken,
    hops: JoinSet<anyhow::Result<()>>,
}

impl Bare {
    /// Begins where the groups under this prefix stand.
    pub fn start(broker: &Broker, prefix: &str, url: &str) -> anyhow::Result<Bare> {
        let stop = CancellationToken::new();
        let copier = Copier::new(broker, prefix)?;
        let poster = Poster::new(broker, prefix, url)?;
        let mut hops = JoinSet::new();
        hops.spawn(copier.run(stop.clone()));
        hops.spawn(poster.run(stop.clone()));
        Ok(Bare { stop, hops })
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(hop) = self.hops.join_next().await {
            hop.context("the bare pipeline panicked")??;
        }
        Ok(())
    }
}

/// Where the next reader of a group begins.
#[derive(Default)]
struct Positions(BTreeMap<i32, i64>);

impl Positions {
    fn pass(&mut self, partition: i32, offset: i64) {
        self.0.insert(partition, offset + 1);
    }

    fn list(&self, topic: &str) -> anyhow::Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in &self.0 {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
        Ok(list)
    }
}

/// events to deliveries.
struct Copier {
    consumer: StreamConsumer,
    producer: FutureProducer,
    from: String,
    to: String,
}

impl Copier {
    fn new(broker: &Broker, prefix: &str) -> anyhow::Result<Copier> {
        let name = format!("{prefix}.copy");
        let consumer: StreamConsumer = broker.member(&name).create()?;
        let (from, to) = (Topic::Events.full_name(prefix), Topic::Deliveries.full_name(prefix));
        consumer.subscribe(&[&from])?;
        let producer = broker.producer(Some(&name)).create()?;
        Ok(Copier { consumer, producer, from, to })
    }

    async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let producer = self.producer.clone();
        tokio::task::spawn_blocking(move || producer.init_transactions(PATIENCE)).await??;
        let mut messages = self.consumer.stream();
        loop {
            let first = tokio::select! {
                message = messages.next() => message,
                () = stop.cancelled() => return Ok(()),
            };
            let Some(first) = first else { return Ok(()) };
            self.producer.begin_transaction()?;
            let (mut sent, mut positions) = (Vec::with_capacity(BATCH), Positions::default());
            let mut next = Some(first);
            while let Some(message) = next.take() {
                let message = message?;
                sent.push(self.copy(&message)?);
                positions.pass(message.partition(), message.offset());
                if sent.len() < BATCH {
                    next = messages.next().now_or_never().flatten();
                }
            }
            self.commit(sent, positions.list(&self.from)?).await?;
        }
    }

    fn copy(&self, message: &BorrowedMessage<'_>) -> anyhow::Result<DeliveryFuture> {
        let mut record = FutureRecord::to(&self.to);
        (record.key, record.payload) = (message.key(), message.payload());
        record.headers = message.headers().map(|headers| headers.detach());
        Ok(self.producer.send_result(record).map_err(|(error, _)| error)?)
    }

    /// Every report is awaited first: `commit_transaction` waits in steps of 100 ms for those that are still out.
    async fn commit(&self, sent: Vec<DeliveryFuture>, positions: TopicPartitionList) -> anyhow::Result<()> {
        for report in join_all(sent).await {
            report?.map_err(|(error, _)| error)?;
        }
        let group = self.consumer.group_metadata().context("the bare pipeline is in no group")?;
        let producer = self.producer.clone();
        let commit = move || {
            producer.send_offsets_to_transaction(&positions, &group, PATIENCE)?;
            producer.commit_transaction(PATIENCE)
        };
        Ok(tokio::task::spawn_blocking(commit).await??)
    }
}

/// deliveries to the receiver.
struct Poster {
    consumer: StreamConsumer,
    producer: FutureProducer,
    http: reqwest::Client,
    url: String,
    from: String,
    attempts: String,
}

/// What is needed of a delivery.
struct Taken {
    partition: i32,
    offset: i64,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Taken {
    fn of(message: &BorrowedMessage<'_>) -> Taken {
        Taken {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().unwrap_or_default().to_vec(),
            payload: message.payload().unwrap_or_default().to_vec(),
        }
    }
}

impl Poster {
    fn new(broker: &Broker, prefix: &str, url: &str) -> anyhow::Result<Poster> {
        let consumer: StreamConsumer = broker.member(&format!("{prefix}.post")).create()?;
        let (from, attempts) = (Topic::Deliveries.full_name(prefix), Topic::Attempts.full_name(prefix));
        consumer.subscribe(&[&from])?;
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true).pool_max_idle_per_host(IN_FLIGHT).build()?;
        let producer = broker.producer(None).create()?;
        Ok(Poster { consumer, producer, http, url: url.to_owned(), from, attempts })
    }

    async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let answered = self.taken().take_until(stop.cancelled()).map(|taken| self.post(taken)).buffered(IN_FLIGHT);
        let mut told = std::pin::pin!(answered.map(|taken| self.tell(taken)).buffered(UNTOLD).ready_chunks(BATCH));
        let (mut positions, mut passed, mut committed) = (Positions::default(), 0, Instant::now());
        while let Some(chunk) = told.next().await {
            passed += chunk.len();
            for done in chunk {
                let (partition, offset) = done?;
                positions.pass(partition, offset);
            }
            if passed >= BATCH || committed.elapsed() >= COMMIT_EVERY {
                self.consumer.commit(&positions.list(&self.from)?, CommitMode::Async)?;
                (passed, committed) = (0, Instant::now());
            }
        }
        let end = positions.list(&self.from)?;
        if end.count() > 0 {
            self.consumer.commit(&end, CommitMode::Sync)?;
        }
        Ok(())
    }

    fn taken(&self) -> BoxStream<'_, KafkaResult<Taken>> {
        self.consumer.stream().map(|message| message.map(|m| Taken::of(&m))).boxed()
    }

    /// The request is a task of its own, so that requests use every core.
    async fn post(&self, taken: KafkaResult<Taken>) -> anyhow::Result<Taken> {
        let mut taken = taken?;
        let body = std::mem::take(&mut taken.payload);
        let request = self.http.post(&self.url).header("content-type", "application/json").body(body).send();
        let status = tokio::spawn(request).await??.status();
        anyhow::ensure!(status.is_success(), "the receiver answered {status}");
        Ok(taken)
    }

    /// Partition and offset of what was told.
    async fn tell(&self, taken: anyhow::Result<Taken>) -> anyhow::Result<(i32, i64)> {
        let Taken { partition, offset, key, .. } = taken?;
        let value = format!(
            r#"{{"kind":"attempt","delivery":"{partition}-{offset}","attempt":1,"outcome":"DELIVERED","responseStatus":200}}"#
        );
        let record = FutureRecord::to(&self.attempts).payload(&value).key(&key);
        let report = self.producer.send_result(record).map_err(|(error, _)| error)?;
        report.await?.map_err(|(error, _)| error)?;
        Ok((partition, offset))
    }
}
