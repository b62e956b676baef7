//! The gateway with history: a backlog until all of it can be looked up, and history made anew.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::{Measuring, PATIENCE, Running, System};
use crate::bench::gateway::Gateway;
use crate::bench::sample::Kind;
use crate::model::time::{Clock as _, SystemClock};

/// Between two looks at how far history is: seldom enough to cost it nothing.
const LOOK: Duration = Duration::from_millis(100);
/// Records of each event: itself, its delivery, the attempt.
const RECORDS: u64 = 3;

impl Measuring {
    /// The clock stops when every delivery can be looked up as delivered. Its attempt is in the same transaction.
    pub(super) async fn history_round(&mut self, round: u32) -> anyhow::Result<()> {
        self.progress.step(format!("history, round {round} of {}: backlog", self.extent.rounds));
        let since = SystemClock.now();
        let (running, tally) = self.backlog(System::WithHistory, Kind::Spread, self.extent.history).await?;
        let (Running::Gateway(gateway), Some(first)) = (&running, tally.first) else { bail!("nothing arrived") };
        let filter = format!("status=SUCCESS&startDate={since}");
        self.watch(tally.arrived, async || gateway.logs(&filter).await).await?;
        self.with_history.backlog.push(tally.arrived as f64 / first.elapsed().as_secs_f64());
        self.with_history.repeats += tally.repeats();
        let usage = running.stop().await?;
        self.extra.peak_of_all = self.extra.peak_of_all.max(usage.peak);
        Ok(())
    }

    /// An empty history, and topics that are full.
    pub(super) async fn projection(&mut self) -> anyhow::Result<()> {
        let Some(setups) = &self.gateway else { return Ok(()) };
        self.progress.step("history made anew");
        let gateway = setups.with_history.rebuilding()?.start().await?;
        let (begun, before) = (Instant::now(), gateway.projected().await?);
        let expected = u64::from(self.extent.rounds) * self.extent.history * RECORDS;
        let rows = self.watch(expected, async || gateway.projected().await).await? - before;
        self.extra.projection = Some(rows as f64 / begun.elapsed().as_secs_f64());
        self.check(&gateway).await?;
        let usage = gateway.stop().await?;
        self.extra.peak_of_all = self.extra.peak_of_all.max(usage.peak);
        Ok(())
    }

    /// What was counted as projected is there.
    async fn check(&self, gateway: &Gateway) -> anyhow::Result<()> {
        let (there, all) = (gateway.logs("status=SUCCESS").await?, u64::from(self.extent.rounds) * self.extent.history);
        ensure!(
            there >= all.min(crate::history::store::COUNTED),
            "only {there} of {all} deliveries are in the history"
        );
        Ok(())
    }

    /// Looks until so many are there; gives up when none came for a while.
    async fn watch(&self, expected: u64, look: impl AsyncFn() -> anyhow::Result<u64>) -> anyhow::Result<u64> {
        let (mut before, mut moved) = (0, Instant::now());
        loop {
            let found = look().await?;
            self.progress.detail(found, expected);
            if found >= expected {
                return Ok(found);
            }
            if found > before {
                (before, moved) = (found, Instant::now());
            }
            ensure!(moved.elapsed() < PATIENCE, "history stands still at {found} of {expected}");
            tokio::time::sleep(LOOK).await;
        }
    }
}
