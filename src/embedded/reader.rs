//! Reads one partition without a group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::{Batch, LogError, PartitionReader};

/// A batch ends here although more records were asked for.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct EmbeddedReader {
    pub(super) store: Arc<Store>,
    pub(super) topic: Topic,
    pub(super) partition: Partition,
    /// The next offset to be read.
    pub(super) position: Offset,
    pub(super) moved: watch::Receiver<()>,
}

#[async_trait]
impl PartitionReader for EmbeddedReader {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let until = Instant::now() + wait;
        loop {
            self.moved.mark_unchanged();
            let (topic, partition, asked) = (self.topic, self.partition, self.position);
            let (start, end) = (self.store.spans.start(topic, partition)?, self.store.spans.end(topic, partition)?);
            if asked < start || asked > end {
                return Err(LogError::OutOfRange { topic, partition, asked, start });
            }
            let batch = self.store.read((topic, partition), asked, (max, BATCH_BYTES)).await?;
            if batch.position > asked || Instant::now() >= until {
                self.position = batch.position;
                return Ok(batch);
            }
            // Over or moved on: the loop looks again either way.
            let _ = timeout_at(until, self.moved.changed()).await;
        }
    }

    async fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        self.position = offset;
        Ok(())
    }
}
