//! How a row's values are bound to the statement of its table, in the order of its columns.

use sqlx::Arguments as _;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;

use super::read::{RANKS, word};
use super::write::Written;
use crate::history::rows::{Attempt, Audited, DeadLetter, EventRow, Rejected, Skip};
use crate::history::standing::Standing;
use crate::model::ids::DeliveryId;
use crate::model::time::Timestamp;

/// A delivery's id as tables have it.
pub(super) fn key(id: DeliveryId) -> Vec<u8> {
    id.0.as_bytes().to_vec()
}

fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.0)
}

pub(super) fn event((row, kind): &(&EventRow, i64), to: &mut SqliteArguments) -> Result<(), BoxDynError> {
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
    to.add(row.payload.as_deref())?;
    to.add(*kind)
}

pub(super) fn delivery(row: &Written<'_>, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    let Written { id, kind, standing } = row;
    let Standing { about, tried, tried_at, state, rank, created_at, updated_at } = &**standing;
    to.add(key(*id))?;
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
    to.add(created_at.0)?;
    to.add(tried.integration_name.as_deref())?;
    to.add(tried.target_url.as_deref())?;
    to.add(tried.http_method.as_deref())?;
    to.add(tried.max_attempts)?;
    to.add(*tried_at)?;
    to.add(state.status.as_str())?;
    to.add(state.category.map(|c| c.as_str()))?;
    to.add(state.error.as_deref())?;
    to.add(state.response_status)?;
    to.add(state.duration_ms)?;
    to.add(state.attempts)?;
    to.add(ms(state.next_attempt_at))?;
    to.add(ms(state.delivered_at))?;
    to.add(updated_at.0)?;
    to.add(i64::from(rank.attempts) * RANKS + i64::from(rank.step))?;
    to.add(rank.offset)?;
    to.add(rank.redrives)?;
    to.add(*kind)
}

pub(super) fn attempt(row: &Attempt, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(key(row.delivery))?;
    to.add(row.place.offset.0)?;
    to.add(row.place.partition.0)?;
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

pub(super) fn skip(row: &Skip, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
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

pub(super) fn dead_letter(row: &DeadLetter, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(key(row.delivery))?;
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.at.0)
}

pub(super) fn rejection(row: &Rejected, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
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

pub(super) fn audited((row, kind): &(&Audited, i64), to: &mut SqliteArguments) -> Result<(), BoxDynError> {
    to.add(row.place.partition.0)?;
    to.add(row.place.offset.0)?;
    to.add(row.name())?;
    to.add(row.at.0)?;
    to.add(*kind)?;
    to.add(row.org.as_deref())?;
    for text in [&row.kind, &row.id, &row.actor, &row.action] {
        to.add(text.as_str())?;
    }
    to.add(i64::try_from(row.version).unwrap_or(i64::MAX))?;
    to.add(ms(row.made_at))?;
    for text in [&row.address, &row.request_id, &row.before, &row.after] {
        to.add(text.as_deref())?;
    }
    Ok(())
}
