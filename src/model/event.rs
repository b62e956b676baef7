//! The canonical event and its record on `events`: CloudEvents 1.0, Kafka protocol binding, binary mode.
//!
//! Attributes are headers (`ce_id`, `ce_type`, ...; readable text, never percent-encoded: only the HTTP binding does that),
//! the payload is the value, byte for byte as it came.
//!
//! Whoever reads `events` does so in two steps: [`canonical`] turns what any client may have produced into binary mode
//! with an id and a time, borrowing where nothing is to be done; then [`EventHeaders::of`] reads it without an allocation,
//! or [`Event::from_record`] as a whole.

mod attributes;
mod refused;
mod structured;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use bytes::Bytes;

pub use attributes::{Attributes, EventHeaders};
pub use refused::NotAnEvent;
pub use structured::{
    MAX_DEPTH, Member, Members, Scalar, Structured, attribute_text, check_json, is_json, is_structured, payload_of,
};

use crate::model::ids::{EntityId, EventId, EventType, Label, OrgId, Rid, Source};
use crate::model::record::{HeaderName, Headers, Received, Record, header};
use crate::model::time::Timestamp;

/// Bytes that a payload may have.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Bytes that the headers of an event's record may have, by [`Headers::size`].
pub const MAX_HEADERS: usize = 64 << 10;

/// The content type of a payload that does not name one.
pub const JSON: &str = "application/json";

/// Something that happened, of one organization. Known by the triple (org, source, id).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub event_type: EventType,
    pub org: OrgId,
    pub entity_rid: Option<Rid>,
    /// What it is about (CloudEvents `subject`).
    pub entity_id: Option<EntityId>,
    pub source: Source,
    pub time: Timestamp,
    pub correlation_id: Option<Label>,
    pub causation_id: Option<Label>,
    pub namespace: Option<Label>,
    pub dataschema: Option<Label>,
    pub content_type: Label,
    /// W3C Trace Context; a malformed one is left out, as that specification asks.
    pub traceparent: Option<Label>,
    pub tracestate: Option<Label>,
    pub extensions: Extensions,
    /// As it came. Empty where the event has none.
    pub payload: Bytes,
}

impl Event {
    /// Its record on `events`. The key, `<orgId>/<entityId or event id>`, keeps the order of one entity's events.
    pub fn to_record(&self) -> Record {
        let about = self.entity_id.as_ref().map_or(self.id.as_str(), EntityId::as_str);
        let key = Bytes::from(format!("{}/{about}", self.org));
        Record { key: Some(key), value: Some(self.payload.clone()), headers: self.headers() }
    }

    /// The event in a record of `events`, produced by whomever, in binary or structured mode.
    ///
    /// A missing id becomes `kafka:events-<partition>-<offset>` and a missing time the record's timestamp, so that reading
    /// a record again is not a second event. Nothing else is made up: a source invented for those that forgot theirs would
    /// make repeats of one another's events.
    pub fn from_record(received: &Received) -> Result<Event, NotAnEvent> {
        let received = canonical(received)?;
        let record = &received.record;
        let mut extensions = Extensions::default();
        for (name, value) in record.headers.iter() {
            if let Some(attribute) = name.strip_prefix("ce_")
                && !attributes::is_reserved(attribute)
            {
                extensions.set(attribute, attributes::text(name, value)?)?;
            }
        }
        EventHeaders::of(&received)?.into_event(extensions, record.value.clone().unwrap_or_default())
    }

    fn headers(&self) -> Headers {
        let mut to = HeaderWriter::default();
        to.put(header::CE_SPECVERSION, "1.0");
        to.put(header::CE_ID, &self.id);
        to.put(header::CE_SOURCE, &self.source);
        to.put(header::CE_TYPE, &self.event_type);
        to.put(header::CE_TIME, self.time);
        to.put_some(header::CE_SUBJECT, self.entity_id.as_ref());
        to.put_some(header::CE_DATASCHEMA, self.dataschema.as_ref());
        to.put(header::CE_ORGID, &self.org);
        to.put_some(header::CE_ENTITYRID, self.entity_rid.as_ref());
        to.put_some(header::CE_CORRELATIONID, self.correlation_id.as_ref());
        to.put_some(header::CE_CAUSATIONID, self.causation_id.as_ref());
        to.put_some(header::CE_NAMESPACE, self.namespace.as_ref());
        for (name, value) in self.extensions.iter() {
            to.put(format!("ce_{name}"), value);
        }
        to.put(header::CONTENT_TYPE, &self.content_type);
        to.put_some(header::TRACEPARENT, self.traceparent.as_ref());
        to.put_some(header::TRACESTATE, self.tracestate.as_ref());
        to.finish()
    }
}

/// The record in binary mode, with an id and a time: what every stage after ingest may rely on. Borrowed where it was so.
pub fn canonical(received: &Received) -> Result<Cow<'_, Received>, NotAnEvent> {
    let headers = &received.record.headers;
    let content_type = headers.text(header::CONTENT_TYPE).unwrap_or_default();
    let structured = is_structured(content_type);
    if !structured && headers.get(header::CE_ID).is_some() && headers.get(header::CE_TIME).is_some() {
        return Ok(Cow::Borrowed(received));
    }
    let mut own = received.clone();
    if structured {
        own.record = structured::to_binary(content_type, &received.record)?;
    }
    let headers = &mut own.record.headers;
    if headers.get(header::CE_ID).is_none() {
        headers.push(header::CE_ID, attributes::derived_id(received));
    }
    if headers.get(header::CE_TIME).is_none() {
        headers.push(header::CE_TIME, received.timestamp.to_string());
    }
    Ok(Cow::Owned(own))
}

/// CloudEvents extension attributes that have no meaning here: carried along, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(Box<str>, Box<str>)>);

impl Extensions {
    /// Names are `[a-z0-9]{1,20}`, values text without control characters. A name that occurs again replaces the first.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), NotAnEvent> {
        attributes::check_extension(name, value)?;
        match self.0.iter_mut().find(|(n, _)| &**n == name) {
            Some((_, old)) => *old = value.into(),
            None => self.0.push((name.into(), value.into())),
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (&**n, &**v))
    }
}

/// Writes header texts into one allocation that all of them share.
#[derive(Default)]
struct HeaderWriter {
    text: String,
    ends: Vec<(HeaderName, usize)>,
}

impl HeaderWriter {
    fn put(&mut self, name: impl Into<HeaderName>, value: impl Display) {
        // Writing to a `String` cannot fail.
        let _ = write!(self.text, "{value}");
        self.ends.push((name.into(), self.text.len()));
    }

    fn put_some(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn finish(self) -> Headers {
        let text = Bytes::from(self.text);
        let mut headers = Headers::with_capacity(self.ends.len());
        let mut start = 0;
        for (name, end) in self.ends {
            headers.push(name, text.slice(start..end));
            start = end;
        }
        headers
    }
}
