//! Who may call: everything is closed but the probes and the metrics.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::api::error::{ApiError, Code};

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
pub async fn guard(State(key): State<AdminKey>, request: Request, next: Next) -> Result<Response, ApiError> {
    if OPEN.contains(&request.uri().path()) {
        return Ok(next.run(request).await);
    }
    let given = request.headers().get("x-api-key");
    let message = match given {
        Some(given) if key.accepts(given.as_bytes()) => return Ok(next.run(request).await),
        _ if key.0.is_none() => {
            "no key is configured, so every call is refused: set TIDEGATE_ADMIN_KEY and start again"
        }
        Some(_) => "the key in X-API-Key is not valid",
        None => "send the key in the X-API-Key header",
    };
    Err(ApiError::new(Code::Unauthorized, message))
}
