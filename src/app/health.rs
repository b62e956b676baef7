//! How the process is, for probes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::history;
use super::supervise::Board;
use crate::api::{Health, Part};
use crate::catalog::Catalog;
use crate::stream::log::Log;

/// How often the log is asked whether it answers.
const EVERY: Duration = Duration::from_secs(2);

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

/// Keeps the parts `log` and `snapshot` up to date until `stop`: before the catalog was read once, nothing can be
/// matched, delivered or told from what is unknown.
pub(super) async fn watch(log: &dyn Log, catalog: &Catalog, board: &Board, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    let mut waiting = true;
    loop {
        tokio::select! {
            _ = tick.tick() => board.set("log", log.ping().await.map_err(|e| e.to_string())),
            () = catalog.loaded(), if waiting => {
                waiting = false;
                board.set("snapshot", Ok(()));
            }
            () = stop.cancelled() => return,
        }
    }
}
