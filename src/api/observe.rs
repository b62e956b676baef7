//! Around every request: its id, its time, and the form of its errors.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use crate::api::error;
use crate::model::time::{Clock, SystemClock};
use crate::telemetry::metrics::HTTP_REQUEST_SECONDS;

const REQUEST_ID: &str = "x-request-id";

/// The id of a request, among its extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = known(request.method());
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().into());
    request.extensions_mut().insert(RequestId(id.clone()));
    let response = next.run(request).await;
    let mut response = error::render(response, &id, SystemClock.now());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    harden(response.headers_mut());
    let took = started.elapsed();
    let status = response.status().as_u16();
    // A probe that answers 503 has done its work; what is wrong is told where it went wrong.
    if status >= 500 && !route.starts_with("/health") && route != "/api/v1/health" {
        tracing::warn!(request_id = id, method, route, status, ms = took.as_millis(), "request failed");
    } else {
        tracing::debug!(request_id = id, method, route, status, ms = took.as_millis(), "request");
    }
    let labels = [("route", route), ("method", method.to_owned()), ("status", status.to_string())];
    metrics::histogram!(HTTP_REQUEST_SECONDS, &labels).record(took.as_secs_f64());
    response
}

/// What keeps a browser from taking an answer for something else, from showing it in another's page, and everybody from
/// keeping it. A route that knows better says so itself.
fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The caller's id where it is 1-128 of `A-Z a-z 0-9 . _ : -`, so that it can stand in any log; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(ok)) {
        Some(id) => id.to_owned(),
        None => Uuid::now_v7().to_string(),
    }
}

/// Methods are labels of metrics, and a client can make up as many as it likes.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
