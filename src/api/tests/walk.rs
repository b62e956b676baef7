//! Every route of the document, as everybody: who may not use it is refused, and nobody gets to see what is another
//! organization's. A route that is new comes under it by being there; one that this does not know how to ask fails it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history::{Told, record};
use super::*;
use crate::api::auth::Token;
use crate::api::door::Access;
use crate::api::resources::COLLECTIONS;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::schema::example;
use crate::model::time::Clock as _;
use crate::model::topic::Topic;

const PASSWORD: &str = "correct horse battery";
/// In everything that is the other organization's.
const THEIRS: &str = "zanzibar";
const OURS: &str = "own";
const DELIVERY: &str = "0197a0b2-3c4d-8e5f-8a6b-00000000000f";
/// In payloads of our own.
const PAYLOAD: &str = "12345678901234567890.10";

/// What everybody may ask, and nothing else.
const OPEN: [&str; 8] = [
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "GET /api/v1/health",
    "GET /metrics",
    "GET /openapi.json",
    "GET /swagger/index.html",
    "POST /api/v1/auth/login",
];

/// What a route asks, as the specification of access says it, from its path and method alone.
fn asked(method: &str, path: &str) -> Access {
    let own = ["/api/v1/admin/api-keys", "/api/v1/admin/audit"];
    match (method, path) {
        _ if OPEN.contains(&format!("{method} {path}").as_str()) => Access::Open,
        _ if path.starts_with("/api/v1/auth/") => Access::Session,
        ("GET", _) if own.iter().any(|own| path.starts_with(own)) => Access::Oversee,
        _ if own.iter().any(|own| path.starts_with(own)) => Access::Manage,
        _ if path.starts_with("/api/v1/admin/") => Access::Admin,
        ("POST", "/api/v1/events" | "/api/v1/events/batch") => Access::Publish,
        ("GET", _) => Access::Read,
        _ => Access::Write,
    }
}

/// Who asks.
struct Caller {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    /// `None`: nobody knows them.
    may: Option<&'static [Access]>,
    /// Bound to 648.
    bound: bool,
    sees_bodies: bool,
}

impl Caller {
    fn stranger(name: &'static str, header: &'static str, value: impl Into<String>) -> Caller {
        let headers = if header.is_empty() { Vec::new() } else { vec![(header, value.into())] };
        Caller { name, headers, may: None, bound: false, sees_bodies: false }
    }

    fn of(name: &'static str, (header, value): (&'static str, String), may: &'static [Access]) -> Caller {
        Caller { name, headers: vec![(header, value)], may: Some(may), bound: true, sees_bodies: false }
    }

    fn seeing_bodies(self) -> Caller {
        Caller { sees_bodies: true, ..self }
    }

    fn everywhere(self) -> Caller {
        Caller { bound: false, ..self }
    }
}

/// Two organizations, each with one of everything.
async fn two_orgs() -> Told {
    let told = Told::start().await;
    let api = &told.api;
    assert_eq!(api.post(ORGS, json!({"orgId": "649", "name": THEIRS})).await.status, 201);
    for of in COLLECTIONS.iter().filter(|of| of.kind != Kind::Organization) {
        for (org, id) in [("648", OURS), ("649", THEIRS)] {
            let mut body = example(of.kind);
            for name in ["orgUnitRid", "parentRid"] {
                body.as_object_mut().unwrap().shift_remove(name);
            }
            body[of.kind.id_field()] = id.into();
            body["orgId"] = org.into();
            body["description"] = format!("of {id}").into();
            if of.kind == Kind::User {
                body["email"] = format!("{id}@x.example").into();
                body["password"] = PASSWORD.into();
            }
            let made = api.post(of.path, body).await;
            assert_eq!(made.status, 201, "{}: {}", of.kind, made.body);
        }
    }
    let theirs = [
        ("ce_specversion", "1.0"),
        ("ce_id", THEIRS),
        ("ce_type", "bill.created"),
        ("ce_source", THEIRS),
        ("ce_time", "2025-11-21T08:00:00Z"),
        ("ce_orgid", "649"),
    ];
    let payload = format!(r#"{{"name": "{THEIRS}"}}"#);
    let of = [&theirs[..], &[("tg_delivery", DELIVERY), ("tg_integration", THEIRS)]].concat();
    let dead = [&of[..], &[("tg_attempt", "1"), ("tg_status", "FAILED"), ("tg_error", "HTTP_4XX: 404")]].concat();
    let wrong =
        [&theirs[..], &[("__connect.errors.stage", "match"), ("__connect.errors.exception.class.name", "not_json")]]
            .concat();
    told.happened(Topic::Events, 10, record(THEIRS, &payload, &theirs)).await;
    told.happened(Topic::Deliveries, 11, record(THEIRS, &payload, &of)).await;
    let attempt = json!({"kind": "attempt", "deliveryId": DELIVERY, "eventId": THEIRS, "eventType": "bill.created",
        "orgId": "649", "integrationId": THEIRS, "integrationName": THEIRS, "targetUrl": format!("https://{THEIRS}.example"),
        "httpMethod": "POST", "trigger": "EVENT", "attempt": 1, "maxAttempts": 3, "outcome": "DEAD", "status": "FAILED",
        "startedAt": "2025-11-21T08:00:01Z", "durationMs": 12.5, "responseStatus": 404, "errorCategory": "HTTP_4XX",
        "errorMessage": THEIRS, "responseBody": THEIRS, "responseBodyTruncated": false});
    told.happened(Topic::Attempts, 12, record(DELIVERY, &attempt.to_string(), &[])).await;
    told.happened(Topic::Dlq, 13, record(THEIRS, &payload, &dead)).await;
    told.happened(Topic::Rejected, 14, record(THEIRS, &payload, &wrong)).await;
    told
}

/// The ids in a route's path: ours and theirs.
fn ids(path: &str) -> (&'static str, &'static str) {
    if path.starts_with("/api/v1/logs/") || path.starts_with("/api/v1/dlq/") {
        return (super::history::DEAD, DELIVERY);
    }
    if path.starts_with("/api/v1/events/") {
        return ("e%2F1", THEIRS);
    }
    let known = COLLECTIONS.iter().find(|of| path.starts_with(&format!("{}/", of.path)));
    match known.unwrap_or_else(|| panic!("the walk knows no id for {path}: give it one")).kind {
        Kind::Organization => ("648", "649"),
        _ => (OURS, THEIRS),
    }
}

fn filled(path: &str, id: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "{id}" => parts.push(id.to_owned()),
            "{version}" => parts.push("1".to_owned()),
            part if part.starts_with('{') => panic!("the walk does not know {part} of {path}: say what it is"),
            part => parts.push(part.to_owned()),
        }
    }
    parts.join("/")
}

async fn key(api: &Api, id: &str, more: Value) -> String {
    let mut body = json!({"id": id, "orgId": "648", "name": id});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = api.post("/api/v1/admin/api-keys", body).await;
    made.body["key"].as_str().unwrap_or_else(|| panic!("{}", made.body)).to_owned()
}

async fn person(api: &Api, id: &str, role: &str) -> String {
    let org = (role != "ADMIN").then_some("648");
    let email = format!("{id}@x.example");
    let body = json!({"id": id, "email": email, "role": role, "orgId": org, "password": PASSWORD});
    let made = api.post("/api/v1/admin/users", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    format!("Bearer {}", api.token(&email, PASSWORD).await)
}

async fn callers(api: &Api) -> Vec<Caller> {
    use Access::{Admin, Manage, Open, Oversee, Publish, Read, Session, Write};
    let bearer = |value: String| ("authorization", value);
    let old = person(api, "old", "ADMIN").await;
    let over = key(api, "over", json!({"scopes": ["write"], "expiresAt": "2025-11-22T00:00:00Z"})).await;
    api.clock.advance(Duration::from_secs(8 * 24 * 3_600));
    // What is over is refused for that: whatever else is to be refused is made from here on.
    let out = person(api, "out", "ADMIN").await;
    assert_eq!(api.call("POST", "/api/v1/auth/logout", &[("authorization", &out)], "").await.status, 204);
    let gone = person(api, "gone", "ADMIN").await;
    assert_eq!(api.delete("/api/v1/admin/users/gone").await.status, 204);
    let off = person(api, "off", "ADMIN").await;
    assert_eq!(api.post("/api/v1/admin/users/off/disable", json!({})).await.status, 200);
    let revoked = key(api, "revoked", json!({"scopes": ["write"]})).await;
    assert_eq!(api.post("/api/v1/admin/api-keys/revoked/disable", json!({})).await.status, 200);
    let admin = person(api, "boss", "ADMIN").await;
    let signed = admin.rsplit_once('.').unwrap().0.to_owned();
    let claims = signed.split('.').nth(1).unwrap().to_owned();
    let none = format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.");
    // As ours are, for as long, and for an account that is there.
    let other = Tokens::of("YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=", &[]).unwrap();
    let epoch = api.epoch_of("boss");
    let boss = Token { user: Key::of(Kind::User, "boss").unwrap(), from: api.clock.now(), epoch };
    let forged = other.issue(&boss, api.clock.now()).unwrap().token;
    let scoped =
        |id: &'static str, scopes: Value| async move { ("x-api-key", key(api, id, json!({"scopes": scopes})).await) };
    vec![
        Caller::stranger("nobody", "", ""),
        Caller::stranger("a wrong key", "x-api-key", "tg_wrong"),
        Caller::stranger("an expired key", "x-api-key", over),
        Caller::stranger("a revoked key", "x-api-key", revoked),
        Caller::stranger("an expired token", "authorization", old),
        Caller::stranger("a revoked token", "authorization", out),
        Caller::stranger("a token of nobody", "authorization", gone),
        Caller::stranger("a token of a disabled account", "authorization", off),
        Caller::stranger("a token without a signature", "authorization", signed + "."),
        Caller::stranger("a token with alg none", "authorization", none),
        Caller::stranger("a token under another key", "authorization", format!("Bearer {forged}")),
        Caller::stranger("a token that is none", "authorization", "Bearer x.y.z"),
        Caller::of(
            "the admin key",
            ("x-api-key", KEY.to_owned()),
            &[Open, Publish, Read, Write, Oversee, Manage, Admin],
        )
        .everywhere()
        .seeing_bodies(),
        Caller::of("ADMIN", bearer(admin), &[Open, Session, Publish, Read, Write, Oversee, Manage, Admin])
            .everywhere()
            .seeing_bodies(),
        Caller::of(
            "USER",
            bearer(person(api, "user", "USER").await),
            &[Open, Session, Publish, Read, Write, Oversee, Manage],
        )
        .seeing_bodies(),
        Caller::of("VIEWER", bearer(person(api, "viewer", "VIEWER").await), &[Open, Session, Read, Oversee]),
        Caller::of("a key to read", scoped("reads", json!(["read"])).await, &[Open, Read]),
        Caller::of("a key to write", scoped("writes", json!(["write"])).await, &[Open, Publish, Read, Write]),
        Caller::of("a key to publish", scoped("publishes", json!(["publish"])).await, &[Open, Publish]),
        Caller::of("a key to read bodies", scoped("sees", json!(["read", "bodies"])).await, &[Open, Read])
            .seeing_bodies(),
    ]
}

/// Method and path of every route.
async fn routes(api: &Api) -> Vec<(String, String)> {
    let document = api.call("GET", "/openapi.json", &[], "").await.body;
    let paths: BTreeMap<String, Value> = serde_json::from_value(document["paths"].clone()).unwrap();
    let of = |(path, item): (String, Value)| {
        let methods: Vec<String> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        methods.into_iter().map(move |method| (method, path.clone()))
    };
    paths.into_iter().flat_map(of).collect()
}

fn event_of(org: &str) -> Value {
    json!({"orgId": org, "eventType": "bill.created", "payload": {}})
}

async fn ask(api: &Api, caller: &Caller, (method, uri): (&str, &str), body: &str) -> Answer {
    let mut headers: Vec<(&str, &str)> = vec![("content-type", "application/json")];
    headers.extend(caller.headers.iter().map(|(name, value)| (*name, value.as_str())));
    api.call(method, uri, &headers, body.to_owned()).await
}

#[tokio::test]
async fn everybody_gets_what_they_may_have_and_nothing_else() {
    let told = two_orgs().await;
    let api = &told.api;
    let (callers, routes) = (callers(api).await, routes(api).await);
    assert!(routes.len() > 90, "{}", routes.len());
    for caller in &callers {
        for (method, path) in &routes {
            let asks = asked(method, path);
            // Nobody's, so that who may change everything changes nothing.
            let uri = filled(path, "nobody-has-this");
            // They would put the caller out.
            let ends = caller.may.is_some() && path.ends_with("/auth/logout");
            if ends && caller.may.is_some_and(|may| may.contains(&Access::Session)) {
                continue;
            }
            let answer = ask(api, caller, (method, &uri), "{}").await;
            let (status, who) = (answer.status.as_u16(), format!("{} at {method} {path}", caller.name));
            match caller.may {
                _ if asks == Access::Open => assert_ne!(status, 403, "{who}"),
                None => {
                    assert_eq!(status, 401, "{who}");
                    assert_error(&answer, 401, "UNAUTHORIZED");
                }
                Some(may) if may.contains(&asks) => {
                    assert!(!matches!(status, 401 | 403 | 405 | 429 | 500), "{who}: {status} {}", answer.text)
                }
                Some(_) => {
                    assert_eq!(status, 403, "{who}");
                    assert_error(&answer, 403, "FORBIDDEN");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_another_organizations_is_seen_and_changed_by_nobody() {
    let told = two_orgs().await;
    let api = &told.api;
    let (callers, routes) = (callers(api).await, routes(api).await);
    let written = || {
        let of = |topic| api.topics.records(topic, 0).len();
        (api.log.0.written().len(), of(Topic::Deliveries), of(Topic::Events))
    };
    let before = written();
    for caller in callers.iter().filter(|caller| caller.bound) {
        let may = |asks| caller.may.is_some_and(|may| may.contains(&asks));
        for (method, path) in &routes {
            let asks = asked(method, path);
            if asks == Access::Open || path.starts_with("/api/v1/auth/") {
                continue;
            }
            let who = format!("{} at {method} {path}", caller.name);
            let by_id = path.contains("{id}");
            let uri = if by_id { filled(path, ids(path).1) } else { path.clone() };
            let abroad = ask(api, caller, (method, &format!("{uri}?orgId=649")), "{}").await;
            assert_eq!(abroad.status, 403, "{who} with another's orgId");
            assert_error(&abroad, 403, "FORBIDDEN");
            // Of those without a parameter in the path, the ones that change take what they are about from the body.
            let bodies = match (by_id, method.as_str()) {
                (_, "GET") => vec![String::new()],
                (true, _) if path.ends_with("/restore") => vec![json!({"version": 1}).to_string()],
                (true, _) => vec!["{}".to_owned()],
                (false, _) => vec![
                    json!({"orgId": "649", "id": "x", "rid": "x", "name": "x"}).to_string(),
                    json!({"action": "DELETE", "ids": [THEIRS]}).to_string(),
                    event_of("649").to_string(),
                    json!([event_of("649")]).to_string(),
                ],
            };
            for body in bodies {
                let answer = ask(api, caller, (method, &uri), &body).await;
                let status = answer.status.as_u16();
                // What was asked for is repeated; nothing else of theirs is.
                let text = answer.text.replace(&format!("`{THEIRS}`"), "");
                assert!(!text.contains(THEIRS), "{who}: {text}");
                match may(asks) {
                    false => assert_eq!(status, 403, "{who}"),
                    true if by_id => assert_eq!(status, 404, "{who}: {}", answer.text),
                    true if method == "GET" => assert_eq!(status, 200, "{who}: {}", answer.text),
                    true => assert_eq!(status, 400, "{who}: {}", answer.text),
                }
            }
            // What is their own does not become another's.
            if by_id && may(asks) && (method == "PATCH" || path.ends_with("/duplicate")) {
                let moved = ask(api, caller, (method, &filled(path, ids(path).0)), r#"{"orgId": "649"}"#).await;
                assert_eq!(moved.status, 400, "{who}: {}", moved.text);
            }
        }
    }
    assert_eq!(before, written(), "something was changed");
}

#[tokio::test]
async fn what_is_their_own_is_seen_by_who_may_and_payloads_by_who_may_see_them() {
    let told = two_orgs().await;
    let api = &told.api;
    let (callers, routes) = (callers(api).await, routes(api).await);
    let mut seen = BTreeMap::<&str, usize>::new();
    for caller in callers.iter().filter(|caller| caller.may.is_some()) {
        for (_, path) in routes.iter().filter(|(method, _)| method == "GET") {
            let asks = asked("GET", path);
            if asks == Access::Open || asks == Access::Session || !caller.may.is_some_and(|may| may.contains(&asks)) {
                continue;
            }
            let uri = if path.contains("{id}") { filled(path, ids(path).0) } else { path.clone() };
            let answer = ask(api, caller, ("GET", &uri), "").await;
            // The history of this test has no audit, which versions are of.
            let expected = if path.contains("{version}") { 404 } else { 200 };
            assert_eq!(answer.status, expected, "{} at {uri}: {}", caller.name, answer.text);
            if answer.text.contains(PAYLOAD) || answer.text.contains("not here") {
                assert!(caller.sees_bodies, "{} sees a payload at {uri}: {}", caller.name, answer.text);
                *seen.entry(caller.name).or_default() += 1;
            }
        }
    }
    let expected = [("ADMIN", 3), ("USER", 3), ("a key to read bodies", 3), ("the admin key", 3)];
    assert_eq!(seen, BTreeMap::from(expected), "an event, a log and a dead letter");
}
