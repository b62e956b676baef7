//! Why something is not an event.

use super::structured::Scalar;
use crate::model::ids::IdError;

/// Why a record or a request holds no event. The message never quotes the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEvent {
    #[error("`{0}` is missing; a record in binary mode has it in the header `ce_{0}`")]
    Missing(&'static str),
    #[error("`{attribute}` {why}")]
    Bad { attribute: &'static str, why: IdError },
    #[error("`time` must be a time with an offset as in RFC 3339: 2026-11-20T08:15:30Z")]
    BadTime,
    #[error("`specversion` must be 1.0")]
    UnknownSpecversion,
    #[error("`{0}` must have a name of 1-20 of a-z 0-9 and a value that is text without control characters")]
    BadExtension(String),
    #[error("`{0}` is not UTF-8")]
    NotText(String),
    #[error("`{0}` must be {1}")]
    BadValue(String, Scalar),
    #[error("`{0}` occurs twice")]
    Duplicate(String),
    #[error("more than {0} attributes")]
    TooManyAttributes(usize),
    #[error("the format `{0}` is not understood; send application/cloudevents+json, or binary mode")]
    UnknownFormat(String),
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("an event is a JSON object, this is another value")]
    NotAnObject,
    #[error("`data` {0}")]
    BadData(&'static str),
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("the payload has {bytes} bytes, more than {limit}")]
    PayloadTooLarge { bytes: usize, limit: usize },
    #[error("the attributes have {bytes} bytes, more than {limit}")]
    HeadersTooLarge { bytes: usize, limit: usize },
}

impl NotAnEvent {
    /// A stable word for it: the reason in `rejected`, a label of metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            NotAnEvent::Missing(_) => "missing_header",
            NotAnEvent::Bad { attribute, .. } => match *attribute {
                "id" => "bad_id",
                "source" => "bad_source",
                "type" => "bad_type",
                "orgid" => "bad_org",
                "subject" => "bad_subject",
                "entityrid" => "bad_entityrid",
                _ => "bad_attribute",
            },
            NotAnEvent::BadTime => "bad_time",
            NotAnEvent::UnknownSpecversion => "unknown_specversion",
            NotAnEvent::BadExtension(_) => "bad_extension",
            NotAnEvent::NotText(_) => "not_text",
            NotAnEvent::BadValue(..) => "bad_attribute",
            NotAnEvent::Duplicate(_) => "duplicate_attribute",
            NotAnEvent::TooManyAttributes(_) => "too_many_attributes",
            NotAnEvent::UnknownFormat(_) => "unknown_format",
            NotAnEvent::NotJson(_) => "not_json",
            NotAnEvent::NotAnObject => "not_an_object",
            NotAnEvent::BadData(_) => "bad_data",
            NotAnEvent::TooDeep(_) => "too_deep",
            NotAnEvent::PayloadTooLarge { .. } => "payload_too_large",
            NotAnEvent::HeadersTooLarge { .. } => "headers_too_large",
        }
    }

    /// The CloudEvents attribute it is about, where it is about one.
    pub fn attribute(&self) -> Option<&str> {
        match self {
            NotAnEvent::Missing(name) | NotAnEvent::Bad { attribute: name, .. } => Some(name),
            NotAnEvent::BadTime => Some("time"),
            NotAnEvent::UnknownSpecversion => Some("specversion"),
            NotAnEvent::BadExtension(name)
            | NotAnEvent::NotText(name)
            | NotAnEvent::BadValue(name, _)
            | NotAnEvent::Duplicate(name) => Some(name),
            NotAnEvent::BadData(_) | NotAnEvent::PayloadTooLarge { .. } => Some("data"),
            _ => None,
        }
    }
}
