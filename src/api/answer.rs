//! Answers that hold a resource.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::conditions::etag;
use crate::catalog::resource::Resource;

/// 200 with its ETag.
pub fn found(resource: &Resource) -> Response {
    with_etag(StatusCode::OK, resource)
}

/// 201 with its ETag and where it is now: `<path>/<id>`.
pub fn created(path: &str, resource: &Resource) -> Response {
    let mut response = with_etag(StatusCode::CREATED, resource);
    // Ids are letters, digits and `.`, `_`, `:`, `-`: nothing to encode, nothing that a header refuses.
    if let Ok(location) = HeaderValue::from_str(&format!("{path}/{}", resource.key().id())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn with_etag(status: StatusCode, resource: &Resource) -> Response {
    (status, [(header::ETAG, etag(resource.revision().version))], Json(resource)).into_response()
}
