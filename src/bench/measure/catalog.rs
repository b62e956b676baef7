//! A large catalog: how long a process takes to read it, and what reading and changing it costs then.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::json;

use super::Measuring;
use crate::bench::gateway::Gateway;
use crate::model::topic::Topic;

const ORGS: u32 = 100;
/// Changes that are timed, and pages.
const CHANGES: u32 = 200;
const PAGES: u32 = 50;
/// Clients that read resources while others change them, and for how long.
const READERS: usize = 16;
const READING: Duration = Duration::from_secs(3);

/// What a large catalog costs. Milliseconds, but for reads a second.
pub(super) struct Large {
    pub(super) integrations: u32,
    pub(super) start: f64,
    pub(super) memory: f64,
    pub(super) write_p50: f64,
    pub(super) write_p99: f64,
    /// Until another process answers with what was written.
    pub(super) seen_p99: f64,
    pub(super) page: f64,
    pub(super) reads: f64,
}

impl Measuring {
    pub(super) async fn catalog(&mut self) -> anyhow::Result<()> {
        let Some(setups) = self.gateway.clone() else { return Ok(()) };
        self.progress.step("a large catalog: making it");
        let prefix = self.prefixes[3].clone();
        let setup = setups.plain.with_catalog(prefix.clone(), "catalog")?;
        // Makes the topics.
        setup.start().await?.stop().await?;
        let (topic, broker) = (Topic::Catalog.full_name(&prefix), self.broker.clone());
        let integrations = self.extent.integrations;
        tokio::task::spawn_blocking(move || fill(&broker.producer(None).create()?, &topic, integrations)).await??;
        self.progress.step("a large catalog: start, changes, pages, reads");
        let begun = Instant::now();
        let gateway = setup.start().await?;
        let start = ms(begun.elapsed());
        let memory = gateway.usage().resident;
        let other = setups.plain.with_catalog(prefix, "catalog-2")?.start().await?;
        let (writes, seen) = changes(&gateway, &other).await?;
        let page = pages(&gateway, integrations).await?;
        let reads = reads(&gateway, integrations).await?;
        other.stop().await?;
        gateway.stop().await?;
        let at = |histogram: &Histogram<u64>, q| histogram.value_at_quantile(q) as f64 / 1_000.0;
        self.extra.catalog = Some(Large {
            integrations,
            start,
            memory,
            write_p50: at(&writes, 0.5),
            write_p99: at(&writes, 0.99),
            seen_p99: at(&seen, 0.99),
            page,
            reads,
        });
        Ok(())
    }
}

/// Straight onto the topic: one by one through the API it would take minutes.
fn fill(producer: &ThreadedProducer<DefaultProducerContext>, topic: &str, integrations: u32) -> anyhow::Result<()> {
    let orgs = (0..ORGS).map(|n| (format!("Organization/{}", org(n)), json!({"orgId": org(n), "name": "Bench"})));
    let each = (0..integrations).map(|n| (format!("OutboundIntegration/{}", id(n)), integration(n, 1)));
    for (key, value) in orgs.chain(each) {
        let value = value.to_string();
        let mut record = BaseRecord::to(topic).key(&key).payload(&value).partition(0);
        while let Err((error, back)) = producer.send(record) {
            anyhow::ensure!(error.to_string().contains("Queue full"), "a resource could not be produced: {error}");
            std::thread::park_timeout(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60)).context("the broker did not take the catalog")
}

fn org(n: u32) -> String {
    format!("org-{}", n % ORGS)
}

fn id(n: u32) -> String {
    format!("integration-{n:06}")
}

fn integration(n: u32, timeout: u32) -> serde_json::Value {
    json!({
        "id": id(n), "orgId": org(n), "name": format!("Integration {n}"), "eventType": [format!("bench.kind.{}", n % 40)],
        "targetUrl": format!("https://receiver.example/{n}"), "labels": {"team": format!("t{}", n % 20)},
        "timeoutMs": 30_000 + timeout, "version": 1,
    })
}

/// Microseconds until each change was answered, and until the other process had it.
async fn changes(gateway: &Gateway, other: &Gateway) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let (mut writes, mut seen) = (Histogram::new(3)?, Histogram::new(3)?);
    for n in 0..CHANGES {
        let path = format!("/api/v1/outbound-integrations/{}", id(n));
        let begun = Instant::now();
        gateway.put(&path, integration(n, 2)).await?;
        let answered = Instant::now();
        writes.record(u64::try_from((answered - begun).as_micros())?)?;
        while !other.get(&path).await?.contains("\"version\":2,") {
            tokio::task::yield_now().await;
        }
        seen.record(u64::try_from(answered.elapsed().as_micros())?)?;
    }
    Ok((writes, seen))
}

/// The slowest way to ask for a page, at its median.
async fn pages(gateway: &Gateway, integrations: u32) -> anyhow::Result<f64> {
    let last = integrations / 50;
    let mut slowest = 0.0f64;
    for query in
        [String::new(), format!("page={last}"), "orgId=org-7".into(), "label=team:t3".into(), "search=77".into()]
    {
        let mut took = Histogram::<u64>::new(3)?;
        for _ in 0..PAGES {
            let begun = Instant::now();
            gateway.get(&format!("/api/v1/outbound-integrations?{query}")).await?;
            took.record(u64::try_from(begun.elapsed().as_micros())?)?;
        }
        slowest = slowest.max(took.value_at_quantile(0.5) as f64 / 1_000.0);
    }
    Ok(slowest)
}

/// Resources read a second by several clients, while another changes them.
async fn reads(gateway: &Gateway, integrations: u32) -> anyhow::Result<f64> {
    let until = Instant::now() + READING;
    let read = async |reader: usize| {
        let mut count = 0u32;
        while Instant::now() < until {
            let n = fastrand::u32(..integrations).max(u32::try_from(reader)?);
            gateway.get(&format!("/api/v1/outbound-integrations/{}", id(n))).await?;
            count += 1;
        }
        anyhow::Ok(count)
    };
    let change = async {
        let mut n = CHANGES;
        while Instant::now() < until {
            gateway.put(&format!("/api/v1/outbound-integrations/{}", id(n)), integration(n, 3)).await?;
            n += 1;
        }
        anyhow::Ok(())
    };
    let all = futures_util::future::try_join_all((0..READERS).map(read));
    let (counts, ()) = tokio::try_join!(all, change)?;
    Ok(f64::from(counts.into_iter().sum::<u32>()) / READING.as_secs_f64())
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
