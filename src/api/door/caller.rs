//! Who calls: found out once for each request, before any route is looked at.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::door::access::{Grant, Principal, Scopes};
use crate::api::error::{ApiError, Code};
use crate::catalog::Catalog;
use crate::catalog::kind::Kind;
use crate::catalog::resource::Body;
use crate::model::time::Clock;

const API_KEY: &str = "x-api-key";

/// The key with the role ADMIN, as its SHA-256.
#[derive(Clone, Debug)]
pub struct AdminKey(Option<[u8; 32]>);

impl AdminKey {
    /// An empty key is none.
    pub fn of(key: Option<&str>) -> Self {
        AdminKey(key.filter(|key| !key.is_empty()).map(|key| Sha256::digest(key).into()))
    }

    /// Takes the same time whatever was given: digests of one length are compared, not texts.
    fn accepts(&self, digest: &[u8; 32]) -> bool {
        self.0.is_some_and(|expected| expected.ct_eq(digest).into())
    }
}

/// What callers are known by.
#[derive(Clone)]
pub struct Credentials {
    pub admin_key: AdminKey,
    pub catalog: Arc<Catalog>,
    pub clock: Arc<dyn Clock>,
}

/// The caller of a request, among its extensions: known, or why not.
#[derive(Clone, Debug)]
pub struct Caller(pub Result<Principal, &'static str>);

/// What `identify` knows.
#[derive(Clone)]
pub struct Known {
    pub credentials: Credentials,
    /// Paths that everybody may use.
    pub open: Arc<HashSet<String>>,
}

/// Finds out who calls. What they may do is asked at each route; strangers are not even told which routes there are.
pub async fn identify(State(known): State<Known>, mut request: Request, next: Next) -> Response {
    let caller = known.credentials.principal(request.headers());
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if let Err(why) = &caller
        && !path.is_some_and(|path| known.open.contains(path))
    {
        return ApiError::new(Code::Unauthorized, *why).into_response();
    }
    request.extensions_mut().insert(Caller(caller));
    next.run(request).await
}

impl Credentials {
    fn principal(&self, headers: &HeaderMap) -> Result<Principal, &'static str> {
        if let Some(key) = headers.get(API_KEY) {
            return self.by_key(key.as_bytes());
        }
        match headers.get(header::AUTHORIZATION) {
            Some(_) => Err("this way of authorization is not known; send a key in the X-API-Key header"),
            None if self.admin_key.0.is_none() => {
                Err("send a key in the X-API-Key header; none of an administrator is configured (TIDEGATE_ADMIN_KEY)")
            }
            None => Err("send the key in the X-API-Key header"),
        }
    }

    fn by_key(&self, key: &[u8]) -> Result<Principal, &'static str> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        if self.admin_key.accepts(&digest) {
            return Ok(Principal { actor: "admin-key".to_owned(), grant: Grant::AdminKey, org: None });
        }
        let wrong = match self.admin_key.0 {
            Some(_) => "the key in X-API-Key is not valid",
            None => "the key in X-API-Key is not valid; no key of an administrator is configured (TIDEGATE_ADMIN_KEY)",
        };
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let snapshot = self.catalog.snapshot();
        // Found by a digest: who tries keys learns nothing from the time that it takes.
        let found = snapshot.holder(Kind::ApiKey, &hash).and_then(|key| snapshot.get(key));
        let Some(Body::ApiKey(key)) = found.map(|resource| &resource.body) else { return Err(wrong) };
        if !key.is_active {
            return Err("the key in X-API-Key was revoked");
        }
        if key.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err("the key in X-API-Key has expired");
        }
        let grant = Grant::Key(Scopes::of(&key.scopes));
        Ok(Principal { actor: format!("key:{}", key.head.id), grant, org: Some(key.head.org_id.clone()) })
    }
}
