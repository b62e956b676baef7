//! Rows as clients see them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::catalog::Snapshot;
use crate::history::rows::{Attempt, Delivery, EventRow, Outcome};
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::{DeliveryId, IntegrationId};
use crate::model::integration::OutboundIntegration;
use crate::model::time::Timestamp;

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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) id: String,
    event_type: String,
    org_id: String,
    entity_id: Option<String>,
    entity_rid: Option<String>,
    source: String,
    time: Timestamp,
    received_at: Timestamp,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    namespace: Option<String>,
    dataschema: Option<String>,
    trace_id: Option<String>,
    content_type: String,
    partition: i32,
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

/// An item of `GET /logs`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    id: DeliveryId,
    event_id: Option<String>,
    event_type: Option<String>,
    org_id: Option<String>,
    entity_id: Option<String>,
    entity_rid: Option<String>,
    integration_id: Option<String>,
    integration_name: Option<String>,
    direction: &'static str,
    trigger_type: String,
    action_name: Option<String>,
    action_index: Option<u32>,
    status: DeliveryStatus,
    error_category: Option<ErrorCategory>,
    error_message: Option<String>,
    pub(super) target_url: Option<String>,
    pub(super) http_method: Option<String>,
    response_status: Option<u16>,
    response_time_ms: Option<f64>,
    attempt_count: u32,
    next_attempt_at: Option<Timestamp>,
    correlation_id: Option<String>,
    trace_id: Option<String>,
    /// What the receiver is told in `Idempotency-Key`.
    message_id: DeliveryId,
    created_at: Timestamp,
    delivered_at: Option<Timestamp>,
}

pub(super) const OUTBOUND: &str = "OUTBOUND";

/// What was not told yet, because nothing was tried, is as the integration is now.
pub(super) fn current<'a>(snapshot: &'a Snapshot, delivery: &Delivery) -> Option<&'a OutboundIntegration> {
    let id = IntegrationId::parse(delivery.about.integration_id.as_deref()?).ok()?;
    snapshot.integration(&id).map(|one| &**one)
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

/// An attempt of `GET /logs/{id}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tried {
    attempt: u32,
    started_at: Timestamp,
    duration_ms: f64,
    outcome: Outcome,
    response_status: Option<u16>,
    error_category: Option<ErrorCategory>,
    error_message: Option<String>,
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

/// An entry of `GET /dlq`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    id: DeliveryId,
    integration_id: Option<String>,
    integration_name: Option<String>,
    org_id: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    direction: &'static str,
    status: DeliveryStatus,
    target_url: Option<String>,
    http_method: Option<String>,
    last_error: Option<String>,
    error_category: Option<ErrorCategory>,
    response_status: Option<u16>,
    attempt_count: u32,
    max_attempts: Option<u32>,
    next_retry_at: Option<Timestamp>,
    created_at: Timestamp,
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
