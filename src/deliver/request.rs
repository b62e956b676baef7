//! From a delivery and its integration to a request.

use bytes::Bytes;
use http::header::{self as names, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Request};

use super::delivery::Delivery;
use super::prepared::Prepared;
use crate::model::ids::DeliveryId;
use crate::model::record::{Headers, header};
use crate::model::trace::trace_id;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("Tidegate/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The request of one attempt.
pub fn build(prepared: &Prepared, delivery: &Delivery<'_>) -> Request {
    let integration = &prepared.integration;
    let mut request = Request::new(integration.method.clone(), integration.target_url.clone());
    *request.headers_mut() = headers(prepared, delivery);
    if prepared.sends_body {
        *request.body_mut() = Some(Body::from(delivery.payload()));
    }
    request
}

fn headers(prepared: &Prepared, delivery: &Delivery<'_>) -> HeaderMap {
    let shape = Shape {
        event_headers: prepared.integration.event_headers,
        configured: &prepared.headers,
        sends_body: prepared.sends_body,
    };
    let mut headers = untraced(shape, delivery.headers(), delivery.id);
    trace(&mut headers, delivery);
    headers
}

/// What an integration says of the headers of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Whether the event's attributes go along.
    pub event_headers: bool,
    /// Without those that are not for configuration.
    pub configured: &'a [(HeaderName, HeaderValue)],
    pub sends_body: bool,
}

/// The headers of a delivery, by those of its record; all but its trace.
pub fn untraced(shape: Shape<'_>, of_record: &Headers, id: DeliveryId) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(32);
    if shape.event_headers {
        for (name, value) in of_record.iter() {
            if let Some(name) = name.strip_prefix("ce_").and_then(attribute) {
                headers.insert(name, encoded(value));
            }
        }
    }
    if shape.sends_body {
        let of_record = of_record.get(header::CONTENT_TYPE);
        let content_type = of_record.and_then(|v| HeaderValue::from_maybe_shared(v.clone()).ok());
        headers.insert(names::CONTENT_TYPE, content_type.unwrap_or(JSON));
    }
    // Configuration may name another content type than the event's.
    for (name, value) in shape.configured {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(names::USER_AGENT, USER_AGENT);
    let id = ascii(id.to_string().into());
    let correlation = [header::CE_CORRELATIONID, header::CE_ID].iter().find_map(|name| of_record.get(name));
    headers.insert(X_CORRELATION_ID, correlation.map_or_else(|| id.clone(), as_it_is));
    headers.insert(IDEMPOTENCY_KEY, id);
    headers
}

/// The event's trace, else one named after the delivery, so that all its attempts show up together.
fn trace(headers: &mut HeaderMap, delivery: &Delivery<'_>) {
    if delivery.text(header::TRACEPARENT).and_then(trace_id).is_none() {
        let parent = format!("00-{}-{:016x}-01", delivery.id.0.simple(), fastrand::u64(1..));
        headers.insert(TRACEPARENT, ascii(parent.into()));
        return;
    }
    for (name, of_record) in [(TRACEPARENT, header::TRACEPARENT), (TRACESTATE, header::TRACESTATE)] {
        if let Some(value) = delivery.headers().get(of_record) {
            headers.insert(name, as_it_is(value));
        }
    }
}

/// A text that receivers compare with one they know, so it is encoded only where HTTP could not carry it.
fn as_it_is(value: &Bytes) -> HeaderValue {
    let carried = value.is_ascii() && value.trim_ascii() == value;
    let whole = carried.then(|| HeaderValue::from_maybe_shared(value.clone()).ok()).flatten();
    whole.unwrap_or_else(|| encoded(value))
}

fn attribute(name: &str) -> Option<HeaderName> {
    Some(match name {
        "specversion" => HeaderName::from_static("ce-specversion"),
        "id" => HeaderName::from_static("ce-id"),
        "type" => HeaderName::from_static("ce-type"),
        "source" => HeaderName::from_static("ce-source"),
        "time" => HeaderName::from_static("ce-time"),
        "subject" => HeaderName::from_static("ce-subject"),
        "dataschema" => HeaderName::from_static("ce-dataschema"),
        "orgid" => HeaderName::from_static("ce-orgid"),
        "entityrid" => HeaderName::from_static("ce-entityrid"),
        "correlationid" => HeaderName::from_static("ce-correlationid"),
        "causationid" => HeaderName::from_static("ce-causationid"),
        "namespace" => HeaderName::from_static("ce-namespace"),
        other => HeaderName::from_bytes(format!("ce-{other}").as_bytes()).ok()?,
    })
}

/// The value percent-encoded as the CloudEvents HTTP binding, section 3.1.3.2, wants it: space, `"`, `%` and whatever is
/// not printable ASCII. Not copied where there is none of these.
fn encoded(value: &Bytes) -> HeaderValue {
    let plain = |b: u8| matches!(b, 0x21..=0x7e) && b != b'"' && b != b'%';
    if value.iter().all(|&b| plain(b)) {
        return ascii(value.clone());
    }
    let mut text = Vec::with_capacity(value.len() + 16);
    for &b in value {
        if plain(b) {
            text.push(b);
        } else {
            let digit = |n: u8| b"0123456789ABCDEF"[usize::from(n & 0xf)];
            text.extend([b'%', digit(b >> 4), digit(b)]);
        }
    }
    ascii(text.into())
}

/// Of printable ASCII, so it never fails; were it not, the header would be empty.
fn ascii(value: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(value).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attribute_is_encoded_as_the_cloudevents_binding_says() {
        let cases = [
            ("plain/value:1", "plain/value:1"),
            ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            (r#"say "50%""#, "say%20%2250%25%22"),
            ("line\r\nx-evil: 1", "line%0D%0Ax-evil:%201"),
            ("\u{7f}", "%7F"),
        ];
        for (text, expected) in cases {
            assert_eq!(encoded(&Bytes::from_static(text.as_bytes())), expected);
        }
    }

    #[test]
    fn a_correlation_id_is_changed_only_where_http_could_not_carry_it() {
        let cases = [("a b%20", "a b%20"), ("é", "%C3%A9"), (" a", "%20a"), ("a\nb", "a%0Ab")];
        for (text, expected) in cases {
            assert_eq!(as_it_is(&Bytes::from_static(text.as_bytes())), expected);
        }
    }

    proptest! {
        #[test]
        fn an_encoded_value_is_a_header_and_decodes_to_itself(value: Vec<u8>) {
            let encoded = encoded(&value.clone().into());
            let text = encoded.to_str().unwrap().as_bytes();
            let mut decoded = Vec::new();
            let mut at = 0;
            while at < text.len() {
                if text[at] == b'%' {
                    let hex = std::str::from_utf8(&text[at + 1..at + 3]).unwrap();
                    decoded.push(u8::from_str_radix(hex, 16).unwrap());
                    at += 3;
                } else {
                    decoded.push(text[at]);
                    at += 1;
                }
            }
            prop_assert_eq!(decoded, value);
        }
    }
}
