//! The resources of the catalog under one set of routes: a kind is served by a line in `COLLECTIONS`.

mod bulk;
mod filter;
mod handlers;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};

use crate::api::ApiState;
use crate::catalog::kind::Kind;

/// Where a kind is served, and as what a list of it is answered.
#[derive(Debug)]
pub struct Collection {
    pub kind: Kind,
    pub path: &'static str,
    pub items: &'static str,
}

const fn collection(kind: Kind, path: &'static str, items: &'static str) -> Collection {
    Collection { kind, path, items }
}

pub const COLLECTIONS: [Collection; 8] = [
    collection(Kind::Organization, "/api/v1/admin/organizations", "organizations"),
    collection(Kind::OrgUnit, "/api/v1/admin/org-units", "units"),
    collection(Kind::OutboundIntegration, "/api/v1/outbound-integrations", "integrations"),
    collection(Kind::Lookup, "/api/v1/lookups", "lookups"),
    collection(Kind::EventType, "/api/v1/event-types", "eventTypes"),
    collection(Kind::FieldSchema, "/api/v1/field-schemas", "fieldSchemas"),
    collection(Kind::Template, "/api/v1/templates", "templates"),
    collection(Kind::AlertRule, "/api/v1/admin/alerts", "alertRules"),
];

/// The state of the routes of one collection.
#[derive(Clone)]
struct Served {
    api: ApiState,
    of: &'static Collection,
}

impl FromRef<Served> for ApiState {
    fn from_ref(served: &Served) -> ApiState {
        served.api.clone()
    }
}

/// The routes of all collections.
pub fn routes(api: &ApiState) -> Router {
    COLLECTIONS.iter().map(|of| collection_routes(Served { api: api.clone(), of })).fold(Router::new(), Router::merge)
}

fn collection_routes(served: Served) -> Router {
    let path = served.of.path;
    let one = format!("{path}/{{id}}");
    let routes = Router::new()
        .route(path, get(handlers::list).post(handlers::create))
        .route(&one, get(handlers::one).put(handlers::replace).patch(handlers::merge).delete(handlers::delete))
        .route(&format!("{path}/bulk"), post(bulk::bulk))
        .route(&format!("{one}/duplicate"), post(handlers::duplicate))
        .route(&format!("{one}/enable"), post(handlers::enable))
        .route(&format!("{one}/disable"), post(handlers::disable));
    routes.with_state(served)
}
