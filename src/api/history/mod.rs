//! What happened: events, deliveries, dead letters and rejected records, answered from the history store.

mod dlq;
mod events;
mod forms;
mod logs;
mod paging;
mod rejected;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use chrono::NaiveDate;

pub use dlq::{NO_LONGER_DEAD, Redrives};

use crate::api::ApiState;
use crate::api::error::{ApiError, Code};
use crate::api::params::Params;
use crate::history::facts::from_word;
use crate::history::rows::Delivery;
use crate::history::store::{Store, StoreError};
use crate::model::ids::DeliveryId;
use crate::model::time::Timestamp;

/// Seconds after which a client asks again where the store is away.
const AGAIN: u32 = 5;
const DAY_MS: i64 = 24 * 3_600 * 1_000;

pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/events/{id}", get(events::one))
        .route("/api/v1/logs", get(logs::list))
        .route("/api/v1/logs/{id}", get(logs::one))
        .route("/api/v1/dlq", get(dlq::list))
        .route("/api/v1/dlq/{id}", get(dlq::one))
        .route("/api/v1/dlq/{id}/retry", post(dlq::retry))
        .route("/api/v1/rejected", get(rejected::list))
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::debug!(%error, "history could not be asked");
        let message = format!("history cannot be asked now; events are taken and delivered without it: {error}");
        ApiError { retry_after: Some(AGAIN), ..ApiError::new(Code::ServiceUnavailable, message) }
    }
}

fn store(state: &ApiState) -> Result<Arc<dyn Store>, ApiError> {
    Ok(state.history.store()?)
}

/// `startDate`, and `endDate` as the moment that is no longer meant.
fn span(params: &mut Params) -> (Option<Timestamp>, Option<Timestamp>) {
    let since = params.parsed("startDate", |text| moment(text).map(|(from, _)| from));
    let until = params.parsed("endDate", |text| moment(text).map(|(_, behind)| behind));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        params.wrong("endDate", "is before `startDate`");
    }
    (since, until)
}

/// The first moment of what a text names, and the one behind it: a day of UTC, or a millisecond.
fn moment(text: &str) -> Result<(Timestamp, Timestamp), &'static str> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let start = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis();
        return Ok((Timestamp(start), Timestamp(start + DAY_MS)));
    }
    // An unencoded `+` of an offset arrives as a space.
    let at = Timestamp::parse(&text.replace(' ', "+"));
    let at = at.ok_or("must be a day (`2026-11-20`) or a time (`2026-11-20T08:15:30Z`)")?;
    Ok((at, Timestamp(at.0.saturating_add(1))))
}

/// A parameter with a word of a fixed list.
fn one_word<T: serde::de::DeserializeOwned>(params: &mut Params, name: &'static str, known: &str) -> Option<T> {
    params.parsed(name, |word| from_word(word).ok_or_else(|| format!("must be one of {known}")))
}

/// The same, repeated or separated by commas.
fn words<T: serde::de::DeserializeOwned>(params: &mut Params, name: &'static str, known: &str) -> Vec<T> {
    let given = params.all(name);
    let mut found = Vec::new();
    for word in given.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty()) {
        match from_word(word) {
            Some(known) => found.push(known),
            None => params.wrong(name, format!("`{word}` must be one of {known}")),
        }
    }
    found
}

/// The delivery of this id; one of another organisation than the URL names is not there.
async fn visible(store: &dyn Store, id: &str, mut params: Params) -> Result<Delivery, ApiError> {
    let org = params.org();
    params.finish()?;
    let unknown = || ApiError::new(Code::NotFound, format!("history has no delivery `{id}`"));
    let found = store.delivery(DeliveryId::parse(id).map_err(|_| unknown())?).await?;
    found.filter(|one| org.is_none_or(|org| one.about.org.as_deref() == Some(org.as_str()))).ok_or_else(unknown)
}
