//! The routes as a client sees them, on a catalog in memory.

mod access;
mod audit;
mod away;
mod bad_input;
mod catalog;
mod collections;
mod history;
mod limits;
mod login;
mod resources;
mod schemas;
mod sessions;
mod spec;
mod swagger;
mod walk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::api::{
    AdminKey, ApiState, Credentials, Door, Edge, Health, Limits as Often, Origins, Part, Proxies, Rates, Tokens, Uses,
    admin, events, router,
};
use crate::catalog::fake::SharedFake;
use crate::catalog::seal::Keyring;
use crate::catalog::writer::{Limits, Writer};
use crate::catalog::{Catalog, Follower};
use crate::history::History;
use crate::history::redrive::Redrives;
use crate::ingest::accept::{Ingest, KnownOrgs};
use crate::model::ids::{Offset, OrgId};
use crate::model::retry::RetryPolicy;
use crate::model::time::{Clock as _, ManualClock, Timestamp};
use crate::stream::fake::FakeLog;
use crate::stream::log::LogError;

const KEY: &str = "a-key-for-tests";
const SECRET: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
const ORGS: &str = "/api/v1/admin/organizations";
const INTEGRATIONS: &str = "/api/v1/outbound-integrations";
const EVENTS: &str = "/api/v1/events";
/// As a producer sends one.
const EVENT: &str = r#"{"eventType": "bill.created", "payload": {"amount": 1}}"#;

struct Api {
    router: Router,
    log: SharedFake,
    catalog: Arc<Catalog>,
    /// All topics but the catalog.
    topics: FakeLog,
    history: Arc<History>,
    clock: Arc<ManualClock>,
    well: Arc<Wellness>,
    uses: Arc<Uses>,
    _following: JoinSet<Result<(), LogError>>,
}

/// What a request meets before it comes to a route: nothing, as a rule.
struct Around {
    rates: Rates,
    proxies: &'static str,
    origins: Vec<String>,
    swagger_ui: bool,
}

impl Default for Around {
    fn default() -> Self {
        Around { rates: Rates::NONE, proxies: "192.0.2.1/32", origins: Vec::new(), swagger_ui: true }
    }
}

impl Around {
    fn edge(self, catalog: Arc<Catalog>, clock: Arc<ManualClock>) -> Edge {
        Edge {
            limits: Arc::new(Often::new(self.rates, catalog, clock)),
            proxies: Arc::new(Proxies(vec![self.proxies.parse().unwrap()])),
            origins: Arc::new(Origins(self.origins)),
            swagger_ui: self.swagger_ui,
        }
    }
}

/// Those of the catalog, which is as new as it gets.
struct Organizations(Arc<Catalog>);

#[async_trait]
impl KnownOrgs for Organizations {
    fn knows(&self, org: &OrgId) -> bool {
        self.0.snapshot().organization(org).is_some()
    }

    fn position(&self) -> Offset {
        self.0.snapshot().position()
    }

    async fn catch_up(&self) -> bool {
        true
    }
}

struct Wellness(AtomicBool);

impl Health for Wellness {
    fn parts(&self) -> Vec<Part> {
        let ok = self.0.load(Ordering::SeqCst);
        vec![Part { name: "log".into(), ok, vital: true, detail: "kafka at localhost:9092".into() }]
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// As it came.
    text: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The version that the ETag names, 0 without one.
    fn version(&self) -> u64 {
        let (version, _made_at) = self.header("etag").trim_matches('"').split_once('-').unwrap_or_default();
        version.parse().unwrap_or_default()
    }

    /// The paths of `details`.
    fn paths(&self) -> Vec<&str> {
        let details = self.body["details"].as_array();
        details.into_iter().flatten().filter_map(|detail| detail["path"].as_str()).collect()
    }
}

impl Api {
    async fn start() -> Api {
        let api = Api::with_key(Some(KEY));
        api.state_loaded().await;
        api
    }

    /// With organization 648 and its integration `bills`.
    async fn with_bills() -> Api {
        let api = Api::start().await;
        let org = api.post(ORGS, json!({"orgId": "648", "name": "City Clinic"})).await;
        assert_eq!(org.status, 201, "{}", org.body);
        let made = api.post(&format!("{INTEGRATIONS}?orgId=648"), bills()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        api
    }

    fn with_key(key: Option<&str>) -> Api {
        Api::of(key, true)
    }

    fn of(key: Option<&str>, with_admin: bool) -> Api {
        Api::at(key, with_admin, Around::default())
    }

    fn at(key: Option<&str>, with_admin: bool, around: Around) -> Api {
        let log = SharedFake::default();
        let catalog = Arc::new(Catalog::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(Follower::new(Arc::new(log.clone()), Arc::clone(&catalog)).run(CancellationToken::new()));
        let clock = Arc::new(ManualClock::at(Timestamp(1_763_712_930_250)));
        let limits = Limits { patience: std::time::Duration::from_secs(5), pause_ms: 0..=1, ..Limits::default() };
        let writer = Writer::new(Arc::new(log.clone()), Arc::clone(&catalog), clock.clone(), limits);
        let keyring = Keyring::of(SECRET, &[]).unwrap();
        let tokens = Tokens::of(SECRET, &[]).unwrap();
        let writer = writer.sealing_with(Some(Arc::new(keyring)));
        let (topics, history) = (FakeLog::new(), Arc::new(History::elsewhere()));
        let (well, edge) = (Arc::new(Wellness(AtomicBool::new(true))), around.edge(catalog.clone(), clock.clone()));
        let credentials = Credentials {
            admin_key: AdminKey::of(key),
            tokens: Arc::new(tokens),
            catalog: catalog.clone(),
            clock: clock.clone(),
            uses: Arc::default(),
        };
        let state = ApiState {
            catalog: catalog.clone(),
            writer: Arc::new(writer),
            credentials: credentials.clone(),
            auth: Arc::default(),
            edge,
            retry: RetryPolicy { max_attempts: 3, ..RetryPolicy::default() },
            longest_wait: std::time::Duration::from_secs(144 * 3_600),
            log: Arc::new(topics.clone()),
            redrives: Arc::new(Redrives::new(Arc::new(topics.clone()), history.clone(), std::time::Duration::ZERO)),
            history: history.clone(),
            views: Arc::default(),
            health: well.clone(),
            metrics: Arc::new(|| "tidegate_up 1\n".to_owned()),
        };
        let mut door = Door::default();
        let orgs = Arc::new(Organizations(state.catalog.clone()));
        let ingest = Ingest::new(Arc::new(topics.clone()), orgs, clock.clone(), 1 << 20);
        events::routes(&mut door, &Arc::new(ingest));
        if with_admin {
            admin(&mut door, &state);
        }
        let uses = credentials.uses;
        Api { router: router(door, &state), log, catalog, topics, history, clock, well, uses, _following: tasks }
    }

    async fn state_loaded(&self) {
        while self.get(ORGS).await.status == 503 {
            tokio::task::yield_now().await;
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        Answer { status: parts.status, headers: parts.headers, text, body }
    }

    async fn call(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.call("GET", uri, &[("x-api-key", KEY)], "").await
    }

    async fn delete(&self, uri: &str) -> Answer {
        self.call("DELETE", uri, &[("x-api-key", KEY)], "").await
    }

    async fn post(&self, uri: &str, body: Value) -> Answer {
        self.write("POST", uri, &[], body.to_string()).await
    }

    async fn put(&self, uri: &str, body: Value) -> Answer {
        self.write("PUT", uri, &[], body.to_string()).await
    }

    async fn write(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut all = vec![("x-api-key", KEY), ("content-type", "application/json")];
        all.extend(headers);
        self.call(method, uri, &all, body).await
    }
}

fn bills() -> Value {
    json!({"id": "bills", "name": "Bills", "eventType": ["bill.created"], "targetUrl": "https://erp.example/bills"})
}

/// Every error has this form.
fn assert_error(answer: &Answer, status: u16, code: &str) {
    let body = &answer.body;
    assert_eq!((answer.status.as_u16(), &body["code"]), (status, &json!(code)), "{body}");
    assert_eq!(body["statusCode"], status);
    assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{body}");
    assert!(body["timestamp"].as_str().and_then(Timestamp::parse).is_some(), "{body}");
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(body["requestId"], answer.header("x-request-id"));
    assert_eq!(answer.header("content-type"), "application/json");
}
