//! What the stage and the API ask of a history store. The conformance suite (`tests/`) holds each store to it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::rows::{Attempt, Audited, Batch, DeadLetter, Delivery, EventRow, Rejected, Skip};
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::Offset;
use crate::model::ids::{DeliveryId, OrgId, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// Matches are counted up to here, those of a search, each of which is looked at, up to the second; a larger total is an estimate.
pub const COUNTED: u64 = 100_000;
pub const SEARCHED: u64 = 10_000;

/// Why the store did not do it: a sentence that says what is wrong, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("{0}")]
    Away(String),
    /// There is too much to look at for what was asked, which others wait behind.
    #[error(
        "it takes longer than {0:?} to find; narrow it down by dates, an organization, an integration, a status or an id"
    )]
    Slow(Duration),
    #[error("too much is asked of it at once; try again in a moment")]
    Busy,
}

/// The moments before which rows are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Of events, skips and rejected records.
    pub events: Timestamp,
    /// Of deliveries, by their last change, and their dead letters.
    pub deliveries: Timestamp,
    pub attempts: Timestamp,
    /// Of payloads and answers' bodies.
    pub bodies: Timestamp,
    /// Of changes of the catalog.
    pub audit: Timestamp,
}

/// For how long rows are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub events: Duration,
    pub deliveries: Duration,
    pub attempts: Duration,
    pub bodies: Duration,
    pub audit: Duration,
}

impl Retention {
    pub fn at(&self, now: Timestamp) -> Cutoffs {
        let before = |d: Duration| Timestamp(now.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)));
        Cutoffs {
            events: before(self.events),
            deliveries: before(self.deliveries),
            attempts: before(self.attempts),
            bodies: before(self.bodies),
            audit: before(self.audit),
        }
    }
}

/// Which events; `None` and empty let everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    pub org: Option<OrgId>,
    pub event_type: Option<String>,
    pub entity_id: Option<String>,
    pub correlation_id: Option<String>,
    /// From this moment of the log on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// An event's, entity's or correlation id as a whole.
    pub search: Option<String>,
}

/// Which deliveries; `None` and empty let everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    pub org: Option<OrgId>,
    pub statuses: Vec<DeliveryStatus>,
    pub integration_id: Option<String>,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub entity_id: Option<String>,
    pub correlation_id: Option<String>,
    pub category: Option<ErrorCategory>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// An event's, entity's, correlation or delivery id as a whole, or a part of the integration's name or of the error.
    pub search: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedFilter {
    pub org: Option<OrgId>,
    pub stage: Option<String>,
    pub reason: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Which changes of the catalog; `None` lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub org: Option<OrgId>,
    pub kind: Option<String>,
    /// Of this resource; kinds may share an id.
    pub id: Option<String>,
    pub actor: Option<String>,
    pub action: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// One resource from when it was made until it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub kind: String,
    pub id: String,
    pub org: Option<String>,
    pub made_at: Timestamp,
}

/// When somebody or something came in last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// `User` or `ApiKey`.
    pub kind: &'static str,
    pub id: String,
    pub at: Timestamp,
}

/// The last item of a page: the next one begins behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub at: Timestamp,
    pub id: String,
}

/// Newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub skip: usize,
    pub limit: usize,
    pub after: Option<Cursor>,
}

/// One page of what a filter lets through.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Of all pages, as far as they were counted.
    pub total: u64,
    /// There may be more.
    pub is_estimate: bool,
    pub has_more: bool,
}

/// How all deliveries stand together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Dead letters, counted up to `COUNTED`.
    pub dead: u64,
    /// When the oldest delivery that has not ended was made.
    pub oldest_unfinished: Option<Timestamp>,
}

/// Connections that answer questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    pub in_use: usize,
    pub idle: usize,
}

/// An event by its id; org and source tell apart those that share it.
#[derive(Clone, Copy, Debug)]
pub struct EventKey<'a> {
    pub org: Option<&'a str>,
    pub source: Option<&'a str>,
    pub id: &'a str,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// How far each partition was projected.
    async fn offsets(&self) -> Result<BTreeMap<(Topic, Partition), Offset>, StoreError>;

    /// Writes rows and offsets in one transaction. The same batch again changes nothing, and batches of different topics in
    /// another order come to the same rows.
    async fn write(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Deletes at most `most` rows of each table that are older than the cut-offs; answers how many went.
    async fn prune(&self, before: Cutoffs, most: u32) -> Result<u64, StoreError>;

    async fn census(&self) -> Result<Census, StoreError>;

    fn connections(&self) -> Connections;

    /// Without payloads.
    async fn events(&self, filter: &EventFilter, page: &Page) -> Result<Listed<EventRow>, StoreError>;

    /// The first few events of this key, with their payloads.
    async fn event(&self, key: EventKey<'_>) -> Result<Vec<EventRow>, StoreError>;

    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listed<Delivery>, StoreError>;

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError>;

    /// The deliveries of one event, oldest first, a thousand at most.
    async fn deliveries_of(&self, event: &EventRow) -> Result<Vec<Delivery>, StoreError>;

    /// In their order, a thousand at most.
    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError>;

    /// Those of one event, a thousand at most.
    async fn skips(&self, event: &EventRow) -> Result<Vec<Skip>, StoreError>;

    async fn dead_letter(&self, delivery: DeliveryId) -> Result<Option<DeadLetter>, StoreError>;

    async fn rejected(&self, filter: &RejectedFilter, page: &Page) -> Result<Listed<Rejected>, StoreError>;

    /// What was rejected of one event's record.
    async fn rejected_of(&self, event: &EventRow) -> Result<Vec<Rejected>, StoreError>;

    async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listed<Audited>, StoreError>;

    /// The changes of one resource, the highest version first; a `Cursor` has the version in the place of the moment.
    async fn versions(&self, of: &Lifetime, page: &Page) -> Result<Listed<Audited>, StoreError>;

    /// The change that led to a version or, where that is no longer kept, the one after it: `Audited::holds` has the version.
    async fn version(&self, of: &Lifetime, version: u64) -> Result<Option<Audited>, StoreError>;

    /// Keeps when each was used last; a moment before the one that is known changes nothing.
    async fn used(&self, uses: &[Use]) -> Result<(), StoreError>;

    /// When those of a kind were used last; who never was is not among them.
    async fn uses(&self, kind: &str, ids: &[&str]) -> Result<BTreeMap<String, Timestamp>, StoreError>;
}
