//! Who may call: everything is closed but the probes and the metrics.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::api::error::{ApiError, Code};
use crate::api::observe::RequestId;
use crate::catalog::audit::Origin;

/// The only routes that need no key. A route that is added elsewhere is closed.
const OPEN: &[&str] = &["/health", "/health/live", "/health/ready", "/api/v1/health", "/metrics"];

/// The key with the role ADMIN, as its SHA-256; without one every call is refused.
#[derive(Clone, Debug)]
pub struct AdminKey(Option<[u8; 32]>);

impl AdminKey {
    /// An empty key is none.
    pub fn of(key: Option<&str>) -> Self {
        AdminKey(key.filter(|key| !key.is_empty()).map(|key| Sha256::digest(key).into()))
    }

    /// Takes the same time whatever was given: digests of one length are compared, not texts.
    fn accepts(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.is_some_and(|expected| expected.ct_eq(&given).into())
    }
}

/// Lets a request through if its route is open or its key is right.
pub async fn guard(State(key): State<AdminKey>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    if OPEN.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let given = request.headers().get("x-api-key");
    let message = match given {
        Some(given) if key.accepts(given.as_bytes()) => {
            let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
            let origin = Origin { actor: "admin-key".to_owned(), address: None, request_id };
            request.extensions_mut().insert(origin);
            return Ok(next.run(request).await);
        }
        _ if key.0.is_none() => {
            "no key is configured, so every call is refused: set TIDEGATE_ADMIN_KEY and start again"
        }
        Some(_) => "the key in X-API-Key is not valid",
        None => "send the key in the X-API-Key header",
    };
    Err(ApiError::new(Code::Unauthorized, message))
}

/// Who asks: told by the guard, so that no change is made without.
impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let told = parts.extensions.get().cloned();
        told.ok_or_else(|| ApiError::new(Code::Unauthorized, "send the key in the X-API-Key header"))
    }
}
