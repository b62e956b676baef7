//! The bound on what lies between the log and a stage.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::log::Credit;

/// Records and bytes that were handed out and not given back. One record may overshoot the bytes. Threads and tasks may wait
/// for room, one of each.
#[derive(Debug)]
pub struct Room {
    max: (usize, usize),
    used: Mutex<(usize, usize)>,
    freed: Condvar,
    freed_for_task: Notify,
}

impl Room {
    pub fn new(max_records: usize, max_bytes: usize) -> Room {
        Room {
            max: (max_records.max(1), max_bytes.max(1)),
            used: Mutex::default(),
            freed: Condvar::new(),
            freed_for_task: Notify::new(),
        }
    }

    fn used(&self) -> MutexGuard<'_, (usize, usize)> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, used: (usize, usize)) -> bool {
        used.0 < self.max.0 && used.1 < self.max.1
    }

    /// Records and bytes that may be handed out now.
    pub fn left(&self) -> (usize, usize) {
        let (records, bytes) = *self.used();
        (self.max.0.saturating_sub(records), self.max.1.saturating_sub(bytes))
    }

    pub fn is_free(&self) -> bool {
        self.fits(*self.used())
    }

    /// Enough to be worth fetching again after a pause.
    pub fn is_half_free(&self) -> bool {
        let used = *self.used();
        used.0 <= self.max.0 / 2 && used.1 <= self.max.1 / 2
    }

    /// Blocks. True as soon as there is room; false after `wait`.
    pub fn wait(&self, wait: Duration) -> bool {
        let waited = self.freed.wait_timeout_while(self.used(), wait, |used| !self.fits(*used));
        waited.is_ok_and(|(_, out)| !out.timed_out())
    }

    /// Waits until something was given back, since the last wait or from now on.
    pub async fn freed(&self) {
        self.freed_for_task.notified().await;
    }

    pub fn take(&self, records: usize, bytes: usize) {
        let mut used = self.used();
        *used = (used.0 + records, used.1 + bytes);
    }

    pub fn give_back(&self, records: usize, bytes: usize) {
        let mut used = self.used();
        *used = (used.0.saturating_sub(records), used.1.saturating_sub(bytes));
        drop(used);
        self.freed.notify_all();
        self.freed_for_task.notify_one();
    }
}

/// The handle that a stage holds; the membership lasts as long as its guard.
pub struct RoomCredit<L> {
    pub room: Arc<Room>,
    pub leave: L,
}

impl<L: Send + Sync> Credit for RoomCredit<L> {
    fn release(&self, records: usize, bytes: usize) {
        self.room.give_back(records, bytes);
    }
}
