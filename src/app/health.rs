//! How the process is, for probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::supervise::Board;
use crate::api::{Health, Part};
use crate::catalog::Catalog;
use crate::history;
use crate::model::time::Clock;
use crate::stream::log::Log;

/// How often the log is asked whether it answers.
const EVERY: Duration = Duration::from_secs(2);
/// For the log to say what was written, and for the snapshot to hold it.
const PATIENCE: Duration = Duration::from_secs(2);
/// An age of the snapshot that is told as a fault.
const OLD: Duration = Duration::from_secs(10);

impl Health for Board {
    fn parts(&self) -> Vec<Part> {
        let part = |(name, state): (&str, Result<(), String>)| {
            let ok = state.is_ok();
            // Events are taken and delivered without it.
            let vital = name != history::PART;
            Part { name: name.into(), ok, vital, detail: state.err().unwrap_or_else(|| "ok".into()) }
        };
        self.states().into_iter().map(part).collect()
    }
}

/// What is watched.
pub(super) struct Watched {
    pub log: Arc<dyn Log>,
    pub catalog: Arc<Catalog>,
    pub clock: Arc<dyn Clock>,
    pub board: Arc<Board>,
}

impl Watched {
    /// Keeps the parts `log` and `snapshot` up to date until `stop`: before the catalog was read once, nothing can be matched,
    /// delivered or told from what is unknown. Afterwards it is asked whether it is current.
    pub async fn watch(self, stop: CancellationToken) {
        tokio::select! {
            ((), ()) = async { tokio::join!(self.log(), self.snapshot()) } => {}
            () = stop.cancelled() => {}
        }
    }

    async fn log(&self) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            self.board.set("log", self.log.ping().await.map_err(|e| e.to_string()));
        }
    }

    async fn snapshot(&self) {
        self.catalog.loaded().await;
        self.catalog.is_current(self.clock.now());
        self.board.set("snapshot", Ok(()));
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            let asked = self.clock.now();
            // A log that is away may be silent for longer than anybody waits.
            if let Ok(Ok(())) = timeout(PATIENCE, self.catalog.catch_up(&*self.log, PATIENCE)).await {
                self.catalog.is_current(asked);
            }
            self.board.set("snapshot", self.standing());
        }
    }

    fn standing(&self) -> Result<(), String> {
        match self.catalog.age(self.clock.now()) {
            Some(age) if age >= OLD => Err(format!(
                "the log cannot be asked what changed: routes answer from the catalog as it was {} s ago, which `Age` tells",
                age.as_secs()
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Follower;
    use crate::catalog::fake::SharedFake;
    use crate::model::time::{ManualClock, Timestamp};

    /// Until the part says so; each turn a second later.
    async fn until(watched: &Watched, clock: &ManualClock, wanted: impl Fn(&Result<(), String>) -> bool) {
        for _ in 0..60 {
            if watched.board.states().get("snapshot").is_some_and(&wanted) {
                return;
            }
            clock.advance(Duration::from_secs(1));
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
        panic!("{:?}", watched.board.states());
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_may_be_old_is_told_and_so_is_one_that_is_current_again() {
        let log = SharedFake::default();
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_930_250)));
        let (catalog, board) = (Arc::new(Catalog::default()), Arc::new(Board::default()));
        let watched = Watched {
            log: Arc::new(log.clone()),
            catalog: catalog.clone(),
            clock: clock.clone(),
            board: board.clone(),
        };
        let seen = Watched { log: Arc::new(log.clone()), catalog: catalog.clone(), clock: clock.clone(), board };
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Follower::new(Arc::new(log.clone()), catalog.clone()).run(stop.clone()));
        let stopped = stop.clone();
        tasks.spawn(async move {
            watched.watch(stopped).await;
            Ok(())
        });
        until(&seen, &clock, Result::is_ok).await;
        assert_eq!(catalog.age(clock.now()), None);
        log.0.fall_silent();
        until(&seen, &clock, |part| part.as_ref().is_err_and(|why| why.contains("which `Age` tells"))).await;
        assert!(catalog.age(clock.now()).is_some_and(|age| age >= OLD));
        log.0.go_away(false);
        until(&seen, &clock, Result::is_ok).await;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
