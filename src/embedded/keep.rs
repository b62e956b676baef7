//! What the log may forget: records older than their topic's retention, and in compacted topics all but the last of each key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::{Request, Requests, Which};
use super::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::LogError;
use crate::topology::Cleanup;

const EVERY: Duration = Duration::from_secs(60);
/// Rows that one transaction deletes: others write in between.
const CHUNK: usize = 1_000;
/// A partition is compacted when so many records were written to it since, and as many as were left then.
const WORTH: i64 = 1_000;
/// Nothing is deleted for its age in the first hour after the log was opened, or after the clock has jumped: what still waits is
/// given up a day before it would be deleted, and who gives it up must have had the time.
const GRACE: Duration = Duration::from_secs(3_600);
/// A wall clock that has moved so much more than time has jumped.
const JUMP: Duration = Duration::from_secs(600);

pub(super) struct Keeper {
    pub(super) store: Arc<Store>,
    pub(super) requests: Requests,
    pub(super) topics: Vec<(Topic, Cleanup)>,
    /// Where each partition ended when it was compacted since the start, and how many records were left.
    pub(super) compacted: BTreeMap<(Topic, Partition), (Offset, i64)>,
}

impl Keeper {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut patience = Patience::new(Instant::now(), self.store.clock.now());
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let may_expire = patience.is_over(Instant::now(), self.store.clock.now());
            match stop.run_until_cancelled(self.round(may_expire)).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(%error, "old records were not deleted; trying again in a minute"),
            }
        }
    }

    /// Once over every partition; records go for their age where they may.
    pub(super) async fn round(&mut self, may_expire: bool) -> Result<(), LogError> {
        for (topic, cleanup) in self.topics.clone() {
            for partition in (0..self.store.spans.partitions(topic)?).map(Partition) {
                match cleanup {
                    Cleanup::Delete { .. } if !may_expire => {}
                    Cleanup::Delete { retention, .. } => {
                        let oldest =
                            self.store.clock.now().0 - i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
                        let keep_from = self.store.at_time(topic, partition, Timestamp(oldest)).await?;
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
        let (written, left) = match self.compacted.get(&(topic, partition)) {
            Some((clean, left)) => (end.0 - clean.0, *left),
            // What of it is worth compacting is not known after a start: at most all of it.
            None => (end.0 - start.0, 0),
        };
        if !is_worth(written, left) {
            return Ok(());
        }
        let there = self.store.count((topic, partition), (start, end)).await?;
        let gone = self.superseded((topic, partition), (start, end), tombstones).await?;
        let mut deleted = 0;
        for chunk in gone.chunks(CHUNK) {
            let rows = format!("[{}]", chunk.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
            deleted +=
                self.requests.ask(|done| Request::Delete { topic, partition, what: Which::Rows(rows), done }).await??;
        }
        let left = there - i64::try_from(deleted).unwrap_or(i64::MAX);
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
        .map_err(|e| self.store.fault(&e))?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|e| self.store.fault(&e))
    }
}

/// So many records were written since the last time, which left so many.
fn is_worth(written: i64, left: i64) -> bool {
    written >= WORTH.max(left)
}

/// Waits out the first hour of a clock that can be trusted.
struct Patience {
    since: Instant,
    last: (Instant, Timestamp),
}

impl Patience {
    fn new(now: Instant, wall: Timestamp) -> Patience {
        Patience { since: now, last: (now, wall) }
    }

    fn is_over(&mut self, now: Instant, wall: Timestamp) -> bool {
        let (then, before) = std::mem::replace(&mut self.last, (now, wall));
        let passed = i64::try_from(now.duration_since(then).as_millis()).unwrap_or(i64::MAX);
        let jumped = (wall.0 - before.0 - passed).unsigned_abs();
        if u128::from(jumped) > JUMP.as_millis() {
            self.since = now;
        }
        now.duration_since(self.since) >= GRACE
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_compacted_when_half_of_it_is_new() {
        for (written, left, worth) in
            [(999, 0, false), (1_000, 0, true), (1_000, 1_001, false), (5_000, 4_999, true), (5_000, 1_000_000, false)]
        {
            assert_eq!(is_worth(written, left), worth, "{written} on {left}");
        }
    }

    #[test]
    fn nothing_goes_for_its_age_before_who_gives_it_up_has_had_an_hour() {
        let (begun, minute) = (Instant::now(), Duration::from_secs(60));
        let wall = |minutes: u32, more: i64| Timestamp(i64::from(minutes) * 60_000 + more);
        let mut patience = Patience::new(begun, wall(0, 0));
        for n in 1..60 {
            assert!(!patience.is_over(begun + minute * n, wall(n, 0)), "minute {n}");
        }
        assert!(patience.is_over(begun + minute * 60, wall(60, 0)));
        // A laptop that slept for a week, or a clock that was set.
        let week = 7 * 24 * 3_600_000;
        assert!(!patience.is_over(begun + minute * 61, wall(61, week)));
        assert!(!patience.is_over(begun + minute * 120, wall(120, week)));
        assert!(patience.is_over(begun + minute * 121, wall(121, week)));
        assert!(!patience.is_over(begun + minute * 122, wall(122, 0)), "back again");
    }
}
