//! Rows into their tables, many a statement.

use std::fmt::Write as _;

use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, AssertSqlSafe};

use super::read::word;
use crate::history::rows::{Attempt, Batch, DeadLetter, EventRow, Fact, Rejected, Skip};
use crate::model::time::Timestamp;

/// Rows that one statement inserts. Each size has its statement, prepared once.
const CHUNKS: [usize; 2] = [32, 1];

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

struct Statement {
    insert: String,
    columns: usize,
    conflict: String,
}

/// The statements, put together once.
pub(super) struct Statements {
    events: Statement,
    facts: Statement,
    attempts: Statement,
    skips: Statement,
    dead: Statement,
    rejected: Statement,
}

impl Statements {
    pub(super) fn new() -> Statements {
        Statements {
            events: events(),
            facts: facts(),
            attempts: attempts(),
            skips: skips(),
            dead: dead(),
            rejected: rejected(),
        }
    }

    pub(super) async fn write(&self, to: &mut SqliteConnection, batch: &Batch) -> Result<(), sqlx::Error> {
        insert(to, &self.events, &batch.events, event).await?;
        insert(to, &self.facts, &batch.facts, fact).await?;
        insert(to, &self.attempts, &batch.attempts, attempt).await?;
        insert(to, &self.skips, &batch.skips, skip).await?;
        insert(to, &self.dead, &batch.dead, dead_letter).await?;
        insert(to, &self.rejected, &batch.rejected, rejection).await?;
        for ((topic, partition), next) in &batch.offsets {
            sqlx::query("INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next")
                .bind(topic.name())
                .bind(partition.0)
                .bind(next.0)
                .execute(&mut *to)
                .await?;
        }
        Ok(())
    }
}

async fn insert<T>(
    to: &mut SqliteConnection,
    statement: &Statement,
    mut rows: &[T],
    bind: fn(&T, &mut SqliteArguments) -> Result<(), BoxDynError>,
) -> Result<(), sqlx::Error> {
    for size in CHUNKS {
        let one = format!("({})", vec!["?"; statement.columns].join(","));
        let sql = format!("{} VALUES {} {}", statement.insert, vec![one.as_str(); size].join(","), statement.conflict);
        while rows.len() >= size {
            let (chunk, rest) = rows.split_at(size);
            let mut values = SqliteArguments::default();
            values.reserve(statement.columns * size, 0);
            chunk.iter().try_for_each(|row| bind(row, &mut values)).map_err(sqlx::Error::Encode)?;
            sqlx::query_with(AssertSqlSafe(sql.as_str()), values).execute(&mut *to).await?;
            rows = rest;
        }
    }
    Ok(())
}

/// Of repeats the first in the log stays, whichever is read first.
fn events() -> Statement {
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
    ];
    let set: Vec<String> = columns[3..].iter().map(|c| format!("{c} = excluded.{c}")).collect();
    Statement {
        insert: format!("INSERT INTO events ({})", columns.join(",")),
        columns: columns.len(),
        conflict: format!(
            "ON CONFLICT (org, source, id) DO UPDATE SET {} WHERE
             (excluded.at, excluded.partition, excluded.record) < (events.at, events.partition, events.record)",
            set.join(",")
        ),
    }
}

/// Facts come in any order; the row says what the latest says, and what any says where only one does.
fn facts() -> Statement {
    let columns = [&["id"], &ABOUT[..], &TRIED, &["tried"], &STATE, &["created_at", "step", "step_record"]].concat();
    let mut set = String::from("created_at = min(deliveries.created_at, excluded.created_at)");
    for c in ABOUT {
        let _ = write!(set, ", {c} = coalesce(deliveries.{c}, excluded.{c})");
    }
    for c in TRIED {
        let _ = write!(
            set,
            ", {c} = CASE WHEN excluded.tried >= deliveries.tried THEN coalesce(excluded.{c}, deliveries.{c})
               ELSE coalesce(deliveries.{c}, excluded.{c}) END"
        );
    }
    set.push_str(", tried = max(deliveries.tried, excluded.tried)");
    for c in STATE.iter().chain(&["step", "step_record"]) {
        let _ = write!(
            set,
            ", {c} = CASE WHEN (excluded.step, excluded.step_record) >= (deliveries.step, deliveries.step_record)
               THEN excluded.{c} ELSE deliveries.{c} END"
        );
    }
    Statement {
        insert: format!("INSERT INTO deliveries ({})", columns.join(",")),
        columns: columns.len(),
        conflict: format!("ON CONFLICT (id) DO UPDATE SET {set}"),
    }
}

/// A record written again replaces itself.
fn replacing(table: &str, columns: &[&str]) -> Statement {
    Statement {
        insert: format!("INSERT OR REPLACE INTO {table} ({})", columns.join(",")),
        columns: columns.len(),
        conflict: String::new(),
    }
}

fn attempts() -> Statement {
    replacing(
        "attempts",
        &[
            "partition",
            "record",
            "delivery",
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

fn skips() -> Statement {
    let columns = ["partition", "record", "at", "org", "source", "event_id", "integration_id", "delivery", "reason"];
    replacing("skips", &columns)
}

fn dead() -> Statement {
    Statement {
        insert: "INSERT INTO dead_letters (delivery, partition, record, at)".into(),
        columns: 4,
        conflict: "ON CONFLICT (delivery) DO UPDATE SET partition = excluded.partition, record = excluded.record, at = excluded.at
                   WHERE (excluded.at, excluded.record) > (dead_letters.at, dead_letters.record)"
            .into(),
    }
}

fn rejected() -> Statement {
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

fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0)
}

fn event(row: &EventRow, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    for text in [&row.org, &row.source, &row.id, &row.event_type] {
        to.add(text.as_str())?;
    }
    let optional = [
        &row.entity_id,
        &row.entity_rid,
        &row.correlation_id,
        &row.causation_id,
        &row.namespace,
        &row.dataschema,
        &row.trace_id,
    ];
    optional.into_iter().try_for_each(|text| to.add(text.as_deref()))?;
    to.add(row.time.0)?;
    to.add(row.at.0)?;
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.content_type.as_str())?;
    to.add(row.payload.as_deref())
}

fn fact(row: &Fact, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.id.to_string())?;
    let about = &row.about;
    let texts = [
        &about.org,
        &about.event_id,
        &about.source,
        &about.event_type,
        &about.entity_id,
        &about.entity_rid,
        &about.correlation_id,
        &about.trace_id,
        &about.integration_id,
        &about.action,
        &about.trigger,
    ];
    texts.into_iter().try_for_each(|text| to.add(text.as_deref()))?;
    let tried = row.tried.as_ref();
    to.add(tried.and_then(|t| t.integration_name.as_deref()))?;
    to.add(tried.and_then(|t| t.target_url.as_deref()))?;
    to.add(tried.and_then(|t| t.http_method.as_deref()))?;
    to.add(tried.and_then(|t| t.max_attempts))?;
    // Attempts of one delivery lie in one partition, where a later one has a higher offset.
    to.add(tried.map_or(-1, |_| row.rank.offset))?;
    let state = &row.state;
    to.add(state.status.as_str())?;
    to.add(state.category.map(|c| c.as_str()))?;
    to.add(state.error.as_deref())?;
    to.add(state.response_status)?;
    to.add(state.duration_ms)?;
    to.add(state.attempts)?;
    to.add(ms(state.next_attempt_at))?;
    to.add(ms(state.delivered_at))?;
    to.add(row.at.0)?;
    to.add(row.at.0)?;
    to.add(row.rank.step)?;
    to.add(row.rank.offset)
}

fn attempt(row: &Attempt, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.delivery.to_string())?;
    to.add(row.at.0)?;
    to.add(word(&row.kind))?;
    to.add(row.attempt)?;
    to.add(word(&row.outcome))?;
    to.add(row.status.as_str())?;
    to.add(row.started_at.0)?;
    to.add(row.duration_ms)?;
    to.add(ms(row.next_attempt_at))?;
    to.add(row.category.map(|c| c.as_str()))?;
    to.add(row.error.as_deref())?;
    to.add(row.response_status)?;
    to.add(row.response_encoding.as_deref())?;
    to.add(row.response_truncated)?;
    to.add(row.response_headers.as_deref())?;
    to.add(row.response_body.as_deref())
}

fn skip(row: &Skip, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.at.0)?;
    to.add(row.org.as_str())?;
    to.add(row.source.as_str())?;
    to.add(row.event_id.as_str())?;
    to.add(row.integration_id.as_deref())?;
    to.add(row.delivery.map(|id| id.to_string()))?;
    to.add(row.reason.as_str())
}

fn dead_letter(row: &DeadLetter, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.delivery.to_string())?;
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.at.0)
}

fn rejection(row: &Rejected, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.at.0)?;
    for text in [&row.stage, &row.reason, &row.message, &row.topic] {
        to.add(text.as_str())?;
    }
    to.add(row.from.partition.0)?;
    to.add(row.from.offset.0)?;
    for text in [&row.org, &row.event_id, &row.event_type] {
        to.add(text.as_deref())?;
    }
    to.add(row.headers.as_str())?;
    to.add(row.value.as_deref())
}
