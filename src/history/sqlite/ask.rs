//! Questions: the statements of each on one connection, for as long as somebody waits for the answer and no longer than is fair to
//! the others, who have a few connections together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use tokio::time::timeout;

use super::SqliteStore;
use super::conditions::Conditions;
use super::list::{FEWER, List, Source};
use crate::history::store::{COUNTED, Listed, Page, SEARCHED, StoreError};

/// For a connection, and then for all statements of a question.
pub(super) const WITHIN: Duration = Duration::from_secs(5);
/// Steps of SQLite's machine between two looks at the time, far less than a millisecond.
const LOOK: i32 = 2_000;
/// SQLITE_INTERRUPT
const INTERRUPTED: &str = "9";

type Read<T> = fn(&SqliteRow) -> Result<T, sqlx::Error>;

/// A connection for one question. Dropped, it stops what runs on it.
pub(super) struct Asking<'s> {
    store: &'s SqliteStore,
    connection: PoolConnection<Sqlite>,
    over: Arc<AtomicBool>,
    within: Duration,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl SqliteStore {
    pub(super) async fn asking(&self) -> Result<Asking<'_>, StoreError> {
        self.asking_within(WITHIN).await
    }

    pub(super) async fn asking_within(&self, within: Duration) -> Result<Asking<'_>, StoreError> {
        let connection = timeout(WITHIN, self.readers.acquire()).await.map_err(|_| StoreError::Busy)?;
        let mut connection = connection.map_err(|e| self.fault(&e))?;
        let over = Arc::new(AtomicBool::new(false));
        let (until, stop) = (Instant::now() + within, over.clone());
        let mut handle = connection.lock_handle().await.map_err(|e| self.fault(&e))?;
        // Takes the place of the question's before.
        handle.set_progress_handler(LOOK, move || !stop.load(Ordering::Relaxed) && Instant::now() < until);
        drop(handle);
        Ok(Asking { store: self, connection, over, within })
    }
}

impl Asking<'_> {
    fn fault(&self, error: &sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|e| e.code());
        if code.as_deref() == Some(INTERRUPTED) { StoreError::Slow(self.within) } else { self.store.fault(error) }
    }

    pub(super) async fn all<T>(
        &mut self,
        query: &mut QueryBuilder<Sqlite>,
        read: Read<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = query.build().fetch_all(&mut *self.connection).await;
        rows.and_then(|rows| rows.iter().map(read).collect()).map_err(|e| self.fault(&e))
    }

    pub(super) async fn one<T>(
        &mut self,
        query: &mut QueryBuilder<Sqlite>,
        read: Read<T>,
    ) -> Result<Option<T>, StoreError> {
        let row = query.build().fetch_optional(&mut *self.connection).await;
        row.and_then(|row| row.as_ref().map(read).transpose()).map_err(|e| self.fault(&e))
    }

    pub(super) async fn page<T>(
        &mut self,
        list: &List,
        (conditions, page): (Conditions, &Page),
        read: Read<T>,
    ) -> Result<Listed<T>, StoreError> {
        let sources = self.sources(list, &conditions).await?;
        let most = if conditions.search.is_some() { SEARCHED } else { COUNTED };
        let total = self.count(&mut list.count(&conditions, &sources, most)).await?;
        if total == 0 {
            return Ok(Listed { items: Vec::new(), total, is_estimate: false, has_more: false });
        }
        let is_estimate = total >= most;
        let known = (!is_estimate).then_some(total);
        let floor: Option<Option<i64>> = match list.needs_floor((&sources, known), page) {
            Some(kinds) => self.one(&mut list.floor(&conditions, kinds, page), |row| row.try_get(0)).await?,
            None => None,
        };
        let floor = floor.flatten();
        let mut items = self.all(&mut list.page(&conditions, (&sources, floor), page), read).await?;
        // A floor lets more than a page through: rows have changed their kinds since it was found.
        if floor.is_some() && items.len() <= page.limit {
            items = self.all(&mut list.page(&conditions, (&sources, None), page), read).await?;
        }
        let has_more = items.len() > page.limit;
        items.truncate(page.limit);
        Ok(Listed { items, total, is_estimate, has_more })
    }

    async fn count(&mut self, query: &mut QueryBuilder<Sqlite>) -> Result<u64, StoreError> {
        let counted: Option<i64> = self.one(query, |row| row.try_get(0)).await?;
        Ok(counted.and_then(|total| u64::try_from(total).ok()).unwrap_or(0))
    }

    /// The ways to the rows.
    pub(super) async fn sources(&mut self, list: &List, conditions: &Conditions) -> Result<Vec<Source>, StoreError> {
        if !conditions.by_kind() && !conditions.may_be_by_kind() {
            return Ok(conditions.sources(list, Vec::new()));
        }
        let kinds = self.all(&mut list.kinds(conditions), |row| row.try_get(0)).await?;
        if conditions.by_kind() {
            return Ok(conditions.sources(list, kinds));
        }
        let by_kind = [Source::Kinds(kinds)];
        let of_kinds = Conditions { span: conditions.span.clone(), ..Conditions::default() };
        let rows = self.count(&mut list.count(&of_kinds, &by_kind, FEWER)).await?;
        Ok(if rows < FEWER { by_kind.into() } else { conditions.sources(list, Vec::new()) })
    }
}
