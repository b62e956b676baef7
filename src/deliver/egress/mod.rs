//! Guarded HTTP: requests go only where they may, end in time, and take only so much of an answer.
//!
//! No redirects (a redirect is an answer), no cookies, no proxy from the environment. HTTP/2 where the receiver offers it
//! over TLS, else HTTP/1.1 with keep-alive.

mod address;
mod resolve;
mod response;

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Request};
use url::{Host, Url};

pub use address::{AllowError, EgressAllow, public};
pub use response::{Body, Response};

use crate::model::delivery::ErrorCategory;
use resolve::{GuardedResolver, LookupFailed, Lookups};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the 5 s after which Node, uvicorn and Apache close an idle connection, lest a request meets the closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Well above what is in flight to one host as a rule: a pool that is too small closes connections only to open them again.
const IDLE_PER_HOST: usize = 1_024;
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const HTTP2_PING: Duration = Duration::from_secs(15);
/// Between two tries to open a connection where this machine has no room for one.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(50);
/// What says that there is none, in Linux and macOS: ENFILE and EMFILE, no file descriptor is left.
const NO_ROOM: [i32; 2] = [23, 24];

/// How a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// `http://`: only to what `EgressAllow` names.
    Plain,
    /// `https://`.
    Tls,
}

/// Why the guard does not let a request go. A matter of configuration: no retry mends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the target must begin with https://, not `{0}:`")]
    Scheme(String),
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
    /// No file descriptor was left to this process for as long as an attempt may take: the receiver has no part in it, and
    /// nothing was sent.
    #[error("no room for another connection on the gateway's side: {0}")]
    NoRoom(String),
    #[error("the connection broke before an answer came: {0}")]
    Broken(String),
}

impl SendError {
    pub const fn category(&self) -> ErrorCategory {
        match self {
            SendError::Refused(_) => ErrorCategory::Blocked,
            SendError::Timeout(_) | SendError::ConnectTimeout(_) => ErrorCategory::Timeout,
            SendError::Connect(_) | SendError::NoRoom(_) | SendError::Broken(_) => ErrorCategory::Network,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the HTTP client could not be made: {0}")]
pub struct EgressError(String);

/// The pooled clients, one for each wire because what they may reach differs.
#[derive(Clone, Debug)]
pub struct Egress {
    allow: Arc<EgressAllow>,
    plain: Client,
    /// Without certificates of authorities on the machine there is none, and https deliveries say so.
    tls: Result<Client, String>,
}

impl Egress {
    pub fn new(allow: EgressAllow) -> Result<Egress, EgressError> {
        let allow = Arc::new(allow);
        let lookups = Arc::new(Lookups::default());
        let client = |wire| {
            let resolver = GuardedResolver { allow: allow.clone(), wire, lookups: lookups.clone() };
            builder(resolver)
        };
        // HTTP/1.1 never says that a request was not looked at, so that the client's own retry, for which it copies every
        // request, has nothing to do.
        let once = reqwest::retry::never().max_retries_per_request(0);
        let plain = client(Wire::Plain).retry(once).tls_certs_only([]).build().map_err(|e| EgressError(chain(&e)))?;
        let tls = client(Wire::Tls).https_only(true).build().map_err(|e| chain(&e));
        if let Err(cause) = &tls {
            tracing::warn!(cause, "no delivery over https is possible: install ca-certificates or set SSL_CERT_FILE");
        }
        Ok(Egress { allow, plain, tls })
    }

    /// Which way a target is reached, as far as its text tells. An address is judged here, since the client would connect
    /// to it without asking the resolver; a name is judged when it is resolved.
    pub fn route(&self, target: &Url) -> Result<Wire, Refused> {
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

    /// Sends the request and waits for the head of the answer, at most `timeout` in all. Dropping the future gives the
    /// request up. Where the machine has no room for a connection it waits for one: `request` makes it anew for each try.
    pub async fn send(
        &self,
        wire: Wire,
        request: impl Fn() -> Request,
        timeout: Duration,
    ) -> Result<Response, SendError> {
        let client = match (wire, &self.tls) {
            (Wire::Plain, _) => &self.plain,
            (Wire::Tls, Ok(client)) => client,
            (Wire::Tls, Err(cause)) => return Err(SendError::Connect(cause.clone())),
        };
        let (mut no_room, mut is_told) = (None, false);
        let sent = tokio::time::timeout(timeout, async {
            loop {
                match client.execute(request()).await.map_err(|error| explain(&error)) {
                    Err(SendError::NoRoom(why)) => {
                        if !std::mem::replace(&mut is_told, true) {
                            tracing::warn!(
                                why,
                                "deliveries wait for room for another connection: raise the limit of open files"
                            );
                        }
                        no_room = Some(why);
                        tokio::time::sleep(NO_ROOM_PAUSE).await;
                        // What comes from here on is the next try's own.
                        no_room = None;
                    }
                    sent => return sent.map(Response::new),
                }
            }
        });
        match (sent.await, no_room) {
            (Ok(sent), _) => sent,
            (Err(_), Some(why)) => Err(SendError::NoRoom(why)),
            (Err(_), None) => Err(SendError::Timeout(timeout)),
        }
    }
}

fn builder(resolver: GuardedResolver) -> ClientBuilder {
    Client::builder()
        .dns_resolver(resolver)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEPALIVE)
        .http2_keep_alive_interval(HTTP2_PING)
        .http2_keep_alive_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_while_idle(false)
}

/// Sorts the client's errors. The target's URL stays out of the text: it may hold a secret.
fn explain(error: &reqwest::Error) -> SendError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return SendError::Refused(refused.clone());
        }
        // A name is looked up through a socket too.
        let io = inner.downcast_ref().or_else(|| inner.downcast_ref::<LookupFailed>().map(|failed| &*failed.0));
        if io.and_then(io::Error::raw_os_error).is_some_and(|code| NO_ROOM.contains(&code)) {
            return SendError::NoRoom(inner.to_string());
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        SendError::ConnectTimeout(CONNECT_TIMEOUT)
    } else if error.is_connect() {
        SendError::Connect(chain(error))
    } else {
        SendError::Broken(chain(error))
    }
}

/// The innermost two causes that say something: the outer ones only say that a request failed.
fn chain(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !text.starts_with("client error") && causes.last().is_none_or(|outer| !outer.contains(&text)) {
            causes.push(text);
        }
        cause = inner.source();
    }
    let text = causes[causes.len().saturating_sub(2)..].join(": ");
    if text.is_empty() { "unknown cause".to_owned() } else { text.chars().take(300).collect() }
}

#[cfg(test)]
mod tests;
