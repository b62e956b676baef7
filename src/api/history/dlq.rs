//! `/api/v1/dlq`: deliveries that no retry mends, and how they come back to life.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::forms::{self, Entry, Payload, Tried};
use super::logs::{self, event_of, filter, listed};
use super::views::{Viewed, viewed};
use super::{own, visible, words};
use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, Param, Principal, form, get, post};
use crate::api::error::{ApiError, Code};
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::api::spec::page;
use crate::catalog::audit::{Deed, Origin};
use crate::history::PART;
use crate::history::redrive::{DEAD, RedriveError};
use crate::history::store::DeliveryFilter;
use crate::model::delivery::DeliveryStatus;

/// How a 409 says that there is nothing to put back, in which it differs from those where nobody can.
pub const NO_LONGER_DEAD: &str = "is no longer dead";

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let many = get("/api/v1/dlq", Access::Read)
        .says("Dead letters", "Deliveries that no retry mends, newest first.")
        .params([Param::one_of("status", "In this state.", "FAILED, ABANDONED").many()])
        .params(logs::params())
        .answers(Answer::json(200, "A page.", page("entries", "Entry")));
    door.add(many, list, state.clone());
    let single = get("/api/v1/dlq/{id}", Access::Read)
        .says("Dead letters", "One dead letter, its payload and its attempts.")
        .params([own()])
        .answers(Answer::json(200, "The dead letter.", form("EntryDetail")));
    door.add(single, one, state.clone());
    let again = post("/api/v1/dlq/{id}/retry", Access::Write)
        .says("Dead letters", "Puts a dead letter back, once: the same delivery, its attempts counted on. 503 until history knows what was put back before.")
        .params([own()])
        .answers(Answer::json(202, "It will be tried.", form("Redriven")))
        .fails(&[409]);
    door.add(again, retry, state.clone());
}

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<impl Serialize>>, ApiError> {
    let statuses: Vec<DeliveryStatus> = words(&mut params, "status", "FAILED, ABANDONED");
    if statuses.iter().any(|status| !DEAD.contains(status)) {
        params.wrong("status", "must be FAILED or ABANDONED: others are no dead letters");
    }
    let statuses = match statuses.first() {
        Some(first) if statuses.iter().all(|status| status == first) => vec![*first],
        _ => DEAD.to_vec(),
    };
    let filter = DeliveryFilter { statuses, ..filter(&mut params) };
    listed(&state, ("entries", &filter), params, Entry::of).await
}

/// A dead letter and all that is known of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EntryDetail")]
pub(super) struct Detail {
    #[serde(flatten)]
    #[schemars(with = "Entry")]
    entry: Value,
    /// The payload of the event: JSON, or text, or base64 of other bytes. Null once it is no longer kept, and for who may not see it.
    #[schemars(with = "Option<Value>")]
    original_payload: Option<Payload>,
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
    if !DEAD.contains(&delivery.state.status) {
        let message = format!("delivery `{id}` is not dead: it is {}; see /api/v1/logs/{id}", delivery.state.status);
        return Err(ApiError::new(Code::NotFound, message));
    }
    let attempts = store.attempts(delivery.id).await?;
    let event = event_of(&*store, &delivery, &who).await?;
    let original_payload = event.and_then(|event| Payload::of(event.payload.as_deref()?));
    if original_payload.is_some() {
        viewed(&state, &by, Viewed::delivery(&delivery)).await?;
    }
    let snapshot = state.catalog.snapshot();
    let now = forms::current(&snapshot, &delivery);
    Ok(Json(Detail {
        // Texts, numbers and times always have a JSON form.
        entry: serde_json::to_value(Entry::of(delivery.clone(), now)).unwrap_or_default(),
        original_payload,
        attempts: attempts.iter().map(Tried::of).collect(),
    }))
}

/// A dead letter that will be tried.
#[derive(Serialize, JsonSchema)]
pub(super) struct Redriven {
    /// The delivery.
    id: String,
    /// `RETRYING`
    status: DeliveryStatus,
}

/// Puts the dead letter's record back into `deliveries`: the same delivery, its attempts counted on.
pub async fn retry(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    by: Origin,
) -> Result<(StatusCode, Json<Redriven>), ApiError> {
    let (_, delivery) = visible(&state, &id, params).await?;
    if DEAD.contains(&delivery.state.status) && forms::current(&*state.snapshot()?, &delivery).is_none() {
        let why = format!("the integration of delivery `{id}` was deleted, so nobody would deliver it");
        return Err(ApiError::new(Code::Conflict, why));
    }
    let at = state.credentials.clock.now();
    let told = Viewed::delivery(&delivery).entry(Deed::Redrive, (&by, at)).record();
    match state.redrives.put_back(delivery.id, told).await {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(Redriven { id, status: DeliveryStatus::Retrying }))),
        Err(error) => Err(refusal(&state, &id, &error)),
    }
}

/// Whoever asks again after a 503 puts nothing back twice.
fn refusal(state: &ApiState, id: &str, error: &RedriveError) -> ApiError {
    let conflict = |why: String| ApiError::new(Code::Conflict, why);
    let again = |why: String| ApiError::unavailable(format!("{why}; try again in a moment"));
    match error {
        RedriveError::Store(error) => error.clone().into(),
        RedriveError::Unknown => super::unknown(id),
        RedriveError::NotDead(_) | RedriveError::JustNow => {
            conflict(format!("delivery `{id}` {NO_LONGER_DEAD}: {error}"))
        }
        RedriveError::Gone => conflict(format!("delivery `{id}` cannot be put back: {error}")),
        RedriveError::NotYet | RedriveError::LetterAlone => {
            again(format!("delivery `{id}` is not put back now: {error}"))
        }
        RedriveError::Behind(_) => {
            let ill = state.health.parts().into_iter().find(|part| part.name == PART && !part.ok);
            let why = ill.map_or_else(String::new, |part| format!(", and it is not kept now: {}", part.detail));
            again(format!("delivery `{id}` is not put back now: {error}{why}"))
        }
        RedriveError::Busy => again(format!("delivery `{id}` is not put back now: {error}")),
        RedriveError::Unsettled(cause) => {
            tracing::warn!(%cause, id, "whether a dead letter was put back is not known");
            ApiError::unavailable(format!(
                "whether delivery `{id}` was put back is not known yet; who tries again finds out, and puts nothing back twice"
            ))
        }
        RedriveError::Log(error) => {
            tracing::warn!(%error, id, "a dead letter was not put back");
            again("the dead letter was not put back, for the log is not available".to_owned())
        }
    }
}
