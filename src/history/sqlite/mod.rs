//! The store in one SQLite file of one process.
//!
//! `open` says what makes the file one of ours, `schema` is its tables, `write`, `tables` and `bind` put rows in, `list` finds
//! those that meet `conditions` by way of their `kinds`, `ask` asks for them, `read` gets them out.

mod ask;
mod bind;
mod conditions;
mod kinds;
mod list;
mod open;
mod read;
mod schema;
mod seen;
mod tables;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{QueryBuilder, Row as _};
use tokio::sync::{Mutex, MutexGuard};

use self::bind::key;
pub use self::open::Origin;
use self::seen::Seen;
use self::write::Statements;
use super::rows::{Attempt, Audited, Batch, DeadLetter, Delivery, EventRow, Rejected, Skip};
use super::store::{
    AuditFilter, COUNTED, Census, Connections, Cutoffs, DeliveryFilter, EventFilter, EventKey, Lifetime, Listed, Page,
    RejectedFilter, Store, StoreError, Use,
};
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::sqlite::SqliteFile;
pub use crate::sqlite::{Claim, Place};

/// Of one event's or one delivery's rows.
const MANY: i64 = 1_000;
/// Events that share an id are told apart from a few.
const FEW: i64 = 10;
/// Kinds of which no row is left.
const UNUSED: &str = "DELETE FROM kinds WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE kind = kinds.id)
  AND NOT EXISTS (SELECT 1 FROM events WHERE kind = kinds.id) AND NOT EXISTS (SELECT 1 FROM audit WHERE kind = kinds.id)";
/// By the index of kinds, whatever else there is.
const CENSUS: &str = "SELECT
  (SELECT min((SELECT created_at FROM deliveries WHERE kind = kinds.id ORDER BY created_at LIMIT 1))
     FROM kinds WHERE status IN ('PENDING', 'RETRYING')),
  (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE kind IN
     (SELECT id FROM kinds WHERE status IN ('FAILED', 'ABANDONED')) LIMIT ";
/// Pages that are given back to the file system after rows were deleted.
const VACUUM: &str = "PRAGMA incremental_vacuum(2000)";

/// Of the connection that writes: indexes that are written all over fit into 16 MiB for long, and pages that change often are
/// brought from the write-ahead log to their place once for 32 MiB of it.
const WRITING: &str = "PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8192";

pub struct SqliteStore {
    file: SqliteFile,
    writer: Mutex<Writer>,
    readers: SqlitePool,
    statements: Statements,
    _lock: File,
}

struct Writer {
    connection: SqliteConnection,
    /// A transaction was begun and is not known to have ended: its write failed, or was dropped half-way.
    open: bool,
    seen: Seen,
}

impl SqliteStore {
    /// Opens the store in `path`, made where it is missing, readable by its owner alone. `log` is the one that it is of:
    /// another's store is refused, as is one that a process has, that is damaged or of a newer version.
    pub async fn open(path: &Path, log: impl Into<Origin>) -> Result<SqliteStore, StoreError> {
        let file = open::file(path);
        let mut opened = open::open(&file, &log.into()).await?;
        sqlx::raw_sql(WRITING).execute(&mut opened.writer).await.map_err(|e| file.fault(&e))?;
        Ok(SqliteStore {
            file,
            writer: Mutex::new(Writer { connection: opened.writer, open: false, seen: Seen::default() }),
            readers: opened.readers,
            statements: Statements::new(),
            _lock: opened.lock,
        })
    }

    /// Makes sure that the store in `path` may be deleted: no process has it, and it is one of ours.
    pub fn claim(path: &Path, place: Place) -> Result<Claim, StoreError> {
        Ok(open::file(path).claim(place)?)
    }

    fn fault(&self, error: &sqlx::Error) -> StoreError {
        self.file.fault(error).into()
    }

    /// The connection that writes, in no transaction.
    async fn writer(&self) -> MutexGuard<'_, Writer> {
        let mut writer = self.writer.lock().await;
        if writer.open {
            // After some errors, a full disk among them, SQLite has rolled back by itself, and says so here. (sqlx's own
            // transactions count how deep they are, and lose count then.)
            let _ = sqlx::raw_sql("ROLLBACK").execute(&mut writer.connection).await;
            writer.open = false;
            writer.seen.forget();
        }
        writer
    }
}

/// A statement of a moment and a number of rows, and the moment.
type Step = (&'static str, fn(&Cutoffs) -> i64);

/// What retention does.
const PRUNE: [Step; 11] = [
    ("DELETE FROM events WHERE rowid IN (SELECT rowid FROM events WHERE at < ? LIMIT ?)", |c| c.events.0),
    ("DELETE FROM skips WHERE rowid IN (SELECT rowid FROM skips WHERE at < ? LIMIT ?)", |c| c.events.0),
    ("DELETE FROM rejected WHERE rowid IN (SELECT rowid FROM rejected WHERE at < ? LIMIT ?)", |c| c.events.0),
    (
        "DELETE FROM deliveries WHERE rowid IN (SELECT rowid FROM deliveries WHERE created_at < ?1 AND updated_at < ?1
       LIMIT ?2)",
        |c| c.deliveries.0,
    ),
    ("DELETE FROM dead_letters WHERE rowid IN (SELECT rowid FROM dead_letters WHERE at < ? LIMIT ?)", |c| {
        c.deliveries.0
    }),
    ("DELETE FROM attempts WHERE rowid IN (SELECT rowid FROM attempts WHERE at < ? LIMIT ?)", |c| c.attempts.0),
    ("DELETE FROM uses WHERE (kind, id) IN (SELECT kind, id FROM uses WHERE at < ? LIMIT ?)", |c| c.audit.0),
    ("DELETE FROM audit WHERE rowid IN (SELECT rowid FROM audit WHERE at < ? LIMIT ?)", |c| c.audit.0),
    (
        "UPDATE events SET payload = NULL WHERE rowid IN
           (SELECT rowid FROM events WHERE at < ? AND payload IS NOT NULL LIMIT ?)",
        |c| c.bodies.0,
    ),
    (
        "UPDATE attempts SET response_body = NULL WHERE rowid IN
           (SELECT rowid FROM attempts WHERE at < ? AND response_body IS NOT NULL LIMIT ?)",
        |c| c.bodies.0,
    ),
    (
        "UPDATE rejected SET value = NULL WHERE rowid IN
           (SELECT rowid FROM rejected WHERE at < ? AND value IS NOT NULL LIMIT ?)",
        |c| c.bodies.0,
    ),
];

#[async_trait]
impl Store for SqliteStore {
    async fn offsets(&self) -> Result<BTreeMap<(Topic, Partition), Offset>, StoreError> {
        let mut query = QueryBuilder::new("SELECT topic, partition, next FROM offsets");
        let mut asking = self.asking().await?;
        let rows = asking.all(&mut query, |row| Ok((row.try_get::<String, _>(0)?, row.try_get(1)?, row.try_get(2)?)));
        let known = |name: &str| Topic::ALL.into_iter().find(|topic| topic.name() == name);
        let rows = rows.await?.into_iter();
        Ok(rows.filter_map(|(name, p, next)| Some(((known(&name)?, Partition(p)), Offset(next)))).collect())
    }

    async fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writer = self.writer().await;
        writer.open = true;
        let Writer { connection, seen, .. } = &mut *writer;
        let written = async {
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            self.statements.write(&mut *connection, batch, seen).await?;
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await
        };
        written.await.map_err(|e| self.fault(&e))?;
        writer.open = false;
        Ok(())
    }

    async fn prune(&self, before: Cutoffs, most: u32) -> Result<u64, StoreError> {
        let mut gone = 0;
        for (statement, cutoff) in PRUNE {
            // Taken anew each time: what is to be written does not wait for all of it.
            let mut writer = self.writer().await;
            let done = sqlx::query(statement).bind(cutoff(&before)).bind(most).execute(&mut writer.connection).await;
            gone += done.map_err(|e| self.fault(&e))?.rows_affected();
        }
        if gone > 0 {
            let mut writer = self.writer().await;
            writer.seen.forget();
            sqlx::raw_sql(UNUSED).execute(&mut writer.connection).await.map_err(|e| self.fault(&e))?;
            sqlx::raw_sql(VACUUM).execute(&mut writer.connection).await.map_err(|e| self.fault(&e))?;
        }
        Ok(gone)
    }

    async fn census(&self) -> Result<Census, StoreError> {
        let mut query = QueryBuilder::new(CENSUS);
        query.push_bind(i64::try_from(COUNTED).unwrap_or(i64::MAX)).push("))");
        let counted = self.asking().await?.one(&mut query, |row| Ok((row.try_get(0)?, row.try_get(1)?))).await?;
        let (oldest, dead): (Option<i64>, i64) = counted.unwrap_or_default();
        Ok(Census { dead: u64::try_from(dead).unwrap_or(0), oldest_unfinished: oldest.map(Timestamp) })
    }

    fn connections(&self) -> Connections {
        let (all, idle) = (self.readers.size() as usize, self.readers.num_idle());
        Connections { in_use: all.saturating_sub(idle), idle }
    }

    async fn events(&self, filter: &EventFilter, page: &Page) -> Result<Listed<EventRow>, StoreError> {
        self.asking().await?.page(&list::EVENTS, (conditions::events(filter), page), read::event).await
    }

    async fn event(&self, key: EventKey<'_>) -> Result<Vec<EventRow>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM events WHERE id = ");
        query.push_bind(key.id.to_owned());
        for (column, value) in [(" AND org = ", key.org), (" AND source = ", key.source)] {
            if let Some(value) = value {
                query.push(column).push_bind(value.to_owned());
            }
        }
        query.push(" ORDER BY org, source LIMIT ").push_bind(FEW);
        self.asking().await?.all(&mut query, read::event).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listed<Delivery>, StoreError> {
        self.asking().await?.page(&list::DELIVERIES, (conditions::deliveries(filter), page), read::delivery).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM deliveries WHERE id = ");
        self.asking().await?.one(query.push_bind(key(id)), read::delivery).await
    }

    async fn deliveries_of(&self, event: &EventRow) -> Result<Vec<Delivery>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM deliveries WHERE event_id = ");
        query.push_bind(event.id.clone()).push(" AND org = ").push_bind(event.org.clone());
        // What is known from its attempts alone has no source.
        query.push(" AND coalesce(source, ").push_bind(event.source.clone()).push(") = ");
        query.push_bind(event.source.clone()).push(" ORDER BY created_at, id LIMIT ").push_bind(MANY);
        self.asking().await?.all(&mut query, read::delivery).await
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM attempts WHERE delivery = ");
        query.push_bind(key(delivery)).push(" ORDER BY record LIMIT ").push_bind(MANY);
        self.asking().await?.all(&mut query, read::attempt).await
    }

    async fn skips(&self, event: &EventRow) -> Result<Vec<Skip>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM skips WHERE event_id = ");
        query.push_bind(event.id.clone()).push(" AND org = ").push_bind(event.org.clone());
        query.push(" AND source = ").push_bind(event.source.clone());
        query.push(" ORDER BY at, partition, record LIMIT ").push_bind(MANY);
        self.asking().await?.all(&mut query, read::skip).await
    }

    async fn dead_letter(&self, delivery: DeliveryId) -> Result<Option<DeadLetter>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM dead_letters WHERE delivery = ");
        self.asking().await?.one(query.push_bind(key(delivery)), read::dead_letter).await
    }

    async fn rejected(&self, filter: &RejectedFilter, page: &Page) -> Result<Listed<Rejected>, StoreError> {
        self.asking().await?.page(&list::REJECTED, (conditions::rejected(filter), page), read::rejection).await
    }

    async fn rejected_of(&self, event: &EventRow) -> Result<Vec<Rejected>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM rejected WHERE from_partition = ");
        query.push_bind(event.place.partition.0).push(" AND from_record = ").push_bind(event.place.offset.0);
        query.push(" AND topic = 'events' LIMIT ").push_bind(MANY);
        self.asking().await?.all(&mut query, read::rejection).await
    }

    async fn used(&self, uses: &[Use]) -> Result<(), StoreError> {
        let rows: Vec<_> = uses.iter().map(|one| (one.kind, &one.id, one.at.0)).collect();
        // Texts and numbers always have a JSON form.
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        let insert = "INSERT INTO uses SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
           ON CONFLICT (kind, id) DO UPDATE SET at = max(at, excluded.at)";
        let mut writer = self.writer().await;
        let done = sqlx::query(insert).bind(rows).execute(&mut writer.connection).await;
        done.map(drop).map_err(|e| self.fault(&e))
    }

    async fn uses(&self, kind: &str, ids: &[&str]) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let ids = serde_json::to_string(ids).unwrap_or_default();
        let mut query = QueryBuilder::new("SELECT id, at FROM uses WHERE kind = ");
        query.push_bind(kind.to_owned()).push(" AND id IN (SELECT value FROM json_each(").push_bind(ids).push("))");
        let rows =
            self.asking().await?.all(&mut query, |row| Ok((row.try_get(0)?, Timestamp(row.try_get(1)?)))).await?;
        Ok(rows.into_iter().collect())
    }

    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listed<Audited>, StoreError> {
        self.asking().await?.page(&list::AUDIT, (conditions::audit(filter), page), read::audited).await
    }

    async fn versions(&self, of: &Lifetime, page: &Page) -> Result<Listed<Audited>, StoreError> {
        self.asking().await?.page(&list::VERSIONS, (conditions::versions(of, &[]), page), read::audited).await
    }

    async fn version(&self, of: &Lifetime, version: u64) -> Result<Option<Audited>, StoreError> {
        let Ok(version) = i64::try_from(version) else { return Ok(None) };
        let wanted = conditions::versions(of, &[version, version.saturating_add(1)]);
        let page = Page { limit: 4, ..Page::default() };
        let listed = self.asking().await?.page(&list::VERSIONS, (wanted, &page), read::audited).await?;
        Ok(listed.items.into_iter().rev().find(|row| row.holds(version.unsigned_abs()).is_some()))
    }
}
