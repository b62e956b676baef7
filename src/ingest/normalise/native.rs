//! The gateway's own shape: `{eventType, entityId?, entityRid?, payload}` and what else an event has.

use std::borrow::Cow;

use bytes::Bytes;

use super::wrong::Wrong;
use super::{Shape, Taken};
use crate::ingest::error::IngestError;
use crate::model::event::{JSON, Member, Members, NotAnEvent, Structured, attribute_text, payload_of};
use crate::model::problem::Problem;
use crate::model::suggest::nearest;

/// Unknown fields that one answer names.
const MAX_NAMED: usize = 10;

/// A field: its name, and the CloudEvents attribute that it is.
const FIELDS: [(&str, &str); 14] = [
    ("eventType", "type"),
    ("id", "id"),
    ("orgId", "orgid"),
    ("entityRid", "entityrid"),
    ("entityId", "subject"),
    ("source", "source"),
    ("time", "time"),
    ("correlationId", "correlationid"),
    ("causationId", "causationid"),
    ("namespace", "namespace"),
    ("dataschema", "dataschema"),
    ("contentType", "datacontenttype"),
    ("payload", "data"),
    // As the canonical event names it, so that one that was read can be sent again.
    ("type", "type"),
];

/// The name of a CloudEvents attribute in this shape.
pub(super) fn field(attribute: &str) -> &str {
    FIELDS.iter().find(|(_, a)| *a == attribute).map_or(attribute, |(name, _)| name)
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
        let Some((_, attribute)) = FIELDS.iter().find(|(field, _)| *field == name) else { continue };
        if *attribute == "data" {
            if data.replace(value).is_some() {
                wrong.take(Err::<(), _>(refused(NotAnEvent::Duplicate(name.into_owned()))))?;
            }
            continue;
        }
        let known = attributes.iter().any(|(known, _)| known == attribute);
        let text = match known {
            true => Err(NotAnEvent::Duplicate(name.clone().into_owned())),
            false => attribute_text(attribute, value),
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

/// A field that is spelt wrong would be an attribute that is missing, and nobody would notice.
fn unknown<'m>(members: &'m [Member<'_>]) -> impl Iterator<Item = Problem> + 'm {
    let unknown = members.iter().filter(|(name, _)| FIELDS.iter().all(|(field, _)| field != name));
    unknown.take(MAX_NAMED).map(|(name, _)| {
        let message = match nearest(name, FIELDS.iter().map(|(field, _)| *field)) {
            Some(field) => format!("is not a known field; did you mean `{field}`?"),
            None => "is not a known field; what is the event's own goes into `payload`".to_owned(),
        };
        Problem::new(&**name, message)
    })
}
