//! An event's attributes, borrowed from where they came, and the rules that they keep.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Event, Extensions, JSON, MAX_HEADERS, MAX_PAYLOAD, NotAnEvent};
use crate::model::ids::{EntityId, EventId, EventType, IdError, Label, OrgId, Rid, Source};
use crate::model::record::{Received, header};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::model::trace::is_traceparent;

/// The attributes of an event by their CloudEvents names, as they came: nothing is checked before [`Attributes::check`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    pub specversion: Option<&'a str>,
    pub id: Option<&'a str>,
    pub source: Option<&'a str>,
    pub event_type: Option<&'a str>,
    pub time: Option<&'a str>,
    pub subject: Option<&'a str>,
    pub dataschema: Option<&'a str>,
    pub orgid: Option<&'a str>,
    pub entityrid: Option<&'a str>,
    pub correlationid: Option<&'a str>,
    pub causationid: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub traceparent: Option<&'a str>,
    pub tracestate: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// Takes one attribute. False: it is an extension, which the caller keeps if it wants to.
    pub fn take(&mut self, name: &str, value: &'a str) -> bool {
        let Some(slot) = self.slot(name) else { return false };
        *slot = Some(value);
        true
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        Some(match name {
            "specversion" => &mut self.specversion,
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.event_type,
            "time" => &mut self.time,
            "subject" => &mut self.subject,
            "dataschema" => &mut self.dataschema,
            "orgid" => &mut self.orgid,
            "entityrid" => &mut self.entityrid,
            "correlationid" => &mut self.correlationid,
            "causationid" => &mut self.causationid,
            "namespace" => &mut self.namespace,
            "datacontenttype" => &mut self.content_type,
            "traceparent" => &mut self.traceparent,
            "tracestate" => &mut self.tracestate,
            _ => return None,
        })
    }

    /// Holds them to the rules. `id` and `time` say what stands in for missing ones.
    pub fn check(
        self,
        id: impl FnOnce() -> String,
        time: impl FnOnce() -> Timestamp,
    ) -> Result<EventHeaders<'a>, NotAnEvent> {
        match self.specversion {
            Some("1.0") => {}
            Some(_) => return Err(NotAnEvent::UnknownSpecversion),
            None => return Err(NotAnEvent::Missing("specversion")),
        }
        let event_type = required("type", self.event_type, EventType::check)?;
        let org = required("orgid", self.orgid, OrgId::check)?;
        let source = required("source", self.source, Source::check)?;
        Ok(EventHeaders {
            event_type,
            org,
            source,
            id: match optional("id", self.id, EventId::check)? {
                Some(id) => Cow::Borrowed(id),
                None => Cow::Owned(id()),
            },
            time: match self.time {
                Some(text) => Timestamp::parse(text).ok_or(NotAnEvent::BadTime)?,
                None => time(),
            },
            entity_id: optional("subject", self.subject, EntityId::check)?,
            entity_rid: optional("entityrid", self.entityrid, Rid::check)?,
            correlation_id: optional("correlationid", self.correlationid, Label::check)?,
            causation_id: optional("causationid", self.causationid, Label::check)?,
            namespace: optional("namespace", self.namespace, Label::check)?,
            dataschema: optional("dataschema", self.dataschema, Label::check)?,
            content_type: optional("datacontenttype", self.content_type, Label::check)?.unwrap_or(JSON),
            traceparent: self.traceparent.filter(|t| is_traceparent(t)),
            tracestate: self.tracestate.filter(|t| Label::check(t).is_ok()),
        })
    }
}

fn required<'a>(
    attribute: &'static str,
    value: Option<&'a str>,
    rule: fn(&str) -> Result<(), IdError>,
) -> Result<&'a str, NotAnEvent> {
    optional(attribute, value, rule)?.ok_or(NotAnEvent::Missing(attribute))
}

fn optional<'a>(
    attribute: &'static str,
    value: Option<&'a str>,
    rule: fn(&str) -> Result<(), IdError>,
) -> Result<Option<&'a str>, NotAnEvent> {
    let Some(text) = value else { return Ok(None) };
    rule(text).map_err(|why| NotAnEvent::Bad { attribute, why })?;
    Ok(Some(text))
}

/// An event's attributes without its extensions and payload, borrowed from a record's headers and valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHeaders<'a> {
    /// Owned only where the record has none of its own.
    pub id: Cow<'a, str>,
    pub source: &'a str,
    pub org: &'a str,
    pub event_type: &'a str,
    pub time: Timestamp,
    pub entity_id: Option<&'a str>,
    pub entity_rid: Option<&'a str>,
    pub correlation_id: Option<&'a str>,
    pub causation_id: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub dataschema: Option<&'a str>,
    pub content_type: &'a str,
    pub traceparent: Option<&'a str>,
    pub tracestate: Option<&'a str>,
}

impl<'a> EventHeaders<'a> {
    /// Reads a record in binary mode, extensions and sizes checked too, without an allocation. One in structured mode has
    /// no such headers: [`super::canonical`] turns it into one that has.
    pub fn of(received: &'a Received) -> Result<EventHeaders<'a>, NotAnEvent> {
        let headers = &received.record.headers;
        let mut attributes = Attributes::default();
        for (name, value) in headers.iter() {
            if let Some(attribute) = name.strip_prefix("ce_") {
                let value = text(name, value)?;
                if !attributes.take(attribute, value) {
                    check_extension(attribute, value)?;
                }
            }
        }
        // The record's own context is that of the last hop, the extension's that of the first.
        attributes.traceparent = headers.text(header::TRACEPARENT).or(attributes.traceparent);
        attributes.tracestate = headers.text(header::TRACESTATE).or(attributes.tracestate);
        if let Some(value) = headers.get(header::CONTENT_TYPE) {
            attributes.content_type = Some(text(header::CONTENT_TYPE, value)?);
        }
        let bytes = headers.size();
        if bytes > MAX_HEADERS {
            return Err(NotAnEvent::HeadersTooLarge { bytes, limit: MAX_HEADERS });
        }
        let bytes = received.record.value.as_ref().map_or(0, Bytes::len);
        if bytes > MAX_PAYLOAD {
            return Err(NotAnEvent::PayloadTooLarge { bytes, limit: MAX_PAYLOAD });
        }
        attributes.check(|| derived_id(received), || received.timestamp)
    }

    /// The event with these attributes.
    pub fn into_event(self, extensions: Extensions, payload: Bytes) -> Result<Event, NotAnEvent> {
        let bad = |attribute| move |why| NotAnEvent::Bad { attribute, why };
        let label = |attribute, value: Option<&str>| value.map(Label::parse).transpose().map_err(bad(attribute));
        Ok(Event {
            id: EventId::parse(&self.id).map_err(bad("id"))?,
            event_type: EventType::parse(self.event_type).map_err(bad("type"))?,
            org: OrgId::parse(self.org).map_err(bad("orgid"))?,
            entity_rid: self.entity_rid.map(Rid::parse).transpose().map_err(bad("entityrid"))?,
            entity_id: self.entity_id.map(EntityId::parse).transpose().map_err(bad("subject"))?,
            source: Source::parse(self.source).map_err(bad("source"))?,
            time: self.time,
            correlation_id: label("correlationid", self.correlation_id)?,
            causation_id: label("causationid", self.causation_id)?,
            namespace: label("namespace", self.namespace)?,
            dataschema: label("dataschema", self.dataschema)?,
            content_type: Label::parse(self.content_type).map_err(bad("datacontenttype"))?,
            traceparent: label("traceparent", self.traceparent)?,
            tracestate: label("tracestate", self.tracestate)?,
            extensions,
            payload,
        })
    }
}

/// The id of a record of `events` that came without one: the same whenever it is read.
pub(super) fn derived_id(received: &Received) -> String {
    format!("kafka:{}-{}-{}", Topic::Events, received.partition, received.offset)
}

pub(super) fn text<'a>(name: &str, value: &'a Bytes) -> Result<&'a str, NotAnEvent> {
    std::str::from_utf8(value).map_err(|_| NotAnEvent::NotText(shown(name)))
}

/// Whether the name is that of an attribute with a meaning here, or of the data itself.
pub(super) fn is_reserved(name: &str) -> bool {
    matches!(name, "data" | "data_base64") || Attributes::default().slot(name).is_some()
}

pub(super) fn check_extension(name: &str, value: &str) -> Result<(), NotAnEvent> {
    let named = (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !named || is_reserved(name) || value.chars().any(char::is_control) {
        return Err(NotAnEvent::BadExtension(shown(name)));
    }
    Ok(())
}

/// A name for a message: whoever sent it chose its length and its characters.
pub(super) fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).take(64).collect()
}
