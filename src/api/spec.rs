//! `GET /openapi.json`: the API as a document.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::api::door::{Access, Answer, Door, document, form, get};
use crate::api::history::forms;
use crate::api::{auth, events, probes, resources, secrets};

/// The answers that have a type, by name.
fn answers() -> Map<String, Value> {
    let mut all = SchemaGenerator::new(
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into()),
    );
    forms::schemas(&mut all);
    events::schemas(&mut all);
    probes::schemas(&mut all);
    resources::versions::schemas(&mut all);
    secrets::schemas(&mut all);
    auth::schemas(&mut all);
    let mut forms = all.take_definitions(true);
    forms.extend(resources::bodies::schemas());
    forms.extend(events::schema::schemas());
    forms
}

/// Has the type among the answers.
pub fn has<T: JsonSchema>(all: &mut SchemaGenerator) {
    all.subschema_for::<T>();
}

/// A page of what has this name, under this key.
pub fn page(key: &str, name: &str) -> Value {
    json!({
        "type": "object",
        "required": [key, "total", "page", "limit", "hasMore"],
        "properties": {
            key: {"type": "array", "items": form(name), "description": "The items of this page."},
            "total": {"type": "integer", "description": "How many there are on all pages."},
            "totalIsEstimate": {"type": "boolean", "description": "There are more than `total`, which is where counting ends."},
            "page": {"type": "integer", "description": "Which page this is, from 1."},
            "limit": {"type": "integer", "description": "How many items a page has at most."},
            "hasMore": {"type": "boolean", "description": "Whether there is a page after this one."},
            "nextCursor": {"type": "string", "description": "Where the next page begins, as the parameter `cursor`."},
        },
    })
}

/// Of all routes that came in so far.
pub fn document_of(door: &Door) -> Value {
    document(door.routes(), answers())
}

pub(super) fn routes(door: &mut Door) {
    let own = get("/openapi.json", Access::Open).says("About", "This document.").answers(Answer::json(
        200,
        "OpenAPI 3.1.",
        json!({"type": "object"}),
    ));
    let text = document_of(door).to_string();
    door.add(own, serve, Bytes::from(text));
}

async fn serve(State(text): State<Bytes>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}
