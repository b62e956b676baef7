//! Answers that hold a resource.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use crate::api::conditions::etag;
use crate::catalog::keep::{mask, mask_recorded};
use crate::catalog::kind::Kind;
use crate::catalog::resource::Resource;
use crate::model::time::Timestamp;

/// A resource as clients see it: secrets as `***`, without what nobody sees. There is no other way to answer with one.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Shown(Value);

impl Shown {
    pub fn of(resource: &Resource) -> Shown {
        let mut json = resource.to_json();
        mask(resource.kind(), &mut json);
        Shown(json)
    }

    /// As a record of history holds it.
    pub fn recorded(kind: Kind, mut json: Value) -> Shown {
        mask_recorded(kind, &mut json);
        Shown(json)
    }

    /// The id of the resource.
    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    pub fn created_at(&self) -> Option<Timestamp> {
        self.0["createdAt"].as_str().and_then(Timestamp::parse)
    }

    /// With what the catalog does not know of it.
    pub fn tell(&mut self, name: &str, at: Option<Timestamp>) {
        self.0[name] = serde_json::json!(at);
    }

    /// With what is told this once.
    pub fn once(mut self, name: &str, value: String) -> Shown {
        if let Value::Object(fields) = &mut self.0 {
            fields.insert(name.to_owned(), value.into());
        }
        self
    }
}

/// 200 with its ETag.
pub fn found(resource: &Resource, shown: Shown) -> Response {
    with_etag(StatusCode::OK, resource, shown)
}

/// 201 with its ETag and where it is now: `<path>/<id>`.
pub fn created(path: &str, resource: &Resource, shown: Shown) -> Response {
    let mut response = with_etag(StatusCode::CREATED, resource, shown);
    // Ids are letters, digits and `.`, `_`, `:`, `-`: nothing to encode, nothing that a header refuses.
    if let Ok(location) = HeaderValue::from_str(&format!("{path}/{}", resource.key().id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn with_etag(status: StatusCode, resource: &Resource, shown: Shown) -> Response {
    (status, [(header::ETAG, etag(&resource.revision))], Json(shown)).into_response()
}
