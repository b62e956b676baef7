//! Guarded HTTP: requests go only where they may, end in time, and take only so much of an answer.
//!
//! No redirects (a redirect is an answer), no cookies, no proxy from the environment. HTTP/2 where the receiver offers it
//! over TLS, else HTTP/1.1 with keep-alive.

mod address;
mod connect;
mod resolve;
mod response;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Error;
use url::{Host, Url};

pub use address::{AllowError, EgressAllow, public};
pub use response::{Body, Response};

use crate::model::delivery::ErrorCategory;
use connect::{ConnectTimedOut, PlainClient, TlsClient};
use resolve::{GuardedResolver, Lookups};

/// For a connection to stand, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// `http://`: only to what `EgressAllow` names.
    Plain,
    /// `https://`.
    Tls,
}

/// Where requests go, judged as far as its text tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub wire: Wire,
    pub uri: Uri,
}

/// Why the guard does not let a request go. A matter of configuration: no retry mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the target must begin with https://, not `{0}:`")]
    Scheme(String),
    #[error("the target is not a URL that a request can carry: {0}")]
    Url(String),
    #[error("plain http to `{0}` is refused: use https, or add the host or its network to TIDEGATE_EGRESS_ALLOW")]
    Plain(String),
    #[error(
        "`{0}` is not at a public address: if it should be reached all the same, add the host or its network to \
         TIDEGATE_EGRESS_ALLOW"
    )]
    NotPublic(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    #[error("could not connect: {0}")]
    Connect(String),
    #[error("the connection broke before an answer came: {0}")]
    Broken(String),
}

impl SendError {
    pub const fn category(&self) -> ErrorCategory {
        match self {
            SendError::Refused(_) => ErrorCategory::Blocked,
            SendError::Timeout(_) | SendError::ConnectTimeout(_) => ErrorCategory::Timeout,
            SendError::Connect(_) | SendError::Broken(_) => ErrorCategory::Network,
        }
    }
}

/// The pooled clients, one for each wire because what they may reach differs.
#[derive(Clone, Debug)]
pub struct Egress {
    allow: Arc<EgressAllow>,
    plain: PlainClient,
    /// Without certificates of authorities on the machine there is none, and https deliveries say so.
    tls: Result<TlsClient, String>,
}

impl Egress {
    pub fn new(allow: EgressAllow) -> Egress {
        let allow = Arc::new(allow);
        let lookups = Arc::new(Lookups::default());
        let resolver = |wire| GuardedResolver { allow: allow.clone(), wire, lookups: lookups.clone() };
        let plain = connect::plain(resolver(Wire::Plain));
        let tls = connect::tls(resolver(Wire::Tls)).map_err(|e| e.to_string());
        if let Err(cause) = &tls {
            tracing::warn!(cause, "no delivery over https is possible: install ca-certificates or set SSL_CERT_FILE");
        }
        Egress { allow, plain, tls }
    }

    /// Reads a target. User and password are left out of it.
    pub fn target(&self, url: &Url) -> Result<Target, Refused> {
        let wire = self.route(url)?;
        let mut url = url.clone();
        let refused = |text: &dyn std::fmt::Display| Refused::Url(text.to_string());
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| refused(&"it has no host"))?;
        let uri = url.as_str().parse().map_err(|e: http::uri::InvalidUri| refused(&e))?;
        Ok(Target { wire, uri })
    }

    /// An address is judged here, since the client would connect to it without asking the resolver; a name is judged when
    /// it is resolved.
    fn route(&self, target: &Url) -> Result<Wire, Refused> {
        let wire = match target.scheme() {
            "https" => Wire::Tls,
            "http" => Wire::Plain,
            other => return Err(Refused::Scheme(other.to_owned())),
        };
        let address = match target.host() {
            Some(Host::Domain(_)) => return Ok(wire),
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            None => return Err(Refused::Scheme(target.scheme().to_owned())),
        };
        let host = || target.host_str().unwrap_or_default().to_owned();
        match (self.allow.address(address), public(address), wire) {
            (true, _, _) | (_, true, Wire::Tls) => Ok(wire),
            (false, true, Wire::Plain) => Err(Refused::Plain(host())),
            (false, false, _) => Err(Refused::NotPublic(host())),
        }
    }

    /// Sends the request to a target that `target` let through and waits for the head of the answer, at most `timeout` in
    /// all. Dropping the future gives the request up.
    pub async fn send(
        &self,
        wire: Wire,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Response, SendError> {
        let answer = match (wire, &self.tls) {
            (Wire::Plain, _) => self.plain.request(request),
            (Wire::Tls, Ok(client)) => client.request(request),
            (Wire::Tls, Err(cause)) => return Err(SendError::Connect(cause.clone())),
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(response)) => Ok(Response::new(response)),
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => Err(SendError::Timeout(timeout)),
        }
    }
}

/// Sorts the client's errors.
fn explain(error: &Error) -> SendError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return SendError::Refused(refused.clone());
        }
        if inner.is::<ConnectTimedOut>() {
            return SendError::ConnectTimeout(CONNECT_TIMEOUT);
        }
        cause = inner.source();
    }
    let text = chain(error);
    if error.is_connect() { SendError::Connect(text) } else { SendError::Broken(text) }
}

/// The innermost two causes that say something: the outer ones only say that a request failed.
fn chain(error: &Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if causes.last().is_none_or(|outer| !outer.contains(&text)) {
            causes.push(text);
        }
        cause = inner.source();
    }
    let text = causes[causes.len().saturating_sub(2)..].join(": ");
    if text.is_empty() { "unknown cause".to_owned() } else { text.chars().take(300).collect() }
}

#[cfg(test)]
mod tests;
