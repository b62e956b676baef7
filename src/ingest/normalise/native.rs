//! The gateway's own shape: `{eventType, entityId?, entityRid?, payload}` and what else an event has.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::wrong::Wrong;
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

/// Takes it apart and goes on past what is wrong, so that all of it is told at once.
pub(super) fn native<'a>(body: &Bytes, members: Members<'a>) -> Result<Taken<'a>, IngestError> {
    let members = members.list().map_err(|why| IngestError::refused(why, Shape::Native))?;
    let mut wrong = Wrong::default();
    wrong.extend(unknown(&members));
    let event = fields(body, members, &mut wrong)?;
    Ok(Taken { event, shape: Shape::Native, wrong })
}

fn fields<'a>(body: &Bytes, members: Vec<Member<'a>>, wrong: &mut Wrong) -> Result<Structured<'a>, IngestError> {
    let refused = |why| IngestError::refused(why, Shape::Native);
    let mut attributes: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(members.len() + 1);
    let mut data = None;
    for (name, value) in members {
        let Some((_, attribute, number)) = FIELDS.iter().find(|(field, ..)| *field == name) else { continue };
        if *attribute == "data" {
            if data.replace(value).is_some() {
                wrong.take(Err::<(), _>(refused(NotAnEvent::Duplicate(name.into_owned()))))?;
            }
            continue;
        }
        let known = attributes.iter().any(|(known, _)| known == attribute);
        let text = match known {
            true => Err(NotAnEvent::Duplicate(name.clone().into_owned())),
            false => text_of(&name, value, (attribute, *number)),
        };
        if let Some(Some(text)) = wrong.take(text.map_err(refused))? {
            attributes.push((Cow::Borrowed(attribute), text));
        }
    }
    let content_type = attributes.iter().find(|(n, _)| n == "datacontenttype").map_or(JSON, |(_, v)| v);
    let data = data.ok_or(NotAnEvent::Missing("data")).and_then(|data| payload_of(body, data, content_type));
    let payload = wrong.take(data.map_err(refused))?.unwrap_or_default();
    Ok(Structured { attributes, payload })
}

/// The text of a field's value; `None` where it is `null`.
fn text_of<'a>(
    name: &str,
    value: &'a RawValue,
    (attribute, number): (&'static str, bool),
) -> Result<Option<Cow<'a, str>>, NotAnEvent> {
    match value.get().as_bytes().first().copied().unwrap_or_default() {
        b'"' | b'n' => attribute_text(name, value),
        b'0'..=b'9' | b'-' if number => attribute_text(name, value),
        _ if number => Err(NotAnEvent::BadValue(name.to_owned())),
        _ => Err(NotAnEvent::NotAString(attribute)),
    }
}

/// A field that is spelt wrong would be an attribute that is missing, and nobody would notice.
fn unknown<'m>(members: &'m [Member<'_>]) -> impl Iterator<Item = Problem> + 'm {
    let unknown = members.iter().filter(|(name, _)| FIELDS.iter().all(|(field, ..)| field != name));
    unknown.take(MAX_NAMED).map(|(name, _)| {
        let message = match nearest(name, FIELDS.iter().map(|(field, ..)| *field)) {
            Some(field) => format!("is not a known field; did you mean `{field}`?"),
            None => "is not a known field; what is the event's own goes into `payload`".to_owned(),
        };
        Problem::new(&**name, message)
    })
}
