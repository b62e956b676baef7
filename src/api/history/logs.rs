//! `/api/v1/logs`: deliveries and their attempts.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::forms::{self, Log, OUTBOUND, Payload, Tried};
use super::paging::{self, Paging};
use super::sent::{Sent, curl};
use super::views::{Viewed, viewed};
use super::{event_type, event_types, one_word, org, own, span, store, visible, words};
use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, Param, Principal, form, get};
use crate::api::error::ApiError;
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::api::spec::page;
use crate::catalog::audit::Origin;
use crate::history::rows::{Attempt, Delivery, EventRow};
use crate::history::store::{Cursor, DeliveryFilter, EventKey, Store};
use crate::model::delivery::DeliveryStatus;
use crate::model::integration::OutboundIntegration;

const STATUSES: &str = "PENDING, RETRYING, SUCCESS, FAILED, ABANDONED, SKIPPED, CANCELLED, DISCARDED";
const CATEGORIES: &str = "TRANSFORM, AUTH, SIGNING, BLOCKED, NETWORK, TIMEOUT, HTTP_3XX, HTTP_4XX, HTTP_5XX, RATE_LIMITED, \
                          CIRCUIT_OPEN, EXPIRED";

/// The parameters that `filter` and the paging read.
pub(super) fn params() -> Vec<Param> {
    let own = [
        Param::one_of("direction", "Only OUTBOUND yet.", OUTBOUND),
        org(),
        Param::text("integrationId", "Those of this integration."),
        Param::text("eventId", "Those of this event."),
        Param::text("entityId", "Those about this entity."),
        Param::text("correlationId", "Those with this correlation id."),
        Param::one_of("errorCategory", "Those whose last attempt failed so.", CATEGORIES),
        Param::text(
            "search",
            "Whose event, entity, correlation or own id is this, or whose integration or error has this part.",
        ),
    ];
    event_types().into_iter().chain(own).chain(super::dates()).chain(paging::params(true)).collect()
}

/// What lists of deliveries have in common; the status is each one's own.
pub(super) fn filter(params: &mut Params) -> DeliveryFilter {
    params.parsed("direction", |text| match text {
        OUTBOUND => Ok(()),
        _ => Err("must be OUTBOUND: no other direction is there yet"),
    });
    let (since, until) = span(params);
    DeliveryFilter {
        org: params.org(),
        statuses: Vec::new(),
        integration_id: params.text("integrationId"),
        event_type: event_type(params),
        event_id: params.text("eventId"),
        entity_id: params.text("entityId"),
        correlation_id: params.text("correlationId"),
        category: one_word(params, "errorCategory", CATEGORIES),
        since,
        until,
        search: params.text("search"),
    }
}

fn cursor(one: &Delivery) -> Option<Cursor> {
    Some(Cursor { at: one.created_at, id: one.id.to_string() })
}

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let many = get("/api/v1/logs", Access::Read)
        .says("Deliveries", "Deliveries, newest first.")
        .params([
            Param::one_of("status", "In this state; several may be given, or one text with commas.", STATUSES).many()
        ])
        .params(params())
        .answers(Answer::json(200, "A page.", page("logs", "Log")));
    door.add(many, list, state.clone());
    let single = get("/api/v1/logs/{id}", Access::Read)
        .says("Deliveries", "One delivery, its attempts, what was sent and what was answered.")
        .params([own()])
        .answers(Answer::json(200, "The delivery.", form("LogDetail")));
    door.add(single, one, state.clone());
}

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<impl Serialize>>, ApiError> {
    let filter = DeliveryFilter { statuses: words(&mut params, "status", STATUSES), ..filter(&mut params) };
    listed(&state, ("logs", &filter), params, Log::of).await
}

/// The page of deliveries that are asked for, each in its form.
pub(super) async fn listed<F>(
    state: &ApiState,
    (key, filter): (&'static str, &DeliveryFilter),
    mut params: Params,
    form: impl Fn(Delivery, Option<&OutboundIntegration>) -> F,
) -> Result<Json<Page<F>>, ApiError> {
    let paging = Paging::with_cursor(&mut params);
    params.finish()?;
    let listed = store(state)?.deliveries(filter, &paging.asked()).await?;
    let snapshot = state.catalog.snapshot();
    Ok(Json(paging.answer(key, listed, cursor, |one| {
        let now = forms::current(&snapshot, &one);
        form(one, now)
    })))
}

/// A delivery and all that is known of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LogDetail")]
pub(super) struct Detail {
    #[serde(flatten)]
    #[schemars(with = "Log")]
    log: Value,
    /// The payload of the event: JSON, or text, or base64 of other bytes. Null once it is no longer kept, and for who may not see it.
    #[schemars(with = "Option<Value>")]
    original_payload: Option<Payload>,
    /// The payload that was sent.
    #[schemars(with = "Option<Value>")]
    request_payload: Option<Payload>,
    /// The headers that were sent, as far as the event and the integration tell them now: those of the event's attributes, those
    /// by which a receiver tells deliveries apart, and those of the integration, of which `***` stands for what may be a credential.
    /// Of the trace no more is kept than its id.
    request_headers: Map<String, Value>,
    /// Headers of the last answer.
    #[schemars(with = "Option<Value>")]
    response_headers: Option<Box<RawValue>>,
    /// The body of the last answer.
    response_body: Option<String>,
    /// Whether the body was longer than what is kept.
    response_body_truncated: Option<bool>,
    /// The signature that was sent.
    signature: Option<String>,
    /// Whether it will be tried again.
    should_retry: bool,
    /// The request for a shell.
    curl_command: Option<String>,
    /// Every attempt, from the first.
    attempts: Vec<Tried>,
}

pub async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    (who, by): (Principal, Origin),
) -> Result<Json<impl Serialize>, ApiError> {
    let (store, delivery) = visible(&state, &id, params).await?;
    let attempts = store.attempts(delivery.id).await?;
    let event = event_of(&*store, &delivery, &who).await?;
    let snapshot = state.catalog.snapshot();
    let now = forms::current(&snapshot, &delivery);
    let sent = Sent { delivery: &delivery, event: event.as_ref(), now };
    let mut detail = detail(Log::of(delivery.clone(), now), sent, &attempts);
    // A receiver may send back what it was sent.
    detail.response_body = detail.response_body.filter(|_| who.grant.sees_bodies());
    if detail.original_payload.is_some() || detail.response_body.is_some() {
        viewed(&state, &by, Viewed::delivery(&delivery)).await?;
    }
    Ok(Json(detail))
}

/// The event that the delivery is of, where it is still kept; without its payload for who may not see it.
pub(super) async fn event_of(
    store: &dyn Store,
    delivery: &Delivery,
    who: &Principal,
) -> Result<Option<EventRow>, ApiError> {
    let about = &delivery.about;
    let Some(id) = about.event_id.as_deref() else { return Ok(None) };
    let key = EventKey { org: about.org.as_deref(), source: about.source.as_deref(), id };
    let mut event = store.event(key).await?.into_iter().next();
    if let Some(event) = event.as_mut().filter(|_| !who.grant.sees_bodies()) {
        event.payload = None;
    }
    Ok(event)
}

fn detail(log: Log, sent: Sent<'_>, attempts: &[Attempt]) -> Detail {
    let last = attempts.last();
    let method = log.http_method.as_deref().unwrap_or_default();
    let (headers, body) = (sent.headers(method), sent.body(method));
    let url = log.target_url.as_deref().filter(|_| !method.is_empty());
    Detail {
        original_payload: sent.payload().and_then(Payload::of),
        request_payload: body.and_then(Payload::of),
        curl_command: url.map(|url| curl((method, url), &headers, body)),
        // Texts, numbers and times always have a JSON form.
        log: serde_json::to_value(log).unwrap_or_default(),
        request_headers: headers,
        response_headers: last.and_then(|a| RawValue::from_string(a.response_headers.clone()?).ok()),
        response_body: last.and_then(|a| a.response_body.clone()),
        response_body_truncated: last.and_then(|a| a.response_truncated),
        signature: None,
        should_retry: matches!(sent.delivery.state.status, DeliveryStatus::Pending | DeliveryStatus::Retrying),
        attempts: attempts.iter().map(Tried::of).collect(),
    }
}
