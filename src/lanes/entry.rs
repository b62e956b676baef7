//! What a record of `retry` says: a lane's name is its key, the lane's entry its value. A tombstone ends the lane.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::ids::{DeliveryId, IdError, IntegrationId, Offset};
use crate::model::time::Timestamp;

/// What an ordered integration orders by: `Patient/123`, or a shard. Any text, `/` and `@` included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderingKey(Arc<str>);

impl OrderingKey {
    pub fn new(text: &str) -> Self {
        OrderingKey(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which records of an integration a lane is about. As text: `integration`, `integration/key`, `integration@offset`; an
/// integration's id holds neither `/` nor `@`, so the first of the two decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LaneName {
    /// All of them, except those of a narrower lane.
    Integration(IntegrationId),
    /// Those of one ordering key.
    Key(IntegrationId, OrderingKey),
    /// The one at this offset. Not named by its delivery: a replay has the same id and is another record.
    Single(IntegrationId, Offset),
}

impl LaneName {
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let Some(at) = text.find(['/', '@']) else { return Ok(LaneName::Integration(IntegrationId::parse(text)?)) };
        let (id, rest) = (IntegrationId::parse(&text[..at])?, &text[at + 1..]);
        if text.as_bytes()[at] == b'/' {
            return Ok(LaneName::Key(id, OrderingKey::new(rest)));
        }
        let digits = rest.bytes().all(|b| b.is_ascii_digit());
        rest.parse().ok().filter(|_| digits).map(|o| LaneName::Single(id, Offset(o))).ok_or(EntryError::Offset)
    }

    pub fn integration(&self) -> &IntegrationId {
        match self {
            LaneName::Integration(id) | LaneName::Key(id, _) | LaneName::Single(id, _) => id,
        }
    }
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaneName::Integration(id) => id.fmt(f),
            LaneName::Key(id, key) => write!(f, "{id}/{}", key.as_str()),
            LaneName::Single(id, offset) => write!(f, "{id}@{offset}"),
        }
    }
}

/// Why a lane waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The head failed and is tried again when it is due.
    Retry,
    /// Followers of a head that has ended.
    Order,
    /// Over its budget, or it would have held back the low watermark.
    Busy,
    Disabled,
    /// The breaker is open; `due` is when the next probe may go.
    Breaker,
    /// `due` is when the rate allows the next.
    RateLimited,
}

impl Reason {
    pub const ALL: [Reason; 6] =
        [Reason::Retry, Reason::Order, Reason::Busy, Reason::Disabled, Reason::Breaker, Reason::RateLimited];

    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Retry => "RETRY",
            Reason::Order => "ORDER",
            Reason::Busy => "BUSY",
            Reason::Disabled => "DISABLED",
            Reason::Breaker => "BREAKER",
            Reason::RateLimited => "RATE_LIMITED",
        }
    }

    /// Does it hold the narrower lanes of the integration too?
    pub(super) fn is_gate(self) -> bool {
        matches!(self, Reason::Disabled | Reason::Breaker | Reason::RateLimited)
    }
}

/// A lane as its owner wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Every record of the lane below this offset is done or has a narrower lane. With `attempt` above 0 the record here
    /// is the head.
    pub from: Offset,
    /// Not before this moment; left out: at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub due: Timestamp,
    /// Attempts that the head has had.
    #[serde(default)]
    pub attempt: u32,
    pub reason: Reason,
    #[serde(flatten)]
    pub about: About,
    /// Of a lane of one record: when it ends as expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Of a whole integration: offsets from `from` on that are done and that no narrower lane judges, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Offset>,
}

/// What people want to know of the last attempt of the head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The receiver's HTTP status, where it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryId>,
}

fn is_zero(t: &Timestamp) -> bool {
    *t == Timestamp::default()
}

impl Entry {
    /// The value of the record in `retry`: JSON in camel case.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Fields that are not known are ignored, so that a newer version can add some.
    pub fn decode(value: &[u8]) -> Result<Self, EntryError> {
        let mut entry: Entry = serde_json::from_slice(value)?;
        if entry.from.0 < 0 {
            return Err(EntryError::Offset);
        }
        entry.done.sort_unstable();
        Ok(entry)
    }
}

/// Why a record of `retry` cannot be understood. Without its entry a lane is forgotten: what it covered below the low
/// watermark would be lost, so report it and stop rather than go on.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("the integration in the lane's name {0}")]
    Integration(#[from] IdError),
    #[error("not an offset: expected a whole number, not negative")]
    Offset,
    #[error("not a lane's entry: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> IntegrationId {
        IntegrationId::parse(text).unwrap()
    }

    #[test]
    fn lane_names_with_separators_in_the_key_are_told_apart() {
        let key = |k: &str| LaneName::Key(id("int-1"), OrderingKey::new(k));
        let cases = [
            ("int-1", LaneName::Integration(id("int-1"))),
            ("int-1/Patient/7", key("Patient/7")),
            ("int-1/a@b", key("a@b")),
            ("int-1/", key("")),
            ("int-1@17", LaneName::Single(id("int-1"), Offset(17))),
        ];
        for (text, name) in cases {
            assert_eq!(LaneName::parse(text).unwrap(), name);
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn garbage_for_a_lane_is_an_error_and_not_another_lane() {
        for text in ["", "/k", "@1", "a b/k", "int@", "int@-1", "int@1/2", "int@+1", "int@99999999999999999999"] {
            assert!(LaneName::parse(text).is_err(), "{text}");
        }
        for value in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"from":-1,"reason":"BUSY"}"#,
            r#"{"from":1,"reason":"SLEEPY"}"#,
            r#"{"from":1}"#,
        ] {
            assert!(Entry::decode(value.as_bytes()).is_err(), "{value}");
        }
    }

    #[test]
    fn an_entry_reads_as_documented_and_ignores_what_it_does_not_know() {
        let text = r#"{"from":17,"due":"2026-11-20T08:15:30.250Z","attempt":2,"reason":"RETRY","error":"timed out",
            "status":503,"firstAt":"2026-11-20T08:15:00.000Z","delivery":"01932c07-0000-8000-8000-000000000000",
            "expires":"2026-11-27T08:15:00.000Z","newer":{"x":1}}"#;
        let entry = Entry::decode(text.as_bytes()).unwrap();
        assert_eq!((entry.from, entry.attempt, entry.reason), (Offset(17), 2, Reason::Retry));
        assert_eq!(entry.about.status, Some(503));
        let shown = String::from_utf8(entry.encode().unwrap()).unwrap();
        assert_eq!(
            shown.replace(char::is_whitespace, ""),
            text.replace(char::is_whitespace, "").replace(r#","newer":{"x":1}"#, "")
        );
        let plain = Entry::decode(br#"{"from":3,"reason":"RATE_LIMITED","done":[9,5]}"#).unwrap();
        assert_eq!(plain.done, [Offset(5), Offset(9)]);
        assert_eq!(plain.encode().unwrap(), br#"{"from":3,"attempt":0,"reason":"RATE_LIMITED","done":[5,9]}"#);
    }

    proptest! {
        #[test]
        fn every_entry_survives_the_codec(
            from in 0..i64::MAX, due in 0..4_000_000_000_000i64, attempt in any::<u32>(), reason in 0..6usize,
            error in proptest::option::of(".{0,40}"), status in proptest::option::of(any::<u16>()),
            done in proptest::collection::btree_set(0..1_000_000i64, 0..50),
        ) {
            let entry = Entry {
                from: Offset(from), due: Timestamp(due), attempt, reason: Reason::ALL[reason],
                about: About { error, status, first_at: None, delivery: None }, expires: None,
                done: done.into_iter().map(Offset).collect(),
            };
            prop_assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
        }

        #[test]
        fn every_lane_name_survives_its_text(integration in "[A-Za-z0-9._:-]{1,40}", key in ".{0,40}", offset in 0..i64::MAX) {
            let id = id(&integration);
            for name in [
                LaneName::Integration(id.clone()),
                LaneName::Key(id.clone(), OrderingKey::new(&key)),
                LaneName::Single(id.clone(), Offset(offset)),
            ] {
                prop_assert_eq!(LaneName::parse(&name.to_string()).unwrap(), name);
            }
        }
    }
}
