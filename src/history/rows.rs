//! What history keeps, as the stage writes it and as it is read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::standing::Facts;
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// Where a record lies in its topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub partition: Partition,
    pub offset: Offset,
}

/// An event, known by (org, source, id); of repeats the first is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventRow {
    pub org: String,
    pub source: String,
    pub id: String,
    pub event_type: String,
    pub entity_id: Option<String>,
    pub entity_rid: Option<String>,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    pub namespace: Option<String>,
    pub dataschema: Option<String>,
    pub trace_id: Option<String>,
    /// When it happened, as its producer says.
    pub time: Timestamp,
    /// When the log took it.
    pub at: Timestamp,
    pub place: Place,
    pub content_type: String,
    /// `None` once its retention has passed.
    pub payload: Option<Bytes>,
}

/// What a delivery is about; the same whichever record tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub org: Option<String>,
    pub event_id: Option<String>,
    pub source: Option<String>,
    pub event_type: Option<String>,
    pub entity_id: Option<String>,
    pub entity_rid: Option<String>,
    pub correlation_id: Option<String>,
    pub trace_id: Option<String>,
    pub integration_id: Option<String>,
    pub action: Option<String>,
    pub trigger: Option<String>,
}

/// What the integration was when it was last tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    pub integration_name: Option<String>,
    pub target_url: Option<String>,
    pub http_method: Option<String>,
    pub max_attempts: Option<u32>,
}

/// How a delivery stands.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub status: DeliveryStatus,
    pub category: Option<ErrorCategory>,
    pub error: Option<String>,
    pub response_status: Option<u16>,
    pub duration_ms: Option<f64>,
    /// Attempts made, counted over redrives.
    pub attempts: u32,
    pub next_attempt_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
}

/// Which of two facts about a delivery is the later one, whatever order they are read in: topics are read side by side, and
/// brokers' clocks differ, so that neither the order of reading nor time can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Attempts made, redrives included.
    pub attempts: u32,
    /// How often it was put back: one that ended without a further attempt tells by that alone that it lives again.
    pub redrives: u32,
    /// How far things went after the last attempt.
    pub step: u8,
    /// The record's offset in its topic: later records of one kind replace earlier ones.
    pub offset: i64,
}

/// One record's word about a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub id: DeliveryId,
    pub about: About,
    /// Of `attempts` records only.
    pub tried: Option<Tried>,
    pub state: State,
    /// The log's time of the record.
    pub at: Timestamp,
    pub rank: Rank,
}

/// A delivery as its facts tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub about: About,
    pub tried: Tried,
    pub state: State,
    /// How often it was put back.
    pub redrives: u32,
    /// All that tells of its end is its dead letter: what became of it since may be gone from the log, or not read yet.
    pub is_known_by_letter: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What an `attempts` record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Attempt,
    Cancelled,
    Expired,
    Skipped,
}

/// What became of the delivery by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    Delivered,
    Retry,
    Dead,
    Skipped,
}

/// An attempt, or the end of a delivery without one.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub delivery: DeliveryId,
    pub place: Place,
    /// The log's time of the record.
    pub at: Timestamp,
    pub kind: Kind,
    pub attempt: u32,
    pub outcome: Outcome,
    pub status: DeliveryStatus,
    pub started_at: Timestamp,
    pub duration_ms: f64,
    pub next_attempt_at: Option<Timestamp>,
    pub category: Option<ErrorCategory>,
    pub error: Option<String>,
    pub response_status: Option<u16>,
    /// A JSON object.
    pub response_headers: Option<String>,
    pub response_body: Option<String>,
    /// `text` or `base64`.
    pub response_encoding: Option<String>,
    pub response_truncated: Option<bool>,
}

/// An event, or its match with one integration, that ended without a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub place: Place,
    pub at: Timestamp,
    pub org: String,
    pub source: String,
    pub event_id: String,
    pub integration_id: Option<String>,
    pub delivery: Option<DeliveryId>,
    /// A stable word: `duplicate`, `no_match`, `inactive`.
    pub reason: String,
}

/// Where a delivery's newest dead letter lies in `dlq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub delivery: DeliveryId,
    pub place: Place,
    pub at: Timestamp,
}

/// A record that was not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    pub place: Place,
    pub at: Timestamp,
    pub stage: String,
    pub reason: String,
    pub message: String,
    /// Where it was read: `events`, and its place there.
    pub topic: String,
    pub from: Place,
    pub org: Option<String>,
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    /// A JSON object of its own headers, without those that tell why it was rejected.
    pub headers: String,
    pub value: Option<Bytes>,
}

/// A change of the catalog, as its record in `audit` tells it. Secrets in it are sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    pub place: Place,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub kind: String,
    pub id: String,
    pub org: Option<String>,
    /// As it is afterwards or, deleted, as it was.
    pub version: u64,
    /// When the resource was made: an id that was deleted and is used again is another resource.
    pub made_at: Option<Timestamp>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    /// JSON.
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Audited {
    /// Its own id, in the order of the log.
    pub fn name(&self) -> String {
        format!("{}-{:015}", self.place.partition.0, self.place.offset.0)
    }

    /// The resource at this version, where this change tells it: it led there, or came next.
    pub fn holds(&self, version: u64) -> Option<&str> {
        match &self.after {
            Some(after) if self.version == version => Some(after),
            Some(_) if version.checked_add(1) == Some(self.version) => self.before.as_deref(),
            None if self.version == version => self.before.as_deref(),
            _ => None,
        }
    }
}

/// Rows that are written together with the offsets behind their records.
#[derive(Debug, Default)]
pub struct Batch {
    pub events: Vec<EventRow>,
    pub facts: Facts,
    pub attempts: Vec<Attempt>,
    pub skips: Vec<Skip>,
    pub dead: Vec<DeadLetter>,
    pub rejected: Vec<Rejected>,
    pub audit: Vec<Audited>,
    pub offsets: BTreeMap<(Topic, Partition), Offset>,
    /// Records that it was made of.
    pub records: BTreeMap<Topic, u64>,
    /// Of those, records that tell nothing: not an event, not JSON. Where that matters `rejected` has them.
    pub unreadable: usize,
}
