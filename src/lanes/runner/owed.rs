//! The room that records take between the log and the stage, until they are dealt with.

use std::sync::Arc;

use crate::model::record::Received;
use crate::stream::log::Credit;

/// Records and bytes that were handed out. Whatever becomes of them they are given back once: what was not paid is when this
/// is dropped, as with a partition that is lost while its records wait in a mailbox.
pub(super) struct Owed {
    credit: Arc<dyn Credit>,
    records: usize,
    bytes: usize,
}

impl Owed {
    pub fn new(credit: Arc<dyn Credit>, records: &[Received]) -> Self {
        Owed { credit, records: records.len(), bytes: records.iter().map(|r| r.record.size()).sum() }
    }

    /// Takes over what `other` owes.
    pub fn add(&mut self, mut other: Owed) {
        self.records += std::mem::take(&mut other.records);
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back room for so much, at most what is owed.
    pub fn pay(&mut self, records: usize, bytes: usize) {
        let (records, bytes) = (records.min(self.records), bytes.min(self.bytes));
        (self.records, self.bytes) = (self.records - records, self.bytes - bytes);
        if records > 0 || bytes > 0 {
            self.credit.release(records, bytes);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.pay(self.records, self.bytes);
    }
}
