//! Why something was not accepted, in the words of whoever sent it.

use std::time::Duration;

use crate::ingest::normalise::Shape;
use crate::model::event::NotAnEvent;
use crate::model::ids::EventId;
use crate::model::problem::{Problem, summary};

/// Why an event, or a whole request, was not accepted. The message is for the sender: it holds no payload, and no cause
/// that is the operator's business.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    #[error("{}", summary(.0))]
    Invalid(Vec<Problem>),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    MediaType(String),
    #[error("too much is waiting for the log; nothing was accepted, try again")]
    Busy,
    #[error("the log cannot be reached now; nothing was accepted, try again")]
    Unavailable,
    #[error("{}", unconfirmed(.0.as_ref()))]
    Unconfirmed(Option<EventId>),
    #[error("the log does not take events; nothing was accepted, its operator must look at it")]
    Broken,
}

impl IngestError {
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        IngestError::Invalid(vec![Problem::new(path, message)])
    }

    /// When it is worth trying again, where it is.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            IngestError::Busy => Some(Duration::from_secs(1)),
            IngestError::Unavailable | IngestError::Unconfirmed(_) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }

    /// The refusal of an event that was written in this shape. The message reads on after the path.
    pub(super) fn refused(why: NotAnEvent, shape: Shape) -> Self {
        let message = match &why {
            NotAnEvent::PayloadTooLarge { .. } | NotAnEvent::HeadersTooLarge { .. } => {
                return IngestError::TooLarge(why.to_string());
            }
            // The body as a whole was read already: it is the payload.
            NotAnEvent::NotJson(fault) => {
                return IngestError::invalid(
                    shape.field("data"),
                    format!("is not the JSON that its content type says: {fault}"),
                );
            }
            NotAnEvent::TooDeep(_) => return IngestError::invalid(shape.field("data"), format!("is {why}")),
            NotAnEvent::Missing(_) => "is required".to_owned(),
            NotAnEvent::Bad { why, .. } => why.to_string(),
            NotAnEvent::BadTime => "must be a time with an offset as in RFC 3339: 2026-11-20T08:15:30Z".to_owned(),
            NotAnEvent::UnknownSpecversion => "must be 1.0".to_owned(),
            NotAnEvent::BadExtension(_) => {
                "must have a name of 1-20 of a-z 0-9 and a value that is text without control characters".to_owned()
            }
            NotAnEvent::BadValue(_, form) => format!("must be {form}"),
            NotAnEvent::Duplicate(_) => "occurs twice".to_owned(),
            NotAnEvent::NotText(_) => "is not UTF-8".to_owned(),
            NotAnEvent::BadData(why) => (*why).to_owned(),
            _ => why.to_string(),
        };
        IngestError::invalid(why.attribute().map_or("", |name| shape.field(name)), message)
    }
}

fn unconfirmed(id: Option<&EventId>) -> String {
    let again = match id {
        Some(id) => format!("send it again with the id {id}"),
        None => "send them again with the same ids or `Idempotency-Key`".to_owned(),
    };
    format!(
        "the log did not confirm in time, so whether it has the events is not known; {again} within ten minutes: a repeat is recognised"
    )
}
