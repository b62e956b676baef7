//! Probes and metrics: open to everyone who reaches the port. They hold no payload and no secret; what fails is named by the
//! id of its integration.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::ApiState;

/// A part of the process and how it is. `detail` says what is wrong and what to do.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub name: String,
    pub ok: bool,
    /// Whether the process is of no use without it.
    #[serde(skip)]
    pub vital: bool,
    pub detail: String,
}

/// How the process is. Never blocks.
pub trait Health: Send + Sync {
    fn parts(&self) -> Vec<Part>;
}

/// 200 if every vital part is well, else 503; both name all parts.
pub async fn health(State(state): State<ApiState>) -> Response {
    let parts = state.health.parts();
    let (code, status) = match (parts.iter().all(|p| p.ok), parts.iter().all(|p| p.ok || !p.vital)) {
        (true, _) => (StatusCode::OK, "ok"),
        (false, true) => (StatusCode::OK, "degraded"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (code, Json(json!({"status": status, "parts": parts}))).into_response()
}

/// The process answers; what it depends on may be away.
pub async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

pub async fn metrics(State(state): State<ApiState>) -> Response {
    let form = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (form, (state.metrics)()).into_response()
}
