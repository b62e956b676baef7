//! The HTTP API: routes, access, and the form of every answer.

mod age;
mod answer;
pub mod auth;
mod catalog;
mod conditions;
mod cors;
pub mod door;
mod draft;
pub mod error;
pub mod events;
mod history;
pub mod json;
pub mod limits;
mod listing;
mod observe;
mod params;
pub mod probes;
mod resources;
mod secrets;
pub mod spec;
mod streamed;
mod swagger;
#[cfg(test)]
mod tests;
mod uses;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use serde_json::Value;

pub use auth::{Auth, Tokens};
pub use cors::Origins;
pub use door::{AdminKey, Credentials, Door, Peer, Proxies};
pub use error::{ApiError, Code};
pub use history::{NO_LONGER_DEAD, Views};
pub use limits::{Limits, Rate, Rates};
pub use probes::{Health, Part};
pub use uses::Uses;

use crate::api::age::{Ages, aged};
use crate::api::door::{Access, Budget, Known, Route, identify};
use crate::catalog::resource::{Body, Resource};
use crate::catalog::{Catalog, Snapshot, Writer};
use crate::history::History;
use crate::history::redrive::Redrives;
use crate::model::retry::RetryPolicy;
use crate::stream::log::Log;

/// The largest body of a request; routes that take larger ones say so themselves.
const BODY_LIMIT: usize = 10 * 1_024 * 1_024;

/// What the routes work on.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Arc<Catalog>,
    pub writer: Arc<Writer>,
    pub credentials: Credentials,
    pub auth: Arc<Auth>,
    pub edge: Edge,
    /// Of integrations that do not say otherwise.
    pub retry: RetryPolicy,
    /// The log keeps what waits no longer than this, whatever an integration says.
    pub longest_wait: Duration,
    pub log: Arc<dyn Log>,
    pub history: Arc<History>,
    pub redrives: Arc<Redrives>,
    pub views: Arc<Views>,
    pub health: Arc<dyn Health>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What is asked of a request before it comes to a route.
#[derive(Clone)]
pub struct Edge {
    pub limits: Arc<Limits>,
    pub proxies: Arc<Proxies>,
    pub origins: Arc<Origins>,
    /// Whether the document is there to be tried in a browser too.
    pub swagger_ui: bool,
}

impl ApiState {
    /// A resource as it holds: an integration's deliveries wait no longer than the log keeps them.
    fn as_it_holds(&self, resource: &Resource) -> Resource {
        let mut held = resource.clone();
        if let Body::OutboundIntegration(one) = &mut held.body
            && one.delivery_ttl > self.longest_wait
        {
            Arc::make_mut(one).delivery_ttl = self.longest_wait;
        }
        held
    }

    /// In JSON.
    fn default_retry(&self) -> Value {
        // Numbers and durations always have a JSON form.
        serde_json::to_value(&self.retry).unwrap_or_default()
    }

    /// The snapshot to answer from; 503 until the catalog was read once.
    fn snapshot(&self) -> Result<Arc<Snapshot>, ApiError> {
        if self.catalog.is_loaded() {
            Ok(self.catalog.snapshot())
        } else {
            Err(ApiError::unavailable("the catalog is still being read; try again in a moment"))
        }
    }
}

/// The routes of the role `api`.
pub fn admin(door: &mut Door, state: &ApiState) {
    auth::routes(door, state);
    resources::routes(door, state);
    catalog::routes(door, state);
    history::routes(door, state);
    secrets::routes(door, state);
}

/// Probes, metrics, and what came in through the door, with one access rule, request ids, one error form and metrics. A body
/// limit that a route brings takes the place of the 10 MB.
pub fn router(mut door: Door, state: &ApiState) -> Router {
    probes::routes(&mut door, state);
    spec::routes(&mut door);
    if state.edge.swagger_ui {
        swagger::routes(&mut door);
    }
    let (router, routes) = door.into_parts();
    let paths = |wanted: fn(&Route) -> bool| routes.iter().filter(|r| wanted(r)).map(|r| r.path.clone()).collect();
    let known = Known {
        credentials: state.credentials.clone(),
        open: Arc::new(paths(|route| route.access == Access::Open)),
        unlimited: Arc::new(paths(|route| route.budget == Budget::None)),
        limits: state.edge.limits.clone(),
        proxies: state.edge.proxies.clone(),
    };
    let ages = Ages {
        paths: Arc::new(paths(|route| route.from_snapshot)),
        catalog: state.catalog.clone(),
        clock: state.credentials.clock.clone(),
    };
    // Outermost last: request id, log and metrics; other origins; body limit; who calls, and how often.
    router
        .fallback(no_route)
        .layer(from_fn_with_state(ages, aged))
        .layer(from_fn_with_state(known, identify))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(state.edge.origins.clone(), cors::cors))
        .layer(from_fn(observe::observe))
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    let message = format!("there is no route {method} {} in the roles of this process", uri.path());
    ApiError::new(Code::NotFound, message)
}
