//! The file under the log: found or made, locked, checked, and its faults told in sentences.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::queries::span;
use super::rows::Base;
use super::spans::{Spans, TopicSpans};
use crate::model::ids::Partition;
use crate::model::topic::Topic;
use crate::stream::log::LogError;
use crate::topology::Declared;

/// `application_id` of a Tidegate log: "TgLg".
const APPLICATION: i32 = 0x5467_4c67;
/// `user_version`: raised with every change of the tables that an older version could not read.
const VERSION: i32 = 1;

const FILE: &str = "log.db";
/// Its name until it is whole.
const NEW: &str = "log.db.new";
const READERS: u32 = 4;
/// Long statements are few: those below, and the inserts.
const STATEMENTS: usize = 64;
/// Rows that a connection reads ahead: each may be as large as a record.
const ROWS: usize = 8;
const BUSY: Duration = Duration::from_secs(10);
/// Pages of the write-ahead log before it is copied into the file (16 MiB), and the bytes that it is cut back to.
const CHECKPOINT_PAGES: &str = "4000";
const WAL_KEEPS: &str = "67108864";

const TABLES: &str = "
CREATE TABLE topics (name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, partitions INTEGER NOT NULL) STRICT;
CREATE TABLE log (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, key BLOB, headers BLOB NOT NULL, value BLOB) STRICT;
CREATE TABLE spans (base INTEGER PRIMARY KEY, start INTEGER NOT NULL, next INTEGER NOT NULL) STRICT;
CREATE TABLE offsets (stage TEXT, partition INTEGER, next INTEGER NOT NULL, metadata TEXT NOT NULL,
                      PRIMARY KEY (stage, partition)) STRICT, WITHOUT ROWID;
CREATE TABLE writers (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE VIEW records AS
  SELECT topics.name AS topic, (log.id >> 40) & 32767 AS partition, log.id & 1099511627775 AS record,
         datetime(log.at / 1000.0, 'unixepoch', 'subsec') AS at, CAST(key AS TEXT) AS key, CAST(value AS TEXT) AS value
  FROM log JOIN topics ON topics.number = log.id >> 55;
";

/// What was opened. The lock goes with it.
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) readers: SqlitePool,
    pub(super) spans: Spans,
    pub(super) lock: File,
}

/// Where the log lies, for messages.
#[derive(Clone, Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn of(dir: &Path) -> Place {
        Place(dir.join(FILE))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// An empty file is one that a gateway is about to begin.
    pub(super) fn exists(&self) -> bool {
        std::fs::metadata(&self.0).is_ok_and(|about| about.len() > 0)
    }

    /// A fault of the file as what it means.
    pub(super) fn error(&self, error: &sqlx::Error) -> LogError {
        let file = self.0.display();
        let primary = match error {
            sqlx::Error::Database(e) => e.code().and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff),
            _ => None,
        };
        match primary {
            Some(13) => LogError::Unavailable(format!("the disk of {file} is full; free some of it, nothing was lost")),
            Some(11 | 26) => self.damaged(error),
            Some(8) => LogError::Fatal(format!("{file} cannot be written: it or its folder is read-only")),
            Some(14) => LogError::Fatal(format!("{file} cannot be opened: {error}; are folder and file this user's?")),
            // What is not as it was written.
            None if matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) => self.damaged(error),
            _ => LogError::Unavailable(format!("{file}: {error}")),
        }
    }

    fn damaged(&self, error: &sqlx::Error) -> LogError {
        self.fatal(&format!(
            "it is damaged: {error}; put a copy of the folder back, or move the folder away to begin anew"
        ))
    }

    /// Gives the file that was made its name, for good.
    fn take_its_name(&self, dir: &Path) -> Result<(), LogError> {
        let named = std::fs::rename(dir.join(NEW), &self.0).and_then(|()| File::open(dir)?.sync_all());
        named.map_err(|e| self.fatal(&format!("it cannot be made: {e}")))
    }

    /// One that was put back by hand may have come with any rights.
    fn keep_to_its_owner(&self) -> Result<(), LogError> {
        let kept = std::fs::set_permissions(&self.0, Permissions::from_mode(0o600));
        kept.map_err(|e| self.fatal(&format!("it cannot be kept from other users: {e}; is it this user's?")))
    }

    fn fatal(&self, why: &str) -> LogError {
        LogError::Fatal(format!("{}: {why}", self.0.display()))
    }
}

/// Opens the log in `dir`, which is made where it is missing. `Fatal`: it will not open however often it is tried.
pub(super) async fn open(dir: &Path, declared: &Declared) -> Result<Opened, LogError> {
    let lock = lock(dir)?;
    let place = Place::of(dir);
    let reading = SqliteConnectOptions::new()
        .filename(&place.0)
        .busy_timeout(BUSY)
        .statement_cache_capacity(STATEMENTS)
        .row_buffer_size(ROWS)
        .disable_statement_logging();
    let writing = reading
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        // What was answered 202 is to be there after a power cut, so each commit reaches the disk.
        .synchronous(SqliteSynchronous::Full)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_KEEPS);
    if is_new(&place, &reading).await? {
        make(dir, &writing).await.map_err(|e| place.error(&e))?;
        place.take_its_name(dir)?;
    }
    place.keep_to_its_owner()?;
    let mut writer = writing.connect().await.map_err(|e| place.error(&e))?;
    let spans = topics(&mut writer, &place, declared).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .connect_with(reading.read_only(true))
        .await
        .map_err(|e| place.error(&e))?;
    Ok(Opened { writer, readers, spans, lock })
}

/// One process at a time: two would each hold half of the truth in memory.
fn lock(dir: &Path) -> Result<File, LogError> {
    let shown = dir.display();
    // Payloads are nobody else's business. A folder that was there before is as somebody made it.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| LogError::Fatal(format!("the data folder {shown} cannot be made: {e}")))?;
    let options = File::options().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"));
    let file = options.map_err(|e| {
        LogError::Fatal(format!("the data folder {shown} cannot be written: {e}; TIDEGATE_DATA_DIR names another"))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Fatal(format!(
            "another gateway uses the data folder {shown}; stop it, or give this one a folder of its own (TIDEGATE_DATA_DIR)"
        ))),
        Err(TryLockError::Error(e)) => Err(LogError::Fatal(format!("the data folder {shown} cannot be locked: {e}"))),
    }
}

/// Deletes the file and what SQLite keeps beside it.
pub(super) fn erase(dir: &Path) -> Result<(), LogError> {
    let _lock = lock(dir)?;
    let mut start = Vec::new();
    if let Ok(file) = File::open(dir.join(FILE)) {
        let read = file.take(100).read_to_end(&mut start);
        read.map_err(|e| Place::of(dir).fatal(&format!("it cannot be read: {e}")))?;
    }
    // https://www.sqlite.org/fileformat.html: what a database file begins with, and where it says whose it is.
    if start.starts_with(b"SQLite format 3\0") && start.get(68..72) != Some(&APPLICATION.to_be_bytes()) {
        return Err(Place::of(dir).fatal("it is not a log of tidegate; TIDEGATE_DATA_DIR names another folder"));
    }
    // The file first: a write-ahead log without its file is nothing, the other way round it is a file that lacks its end.
    for name in [FILE, "log.db-wal", "log.db-shm", "log.db-journal"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::Fatal(format!("{} cannot be deleted: {e}", dir.join(name).display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Is there no file, or an empty one? One that is not this version's is refused, and not opened for writing, which would change
/// it.
async fn is_new(place: &Place, reading: &SqliteConnectOptions) -> Result<bool, LogError> {
    if std::fs::metadata(&place.0).map_or(0, |file| file.len()) == 0 {
        return Ok(true);
    }
    let mut file = reading.clone().read_only(true).connect().await.map_err(|e| place.error(&e))?;
    let mut number = async |pragma: &'static str| {
        let row = sqlx::query(pragma).fetch_one(&mut file).await.map_err(|e| place.error(&e))?;
        row.try_get::<i32, _>(0).map_err(|e| place.error(&e))
    };
    let application = number("PRAGMA application_id").await?;
    let version = number("PRAGMA user_version").await?;
    match (application, version) {
        (APPLICATION, VERSION) => Ok(false),
        (APPLICATION, newer) if newer > VERSION => Err(place.fatal(&format!(
            "it was written by a newer version of tidegate (format {newer}, this one knows {VERSION}); run that version"
        ))),
        (APPLICATION, older) => Err(place.fatal(&format!("its format {older} is not one that this version reads"))),
        _ => Err(place.fatal("it is not a log of tidegate; TIDEGATE_DATA_DIR names another folder")),
    }
}

/// Makes the file whole under another name: a process that dies meanwhile leaves nothing that has to be understood.
async fn make(dir: &Path, writing: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    for name in [NEW, "log.db.new-wal", "log.db.new-shm", "log.db.new-journal"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    // SQLite gives its other files the rights of this one.
    File::options().create_new(true).write(true).mode(0o600).open(dir.join(NEW))?;
    let mut file = writing.clone().filename(dir.join(NEW)).connect().await?;
    let ids = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};");
    sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {TABLES} {ids} COMMIT;"))).execute(&mut file).await?;
    // The last connection takes the write-ahead log with it.
    file.close().await
}

/// The topics as the file has them, missing ones made; where each partition begins and ends.
async fn topics(writer: &mut SqliteConnection, place: &Place, declared: &Declared) -> Result<Spans, LogError> {
    let mut all = Vec::new();
    for topic in declared.topics() {
        let wanted = i64::from(topic.partitions);
        let (number, partitions) = numbered(writer, topic.topic, wanted).await.map_err(|e| place.error(&e))?;
        if partitions != wanted {
            return Err(place.fatal(&format!(
                "topic {} has {partitions} partitions there and {wanted} in the topology; with another number, what has one key \
                 would be in two places: go back to {partitions} (`dev` runs with --profile small), or begin with an empty folder",
                topic.topic
            )));
        }
        let mut spans = Vec::new();
        for partition in 0..topic.partitions {
            let partition = Partition(i32::try_from(partition).unwrap_or(i32::MAX));
            let base = Base::of(number, partition);
            spans.push(span(&mut *writer, base).await.map_err(|e| place.error(&e))?);
        }
        all.push(TopicSpans::new(number, spans.into_iter()));
    }
    Ok(Spans::new(all))
}

/// The number and the partitions of a topic in the file; given now where it is new.
async fn numbered(writer: &mut SqliteConnection, topic: Topic, partitions: i64) -> Result<(u8, i64), sqlx::Error> {
    sqlx::query("INSERT INTO topics VALUES (?, (SELECT count(*) FROM topics), ?) ON CONFLICT (name) DO NOTHING")
        .bind(topic.name())
        .bind(partitions)
        .execute(&mut *writer)
        .await?;
    let row = sqlx::query("SELECT number, partitions FROM topics WHERE name = ?")
        .bind(topic.name())
        .fetch_one(writer)
        .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
