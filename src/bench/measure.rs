//! The course of a run: which system does what, in which order, and what is kept of it.

mod catalog;
mod embedded;
mod history;
mod logs;
mod rows;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;

use crate::bench::bare::{Bare, BarePublish};
use crate::bench::broker::Broker;
use crate::bench::gateway::{Gateway, Setup, Usage};
use crate::bench::load::{Pace, Sender};
use crate::bench::progress::Progress;
use crate::bench::receiver::{Receiver, Tally};
use crate::bench::report::Report;
use crate::bench::rest::{Publishing, publish};
use crate::bench::sample::Kind;
use crate::bench::{Extent, Options};
use crate::model::topic::Topic;

/// Nothing arrives for so long: something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rates of the steady streams, events a second, and the milliseconds aimed at: p50, p99.
const STREAMS: [(u32, f64, f64); 2] = [(50, 12.0, 30.0), (2_000, 20.0, 60.0)];

/// Of one system, over all rounds.
#[derive(Default)]
struct Figures {
    backlog: Vec<f64>,
    /// One for each of `STREAMS`.
    latency: Vec<Histogram<u64>>,
    repeats: u64,
    published: Published,
}

/// Events accepted over REST in a second.
#[derive(Clone, Copy, Debug, Default)]
struct Published {
    /// One in a request.
    single: Option<f64>,
    /// A hundred in a request.
    batch: Option<f64>,
}

/// What only the gateway has.
#[derive(Default)]
struct Extra {
    fan: Vec<f64>,
    idle: Option<f64>,
    peak: f64,
    /// Microseconds of CPU for each delivery of a backlog.
    cpu: Vec<f64>,
    /// Deliveries a second on the embedded engine.
    embedded: Option<f64>,
    /// MiB at most, of a gateway with every role.
    peak_of_all: f64,
    /// Rows a second, when history is made anew.
    projection: Option<f64>,
    /// How long a page of deliveries took, by filter.
    pages: Vec<logs::Asked>,
    catalog: Option<catalog::Large>,
}

/// A run under way.
struct Measuring {
    broker: Broker,
    prefixes: [String; 4],
    receiver: Receiver,
    extent: Extent,
    /// `None`: the bare pipeline alone.
    gateway: Option<Setups>,
    progress: Progress,
    next_number: u64,
    bare: Figures,
    gated: Figures,
    with_history: Figures,
    extra: Extra,
}

/// What the bare pipeline is beside, and what has history as well, on topics of its own.
#[derive(Clone)]
struct Setups {
    plain: Setup,
    with_history: Setup,
}

/// Prefixes of the topics of the bare pipeline, of the gateway, of the gateway with history, and of a large catalog.
pub fn prefixes(prefix: &str) -> [String; 4] {
    ["bare", "gateway", "history", "catalog"].map(|of| format!("{prefix}.{of}"))
}

/// A system at work.
enum Running {
    Bare(Bare),
    Gateway(Gateway),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Bare,
    /// With every role but `project`, which the bare pipeline has nothing like.
    Gateway,
    /// With every role.
    WithHistory,
}

/// The whole course. Dropped half-way it leaves topics behind, and nothing else.
pub async fn measure(options: &Options, broker: &Broker, prefix: &str, extent: Extent) -> anyhow::Result<Report> {
    let steps = if options.bare { 2 + 3 * extent.rounds } else { 15 + 8 * extent.rounds };
    let progress = Progress::new(u64::from(steps));
    let prefixes = prefixes(prefix);
    progress.step("creating topics");
    let topics = [Topic::Events, Topic::Deliveries, Topic::Attempts].map(|topic| options.topology.topic(topic));
    broker.create_topics(&prefixes[0], &topics).await?;
    let gateway = match options.bare {
        true => None,
        false => {
            let plain = Setup::new(broker, prefixes[1].clone(), options.flags.clone())?;
            let with_history = plain.with_history(prefixes[2].clone())?;
            Some(Setups { plain, with_history })
        }
    };
    let measuring = Measuring {
        broker: broker.clone(),
        prefixes,
        receiver: Receiver::start()?,
        extent,
        gateway,
        progress,
        next_number: 0,
        bare: Figures::default(),
        gated: Figures::default(),
        with_history: Figures::default(),
        extra: Extra::default(),
    };
    measuring.run().await
}

impl Measuring {
    async fn run(mut self) -> anyhow::Result<Report> {
        self.warm_up().await?;
        if let Some(setups) = self.gateway.clone() {
            self.set_up(&setups).await?;
        }
        for round in 1..=self.extent.rounds {
            self.round(System::Bare, round).await.context("the bare pipeline")?;
            if self.gateway.is_some() {
                self.round(System::Gateway, round).await.context("the gateway")?;
                self.history_round(round).await.context("the gateway with history")?;
            }
        }
        if self.gateway.is_some() {
            self.projection().await.context("projection")?;
            self.logs().await.context("a page of deliveries")?;
            self.catalog().await.context("a large catalog")?;
            self.publishing().await.context("REST publish")?;
            self.embedded().await.context("the embedded engine")?;
        }
        if let Some(setups) = &self.gateway {
            // Its log is of use after a failure only; a folder left in the way of nothing is no reason to fail.
            let _ = std::fs::remove_dir_all(&setups.plain.folder);
        }
        Ok(self.report())
    }

    /// The broker compiles its code as it runs: a backlog through the bare pipeline that nobody measures.
    async fn warm_up(&mut self) -> anyhow::Result<()> {
        self.progress.step("warming the broker up");
        let (running, _) = self.backlog(System::Bare, Kind::Spread, self.extent.warm_up).await?;
        running.stop().await?;
        Ok(())
    }

    /// The organization and its integrations; what the gateway takes when it does nothing.
    async fn set_up(&mut self, setups: &Setups) -> anyhow::Result<()> {
        self.progress.step("gateway: creating integrations, then idle");
        for setup in [&setups.plain, &setups.with_history] {
            let gateway = setup.start().await?;
            gateway.configure(self.receiver.address).await?;
            tokio::time::sleep(self.extent.settle).await;
            // The last one has every role.
            self.extra.idle = Some(gateway.usage().resident);
            gateway.stop().await?;
        }
        Ok(())
    }

    async fn round(&mut self, system: System, round: u32) -> anyhow::Result<()> {
        let (name, rounds) = (system.name(), self.extent.rounds);
        self.progress.step(format!("{name}, round {round} of {rounds}: backlog"));
        let (running, tally) = self.backlog(system, Kind::Spread, self.extent.backlog).await?;
        self.figures(system).backlog.push(tally.rate());
        self.figures(system).repeats += tally.repeats();
        if let Running::Gateway(gateway) = &running {
            let micros = gateway.usage().cpu.as_secs_f64() * 1e6;
            self.extra.cpu.push(micros / self.extent.backlog as f64);
        }
        for (at, (rate, ..)) in STREAMS.into_iter().enumerate() {
            self.progress.step(format!("{name}, round {round} of {rounds}: {rate} events a second"));
            let tally = self.stream(system, rate).await?;
            let figures = self.figures(system);
            figures.repeats += tally.repeats();
            match figures.latency.get_mut(at) {
                Some(all) => all.add(&tally.latency)?,
                None => figures.latency.push(tally.latency),
            }
        }
        self.stop(running).await?;
        if system == System::Gateway {
            self.progress.step(format!("{name}, round {round} of {rounds}: ten deliveries an event"));
            let (running, tally) = self.backlog(system, Kind::Fan, self.extent.fan).await?;
            self.extra.fan.push(tally.rate());
            self.gated.repeats += tally.repeats();
            self.stop(running).await?;
        }
        Ok(())
    }

    /// Fills the topic while nobody reads, then starts the system and waits for the last delivery.
    async fn backlog(&mut self, system: System, kind: Kind, events: u64) -> anyhow::Result<(Running, Tally)> {
        let numbers = self.numbers(events);
        let sender = self.sender(system, kind)?;
        let sent = numbers.clone();
        tokio::task::spawn_blocking(move || sender.backlog(sent)).await??;
        self.receiver.expect(numbers, kind.copies(), Instant::now());
        let running = self.start(system).await?;
        Ok((running, self.complete().await?))
    }

    /// A steady stream through a system that runs.
    async fn stream(&mut self, system: System, rate: u32) -> anyhow::Result<Tally> {
        let span = self.extent.settle + self.extent.stream;
        let numbers = self.numbers((f64::from(rate) * span.as_secs_f64()) as u64);
        let sender = self.sender(system, Kind::Spread)?;
        // The first events find the producer without a connection; those are in the warm-up.
        let start = Instant::now() + Duration::from_millis(100);
        self.receiver.expect(numbers.clone(), 1, start + self.extent.settle);
        let pace = Pace { start, every: Duration::from_secs(1) / rate };
        // Dropped with this future, it ends the stream.
        let (_going, stop) = mpsc::sync_channel(0);
        tokio::task::spawn_blocking(move || sender.stream(numbers, pace, &stop)).await??;
        self.complete().await
    }

    async fn publishing(&mut self) -> anyhow::Result<()> {
        let Some(setups) = self.gateway.clone() else { return Ok(()) };
        let bare = BarePublish::start(&self.broker, self.prefix(System::Bare)).await?;
        self.bare.published = self.published(System::Bare, (bare.address, "")).await?;
        bare.stop().await?;
        let gateway = setups.plain.start_ingest().await?;
        self.gated.published = self.published(System::Gateway, (gateway.address, gateway.key())).await?;
        self.stop(Running::Gateway(gateway)).await
    }

    async fn published(&mut self, system: System, (address, key): (SocketAddr, &str)) -> anyhow::Result<Published> {
        let mut publishing = Publishing {
            address,
            key: key.to_owned(),
            batch: 1,
            warm_up: self.extent.settle,
            span: self.extent.publish,
            first_number: self.next_number,
            kind: Kind::Unheard,
        };
        self.progress.step(format!("{}: REST publish, one event a request", system.name()));
        let single = Some(publish(publishing.clone()).await?);
        self.progress.step(format!("{}: REST publish, 100 events a request", system.name()));
        // No number twice, or the events would be known already.
        publishing.first_number += 1_000_000_000;
        publishing.batch = 100;
        let batch = Some(publish(publishing).await?);
        Ok(Published { single, batch })
    }

    async fn complete(&self) -> anyhow::Result<Tally> {
        self.receiver.complete(PATIENCE, |done, of| self.progress.detail(done, of)).await
    }

    fn numbers(&mut self, n: u64) -> Range<u64> {
        let first = self.next_number;
        self.next_number += n;
        first..self.next_number
    }

    fn sender(&self, system: System, kind: Kind) -> anyhow::Result<Sender> {
        Sender::new(&self.broker, Topic::Events.full_name(self.prefix(system)), kind)
    }

    fn prefix(&self, system: System) -> &str {
        let [bare, gateway, with_history, _] = &self.prefixes;
        match system {
            System::Bare => bare,
            System::Gateway => gateway,
            System::WithHistory => with_history,
        }
    }

    fn figures(&mut self, system: System) -> &mut Figures {
        match system {
            System::Bare => &mut self.bare,
            System::Gateway => &mut self.gated,
            System::WithHistory => &mut self.with_history,
        }
    }

    async fn start(&self, system: System) -> anyhow::Result<Running> {
        match (system, &self.gateway) {
            (System::Gateway, Some(setups)) => Ok(Running::Gateway(setups.plain.start().await?)),
            (System::WithHistory, Some(setups)) => Ok(Running::Gateway(setups.with_history.start().await?)),
            _ => {
                let url = format!("http://{}/bare", self.receiver.address);
                Ok(Running::Bare(Bare::start(&self.broker, self.prefix(System::Bare), &url)?))
            }
        }
    }

    async fn stop(&mut self, running: Running) -> anyhow::Result<()> {
        let usage = running.stop().await?;
        self.extra.peak = self.extra.peak.max(usage.peak);
        Ok(())
    }
}

impl Running {
    async fn stop(self) -> anyhow::Result<Usage> {
        match self {
            Running::Bare(bare) => bare.stop().await.map(|()| Usage::default()),
            Running::Gateway(gateway) => gateway.stop().await,
        }
    }
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Bare => "bare pipeline",
            System::Gateway => "gateway",
            System::WithHistory => "gateway with history",
        }
    }
}
