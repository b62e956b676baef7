//! What the log may forget: records older than their topic's retention, and in compacted topics all but the last of each key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use tokio_util::sync::CancellationToken;

use super::request::{Request, Requests, Which};
use super::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::LogError;
use crate::topology::Cleanup;

const EVERY: Duration = Duration::from_secs(60);
/// Rows that one transaction deletes: others write in between.
const CHUNK: usize = 1_000;
/// A partition is compacted when so many records were written to it since, and as many as were left then.
const WORTH: i64 = 1_000;

pub(super) struct Keeper {
    pub(super) store: Arc<Store>,
    pub(super) requests: Requests,
    pub(super) topics: Vec<(Topic, Cleanup)>,
    /// Where each partition ended when it was compacted, and how many records were left.
    pub(super) compacted: BTreeMap<(Topic, Partition), (Offset, i64)>,
}

impl Keeper {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            match stop.run_until_cancelled(self.round()).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(%error, "old records were not deleted; trying again in a minute"),
            }
        }
    }

    pub(super) async fn round(&mut self) -> Result<(), LogError> {
        for (topic, cleanup) in self.topics.clone() {
            for partition in (0..self.store.spans.partitions(topic)?).map(Partition) {
                match cleanup {
                    Cleanup::Delete { retention, .. } => {
                        let oldest =
                            self.store.clock.now().0 - i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
                        let keep_from = self.store.at_time(topic, partition, oldest).await?;
                        delete_before(&self.store, &self.requests, (topic, partition), keep_from).await?;
                    }
                    Cleanup::Compact { delete_retention, .. } => {
                        self.compact((topic, partition), delete_retention).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn compact(&mut self, (topic, partition): (Topic, Partition), tombstones: Duration) -> Result<(), LogError> {
        let (start, end) = (self.store.spans.start(topic, partition)?, self.store.spans.end(topic, partition)?);
        let (clean, left) = self.compacted.get(&(topic, partition)).copied().unwrap_or((start, 0));
        if end.0 - clean.0 < WORTH.max(left) {
            return Ok(());
        }
        let gone = self.superseded((topic, partition), (start, end), tombstones).await?;
        let mut deleted = 0;
        for chunk in gone.chunks(CHUNK) {
            let rows = format!("[{}]", chunk.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
            deleted +=
                self.requests.ask(|done| Request::Delete { topic, partition, what: Which::Rows(rows), done }).await??;
        }
        let left = end.0 - clean.0 + left - i64::try_from(deleted).unwrap_or(i64::MAX);
        self.compacted.insert((topic, partition), (end, left.max(0)));
        Ok(())
    }

    /// Rows that a later one of the same key replaces, and tombstones that everyone has had time to read.
    async fn superseded(
        &self,
        (topic, partition): (Topic, Partition),
        (start, end): (Offset, Offset),
        tombstones: Duration,
    ) -> Result<Vec<i64>, LogError> {
        let base = self.store.spans.base(topic, partition)?;
        let oldest = self.store.clock.now().0 - i64::try_from(tombstones.as_millis()).unwrap_or(i64::MAX);
        let rows = sqlx::query(
            "SELECT id FROM (SELECT id, at, value IS NULL AS tombstone,
                                    row_number() OVER (PARTITION BY key ORDER BY id DESC) AS nth
                             FROM log WHERE id >= ? AND id < ?)
             WHERE nth > 1 OR (tombstone AND at < ?) ORDER BY id",
        )
        .bind(base.row(start))
        .bind(base.row(end))
        .bind(oldest)
        .fetch_all(&self.store.readers)
        .await
        .map_err(|e| self.store.place.error(&e))?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|e| self.store.place.error(&e))
    }
}

/// Deletes what lies below `offset`, where the partition begins from the first chunk on.
pub(super) async fn delete_before(
    store: &Store,
    requests: &Requests,
    (topic, partition): (Topic, Partition),
    offset: Offset,
) -> Result<(), LogError> {
    if offset <= store.spans.start(topic, partition)? {
        return Ok(());
    }
    loop {
        let most = i64::try_from(CHUNK).unwrap_or(i64::MAX);
        let what = Which::Before { offset, most };
        let deleted = requests.ask(|done| Request::Delete { topic, partition, what, done }).await??;
        if deleted < CHUNK as u64 {
            return Ok(());
        }
    }
}
