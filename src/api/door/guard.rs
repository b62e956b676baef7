//! At each route: is the caller known, may they use it, and whose data is it about?

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::api::door::access::{Access, Principal};
use crate::api::door::address::ClientAddress;
use crate::api::door::caller::Caller;
use crate::api::door::route::Budget;
use crate::api::door::trust::Lost;
use crate::api::error::{ApiError, Code};
use crate::api::limits::{Limits, Meter, Standing, Subject};
use crate::api::observe::RequestId;
use crate::catalog::audit::Origin;
use crate::model::ids::OrgId;

/// The organization that the caller is bound to, among a request's extensions. `Params` hands no other one out.
#[derive(Clone, Debug)]
pub struct Bound(pub OrgId);

/// What a route asks of those who use it.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub access: Access,
    pub budget: Budget,
}

/// Lets those through who may use the route.
pub async fn check(State(rule): State<Rule>, mut request: Request, next: Next) -> Response {
    let access = rule.access;
    if access == Access::Open {
        return next.run(request).await;
    }
    let caller = request.extensions().get::<Caller>().cloned();
    let principal = match caller.map(|caller| caller.0) {
        Some(Ok(principal)) => principal,
        Some(Err(why)) => return why.into_response(),
        // Only where somebody built a router without the middleware.
        None => return ApiError::new(Code::Unauthorized, "callers are not known here").into_response(),
    };
    // What is refused counts too: nobody tries what they may not do as often as they like.
    let meter = meter(&request, (rule.budget, &principal));
    let standing = meter.count();
    let limited = standing.map_or(Ok(()), |standing| standing.check("requests of this organization"));
    if let Err(refused) = limited.and_then(|()| allowed(access, &principal, request.uri().query())) {
        return answered(refused.into_response(), standing);
    }
    if let Some(own) = &principal.org {
        request.extensions_mut().insert(Bound(own.clone()));
    }
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let ClientAddress(address) = request.extensions().get().copied().unwrap_or_default();
    request.extensions_mut().insert(Origin { actor: principal.actor.clone(), address, request_id });
    request.extensions_mut().insert(meter);
    let (mut request, lost) = Lost::watching(request, &principal);
    request.extensions_mut().insert(principal);
    let answer = next.run(request).await;
    answered(lost.take().map_or(answer, ApiError::into_response), standing)
}

/// # Errors
/// 403: they may not use the route, or ask about another organization than their own.
fn allowed(access: Access, principal: &Principal, query: Option<&str>) -> Result<(), ApiError> {
    if !principal.grant.may(access) {
        return Err(ApiError::new(Code::Forbidden, denied(access, principal)));
    }
    let abroad = |own| names_another(query.unwrap_or_default(), own);
    match principal.org.as_ref().is_some_and(abroad) {
        true => Err(ApiError::new(Code::Forbidden, "this credential is of another organization than `orgId` names")),
        false => Ok(()),
    }
}

/// Those who are bound to no organization look after the gateway: nothing limits them.
fn meter(request: &Request, (budget, principal): (Budget, &Principal)) -> Meter {
    let subject = match (budget, principal.org.clone()) {
        (Budget::None, _) | (_, None) => None,
        (Budget::Usual, Some(org)) => Some(Subject::Org(org)),
        (Budget::Publish, Some(org)) => Some(Subject::Publisher(org)),
    };
    Meter::of(request.extensions().get::<Arc<Limits>>().cloned(), subject)
}

/// With the headers that tell how often one may ask.
pub fn answered(mut response: Response, standing: Option<Standing>) -> Response {
    if let Some(standing) = standing {
        standing.tell(response.headers_mut());
    }
    response
}

fn denied(access: Access, principal: &Principal) -> &'static str {
    match access {
        Access::Publish | Access::Write if principal.token.is_some() => "a VIEWER may only read",
        Access::Open | Access::Session => "this route is for people who have logged in",
        Access::Publish => "this credential may not bring events in; a key needs the scope `publish`",
        Access::Read => "this credential may not read; a key needs the scope `read`",
        Access::Write => "this credential may not change anything; a key needs the scope `write`",
        Access::Oversee => "this route is for people, and no key opens it",
        Access::Manage => "this route is for people with the role USER or ADMIN",
        Access::Admin => "this route is for administrators",
    }
}

fn names_another(query: &str, own: &OrgId) -> bool {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.any(|(name, value)| name == "orgId" && !value.is_empty() && value != own.as_str())
}

/// Who asks: told by the guard, so that no change is made without.
impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        told(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        told(parts)
    }
}

fn told<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, ApiError> {
    let told = parts.extensions.get().cloned();
    told.ok_or_else(|| ApiError::new(Code::Unauthorized, "callers are not known here"))
}
