//! What a partition has to say is gathered and committed: entries, outputs and progress together.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::super::tell;
use super::{Actor, FLUSH_BYTES, FLUSH_OUTPUTS, IDLE_LINGER, LINGER};
use crate::stream::flusher::PartResult;
use crate::stream::log::{LogError, Part, PartitionCommit};
use crate::stream::stage::Work;

impl<W: Work> Actor<W> {
    pub(super) fn flush_when_due(&mut self) -> Result<(), LogError> {
        if !self.lanes.is_dirty() && self.outputs.is_empty() {
            self.dirty_since = None;
            return Ok(());
        }
        let since = *self.dirty_since.get_or_insert_with(Instant::now);
        let full = self.outputs.len() >= FLUSH_OUTPUTS || self.output_bytes >= FLUSH_BYTES;
        if self.flushing.is_none() && (full || since.elapsed() >= self.linger()) {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn linger(&self) -> Duration {
        if self.outputs.is_empty() && self.lanes.dirty_lanes() == 0 { IDLE_LINGER } else { LINGER }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let Some(flush) = self.lanes.flush() else { return Ok(()) };
        let mut outputs = std::mem::take(&mut self.outputs);
        self.committing = outputs.len();
        self.committing_bytes = std::mem::take(&mut self.output_bytes);
        self.dirty_since = None;
        for (name, entry) in &flush.entries {
            outputs.push(tell::entry(self.partition, name, entry.as_ref())?);
        }
        let commit = PartitionCommit {
            partition: self.partition,
            epoch: self.epoch,
            offset: flush.progress.watermark,
            metadata: flush.progress.encode(),
        };
        self.flushing = Some(self.means.flushes.clone().flush(Part { commit, outputs }).boxed());
        Ok(())
    }

    /// False where the partition is no longer ours.
    pub(super) fn flushed(&mut self, result: PartResult) -> Result<bool, LogError> {
        self.flushing = None;
        (self.committing, self.committing_bytes) = (0, 0);
        match result {
            PartResult::Committed => self.lanes.committed(),
            PartResult::LeftOut => return Ok(false),
            PartResult::Failed(error) => return Err(error),
        }
        Ok(true)
    }

    /// Drops what is still in flight and commits the rest.
    pub(super) async fn settle(mut self) -> Result<(), LogError> {
        if !self.attempts.is_empty() {
            tracing::warn!(
                partition = self.partition.0,
                attempts = self.attempts.len(),
                "not finished in time, will be repeated"
            );
        }
        loop {
            if self.flushing.is_none() {
                self.flush()?;
            }
            if self.flushing.is_none() {
                return Ok(());
            }
            let result = flushed(&mut self.flushing).await;
            if !self.flushed(result)? {
                return Ok(());
            }
        }
    }
}

/// Waits for the flush under way; for ever where there is none.
pub(super) async fn flushed(flushing: &mut Option<BoxFuture<'static, PartResult>>) -> PartResult {
    match flushing {
        Some(flushing) => flushing.await,
        None => std::future::pending().await,
    }
}
