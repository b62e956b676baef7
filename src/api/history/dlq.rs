//! `/api/v1/dlq`: deliveries that no retry mends, and how they come back to life.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::forms::{self, Entry, Payload, Tried};
use super::logs::{event_of, filter, listed};
use super::views::{Viewed, viewed};
use super::{visible, words};
use crate::api::ApiState;
use crate::api::door::Principal;
use crate::api::error::{ApiError, Code};
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::catalog::audit::Origin;
use crate::history::rows::{DeadLetter, Delivery};
use crate::history::store::DeliveryFilter;
use crate::model::delivery::DeliveryStatus;
use crate::model::ids::DeliveryId;
use crate::model::record::{Output, Record, header};
use crate::model::topic::Topic;
use crate::stream::log::{From, LogError};

/// How a 409 says that there is nothing to put back, in which it differs from those where nobody can.
pub const NO_LONGER_DEAD: &str = "is no longer dead";

const DEAD: [DeliveryStatus; 2] = [DeliveryStatus::Failed, DeliveryStatus::Abandoned];
/// For reading a dead letter back from the log.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Dead letters that were put back, until history shows it: a second click is not a second delivery. With the attempts that
/// each had, for a delivery may die again. One process answers history, so that its memory is enough.
#[derive(Debug, Default)]
pub struct Redrives(Mutex<BTreeMap<DeliveryId, u32>>);

const REMEMBERED: usize = 100_000;

impl Redrives {
    /// Whether the caller is the one to put it back.
    fn claim(&self, delivery: &Delivery) -> bool {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.get(&delivery.id) == Some(&delivery.state.attempts) {
            return false;
        }
        // Ids are in the order of time: the first is the oldest.
        while claimed.len() >= REMEMBERED && claimed.pop_first().is_some() {}
        claimed.insert(delivery.id, delivery.state.attempts);
        true
    }

    fn give_back(&self, delivery: &Delivery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&delivery.id);
    }
}

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<impl Serialize>>, ApiError> {
    let mut statuses: Vec<DeliveryStatus> = words(&mut params, "status", "FAILED, ABANDONED");
    if statuses.iter().any(|status| !DEAD.contains(status)) {
        params.wrong("status", "must be FAILED or ABANDONED: others are no dead letters");
    }
    if statuses.len() != 1 {
        statuses = DEAD.to_vec();
    }
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
) -> Result<(StatusCode, Json<Redriven>), ApiError> {
    let (store, delivery) = visible(&state, &id, params).await?;
    let conflict = |why: String| ApiError::new(Code::Conflict, why);
    if !DEAD.contains(&delivery.state.status) {
        return Err(conflict(format!("delivery `{id}` {NO_LONGER_DEAD}: it is {}", delivery.state.status)));
    }
    if forms::current(&*state.snapshot()?, &delivery).is_none() {
        return Err(conflict(format!("the integration of delivery `{id}` was deleted, so nobody would deliver it")));
    }
    let letter = store.dead_letter(delivery.id).await?.ok_or_else(|| not_yet(&id))?;
    if !state.redrives.claim(&delivery) {
        return Err(conflict(format!("delivery `{id}` {NO_LONGER_DEAD}: it was put back a moment ago")));
    }
    match put_back(&state, &delivery, letter).await {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(Redriven { id, status: DeliveryStatus::Retrying }))),
        Err(error) => {
            // Of unknown outcome it may be there: who tries again then risks a repeat under the same id, not a loss.
            state.redrives.give_back(&delivery);
            Err(error)
        }
    }
}

async fn put_back(state: &ApiState, delivery: &Delivery, letter: DeadLetter) -> Result<(), ApiError> {
    let record = read(state, delivery, letter).await.map_err(|error| log_error(&error))??;
    let output = Output { topic: Topic::Deliveries, partition: None, record };
    state.log.append(vec![output]).await.map(drop).map_err(|error| log_error(&error))
}

async fn read(state: &ApiState, delivery: &Delivery, letter: DeadLetter) -> Result<Result<Record, ApiError>, LogError> {
    let (partition, offset) = (letter.place.partition, letter.place.offset);
    let gone = || {
        let message =
            format!("the dead letter of delivery `{}` is gone from the log: retention deleted it", delivery.id);
        ApiError::new(Code::Conflict, message)
    };
    let mut reader = state.log.read(Topic::Dlq, partition, From::At(offset)).await?;
    let batch = match reader.next(1, READ_WITHIN).await {
        Err(LogError::OutOfRange { .. }) => return Ok(Err(gone())),
        other => other?,
    };
    let Some(found) = batch.records.into_iter().next() else {
        return Err(LogError::Unavailable(format!("the dead letter was not read within {READ_WITHIN:?}")));
    };
    let text = |name: &str| found.record.headers.text(name);
    if found.offset != offset || text(header::TG_DELIVERY) != Some(&delivery.id.to_string()) {
        return Ok(Err(gone()));
    }
    // It died again, and history has not met its newest letter yet.
    if text(header::TG_ATTEMPT).and_then(|n| n.parse().ok()) != Some(delivery.state.attempts) {
        return Ok(Err(not_yet(&delivery.id.to_string())));
    }
    Ok(Ok(found.record))
}

fn not_yet(id: &str) -> ApiError {
    ApiError::unavailable(format!("history has not met the dead letter of delivery `{id}` yet; try again in a moment"))
}

fn log_error(error: &LogError) -> ApiError {
    tracing::warn!(%error, "a dead letter was not put back");
    match error {
        // Without `Retry-After`: who tries again by itself may deliver it twice.
        LogError::UnknownOutcome(_) => ApiError::new(
            Code::ServiceUnavailable,
            "whether the dead letter was put back is not known: see whether its status changes before trying again",
        ),
        _ => ApiError::unavailable(
            "the dead letter was not put back, for the log is not available; try again in a moment",
        ),
    }
}
