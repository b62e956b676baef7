//! An outbound integration: which events go where, how, and what happens when that fails.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::ids::{IntegrationId, OrgId, Rid};
use crate::model::pattern::EventPattern;
use crate::model::retry::RetryPolicy;
use crate::model::time::Timestamp;

/// Events of one organisation to one HTTP API. Holding one means that it was validated.
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
    /// Older than this a delivery ends as EXPIRED. 1-168 h.
    pub delivery_ttl: Duration,
    /// How many requests may run at once, in each partition that it lies in. 1-1,024.
    pub max_in_flight: u16,
    /// The catalog's version of it, from 1: its ETag.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
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
