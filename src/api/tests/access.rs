use std::sync::atomic::Ordering;

use super::*;

const CLOSED: &[(&str, &str)] = &[
    ("GET", ORGS),
    ("POST", ORGS),
    ("GET", "/api/v1/admin/organizations/648"),
    ("PUT", "/api/v1/admin/organizations/648"),
    ("DELETE", "/api/v1/admin/organizations/648"),
    ("GET", INTEGRATIONS),
    ("POST", INTEGRATIONS),
    ("GET", "/api/v1/outbound-integrations/bills"),
    ("PUT", "/api/v1/outbound-integrations/bills"),
    ("DELETE", "/api/v1/outbound-integrations/bills"),
    ("POST", "/api/v1/outbound-integrations/bills/enable"),
    ("POST", "/api/v1/outbound-integrations/bills/disable"),
    ("POST", "/api/v1/events"),
    ("GET", "/"),
    ("GET", "/nowhere"),
    ("PATCH", INTEGRATIONS),
    ("GET", "/health/"),
    ("GET", "//health"),
    ("GET", "/metrics/x"),
    ("GET", "/health/live/../../api/v1/admin/organizations"),
    ("GET", "/HEALTH"),
];

#[tokio::test]
async fn nothing_but_the_probes_and_metrics_answers_without_the_key() {
    let api = Api::with_bills().await;
    for (method, uri) in CLOSED {
        for headers in [&[][..], &[("x-api-key", "")], &[("x-api-key", "a-key-for-test")], &[("x-api-key", "wrong")]] {
            let answer = api.call(method, uri, headers, "{}").await;
            assert_error(&answer, 401, "UNAUTHORIZED");
        }
    }
    assert_eq!(api.log.0.written().len(), 2);
    for uri in ["/health", "/health/live", "/health/ready", "/api/v1/health", "/metrics"] {
        assert_eq!(api.call("GET", uri, &[], "").await.status, 200, "{uri}");
    }
}

#[tokio::test]
async fn a_process_without_the_role_api_has_probes_and_no_admin_routes() {
    let api = Api::of(Some(KEY), false);
    for uri in [ORGS, INTEGRATIONS] {
        assert_error(&api.get(uri).await, 404, "NOT_FOUND");
    }
    assert_eq!(api.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn without_a_configured_key_every_call_is_refused_and_told_why() {
    for api in [Api::with_key(None), Api::with_key(Some(""))] {
        for headers in [&[][..], &[("x-api-key", "")], &[("x-api-key", KEY)]] {
            let answer = api.call("GET", ORGS, headers, "").await;
            assert_error(&answer, 401, "UNAUTHORIZED");
            assert!(answer.body["error"].as_str().unwrap().contains("TIDEGATE_ADMIN_KEY"));
        }
        assert_eq!(api.call("GET", "/health/live", &[], "").await.status, 200);
    }
}

#[tokio::test]
async fn routes_that_others_bring_come_under_the_same_rule() {
    let api = Api::with_bills().await;
    let answer = api.write("POST", "/api/v1/events?orgId=648", &[], EVENT).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_form_of_every_error() {
    let api = Api::start().await;
    assert_error(&api.get("/api/v1/nothing").await, 404, "NOT_FOUND");
    let answer = api.write("PATCH", ORGS, &[], "{}").await;
    assert_error(&answer, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    assert_error(&api.call("POST", "/metrics", &[], "").await, 405, "METHOD_NOT_ALLOWED");
    for id in ["648", "a%20b", "%00", "%ff", "a%2Fb"] {
        let answer = api.get(&format!("{ORGS}/{id}")).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{id}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_request_keeps_its_id_unless_it_could_harm_a_log() {
    let api = Api::start().await;
    let (api, key) = (&api, ("x-api-key", KEY));
    let with = |id| async move { api.call("GET", ORGS, &[key, ("x-request-id", id)], "").await };
    assert_eq!(with("abc-1:2.3_4").await.header("x-request-id"), "abc-1:2.3_4");
    let long = "x".repeat(129);
    for bad in ["", "a b", "a\"b", "a;b", &long] {
        let answer = with(bad).await;
        let id = answer.header("x-request-id");
        assert!(id != bad && !id.is_empty(), "{bad}");
    }
}

#[tokio::test]
async fn readiness_follows_the_parts_and_liveness_does_not() {
    let api = Api::start().await;
    api.well.0.store(false, Ordering::SeqCst);
    for uri in ["/health/ready", "/health", "/api/v1/health"] {
        let answer = api.call("GET", uri, &[], "").await;
        assert_eq!((answer.status.as_u16(), &answer.body["parts"][0]["name"]), (503, &json!("log")), "{}", answer.body);
    }
    assert_eq!(api.call("GET", "/health/live", &[], "").await.status, 200);
    let answer = api.call("GET", "/metrics", &[], "").await;
    assert!(answer.header("content-type").starts_with("text/plain"));
    assert_eq!(answer.body, json!("tidegate_up 1\n"));
}
