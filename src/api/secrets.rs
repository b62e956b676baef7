//! `/api/v1/admin/secrets`: the keys of secrets.

use axum::Json;
use axum::extract::State;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;

use crate::api::ApiState;
use crate::api::door::{Access, Answer, Door, form, post};
use crate::api::error::ApiError;
use crate::api::params::Params;
use crate::api::spec::has;
use crate::catalog::audit::Origin;
use crate::catalog::kind::Key;

/// Resources that are named where they could not be sealed anew.
const NAMED: usize = 1_000;

/// What came of sealing everything anew.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Resealed {
    /// How many resources are under the newest key now.
    resealed: usize,
    /// How many were already.
    unchanged: usize,
    /// How many could not be opened; they stay as they are.
    failed_total: usize,
    /// Which, the first thousand.
    failed: Vec<Failed>,
}

/// A resource whose secrets could not be sealed anew.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NotResealed")]
struct Failed {
    /// Its kind.
    kind: &'static str,
    /// Its id.
    id: String,
    /// Why.
    message: String,
}

pub(super) fn schemas(all: &mut SchemaGenerator) {
    has::<Resealed>(all);
}

pub(super) fn routes(door: &mut Door, state: &ApiState) {
    let reseal = post("/api/v1/admin/secrets/reseal", Access::Admin)
        .says(
            "Secrets",
            "Seals every secret that is under an older key under the newest, which every process must have.",
        )
        .answers(Answer::json(200, "What came of it.", form("Resealed")));
    door.add(reseal, reseal_all, state.clone());
}

async fn reseal_all(State(state): State<ApiState>, params: Params, by: Origin) -> Result<Json<Resealed>, ApiError> {
    params.finish()?;
    state.snapshot()?;
    let done = state.writer.reseal(&by).await?;
    let failed_total = done.failed.len();
    let named = |(Key { kind, id }, message)| Failed { kind: kind.name(), id: id.to_string(), message };
    let failed = done.failed.into_iter().take(NAMED).map(named).collect();
    Ok(Json(Resealed { resealed: done.resealed, unchanged: done.unchanged, failed_total, failed }))
}
