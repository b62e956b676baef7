//! A file is found or made, locked, checked and brought up to date.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::fault::is_no_database;
use super::{Fault, Kind, SqliteFile, Why};

const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(10);
/// Pages of the write-ahead log before it is copied into the file (16 MiB), and the bytes that it is cut back to.
const CHECKPOINT_PAGES: &str = "4000";
const WAL_KEEPS: &str = "67108864";
/// The end of a file's name until it is whole.
pub(super) const NEW: &str = ".new";
/// What is locked for a file.
pub(super) const LOCK: &str = ".lock";
/// What SQLite keeps beside a file.
pub(super) const KEPT: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What was opened. The lock goes with it.
pub struct Opened {
    pub writer: SqliteConnection,
    pub readers: SqlitePool,
    pub lock: File,
}

impl SqliteFile {
    /// Opens the file, made where it is missing, readable by its owner alone. One that another process has, or that is not of this
    /// kind and version, is refused, and not opened for writing, which would change it.
    pub async fn open(&self) -> Result<Opened, Fault> {
        let lock = self.lock()?;
        if !self.is_made()? {
            self.make().await?;
        }
        let had = self.steps().await?;
        self.keep_to_its_owner()?;
        let mut writer = self.writing(&self.path).connect().await.map_err(|e| self.fault(&e))?;
        bring_up(&mut writer, self.kind, had).await.map_err(|e| self.fault(&e))?;
        let readers = self.readers(READERS).await?;
        Ok(Opened { writer, readers, lock })
    }

    /// Opens a file that another process may have, to be read.
    pub async fn look(&self, connections: u32) -> Result<SqlitePool, Fault> {
        self.steps().await?;
        self.readers(connections).await
    }

    fn reading(&self, path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY)
            .statement_cache_capacity(self.kind.connections.statements)
            .row_buffer_size(self.kind.connections.rows)
            .disable_statement_logging()
    }

    fn writing(&self, path: &Path) -> SqliteConnectOptions {
        self.reading(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(self.kind.connections.synchronous)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", WAL_KEEPS)
    }

    async fn readers(&self, connections: u32) -> Result<SqlitePool, Fault> {
        // Never opened anew: a file that was deleted keeps its inode for as long as it is open, so that no other gets it, and what
        // took its name is not read in its place.
        let pool = SqlitePoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false);
        pool.connect_with(self.reading(&self.path).read_only(true)).await.map_err(|e| self.fault(&e))
    }

    /// One process at a time. What is in the file is nobody else's business: it, and its folder where that is made now, are its
    /// owner's alone.
    pub(super) fn lock(&self) -> Result<File, Fault> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|e| self.told(Why::Unwritable(format!("its folder cannot be made: {e}"))))?;
        }
        let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(self.beside(LOCK));
        let file = opened.map_err(|e| self.told(Why::of_io(&e)))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(self.told(Why::Taken)),
            Err(TryLockError::Error(e)) => Err(self.told(Why::Unwritable(format!("it cannot be locked: {e}")))),
        }
    }

    /// One that was put back by hand may have come with any rights.
    fn keep_to_its_owner(&self) -> Result<(), Fault> {
        let kept = std::fs::set_permissions(&self.path, Permissions::from_mode(0o600));
        kept.map_err(|e| self.told(Why::Unwritable(format!("it cannot be kept from other users: {e}"))))
    }

    /// How many steps the file has had.
    async fn steps(&self) -> Result<usize, Fault> {
        // A damaged file is mended by deleting it, which is no advice for one that never was SQLite's.
        let told = |error: sqlx::Error| match is_no_database(&error) && !self.is_sqlite() {
            true => self.told(Why::Foreign),
            false => self.fault(&error),
        };
        let mut file = self.reading(&self.path).read_only(true).connect().await.map_err(told)?;
        let mut number = async |pragma: &'static str| {
            let row = sqlx::query(pragma).fetch_one(&mut file).await;
            row.and_then(|row| row.try_get::<i32, _>(0)).map_err(told)
        };
        let (application, version) = (number("PRAGMA application_id").await?, number("PRAGMA user_version").await?);
        match usize::try_from(version) {
            _ if application != self.kind.application => Err(self.told(Why::Foreign)),
            Ok(had @ 1..) if had <= self.kind.steps.len() => Ok(had),
            Ok(0) | Err(_) => Err(self.told(Why::Damaged(format!("there is no format {version}")))),
            Ok(_) => Err(self.told(Why::Newer(version))),
        }
    }

    /// Makes the file whole under another name: a process that dies meanwhile leaves nothing that has to be understood.
    async fn make(&self) -> Result<(), Fault> {
        let new = SqliteFile { path: self.beside(NEW), kind: self.kind, linked: false };
        // Beside its name too: SQLite would take an older file's write-ahead log for the new one's.
        let cleared = remove(&new.path)
            .and_then(|()| {
                KEPT.iter().try_for_each(|end| remove(&new.beside(end)).and_then(|()| remove(&self.beside(end))))
            })
            // SQLite gives its other files the rights of this one.
            .and_then(|()| File::options().create_new(true).write(true).mode(0o600).open(&new.path));
        cleared.map_err(|e| self.told(Why::of_io(&e)))?;
        let made = async {
            let mut file = self.writing(&new.path).connect().await?;
            bring_up(&mut file, self.kind, 0).await?;
            // The last connection takes the write-ahead log with it.
            file.close().await
        };
        made.await.map_err(|e| self.fault(&e))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = std::fs::rename(&new.path, &self.path).and_then(|()| File::open(folder)?.sync_all());
        named.map_err(|e| self.told(Why::of_io(&e)))
    }
}

/// Takes the steps that the file has not had, each as a whole.
async fn bring_up(file: &mut SqliteConnection, kind: &Kind, had: usize) -> Result<(), sqlx::Error> {
    let application = kind.application;
    for (step, number) in kind.steps.iter().zip(1..).skip(had) {
        let marks = format!("PRAGMA application_id = {application}; PRAGMA user_version = {number};");
        sqlx::raw_sql(AssertSqlSafe(format!("BEGIN IMMEDIATE; {step} {marks} COMMIT;"))).execute(&mut *file).await?;
    }
    Ok(())
}

pub(super) fn remove(path: &Path) -> Result<(), IoError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
