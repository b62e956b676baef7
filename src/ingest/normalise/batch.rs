//! Many events in one body: `{"events": [...]}`, a bare array, or a CloudEvents batch.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

use super::wrong::MAX_TOLD;
use super::{Format, Request, by_shape, cloudevents, finish, format, text};
use crate::ingest::error::IngestError;
use crate::model::event::{Event, Members};
use crate::model::problem::{Problem, not_json};

/// Events that a batch may have.
pub const MAX_BATCH: usize = 1_000;

/// The events of a batch, in order, each with what is wrong with it; an error where the body as a whole is unreadable.
pub fn batch(request: &Request<'_>, body: &Bytes) -> Result<Vec<Result<Event, IngestError>>, IngestError> {
    let take = match format(request.headers)? {
        Format::Json => by_shape,
        Format::CloudEventsBatch => cloudevents::structured,
        Format::Binary | Format::Structured => {
            let message = "a batch is expected here: application/json or application/cloudevents-batch+json";
            return Err(IngestError::MediaType(message.to_owned()));
        }
    };
    let items = items(text(body)?)?;
    if items.is_empty() {
        return Err(IngestError::invalid("events", format!("must hold 1-{MAX_BATCH} events")));
    }
    let event = |(index, members)| finish(request, &take(body, members)?, Some(index));
    Ok(items.into_iter().enumerate().map(event).collect())
}

/// The items of the array, read in one pass: what is in them is found out one by one.
fn items(json: &str) -> Result<Vec<Members<'_>>, IngestError> {
    let bare = json.trim_start().starts_with('[');
    let parsed = if bare { serde_json::from_str(json) } else { serde_json::from_str(json).map(|b: Body<'_>| b.events) };
    match parsed {
        Ok(Items(items)) => Ok(items),
        Err(e) if e.is_data() => Err(IngestError::Invalid(no_batch(json))),
        Err(e) => Err(IngestError::invalid("", format!("the body {}", not_json(&e)))),
    }
}

/// Why JSON is no batch, in our words: read again, for it is read in one pass while it is one.
fn no_batch(json: &str) -> Vec<Problem> {
    let count = || Problem::new("events", format!("must hold 1-{MAX_BATCH} events"));
    let list = match serde_json::from_str(json) {
        Ok(Members::Object(list)) => list,
        // A bare array that was refused has too many.
        _ if json.trim_start().starts_with('[') => return vec![count()],
        _ => return vec![Problem::new("", "must be an array of events, or an object with `events`")],
    };
    let unknown = list.iter().filter(|(name, _)| name != "events").take(MAX_TOLD);
    let mut problems: Vec<Problem> = unknown
        .map(|(name, _)| Problem::new(&**name, "is not a known field; a batch is `{\"events\": [...]}`"))
        .collect();
    let mut given = list.iter().filter(|(name, _)| name == "events");
    problems.extend(match (given.next(), given.next()) {
        (None, _) => Some(Problem::new("events", "is required")),
        (_, Some(_)) => Some(Problem::new("events", "occurs twice")),
        (Some((_, value)), None) if !value.get().starts_with('[') => {
            Some(Problem::new("events", "must be an array of events"))
        }
        (Some(_), None) if problems.is_empty() => Some(count()),
        (Some(_), None) => None,
    });
    problems
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an array of events, or an object with `events`")]
struct Body<'a> {
    #[serde(borrow)]
    events: Items<'a>,
}

/// At most `MAX_BATCH` objects; more is an error before they are read.
struct Items<'a>(Vec<Members<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::with_capacity(100);
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX_BATCH {
                        return Err(serde::de::Error::custom(format!("must hold 1-{MAX_BATCH} events")));
                    }
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        d.deserialize_seq(Collect)
    }
}
