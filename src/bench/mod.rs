//! Load with a built-in receiver: what this machine and this broker allow (the bare pipeline), and what the gateway makes
//! of it. Everything is measured in one run, bare and gateway in turn, so that the machine's moods cancel.

mod bare;
mod broker;
mod gateway;
mod load;
mod measure;
mod progress;
mod receiver;
mod report;
mod rest;
mod sample;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use broker::Broker;
pub use report::Report;

use crate::topology::Declared;

/// What is to be measured, and where.
#[derive(Clone, Debug)]
pub struct Options {
    pub brokers: String,
    /// librdkafka properties (SASL, TLS).
    pub properties: BTreeMap<String, String>,
    /// What the bare pipeline's topics are like.
    pub topology: Declared,
    /// Put before the gateway's command, so that it has the same configuration: `--config FILE`, `--topology FILE`. It
    /// inherits the environment.
    pub flags: Vec<String>,
    /// What the names of topics, groups and transactional ids begin with; `-bench-` and a random number follow.
    pub prefix: String,
    /// The bare pipeline alone.
    pub bare: bool,
    /// In a minute and a half, less exact.
    pub quick: bool,
}

/// How much is sent, and for how long.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Rounds of bare and gateway.
    rounds: u32,
    /// Events before anything is measured: the broker compiles its code as it runs.
    warm_up: u64,
    /// Events of a backlog.
    backlog: u64,
    /// Events of the fan-out; ten deliveries each.
    fan: u64,
    /// Events of a backlog that history is to catch up with.
    history: u64,
    /// Deliveries in the store whose pages are asked for.
    logs: u32,
    /// Of the large catalog.
    integrations: u32,
    /// Before a steady stream or the REST load is measured.
    settle: Duration,
    /// Of a steady stream.
    stream: Duration,
    /// Of the REST load, each way.
    publish: Duration,
}

impl Extent {
    const FULL: Extent = Extent {
        rounds: 3,
        warm_up: 150_000,
        backlog: 100_000,
        fan: 10_000,
        integrations: 100_000,
        history: 50_000,
        logs: 1_000_000,
        settle: Duration::from_secs(2),
        stream: Duration::from_secs(5),
        publish: Duration::from_secs(5),
    };
    const QUICK: Extent = Extent {
        rounds: 1,
        warm_up: 60_000,
        backlog: 50_000,
        fan: 5_000,
        integrations: 20_000,
        history: 25_000,
        logs: 100_000,
        settle: Duration::from_secs(1),
        stream: Duration::from_secs(4),
        publish: Duration::from_secs(2),
    };
}

/// Measures, and takes away the topics that it made, also when it fails or is interrupted.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    sample::start_clock();
    let extent = if options.quick { Extent::QUICK } else { Extent::FULL };
    let prefix = format!("{}-bench-{:06x}", options.prefix, fastrand::u32(..1 << 24));
    let broker = Broker { brokers: options.brokers.clone(), properties: options.properties.clone() };
    let begun = Instant::now();

    for prefix in measure::prefixes(&prefix) {
        let found = broker.topics_under(&prefix)?;
        ensure!(found.is_empty(), "there are topics under `{prefix}` already; nothing was touched, try again");
    }
    let measured = tokio::select! {
        measured = measure::measure(&options, &broker, &prefix, extent) => measured,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    for prefix in measure::prefixes(&prefix) {
        let deleted = broker.delete_topics(&prefix).await;
        deleted.with_context(|| format!("topics under {prefix} were left behind; delete them by hand"))?;
    }
    let mut report = measured?;
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Ctrl-C, or SIGTERM: without this the gateway under measure would be left behind.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
