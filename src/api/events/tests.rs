use axum::Router;
use axum::http::Method;
use axum::http::header::RETRY_AFTER;
use axum::middleware::from_fn;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::api::observe::observe;
use crate::ingest::accept::tests::{Appends, ingest};
use crate::stream::log::LogError;

struct Api {
    log: Arc<Appends>,
    router: Router,
}

fn api() -> Api {
    with_budget(64 << 20)
}

fn with_budget(budget: usize) -> Api {
    let log = Arc::new(Appends::default());
    let mut door = Door::default();
    routes(&mut door, &ingest(&log, budget));
    Api { router: door.for_the_administrator().layer(from_fn(observe)), log }
}

impl Api {
    async fn post(&self, uri: &str, body: impl Into<Body>) -> (StatusCode, HeaderMap, Value) {
        let request =
            axum::http::Request::builder().method(Method::POST).uri(uri).header("content-type", "application/json");
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    fn written(&self) -> usize {
        self.log.written.lock().unwrap().iter().map(Vec::len).sum()
    }
}

#[tokio::test]
async fn an_event_is_answered_with_its_id_after_the_log_has_it() {
    let api = api();
    let (status, _, body) = api.post("/api/v1/events?orgId=648", r#"{"id":"e1","eventType":"a","payload":{}}"#).await;
    assert_eq!((status, body), (StatusCode::ACCEPTED, json!({"id": "e1", "status": "accepted"})));
    assert_eq!(api.written(), 1);
}

#[tokio::test]
async fn an_event_of_an_unknown_organization_is_refused_by_name() {
    let api = api();
    let (status, _, body) = api.post("/api/v1/events?orgId=1", r#"{"eventType":"a","payload":{}}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!((&body["code"], &body["statusCode"]), (&json!("VALIDATION_ERROR"), &json!(400)));
    assert_eq!(body["details"], json!([{"path": "orgId", "message": "names organization `1`, which does not exist"}]));
    assert!(body["requestId"].is_string() && body["timestamp"].is_string(), "{body}");
    assert_eq!(api.written(), 0);
}

#[tokio::test]
async fn a_parameter_that_is_spelt_wrong_is_told() {
    let api = api();
    for (query, path) in [("orgid=648", "orgid"), ("orgId=a%20b", "orgId"), ("orgId=648&orgId=648", "orgId")] {
        let (status, _, body) = api.post(&format!("/api/v1/events?{query}"), r#"{"eventType":"a","payload":{}}"#).await;
        assert_eq!((status, &body["details"][0]["path"]), (StatusCode::BAD_REQUEST, &json!(path)));
    }
}

#[tokio::test]
async fn a_log_that_is_away_is_never_a_yes() {
    let api = api();
    *api.log.fails.lock().unwrap() = Some(LogError::Unavailable("no broker".into()));
    for (path, event) in [
        ("/api/v1/events", r#"{"eventType":"a","payload":{}}"#),
        ("/api/v1/events/batch", r#"[{"eventType":"a","payload":{}}]"#),
    ] {
        let (status, headers, body) = api.post(&format!("{path}?orgId=648"), event).await;
        assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("SERVICE_UNAVAILABLE")));
        assert_eq!(headers.get(RETRY_AFTER).map(|v| v.as_bytes()), Some(&b"5"[..]));
    }
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item() {
    let api = api();
    let events = r#"{"events":[{"id":"e1","eventType":"a","payload":{}},{"id":"e2","payload":{}}]}"#;
    let (status, _, body) = api.post("/api/v1/events/batch?orgId=648", events).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let expected = json!({"accepted": 1, "failed": 1, "results": [
        {"index": 0, "id": "e1", "status": "accepted"},
        {"index": 1, "status": "rejected", "code": "VALIDATION_ERROR", "error": "`eventType` is required",
         "details": [{"path": "eventType", "message": "is required"}]},
    ]});
    assert_eq!(body, expected);
    let (status, _, body) = api.post("/api/v1/events/batch?orgId=648", "[{}]").await;
    assert_eq!((status, &body["accepted"]), (StatusCode::BAD_REQUEST, &json!(0)));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_so_in_the_apis_words() {
    let api = api();
    let event = format!(r#"{{"eventType":"a","payload":"{}"}}"#, "x".repeat(2 << 20));
    let (status, _, body) = api.post("/api/v1/events?orgId=648", event.clone()).await;
    assert_eq!((status, &body["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("PAYLOAD_TOO_LARGE")));
    let (status, _, body) = api.post("/api/v1/events/batch?orgId=648", format!("[{event}]")).await;
    assert_eq!((status, &body["results"][0]["code"]), (StatusCode::BAD_REQUEST, &json!("PAYLOAD_TOO_LARGE")));
    let (status, ..) = api.post("/api/v1/events/batch?orgId=648", vec![b' '; (10 << 20) + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_is_put_together() {
    let api = api();
    let pieces =
        [r#"{"id":"e1","ev"#, r#"entType":"a","pay"#, r#"load":{}}"#].map(|p| Ok::<_, std::io::Error>(Bytes::from(p)));
    let (status, _, body) = api.post("/api/v1/events?orgId=648", Body::from_stream(stream::iter(pieces))).await;
    assert_eq!((status, &body["id"]), (StatusCode::ACCEPTED, &json!("e1")));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_event() {
    let api = api();
    let pieces = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("reset"))];
    let (status, ..) = api.post("/api/v1/events?orgId=648", Body::from_stream(stream::iter(pieces))).await;
    assert_eq!((status, api.written()), (StatusCode::BAD_REQUEST, 0));
}

#[tokio::test]
async fn a_body_that_never_ends_holds_its_room_for_a_while_only() {
    let log = Arc::new(Appends::default());
    let ingest = ingest(&log, 100);
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 90]))]);
    let body = Body::from_stream(first.chain(stream::pending()));
    let limits = Limits { bytes: 1_000, patience: Duration::from_millis(1) };
    let refused = receive(&ingest, body, limits).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, IngestError::Invalid(_)), "{refused}");
    assert!(ingest.room().grow(100).is_ok());
}

#[tokio::test]
async fn more_than_may_wait_is_asked_to_come_again() {
    let api = with_budget(20);
    let (status, headers, body) = api.post("/api/v1/events?orgId=648", r#"{"eventType":"a","payload":{}}"#).await;
    assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("SERVICE_UNAVAILABLE")));
    assert_eq!(headers.get(RETRY_AFTER).map(|v| v.as_bytes()), Some(&b"1"[..]));
}

#[tokio::test]
async fn an_event_that_the_document_shows_is_taken() {
    let api = api();
    let one = schema::example().to_string();
    let cloud = schema::cloud_example().to_string();
    for body in [&one, &cloud] {
        let (status, _, answer) = api.post("/api/v1/events", body.clone()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    }
    for body in [format!("[{one},{cloud}]"), format!(r#"{{"events":[{one}]}}"#)] {
        let (status, _, answer) = api.post("/api/v1/events/batch", body).await;
        assert_eq!((status, &answer["failed"]), (StatusCode::ACCEPTED, &json!(0)), "{answer}");
    }
}
