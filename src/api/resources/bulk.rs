//! The same change of many resources at once: all are made in one transaction, or none.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use super::Served;
use crate::api::error::{ApiError, Code};
use crate::api::json::JsonBody;
use crate::api::params::Params;
use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition};
use crate::catalog::fields::{Fields, any_text};
use crate::catalog::kind::Kind;
use crate::catalog::schema::describe;
use crate::catalog::writer::WriteError;
use crate::model::problem::Problem;

/// In one request.
const MOST: usize = 500;

#[derive(Clone, Copy)]
enum Bulk {
    Enable,
    Disable,
    Delete,
}

const BULKS: &[(&str, Bulk)] = &[("ENABLE", Bulk::Enable), ("DISABLE", Bulk::Disable), ("DELETE", Bulk::Delete)];

/// How many were changed; the others were so already.
#[derive(Debug, Serialize)]
pub struct Done {
    changed: usize,
    unchanged: usize,
}

pub fn schema(kind: Kind) -> Value {
    let mut schema = Fields::sketch(ask);
    if !kind.can_be_disabled() {
        schema["properties"]["action"]["enum"] = json!(["DELETE"]);
    }
    describe(&mut schema, &[("action", "What is to be done with all of them."), ("ids", "Which: 500 at most.")]);
    schema
}

pub fn example(kind: Kind) -> Value {
    let id = crate::catalog::schema::example(kind)[kind.id_field()].clone();
    json!({"action": if kind.can_be_disabled() { "DISABLE" } else { "DELETE" }, "ids": [id]})
}

pub fn answer() -> Value {
    json!({"type": "object", "required": ["changed", "unchanged"], "properties": {
        "changed": {"type": "integer", "description": "How many were changed."},
        "unchanged": {"type": "integer", "description": "How many were so already."},
    }})
}

pub async fn bulk(
    State(served): State<Served>,
    mut params: Params,
    by: Origin,
    JsonBody(body): JsonBody,
) -> Result<Json<Done>, ApiError> {
    let org = served.owner(&mut params);
    params.finish()?;
    let (bulk, ids) = Fields::of(body).and_then(read).map_err(ApiError::invalid)?;
    let mut changes = Vec::with_capacity(ids.len());
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (at, id) in ids.iter().enumerate() {
        if !seen.insert(id) {
            problems.push(Problem::new(format!("ids[{at}]"), "is there twice"));
            continue;
        }
        let action = match bulk {
            Bulk::Enable => Action::SetActive(true),
            Bulk::Disable => Action::SetActive(false),
            Bulk::Delete => Action::Delete,
        };
        match served.visible(id, org.as_ref()) {
            Ok(was) => changes.push(Change::of(&was, Condition::None, action)),
            Err(error) => problems.push(Problem::new(format!("ids[{at}]"), error.message)),
        }
    }
    if !problems.is_empty() {
        return Err(ApiError::invalid(problems));
    }
    let made = served.api.writer.write_all(&changes, &by).await.map_err(told)?;
    let unchanged = made.iter().filter(|made| made.is_unchanged()).count();
    Ok(Json(Done { changed: made.len() - unchanged, unchanged }))
}

fn read(mut fields: Fields) -> Result<(Bulk, Vec<String>), Vec<Problem>> {
    let asked = ask(&mut fields);
    fields.finish(asked)
}

fn ask(fields: &mut Fields) -> Option<(Bulk, Vec<String>)> {
    fields.require("action");
    fields.require("ids");
    let bulk = fields.choice("action", BULKS);
    let ids = fields.list("ids", (MOST, any_text), |id| Ok::<_, String>(id.to_owned()));
    fields.refine("ids", || json!({"uniqueItems": true}));
    bulk.zip(ids)
}

/// A refusal names the resource that it is of.
fn told(error: WriteError) -> ApiError {
    let at = match &error {
        WriteError::Refused { at, .. } => Some(*at),
        _ => None,
    };
    let mut answer = ApiError::from(error);
    // It was there when it was looked for.
    if answer.code == Code::NotFound {
        answer.code = Code::Conflict;
    }
    if let Some(at) = at {
        answer.details.insert(0, Problem::new(format!("ids[{at}]"), answer.message.clone()));
    }
    answer
}
