//! The request of a delivery as it can be told afterwards, and as a command for a shell.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::catalog::fields::MASK;
use crate::deliver::request::{Shape, untraced};
use crate::history::rows::{Delivery, EventRow};
use crate::model::integration::{OutboundIntegration, sends_body};
use crate::model::record::{Headers, header};

/// What is known of a request: its delivery, its event where that is still kept, and the integration as it is now.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub delivery: &'a Delivery,
    pub event: Option<&'a EventRow>,
    pub now: Option<&'a OutboundIntegration>,
}

impl<'a> Sent<'a> {
    pub(super) fn payload(self) -> Option<&'a [u8]> {
        self.event?.payload.as_deref()
    }

    pub(super) fn body(self, method: &str) -> Option<&'a [u8]> {
        self.payload().filter(|_| sends_body(method))
    }

    /// By their names. A configured header that may be a credential is masked.
    pub(super) fn headers(self, method: &str) -> Map<String, Value> {
        let own = self.now.into_iter().flat_map(OutboundIntegration::own_headers);
        let configured: Vec<_> = own.map(|(name, value)| (name.clone(), masked(name, value))).collect();
        let shape = Shape {
            event_headers: self.now.is_none_or(|now| now.event_headers),
            configured: &configured,
            sends_body: self.event.is_some() && sends_body(method),
        };
        let headers = untraced(shape, &self.record(), self.delivery.id);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut told: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value).into())).collect();
        told.sort_by(|(one, _), (other, _)| one.cmp(other));
        told.into_iter().collect()
    }

    /// What the delivery's record said about the event.
    fn record(self) -> Headers {
        let (about, event) = (&self.delivery.about, self.event);
        let of_event = |field: fn(&EventRow) -> Option<String>| event.and_then(field);
        let attributes = [
            (header::CE_SPECVERSION, about.event_id.as_ref().map(|_| "1.0".to_owned())),
            (header::CE_ID, about.event_id.clone()),
            (header::CE_SOURCE, about.source.clone()),
            (header::CE_TYPE, about.event_type.clone()),
            (header::CE_TIME, of_event(|event| Some(event.time.to_string()))),
            (header::CE_SUBJECT, about.entity_id.clone()),
            (header::CE_DATASCHEMA, of_event(|event| event.dataschema.clone())),
            (header::CE_ORGID, about.org.clone()),
            (header::CE_ENTITYRID, about.entity_rid.clone()),
            (header::CE_CORRELATIONID, about.correlation_id.clone()),
            (header::CE_CAUSATIONID, of_event(|event| event.causation_id.clone())),
            (header::CE_NAMESPACE, of_event(|event| event.namespace.clone())),
            (header::CONTENT_TYPE, of_event(|event| Some(event.content_type.clone()).filter(|text| !text.is_empty()))),
        ];
        let mut headers = Headers::with_capacity(attributes.len());
        for (name, value) in attributes {
            if let Some(value) = value {
                headers.push(name, value);
            }
        }
        headers
    }
}

/// What is in a header's name where its value may be a credential. `key` counts as a word of its own and at the end of some.
const CREDENTIALS: [&str; 14] = [
    "auth",
    "token",
    "secret",
    "passw",
    "pwd",
    "passphrase",
    "credential",
    "cookie",
    "session",
    "jwt",
    "signature",
    "apikey",
    "accesskey",
    "privatekey",
];

fn masked(name: &HeaderName, value: &HeaderValue) -> HeaderValue {
    let name = name.as_str();
    let is_credential =
        CREDENTIALS.iter().any(|word| name.contains(word)) || name.split(['-', '_']).any(|part| part == "key");
    if is_credential { HeaderValue::from_static(MASK) } else { value.clone() }
}

/// A request for a shell; a body that is no text is left out.
pub(super) fn curl((method, url): (&str, &str), headers: &Map<String, Value>, body: Option<&[u8]>) -> String {
    // With `-X HEAD` curl would wait for a body.
    let asks = if method == "HEAD" { "--head".to_owned() } else { format!("-X {method}") };
    // What curl takes for a pattern of several URLs.
    let plain = if url.contains(['[', ']', '{', '}']) { " --globoff" } else { "" };
    let mut command = format!("curl {asks}{plain} {}", quoted(url));
    for (name, value) in headers {
        let header = match value.as_str().unwrap_or_default() {
            // With a colon curl would leave the header out.
            "" => format!("{name};"),
            value => format!("{name}: {value}"),
        };
        command.push_str(&format!(" -H {}", quoted(&header)));
    }
    if let Some(text) = body.and_then(|bytes| std::str::from_utf8(bytes).ok()).filter(|text| !text.is_empty()) {
        command.push_str(&format!(" --data-raw {}", quoted(text)));
    }
    command
}

/// For a POSIX shell: nothing within single quotes means anything but a single quote.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_shell_hands_curl_what_was_sent_and_runs_nothing_of_it() {
        let headers = json!({"ce-id": "it's $(touch /x) `id`", "x-empty": "", "x-glob": "* ~ \\ \"q\" !"});
        let body = "{\"a\":\"it's $HOME\",\n \"b\": \"`id`\"}";
        let url = "https://a.example/it's?$(id)&x=[1]";
        let command = curl(("POST", url), headers.as_object().unwrap(), Some(body.as_bytes()));
        let words = format!("curl() {{ printf '%s\\0' \"$@\"; }}; {command}");
        let out = Command::new("sh").args(["-c", &words]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let expected = [
            "-X",
            "POST",
            "--globoff",
            url,
            "-H",
            "ce-id: it's $(touch /x) `id`",
            "-H",
            "x-empty;",
            "-H",
            "x-glob: * ~ \\ \"q\" !",
            "--data-raw",
            body,
            "",
        ];
        assert_eq!(said.split('\0').collect::<Vec<_>>(), expected, "{command}");
        assert_eq!(curl(("HEAD", "https://a.example/"), &Map::new(), None), "curl --head 'https://a.example/'");
    }

    #[test]
    fn a_credential_of_the_configuration_is_not_told() {
        let value = HeaderValue::from_static("s3cret");
        for (name, is_told) in [
            ("authorization", false),
            ("x-api-key", false),
            ("x_auth_token", false),
            ("apikey", false),
            ("x-tenant", true),
            ("accept", true),
            ("x-monkey", true),
            ("x-accesstoken", false),
            ("x-clientsecret", false),
            ("x-amz-credential", false),
        ] {
            assert_eq!(masked(&HeaderName::from_static(name), &value) == value, is_told, "{name}");
        }
    }
}
