//! CloudEvents 1.0 over HTTP: binary mode, and structured mode in JSON.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::wrong::Wrong;
use super::{Shape, Taken};
use crate::ingest::error::IngestError;
use crate::model::event::{Members, NotAnEvent, Structured};

pub(super) fn structured<'a>(body: &Bytes, members: Members<'a>) -> Result<Taken<'a>, IngestError> {
    let event = members.list().and_then(|list| Structured::of(body, list));
    let event = event.map_err(|why| IngestError::refused(why, Shape::CloudEvents))?;
    Ok(Taken { event, shape: Shape::CloudEvents, wrong: Wrong::default() })
}

/// Attributes in `ce-` headers, the body is the payload.
pub(super) fn binary<'a>(headers: &'a HeaderMap, body: &Bytes) -> Result<Taken<'a>, IngestError> {
    let refused = |why| IngestError::refused(why, Shape::CloudEvents);
    let mut attributes: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(12);
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let mut values = headers.get_all(name).iter();
        if let (Some(value), None) = (values.next(), values.next()) {
            attributes.push((Cow::Borrowed(attribute), decoded(attribute, value.as_bytes()).map_err(refused)?));
        } else {
            return Err(refused(NotAnEvent::Duplicate(attribute.to_owned())));
        }
    }
    // Last, so that it wins over a `ce-datacontenttype` that the specification forbids.
    if let Some(content_type) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) {
        attributes.push((Cow::Borrowed("datacontenttype"), Cow::Borrowed(content_type)));
    }
    let event = Structured { attributes, payload: body.clone() };
    Ok(Taken { event, shape: Shape::CloudEvents, wrong: Wrong::default() })
}

/// The text of a header (HTTP binding 1.0.2, section 3.1.3.2): quotes taken off, percent-encoding undone once.
fn decoded<'a>(name: &str, value: &'a [u8]) -> Result<Cow<'a, str>, NotAnEvent> {
    let not_text = |_| NotAnEvent::NotText(name.to_owned());
    let text = std::str::from_utf8(value).map_err(not_text)?;
    let text = match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(quoted) => unescaped(quoted),
        None => Cow::Borrowed(text),
    };
    if !text.contains('%') {
        return Ok(text);
    }
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |place: usize| tail.get(place).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NotAnEvent::NotText(name.to_owned()))
}

fn unescaped(quoted: &str) -> Cow<'_, str> {
    if !quoted.contains('\\') {
        return Cow::Borrowed(quoted);
    }
    let mut text = String::with_capacity(quoted.len());
    let mut escaped = false;
    for c in quoted.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(c);
            escaped = false;
        }
    }
    Cow::Owned(text)
}
