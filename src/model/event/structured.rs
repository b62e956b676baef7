//! Structured mode: a whole event as one JSON object (CloudEvents JSON event format 1.0.2).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::shown;
use super::{Attributes, JSON, NotAnEvent};
use crate::model::number::whole;
use crate::model::problem::json_fault;
use crate::model::record::{Headers, Record, header};

/// Levels of nesting that a JSON payload may have: below the 127 that JSON parsers take by default, so that it may be
/// wrapped in an envelope and still be read.
pub const MAX_DEPTH: usize = 100;

/// Attributes that one object may have. CloudEvents names ten, people add a handful.
const MAX_ATTRIBUTES: usize = 100;

/// An event in JSON, taken apart: attributes as text, unchecked, and the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structured<'a> {
    pub attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// A slice of what was parsed wherever the data stood there as it is.
    pub payload: Bytes,
}

impl<'a> Structured<'a> {
    /// Takes apart `json` from a record, which must lie inside `whole`: the payload becomes a slice of it. An attribute is the text
    /// of whatever scalar its producer wrote: nobody is there to be told, and what was matched once is read so for ever.
    fn logged(whole: &Bytes, json: &'a str) -> Result<Structured<'a>, NotAnEvent> {
        let members: Members<'a> = serde_json::from_str(json).map_err(|e| NotAnEvent::NotJson(json_fault(&e)))?;
        Structured::apart(whole, members.list()?, |_| Scalar::Any)
    }

    /// The event in the members of a JSON object of a request, which must lie inside `whole`: its attributes have their types.
    pub fn of(whole: &Bytes, members: Vec<Member<'a>>) -> Result<Structured<'a>, NotAnEvent> {
        Structured::apart(whole, members, Scalar::of)
    }

    fn apart(whole: &Bytes, members: Vec<Member<'a>>, form: fn(&str) -> Scalar) -> Result<Structured<'a>, NotAnEvent> {
        let mut attributes: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::with_capacity(members.len());
        let (mut data, mut data_base64) = (None, None);
        for (name, value) in members {
            let seen = match &*name {
                "data" => data.replace(value).is_some(),
                "data_base64" => data_base64.replace(value).is_some(),
                _ => attributes.iter().any(|(n, _)| *n == name),
            };
            if seen {
                return Err(NotAnEvent::Duplicate(shown(&name)));
            }
            if !matches!(&*name, "data" | "data_base64")
                && let Some(text) = scalar_text(&name, value, form(&name))?
            {
                attributes.push((name, text));
            }
        }
        let content_type = attributes.iter().find(|(n, _)| n == "datacontenttype").map_or(JSON, |(_, v)| v);
        let payload = match (data, data_base64.filter(|v| v.get() != "null")) {
            (Some(_), Some(_)) => {
                return Err(NotAnEvent::BadData("cannot stand beside `data_base64`: give one of them"));
            }
            (None, None) => Bytes::new(),
            (Some(data), None) => payload_of(whole, data, content_type)?,
            (None, Some(encoded)) => decoded(encoded)?,
        };
        Ok(Structured { attributes, payload })
    }

    /// The attributes by name, and those that are extensions.
    pub fn by_name(&'a self) -> (Attributes<'a>, Vec<(&'a str, &'a str)>) {
        let mut attributes = Attributes::default();
        let mut extensions = Vec::new();
        for (name, value) in &self.attributes {
            if !attributes.take(name, value) {
                extensions.push((&**name, &**value));
            }
        }
        (attributes, extensions)
    }
}

/// A record in structured mode as one in binary mode. Whether its attributes make an event is for its reader to check.
pub(super) fn to_binary(content_type: &str, record: &Record) -> Result<Record, NotAnEvent> {
    let format = media_type(content_type);
    if !format.eq_ignore_ascii_case("application/cloudevents+json") {
        return Err(NotAnEvent::UnknownFormat(shown(format)));
    }
    let value = record.value.clone().unwrap_or_default();
    let json = std::str::from_utf8(&value).map_err(|_| NotAnEvent::NotJson("it is not UTF-8".to_owned()))?;
    let event = Structured::logged(&value, json)?;
    let mut headers = Headers::with_capacity(event.attributes.len() + 2);
    for (name, text) in &event.attributes {
        let text = Bytes::copy_from_slice(text.as_bytes());
        match &**name {
            "datacontenttype" => headers.push(header::CONTENT_TYPE, text),
            _ => headers.push(header::intern(&format!("ce_{name}")), text),
        }
    }
    if headers.get(header::CONTENT_TYPE).is_none() {
        headers.push(header::CONTENT_TYPE, JSON);
    }
    for name in [header::TRACEPARENT, header::TRACESTATE] {
        if let Some(value) = record.headers.get(name) {
            headers.push(name, value.clone());
        }
    }
    Ok(Record { key: record.key.clone(), value: Some(event.payload), headers })
}

/// Whether the content type says that the body is an event or a batch of them, in whatever format.
pub fn is_structured(content_type: &str) -> bool {
    let prefix = "application/cloudevents";
    content_type.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a payload of this content type is JSON: `application/json`, `text/json`, `application/fhir+json`.
pub fn is_json(content_type: &str) -> bool {
    let subtype = media_type(content_type).rsplit('/').next().unwrap_or_default();
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    suffix.eq_ignore_ascii_case("json")
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// The payload in a JSON value inside `whole`: the value itself, byte for byte, or, where the content type is another than
/// JSON, the text of the string that it must be.
pub fn payload_of(whole: &Bytes, data: &RawValue, content_type: &str) -> Result<Bytes, NotAnEvent> {
    if is_json(content_type) {
        check_depth(data.get())?;
        return Ok(whole.slice_ref(data.get().as_bytes()));
    }
    match serde_json::from_str::<Text<'_>>(data.get()) {
        Ok(Text(Cow::Borrowed(text))) => Ok(whole.slice_ref(text.as_bytes())),
        Ok(Text(Cow::Owned(text))) => Ok(Bytes::from(text)),
        Err(_) => Err(NotAnEvent::BadData("must be a string where the content type is not JSON")),
    }
}

fn decoded(encoded: &RawValue) -> Result<Bytes, NotAnEvent> {
    const BAD: NotAnEvent = NotAnEvent::BadData("must be base64 (RFC 4648) in a string where it is `data_base64`");
    let text: Text<'_> = serde_json::from_str(encoded.get()).map_err(|_| BAD)?;
    STANDARD.decode(&*text.0).map(Bytes::from).map_err(|_| BAD)
}

/// What an attribute's JSON value may be (CloudEvents 1.0, JSON format, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Text,
    /// Ids: producers send `648` and `"648"`.
    TextOrNumber,
    /// An extension.
    Any,
}

impl Scalar {
    pub fn of(attribute: &str) -> Scalar {
        match attribute {
            "specversion" | "type" | "source" | "time" | "dataschema" | "datacontenttype" | "namespace" => Scalar::Text,
            "id" | "subject" | "orgid" | "entityrid" | "correlationid" | "causationid" => Scalar::TextOrNumber,
            _ => Scalar::Any,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scalar::Text => "a string",
            Scalar::TextOrNumber => "a string or a whole number",
            Scalar::Any => "a string, a whole number or a boolean",
        })
    }
}

/// The text of an attribute's JSON value; `null` is an attribute that is not there. Whole numbers have 64 bits.
pub fn attribute_text<'a>(attribute: &str, value: &'a RawValue) -> Result<Option<Cow<'a, str>>, NotAnEvent> {
    scalar_text(attribute, value, Scalar::of(attribute))
}

fn scalar_text<'a>(attribute: &str, value: &'a RawValue, form: Scalar) -> Result<Option<Cow<'a, str>>, NotAnEvent> {
    let json = value.get();
    let bad = || NotAnEvent::BadValue(shown(attribute), form);
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'a>>(json).map(|t| Some(t.0)).map_err(|_| bad()),
        Some(b'n') => Ok(None),
        Some(b't' | b'f') if form == Scalar::Any => Ok(Some(Cow::Borrowed(json))),
        Some(b'-' | b'0'..=b'9') if form != Scalar::Text => digits(json).map(Some).ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// A whole number as its digits: `7` of `7.0`.
fn digits(json: &str) -> Option<Cow<'_, str>> {
    if json.parse::<i64>().is_ok() {
        return Some(Cow::Borrowed(json));
    }
    let number = i64::try_from(whole(&serde_json::from_str(json).ok()?)?).ok()?;
    Some(Cow::Owned(number.to_string()))
}

/// Whether the bytes are one JSON text in UTF-8, nested no deeper than [`MAX_DEPTH`].
pub fn check_json(bytes: &[u8]) -> Result<(), NotAnEvent> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotAnEvent::NotJson("it is not UTF-8".to_owned()))?;
    check_depth(text)?;
    serde_json::from_str::<&RawValue>(text).map_err(|e| NotAnEvent::NotJson(json_fault(&e)))?;
    Ok(())
}

/// The depth of valid JSON; of anything else, a depth that it does not exceed.
fn check_depth(json: &str) -> Result<(), NotAnEvent> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(NotAnEvent::TooDeep(MAX_DEPTH));
        }
    }
    Ok(())
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// One member of a JSON object: its name and its value, unread.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of a JSON object, in their order, repeats included; or the news that it is no object, so that one bad
/// value does not make a whole array unreadable.
#[derive(Debug)]
pub enum Members<'a> {
    Object(Vec<Member<'a>>),
    TooMany,
    NotAnObject,
}

impl<'a> Members<'a> {
    pub fn list(self) -> Result<Vec<Member<'a>>, NotAnEvent> {
        match self {
            Members::Object(list) => Ok(list),
            Members::TooMany => Err(NotAnEvent::TooManyAttributes(MAX_ATTRIBUTES)),
            Members::NotAnObject => Err(NotAnEvent::NotAnObject),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut list = Vec::with_capacity(16);
        let mut too_many = false;
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if list.len() == MAX_ATTRIBUTES {
                too_many = true;
            } else {
                list.push((name, value));
            }
        }
        Ok(if too_many { Members::TooMany } else { Members::Object(list) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Members<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Members::NotAnObject)
    }

    fn visit_unit<E>(self) -> Result<Members<'de>, E> {
        Ok(Members::NotAnObject)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Members<'de>, E> {
        Ok(Members::NotAnObject)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Members<'de>, E> {
        Ok(Members::NotAnObject)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Members<'de>, E> {
        Ok(Members::NotAnObject)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Members<'de>, E> {
        Ok(Members::NotAnObject)
    }

    fn visit_str<E>(self, _: &str) -> Result<Members<'de>, E> {
        Ok(Members::NotAnObject)
    }
}
