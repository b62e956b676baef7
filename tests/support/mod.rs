//! Servers, clients and accounts for tests of the whole system. Every wait has a deadline and says what it waited for.

pub mod api;
pub mod broker;
pub mod command;
pub mod embedded;
pub mod gateway;
pub mod kafka;
pub mod ledger;
pub mod load;
pub mod receiver;
pub mod story;
pub mod terminal;
pub mod topics;
pub mod turn;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidegate::model::time::{Clock as _, SystemClock, Timestamp};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// For what takes a moment on an idle machine: the suite shares two cores with a broker and whatever else runs.
pub const SOON: Duration = Duration::from_secs(60);

/// For what waits for sessions, restarts or a backlog.
pub const LATER: Duration = Duration::from_secs(180);

/// Asks until there is an answer. Only for state of another process that tells nobody of its changes (offsets, topics, the
/// readiness of a child): there is nothing to be woken by, so it is looked at ten times a second.
pub async fn until<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    let mut tick = interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match timeout_at(deadline, ask()).await {
            Ok(Some(answer)) => return answer,
            Ok(None) if Instant::now() < deadline => {}
            _ => panic!("{what}: not within {within:?}"),
        }
    }
}

/// The wall clock, which the gateway reads too: due times are compared with it.
pub fn now() -> Timestamp {
    SystemClock.now()
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A name that no other test of this or another run uses: `<name>-<process>-<n>`.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Where logs and data of this run go: what `make test` made for it, else `.scratch`.
pub fn scratch() -> PathBuf {
    let folder = std::env::var_os("TIDEGATE_SCRATCH").map_or_else(|| repository().join(".scratch"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("the scratch folder can be made");
    folder
}
