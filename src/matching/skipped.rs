//! Events that end without a delivery: a record in `attempts` says so and why, so that nothing ends unseen.

use bytes::Bytes;
use metrics::counter;
use serde::Serialize;

use crate::model::delivery_id::{Part, delivery_id};
use crate::model::event::EventHeaders;
use crate::model::ids::{DeliveryId, IntegrationId};
use crate::model::record::{Headers, Output, Record, header};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::model::trace::trace_id;
use crate::telemetry::metrics::EVENTS_SKIPPED;

/// Why there is no delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// The same triple was seen within a day.
    Duplicate,
    /// No integration hears it.
    NoMatch,
    /// This one would, but is switched off and asks for events of that time to be left out.
    Inactive(&'a IntegrationId),
}

impl<'a> Reason<'a> {
    pub const fn word(self) -> &'static str {
        match self {
            Reason::Duplicate => "duplicate",
            Reason::NoMatch => "no_match",
            Reason::Inactive(_) => "inactive",
        }
    }

    fn integration(self) -> Option<&'a IntegrationId> {
        match self {
            Reason::Inactive(id) => Some(id),
            Reason::Duplicate | Reason::NoMatch => None,
        }
    }
}

/// The value of an `attempts` record of kind `skipped`: the deliver stage's names for what both have. What an event lacks is
/// left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Skipped<'a> {
    kind: &'static str,
    /// The id that the delivery would have had, where there is an integration.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<DeliveryId>,
    event_id: &'a str,
    event_type: &'a str,
    org_id: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_rid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<uuid::fmt::Simple>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration_id: Option<&'a IntegrationId>,
    direction: &'static str,
    trigger: &'static str,
    outcome: &'static str,
    status: &'static str,
    reason: &'static str,
    /// The log's time of the event.
    started_at: Timestamp,
}

const SKIPPED: &str = "SKIPPED";

/// The record that tells of an event skipped `at` the log's time of it. Its key is the delivery's id, or, where
/// there is no integration, `<orgId>/<event id>`.
pub fn skipped(event: &EventHeaders<'_>, at: Timestamp, why: Reason<'_>) -> Output {
    counter!(EVENTS_SKIPPED, "reason" => why.word()).increment(1);
    let delivery = why.integration().map(|integration| delivery_id(event, integration, Part::default()));
    let value = Skipped {
        kind: "skipped",
        delivery_id: delivery,
        event_id: &event.id,
        event_type: event.event_type,
        org_id: event.org,
        source: event.source,
        entity_id: event.entity_id,
        entity_rid: event.entity_rid,
        correlation_id: event.correlation_id,
        trace_id: event.traceparent.and_then(trace_id).map(uuid::Uuid::simple),
        integration_id: why.integration(),
        direction: "OUTBOUND",
        trigger: "EVENT",
        outcome: SKIPPED,
        status: SKIPPED,
        reason: why.word(),
        started_at: at,
    };
    // Texts, an id and a time always have a JSON form.
    let json = serde_json::to_vec(&value).unwrap_or_default();
    let key = delivery.map_or_else(|| format!("{}/{}", event.org, event.id), |id| id.to_string());
    let headers = headers(event, delivery, why);
    let record = Record { key: Some(key.into()), value: Some(json.into()), headers };
    Output { topic: Topic::Attempts, partition: None, record }
}

/// The headers tell the story to whoever reads the topic with a Kafka tool.
fn headers(event: &EventHeaders<'_>, delivery: Option<DeliveryId>, why: Reason<'_>) -> Headers {
    let mut headers = Headers::with_capacity(9);
    let mut put = |name: &'static str, text: &str| headers.push(name, Bytes::copy_from_slice(text.as_bytes()));
    put(header::CE_ID, &event.id);
    put(header::CE_TYPE, event.event_type);
    put(header::CE_ORGID, event.org);
    if let Some(trace) = event.traceparent {
        put(header::TRACEPARENT, trace);
    }
    if let Some(delivery) = delivery {
        put(header::TG_DELIVERY, &delivery.to_string());
    }
    if let Some(integration) = why.integration() {
        put(header::TG_INTEGRATION, integration.as_str());
    }
    put(header::TG_OUTCOME, SKIPPED);
    put(header::TG_STATUS, SKIPPED);
    put(header::TG_REASON, why.word());
    headers
}
