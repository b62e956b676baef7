//! The handle through which every part of a process reads the catalog.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use uuid::Uuid;

use crate::catalog::snapshot::Snapshot;
use crate::model::ids::Offset;

/// The newest snapshot, and news of the next. Share it as `Arc<Catalog>`; a `Follower` keeps it up to date.
#[derive(Debug)]
pub struct Catalog {
    current: ArcSwap<Snapshot>,
    /// The position of `current`; `None` until the catalog was loaded once.
    position: watch::Sender<Option<Offset>>,
    /// Writes of this process under way, and whether `current` holds them.
    awaited: Mutex<HashMap<Uuid, bool>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog { current: ArcSwap::default(), position: watch::Sender::new(None), awaited: Mutex::default() }
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
        self.publish_with(snapshot, &[]);
    }

    /// Replaces the snapshot by one that also holds these writes.
    pub(super) fn publish_with(&self, snapshot: Snapshot, writes: &[Uuid]) {
        let position = snapshot.position();
        self.current.store(Arc::new(snapshot));
        let mut awaited = self.awaited();
        for write in writes {
            if let Some(held) = awaited.get_mut(write) {
                *held = true;
            }
        }
        drop(awaited);
        self.position.send_replace(Some(position));
    }

    /// Looks out for a write, from before it is made until the result is dropped.
    pub(super) fn watch_for(&self, write: Uuid) -> Awaited<'_> {
        self.awaited().insert(write, false);
        Awaited { catalog: self, write }
    }

    /// Does somebody look out for this write?
    pub(super) fn awaits(&self, write: Uuid) -> bool {
        self.awaited().contains_key(&write)
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<Uuid, bool>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is looked out for.
#[derive(Debug)]
pub(super) struct Awaited<'a> {
    catalog: &'a Catalog,
    write: Uuid,
}

impl Awaited<'_> {
    /// Does the snapshot hold it?
    pub fn is_held(&self) -> bool {
        self.catalog.awaited().get(&self.write).copied().unwrap_or(false)
    }

    /// Waits until the snapshot holds it; false if it does not within `wait`.
    pub async fn held(&self, wait: Duration) -> bool {
        let mut positions = self.catalog.changed();
        let there = positions.wait_for(|_| self.is_held());
        tokio::time::timeout(wait, there).await.is_ok_and(|seen| seen.is_ok())
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.catalog.awaited().remove(&self.write);
    }
}
