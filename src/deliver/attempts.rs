//! What is told of a delivery: its `attempts` records and its dead letter.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use url::Url;

use super::delivery::Delivery;
use super::egress::Body;
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::integration::OutboundIntegration;
use crate::model::record::{Headers, Output, Record, header, sentence};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// What an `attempts` record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Attempt,
    Cancelled,
    /// Given up because it waited for too long.
    Expired,
}

/// What became of the delivery, in the words of `GET /logs/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Told {
    Delivered,
    Retry,
    Dead,
    Skipped,
}

impl Told {
    pub const fn as_str(self) -> &'static str {
        match self {
            Told::Delivered => "DELIVERED",
            Told::Retry => "RETRY",
            Told::Dead => "DEAD",
            Told::Skipped => "SKIPPED",
        }
    }
}

/// The error of an attempt that did not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub category: ErrorCategory,
    pub message: String,
}

/// What was received of an answer.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    /// Read for failures only.
    pub body: Option<Body>,
}

/// One thing that happened to a delivery.
#[derive(Debug)]
pub struct Account<'a> {
    pub delivery: &'a Delivery<'a>,
    /// `None` where it was deleted.
    pub integration: Option<&'a OutboundIntegration>,
    pub kind: Kind,
    pub told: Told,
    pub status: DeliveryStatus,
    /// Counted over redrives; the attempts made before, where this is none.
    pub attempt: u32,
    pub at: Timestamp,
    /// Until the head of the answer, or the error.
    pub took: Duration,
    pub next_attempt_at: Option<Timestamp>,
    pub failure: Option<&'a Failure>,
    pub answer: Option<&'a Answered>,
}

/// The value of an `attempts` record.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Value<'a> {
    kind: Kind,
    delivery_id: &'a str,
    event_id: Option<&'a str>,
    event_type: Option<&'a str>,
    org_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_rid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    trace_id: uuid::fmt::Simple,
    integration_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integration_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_method: Option<&'a str>,
    direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    trigger: &'a str,
    attempt: u32,
    /// How often it was put back before; attempts made then are counted too.
    #[serde(skip_serializing_if = "Option::is_none")]
    redrives: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_attempts: Option<u32>,
    outcome: Told,
    status: DeliveryStatus,
    started_at: &'a str,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_category: Option<ErrorCategory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_headers: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body_truncated: Option<bool>,
    partition: i32,
    offset: i64,
}

/// A body as text where it is text, else in base64; either way nothing of it is lost. With the name of the encoding.
fn shown(body: &Body) -> (Cow<'_, str>, &'static str) {
    let text = match std::str::from_utf8(&body.bytes) {
        Ok(text) => Some(text),
        // Cut within a character.
        Err(e) if body.truncated && e.error_len().is_none() => std::str::from_utf8(&body.bytes[..e.valid_up_to()]).ok(),
        Err(_) => None,
    };
    text.map_or_else(|| (STANDARD.encode(&body.bytes).into(), "base64"), |text| (text.into(), "text"))
}

/// Response headers without credentials, the first 64 and at most 8 KiB of them.
struct Shown<'a>(&'a HeaderMap);

const HIDDEN: [&str; 4] = ["set-cookie", "set-cookie2", "authorization", "proxy-authorization"];

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let mut room = 8 * 1_024_usize;
        for name in self.0.keys().filter(|name| !HIDDEN.contains(&name.as_str())).take(64) {
            let mut values = self.0.get_all(name).iter();
            let first = values.next().map(|v| String::from_utf8_lossy(v.as_bytes())).unwrap_or_default();
            let value = values.fold(first, |all, v| (all + ", ") + String::from_utf8_lossy(v.as_bytes()));
            let Some(rest) = room.checked_sub(name.as_str().len() + value.len()) else { continue };
            room = rest;
            map.serialize_entry(name.as_str(), &value)?;
        }
        map.end()
    }
}

impl Account<'_> {
    /// The `attempts` record.
    pub fn record(&self) -> Output {
        let id = Bytes::from(self.delivery.id.to_string());
        let key = id.clone();
        let value = self.value(std::str::from_utf8(&id).unwrap_or_default());
        Output {
            topic: Topic::Attempts,
            partition: None,
            record: Record { key: Some(key), value, headers: self.headers(id) },
        }
    }

    fn value(&self, id: &str) -> Option<Bytes> {
        let delivery = self.delivery;
        let integration = self.integration;
        let started_at = self.at.to_string();
        let body = self.answer.and_then(|a| a.body.as_ref());
        let (text, encoding) = body.map(shown).unzip();
        let value = Value {
            kind: self.kind,
            delivery_id: id,
            event_id: delivery.text(header::CE_ID),
            event_type: delivery.text(header::CE_TYPE),
            org_id: delivery.text(header::CE_ORGID).or(integration.map(|i| i.org_id.as_str())),
            entity_id: delivery.text(header::CE_SUBJECT),
            entity_rid: delivery.text(header::CE_ENTITYRID),
            correlation_id: delivery.text(header::CE_CORRELATIONID),
            trace_id: delivery.trace_id().simple(),
            integration_id: delivery.integration.as_str(),
            integration_name: integration.map(|i| i.name.as_str()),
            integration_version: integration.map(|i| i.version),
            target_url: integration.map(|i| told_url(&i.target_url)),
            http_method: integration.map(|i| i.method.as_str()),
            direction: "OUTBOUND",
            action: delivery.text(header::TG_ACTION),
            trigger: delivery.text(header::TG_TRIGGER).unwrap_or("EVENT"),
            attempt: self.attempt,
            redrives: (delivery.redrives > 0).then_some(delivery.redrives),
            max_attempts: integration.map(|i| i.retry.max_attempts),
            outcome: self.told,
            status: self.status,
            started_at: &started_at,
            duration_ms: (self.took.as_secs_f64() * 1e5).round() / 100.0,
            next_attempt_at: self.next_attempt_at,
            error_category: self.failure.map(|f| f.category),
            error_message: self.failure.map(|f| f.message.as_str()),
            response_status: self.answer.map(|a| a.status),
            response_headers: self.answer.map(|a| Shown(&a.headers)),
            response_body: text,
            response_body_encoding: encoding,
            response_body_truncated: body.map(|b| b.truncated),
            partition: delivery.received.partition.0,
            offset: delivery.received.offset.0,
        };
        // Of plain texts and numbers, so that it cannot fail.
        let mut json = Vec::with_capacity(1_024);
        serde_json::to_writer(&mut json, &value).ok().map(|()| json.into())
    }

    /// The headers tell the story to whoever reads the topic with a Kafka tool.
    fn headers(&self, id: Bytes) -> Headers {
        let mut headers = Headers::with_capacity(9);
        for name in [header::CE_ID, header::CE_TYPE, header::CE_ORGID, header::TRACEPARENT] {
            if let Some(value) = self.delivery.headers().get(name) {
                headers.push(name, value.clone());
            }
        }
        headers.push(header::TG_DELIVERY, id);
        let integration = self.delivery.headers().get(header::TG_INTEGRATION).cloned().unwrap_or_default();
        headers.push(header::TG_INTEGRATION, integration);
        headers.push(header::TG_ATTEMPT, self.attempt.to_string());
        headers.push(header::TG_OUTCOME, self.told.as_str());
        headers.push(header::TG_STATUS, self.status.as_str());
        if let Some(failure) = self.failure {
            headers.push(header::TG_ERROR, told_error(failure));
        }
        headers
    }

    /// The delivery's own record with what became of it, for `dlq`: produced to `deliveries` again it is a delivery again,
    /// with the same id, and its attempts are counted on.
    pub fn dead_letter(&self, first_at: Option<Timestamp>) -> Output {
        let Record { key, value, mut headers } = self.delivery.received.record.clone();
        headers.set(header::TG_ATTEMPT, self.attempt.to_string());
        headers.set(header::TG_STATUS, self.status.as_str());
        if let Some(failure) = self.failure {
            headers.set(header::TG_ERROR, told_error(failure));
        }
        // A redriven one has its first attempt from before.
        if let (Some(first_at), None) = (first_at, headers.get(header::TG_FIRST_AT)) {
            headers.set(header::TG_FIRST_AT, first_at.to_string());
        }
        Output { topic: Topic::Dlq, partition: None, record: Record { key, value, headers } }
    }
}

/// Without its query, which may hold a credential.
fn told_url(url: &Url) -> Cow<'_, str> {
    if url.query().is_none() {
        return url.as_str().into();
    }
    let mut url = url.clone();
    url.set_query(None);
    String::from(url).into()
}

fn told_error(failure: &Failure) -> String {
    format!("{}: {}", failure.category, sentence(&failure.message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_flood_is_told_in_part_and_credentials_are_not() {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", "secret".parse().unwrap());
        headers.insert("proxy-authorization", "secret".parse().unwrap());
        for n in 0..500 {
            let name = http::HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
            headers.insert(name, "v".repeat(1_000).parse().unwrap());
        }
        let text = serde_json::to_string(&Shown(&headers)).unwrap();
        assert!(text.len() > 7_000 && text.len() < 9_000 && !text.contains("secret"), "{}", text.len());
    }

    #[test]
    fn a_credential_in_the_query_of_a_target_is_not_told() {
        let url = |text: &str| told_url(&Url::parse(text).unwrap()).into_owned();
        assert_eq!(url("https://erp.example/in?key=secret"), "https://erp.example/in");
        assert_eq!(url("https://erp.example/in"), "https://erp.example/in");
    }

    #[test]
    fn a_text_cut_within_a_character_is_still_shown_as_text() {
        let body = |bytes: &[u8], truncated| Body { bytes: bytes.to_vec(), truncated };
        let euro = "a€".as_bytes();
        assert_eq!(shown(&body(&euro[..3], true)), ("a".into(), "text"));
        assert_eq!(shown(&body(&euro[..3], false)), ("YeKC".into(), "base64"));
        assert_eq!(shown(&body(b"a\xff", true)), ("Yf8=".into(), "base64"));
        assert_eq!(shown(&body(b"", false)), ("".into(), "text"));
    }

    proptest! {
        #[test]
        fn a_whole_body_is_told_without_loss(bytes: Vec<u8>) {
            let body = Body { bytes, truncated: false };
            let (text, encoding) = shown(&body);
            let back = if encoding == "text" { text.as_bytes().to_vec() } else { STANDARD.decode(&*text).unwrap() };
            prop_assert_eq!(back, body.bytes);
        }
    }
}
