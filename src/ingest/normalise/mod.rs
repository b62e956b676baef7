//! The shapes that events come in, each turned into the canonical event: by content type, or by the shape of the JSON.

mod batch;
mod cloudevents;
mod native;
#[cfg(test)]
mod tests;
mod wrong;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use uuid::Uuid;

pub use batch::{MAX_BATCH, batch};

use crate::ingest::error::IngestError;
use crate::model::event::{
    Attributes, Event, Extensions, JSON, MAX_PAYLOAD, Members, NotAnEvent, Structured, check_json, is_json,
    is_structured,
};
use crate::model::problem::not_json;
use crate::model::time::Timestamp;
use wrong::Wrong;

/// The source of events that name none.
const SOURCE: &str = "rest";

/// What a request says beside its body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub headers: &'a HeaderMap,
    /// The organization that the request as a whole names; one in an event must be the same.
    pub org: Option<&'a str>,
    pub now: Timestamp,
}

/// How an event was written: which names its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Native,
    CloudEvents,
}

impl Shape {
    /// The sender's name of a CloudEvents attribute.
    pub(super) fn field(self, attribute: &str) -> &str {
        match (self, attribute) {
            (_, "orgid") => "orgId",
            (Shape::Native, name) => native::field(name),
            (Shape::CloudEvents, name) => name,
        }
    }
}

/// An event taken apart, its rules not checked.
struct Taken<'a> {
    event: Structured<'a>,
    shape: Shape,
    /// What could not be taken.
    wrong: Wrong,
}

/// What the content type says that the body is.
enum Format {
    Binary,
    Structured,
    CloudEventsBatch,
    /// Which event or events the JSON holds is told by its shape.
    Json,
}

/// The one event of a request.
pub fn one(request: &Request<'_>, body: &Bytes) -> Result<Event, IngestError> {
    let taken = match format(request.headers)? {
        Format::Binary => cloudevents::binary(request.headers, body)?,
        Format::Structured => cloudevents::structured(body, members(body)?)?,
        Format::Json => by_shape(body, members(body)?)?,
        Format::CloudEventsBatch => {
            return Err(IngestError::MediaType(
                "one event is expected here; send batches to /api/v1/events/batch".into(),
            ));
        }
    };
    finish(request, &taken, None)
}

fn format(headers: &HeaderMap) -> Result<Format, IngestError> {
    let content_type = headers.get(CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("unreadable"));
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/cloudevents+json") {
        return Ok(Format::Structured);
    }
    if media_type.eq_ignore_ascii_case("application/cloudevents-batch+json") {
        return Ok(Format::CloudEventsBatch);
    }
    if !is_structured(media_type) {
        if ["ce-specversion", "ce-type", "ce-id"].iter().any(|name| headers.contains_key(*name)) {
            return Ok(Format::Binary);
        }
        if media_type.is_empty() || is_json(media_type) {
            return Ok(Format::Json);
        }
    }
    Err(IngestError::MediaType(
        "the content type is not understood; send application/json, application/cloudevents+json, or a CloudEvent in \
         binary mode, its attributes in `ce-` headers"
            .to_owned(),
    ))
}

fn by_shape<'a>(body: &Bytes, members: Members<'a>) -> Result<Taken<'a>, IngestError> {
    let cloud_event = matches!(&members, Members::Object(list) if list.iter().any(|(name, _)| name == "specversion"));
    if cloud_event { cloudevents::structured(body, members) } else { native::native(body, members) }
}

fn text(body: &Bytes) -> Result<&str, IngestError> {
    std::str::from_utf8(body).map_err(|e| IngestError::invalid("", format!("the body is not UTF-8: {e}")))
}

fn members(body: &Bytes) -> Result<Members<'_>, IngestError> {
    serde_json::from_str(text(body)?).map_err(|e| IngestError::invalid("", format!("the body {}", not_json(&e))))
}

/// Fills in what the request says for the event, and checks everything. `index`: its place in a batch.
fn finish(request: &Request<'_>, taken: &Taken<'_>, index: Option<usize>) -> Result<Event, IngestError> {
    let refused = |why| IngestError::refused(why, taken.shape);
    let mut wrong = taken.wrong.clone();
    let (mut attributes, others) = taken.event.by_name();
    attributes.orgid = wrong.take(org(request.org, attributes.orgid))?.flatten();
    if taken.shape == Shape::Native {
        attributes.specversion = Some("1.0");
        attributes.source = attributes.source.or(Some(SOURCE));
    }
    trace_context(&mut attributes, request.headers, index.is_some());
    let key = wrong.take(idempotency_key(request.headers))?.flatten();
    let id = || match key {
        Some(key) => keyed_id(attributes.orgid.unwrap_or_default(), key, index),
        None => fresh_id(request.now),
    };
    let headers = match attributes.check(id, || request.now) {
        Ok(headers) => Some(headers),
        Err(_) => {
            wrong.attributes(attributes, taken.shape)?;
            None
        }
    };
    // A payload is judged by its content type, so that one that is wrong says nothing of it.
    let content_type = headers.as_ref().map_or(JSON, |headers| headers.content_type);
    wrong.take(check_payload(content_type, &taken.event.payload).map_err(refused))?;
    let mut extensions = Extensions::default();
    for (name, value) in others {
        wrong.take(extensions.set(name, value).map_err(refused))?;
    }
    let headers = wrong.none(headers)?;
    headers.into_event(extensions, taken.event.payload.clone()).map_err(refused)
}

/// The organization of an event: the request's, else its own; never two.
fn org<'a>(request: Option<&'a str>, event: Option<&'a str>) -> Result<Option<&'a str>, IngestError> {
    match (request, event) {
        (Some(asked), Some(named)) if asked != named => {
            let message = "is not the organization that the request names; leave one of them out";
            Err(IngestError::invalid("orgId", message))
        }
        (None, None) => {
            Err(IngestError::invalid("orgId", "is required: in the query, as `?orgId=...`, or in the event"))
        }
        (asked, named) => Ok(asked.or(named)),
    }
}

/// The request's trace context is that of the last hop, so it comes first for its one event; events of a batch have
/// histories of their own.
fn trace_context<'a>(attributes: &mut Attributes<'a>, headers: &'a HeaderMap, batch: bool) {
    let given = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if batch && attributes.traceparent.is_some() {
        return;
    }
    if let Some(traceparent) = given("traceparent") {
        attributes.traceparent = Some(traceparent);
        attributes.tracestate = given("tracestate");
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, IngestError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=256).contains(&key.len()) => Ok(Some(key)),
        _ => Err(IngestError::invalid("Idempotency-Key", "must be 1-256 printable ASCII characters")),
    }
}

/// The id of an event that a key stands for: UUIDv5 of the key in a namespace of the organization, so that the same key of
/// another organization is another event. In a batch the key stands for the request, the index for the event in it.
fn keyed_id(org: &str, key: &str, index: Option<usize>) -> String {
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("urn:tidegate:org:{org}").as_bytes());
    let id = match index {
        None => Uuid::new_v5(&namespace, key.as_bytes()),
        Some(index) => Uuid::new_v5(&Uuid::new_v5(&namespace, key.as_bytes()), index.to_string().as_bytes()),
    };
    id.to_string()
}

fn fresh_id(now: Timestamp) -> String {
    let ms = u64::try_from(now.as_millis()).unwrap_or(0);
    let nanos = u32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, ms / 1_000, nanos)).to_string()
}

/// A payload is what its content type says: JSON that can be read again, or text. Bytes of any other type are as good as
/// any.
fn check_payload(content_type: &str, payload: &Bytes) -> Result<(), NotAnEvent> {
    let bytes = payload.len();
    if bytes > MAX_PAYLOAD {
        return Err(NotAnEvent::PayloadTooLarge { bytes, limit: MAX_PAYLOAD });
    }
    if payload.is_empty() {
        return Ok(());
    }
    if is_json(content_type) {
        return check_json(payload);
    }
    if is_text(content_type) && std::str::from_utf8(payload).is_err() {
        return Err(NotAnEvent::BadData("must be UTF-8, for its content type is text"));
    }
    Ok(())
}

fn is_text(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || media_type.ends_with("/xml")
        || media_type.ends_with("+xml")
        || media_type == "x-application/hl7-v2+er7"
}
