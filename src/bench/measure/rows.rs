//! The rows of the report.

use super::catalog::Large;
use super::logs::Asked;
use super::{Figures, Measuring, STREAMS};
use crate::bench::report::{Latency, Report, Row, Target, Unit, median, thousands};
use crate::model::time::{Clock as _, SystemClock};

impl Measuring {
    pub(super) fn report(self) -> Report {
        let gated = self.gateway.is_some();
        let mut rows = self.throughput();
        let mut latencies = Vec::new();
        for (at, (rate, p50, p99)) in STREAMS.into_iter().enumerate() {
            let of = |figures: &Figures, name: &str| {
                figures.latency.get(at).map(|h| Latency::of(format!("{name} at {}/s", thousands(rate.into())), h))
            };
            let (gateway, bare) = (of(&self.gated, "gateway"), of(&self.bare, "bare"));
            for (name, target, value) in
                [("p50", p50, (|l| l.p50_ms) as fn(&Latency) -> f64), ("p99", p99, |l| l.p99_ms)]
            {
                let row = Row::new(
                    format!("event to answered delivery, {}/s, {name}", thousands(rate.into())),
                    Unit::Milliseconds,
                );
                let row = row.gateway(gateway.as_ref().map(value)).bare(bare.as_ref().map(value));
                rows.push(row.target(Target::AtMost(target)));
            }
            latencies.extend(gateway.into_iter().chain(bare));
        }
        if gated {
            rows.extend(self.of_the_gateway());
        }
        rows.extend(self.extra.catalog.iter().flat_map(of_the_catalog));
        Report {
            version: env!("CARGO_PKG_VERSION"),
            at: SystemClock.now().to_string(),
            brokers: self.broker.brokers.clone(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            seconds: 0.0,
            rows,
            latencies,
            notes: self.notes(),
        }
    }

    fn throughput(&self) -> Vec<Row> {
        let share = Target::ShareOfBare { share: 0.7, floor: 20_000.0, where_bare: 29_000.0 };
        let backlog = Row::new("deliveries, 1 KiB, from a backlog", Unit::PerSecond)
            .gateway(median(self.gated.backlog.clone()))
            .bare(median(self.bare.backlog.clone()))
            .target(share);
        let half = Target::ShareOfBare { share: 0.5, floor: 0.0, where_bare: f64::INFINITY };
        let caught_up = Row::new("the same, history caught up at the end", Unit::PerSecond)
            .gateway(median(self.with_history.backlog.clone()))
            .bare(median(self.bare.backlog.clone()))
            .target(half);
        if self.gateway.is_some() { vec![backlog, caught_up] } else { vec![backlog] }
    }

    fn of_the_gateway(&self) -> [Row; 11] {
        let extra = &self.extra;
        let deliveries = thousands(f64::from(self.extent.logs));
        let slowest = |figure: fn(&Asked) -> f64| extra.pages.iter().map(figure).max_by(f64::total_cmp);
        [
            Row::new("deliveries, each event to ten", Unit::PerSecond)
                .gateway(median(extra.fan.clone()))
                .target(Target::AtLeast(15_000.0)),
            Row::new("REST publish, 64 connections, one event each", Unit::PerSecond)
                .gateway(self.gated.published.single)
                .bare(self.bare.published.single)
                .target(Target::AtLeast(8_000.0)),
            Row::new("REST publish, 64 connections, batches of 100", Unit::PerSecond)
                .gateway(self.gated.published.batch)
                .bare(self.bare.published.batch)
                .target(Target::AtLeast(50_000.0)),
            Row::new("deliveries from a backlog, embedded engine", Unit::PerSecond)
                .gateway(extra.embedded)
                .target(Target::AtLeast(5_000.0)),
            Row::new("projection, rows/s (events, deliveries, attempts)", Unit::PerSecond).gateway(extra.projection),
            Row::new(format!("/logs, 50 of {deliveries}, slowest filter, p50"), Unit::Milliseconds)
                .gateway(slowest(|page| page.p50_ms))
                .target(Target::AtMost(50.0)),
            Row::new("the same, asked for the first time", Unit::Milliseconds).gateway(slowest(|page| page.first_ms)),
            Row::new("memory, idle, every role", Unit::MiB).gateway(extra.idle).target(Target::AtMost(60.0)),
            Row::new("memory, at most, every role", Unit::MiB)
                .gateway(Some(extra.peak_of_all))
                .target(Target::AtMost(300.0)),
            Row::new("memory, at most, without history", Unit::MiB)
                .gateway(Some(extra.peak))
                .target(Target::AtMost(300.0)),
            Row::new("CPU for one delivery", Unit::Microseconds).gateway(median(extra.cpu.clone())),
        ]
    }

    fn notes(&self) -> Vec<String> {
        let list = |values: &[f64]| values.iter().map(|v| format!("{v:.0}")).collect::<Vec<_>>().join(", ");
        let mut notes = vec![format!("backlog by round, bare: {}", list(&self.bare.backlog))];
        if self.gateway.is_some() {
            notes.push(format!("backlog by round, gateway: {}", list(&self.gated.backlog)));
            notes.push(format!("backlog by round, ten deliveries an event: {}", list(&self.extra.fan)));
            notes.push("REST publish is to an instance with the role `ingest` alone".to_owned());
            notes.push(format!("backlog by round, history caught up: {}", list(&self.with_history.backlog)));
            notes.extend(self.extra.pages.iter().map(|page| format!("/logs {page}")));
        }
        let repeats = self.bare.repeats + self.gated.repeats + self.with_history.repeats;
        notes.push(format!("every event arrived; {repeats} deliveries came more than once"));
        notes.push(format!(
            "the broker was warmed up with {} events; the first {} s of each stream are left out",
            self.extent.warm_up,
            self.extent.settle.as_secs()
        ));
        notes
    }
}

fn of_the_catalog(large: &Large) -> [Row; 6] {
    let many = thousands(f64::from(large.integrations));
    let row = |name: String, unit, value| Row::new(name, unit).gateway(Some(value));
    [
        row(format!("start with {many} integrations"), Unit::Milliseconds, large.start).target(Target::AtMost(3_000.0)),
        row(format!("memory with {many} integrations"), Unit::MiB, large.memory),
        row("a change of the catalog, p50".to_owned(), Unit::Milliseconds, large.write_p50),
        row(
            "the same, seen by another process, p99".to_owned(),
            Unit::Milliseconds,
            large.write_p99.max(0.0) + large.seen_p99,
        )
        .target(Target::AtMost(200.0)),
        row(format!("50 of {many} integrations, slowest filter, p50"), Unit::Milliseconds, large.page)
            .target(Target::AtMost(50.0)),
        row("integrations read by 16 clients while one changes them".to_owned(), Unit::PerSecond, large.reads),
    ]
}
