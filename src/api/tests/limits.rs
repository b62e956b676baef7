//! What a request meets before it comes to a route: limits, other origins, proxies, headers.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::api::{Peer, Rate};
use crate::model::topic::Topic;

fn rates() -> Rates {
    let rate = |most| Rate { most, per: Duration::from_secs(60) };
    Rates { address: rate(5), org: rate(3), publish: rate(4) }
}

async fn limited() -> Api {
    let api = Api::at(Some(KEY), true, Around { rates: rates(), ..Around::default() });
    api.state_loaded().await;
    for org in ["648", "649"] {
        assert_eq!(api.post(ORGS, json!({"orgId": org, "name": org})).await.status, 201);
    }
    api
}

impl Api {
    async fn from(&self, peer: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer(peer.parse::<IpAddr>().unwrap()));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn publish(&self, key: &str, uri: &str, body: &str) -> Answer {
        self.call("POST", uri, &[("x-api-key", key), ("content-type", "application/json")], body.to_owned()).await
    }

    async fn key_of(&self, org: &str) -> String {
        let body = json!({"orgId": org, "name": "k", "scopes": ["read", "publish"]});
        self.post("/api/v1/admin/api-keys", body).await.body["key"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_stranger_who_asks_too_often_is_sent_away_and_nobody_else() {
    let api = limited().await;
    let wrong = [("x-api-key", "wrong")];
    for left in (0..5).rev() {
        let answer = api.from("198.51.100.1", ORGS, &wrong).await;
        assert_error(&answer, 401, "UNAUTHORIZED");
        let told =
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| answer.header(name).to_owned());
        assert_eq!(told, ["5".to_owned(), left.to_string(), ((5 - left) * 12).to_string()]);
    }
    let refused = api.from("198.51.100.1", ORGS, &wrong).await;
    assert_error(&refused, 429, "RATE_LIMITED");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit-remaining")), ("12", "0"));
    assert_eq!(api.from("198.51.100.1", "/openapi.json", &[]).await.status, 429);
    assert_eq!(api.from("198.51.100.1", "/health/live", &[]).await.status, 200);
    assert_eq!(api.from("198.51.100.1", "/metrics", &[]).await.status, 200);
    assert_eq!(api.from("198.51.100.1", ORGS, &[("x-api-key", KEY)]).await.status, 200, "who is known is no stranger");
    assert_eq!(api.from("198.51.100.2", ORGS, &wrong).await.status, 401);
    // Whatever they say of themselves.
    let made_up = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(api.from("198.51.100.1", ORGS, &made_up).await.status, 429);
    assert_eq!(api.from("192.0.2.1", ORGS, &made_up).await.status, 401);
    api.clock.advance(Duration::from_secs(12));
    assert_eq!(api.from("198.51.100.1", ORGS, &wrong).await.status, 401);
}

#[tokio::test]
async fn an_organization_that_asks_too_often_waits_and_still_brings_events_in() {
    let api = limited().await;
    let (ours, theirs) = (api.key_of("648").await, api.key_of("649").await);
    let read = |key: &str| {
        let (api, key) = (&api, key.to_owned());
        async move { api.call("GET", INTEGRATIONS, &[("x-api-key", &key)], "").await }
    };
    for _ in 0..3 {
        assert_eq!(read(&ours).await.status, 200);
    }
    let refused = read(&ours).await;
    assert_error(&refused, 429, "RATE_LIMITED");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit-limit")), ("20", "3"));
    assert_eq!(read(&theirs).await.header("ratelimit-remaining"), "2");
    for left in ["3", "2", "1", "0"] {
        let taken = api.publish(&ours, EVENTS, EVENT).await;
        assert_eq!((taken.status.as_u16(), taken.header("ratelimit-remaining")), (202, left), "{}", taken.body);
    }
    let refused = api.publish(&ours, EVENTS, EVENT).await;
    assert_eq!((refused.status.as_u16(), refused.header("ratelimit-limit")), (429, "4"));
    for _ in 0..20 {
        assert_eq!(api.get(INTEGRATIONS).await.status, 200, "who looks after all is not limited");
    }
}

fn batch_of(events: usize) -> String {
    format!("[{}]", vec![EVENT; events].join(","))
}

#[tokio::test]
async fn a_batch_that_is_too_many_events_is_refused_before_any_is_taken() {
    let api = limited().await;
    let key = api.key_of("648").await;
    let batch = format!("{EVENTS}/batch");
    let headers = |answer: &Answer| {
        ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(|name| answer.header(name).to_owned())
    };
    let taken = api.publish(&key, &batch, &batch_of(3)).await;
    assert_eq!((taken.status.as_u16(), headers(&taken)), (202, ["4", "1", "45"].map(str::to_owned)), "{}", taken.body);
    let refused = api.publish(&key, &batch, &batch_of(3)).await;
    assert_error(&refused, 429, "RATE_LIMITED");
    assert_eq!((refused.header("retry-after"), headers(&refused)), ("45", ["4", "0", "60"].map(str::to_owned)));
    assert_eq!(api.topics.records(Topic::Events, 0).len(), 3, "all of a batch, or nothing");
    api.clock.advance(Duration::from_secs(45));
    let taken = api.publish(&key, &batch, &batch_of(3)).await;
    assert_eq!(taken.status, 202, "{}", taken.body);
}

#[tokio::test]
async fn what_is_refused_is_not_tried_as_often_as_one_likes() {
    let api = limited().await;
    let key = api.key_of("648").await;
    for _ in 0..3 {
        let refused = api.call("GET", ORGS, &[("x-api-key", &key)], "").await;
        assert_error(&refused, 403, "FORBIDDEN");
        assert_eq!(refused.header("ratelimit-limit"), "3");
    }
    assert_error(&api.call("GET", ORGS, &[("x-api-key", &key)], "").await, 429, "RATE_LIMITED");
}

#[tokio::test]
async fn what_an_organization_may_is_changed_while_it_asks() {
    let api = limited().await;
    let (ours, theirs) = (api.key_of("648").await, api.key_of("649").await);
    let uri = format!("{ORGS}/648");
    let change = |limits: Value| {
        let (api, uri) = (&api, &uri);
        async move { api.write("PATCH", uri, &[], json!({"rateLimits": limits}).to_string()).await }
    };
    let changed = change(json!({"requestsPerMinute": 1, "eventsPerSecond": 2})).await;
    assert_eq!((changed.status.as_u16(), &changed.body["rateLimits"]["eventsPerSecond"]), (200, &json!(2)));
    let read = |key: &str| {
        let (api, key) = (&api, key.to_owned());
        async move { api.call("GET", INTEGRATIONS, &[("x-api-key", &key)], "").await }
    };
    assert_eq!(read(&ours).await.header("ratelimit-limit"), "1");
    assert_error(&read(&ours).await, 429, "RATE_LIMITED");
    assert_eq!(read(&theirs).await.header("ratelimit-limit"), "3", "that of all");
    assert_eq!(api.publish(&ours, EVENTS, EVENT).await.header("ratelimit-limit"), "2");
    assert_eq!(change(json!({"requestsPerMinute": 0})).await.status, 200);
    for _ in 0..10 {
        let answer = read(&ours).await;
        assert_eq!((answer.status.as_u16(), answer.header("ratelimit-limit")), (200, ""), "no limit, no header");
    }
    assert_eq!(change(Value::Null).await.body["rateLimits"], Value::Null);
    assert_eq!(read(&ours).await.header("ratelimit-limit"), "3");
    for (wrong, path) in [
        (json!({"requestsPerMinute": -1}), "rateLimits.requestsPerMinute"),
        (json!({"eventsPerSecond": 1_000_001}), "rateLimits.eventsPerSecond"),
        (json!({"perHour": 1}), "rateLimits.perHour"),
    ] {
        let answer = change(wrong).await;
        assert_eq!((answer.status.as_u16(), answer.paths()), (400, vec![path]));
    }
}

#[tokio::test]
async fn pages_of_other_origins_read_nothing_unless_they_are_on_the_list() {
    let origins = vec!["https://console.example".to_owned()];
    let api = Api::at(Some(KEY), true, Around { origins, ..Around::default() });
    api.state_loaded().await;
    let ask = |origin: &'static str, method: &'static str| {
        let api = &api;
        async move {
            let headers = [("origin", origin), ("access-control-request-method", "PUT"), ("x-api-key", KEY)];
            api.call(method, ORGS, if method == "OPTIONS" { &headers[..2] } else { &headers }, "").await
        }
    };
    let asked = ask("https://console.example", "OPTIONS").await;
    assert_eq!((asked.status.as_u16(), asked.header("access-control-allow-origin")), (204, "https://console.example"));
    assert!(asked.header("access-control-allow-methods").contains("PATCH"));
    assert_eq!(asked.header("access-control-allow-credentials"), "true");
    let read = ask("https://console.example", "GET").await;
    assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, "https://console.example"));
    let wrong = api.call("GET", ORGS, &[("origin", "https://console.example")], "").await;
    assert_error(&wrong, 401, "UNAUTHORIZED");
    assert_eq!(wrong.header("access-control-allow-origin"), "https://console.example", "the page may read why");
    for other in ["https://evil.example", "null", "https://console.example.evil.example", "http://console.example"] {
        for method in ["OPTIONS", "GET"] {
            let answer = ask(other, method).await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{other}");
            assert_eq!(answer.header("vary"), "origin");
        }
        assert_ne!(ask(other, "OPTIONS").await.status, 204);
    }
}

#[tokio::test]
async fn every_answer_says_that_it_is_for_its_reader_alone() {
    let api = Api::with_bills().await;
    for uri in [ORGS, "/nowhere", "/health", "/metrics", "/openapi.json", "/api/v1/outbound-integrations/bills"] {
        let answer = api.get(uri).await;
        let told = ["x-content-type-options", "cache-control", "content-security-policy", "x-frame-options"]
            .map(|name| answer.header(name).to_owned());
        let expected = ["nosniff", "no-store", "default-src 'none'; frame-ancestors 'none'", "DENY"];
        assert_eq!(told, expected, "{uri}");
    }
}

#[tokio::test]
async fn a_change_is_written_with_where_it_came_from() {
    let api = limited().await;
    let request = Request::builder()
        .method("DELETE")
        .uri(format!("{ORGS}/649"))
        .header("x-api-key", KEY)
        .header("x-forwarded-for", "203.0.113.7")
        .extension(Peer("192.0.2.1".parse().unwrap()));
    assert_eq!(api.send(request.body(Body::empty()).unwrap()).await.status, 204);
    let last = api.log.0.audited().pop().unwrap();
    let entry: Value = serde_json::from_slice(last.value.as_deref().unwrap()).unwrap();
    assert_eq!((&entry["action"], &entry["address"]), (&json!("DELETE"), &json!("203.0.113.7")));
}

#[tokio::test]
async fn a_credential_opens_no_way_around_the_limits_of_what_is_open_or_not_there() {
    let api = limited().await;
    let key = api.key_of("648").await;
    let asked = async |uri: &str| api.from("198.51.100.2", uri, &[("x-api-key", &key)]).await.status.as_u16();
    for uri in ["/openapi.json", "/api/v1/nothing", "/openapi.json", "/api/v1/nothing", "/openapi.json"] {
        assert!([200, 404].contains(&asked(uri).await), "{uri}");
    }
    assert_eq!((asked("/openapi.json").await, asked("/api/v1/nothing").await), (429, 429));
    assert_eq!((asked("/health/live").await, asked("/api/v1/lookups").await), (200, 200));
}

#[tokio::test]
async fn a_stranger_makes_nobody_read_megabytes() {
    let api = Api::start().await;
    let long = format!(r#"{{"email": "{}", "password": "x"}}"#, "a".repeat(20_000));
    let answer = api.call("POST", "/api/v1/auth/login", &[("content-type", "application/json")], long).await;
    assert_error(&answer, 413, "PAYLOAD_TOO_LARGE");
}
