//! What the API is, as OpenAPI 3.1: made of the routes as they are declared.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::api::door::access::Access;
use crate::api::door::route::{Budget, Route};
use crate::api::error::Code;
use crate::catalog::kind::Kind;

const ABOUT: &str = "Events in, deliveries out: integrations, what became of events, and how the gateway is. Errors have one form \
                     (`Error`), with the path of each field that is wrong. Lists come in pages.";

/// The document. `forms` are the schemas that the routes refer to, by name.
pub fn document(routes: &[Route], forms: Map<String, Value>) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    let mut schemas = forms;
    schemas.insert("Error".to_owned(), error());
    for kind in Kind::ALL {
        schemas.insert(kind.name().to_owned(), kind.schema().clone());
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Tidegate", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    })
}

/// A reference to a schema by its name.
pub fn form(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": format!("For: {}", route.access.about()),
        "parameters": parameters(route),
        "responses": responses(route),
        "security": match route.access {
            Access::Open => json!([]),
            Access::Session => json!([{"bearer": []}]),
            _ => json!([{"apiKey": []}, {"bearer": []}]),
        },
    });
    if let Some((schema, required)) = &route.body {
        let content: Map<String, Value> =
            route.media.iter().map(|media| ((*media).to_owned(), json!({"schema": schema}))).collect();
        operation["requestBody"] = json!({"required": required, "content": content});
    }
    operation
}

/// `getLogsId` of `GET /api/v1/logs/{id}`; what lies outside of `/api/v1` says so.
fn operation_id(route: &Route) -> String {
    let (path, place) = route.path.strip_prefix("/api/v1").map_or((&*route.path, "AtRoot"), |path| (path, ""));
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut id = route.method.as_str().to_lowercase();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_uppercase());
        id.push_str(rest);
    }
    id + place
}

fn parameters(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| {
        json!({"name": name, "in": "path", "required": true, "description": "Which one.", "schema": {"type": "string"}})
    });
    let in_query = route
        .params
        .iter()
        .map(|param| json!({"name": param.name, "in": "query", "description": param.about, "schema": param.schema}));
    let mut all: Vec<Value> = in_path.chain(in_query).collect();
    if conditional(route) {
        all.push(json!({"name": "If-Match", "in": "header", "schema": {"type": "string"},
            "description": "The ETag of the version that is to be changed: 409 where another change came first."}));
    }
    all.into()
}

fn conditional(route: &Route) -> bool {
    let action = ["/enable", "/disable", "/restore"].iter().any(|action| route.path.ends_with(action));
    route.errors.contains(&409) && (action || matches!(route.method, Method::PUT | Method::PATCH | Method::DELETE))
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    for answer in &route.answers {
        let mut response = json!({"description": answer.about});
        if let Some(schema) = &answer.schema {
            response["content"][answer.media]["schema"] = schema.clone();
        }
        responses.insert(answer.status.to_string(), response);
    }
    for status in errors(route) {
        let content = json!({"application/json": {"schema": form("Error")}});
        let response = json!({"description": Code::about(status), "content": content});
        responses.entry(status.to_string()).or_insert(response);
    }
    Value::Object(responses)
}

/// What can go wrong, by what the route takes.
fn errors(route: &Route) -> BTreeSet<u16> {
    let mut errors: BTreeSet<u16> = route.errors.iter().copied().collect();
    errors.insert(400);
    errors.insert(503);
    if route.access != Access::Open {
        errors.extend([401, 403]);
    }
    if route.budget != Budget::None {
        errors.insert(429);
    }
    if route.path.contains('{') {
        errors.insert(404);
    }
    if route.body.is_some() {
        errors.extend([413, 415]);
    }
    errors
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error", "code", "statusCode", "timestamp", "requestId"],
        "properties": {
            "error": {"type": "string", "description": "What is wrong, for people."},
            "code": {"type": "string", "enum": Code::ALL, "description": "What is wrong, for programs."},
            "statusCode": {"type": "integer", "description": "The status of the answer."},
            "timestamp": {"type": "string", "format": "date-time", "description": "When."},
            "requestId": {"type": "string", "description": "The request, as logs name it."},
            "details": {"type": "array", "description": "Each thing that is wrong.", "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {
                    "path": {"type": "string", "description": "The field or parameter; empty: the whole."},
                    "message": {"type": "string", "description": "What is wrong with it, to be read after the path."},
                },
            }},
        },
    })
}
