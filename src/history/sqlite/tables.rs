//! The statement of each table.

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, AssertSqlSafe};

/// Rows that one statement inserts. Each size has its statement, prepared once, which holds all their values: more rows would gain
/// nothing and take memory.
const CHUNKS: [usize; 3] = [96, 12, 1];

/// What a delivery is about: whoever says it first.
const ABOUT: [&str; 11] = [
    "org",
    "event_id",
    "source",
    "type",
    "entity_id",
    "entity_rid",
    "correlation_id",
    "trace_id",
    "integration_id",
    "action_name",
    "trigger_type",
];
/// What the latest attempt says.
const TRIED: [&str; 4] = ["integration_name", "target_url", "http_method", "max_attempts"];
/// What the latest fact says.
const STATE: [&str; 9] = [
    "status",
    "category",
    "error",
    "response_status",
    "duration_ms",
    "attempts",
    "next_attempt_at",
    "delivered_at",
    "updated_at",
];

/// Inserts of so many rows at once, for each of `CHUNKS`.
pub(super) struct Statement {
    columns: usize,
    /// Of rows that are not there yet. One that is there is passed over: a statement that changes rows, or may fail half-way, keeps
    /// each page that it touches as it was, which costs as much as a tenth of all.
    new: [String; CHUNKS.len()],
    /// Of any rows.
    any: [String; CHUNKS.len()],
}

impl Statement {
    /// `conflict` is what becomes of a row that is there; without it the later one stays.
    fn new(table: &str, columns: &[&str], conflict: Option<&str>) -> Statement {
        let (names, one) = (columns.join(","), format!("({})", vec!["?"; columns.len()].join(",")));
        let sized = |or: &str, conflict: &str| {
            CHUNKS.map(|size| {
                format!(
                    "INSERT OR {or} INTO {table} ({names}) VALUES {} {conflict}",
                    vec![one.as_str(); size].join(",")
                )
            })
        };
        let any = conflict.map_or_else(|| sized("REPLACE", ""), |conflict| sized("ABORT", conflict));
        Statement { columns: columns.len(), new: sized("IGNORE", ""), any }
    }
}

type Bind<T> = fn(&T, &mut SqliteArguments) -> Result<(), BoxDynError>;

/// Rows that are new, almost all of them.
pub(super) async fn insert<T>(
    to: &mut SqliteConnection,
    statement: &Statement,
    rows: &[T],
    bind: Bind<T>,
) -> Result<(), sqlx::Error> {
    for doubtful in add(to, statement, rows, bind).await? {
        put(to, statement, doubtful, bind).await?;
    }
    Ok(())
}

/// Those of the rows that are new. Answers with the stretches in which some were there, and were passed over.
pub(super) async fn add<'r, T>(
    to: &mut SqliteConnection,
    statement: &Statement,
    mut rows: &'r [T],
    bind: Bind<T>,
) -> Result<Vec<&'r [T]>, sqlx::Error> {
    let mut doubtful = Vec::new();
    for (size, sql) in CHUNKS.into_iter().zip(&statement.new) {
        while rows.len() >= size {
            let (chunk, rest) = rows.split_at(size);
            if run(to, (sql, statement.columns), chunk, bind).await? < chunk.len() as u64 {
                doubtful.push(chunk);
            }
            rows = rest;
        }
    }
    Ok(doubtful)
}

/// Rows that are there already, or may be.
pub(super) async fn put<T>(
    to: &mut SqliteConnection,
    statement: &Statement,
    mut rows: &[T],
    bind: Bind<T>,
) -> Result<(), sqlx::Error> {
    for (size, sql) in CHUNKS.into_iter().zip(&statement.any) {
        while rows.len() >= size {
            let (chunk, rest) = rows.split_at(size);
            run(to, (sql, statement.columns), chunk, bind).await?;
            rows = rest;
        }
    }
    Ok(())
}

async fn run<T>(
    to: &mut SqliteConnection,
    (sql, columns): (&str, usize),
    rows: &[T],
    bind: Bind<T>,
) -> Result<u64, sqlx::Error> {
    let mut values = SqliteArguments::default();
    values.reserve(columns * rows.len(), 0);
    rows.iter().try_for_each(|row| bind(row, &mut values)).map_err(sqlx::Error::Encode)?;
    Ok(sqlx::query_with(AssertSqlSafe(sql), values).execute(to).await?.rows_affected())
}

/// Of repeats the first in the log stays, whichever is read first.
pub(super) fn events() -> Statement {
    let columns = [
        "org",
        "source",
        "id",
        "type",
        "entity_id",
        "entity_rid",
        "correlation_id",
        "causation_id",
        "namespace",
        "dataschema",
        "trace_id",
        "time",
        "at",
        "partition",
        "record",
        "content_type",
        "payload",
        "kind",
    ];
    let set: Vec<String> = columns[3..].iter().map(|c| format!("{c} = excluded.{c}")).collect();
    let conflict = format!(
        "ON CONFLICT (org, source, id) DO UPDATE SET {} WHERE
         (excluded.at, excluded.partition, excluded.record) < (events.at, events.partition, events.record)",
        set.join(",")
    );
    Statement::new("events", &columns, Some(&conflict))
}

/// All that a row says of a delivery.
fn of_deliveries() -> Vec<&'static str> {
    [&["id"], &ABOUT[..], &["created_at"], &TRIED, &["tried"], &STATE, &["step", "step_record", "redrives", "kind"]]
        .concat()
}

/// Of rows that are new, or of which how they stand has changed: an index is written again where a column of it is named, changed
/// or not, so that the others are not.
pub(super) fn standing() -> Statement {
    deliveries(&[&TRIED[..], &["tried"], &STATE, &["step", "step_record", "redrives", "kind"]].concat())
}

/// Of rows of which all may have changed.
pub(super) fn all_of_deliveries() -> Statement {
    deliveries(of_deliveries().get(1..).unwrap_or_default())
}

fn deliveries(changing: &[&str]) -> Statement {
    let columns = of_deliveries();
    let set: Vec<String> = changing.iter().map(|c| format!("{c} = excluded.{c}")).collect();
    Statement::new("deliveries", &columns, Some(&format!("ON CONFLICT (id) DO UPDATE SET {}", set.join(","))))
}

/// A record written again replaces itself.
fn replacing(table: &str, columns: &[&str]) -> Statement {
    Statement::new(table, columns, None)
}

pub(super) fn attempts() -> Statement {
    replacing(
        "attempts",
        &[
            "delivery",
            "record",
            "partition",
            "at",
            "kind",
            "attempt",
            "outcome",
            "status",
            "started_at",
            "duration_ms",
            "next_attempt_at",
            "category",
            "error",
            "response_status",
            "response_encoding",
            "response_truncated",
            "response_headers",
            "response_body",
        ],
    )
}

pub(super) fn skips() -> Statement {
    let columns = ["partition", "record", "at", "org", "source", "event_id", "integration_id", "delivery", "reason"];
    replacing("skips", &columns)
}

pub(super) fn dead() -> Statement {
    let conflict = "ON CONFLICT (delivery) DO UPDATE SET partition = excluded.partition, record = excluded.record, at = excluded.at
       WHERE (excluded.at, excluded.record) > (dead_letters.at, dead_letters.record)";
    Statement::new("dead_letters", &["delivery", "partition", "record", "at"], Some(conflict))
}

pub(super) fn rejected() -> Statement {
    replacing(
        "rejected",
        &[
            "partition",
            "record",
            "at",
            "stage",
            "reason",
            "message",
            "topic",
            "from_partition",
            "from_record",
            "org",
            "event_id",
            "type",
            "headers",
            "value",
        ],
    )
}

pub(super) fn audit() -> Statement {
    replacing(
        "audit",
        &[
            "partition",
            "record",
            "id",
            "at",
            "kind",
            "org",
            "type",
            "resource",
            "actor",
            "action",
            "version",
            "made_at",
            "address",
            "request_id",
            "was",
            "became",
        ],
    )
}
