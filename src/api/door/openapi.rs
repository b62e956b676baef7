//! What the API is, as OpenAPI 3.1: made of the routes as they are declared.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::api::door::access::Access;
use crate::api::door::route::{Answer, Budget, Route};
use crate::api::error::Code;
use crate::catalog::kind::Kind;

const ABOUT: &str = "Events in, deliveries out: integrations, what became of events, and how the gateway is. Errors have one form \
                     (`Error`), with the path of each field that is wrong. Lists come in pages.";

/// The document. `forms` are the schemas that the routes refer to, by name.
pub fn document(routes: &[Route], forms: Map<String, Value>) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route, routes);
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
        "servers": [{"url": "/", "description": "The gateway that this document comes from."}],
        "tags": tags(routes),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": all_headers(),
            "responses": refusals(routes),
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key",
                    "description": "A key of an organization, or that of the administrator."},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "The token of somebody who has logged in."},
            },
        },
    })
}

/// Each tag that a route has, in the order of the routes.
fn tags(routes: &[Route]) -> Value {
    let mut known: Vec<&str> = Vec::new();
    for route in routes {
        if !known.contains(&route.tag) {
            known.push(route.tag);
        }
    }
    known.into_iter().map(|tag| json!({"name": tag, "description": about_tag(tag)})).collect()
}

fn about_tag(tag: &str) -> &str {
    match tag {
        "People" => "Logging in and out, and the own password.",
        "Events" => "Events in, and what became of each.",
        "Deliveries" => "Each event to each integration that hears it, with its attempts.",
        "Dead letters" => "Deliveries that no retry mends, and the way back.",
        "Rejected" => "Records that were not understood.",
        "Audit" => "Who changed what.",
        "Catalog" => "The whole configuration at once.",
        "Secrets" => "The keys under which secrets are kept.",
        "Probes" => "How the process is, for whoever watches it.",
        "About" => "The API itself.",
        kind => Kind::parse(kind).map_or("", Kind::purpose),
    }
}

/// A reference to a schema by its name.
pub fn form(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation(route: &Route, routes: &[Route]) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": format!("For: {}", route.access.about()),
        "parameters": parameters(route),
        "responses": responses(route, routes),
        "security": match route.access {
            Access::Open => json!([]),
            Access::Session => json!([{"bearer": []}]),
            _ => json!([{"apiKey": []}, {"bearer": []}]),
        },
    });
    if let Some((schema, required)) = &route.body {
        let mut content = json!({"schema": schema});
        if let Some(example) = &route.example {
            content["example"] = example.clone();
        }
        let mut content: Map<String, Value> =
            route.media.iter().map(|media| ((*media).to_owned(), content.clone())).collect();
        for (media, schema, example) in &route.others {
            content.insert((*media).to_owned(), json!({"schema": schema, "example": example}));
        }
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
        let schema = match name {
            "version" => json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}),
            _ => json!({"type": "string", "minLength": 1}),
        };
        json!({"name": name, "in": "path", "required": true, "description": "Which one.", "schema": schema})
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

fn responses(route: &Route, routes: &[Route]) -> Value {
    let mut responses = Map::new();
    for answer in &route.answers {
        let mut response = json!({"description": answer.about, "headers": headers(route, answer)});
        if let Some(schema) = &answer.schema {
            response["content"][answer.media]["schema"] = schema.clone();
        }
        let links = links(route, routes);
        if !links.is_empty() && answer.status < 300 {
            response["links"] = Value::Object(links);
        }
        responses.insert(answer.status.to_string(), response);
    }
    for code in refused(route) {
        let name = refusal_name(code, route.budget != Budget::None);
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        responses.entry(code.status().as_str()).or_insert(reference);
    }
    Value::Object(responses)
}

fn headers(route: &Route, answer: &Answer) -> Value {
    let own = [
        ("Location", answer.status == 201 && route.gives.is_some()),
        ("ETag", answer.has_etag),
        ("Age", answer.status == 200 && route.from_snapshot),
    ];
    let own: Vec<&str> = own.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    named_headers(&own, route.budget != Budget::None)
}

/// What routes refuse with: once for those that are limited, and once for the others.
fn refusals(routes: &[Route]) -> Value {
    let refusal = |code: Code, limited: bool| {
        let status = code.status();
        let own: &[&str] = match code {
            Code::Unauthorized => &["WWW-Authenticate"],
            Code::RateLimited | Code::ServiceUnavailable => &["Retry-After"],
            _ => &[],
        };
        let about = Code::about(status.as_u16());
        let example = json!({"error": about, "code": code, "statusCode": status.as_u16(),
            "timestamp": "2026-11-20T08:15:30.250Z", "requestId": "01a1fff8-5b1c-7c7e-9d5e-3f1f6a2b4c5d"});
        let content = json!({"application/json": {"schema": form("Error"), "example": example}});
        let response = json!({"description": about, "headers": named_headers(own, limited), "content": content});
        (refusal_name(code, limited), response)
    };
    let mut all = Map::new();
    for route in routes {
        all.extend(refused(route).into_iter().map(|code| refusal(code, route.budget != Budget::None)));
    }
    all.into()
}

fn refusal_name(code: Code, limited: bool) -> String {
    format!("{code:?}{}", if limited { "" } else { "Unlimited" })
}

/// Those of every answer, and these; `all_headers` says what each is.
fn named_headers(own: &[&str], limited: bool) -> Value {
    let limits: &[&str] = if limited { &["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] } else { &[] };
    let names = ["X-Request-Id"].iter().chain(own).chain(limits);
    let reference = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    names.map(|name| ((*name).to_owned(), reference(name))).collect::<Map<_, _>>().into()
}

/// What can be asked for by the id that this route answers with.
fn links(route: &Route, routes: &[Route]) -> Map<String, Value> {
    let Some(field) = route.gives else { return Map::new() };
    let path = route.path.strip_suffix("/{id}/duplicate").unwrap_or(&route.path);
    let one = format!("{path}/{{id}}");
    let about = routes.iter().filter(|other| other.path == one || other.path == format!("{one}/versions"));
    let link = |other: &Route| {
        let id = operation_id(other);
        let link = json!({"operationId": id, "parameters": {"id": format!("$response.body#/{field}")},
            "description": "Of the one that was made."});
        (id, link)
    };
    about.map(link).collect()
}

/// What can go wrong, by what the route takes.
fn refused(route: &Route) -> Vec<Code> {
    let mut statuses: BTreeSet<u16> = route.errors.iter().copied().collect();
    statuses.extend([400, 503]);
    if route.access != Access::Open {
        statuses.extend([401, 403]);
    }
    if route.budget != Budget::None {
        statuses.insert(429);
    }
    if route.path.contains('{') {
        statuses.insert(404);
    }
    if route.body.is_some() {
        statuses.extend([413, 415]);
    }
    Code::ALL.into_iter().filter(|code| statuses.contains(&code.status().as_u16())).collect()
}

/// Headers of answers: name, schema, what each says, and whether it is always there where it is named.
fn all_headers() -> Value {
    let header = |schema: Value, required: bool, about: &str| json!({"description": about, "required": required, "schema": schema});
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer", "minimum": 0});
    json!({
        "X-Request-Id": header(text(), true, "The request, as logs name it: the caller's own id, or a new one."),
        "ETag": header(text(), true, "The version, for `If-Match`."),
        "Location": header(text(), true, "Where it is now."),
        "WWW-Authenticate": header(text(), true, "Which credential is asked for."),
        "Retry-After": header(number(), false, "Seconds after which it is worth trying again: this request, not as many as the limit is."),
        "Age": header(number(), false, "Seconds since the catalog was last known to be current: there while the log \
            cannot be asked, and this is answered from what was read before (RFC 9111)."),
        "RateLimit-Limit": header(number(), false, "Requests that may be made in a row, where there is a limit."),
        "RateLimit-Remaining": header(number(), false, "How many are left."),
        "RateLimit-Reset": header(number(), false, "Seconds until all may be made again; `Retry-After` says when one may."),
    })
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
