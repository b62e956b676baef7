//! The gateway's own shape: `{eventType, entityId?, entityRid?, payload}` and what else an event has.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Shape, Taken};
use crate::ingest::error::IngestError;
use crate::model::event::{JSON, Member, Members, NotAnEvent, Structured, attribute_text, payload_of};
use crate::model::problem::Problem;
use crate::model::suggest::nearest;

/// Unknown fields that one answer names.
const MAX_NAMED: usize = 10;

/// A field: its name, the CloudEvents attribute that it is, and whether producers may send it as a number.
const FIELDS: [(&str, &str, bool); 14] = [
    ("eventType", "type", false),
    ("id", "id", true),
    ("orgId", "orgid", true),
    ("entityRid", "entityrid", true),
    ("entityId", "subject", true),
    ("source", "source", false),
    ("time", "time", false),
    ("correlationId", "correlationid", true),
    ("causationId", "causationid", true),
    ("namespace", "namespace", false),
    ("dataschema", "dataschema", false),
    ("contentType", "datacontenttype", false),
    ("payload", "data", false),
    // As the canonical event names it, so that one that was read can be sent again.
    ("type", "type", false),
];

/// The name of a CloudEvents attribute in this shape.
pub(super) fn field(attribute: &str) -> &str {
    FIELDS.iter().find(|(_, a, _)| *a == attribute).map_or(attribute, |(name, ..)| name)
}

pub(super) fn native<'a>(body: &Bytes, members: Members<'a>) -> Result<Taken<'a>, IngestError> {
    let refused = |why| IngestError::refused(why, Shape::Native);
    let members = members.list().map_err(refused)?;
    known(&members)?;
    let event = fields(body, members).map_err(refused)?;
    Ok(Taken { event, shape: Shape::Native })
}

fn fields<'a>(body: &Bytes, members: Vec<Member<'a>>) -> Result<Structured<'a>, NotAnEvent> {
    let mut attributes: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(members.len() + 1);
    let mut data = None;
    for (name, value) in members {
        let Some((_, attribute, number)) = FIELDS.iter().find(|(field, ..)| *field == name) else { continue };
        if *attribute == "data" {
            if data.replace(value).is_some() {
                return Err(NotAnEvent::Duplicate(name.into_owned()));
            }
            continue;
        }
        let first = value.get().as_bytes().first().copied().unwrap_or_default();
        if !(matches!(first, b'"' | b'n') || *number && matches!(first, b'0'..=b'9' | b'-')) {
            return Err(if *number {
                NotAnEvent::BadValue(name.into_owned())
            } else {
                NotAnEvent::NotAString(attribute)
            });
        }
        if attributes.iter().any(|(known, _)| known == attribute) {
            return Err(NotAnEvent::Duplicate(name.into_owned()));
        }
        if let Some(text) = attribute_text(&name, value)? {
            attributes.push((Cow::Borrowed(attribute), text));
        }
    }
    let content_type = attributes.iter().find(|(n, _)| n == "datacontenttype").map_or(JSON, |(_, v)| v);
    let data = data.ok_or(NotAnEvent::Missing("data"))?;
    let payload = payload_of(body, data, content_type)?;
    Ok(Structured { attributes, payload })
}

/// A field that is spelt wrong would be an attribute that is missing, and nobody would notice.
fn known(members: &[Member<'_>]) -> Result<(), IngestError> {
    let unknown = members.iter().filter(|(name, _)| FIELDS.iter().all(|(field, ..)| field != name));
    let problems: Vec<Problem> = unknown
        .take(MAX_NAMED)
        .map(|(name, _)| {
            let message = match nearest(name, FIELDS.iter().map(|(field, ..)| *field)) {
                Some(field) => format!("is not a known field; did you mean `{field}`?"),
                None => "is not a known field; what is the event's own goes into `payload`".to_owned(),
            };
            Problem::new(&**name, message)
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(IngestError::Invalid(problems)) }
}
