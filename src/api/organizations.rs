//! `/api/v1/admin/organizations`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::api::conditions::if_match;
use crate::api::draft::Draft;
use crate::api::error::{ApiError, Code};
use crate::api::json::JsonBody;
use crate::api::listing::{Listing, Page};
use crate::api::params::Params;
use crate::api::{ApiState, answer};
use crate::catalog::change::{Action, Change, Condition};
use crate::catalog::resource::{Key, Kind, Resource};
use crate::model::ids::OrgId;

const PATH: &str = "/api/v1/admin/organizations";

pub async fn list(State(state): State<ApiState>, mut params: Params) -> Result<Json<Page<Resource>>, ApiError> {
    let listing = Listing::of(&mut params);
    params.finish()?;
    let snapshot = state.snapshot()?;
    let all = snapshot.orgs().values().filter_map(|view| view.organization());
    let all = all.filter(|org| listing.takes(&org.name, &org.labels));
    Ok(Json(listing.page("organizations", all, |org| Resource::Organization(org.clone()))))
}

pub async fn create(
    State(state): State<ApiState>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.finish()?;
    let new = Draft::new(Kind::Organization, body).read()?;
    let change = Change { key: new.key(), condition: Condition::None, action: Action::Create(new) };
    let made = state.writer.write(change).await?;
    Ok(answer::created(PATH, &made))
}

pub async fn one(State(state): State<ApiState>, Path(id): Path<String>, params: Params) -> Result<Response, ApiError> {
    params.finish()?;
    let key = key(&id)?;
    let found = key.find(&*state.snapshot()?).ok_or_else(|| unknown(&id))?;
    Ok(answer::found(&found))
}

pub async fn replace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.finish()?;
    let key = key(&id)?;
    let new = Draft::new(Kind::Organization, body).fix("orgId", &id).read()?;
    let change = Change { key, condition: if_match(&headers), action: Action::Replace(new) };
    Ok(answer::found(&state.writer.write(change).await?))
}

pub async fn delete(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    params.finish()?;
    let change = Change { key: key(&id)?, condition: if_match(&headers), action: Action::Delete };
    state.writer.write(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is no id cannot exist.
fn key(id: &str) -> Result<Key, ApiError> {
    OrgId::parse(id).map(Key::Organization).map_err(|_| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no organization `{id}`"))
}
