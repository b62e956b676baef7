//! Questions to the tables of the log, asked by the process that has it and by one that looks on.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteExecutor};

use super::rows::{Base, received};
use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;
use crate::model::time::Timestamp;

/// Records of a partition whose rows are in `rows`, in the order of their offsets: at most `records`, fewer where they have more
/// than `bytes`. True where that was the reason to stop, and more may be there.
pub(super) async fn stretch(
    readers: &SqlitePool,
    (base, partition): (Base, Partition),
    rows: std::ops::Range<i64>,
    (records, bytes): (usize, usize),
) -> Result<(Vec<Received>, bool), sqlx::Error> {
    let mut rows =
        sqlx::query("SELECT id, at, key, headers, value FROM log WHERE id >= ? AND id < ? ORDER BY id LIMIT ?")
            .bind(rows.start)
            .bind(rows.end)
            .bind(i64::try_from(records).unwrap_or(i64::MAX))
            .fetch(readers);
    let (mut found, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let record = received(&row, base, partition)?;
        size += record.record.size();
        found.push(record);
        // Not held open for longer: a reader that stands still keeps the write-ahead log from being cut back.
        if size >= bytes || found.len() == records {
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// The first offset of a partition and the one behind its last, from what was deleted and the rows that are there.
pub(super) async fn span(from: impl SqliteExecutor<'_>, base: Base) -> Result<(Offset, Offset), sqlx::Error> {
    let row = sqlx::query(
        "SELECT (SELECT start FROM spans WHERE base = ?1), (SELECT next FROM spans WHERE base = ?1),
                (SELECT max(id) FROM log WHERE id >= ?1 AND id < ?2)",
    )
    .bind(base.row(Offset(0)))
    .bind(base.limit())
    .fetch_one(from)
    .await?;
    let (start, next): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let behind = row.try_get::<Option<i64>, _>(2)?.map_or(0, |id| base.offset(id).next().0);
    Ok((Offset(start.unwrap_or(0)), Offset(behind.max(next.unwrap_or(0)))))
}

/// The first offset whose row is in `rows` and whose record is not older.
pub(super) async fn not_older(
    readers: &SqlitePool,
    base: Base,
    rows: std::ops::Range<i64>,
    at: Timestamp,
) -> Result<Option<Offset>, sqlx::Error> {
    let row = sqlx::query("SELECT min(id) FROM log WHERE id >= ? AND id < ? AND at >= ?")
        .bind(rows.start)
        .bind(rows.end)
        .bind(at.0)
        .fetch_one(readers)
        .await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map(|id| base.offset(id)))
}
