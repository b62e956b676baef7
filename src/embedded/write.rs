//! The one writer: what came in together is committed together, and answered when it is on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, Row as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::partitioner::partition_of;
use super::request::{Answer, Places, Request, Which};
use super::rows::write_headers;
use super::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Record};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::{Flushed, LogError, Part};

/// A transaction takes requests until it has so many records or bytes.
const MAX_RECORDS: usize = 5_000;
const MAX_BYTES: usize = 16 << 20;
/// Rows that one statement inserts. Each size has its statement, prepared once.
const CHUNKS: [usize; 3] = [64, 8, 1];
/// Pages that are given back to the file system after rows were deleted.
const VACUUM: &str = "PRAGMA incremental_vacuum(2000)";

/// Owns the connection that writes.
pub(super) struct Writer {
    pub(super) store: Arc<Store>,
    pub(super) connection: SqliteConnection,
    /// Names of the seats that were taken since the start, with their epochs.
    seats: BTreeMap<&'static str, i64>,
    inserts: Inserts,
}

/// What a transaction changes beside its rows, applied to what is known in memory once it is committed.
#[derive(Default)]
struct Changes<'a> {
    rows: Vec<(i64, &'a Record)>,
    ends: BTreeMap<(Topic, Partition), Offset>,
    seats: Vec<(&'static str, i64)>,
    deleted: bool,
    /// Something beside rows was written.
    other: bool,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, connection: SqliteConnection) -> Writer {
        Writer { store, connection, seats: BTreeMap::new(), inserts: Inserts::new() }
    }

    /// Until every asker is gone, or `stop`; what was asked for before is done.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Request>, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
                first = queue.recv() => first,
            };
            let Some(first) = first else { break };
            let (mut records, mut bytes) = first.size();
            let mut requests = vec![first];
            while records < MAX_RECORDS
                && bytes < MAX_BYTES
                && let Ok(next) = queue.try_recv()
            {
                let size = next.size();
                (records, bytes) = (records + size.0, bytes + size.1);
                requests.push(next);
            }
            self.store.begins(bytes);
            self.write(requests).await;
            self.store.ended();
        }
        // The readers may be there still: then closing alone would leave all of it in the write-ahead log.
        let checkpoint = sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await.map(drop);
        if let Err(error) = checkpoint.and(self.connection.close().await) {
            tracing::warn!(%error, "the log was not closed in order; nothing is lost by that");
        }
    }

    async fn write(&mut self, requests: Vec<Request>) {
        match self.transact(&requests).await {
            Ok(answers) => requests.into_iter().zip(answers).for_each(|(request, answer)| request.answer(answer)),
            Err(failure) => {
                // After some errors, a full disk among them, SQLite has rolled back by itself, and says so here. (sqlx's own
                // transactions count how deep they are, and lose count then.)
                let _ = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await;
                let error = self.outcome(failure).await;
                requests.into_iter().for_each(|request| request.answer(Answer::Refused(error.clone())));
            }
        }
    }

    /// What is known of a transaction that failed. Where its commit did, the write-ahead log may hold all of it, to be found after
    /// a crash: the next transaction is written in its place, and is made at once.
    async fn outcome(&mut self, failure: Failure) -> LogError {
        let (error, settled) = match failure {
            Failure::Before(error) => (error, Ok(())),
            Failure::AtCommit(error) => {
                let over = "INSERT INTO writers VALUES ('settled', 1) ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1";
                (error, sqlx::raw_sql(over).execute(&mut self.connection).await.map(drop))
            }
        };
        let told = self.store.failed(&error);
        match settled {
            Ok(()) => told,
            Err(_) => LogError::UnknownOutcome(told.to_string()),
        }
    }

    /// All requests in one transaction, or none of them.
    async fn transact(&mut self, requests: &[Request]) -> Result<Vec<Answer>, Failure> {
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut self.connection).await?;
        let mut changes = Changes::default();
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let mut one = One { store: &self.store, seats: &self.seats, changes: &mut changes };
            answers.push(one.run(&mut self.connection, request).await?);
        }
        self.inserts.run(&mut self.connection, self.store.clock.now(), &changes.rows).await?;
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map_err(Failure::AtCommit)?;
        if !changes.rows.is_empty() || changes.other {
            self.store.works();
        }
        self.seats.extend(changes.seats);
        changes.ends.into_iter().for_each(|((topic, partition), end)| self.store.spans.appended(topic, partition, end));
        if changes.deleted
            && let Err(error) = sqlx::raw_sql(VACUUM).execute(&mut self.connection).await
        {
            tracing::debug!(%error, "pages that are free were not given back");
        }
        Ok(answers)
    }
}

/// Where a transaction failed.
enum Failure {
    Before(sqlx::Error),
    AtCommit(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure::Before(error)
    }
}

/// One request within a transaction.
struct One<'w, 'r> {
    store: &'w Store,
    seats: &'w BTreeMap<&'static str, i64>,
    changes: &'w mut Changes<'r>,
}

impl<'r> One<'_, 'r> {
    async fn run(&mut self, connection: &mut SqliteConnection, request: &'r Request) -> Result<Answer, sqlx::Error> {
        Ok(match request {
            Request::Append { outputs, .. } => self.place(outputs.iter()).map_or_else(Answer::Refused, Answer::Places),
            Request::Commit { stage, owners, parts, .. } => {
                let (standing, gone): (Vec<&Part>, Vec<&Part>) =
                    parts.iter().partition(|p| owners.holds(p.commit.partition, p.commit.epoch));
                match self.place(standing.iter().flat_map(|p| &p.outputs)) {
                    Err(error) => Answer::Refused(error),
                    Ok(_) => {
                        self.changes.other |= !standing.is_empty();
                        for part in standing {
                            commit_offset(connection, stage, part).await?;
                        }
                        let left_out = gone.iter().map(|p| (p.commit.partition, p.commit.epoch)).collect();
                        Answer::Flushed(Flushed { left_out })
                    }
                }
            }
            Request::TakeSeat { name, .. } => {
                let epoch = take_seat(connection, name).await?;
                self.changes.seats.push((name, epoch));
                self.changes.other = true;
                Answer::Seat(epoch)
            }
            Request::SeatCommit { name, epoch, outputs, .. } => {
                let taken = self.changes.seats.iter().rev().find(|(n, _)| n == name).map(|(_, e)| e);
                match taken.or_else(|| self.seats.get(name)) {
                    Some(held) if held == epoch => {
                        self.place(outputs.iter()).map_or_else(Answer::Refused, |_| Answer::Done)
                    }
                    _ => Answer::Fenced,
                }
            }
            Request::Delete { topic, partition, what, .. } => {
                self.delete(connection, (*topic, *partition), what).await?
            }
            Request::Settle { .. } => Answer::Done,
        })
    }

    /// Gives each record its place. All of them, or none where one cannot be written.
    fn place(&mut self, outputs: impl Iterator<Item = &'r Output>) -> Result<Places, LogError> {
        let mut rows = Vec::new();
        let mut places = Vec::new();
        let mut ends: BTreeMap<(Topic, Partition), Offset> = BTreeMap::new();
        for Output { topic, partition, record } in outputs {
            self.store.fits(*topic, record)?;
            let partition = match partition {
                Some(partition) => *partition,
                None => partition_of(record.key.as_deref(), self.store.spans.partitions(*topic)?),
            };
            let base = self.store.spans.base(*topic, partition)?;
            let place = (*topic, partition);
            let end = match ends.get(&place).or_else(|| self.changes.ends.get(&place)) {
                Some(end) => *end,
                None => self.store.spans.end(*topic, partition)?,
            };
            rows.push((base.row(end), record));
            places.push((partition, end));
            ends.insert(place, end.next());
        }
        self.changes.rows.extend(rows);
        self.changes.ends.extend(ends);
        Ok(places)
    }

    async fn delete(
        &mut self,
        connection: &mut SqliteConnection,
        (topic, partition): (Topic, Partition),
        what: &Which,
    ) -> Result<Answer, sqlx::Error> {
        let spans = &self.store.spans;
        let (base, end) = match (spans.base(topic, partition), spans.end(topic, partition)) {
            (Ok(base), Ok(end)) => (base, end),
            (Err(error), _) | (_, Err(error)) => return Ok(Answer::Refused(error)),
        };
        let (deleted, start) = match what {
            Which::Before { offset, most } => {
                let some =
                    "DELETE FROM log WHERE id IN (SELECT id FROM log WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)";
                let start = (*offset).min(end);
                let query = sqlx::query(some).bind(base.row(Offset(0))).bind(base.row(start)).bind(*most);
                // Before the rows are gone: who reads meanwhile is told, and does not take the gap for a quiet stretch. Should this
                // fail, it begins too late for a while, with rows that were to go.
                spans.deleted(topic, partition, start);
                (query.execute(&mut *connection).await?, start)
            }
            Which::Rows(rows) => {
                let these = "DELETE FROM log WHERE id IN (SELECT value FROM json_each(?))";
                (sqlx::query(these).bind(rows.as_str()).execute(&mut *connection).await?, Offset(0))
            }
        };
        // The rows gone, only this tells where the partition begins and ends.
        sqlx::query(
            "INSERT INTO spans VALUES (?, ?, ?)
             ON CONFLICT (base) DO UPDATE SET start = max(start, excluded.start), next = max(next, excluded.next)",
        )
        .bind(base.row(Offset(0)))
        .bind(start.0)
        .bind(end.0)
        .execute(&mut *connection)
        .await?;
        (self.changes.deleted, self.changes.other) = (true, true);
        Ok(Answer::Deleted(deleted.rows_affected()))
    }
}

async fn commit_offset(connection: &mut SqliteConnection, stage: &'static str, part: &Part) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO offsets VALUES (?, ?, ?, ?)
         ON CONFLICT (stage, partition) DO UPDATE SET next = excluded.next, metadata = excluded.metadata",
    )
    .bind(stage)
    .bind(part.commit.partition.0)
    .bind(part.commit.offset.0)
    .bind(part.commit.metadata.as_str())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

async fn take_seat(connection: &mut SqliteConnection, name: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query("INSERT INTO writers VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1 RETURNING epoch")
        .bind(name)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)
}

/// The statements that insert rows, by how many.
struct Inserts(BTreeMap<usize, String>);

impl Inserts {
    fn new() -> Inserts {
        let of = |rows: usize| format!("INSERT INTO log VALUES {}", vec!["(?,?,?,?,?)"; rows].join(","));
        Inserts(CHUNKS.into_iter().map(|rows| (rows, of(rows))).collect())
    }

    async fn run(
        &self,
        connection: &mut SqliteConnection,
        at: Timestamp,
        mut rows: &[(i64, &Record)],
    ) -> Result<(), sqlx::Error> {
        for (size, statement) in self.0.iter().rev() {
            while rows.len() >= *size {
                let (chunk, rest) = rows.split_at(*size);
                let values = values(chunk, at).map_err(sqlx::Error::Encode)?;
                sqlx::query_with(AssertSqlSafe(statement.as_str()), values).execute(&mut *connection).await?;
                rows = rest;
            }
        }
        Ok(())
    }
}

fn values(rows: &[(i64, &Record)], at: Timestamp) -> Result<SqliteArguments, sqlx::error::BoxDynError> {
    let mut values = SqliteArguments::default();
    values.reserve(5 * rows.len(), 0);
    for (id, record) in rows {
        values.add(*id)?;
        values.add(at.0)?;
        values.add(record.key.as_deref())?;
        values.add(write_headers(&record.headers))?;
        values.add(record.value.as_deref())?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
