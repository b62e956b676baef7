//! Logging in and out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;

use super::forms::{Login, NewPassword, Person, Session};
use super::password as passwords;
use super::token::Token;
use crate::api::ApiState;
use crate::api::door::{ClientAddress, Principal};
use crate::api::error::{ApiError, Code};
use crate::api::json::JsonBody;
use crate::api::params::Params;
use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition, Refusal, Tag};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::User;
use crate::catalog::resource::{Body, Resource};
use crate::catalog::writer::WriteError;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// The same whatever is wrong: who guesses does not learn which addresses are known here.
const WRONG: &str = "the email address or the password is wrong";

pub async fn login(
    State(state): State<ApiState>,
    params: Params,
    ClientAddress(address): ClientAddress,
    JsonBody(body): JsonBody,
) -> Result<Json<Session>, ApiError> {
    params.none()?;
    let Login { email, password } = Login::read(body)?;
    let snapshot = state.snapshot()?;
    let now = state.credentials.clock.now();
    state.auth.failures.begin(&email, address, now).map_err(wait)?;
    let found = snapshot.holder(Kind::User, &email.to_lowercase()).and_then(|key| snapshot.get(key));
    let user = found.and_then(user_of);
    let hash = user.as_ref().and_then(|user| user.password_hash.as_deref());
    let is_right = state.auth.passwords.is(password, hash).await?;
    match (found, user) {
        (Some(resource), Some(user)) if is_right && user.is_active => {
            state.auth.failures.was_right(&email, address, now);
            state.credentials.uses.note(&resource.key(), now);
            session(&state, resource, now)
        }
        (_, user) => {
            told(user.as_deref(), address);
            Err(ApiError::new(Code::Unauthorized, WRONG))
        }
    }
}

/// Whoever looks after the gateway sees guessing; what was typed may be a password in the wrong field.
fn told(user: Option<&User>, address: Option<IpAddr>) {
    let user = user.map(|user| user.id.to_string());
    tracing::info!(user, address = address.map(tracing::field::display), "a login was refused");
}

fn wait(wait: Duration) -> ApiError {
    let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
    let message = format!("too many wrong passwords; wait {seconds} s before the next try");
    ApiError { retry_after: Some(seconds), ..ApiError::new(Code::RateLimited, message) }
}

pub async fn refresh(State(state): State<ApiState>, params: Params, who: Principal) -> Result<Json<Session>, ApiError> {
    params.none()?;
    let user = user_of(&account(&state, &who)?).ok_or_else(gone)?;
    // Of the login that the token comes of: one that was revoked since it was looked at leaves nothing behind that counts.
    issued(&state, (&user, &who.token.ok_or_else(gone)?), state.credentials.clock.now())
}

pub async fn me(State(state): State<ApiState>, params: Params, who: Principal) -> Result<Json<Person>, ApiError> {
    params.none()?;
    let resource = account(&state, &who)?;
    user_of(&resource).map(|user| Json(Person::of(&user))).ok_or_else(gone)
}

pub async fn logout(
    State(state): State<ApiState>,
    params: Params,
    who: Principal,
    by: Origin,
) -> Result<StatusCode, ApiError> {
    params.none()?;
    let was = account(&state, &who)?;
    let user = user_of(&was).ok_or_else(gone)?;
    let patch = json!({"tokensFrom": user.tokens_end(was.revision.created_at, state.credentials.clock.now())});
    state.writer.write(Change::of(&was, Condition::None, Action::Merge(patch)), &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn password(
    State(state): State<ApiState>,
    params: Params,
    who: Principal,
    by: Origin,
    JsonBody(body): JsonBody,
) -> Result<Json<Session>, ApiError> {
    params.none()?;
    let NewPassword { old, new } = NewPassword::read(body)?;
    passwords::check(&new).map_err(|wrong| ApiError::invalid(vec![Problem::new("new", wrong)]))?;
    let was = account(&state, &who)?;
    let user = user_of(&was).ok_or_else(gone)?;
    let now = state.credentials.clock.now();
    // With a stolen token the password is guessed no faster than without.
    state.auth.failures.begin(&user.email, by.address, now).map_err(wait)?;
    if !state.auth.passwords.is(old, user.password_hash.as_deref()).await? {
        return Err(ApiError::invalid(vec![Problem::new("old", "is not the password")]));
    }
    state.auth.failures.was_right(&user.email, by.address, now);
    let hash = state.auth.passwords.hash(new).await?;
    let patch = json!({"passwordHash": hash});
    // The old password was compared with this version of the account.
    let condition = Condition::Versions(vec![Tag::of(&was.revision)]);
    let written = state.writer.write(Change::of(&was, condition, Action::Merge(patch)), &by).await;
    let changed = written.map_err(|error| match error {
        WriteError::Refused { refusal: Refusal::VersionMismatch { .. }, .. } => {
            ApiError::new(Code::Conflict, "the account was changed meanwhile: nothing was done; try again")
        }
        error => error.into(),
    })?;
    session(&state, &changed, now)
}

fn session(state: &ApiState, resource: &Resource, now: Timestamp) -> Result<Json<Session>, ApiError> {
    let user = user_of(resource).ok_or_else(gone)?;
    let from = user.tokens_count_from(resource.revision.created_at);
    issued(state, (&user, &Token { user: resource.key(), from, epoch: user.epoch.clone() }), now)
}

fn issued(state: &ApiState, (user, token): (&User, &Token), now: Timestamp) -> Result<Json<Session>, ApiError> {
    let issued = state.credentials.tokens.issue(token, now);
    let issued = issued.ok_or_else(|| ApiError::unavailable("no token can be made now; try again in a moment"))?;
    Ok(Json(Session::of(issued, user)))
}

/// The account of who asks, as it is now.
fn account(state: &ApiState, who: &Principal) -> Result<Resource, ApiError> {
    let found = who.token.as_ref().and_then(|token| state.catalog.snapshot().get(&token.user).cloned());
    found.ok_or_else(gone)
}

fn user_of(resource: &Resource) -> Option<Arc<User>> {
    match &resource.body {
        Body::User(user) => Some(Arc::clone(user)),
        _ => None,
    }
}

fn gone() -> ApiError {
    ApiError::new(Code::Unauthorized, "the account of this token is not there any more")
}
