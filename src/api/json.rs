//! Request bodies as JSON: what is wrong with one is a 400 with its path.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::Value;
use tokio::time::timeout;

use crate::api::error::{ApiError, Code};
use crate::model::problem::{Problem, not_json};

/// From the first byte of a body to its last.
const WITHIN: Duration = Duration::from_secs(30);

/// The body, read as JSON. 415 without `application/json` (or `+json`), 413 over the route's limit, 400 where it does not
/// come within 30 s.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        read(&received(request, state).await?).map(JsonBody)
    }
}

async fn received<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    must_be_json(request.headers())?;
    let received = timeout(WITHIN, Bytes::from_request(request, state)).await.map_err(|_| late(WITHIN))?;
    received.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => broken_off(),
    })
}

/// 415 for a body that is not said to be JSON.
pub fn must_be_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if says_json(headers) {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, "send the body with `Content-Type: application/json`"))
}

pub fn late(within: Duration) -> ApiError {
    ApiError::new(Code::ValidationError, format!("the body did not come within {} s", within.as_secs()))
}

pub fn too_large() -> ApiError {
    ApiError::new(Code::PayloadTooLarge, "the body is too large")
}

pub fn broken_off() -> ApiError {
    ApiError::new(Code::ValidationError, "the body could not be read to its end")
}

/// A body that may be left out: an empty one, too, is none.
impl<S: Send + Sync> OptionalFromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(None);
        }
        let bytes = received(request, state).await?;
        if bytes.is_empty() { Ok(None) } else { read(&bytes).map(|json| Some(JsonBody(json))) }
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads one JSON document and nothing after it.
fn read(bytes: &[u8]) -> Result<Value, ApiError> {
    let message = match serde_json::from_slice(bytes) {
        Ok(json) => return Ok(json),
        Err(_) if bytes.is_empty() => "the body is empty; it must be a JSON document".to_owned(),
        Err(error) => format!("the body {}", not_json(&error)),
    };
    Err(ApiError::invalid(vec![Problem::new("", message)]))
}
