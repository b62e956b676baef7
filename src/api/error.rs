//! Errors as clients see them, and the one place where errors of the domain become HTTP.
//!
//! A handler's `ApiError` travels in the response's extensions; `render` gives it its body, as it does for the errors that the
//! framework itself answers with, so that all have one form.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::change::Refusal;
use crate::catalog::writer::WriteError;
use crate::ingest::error::IngestError;
use crate::model::problem::{Problem, cut, summary};
use crate::model::time::Timestamp;

/// What kind of error it is, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    ValidationError,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    PayloadTooLarge,
    UnsupportedMediaType,
    RateLimited,
    InternalError,
    ServiceUnavailable,
}

impl Code {
    pub const ALL: [Code; 11] = [
        Code::ValidationError,
        Code::Unauthorized,
        Code::Forbidden,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::Conflict,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::RateLimited,
        Code::InternalError,
        Code::ServiceUnavailable,
    ];

    /// What a status of an error means, for the documentation.
    pub const fn about(status: u16) -> &'static str {
        match status {
            400 => "Something in the request is wrong; `details` says what.",
            401 => "No credential, or none that is valid.",
            403 => "This credential may not do that.",
            404 => "There is no such thing.",
            409 => "It is not as the request assumes: changed meanwhile, taken, in use, or not in that state.",
            413 => "The body is too large.",
            415 => "The content type is not supported.",
            429 => "Too many requests; `Retry-After` says when to come back.",
            503 => "Not now; `Retry-After` says when to come back.",
            _ => "Something went wrong.",
        }
    }

    pub const fn status(self) -> StatusCode {
        match self {
            Code::ValidationError => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::Conflict => StatusCode::CONFLICT,
            Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Code::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// For errors that the framework answers with, and what they say.
    fn of(status: StatusCode) -> (Code, &'static str) {
        match status {
            StatusCode::NOT_FOUND => (Code::NotFound, "there is no such thing"),
            StatusCode::METHOD_NOT_ALLOWED => {
                (Code::MethodNotAllowed, "this route does not have that method; see the Allow header")
            }
            StatusCode::PAYLOAD_TOO_LARGE => (Code::PayloadTooLarge, "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (Code::UnsupportedMediaType, "the content type is not supported"),
            status if status.is_client_error() => (Code::ValidationError, "the request is not valid"),
            _ => (Code::InternalError, "something went wrong here; the log says more under this request id"),
        }
    }
}

/// An error with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub code: Code,
    pub message: String,
    pub details: Vec<Problem>,
    /// Seconds.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// A message is cut at 300 characters: it may repeat what a client sent.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        ApiError { code, message: cut(message.into()), details: Vec::new(), retry_after: None }
    }

    /// 400 with everything that is wrong; the message tells the first of it.
    pub fn invalid(details: Vec<Problem>) -> Self {
        let message = summary(&details);
        ApiError { details, ..ApiError::new(Code::ValidationError, message) }
    }

    /// 503: the same request may go through in a moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        ApiError { retry_after: Some(2), ..ApiError::new(Code::ServiceUnavailable, message) }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let message = error.to_string();
        match error {
            WriteError::Refused { refusal, .. } => refusal.into(),
            WriteError::Moved { .. } => ApiError::new(Code::Conflict, message),
            WriteError::TooLarge(_) => ApiError::new(Code::PayloadTooLarge, message),
            WriteError::Unavailable(_) | WriteError::Unknown(_) => {
                tracing::warn!(error = message, "a change of the catalog was not made");
                ApiError::unavailable(message)
            }
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(why: IngestError) -> Self {
        let message = why.to_string();
        let retry_after = why.retry_after().map(|d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
        let code = match why {
            IngestError::Invalid(problems) => return ApiError::invalid(problems),
            IngestError::TooLarge(_) => Code::PayloadTooLarge,
            IngestError::MediaType(_) => Code::UnsupportedMediaType,
            IngestError::Broken => Code::InternalError,
            IngestError::Busy | IngestError::Unavailable | IngestError::Unconfirmed(_) => Code::ServiceUnavailable,
        };
        ApiError { retry_after, ..ApiError::new(code, message) }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Invalid(problems) => ApiError::invalid(problems),
            Refusal::NotFound(_) => ApiError::new(Code::NotFound, message),
            Refusal::AlwaysActive(_) => ApiError::new(Code::ValidationError, message),
            Refusal::Exists(key) => {
                let details = vec![Problem::new(
                    key.kind.id_field(),
                    "is taken; choose another, or change the one that has it with PUT where it is yours",
                )];
                ApiError { details, ..ApiError::new(Code::Conflict, message) }
            }
            Refusal::Taken(problem) => ApiError { details: vec![problem], ..ApiError::new(Code::Conflict, message) },
            Refusal::VersionMismatch { .. } | Refusal::LastAdmin(_) => ApiError::new(Code::Conflict, message),
            Refusal::Referenced { by, .. } => {
                let details = by.into_iter().map(|key| Problem::new(key.to_string(), "uses it")).collect();
                ApiError { details, ..ApiError::new(Code::Conflict, message) }
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    error: &'a str,
    code: Code,
    status_code: u16,
    timestamp: Timestamp,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    details: &'a [Problem],
}

/// Gives an error its body. Answers that are no errors, or errors that a handler wrote as JSON itself, stay as they are.
pub(super) fn render(mut response: Response, request_id: &str, now: Timestamp) -> Response {
    let status = response.status();
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if (status.is_client_error() || status.is_server_error()) && !is_json(&response) => {
            let (code, message) = Code::of(status);
            ApiError::new(code, message)
        }
        None => return response,
    };
    let body = Body {
        error: &error.message,
        code: error.code,
        status_code: status.as_u16(),
        timestamp: now,
        request_id,
        details: &error.details,
    };
    let mut rendered = (status, Json(body)).into_response();
    for (name, value) in response.headers() {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            rendered.headers_mut().append(name, value.clone());
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        rendered.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    rendered
}

fn is_json(response: &Response) -> bool {
    let json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
    response.headers().get(header::CONTENT_TYPE).is_some_and(json)
}
