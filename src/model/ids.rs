//! Names and numbers that must not be mixed up. Parsed once, at the edge; holding one means that it is valid.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not an id of the kind asked for; reads as the end of "`orgId` …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("must be 1-128 of A-Z a-z 0-9 . _ : -")]
    Identifier,
    #[error("must be 1-255 printable characters without spaces or `*`")]
    EventType,
    #[error("must be 1-256 bytes without control characters")]
    Text,
    #[error("must be 1-2048 bytes without control characters")]
    Label,
    #[error("must be a UUID")]
    Uuid,
}

fn identifier(text: &str) -> Result<(), IdError> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if (1..=128).contains(&text.len()) && text.bytes().all(ok) { Ok(()) } else { Err(IdError::Identifier) }
}

fn event_type(text: &str) -> Result<(), IdError> {
    let ok = |c: char| !c.is_control() && !c.is_whitespace() && c != '*';
    if !text.is_empty() && text.chars().count() <= 255 && text.chars().all(ok) {
        Ok(())
    } else {
        Err(IdError::EventType)
    }
}

fn text_id(text: &str) -> Result<(), IdError> {
    if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) { Ok(()) } else { Err(IdError::Text) }
}

fn label(text: &str) -> Result<(), IdError> {
    if (1..=2048).contains(&text.len()) && !text.chars().any(char::is_control) { Ok(()) } else { Err(IdError::Label) }
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, IdError> {
                Self::check(text)?;
                Ok($name(text.into()))
            }

            /// Whether `parse` would take the text, without keeping it.
            pub fn check(text: &str) -> Result<(), IdError> {
                $check(text)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = TextOrNumber::deserialize(d)?.0;
                $name::parse(&text).map_err(|e| serde::de::Error::custom(format!("`{text}` {e}")))
            }
        }
    };
}

text_newtype!(
    /// A tenant. `[A-Za-z0-9._:-]{1,128}`; taken as a JSON string or number.
    OrgId,
    identifier
);
text_newtype!(
    /// An org unit. `[A-Za-z0-9._:-]{1,128}`.
    Rid,
    identifier
);
text_newtype!(
    /// An integration. `[A-Za-z0-9._:-]{1,128}`; unique over all organizations, so it never holds a `/`, which
    /// separates it from the ordering key in record keys and lane names.
    IntegrationId,
    identifier
);
text_newtype!(
    /// A resource of the catalog, whatever its kind. `[A-Za-z0-9._:-]{1,128}`.
    ResourceId,
    identifier
);
text_newtype!(
    /// An event's type: `patient.created`, `PATIENT_REGISTERED`, `aws:s3`. Case-sensitive.
    EventType,
    event_type
);
text_newtype!(
    /// An event's id, unique within its org and source.
    EventId,
    text_id
);
text_newtype!(
    /// What an event is about: `Patient/123`, `123^^^MRN`.
    EntityId,
    text_id
);
text_newtype!(
    /// Where an event comes from (CloudEvents `source`).
    Source,
    text_id
);

text_newtype!(
    /// What an event carries along for people and receivers and no rule reads: correlation id, schema, content type.
    Label,
    label
);

impl ResourceId {
    /// None sorts before it.
    pub fn least() -> ResourceId {
        ResourceId("-".into())
    }
}

macro_rules! id_of_a_resource {
    ($($name:ident),*) => {$(
        impl From<&$name> for ResourceId {
            fn from(id: &$name) -> Self {
                ResourceId(Arc::clone(&id.0))
            }
        }
    )*};
}

id_of_a_resource!(OrgId, Rid, IntegrationId);

/// JSON strings as they are, whole numbers as their digits: producers send `648` and `"648"`.
struct TextOrNumber(String);

impl<'de> Deserialize<'de> for TextOrNumber {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = TextOrNumber;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or a whole number")
            }
            fn visit_str<E>(self, v: &str) -> Result<TextOrNumber, E> {
                Ok(TextOrNumber(v.to_owned()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<TextOrNumber, E> {
                Ok(TextOrNumber(v.to_string()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<TextOrNumber, E> {
                Ok(TextOrNumber(v.to_string()))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// One delivery of one event to one integration: the same on every attempt, resend and replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub Uuid);

impl JsonSchema for DeliveryId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DeliveryId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uuid"})
    }
}

impl DeliveryId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text).map(DeliveryId).map_err(|_| IdError::Uuid)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

macro_rules! number_newtype {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_newtype!(
    /// A partition of a topic, from 0.
    Partition,
    i32
);
number_newtype!(
    /// The place of a record in its partition, from 0. As a position: the next offset to read.
    Offset,
    i64
);

impl Offset {
    pub const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}
