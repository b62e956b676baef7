//! `GET /api/v1/events`: what came in, and what became of it.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::forms::{self, Event, Log, Payload};
use super::paging::{self, Paging};
use super::views::{Viewed, viewed};
use super::{dates, event_type, event_types, org, own, span, store};
use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, Param, Principal, form, get};
use crate::api::error::{ApiError, Code};
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::api::spec::page;
use crate::catalog::audit::Origin;
use crate::history::rows::{Attempt, Delivery, EventRow, Kind, Rejected, Skip};
use crate::history::store::{Cursor, EventFilter, EventKey, Store};
use crate::model::delivery::DeliveryStatus;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let many = get("/api/v1/events", Access::Read)
        .says("Events", "Events that came in, newest first.")
        .params(event_types())
        .params([
            org(),
            Param::text("entityId", "About this entity."),
            Param::text("correlationId", "With this correlation id."),
            Param::text("search", "Whose id, entity id or correlation id is this."),
        ])
        .params(dates())
        .params(paging::params(true))
        .answers(Answer::json(200, "A page.", page("events", "Event")));
    door.add(many, list, state.clone());
    let single = get("/api/v1/events/{id}", Access::Read)
        .says("Events", "One event, its payload, its deliveries and all that happened to it.")
        .params([own(), Param::text("source", "Its source, where an id is not enough.")])
        .answers(Answer::json(200, "The event.", form("EventDetail")));
    door.add(single, one, state.clone());
}

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<impl Serialize>>, ApiError> {
    let (since, until) = span(&mut params);
    let filter = EventFilter {
        org: params.org(),
        event_type: event_type(&mut params),
        entity_id: params.text("entityId"),
        correlation_id: params.text("correlationId"),
        since,
        until,
        search: params.text("search"),
    };
    let paging = Paging::with_cursor(&mut params);
    params.finish()?;
    let listed = store(&state)?.events(&filter, &paging.asked()).await?;
    // Events of several sources may have one id, and one moment: no two have one place.
    let cursor =
        |row: &EventRow| Some(Cursor { at: row.at, id: format!("{}-{}", row.place.partition.0, row.place.offset.0) });
    Ok(Json(paging.answer("events", listed, cursor, Event::of)))
}

/// An event and what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EventDetail")]
pub(super) struct Detail {
    #[serde(flatten)]
    #[schemars(with = "Event")]
    event: Value,
    /// The payload: JSON, or text, or base64 of other bytes. Null once it is no longer kept, and for who may not see it.
    #[schemars(with = "Option<Value>")]
    payload: Option<Payload>,
    /// What became of it at each integration.
    deliveries: Vec<Log>,
    /// All that happened to it, from the first.
    timeline: Vec<Moment>,
}

/// One thing that happened to an event.
#[derive(Serialize, JsonSchema)]
struct Moment {
    /// When.
    at: Timestamp,
    /// What: `RECEIVED`, `MATCHED`, `SKIPPED`, `REJECTED`, `ATTEMPT`, `CANCELLED`, `EXPIRED`.
    kind: &'static str,
    #[serde(flatten)]
    #[schemars(with = "std::collections::BTreeMap<String, Value>")]
    more: Value,
}

pub async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut params: Params,
    (who, by): (Principal, Origin),
) -> Result<Json<impl Serialize>, ApiError> {
    let (org, source) = (params.org(), params.text("source"));
    params.finish()?;
    let store = store(&state)?;
    let key = EventKey { org: org.as_ref().map(|org| org.as_str()), source: source.as_deref(), id: &id };
    let event = only(store.event(key).await?, &id)?;
    let deliveries = store.deliveries_of(&event).await?;
    let timeline = timeline(&*store, &event, &deliveries).await?;
    let snapshot = state.catalog.snapshot();
    let form = |one: Delivery| {
        let now = forms::current(&snapshot, &one);
        Log::of(one, now)
    };
    let payload = event.payload.as_deref().filter(|_| who.grant.sees_bodies()).and_then(Payload::of);
    if payload.is_some() {
        viewed(&state, &by, Viewed::event(&event)).await?;
    }
    Ok(Json(Detail {
        payload,
        // Texts, numbers and times always have a JSON form.
        event: serde_json::to_value(Event::of(event)).unwrap_or_default(),
        deliveries: deliveries.into_iter().map(form).collect(),
        timeline,
    }))
}

/// An event is known by its organization, source and id: an id alone may not be enough.
fn only(mut found: Vec<EventRow>, id: &str) -> Result<EventRow, ApiError> {
    match (found.pop(), &found[..]) {
        (Some(event), []) => Ok(event),
        (Some(event), others) => {
            let path = if others.iter().all(|other| other.org == event.org) { "source" } else { "orgId" };
            Err(ApiError::invalid(vec![Problem::new(path, format!("must say which of the events with the id `{id}`"))]))
        }
        (None, _) => Err(ApiError::new(Code::NotFound, format!("history has no event `{id}`"))),
    }
}

async fn timeline(store: &dyn Store, event: &EventRow, deliveries: &[Delivery]) -> Result<Vec<Moment>, ApiError> {
    let place = json!({"partition": event.place.partition.0, "offset": event.place.offset.0});
    let mut moments = vec![Moment { at: event.at, kind: "RECEIVED", more: place }];
    moments.extend(store.skips(event).await?.iter().map(skipped));
    moments.extend(store.rejected_of(event).await?.iter().map(rejected));
    for delivery in deliveries {
        if delivery.state.status != DeliveryStatus::Skipped {
            moments.push(Moment { at: delivery.created_at, kind: "MATCHED", more: of(delivery) });
        }
        moments.extend(store.attempts(delivery.id).await?.iter().map(|attempt| tried(delivery, attempt)));
    }
    // Stable: what happened in one millisecond stays in the order of cause and effect.
    moments.sort_by_key(|moment| moment.at);
    Ok(moments)
}

fn of(delivery: &Delivery) -> Value {
    json!({"deliveryId": delivery.id, "integrationId": delivery.about.integration_id})
}

fn skipped(skip: &Skip) -> Moment {
    let more = json!({"integrationId": skip.integration_id, "deliveryId": skip.delivery, "reason": skip.reason});
    Moment { at: skip.at, kind: "SKIPPED", more }
}

fn rejected(record: &Rejected) -> Moment {
    let more = json!({"stage": record.stage, "reason": record.reason, "message": record.message});
    Moment { at: record.at, kind: "REJECTED", more }
}

fn tried(delivery: &Delivery, attempt: &Attempt) -> Moment {
    let mut more = of(delivery);
    more["attempt"] = attempt.attempt.into();
    more["outcome"] = json!(attempt.outcome);
    more["responseStatus"] = json!(attempt.response_status);
    more["errorCategory"] = json!(attempt.category);
    more["errorMessage"] = json!(attempt.error);
    more["nextAttemptAt"] = json!(attempt.next_attempt_at);
    more["durationMs"] = json!(attempt.duration_ms);
    let kind = match attempt.kind {
        Kind::Attempt => "ATTEMPT",
        Kind::Cancelled => "CANCELLED",
        Kind::Expired => "EXPIRED",
        Kind::Skipped => "SKIPPED",
    };
    Moment { at: attempt.at, kind, more }
}
