//! What the whole-system suites share: a broker of one's own, a receiver that misbehaves as told, the gateway as a child
//! process, and the account of what arrived. Everything waits for events with a deadline, nothing sleeps to see.

pub mod broker;
pub mod gateway;
pub mod ledger;
pub mod receiver;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test of this or another run uses: `<name>-<process>-<n>`.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Where logs and data of this run go: what `make test` made for it, else `.scratch`.
pub fn scratch() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".scratch");
    std::env::var_os("TIDEGATE_SCRATCH").map_or_else(default, PathBuf::from)
}
