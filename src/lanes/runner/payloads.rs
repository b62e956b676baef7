//! The records of a partition that are held in memory, within a budget of bytes. What does not fit is read again when its
//! turn comes, so a missing record costs time and never a delivery.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::model::ids::Offset;
use crate::model::record::Received;

/// Records by offset, at most `budget` bytes of them.
pub(super) struct Payloads {
    records: HashMap<Offset, Arc<Received>, FxBuildHasher>,
    bytes: usize,
    budget: usize,
}

impl Payloads {
    pub fn new(budget: usize) -> Self {
        Payloads { records: HashMap::default(), bytes: 0, budget }
    }

    /// Keeps the record if there is room for it.
    pub fn offer(&mut self, record: Received) {
        let size = record.record.size();
        if self.bytes + size <= self.budget {
            self.insert(Arc::new(record), size);
        }
    }

    /// Keeps a record that is about to be worked on: the number of those is bounded elsewhere.
    pub fn hold(&mut self, record: Received) -> Arc<Received> {
        let size = record.record.size();
        let record = Arc::new(record);
        self.insert(record.clone(), size);
        record
    }

    fn insert(&mut self, record: Arc<Received>, size: usize) {
        if let Some(old) = self.records.insert(record.offset, record) {
            self.bytes -= old.record.size();
        }
        self.bytes += size;
    }

    pub fn get(&self, offset: Offset) -> Option<&Arc<Received>> {
        self.records.get(&offset)
    }

    pub fn forget(&mut self, offset: Offset) {
        if let Some(record) = self.records.remove(&offset) {
            self.bytes -= record.record.size();
        }
    }

    /// A record that will wait: kept while less than half of the budget is used, so that those to be sent soon have room.
    pub fn settle(&mut self, offset: Offset) {
        if self.bytes > self.budget / 2 {
            self.forget(offset);
        }
    }
}
