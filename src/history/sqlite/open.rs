//! The file under the store: found or made, locked, brought up to date, and its faults told in sentences.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::schema::STEPS;
use crate::history::store::StoreError;

/// `application_id` of a Tidegate history: "TgHi".
const APPLICATION: i32 = 0x5467_4869;
const READERS: u32 = 4;
/// Long statements are few: the inserts, and one for each combination of filters that is in use.
const STATEMENTS: usize = 128;
const BUSY: Duration = Duration::from_secs(10);
/// Bytes that the write-ahead log is cut back to.
const WAL_KEEPS: &str = "67108864";
/// What makes the store anew, for messages.
const ANEW: &str = "stop the gateway and run `tidegate history rebuild`, which makes it anew from the topics";

/// What was opened. The lock goes with it.
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) readers: SqlitePool,
    pub(super) lock: File,
}

/// Where the store lies, for messages.
#[derive(Clone, Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn of(path: &Path) -> Home {
        Home(path.to_owned())
    }

    fn says(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError(format!("{}: {why}", self.0.display()))
    }

    /// A fault of the file as what it means.
    pub(super) fn error(&self, error: &sqlx::Error) -> StoreError {
        let primary = match error {
            sqlx::Error::Database(e) => e.code().and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff),
            _ => None,
        };
        match primary {
            Some(13) => self.says("the disk is full; free some of it, history goes on by itself then"),
            Some(11 | 26) => self.says(format!("the file is damaged ({error}); {ANEW}")),
            Some(8) => self.says("the file or its folder is read-only; make both writable for this user"),
            Some(14) => self.says(format!("it cannot be opened ({error}); are folder and file this user's?")),
            _ => self.says(error),
        }
    }
}

/// Opens the store in `path`, which is made where it is missing, for the log of this name.
pub(super) async fn open(path: &Path, log: &str) -> Result<Opened, StoreError> {
    let home = Home::of(path);
    let lock = lock(path)?;
    let reading = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    // What is not ours is not even opened for writing, which would change it.
    let steps = steps(&home, &reading).await?;
    let writing = reading
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        // A power cut may take the last transactions, rows and offsets together: they are projected again from the topics.
        .synchronous(SqliteSynchronous::Normal)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .pragma("journal_size_limit", WAL_KEEPS);
    let mut writer = writing.connect().await.map_err(|e| home.error(&e))?;
    bring_up(&mut writer, steps).await.map_err(|e| home.error(&e))?;
    let known = origin(&mut writer, log).await.map_err(|e| home.error(&e))?;
    if known != log {
        return Err(home.says(format!(
            "it holds the history of another log ({known}; this one is {log}); DATABASE_URL names another file, or {ANEW}"
        )));
    }
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .connect_with(reading.read_only(true))
        .await
        .map_err(|e| home.error(&e))?;
    Ok(Opened { writer, readers, lock })
}

/// One process at a time projects and answers.
fn lock(path: &Path) -> Result<File, StoreError> {
    let home = Home::of(path);
    // What happened to whom is nobody else's business: folder and file are their owner's alone, unless they were there before.
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|e| home.says(format!("the folder cannot be made ({e}); DATABASE_URL names another place")))?;
    }
    let open = |path: &Path| {
        let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
        opened.map_err(|e| home.says(format!("it cannot be written ({e}); DATABASE_URL names another place")))
    };
    let file = open(&beside(path, ".lock"))?;
    match file.try_lock() {
        // SQLite gives its other files the rights of this one.
        Ok(()) => open(path).map(|_| file),
        Err(TryLockError::WouldBlock) => Err(home.says(
            "another process uses it; stop that one, or give this one a file of its own (DATABASE_URL), or other roles",
        )),
        Err(TryLockError::Error(e)) => Err(home.says(format!("it cannot be locked ({e})"))),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Deletes the file and what SQLite keeps beside it; whether there was one.
pub(super) fn erase(path: &Path) -> Result<bool, StoreError> {
    if !path.exists() {
        return Ok(false);
    }
    let _lock = lock(path)?;
    for gone in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
        match std::fs::remove_file(&gone) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError(format!("{} cannot be deleted: {e}", gone.display())));
            }
            _ => {}
        }
    }
    Ok(true)
}

/// How many steps the file has had. One that is another's, or of a newer version, is refused.
async fn steps(home: &Home, reading: &SqliteConnectOptions) -> Result<usize, StoreError> {
    let mut file = reading.clone().read_only(true).connect().await.map_err(|e| home.error(&e))?;
    let mut number = async |pragma: &'static str| {
        let row = sqlx::query(pragma).fetch_one(&mut file).await.map_err(|e| home.error(&e))?;
        row.try_get::<i32, _>(0).map_err(|e| home.error(&e))
    };
    let application = number("PRAGMA application_id").await?;
    let version = number("PRAGMA user_version").await?;
    let tables = number("SELECT count(*) FROM sqlite_schema").await?;
    match usize::try_from(version) {
        Ok(steps) if application == APPLICATION && steps <= STEPS.len() => Ok(steps),
        Ok(0) if application == 0 && tables == 0 => Ok(0),
        _ if application == APPLICATION => Err(home.says(format!(
            "it was written by a newer version of tidegate (format {version}, this one knows {}); run that version, or {ANEW}",
            STEPS.len()
        ))),
        _ => Err(home.says("it is not a history of tidegate; DATABASE_URL names another file")),
    }
}

async fn bring_up(writer: &mut SqliteConnection, had: usize) -> Result<(), sqlx::Error> {
    for (step, number) in STEPS.iter().zip(1..).skip(had) {
        let mut transaction = writer.begin().await?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
        let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number}");
        sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// The name of the log that the rows are of: offsets of one mean nothing in another.
async fn origin(writer: &mut SqliteConnection, log: &str) -> Result<String, sqlx::Error> {
    let new = "INSERT INTO origin SELECT ? WHERE NOT EXISTS (SELECT 1 FROM origin)";
    sqlx::query(new).bind(log).execute(&mut *writer).await?;
    sqlx::query("SELECT log FROM origin").fetch_one(writer).await?.try_get(0)
}
