//! Rows as they are read back, and the conditions of the lists.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{QueryBuilder, Row as _};

use crate::history::facts::from_word;
use crate::history::rows::{About, Attempt, DeadLetter, Delivery, EventRow, Place, Rejected, Skip, State, Tried};
use crate::history::store::{Cursor, DeliveryFilter, EventFilter, Page, RejectedFilter};
use crate::model::delivery::DeliveryStatus;
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::time::Timestamp;

type Read<T> = Result<T, sqlx::Error>;

/// A list: where it is read, and by what it is sorted, newest first.
pub(super) struct List {
    pub(super) columns: &'static str,
    pub(super) table: &'static str,
    pub(super) at: &'static str,
    pub(super) id: &'static str,
}

pub(super) const EVENTS: List = List {
    columns: "org, source, id, type, entity_id, entity_rid, correlation_id, causation_id, namespace, dataschema, trace_id, \
              time, at, partition, record, content_type, NULL AS payload",
    table: "events",
    at: "at",
    id: "id",
};
pub(super) const DELIVERIES: List = List { columns: "*", table: "deliveries", at: "created_at", id: "id" };
pub(super) const REJECTED: List = List { columns: "*", table: "rejected", at: "at", id: "record" };

impl List {
    pub(super) fn page(&self, conditions: &Conditions, page: &Page) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(format!("SELECT {} FROM {}", self.columns, self.table));
        conditions.push(&mut query);
        if let Some(Cursor { at, id }) = &page.after {
            query.push(if conditions.0.is_empty() { " WHERE " } else { " AND " });
            query.push(format!("({}, {}) < (", self.at, self.id)).push_bind(at.0).push(", ");
            query.push_bind(id.clone()).push(")");
        }
        query.push(format!(" ORDER BY {} DESC, {} DESC LIMIT ", self.at, self.id));
        // One more tells whether there are more.
        query.push_bind(i64::try_from(page.limit + 1).unwrap_or(i64::MAX));
        query.push(" OFFSET ").push_bind(i64::try_from(page.skip).unwrap_or(i64::MAX));
        query
    }

    pub(super) fn count(&self, conditions: &Conditions, most: u64) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new(format!("SELECT count(*) FROM (SELECT 1 FROM {}", self.table));
        conditions.push(&mut query);
        query.push(" LIMIT ").push_bind(i64::try_from(most).unwrap_or(i64::MAX)).push(")");
        query
    }
}

enum Value {
    Text(String),
    Number(i64),
}

/// Conditions that all hold: each a text with `?` for its values.
#[derive(Default)]
pub(super) struct Conditions(Vec<(String, Vec<Value>)>);

impl Conditions {
    fn text(&mut self, condition: impl Into<String>, value: Option<impl ToString>) {
        let condition = condition.into();
        let values = value.map(|v| vec![Value::Text(v.to_string()); condition.matches('?').count()]);
        self.0.extend(values.map(|values| (condition, values)));
    }

    fn number(&mut self, condition: &str, value: Option<i64>) {
        self.0.extend(value.map(|v| (condition.to_owned(), vec![Value::Number(v)])));
    }

    fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        for (at, (condition, values)) in self.0.iter().enumerate() {
            query.push(if at == 0 { " WHERE " } else { " AND " });
            let mut parts = condition.split('?');
            query.push(parts.next().unwrap_or_default());
            for (part, value) in parts.zip(values) {
                match value {
                    Value::Text(text) => query.push_bind(text.clone()),
                    Value::Number(number) => query.push_bind(*number),
                };
                query.push(part);
            }
        }
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        match self {
            Value::Text(text) => Value::Text(text.clone()),
            Value::Number(number) => Value::Number(*number),
        }
    }
}

pub(super) fn events(filter: &EventFilter) -> Conditions {
    let mut all = Conditions::default();
    all.text("org = ?", filter.org.as_ref());
    all.text("type = ?", filter.event_type.as_ref());
    all.text("entity_id = ?", filter.entity_id.as_ref());
    all.text("correlation_id = ?", filter.correlation_id.as_ref());
    all.number("at >= ?", filter.since.map(|at| at.0));
    all.number("at < ?", filter.until.map(|at| at.0));
    all.text("(id = ? OR entity_id = ? OR correlation_id = ?)", filter.search.as_ref());
    all
}

/// Ids as a whole, names and errors in part, without regard to the case of ASCII letters. It reads rows until the page is full.
const SEARCH: &str = "(id = ? OR event_id = ? OR entity_id = ? OR correlation_id = ? OR instr(lower(integration_name), lower(?)) > 0 \
                      OR instr(lower(error), lower(?)) > 0)";
/// As the partial indexes of dead letters say it, word for word; the `= 1` keeps the indexes by status out of the choice.
const DEAD: &str = "(status IN ('FAILED', 'ABANDONED')) = 1";

pub(super) fn deliveries(filter: &DeliveryFilter) -> Conditions {
    // SQLite keeps no statistics here. What narrows most is to choose the index: a `+` keeps the others out of the choice.
    let few = filter.event_id.is_some() || filter.entity_id.is_some() || filter.correlation_id.is_some();
    let by_status = if few { "+" } else { "" };
    let wide = if few || filter.integration_id.is_some() { "+" } else { "" };
    let mut all = Conditions::default();
    all.text(format!("{wide}org = ?"), filter.org.as_ref());
    match &filter.statuses[..] {
        [] => {}
        [one] => all.text(format!("{by_status}status = ?"), Some(one.as_str())),
        [DeliveryStatus::Failed, DeliveryStatus::Abandoned] => all.0.push((DEAD.to_owned(), Vec::new())),
        // Words of a fixed list always have a JSON form.
        several => all.text("+status IN (SELECT value FROM json_each(?))", serde_json::to_string(several).ok()),
    }
    all.text(format!("{by_status}integration_id = ?"), filter.integration_id.as_ref());
    all.text(format!("{wide}type = ?"), filter.event_type.as_ref());
    all.text("event_id = ?", filter.event_id.as_ref());
    all.text("entity_id = ?", filter.entity_id.as_ref());
    all.text("correlation_id = ?", filter.correlation_id.as_ref());
    all.text(format!("{wide}category = ?"), filter.category.map(|c| c.as_str()));
    all.number("created_at >= ?", filter.since.map(|at| at.0));
    all.number("created_at < ?", filter.until.map(|at| at.0));
    all.text(SEARCH, filter.search.as_ref());
    all
}

pub(super) fn rejected(filter: &RejectedFilter) -> Conditions {
    let mut all = Conditions::default();
    all.text("org = ?", filter.org.as_ref());
    all.text("stage = ?", filter.stage.as_ref());
    all.text("reason = ?", filter.reason.as_ref());
    all.number("at >= ?", filter.since.map(|at| at.0));
    all.number("at < ?", filter.until.map(|at| at.0));
    all
}

/// The word of a unit variant.
pub(super) fn word(of: &impl Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn known<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Read<T> {
    let text: &str = row.try_get(column)?;
    from_word(text).ok_or_else(|| sqlx::Error::Decode(format!("`{text}` in column {column} is not known").into()))
}

fn maybe<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Read<Option<T>> {
    Ok(row.try_get::<Option<&str>, _>(column)?.and_then(from_word))
}

fn at(row: &SqliteRow, column: &str) -> Read<Timestamp> {
    row.try_get(column).map(Timestamp)
}

fn maybe_at(row: &SqliteRow, column: &str) -> Read<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp))
}

fn place(row: &SqliteRow, (partition, record): (&str, &str)) -> Read<Place> {
    Ok(Place { partition: Partition(row.try_get(partition)?), offset: Offset(row.try_get(record)?) })
}

const PLACE: (&str, &str) = ("partition", "record");

fn id(row: &SqliteRow, column: &str) -> Read<DeliveryId> {
    DeliveryId::parse(row.try_get(column)?).map_err(|e| sqlx::Error::Decode(e.into()))
}

fn bytes(row: &SqliteRow, column: &str) -> Read<Option<bytes::Bytes>> {
    Ok(row.try_get::<Option<Vec<u8>>, _>(column)?.map(Into::into))
}

pub(super) fn event(row: &SqliteRow) -> Read<EventRow> {
    Ok(EventRow {
        org: row.try_get("org")?,
        source: row.try_get("source")?,
        id: row.try_get("id")?,
        event_type: row.try_get("type")?,
        entity_id: row.try_get("entity_id")?,
        entity_rid: row.try_get("entity_rid")?,
        correlation_id: row.try_get("correlation_id")?,
        causation_id: row.try_get("causation_id")?,
        namespace: row.try_get("namespace")?,
        dataschema: row.try_get("dataschema")?,
        trace_id: row.try_get("trace_id")?,
        time: at(row, "time")?,
        at: at(row, "at")?,
        place: place(row, PLACE)?,
        content_type: row.try_get("content_type")?,
        payload: bytes(row, "payload")?,
    })
}

pub(super) fn delivery(row: &SqliteRow) -> Read<Delivery> {
    Ok(Delivery {
        id: id(row, "id")?,
        about: About {
            org: row.try_get("org")?,
            event_id: row.try_get("event_id")?,
            source: row.try_get("source")?,
            event_type: row.try_get("type")?,
            entity_id: row.try_get("entity_id")?,
            entity_rid: row.try_get("entity_rid")?,
            correlation_id: row.try_get("correlation_id")?,
            trace_id: row.try_get("trace_id")?,
            integration_id: row.try_get("integration_id")?,
            action: row.try_get("action_name")?,
            trigger: row.try_get("trigger_type")?,
        },
        tried: Tried {
            integration_name: row.try_get("integration_name")?,
            target_url: row.try_get("target_url")?,
            http_method: row.try_get("http_method")?,
            max_attempts: row.try_get("max_attempts")?,
        },
        state: State {
            status: known(row, "status")?,
            category: maybe(row, "category")?,
            error: row.try_get("error")?,
            response_status: row.try_get("response_status")?,
            duration_ms: row.try_get("duration_ms")?,
            attempts: row.try_get("attempts")?,
            next_attempt_at: maybe_at(row, "next_attempt_at")?,
            delivered_at: maybe_at(row, "delivered_at")?,
        },
        created_at: at(row, "created_at")?,
        updated_at: at(row, "updated_at")?,
    })
}

pub(super) fn attempt(row: &SqliteRow) -> Read<Attempt> {
    Ok(Attempt {
        delivery: id(row, "delivery")?,
        place: place(row, PLACE)?,
        at: at(row, "at")?,
        kind: known(row, "kind")?,
        attempt: row.try_get("attempt")?,
        outcome: known(row, "outcome")?,
        status: known(row, "status")?,
        started_at: at(row, "started_at")?,
        duration_ms: row.try_get("duration_ms")?,
        next_attempt_at: maybe_at(row, "next_attempt_at")?,
        category: maybe(row, "category")?,
        error: row.try_get("error")?,
        response_status: row.try_get("response_status")?,
        response_headers: row.try_get("response_headers")?,
        response_body: row.try_get("response_body")?,
        response_encoding: row.try_get("response_encoding")?,
        response_truncated: row.try_get("response_truncated")?,
    })
}

pub(super) fn skip(row: &SqliteRow) -> Read<Skip> {
    Ok(Skip {
        place: place(row, PLACE)?,
        at: at(row, "at")?,
        org: row.try_get("org")?,
        source: row.try_get("source")?,
        event_id: row.try_get("event_id")?,
        integration_id: row.try_get("integration_id")?,
        delivery: row.try_get::<Option<&str>, _>("delivery")?.and_then(|id| DeliveryId::parse(id).ok()),
        reason: row.try_get("reason")?,
    })
}

pub(super) fn dead_letter(row: &SqliteRow) -> Read<DeadLetter> {
    Ok(DeadLetter { delivery: id(row, "delivery")?, place: place(row, PLACE)?, at: at(row, "at")? })
}

pub(super) fn rejection(row: &SqliteRow) -> Read<Rejected> {
    Ok(Rejected {
        place: place(row, PLACE)?,
        at: at(row, "at")?,
        stage: row.try_get("stage")?,
        reason: row.try_get("reason")?,
        message: row.try_get("message")?,
        topic: row.try_get("topic")?,
        from: place(row, ("from_partition", "from_record"))?,
        org: row.try_get("org")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("type")?,
        headers: row.try_get("headers")?,
        value: bytes(row, "value")?,
    })
}
