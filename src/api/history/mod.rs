//! What happened: events, deliveries, dead letters and rejected records, answered from the history store.

pub(super) mod audit;
pub(super) mod changes;
mod dlq;
mod events;
pub(super) mod forms;
mod logs;
pub(super) mod paging;
mod rejected;
mod sent;
mod views;

use std::sync::Arc;

use chrono::NaiveDate;

pub use dlq::NO_LONGER_DEAD;
pub use views::Views;

use crate::api::ApiState;
use crate::api::door::{Door, Param};
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

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    events::routes(door, state);
    logs::routes(door, state);
    dlq::routes(door, state);
    rejected::routes(door, state);
    audit::routes(door, state);
}

/// The parameter that keeps others' rows out of a list.
fn org() -> Param {
    Param::org("Those of this organization.")
}

/// The same for one row.
fn own() -> Param {
    Param::org("The organization that it has to belong to.")
}

/// The parameters that `span` reads.
fn dates() -> [Param; 2] {
    [
        Param::date("startDate", "From this day (`2026-11-20`) or moment (RFC 3339) on."),
        Param::date("endDate", "Up to and with this day, UTC, or this moment."),
    ]
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::debug!(%error, "history could not be asked");
        let message = match error {
            StoreError::Away(_) => {
                format!("history cannot be asked now; events are taken and delivered without it: {error}")
            }
            StoreError::Slow(_) | StoreError::Busy => format!("history does not answer this: {error}"),
        };
        ApiError { retry_after: Some(AGAIN), ..ApiError::new(Code::ServiceUnavailable, message) }
    }
}

pub(super) fn store(state: &ApiState) -> Result<Arc<dyn Store>, ApiError> {
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

/// Parameters by which the type of events is asked for.
fn event_types() -> [Param; 2] {
    [Param::text("eventType", "Of this event type."), Param::text("type", "Another name of `eventType`.")]
}

fn event_type(params: &mut Params) -> Option<String> {
    let (one, other) = (params.text("eventType"), params.text("type"));
    if one.is_some() && other.is_some() {
        params.wrong("type", "is another name of `eventType`: give one of them");
    }
    one.or(other)
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
    if given.iter().any(|text| text.split(',').all(|word| word.trim().is_empty())) {
        params.wrong(name, format!("must be one of {known}, or left out"));
    }
    found
}

/// The delivery of this id, and the store that has it; one of another organization than the URL names is not there.
async fn visible(state: &ApiState, id: &str, mut params: Params) -> Result<(Arc<dyn Store>, Delivery), ApiError> {
    let org = params.org();
    params.finish()?;
    let store = store(state)?;
    let found = store.delivery(DeliveryId::parse(id).map_err(|_| unknown(id))?).await?;
    let found = found.filter(|one| org.is_none_or(|org| one.about.org.as_deref() == Some(org.as_str())));
    found.map(|found| (store, found)).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("history has no delivery `{id}`"))
}
