//! The HTTP API: routes, access, and the form of every answer.

mod answer;
mod auth;
mod conditions;
mod draft;
pub mod error;
pub mod events;
mod history;
mod integrations;
pub mod json;
mod listing;
mod observe;
mod organizations;
mod params;
pub mod probes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub use auth::AdminKey;
pub use error::{ApiError, Code};
pub use history::{NO_LONGER_DEAD, Redrives};
pub use probes::{Health, Part};

use crate::catalog::resource::Resource;
use crate::catalog::{Catalog, Snapshot, Writer};
use crate::history::History;
use crate::model::retry::RetryPolicy;
use crate::stream::log::Log;

/// The largest body of a request; routes that take larger ones say so themselves.
const BODY_LIMIT: usize = 10 * 1_024 * 1_024;

/// What the routes work on.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Arc<Catalog>,
    pub writer: Arc<Writer>,
    pub admin_key: AdminKey,
    /// Of integrations that do not say otherwise.
    pub retry: RetryPolicy,
    /// The log keeps what waits no longer than this, whatever an integration says.
    pub longest_wait: Duration,
    pub log: Arc<dyn Log>,
    pub history: Arc<History>,
    pub redrives: Arc<Redrives>,
    pub health: Arc<dyn Health>,
    /// Renders the metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl ApiState {
    /// A resource as it holds: an integration's deliveries wait no longer than the log keeps them.
    fn shown(&self, resource: Resource) -> Resource {
        match resource {
            Resource::OutboundIntegration(mut one) if one.delivery_ttl > self.longest_wait => {
                Arc::make_mut(&mut one).delivery_ttl = self.longest_wait;
                Resource::OutboundIntegration(one)
            }
            other => other,
        }
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
pub fn admin(state: ApiState) -> Router {
    Router::new()
        .route("/api/v1/admin/organizations", get(organizations::list).post(organizations::create))
        .route(
            "/api/v1/admin/organizations/{orgId}",
            get(organizations::one).put(organizations::replace).delete(organizations::delete),
        )
        .route("/api/v1/outbound-integrations", get(integrations::list).post(integrations::create))
        .route(
            "/api/v1/outbound-integrations/{id}",
            get(integrations::one).put(integrations::replace).delete(integrations::delete),
        )
        .route(
            "/api/v1/outbound-integrations/{id}/enable",
            post(|state, id, params, headers| integrations::set_active(true, state, id, params, headers)),
        )
        .route(
            "/api/v1/outbound-integrations/{id}/disable",
            post(|state, id, params, headers| integrations::set_active(false, state, id, params, headers)),
        )
        .merge(history::routes())
        .with_state(state)
}

/// Probes, metrics, and `routes`, those of the process's roles by their full paths, all under one access rule, with request
/// ids, one error form and metrics. A body limit that a route brings takes the place of the 10 MB.
pub fn router(state: ApiState, routes: Router) -> Router {
    let probes = Router::new()
        .route("/health", get(probes::health))
        .route("/api/v1/health", get(probes::health))
        .route("/health/live", get(probes::live))
        .route("/health/ready", get(probes::health))
        .route("/metrics", get(probes::metrics))
        .with_state(state.clone());
    // Outermost last: request id, log and metrics; body limit; access.
    probes
        .merge(routes)
        .fallback(no_route)
        .layer(from_fn_with_state(state.admin_key, auth::guard))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(observe::observe))
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    let message = format!("there is no route {method} {} in the roles of this process", uri.path());
    ApiError::new(Code::NotFound, message)
}
