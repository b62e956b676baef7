//! Probes and metrics: open to everyone who reaches the port. They hold no payload and no secret; what fails is named by the
//! id of its integration.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, form, get};
use crate::api::spec::has;

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let healthy = |path: &str, about| {
        get(path, Access::Open)
            .unlimited()
            .says("Probes", about)
            .answers(Answer::json(200, "All that is vital is well.", form("Wellness")))
            .answers(Answer::json(503, "Something vital is not.", form("Wellness")))
    };
    door.add(healthy("/health", "How the process and its parts are."), health, state.clone());
    door.add(healthy("/api/v1/health", "How the process and its parts are."), health, state.clone());
    door.add(healthy("/health/ready", "Whether the process can do its work."), health, state.clone());
    let alive = Answer::json(200, "It does.", form("Alive"));
    let answers = get("/health/live", Access::Open).unlimited().says("Probes", "Whether the process answers.");
    door.add(answers.answers(alive), live, ());
    let text =
        Answer { media: "text/plain", ..Answer::json(200, "Prometheus' text format.", json!({"type": "string"})) };
    let shown = get("/metrics", Access::Open).unlimited().says("Probes", "Metrics.").answers(text);
    door.add(shown, metrics, state.clone());
}

pub(super) fn schemas(all: &mut SchemaGenerator) {
    has::<Wellness>(all);
    has::<Alive>(all);
}

/// How the process is.
#[derive(Debug, Serialize, JsonSchema)]
struct Wellness {
    /// `ok`, `degraded` (what is not vital is not well) or `failing`.
    status: &'static str,
    /// Its parts.
    parts: Vec<Part>,
}

/// That the process answers.
#[derive(Debug, Serialize, JsonSchema)]
struct Alive {
    /// `ok`
    status: &'static str,
}

/// A part of the process and how it is. `detail` says what is wrong and what to do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Part {
    /// Which part.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// Whether the process is of no use without it.
    #[serde(skip)]
    pub vital: bool,
    /// What it is doing, or what is wrong and what to do.
    pub detail: String,
}

/// How the process is. Never blocks.
pub trait Health: Send + Sync {
    fn parts(&self) -> Vec<Part>;
}

/// 200 if every vital part is well, else 503; both name all parts.
async fn health(State(state): State<ApiState>) -> Response {
    let parts = state.health.parts();
    let (code, status) = match (parts.iter().all(|p| p.ok), parts.iter().all(|p| p.ok || !p.vital)) {
        (true, _) => (StatusCode::OK, "ok"),
        (false, true) => (StatusCode::OK, "degraded"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (code, Json(Wellness { status, parts })).into_response()
}

/// The process answers; what it depends on may be away.
async fn live() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

async fn metrics(State(state): State<ApiState>) -> Response {
    let form = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (form, (state.metrics)()).into_response()
}
