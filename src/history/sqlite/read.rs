//! Rows as they are read back.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::history::facts::from_word;
use crate::history::rows::{
    About, Attempt, Audited, DeadLetter, Delivery, EventRow, Place, Rank, Rejected, Skip, State, Tried,
};
use crate::history::standing::Standing;
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::time::Timestamp;

/// Steps of a rank that one attempt's number has room for.
pub(super) const RANKS: i64 = 8;

type Read<T> = Result<T, sqlx::Error>;

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
    Uuid::from_slice(row.try_get(column)?).map(DeliveryId).map_err(|e| sqlx::Error::Decode(e.into()))
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
    let (id, Standing { about, tried, state, rank, created_at, updated_at, .. }) = standing(row)?;
    let (redrives, is_known_by_letter) = (rank.redrives, rank.is_of_a_letter());
    Ok(Delivery { id, about, tried, state, redrives, is_known_by_letter, created_at, updated_at })
}

pub(super) fn standing(row: &SqliteRow) -> Read<(DeliveryId, Standing)> {
    let standing = Standing {
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
        tried_at: row.try_get("tried")?,
        rank: rank(row)?,
        created_at: at(row, "created_at")?,
        updated_at: at(row, "updated_at")?,
    };
    Ok((id(row, "id")?, standing))
}

/// Attempts and step are one number in the row: `bind::delivery` puts them together.
fn rank(row: &SqliteRow) -> Read<Rank> {
    let number: i64 = row.try_get("step")?;
    Ok(Rank {
        attempts: u32::try_from(number.div_euclid(RANKS)).unwrap_or(u32::MAX),
        redrives: row.try_get("redrives")?,
        step: u8::try_from(number.rem_euclid(RANKS)).unwrap_or_default(),
        offset: row.try_get("step_record")?,
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

pub(super) fn audited(row: &SqliteRow) -> Read<Audited> {
    Ok(Audited {
        place: place(row, PLACE)?,
        at: at(row, "at")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        kind: row.try_get("type")?,
        id: row.try_get("resource")?,
        org: row.try_get("org")?,
        version: row.try_get::<i64, _>("version")?.unsigned_abs(),
        made_at: maybe_at(row, "made_at")?,
        address: row.try_get("address")?,
        request_id: row.try_get("request_id")?,
        before: row.try_get("was")?,
        after: row.try_get("became")?,
    })
}
