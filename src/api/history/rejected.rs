//! `/api/v1/rejected`: records that were not understood.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::paging::{self, Paging};
use super::views::{Viewed, viewed};
use super::{dates, org, span, store};
use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, Param, Principal, get};
use crate::api::error::ApiError;
use crate::api::listing::Page;
use crate::api::params::Params;
use crate::api::spec::page;
use crate::catalog::audit::Origin;
use crate::history::rows::Rejected;
use crate::history::store::RejectedFilter;
use crate::model::time::Timestamp;

/// Characters of a value that a list shows; the record as a whole is in the topic.
const SHOWN: usize = 2_000;

/// A record that was not understood.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RejectedRecord")]
pub(super) struct Item {
    /// Its place in the topic `rejected`.
    id: String,
    /// Which stage rejected it.
    stage: String,
    /// Why, in a word.
    reason: String,
    /// Why.
    message: String,
    /// Where it was read.
    topic: String,
    /// The partition that its record lies in.
    partition: i32,
    /// The offset of its record.
    offset: i64,
    /// The organization.
    org_id: Option<String>,
    /// The event.
    event_id: Option<String>,
    /// The type of the event.
    event_type: Option<String>,
    /// Its headers.
    #[schemars(with = "Option<Value>")]
    headers: Option<Box<RawValue>>,
    /// What came, as text. Null for who may not see it.
    payload: Option<String>,
    /// Whether it is longer than what is shown.
    payload_truncated: bool,
    /// When.
    rejected_at: Timestamp,
}

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let many = get("/api/v1/rejected", Access::Read)
        .says("Rejected", "Records that were not understood, newest first, and why.")
        .params([org(), Param::text("stage", "Rejected by this stage."), Param::text("reason", "For this reason.")])
        .params(dates())
        .params(paging::params(false))
        .answers(Answer::json(200, "A page.", page("rejected", "RejectedRecord")));
    door.add(many, list, state.clone());
}

pub async fn list(
    State(state): State<ApiState>,
    mut params: Params,
    (who, by): (Principal, Origin),
) -> Result<Json<Page<impl Serialize>>, ApiError> {
    let (since, until) = span(&mut params);
    let (org, stage, reason) = (params.org(), params.text("stage"), params.text("reason"));
    let filter = RejectedFilter { org, stage, reason, since, until };
    let paging = Paging::numbered(&mut params);
    params.finish()?;
    let org = filter.org.as_ref().map(ToString::to_string);
    let listed = store(&state)?.rejected(&filter, &paging.asked()).await?;
    let sees = who.grant.sees_bodies();
    // One view for a page.
    if let (true, Some(first), Some(last)) = (sees, listed.items.first(), listed.items.last()) {
        let id = if first.place == last.place { name(first) } else { format!("{}..{}", name(first), name(last)) };
        viewed(&state, &by, Viewed { kind: "Rejected", id, org, source: None }).await?;
    }
    Ok(Json(paging.answer("rejected", listed, |_| None, |row| item(row, sees))))
}

fn name(row: &Rejected) -> String {
    format!("{}-{}", row.place.partition, row.place.offset)
}

fn item(row: Rejected, sees: bool) -> Item {
    let value = String::from_utf8_lossy(row.value.as_deref().unwrap_or_default());
    let payload: String = value.chars().take(SHOWN).collect();
    Item {
        id: name(&row),
        stage: row.stage,
        reason: row.reason,
        message: row.message,
        topic: row.topic,
        partition: row.from.partition.0,
        offset: row.from.offset.0,
        org_id: row.org,
        event_id: row.event_id,
        event_type: row.event_type,
        headers: RawValue::from_string(row.headers).ok(),
        payload_truncated: payload.len() < value.len(),
        payload: sees.then_some(payload),
        rejected_at: row.at,
    }
}
