//! The file and what is known of it, shared by everything that reads and writes.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt as _, TryStreamExt as _};
use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;
use tokio::time::Instant;

use super::queries::{not_older, stretch};
use super::request::{Request, Requests};
use super::rows::received;
use super::spans::Spans;
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Received, Record};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::sqlite::SqliteFile;
use crate::stream::log::{Batch, Committed, LogError};

const PING: Duration = Duration::from_secs(2);

pub(super) struct Store {
    pub(super) file: SqliteFile,
    pub(super) spans: Spans,
    /// Bytes that a record of each topic may have, in the order of `Topic::ALL`.
    pub(super) limits: Vec<usize>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) readers: SqlitePool,
    /// Why the last write failed, until one works.
    pub(super) failing: Mutex<Option<LogError>>,
    /// A part of the engine has panicked.
    pub(super) broken: AtomicBool,
    /// Until when the transaction that is being written may take, where it is a large one.
    pub(super) large: Mutex<Option<Instant>>,
}

/// Of a transaction; more is large.
const LARGE: usize = 4 << 20;
/// Bytes of it in a second, on a disk that is slow but works.
const SLOW: u32 = 4 << 20;

impl Store {
    pub(super) fn fault(&self, error: &sqlx::Error) -> LogError {
        self.file.fault(error).into()
    }

    /// Keeps what went wrong with a write.
    pub(super) fn failed(&self, error: &sqlx::Error) -> LogError {
        self.keep_failure(self.fault(error))
    }

    fn keep_failure(&self, error: LogError) -> LogError {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_none() {
            tracing::error!(%error, "the log cannot be written");
        }
        *failing = Some(error.clone());
        error
    }

    /// Runs a part of the engine to its end. Should it break, the log is told to be failing for good: what it did nobody does.
    pub(super) async fn watch_over(self: Arc<Self>, what: &'static str, part: impl Future<Output = ()>) {
        if AssertUnwindSafe(part).catch_unwind().await.is_err() {
            self.broken.store(true, Ordering::Release);
            self.keep_failure(LogError::Fatal(format!("{what} of the log broke; end this process and start it again")));
        }
    }

    pub(super) fn works(&self) {
        if self.broken.load(Ordering::Acquire) {
            return;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.take().is_some() {
            tracing::info!("the log is written again");
        }
    }

    /// Does the file take writes? One that failed before is tried by a small one.
    pub(super) async fn ping(&self, requests: &Requests) -> Result<(), LogError> {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(error) = failing.as_ref().filter(|_| self.broken.load(Ordering::Acquire)) {
            return Err(error.clone());
        }
        let asked = async {
            if failing.is_some() {
                return requests.ask(|done| Request::TakeSeat { name: "probe", done }).await?.map(|_| ());
            }
            requests.settle().await
        };
        match tokio::time::timeout(PING, asked).await {
            Ok(answer) => answer,
            Err(_) if self.is_at_something_large() => Ok(()),
            Err(_) => Err(LogError::Unavailable(format!("the disk has not answered in {PING:?}"))),
        }
    }

    /// A transaction of so many bytes begins. While it may be written still, who asks is not told that the disk is away: whoever
    /// waits for that transaction would not know what became of it.
    pub(super) fn begins(&self, bytes: usize) {
        let share = u32::try_from(bytes).unwrap_or(u32::MAX) / SLOW;
        let until = (bytes > LARGE).then(|| Instant::now() + PING + Duration::from_secs(share.into()));
        *self.large.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(super) fn ended(&self) {
        *self.large.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_at_something_large(&self) -> bool {
        self.large.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn fits(&self, topic: Topic, record: &Record) -> Result<(), LogError> {
        let (bytes, most) = (record.size(), self.limits.get(topic as usize).copied().unwrap_or(usize::MAX));
        if bytes > most { Err(LogError::TooLarge { topic, bytes }) } else { Ok(()) }
    }

    /// Up to `records` records from `from` on, fewer where they have more than `bytes`. `OutOfRange`: retention was quicker.
    pub(super) async fn read(
        &self,
        (topic, partition): (Topic, Partition),
        from: Offset,
        (records, bytes): (usize, usize),
    ) -> Result<Batch, LogError> {
        let base = self.spans.base(topic, partition)?;
        // Rows below it are whole: the end moves after the commit.
        let end = self.spans.end(topic, partition)?;
        if from >= end || records == 0 {
            return Ok(Batch { records: Vec::new(), position: from });
        }
        let rows = base.row(from)..base.row(end);
        let stretch = stretch(&self.readers, (base, partition), rows, (records, bytes)).await;
        let (records, more) = stretch.map_err(|e| self.fault(&e))?;
        let last = records.last().filter(|_| more).map(|r| r.offset.next());
        // Retention may have come in between.
        let start = self.spans.start(topic, partition)?;
        if start > from {
            return Err(LogError::OutOfRange { topic, partition, asked: from, start });
        }
        Ok(Batch { records, position: last.unwrap_or(end) })
    }

    /// How many records there are between two offsets.
    pub(super) async fn count(
        &self,
        (topic, partition): (Topic, Partition),
        (from, to): (Offset, Offset),
    ) -> Result<i64, LogError> {
        let base = self.spans.base(topic, partition)?;
        let counted = sqlx::query("SELECT count(*) FROM log WHERE id >= ? AND id < ?")
            .bind(base.row(from))
            .bind(base.row(to))
            .fetch_one(&self.readers)
            .await;
        counted.and_then(|row| row.try_get(0)).map_err(|e| self.fault(&e))
    }

    /// The offset of the first record that is not older, else the end.
    pub(super) async fn at_time(&self, topic: Topic, partition: Partition, at: Timestamp) -> Result<Offset, LogError> {
        let base = self.spans.base(topic, partition)?;
        let (start, end) = (self.spans.start(topic, partition)?, self.spans.end(topic, partition)?);
        let found = not_older(&self.readers, base, base.row(start)..base.row(end), at).await;
        Ok(found.map_err(|e| self.fault(&e))?.unwrap_or(end))
    }

    /// The offsets that a stage has committed.
    pub(super) async fn committed(&self, stage: &'static str) -> Result<Vec<(Partition, Committed)>, LogError> {
        let rows = sqlx::query("SELECT partition, next, metadata FROM offsets WHERE stage = ?")
            .bind(stage)
            .fetch_all(&self.readers)
            .await
            .map_err(|e| self.fault(&e))?;
        let one = |row: sqlx::sqlite::SqliteRow| {
            let committed = Committed { offset: Offset(row.try_get(1)?), metadata: row.try_get(2)? };
            Ok((Partition(row.try_get(0)?), committed))
        };
        rows.into_iter().map(one).collect::<Result<_, sqlx::Error>>().map_err(|e| self.fault(&e))
    }

    /// The last record of each key, tombstones left out, in the order of their offsets.
    pub(super) async fn table(&self, topic: Topic, partition: Partition) -> Result<Vec<Received>, LogError> {
        let base = self.spans.base(topic, partition)?;
        let mut rows = sqlx::query(
            "SELECT id, at, key, headers, value FROM log
             WHERE id IN (SELECT max(id) FROM log WHERE id >= ? AND id < ? GROUP BY key) AND value IS NOT NULL ORDER BY id",
        )
        .bind(base.row(self.spans.start(topic, partition)?))
        .bind(base.row(self.spans.end(topic, partition)?))
        .fetch(&self.readers);
        let mut table = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|e| self.fault(&e))? {
            table.push(received(&row, base, partition).map_err(|e| self.fault(&e))?);
        }
        Ok(table)
    }
}
