//! How far the committed offsets are behind the log, under the name that Kafka's exporters use.

use std::sync::Mutex;

use rustc_hash::FxHashMap;

use crate::model::ids::{Offset, Partition};
use crate::telemetry::metrics::CONSUMER_LAG;

/// The committed offsets of the partitions that are this member's. (librdkafka does not see offsets that a transaction
/// commits, so its own figure is of no use.)
#[derive(Debug)]
pub struct Lag {
    group: String,
    topic: String,
    committed: Mutex<FxHashMap<Partition, Offset>>,
}

impl Lag {
    pub fn new(group: String, topic: String) -> Self {
        Lag { group, topic, committed: Mutex::default() }
    }

    pub fn committed(&self, partition: Partition, offset: Offset) {
        if let Ok(mut committed) = self.committed.lock() {
            committed.insert(partition, offset);
        }
    }

    /// The partition is another member's to tell of.
    pub fn forget(&self, partition: Partition) {
        let known = self.committed.lock().ok().and_then(|mut c| c.remove(&partition));
        if known.is_some() {
            self.set(partition, 0.0);
        }
    }

    /// The ends of the log, as last fetched.
    pub fn ends(&self, ends: impl Iterator<Item = (Partition, i64)>) {
        let Ok(committed) = self.committed.lock() else { return };
        for (partition, end) in ends {
            if let Some(offset) = committed.get(&partition).filter(|_| end >= 0) {
                self.set(partition, end.saturating_sub(offset.0).max(0) as f64);
            }
        }
    }

    fn set(&self, partition: Partition, lag: f64) {
        let labels = [
            ("consumergroup", self.group.clone()),
            ("topic", self.topic.clone()),
            ("partition", partition.to_string()),
        ];
        metrics::gauge!(CONSUMER_LAG, &labels).set(lag);
    }
}
