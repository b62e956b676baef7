//! Who calls: found out once for each request, before any route is looked at.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::auth::Tokens;
use crate::api::door::access::{Grant, Principal, Scopes};
use crate::api::door::address::Proxies;
use crate::api::door::guard::answered;
use crate::api::error::{ApiError, Code};
use crate::api::limits::{Limits, Subject};
use crate::api::uses::Uses;
use crate::catalog::kind::Kind;
use crate::catalog::resource::Body;
use crate::catalog::{Catalog, Snapshot};
use crate::model::time::Clock;

pub(super) const API_KEY: &str = "x-api-key";
/// By which people, and programs that look for lost secrets, know a key when they see one.
pub const KEY_BEGINS: &str = "tg_";

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
    pub tokens: Arc<Tokens>,
    pub catalog: Arc<Catalog>,
    pub clock: Arc<dyn Clock>,
    pub uses: Arc<Uses>,
}

/// The caller of a request, among its extensions: known, or why not.
#[derive(Clone, Debug)]
pub struct Caller(pub Result<Principal, ApiError>);

/// What `identify` knows.
#[derive(Clone)]
pub struct Known {
    pub credentials: Credentials,
    /// Paths that everybody may use.
    pub open: Arc<HashSet<String>>,
    /// Paths that are asked as often as one likes.
    pub unlimited: Arc<HashSet<String>>,
    pub limits: Arc<Limits>,
    pub proxies: Arc<Proxies>,
}

/// Finds out who calls. What they may do is asked at each route; strangers are not even told which routes there are.
pub async fn identify(State(known): State<Known>, mut request: Request, next: Next) -> Response {
    let caller = known.credentials.principal(request.headers());
    let client = known.proxies.client(request.extensions().get(), request.headers());
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_in = |paths: &HashSet<String>| path.is_some_and(|path| paths.contains(path));
    let mut standing = None;
    // No guard counts what is open or not there, so a credential is of no account for it.
    let (open, unlimited) = (is_in(&known.open), is_in(&known.unlimited));
    if !unlimited && (caller.is_err() || open || path.is_none()) {
        standing = known.limits.count(Subject::Address(client.0));
    }
    let allowed = standing.map_or(Ok(()), |standing| standing.check("requests of this address"));
    let unknown = caller.as_ref().err().filter(|_| !open).cloned();
    if let Some(refused) = allowed.err().or(unknown) {
        return answered(refused.into_response(), standing);
    }
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(known.limits);
    request.extensions_mut().insert(known.credentials);
    request.extensions_mut().insert(Caller(caller));
    answered(next.run(request).await, standing)
}

fn unauthorized(why: &str) -> ApiError {
    ApiError::new(Code::Unauthorized, why)
}

impl Credentials {
    pub fn principal(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        if let Some(key) = headers.get(API_KEY) {
            return self.by_key(key.as_bytes());
        }
        match headers.get(header::AUTHORIZATION).map(bearer) {
            Some(Some(token)) => self.by_token(token),
            Some(None) => Err(unauthorized(
                "this way of authorization is not known; send `Authorization: Bearer <token>`, or a key in the X-API-Key header",
            )),
            None => Err(unauthorized(&format!(
                "send a key in the X-API-Key header, or log in and send `Authorization: Bearer <token>`{}",
                self.no_admin_key()
            ))),
        }
    }

    /// What whoever sets a gateway up should know.
    fn no_admin_key(&self) -> &'static str {
        match self.admin_key.0 {
            Some(_) => "",
            None => "; no key of an administrator is configured (TIDEGATE_ADMIN_KEY)",
        }
    }

    /// Who is not in a catalog that was not read yet may be there all the same.
    fn snapshot(&self) -> Result<Arc<Snapshot>, ApiError> {
        match self.catalog.is_loaded() {
            true => Ok(self.catalog.snapshot()),
            false => Err(ApiError::unavailable("the catalog is still being read; try again in a moment")),
        }
    }

    fn by_key(&self, key: &[u8]) -> Result<Principal, ApiError> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        if self.admin_key.accepts(&digest) {
            return Ok(Principal::with_the_admin_key());
        }
        let wrong = || unauthorized(&format!("the key in X-API-Key is not valid{}", self.no_admin_key()));
        if !key.starts_with(KEY_BEGINS.as_bytes()) {
            return Err(wrong());
        }
        let snapshot = self.snapshot()?;
        // Found by a digest: who tries keys learns nothing from the time that it takes.
        let found = snapshot.holder(Kind::ApiKey, &hex(&digest)).and_then(|key| Some((key, snapshot.get(key)?)));
        let Some((own, Body::ApiKey(key))) = found.map(|(own, resource)| (own, &resource.body)) else {
            return Err(wrong());
        };
        if !key.is_active {
            return Err(unauthorized("the key in X-API-Key is disabled"));
        }
        let now = self.clock.now();
        if key.has_expired(now) {
            return Err(unauthorized("the key in X-API-Key has expired"));
        }
        self.uses.note(own, now);
        let grant = Grant::Key(Scopes::of(&key.scopes));
        Ok(Principal { actor: format!("key:{}", key.head.id), grant, org: Some(key.head.org_id.clone()), token: None })
    }

    /// The token says who it is; all else is as the catalog has it now.
    fn by_token(&self, token: &str) -> Result<Principal, ApiError> {
        let token = self.tokens.read(token, self.clock.now()).map_err(unauthorized)?;
        let snapshot = self.snapshot()?;
        let found = snapshot.get(&token.user);
        let Some((resource, Body::User(user))) = found.map(|resource| (resource, &resource.body)) else {
            return Err(unauthorized("the account of this token is not there any more"));
        };
        if !user.is_active {
            return Err(unauthorized("the account of this token is disabled"));
        }
        // Clocks of processes differ: an account may be older, by its own, than a token of one that had its id before.
        if token.epoch != user.epoch {
            return Err(unauthorized("the token is of an account that is not there any more; log in again"));
        }
        // What a newer catalog has given out, this one may not have read yet.
        if token.from < user.tokens_count_from(resource.revision.created_at) {
            return Err(unauthorized("the token was revoked; log in again"));
        }
        let (actor, grant) = (format!("user:{}", user.id), Grant::User(user.role));
        Ok(Principal { actor, grant, org: user.org_id.clone(), token: Some(token) })
    }
}

/// The scheme is written in any case (RFC 9110, 11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// As the catalog keeps a key.
pub use crate::model::hex::hex;
