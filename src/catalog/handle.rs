//! The handle through which every part of a process reads the catalog.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::catalog::snapshot::Snapshot;
use crate::model::ids::Offset;

/// The newest snapshot, and news of the next. Share it as `Arc<Catalog>`; `follow` keeps it up to date.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    /// The position of `current`; `None` until the catalog was loaded once.
    position: watch::Sender<Option<Offset>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog { current: ArcSwap::default(), position: watch::Sender::new(None) }
    }
}

impl Catalog {
    /// A catalog that holds this snapshot already.
    pub fn with(snapshot: Snapshot) -> Self {
        let catalog = Catalog::default();
        catalog.publish(snapshot);
        catalog
    }

    /// The newest snapshot; empty until `loaded`. Cheap: no lock, no copy.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Was everything read that the log held at the start?
    pub fn is_loaded(&self) -> bool {
        self.position.borrow().is_some()
    }

    /// Resolves once the catalog is loaded; nothing may be matched, delivered or refused by an empty snapshot.
    pub async fn loaded(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.position.subscribe().wait_for(Option::is_some).await;
    }

    /// Sees every new snapshot: wait with `changed()`, then take `snapshot()`.
    pub fn changed(&self) -> watch::Receiver<Option<Offset>> {
        self.position.subscribe()
    }

    /// Waits until the snapshot holds everything below `position`; false if it does not within `wait`.
    pub async fn reached(&self, position: Offset, wait: Duration) -> bool {
        let mut positions = self.position.subscribe();
        let there = positions.wait_for(|now| now.is_some_and(|now| now >= position));
        tokio::time::timeout(wait, there).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        let position = snapshot.position();
        self.current.store(Arc::new(snapshot));
        self.position.send_replace(Some(position));
    }
}
