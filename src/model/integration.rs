//! An outbound integration: which events go where, how, and what happens when that fails.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::ids::{IntegrationId, OrgId, Rid};
use crate::model::pattern::EventPattern;
use crate::model::retry::RetryPolicy;

/// Written by the gateway, or of the connection and the framing of the message. In lower case.
const RESERVED_HEADERS: [&str; 15] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-correlation-id",
];
const RESERVED_PREFIXES: [&str; 3] = ["ce-", "proxy-", "webhook-"];

/// Whether an integration cannot set this header, so that none which is configured is lost on the way.
pub fn is_reserved_header(name: &http::HeaderName) -> bool {
    let name = name.as_str();
    RESERVED_HEADERS.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Events of one organization to one HTTP API. Holding one means that it was validated.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboundIntegration {
    pub id: IntegrationId,
    pub org_id: OrgId,
    pub name: String,
    pub description: String,
    pub labels: BTreeMap<String, String>,
    pub event_types: Vec<EventPattern>,
    pub org_unit: Option<Rid>,
    pub scope: Scope,
    pub excluded_entity_rids: Vec<Rid>,
    pub is_active: bool,
    pub when_disabled: WhenDisabled,
    pub target_url: url::Url,
    pub method: http::Method,
    /// 100-60,000 ms.
    pub timeout: Duration,
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Send the event's attributes as `ce-*` headers.
    pub event_headers: bool,
    pub retry: RetryPolicy,
    /// Older than this a delivery ends as EXPIRED, or earlier where the log keeps it for less. 1-168 h.
    pub delivery_ttl: Duration,
    /// How many requests may run at once, in each partition that it lies in. 1-1,024.
    pub max_in_flight: u16,
    /// The catalog's version of it, from 1.
    pub version: u64,
}

impl OutboundIntegration {
    /// The configured headers that are sent: none that the gateway writes itself, as a record of older rules may hold.
    pub fn own_headers(&self) -> impl Iterator<Item = &(http::HeaderName, http::HeaderValue)> {
        self.headers.iter().filter(|(name, _)| !is_reserved_header(name))
    }
}

/// GET and HEAD go without a body.
pub fn sends_body(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD")
}

/// Which units' events it hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of its own unit (or of the org itself, without one).
    EntityOnly,
    /// And those of every unit below.
    #[default]
    IncludeChildren,
}

/// What becomes of events that come while it is disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDisabled {
    #[default]
    Skip,
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_cannot_take_what_names_the_delivery_or_frames_the_message() {
        let others = ["ce-id", "ce-anything", "proxy-connection", "proxy-authorization", "webhook-id"];
        for name in RESERVED_HEADERS.iter().chain(&others) {
            assert!(is_reserved_header(&http::HeaderName::from_static(name)), "{name}");
        }
        for name in ["content-type", "authorization", "accept", "x-ce-id", "cookie", "ce", "x-webhook-id"] {
            assert!(!is_reserved_header(&http::HeaderName::from_static(name)), "{name}");
        }
    }
}
