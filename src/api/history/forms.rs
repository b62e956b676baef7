//! Rows as clients see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::spec::has;
use crate::catalog::Snapshot;
use crate::history::rows::{Attempt, Delivery, EventRow, Outcome};
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::{DeliveryId, IntegrationId};
use crate::model::integration::OutboundIntegration;
use crate::model::time::Timestamp;

/// The answers that are made of these.
pub(in crate::api) fn schemas(all: &mut SchemaGenerator) {
    has::<Event>(all);
    has::<Log>(all);
    has::<Entry>(all);
    has::<super::events::Detail>(all);
    has::<super::logs::Detail>(all);
    has::<super::dlq::Detail>(all);
    has::<super::dlq::Redriven>(all);
    has::<super::rejected::Item>(all);
    has::<super::audit::Item>(all);
}

/// Bytes as JSON where they are JSON, else as text, else in base64.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Payload {
    Json(Box<RawValue>),
    Text(String),
}

impl Payload {
    pub(super) fn of(bytes: &[u8]) -> Option<Payload> {
        if bytes.is_empty() {
            return None;
        }
        // As it came: numbers keep their digits, objects the order of their fields.
        let text = std::str::from_utf8(bytes);
        let raw = text.ok().and_then(|text| serde_json::from_str::<Box<RawValue>>(text).ok());
        Some(
            raw.map_or_else(
                || Payload::Text(text.map_or_else(|_| STANDARD.encode(bytes), str::to_owned)),
                Payload::Json,
            ),
        )
    }
}

/// An event.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    /// Its id.
    pub(super) id: String,
    /// Its type.
    event_type: String,
    /// The organization.
    org_id: String,
    /// What it is about.
    entity_id: Option<String>,
    /// The org unit that the event is of.
    entity_rid: Option<String>,
    /// Where it comes from.
    source: String,
    /// When it happened, as its source says.
    time: Timestamp,
    /// When the log took it.
    received_at: Timestamp,
    /// What ties it to others.
    correlation_id: Option<String>,
    /// The event that caused it.
    causation_id: Option<String>,
    /// The part of its source that it is of.
    namespace: Option<String>,
    /// The schema of its payload, as its source says.
    dataschema: Option<String>,
    /// The W3C trace that it is part of.
    trace_id: Option<String>,
    /// Of the payload.
    content_type: String,
    /// The partition that its record lies in.
    partition: i32,
    /// The offset of its record.
    offset: i64,
}

impl Event {
    pub(super) fn of(row: EventRow) -> Event {
        Event {
            id: row.id,
            event_type: row.event_type,
            org_id: row.org,
            entity_id: row.entity_id,
            entity_rid: row.entity_rid,
            source: row.source,
            time: row.time,
            received_at: row.at,
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            namespace: row.namespace,
            dataschema: row.dataschema,
            trace_id: row.trace_id,
            content_type: row.content_type,
            partition: row.place.partition.0,
            offset: row.place.offset.0,
        }
    }
}

/// A delivery.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    /// Its id.
    id: DeliveryId,
    /// The event.
    event_id: Option<String>,
    /// The type of the event.
    event_type: Option<String>,
    /// The organization.
    org_id: Option<String>,
    /// What the event is about.
    entity_id: Option<String>,
    /// The org unit that the event is of.
    entity_rid: Option<String>,
    /// The integration.
    integration_id: Option<String>,
    /// What people call the integration.
    integration_name: Option<String>,
    /// `OUTBOUND`
    direction: &'static str,
    /// What made it: `EVENT`, `MANUAL`, `SCHEDULED` or `REPLAY`.
    trigger_type: String,
    /// The action of the integration.
    action_name: Option<String>,
    /// The place of the action, from 0.
    action_index: Option<u32>,
    /// Where it stands.
    status: DeliveryStatus,
    /// How the last attempt failed.
    error_category: Option<ErrorCategory>,
    /// Why the last attempt failed.
    error_message: Option<String>,
    /// Where it goes, without its query.
    pub(super) target_url: Option<String>,
    /// How.
    pub(super) http_method: Option<String>,
    /// The status of the last answer.
    response_status: Option<u16>,
    /// How long the last attempt took.
    response_time_ms: Option<f64>,
    /// Attempts so far, redrives included.
    attempt_count: u32,
    /// When it is tried again.
    next_attempt_at: Option<Timestamp>,
    /// What ties it to others.
    correlation_id: Option<String>,
    /// The W3C trace that it is part of.
    trace_id: Option<String>,
    /// What the receiver is told in `Idempotency-Key`.
    message_id: DeliveryId,
    /// When it was matched.
    created_at: Timestamp,
    /// When the receiver took it.
    delivered_at: Option<Timestamp>,
}

pub(super) const OUTBOUND: &str = "OUTBOUND";

/// What was not told yet, because nothing was tried, is as the integration is now. One of another organization under the same id is
/// another integration.
pub(super) fn current<'a>(snapshot: &'a Snapshot, delivery: &Delivery) -> Option<&'a OutboundIntegration> {
    let id = IntegrationId::parse(delivery.about.integration_id.as_deref()?).ok()?;
    let found = snapshot.integration(&id).map(|one| &**one);
    found.filter(|one| delivery.about.org.as_deref().is_none_or(|org| org == one.org_id.as_str()))
}

/// Without its query, which may hold a credential.
fn shown_url(integration: &OutboundIntegration) -> String {
    let mut url = integration.target_url.clone();
    url.set_query(None);
    url.into()
}

impl Log {
    pub(super) fn of(one: Delivery, now: Option<&OutboundIntegration>) -> Log {
        let (about, tried, state) = (one.about, one.tried, one.state);
        Log {
            id: one.id,
            event_id: about.event_id,
            event_type: about.event_type,
            org_id: about.org,
            entity_id: about.entity_id,
            entity_rid: about.entity_rid,
            integration_id: about.integration_id,
            integration_name: tried.integration_name.or_else(|| now.map(|i| i.name.clone())),
            direction: OUTBOUND,
            trigger_type: about.trigger.unwrap_or_else(|| "EVENT".to_owned()),
            action_name: about.action,
            action_index: None,
            status: state.status,
            error_category: state.category,
            error_message: state.error,
            target_url: tried.target_url.or_else(|| now.map(shown_url)),
            http_method: tried.http_method.or_else(|| now.map(|i| i.method.to_string())),
            response_status: state.response_status,
            response_time_ms: state.duration_ms,
            attempt_count: state.attempts,
            next_attempt_at: state.next_attempt_at,
            correlation_id: about.correlation_id,
            trace_id: about.trace_id,
            message_id: one.id,
            created_at: one.created_at,
            delivered_at: state.delivered_at,
        }
    }
}

/// One attempt of a delivery.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Attempt")]
pub(super) struct Tried {
    /// Which attempt, from 1.
    attempt: u32,
    /// When it began.
    started_at: Timestamp,
    /// How long it took.
    duration_ms: f64,
    /// How it ended.
    outcome: Outcome,
    /// The status of the last answer.
    response_status: Option<u16>,
    /// How the last attempt failed.
    error_category: Option<ErrorCategory>,
    /// Why the last attempt failed.
    error_message: Option<String>,
    /// When it is tried again.
    next_attempt_at: Option<Timestamp>,
}

impl Tried {
    pub(super) fn of(one: &Attempt) -> Tried {
        Tried {
            attempt: one.attempt,
            started_at: one.started_at,
            duration_ms: one.duration_ms,
            outcome: one.outcome,
            response_status: one.response_status,
            error_category: one.category,
            error_message: one.error.clone(),
            next_attempt_at: one.next_attempt_at,
        }
    }
}

/// A dead letter.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    /// Its id.
    id: DeliveryId,
    /// The integration.
    integration_id: Option<String>,
    /// What people call the integration.
    integration_name: Option<String>,
    /// The organization.
    org_id: Option<String>,
    /// The event.
    event_id: Option<String>,
    /// The type of the event.
    event_type: Option<String>,
    /// `OUTBOUND`
    direction: &'static str,
    /// Where it stands.
    status: DeliveryStatus,
    /// Where it goes, without its query.
    target_url: Option<String>,
    /// How.
    http_method: Option<String>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// How the last attempt failed.
    error_category: Option<ErrorCategory>,
    /// The status of the last answer.
    response_status: Option<u16>,
    /// Attempts so far, redrives included.
    attempt_count: u32,
    /// After how many attempts it is given up.
    max_attempts: Option<u32>,
    /// When it is tried again.
    next_retry_at: Option<Timestamp>,
    /// When it was matched.
    created_at: Timestamp,
    /// When its state changed last.
    updated_at: Timestamp,
}

impl Entry {
    pub(super) fn of(one: Delivery, now: Option<&OutboundIntegration>) -> Entry {
        let (about, tried, state) = (one.about, one.tried, one.state);
        Entry {
            id: one.id,
            integration_id: about.integration_id,
            integration_name: tried.integration_name.or_else(|| now.map(|i| i.name.clone())),
            org_id: about.org,
            event_id: about.event_id,
            event_type: about.event_type,
            direction: OUTBOUND,
            status: state.status,
            target_url: tried.target_url.or_else(|| now.map(shown_url)),
            http_method: tried.http_method.or_else(|| now.map(|i| i.method.to_string())),
            last_error: state.error,
            error_category: state.category,
            response_status: state.response_status,
            attempt_count: state.attempts,
            max_attempts: tried.max_attempts.or_else(|| now.map(|i| i.retry.max_attempts)),
            next_retry_at: state.next_attempt_at,
            created_at: one.created_at,
            updated_at: one.updated_at,
        }
    }
}
