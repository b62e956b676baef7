//! A look at the log of another process: read-only, without its lock, while it writes.
//!
//! SQLite's write-ahead log lets readers see whole commits while another process writes. Nobody tells this process of news, so
//! it looks a few times a second.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;
use tokio::time::Instant;

use super::open::file;
use super::queries::{not_older, span, stretch};
use super::rows::Base;
use crate::model::ids::{Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::sqlite::SqliteFile;
use crate::stream::log::{Batch, LogError, READ_BYTES};

/// Between two looks for news.
const POLL: Duration = Duration::from_millis(250);
const READERS: u32 = 2;

/// The log in the file of another process.
#[derive(Clone)]
pub struct View {
    file: SqliteFile,
    readers: SqlitePool,
    identity: Identity,
}

/// A file, whatever its name stands for now: device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    fn of(path: &Path) -> Option<Identity> {
        std::fs::metadata(path).ok().map(|about| Identity(about.dev(), about.ino()))
    }
}

/// Reads one partition of it.
pub struct ViewReader {
    view: View,
    of: (Topic, Partition),
    base: Base,
    position: Offset,
}

impl View {
    /// Opens the log in `dir`. `Unavailable`: there is none.
    pub async fn open(dir: &Path) -> Result<View, LogError> {
        let file = file(dir);
        let Some(identity) = Identity::of(file.path()).filter(|_| file.is_there()) else {
            return Err(LogError::Unavailable(format!(
                "there is no log in {}: start `tidegate dev` here first, or name its folder with TIDEGATE_DATA_DIR",
                dir.display()
            )));
        };
        let readers = file.look(READERS).await?;
        Ok(View { file, readers, identity })
    }

    fn fault(&self, error: &sqlx::Error) -> LogError {
        self.file.fault(error).into()
    }

    /// Whether the log was started over: another file has its name. While none has, it is not.
    pub fn is_replaced(&self) -> bool {
        self.file.is_there() && Identity::of(self.file.path()).is_some_and(|file| file != self.identity)
    }

    /// How many partitions the topic has.
    pub async fn partitions(&self, topic: Topic) -> Result<i32, LogError> {
        Ok(self.topic(topic).await?.1)
    }

    async fn topic(&self, topic: Topic) -> Result<(u8, i32), LogError> {
        let found = sqlx::query("SELECT number, partitions FROM topics WHERE name = ?")
            .bind(topic.name())
            .fetch_optional(&self.readers)
            .await
            .and_then(|row| row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose());
        found.map_err(|e| self.fault(&e))?.ok_or_else(|| LogError::Fatal(format!("the log has no topic {topic}")))
    }

    /// The first offset that is there, and the one behind the last.
    pub async fn span(&self, topic: Topic, partition: Partition) -> Result<(Offset, Offset), LogError> {
        self.span_of(Base::of(self.topic(topic).await?.0, partition)).await
    }

    async fn span_of(&self, base: Base) -> Result<(Offset, Offset), LogError> {
        span(&self.readers, base).await.map_err(|e| self.fault(&e))
    }

    /// The first record that is not older; where there is none, the end.
    pub async fn at_time(&self, topic: Topic, partition: Partition, at: Timestamp) -> Result<Offset, LogError> {
        let base = Base::of(self.topic(topic).await?.0, partition);
        let (start, end) = self.span_of(base).await?;
        let found = not_older(&self.readers, base, base.row(start)..base.limit(), at).await;
        Ok(found.map_err(|e| self.fault(&e))?.unwrap_or(end))
    }

    /// Reads a partition from an offset on; what is no longer there is passed.
    pub async fn read(&self, topic: Topic, partition: Partition, from: Offset) -> Result<ViewReader, LogError> {
        let base = Base::of(self.topic(topic).await?.0, partition);
        Ok(ViewReader { view: self.clone(), of: (topic, partition), base, position: from })
    }
}

impl ViewReader {
    /// The next records, at most `max`, or none when `wait` is over before any came.
    pub async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let until = Instant::now() + wait;
        loop {
            let batch = self.look(max).await?;
            if batch.position > self.position || Instant::now() >= until {
                self.position = batch.position;
                return Ok(batch);
            }
            tokio::time::sleep_until(until.min(Instant::now() + POLL)).await;
        }
    }

    async fn look(&self, max: usize) -> Result<Batch, LogError> {
        let rows = self.base.row(self.position)..self.base.limit();
        let stretch = stretch(&self.view.readers, (self.base, self.of.1), rows, (max, READ_BYTES)).await;
        let (records, _) = stretch.map_err(|e| self.view.fault(&e))?;
        let position = records.last().map_or(self.position, |r| r.offset.next());
        Ok(Batch { records, position })
    }
}
