//! Records of the log: a key, a value and readable headers.

use std::borrow::Cow;

use bytes::Bytes;

use crate::model::ids::{Offset, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// A record as it is written and read. A `value` of `None` is a tombstone in a compacted topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

impl Record {
    /// Bytes that it occupies, near enough for budgets: key, value, headers and their bookkeeping.
    pub fn size(&self) -> usize {
        let len = |b: &Option<Bytes>| b.as_ref().map_or(0, Bytes::len);
        len(&self.key) + len(&self.value) + self.headers.size() + 64
    }
}

/// A record that was read, with its place and the log's (or the producer's) timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub partition: Partition,
    pub offset: Offset,
    pub timestamp: Timestamp,
    pub record: Record,
}

/// A record to be written. Without a partition the key decides (murmur2, as Java producers do).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub topic: Topic,
    pub partition: Option<Partition>,
    pub record: Record,
}

/// Header names are known words almost always, so they are seldom allocated.
pub type HeaderName = Cow<'static, str>;

/// Headers in their order; a name may occur more than once, the last one counts (as Kafka's `lastHeader`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, Bytes)>);

impl Headers {
    pub fn with_capacity(n: usize) -> Self {
        Headers(Vec::with_capacity(n))
    }

    /// The value of `name` as bytes.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The value of `name` where it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    pub fn push(&mut self, name: impl Into<HeaderName>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Replaces every value of `name` by one.
    pub fn set(&mut self, name: impl Into<HeaderName>, value: impl Into<Bytes>) {
        let name = name.into();
        self.0.retain(|(n, _)| *n != name);
        self.0.push((name, value.into()));
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &Bytes)> {
        self.0.iter().map(|(n, v)| (n, v))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of names and values and their bookkeeping.
    pub fn size(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len() + 16).sum()
    }
}

/// Characters of an error or a message in a header: a sentence for a reader, and a record with it has bounded size.
pub const MAX_SENTENCE: usize = 1_000;

/// A text as the value of a header, cut at `MAX_SENTENCE` characters.
pub fn sentence(text: &str) -> String {
    text.chars().take(MAX_SENTENCE).collect()
}

/// The header names that the gateway itself writes; `intern` maps a name that was read onto them.
pub mod header {
    use super::HeaderName;

    macro_rules! names {
        ($($konst:ident = $text:literal),* $(,)?) => {
            $(pub const $konst: &str = $text;)*

            /// The name without an allocation where it is one of the gateway's own.
            pub fn intern(name: &str) -> HeaderName {
                match name {
                    $($text => HeaderName::Borrowed($text),)*
                    other => HeaderName::Owned(other.to_owned()),
                }
            }
        };
    }

    names! {
        CE_SPECVERSION = "ce_specversion",
        CE_ID = "ce_id",
        CE_TYPE = "ce_type",
        CE_SOURCE = "ce_source",
        CE_TIME = "ce_time",
        CE_SUBJECT = "ce_subject",
        CE_DATASCHEMA = "ce_dataschema",
        CE_ORGID = "ce_orgid",
        CE_ENTITYRID = "ce_entityrid",
        CE_CORRELATIONID = "ce_correlationid",
        CE_CAUSATIONID = "ce_causationid",
        CE_NAMESPACE = "ce_namespace",
        CONTENT_TYPE = "content-type",
        TRACEPARENT = "traceparent",
        TRACESTATE = "tracestate",
        TG_DELIVERY = "tg_delivery",
        TG_INTEGRATION = "tg_integration",
        TG_ACTION = "tg_action",
        TG_CATALOG = "tg_catalog",
        TG_TRIGGER = "tg_trigger",
        TG_ATTEMPT = "tg_attempt",
        TG_OUTCOME = "tg_outcome",
        TG_ERROR = "tg_error",
        TG_STATUS = "tg_status",
        TG_FIRST_AT = "tg_first_at",
        TG_REDRIVES = "tg_redrives",
        TG_WRITE = "tg_write",
        TG_MORE = "tg_more",
        TG_REASON = "tg_reason",
        ERRORS_TOPIC = "__connect.errors.topic",
        ERRORS_PARTITION = "__connect.errors.partition",
        ERRORS_OFFSET = "__connect.errors.offset",
        ERRORS_STAGE = "__connect.errors.stage",
        ERRORS_CLASS = "__connect.errors.exception.class.name",
        ERRORS_MESSAGE = "__connect.errors.exception.message",
    }
}
