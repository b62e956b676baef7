//! The bound on what lies between the log and a stage.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::consumer::Leave;
use crate::stream::log::Credit;

/// Records and bytes that were handed out and not given back. One record may overshoot the bytes.
#[derive(Debug)]
pub(super) struct Room {
    max: (usize, usize),
    used: Mutex<(usize, usize)>,
    freed: Condvar,
}

impl Room {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Room { max: (max_records.max(1), max_bytes.max(1)), used: Mutex::default(), freed: Condvar::new() }
    }

    fn fits(&self, used: (usize, usize)) -> bool {
        used.0 < self.max.0 && used.1 < self.max.1
    }

    pub(super) fn is_free(&self) -> bool {
        self.used.lock().is_ok_and(|used| self.fits(*used))
    }

    /// Enough to be worth fetching again after a pause.
    pub(super) fn is_half_free(&self) -> bool {
        self.used.lock().is_ok_and(|used| used.0 <= self.max.0 / 2 && used.1 <= self.max.1 / 2)
    }

    /// True as soon as there is room; false after `wait`.
    pub(super) fn wait(&self, wait: Duration) -> bool {
        let Ok(used) = self.used.lock() else { return false };
        self.freed.wait_timeout_while(used, wait, |u| !self.fits(*u)).is_ok_and(|(_, out)| !out.timed_out())
    }

    pub(super) fn take(&self, records: usize, bytes: usize) {
        if let Ok(mut used) = self.used.lock() {
            *used = (used.0 + records, used.1 + bytes);
        }
    }

    pub(super) fn give_back(&self, records: usize, bytes: usize) {
        if let Ok(mut used) = self.used.lock() {
            *used = (used.0.saturating_sub(records), used.1.saturating_sub(bytes));
        }
        self.freed.notify_all();
    }
}

/// The handle that a stage holds.
pub(super) struct KafkaCredit {
    pub(super) room: Arc<Room>,
    pub(super) _leave: Arc<Leave>,
}

impl Credit for KafkaCredit {
    fn release(&self, records: usize, bytes: usize) {
        self.room.give_back(records, bytes);
    }
}
