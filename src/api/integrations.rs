//! `/api/v1/outbound-integrations`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

use crate::api::conditions::if_match;
use crate::api::draft::Draft;
use crate::api::error::{ApiError, Code};
use crate::api::json::JsonBody;
use crate::api::listing::{Listing, Page};
use crate::api::params::Params;
use crate::api::{ApiState, answer};
use crate::catalog::change::{Action, Change, Condition};
use crate::catalog::resource::{Key, Kind, Resource};
use crate::model::ids::{IntegrationId, OrgId};
use crate::model::integration::OutboundIntegration;

const PATH: &str = "/api/v1/outbound-integrations";

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<Resource>>, ApiError> {
    let listing = Listing::of(&mut params);
    let org = params.org();
    let event_type = params.text("eventType");
    let active = params.flag("isActive");
    params.finish()?;
    let takes = |one: &&Arc<OutboundIntegration>| {
        let typed = |wanted: &String| one.event_types.iter().any(|pattern| pattern.as_str() == wanted);
        active.is_none_or(|active| one.is_active == active)
            && event_type.as_ref().is_none_or(typed)
            && listing.takes(&one.name, &one.labels)
    };
    let snapshot = state.snapshot()?;
    let all = match &org {
        Some(org) => snapshot.org(org).map(|view| view.integrations()),
        None => Some(snapshot.integrations()),
    };
    let all = all.into_iter().flat_map(|all| all.values()).filter(takes);
    Ok(Json(listing.page("integrations", all, |one| state.shown(Resource::OutboundIntegration(one.clone())))))
}

pub async fn create(
    State(state): State<ApiState>,
    mut params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let org = params.org();
    params.finish()?;
    let draft = draft(&state, body).default("id", || Uuid::now_v7().to_string().into());
    let new = in_org(draft, org.as_ref()).read()?;
    let change = Change { key: new.key(), condition: Condition::None, action: Action::Create(new) };
    let made = state.writer.write(change).await?;
    Ok(answer::created(PATH, &state.shown(made)))
}

pub async fn one(State(state): State<ApiState>, Path(id): Path<String>, params: Params) -> Result<Response, ApiError> {
    let found = visible(&state, &id, params)?;
    Ok(answer::found(&state.shown(Resource::OutboundIntegration(found))))
}

pub async fn replace(
    State(state): State<ApiState>,
    (Path(id), params): (Path<String>, Params),
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let current = visible(&state, &id, params)?;
    let draft = draft(&state, body).fix("id", &id);
    let new = draft.default("orgId", || current.org_id.as_str().into()).read()?;
    change(&state, &current, (if_match(&headers), Action::Replace(new))).await
}

/// `POST .../enable` and `.../disable`.
pub async fn set_active(
    active: bool,
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let current = visible(&state, &id, params)?;
    change(&state, &current, (if_match(&headers), Action::SetActive(active))).await
}

pub async fn delete(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let current = visible(&state, &id, params)?;
    change(&state, &current, (if_match(&headers), Action::Delete)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(
    state: &ApiState,
    current: &OutboundIntegration,
    (condition, action): (Condition, Action),
) -> Result<Response, ApiError> {
    let change = Change { key: Key::OutboundIntegration(current.id.clone()), condition, action };
    Ok(answer::found(&state.shown(state.writer.write(change).await?)))
}

/// A body that says nothing of retries means the topology's.
fn draft(state: &ApiState, body: Value) -> Draft {
    // Numbers and durations always have a JSON form.
    let retry = || serde_json::to_value(&state.retry).unwrap_or_default();
    Draft::new(Kind::OutboundIntegration, body).default("retry", retry)
}

/// The organisation comes from the URL, else the body.
fn in_org(draft: Draft, org: Option<&OrgId>) -> Draft {
    match org {
        Some(org) => draft.fix("orgId", org.as_str()),
        None => draft,
    }
}

/// The integration of this id; one of another organisation than the URL names is not there.
fn visible(state: &ApiState, id: &str, mut params: Params) -> Result<Arc<OutboundIntegration>, ApiError> {
    let org = params.org();
    params.finish()?;
    let snapshot = state.snapshot()?;
    let found = IntegrationId::parse(id).ok().and_then(|id| snapshot.integration(&id).cloned());
    let found = found.filter(|found| org.is_none_or(|org| found.org_id == org));
    found.ok_or_else(|| ApiError::new(Code::NotFound, format!("there is no integration `{id}`")))
}
