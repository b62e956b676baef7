//! The JSON form of an outbound integration, and its rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::{Value, json};
use url::Url;

use crate::catalog::fields::{Fields, Text, event_pattern, identifier};
use crate::catalog::kind::Kind;
use crate::catalog::kinds::{head, neutral, retry, word};
use crate::catalog::resource::{Labels, Reference, Spec};
use crate::model::ids::{IntegrationId, OrgId, ResourceId, Rid};
use crate::model::integration::{OutboundIntegration, Scope, WhenDisabled, is_reserved_header};
use crate::model::pattern::EventPattern;
use crate::model::retry::RetryPolicy;

const SCOPES: &[(&str, Scope)] = &[
    ("INCLUDE_CHILDREN", Scope::IncludeChildren),
    ("ENTITY_ONLY", Scope::EntityOnly),
    ("ALL_ENTITIES", Scope::IncludeChildren),
];
const WHEN_DISABLED: &[(&str, WhenDisabled)] = &[("SKIP", WhenDisabled::Skip), ("WAIT", WhenDisabled::Wait)];
const METHODS: &[(&str, Method)] = &[
    ("POST", Method::POST),
    ("GET", Method::GET),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
    ("HEAD", Method::HEAD),
    ("OPTIONS", Method::OPTIONS),
];

/// All headers together, names and values.
const MAX_HEADER_BYTES: usize = 16 * 1_024;

impl Spec for OutboundIntegration {
    const KIND: Kind = Kind::OutboundIntegration;
    const ABOUT: &'static [(&'static str, &'static str)] = &[
        ("id", "Its id, unique over all organizations; a UUID where none is given."),
        ("orgId", "The organization whose events it hears. It cannot be changed."),
        ("name", "What people call it."),
        ("description", "What it is for, in words for people."),
        ("labels", "Names and values by which lists are filtered."),
        (
            "eventType",
            "What it hears: an event type, a list, `*` for all, or `appointment.*`, where `*` is one or more segments.",
        ),
        ("orgUnitRid", "The unit whose events it hears; none: those of the organization."),
        (
            "scope",
            "Whether it hears the events of units below too. `ALL_ENTITIES` is another name of `INCLUDE_CHILDREN`.",
        ),
        ("excludedEntityRids", "Units whose events it does not hear although its scope has them."),
        ("isActive", "Whether it hears and delivers. What was matched before it was disabled waits."),
        ("whenDisabled", "What becomes of events that come while it is disabled: they pass it by (`SKIP`) or wait."),
        ("targetUrl", "Where deliveries go."),
        ("httpMethod", "How."),
        ("timeoutMs", "How long an attempt may take."),
        ("headers", "Static headers of each request. They are shown as they are: no credential belongs here."),
        ("eventHeaders", "Whether the attributes of the event go along as `ce-*` headers."),
        ("retry", "When a failed delivery is tried again: `delays`, or `baseMs`, `factor` and `capMs`."),
        ("retry.maxAttempts", "How many attempts, the first included."),
        ("retry.delays", "The delay after each attempt, such as `30s`; the last repeats."),
        ("retry.baseMs", "The first delay."),
        ("retry.factor", "By what each delay is longer than the one before."),
        ("retry.capMs", "The longest delay."),
        ("retry.jitter", "By what share of its delay a retry may be late."),
        (
            "deliveryTtlHours",
            "A delivery that waited longer ends as EXPIRED. It is answered as it holds: a day less than the log keeps deliveries at most.",
        ),
        ("maxInFlight", "How many requests may run at once."),
    ];
    const EXAMPLE: &'static str = r#"{"id": "bills", "orgId": "648", "name": "Bills", "eventType": ["bill.created"],
        "targetUrl": "https://erp.example/bills", "labels": {"team": "erp"}}"#;

    fn read(fields: &mut Fields) -> Option<Self> {
        fields.alias("orgId", "tenantId");
        for name in ["id", "orgId", "name", "eventType", "targetUrl"] {
            fields.require(name);
        }
        neutral::read(fields);
        let id = fields.id("id", IntegrationId::parse);
        let org_id = fields.id("orgId", OrgId::parse);
        let target_url = fields.url("targetUrl");
        Some(OutboundIntegration {
            name: fields.text("name", &Text::line(200)).unwrap_or_default(),
            description: head::description(fields),
            labels: fields.labels(),
            event_types: event_types(fields),
            org_unit: fields.id("orgUnitRid", Rid::parse),
            scope: fields.choice("scope", SCOPES).unwrap_or_default(),
            excluded_entity_rids: fields
                .list("excludedEntityRids", (1_000, identifier), Rid::parse)
                .unwrap_or_default(),
            is_active: fields.flag("isActive").unwrap_or(true),
            when_disabled: fields.choice("whenDisabled", WHEN_DISABLED).unwrap_or_default(),
            method: fields.choice("httpMethod", METHODS).unwrap_or(Method::POST),
            timeout: Duration::from_millis(fields.number("timeoutMs", 100..=60_000).unwrap_or(30_000)),
            headers: headers(fields),
            event_headers: fields.flag("eventHeaders").unwrap_or(true),
            retry: retry::read(fields).unwrap_or_default(),
            delivery_ttl: Duration::from_secs(3_600 * fields.number("deliveryTtlHours", 1..=168).unwrap_or(168)),
            max_in_flight: fields.number("maxInFlight", 1..=1_024).and_then(|n| u16::try_from(n).ok()).unwrap_or(64),
            version: 0,
            // Last: what is not read would be taken for unknown.
            target_url: target_url?,
            org_id: org_id?,
            id: id?,
        })
    }

    fn form(&self) -> impl Serialize + '_ {
        Form::of(self)
    }

    fn id(&self) -> ResourceId {
        (&self.id).into()
    }

    fn org(&self) -> Option<&OrgId> {
        Some(&self.org_id)
    }

    fn title(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn active(&self) -> Option<bool> {
        Some(self.is_active)
    }

    fn set_active(&mut self, active: bool) {
        self.is_active = active;
    }

    fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    fn references(&self) -> Vec<Reference> {
        let unit = self.org_unit.iter().map(|unit| Reference { path: "orgUnitRid", to: unit.into() });
        [Reference { path: "orgId", to: (&self.org_id).into() }].into_iter().chain(unit).collect()
    }
}

/// One pattern or a list of them.
fn event_types(fields: &mut Fields) -> Vec<EventPattern> {
    let mut patterns = fields.one_or_list("eventType", (100, event_pattern), EventPattern::parse);
    if patterns.as_ref().is_some_and(Vec::is_empty) {
        fields.wrong("eventType", "must name at least one event type or pattern");
    }
    let mut seen = BTreeSet::new();
    patterns.iter_mut().for_each(|list| list.retain(|pattern| seen.insert(pattern.clone())));
    patterns.unwrap_or_default()
}

fn headers(fields: &mut Fields) -> Vec<(HeaderName, HeaderValue)> {
    let texts = fields.texts("headers", (64, header_schemas)).unwrap_or_default();
    if texts.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_HEADER_BYTES {
        fields.wrong("headers", format!("must not be longer than {MAX_HEADER_BYTES} bytes together"));
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(texts.len());
    for (name, value) in texts {
        match header(&name, &value) {
            Ok((known, _)) if headers.iter().any(|(other, _)| *other == known) => {
                fields.wrong(format!("headers.{name}"), "is there twice: header names have no case");
            }
            Ok(header) => headers.push(header),
            Err(message) => fields.wrong(format!("headers.{name}"), message),
        }
    }
    headers
}

/// Of a name (RFC 9110, 5.6.2) and of a value.
fn header_schemas() -> [Value; 2] {
    [
        json!({"type": "string", "minLength": 1, "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}),
        json!({"type": "string", "pattern": "^[ -~]*$"}),
    ]
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::try_from(name).map_err(|_| "is not a valid header name")?;
    if is_reserved_header(&name) {
        return Err("is written by the gateway and cannot be set");
    }
    if value.contains("{{") {
        return Err("must not contain `{{`: this version has no placeholders in headers yet");
    }
    let visible = value.chars().all(|c| matches!(c, ' '..='~'));
    let value = HeaderValue::from_str(value).ok().filter(|_| visible);
    Ok((name, value.ok_or("must be visible ASCII characters and spaces")?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    id: &'a str,
    org_id: &'a str,
    name: &'a str,
    description: &'a str,
    labels: &'a BTreeMap<String, String>,
    event_type: &'a [EventPattern],
    org_unit_rid: Option<&'a Rid>,
    scope: &'static str,
    excluded_entity_rids: &'a [Rid],
    is_active: bool,
    when_disabled: &'static str,
    target_url: &'a Url,
    http_method: &'a str,
    timeout_ms: u64,
    headers: Headers<'a>,
    event_headers: bool,
    transformation_mode: &'static str,
    outgoing_auth_type: &'static str,
    enable_signing: bool,
    ordering: &'static str,
    retry: &'a RetryPolicy,
    delivery_ttl_hours: u64,
    max_in_flight: u16,
}

struct Headers<'a>(&'a [(HeaderName, HeaderValue)]);

impl Serialize for Headers<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name.as_str(), value.to_str().unwrap_or_default())?;
        }
        map.end()
    }
}

impl Form<'_> {
    fn of(integration: &OutboundIntegration) -> Form<'_> {
        Form {
            id: integration.id.as_str(),
            org_id: integration.org_id.as_str(),
            name: &integration.name,
            description: &integration.description,
            labels: &integration.labels,
            event_type: &integration.event_types,
            org_unit_rid: integration.org_unit.as_ref(),
            scope: word(SCOPES, &integration.scope),
            excluded_entity_rids: &integration.excluded_entity_rids,
            is_active: integration.is_active,
            when_disabled: word(WHEN_DISABLED, &integration.when_disabled),
            target_url: &integration.target_url,
            http_method: integration.method.as_str(),
            timeout_ms: u64::try_from(integration.timeout.as_millis()).unwrap_or(u64::MAX),
            headers: Headers(&integration.headers),
            event_headers: integration.event_headers,
            transformation_mode: "NONE",
            outgoing_auth_type: "NONE",
            enable_signing: false,
            ordering: "NONE",
            retry: &integration.retry,
            delivery_ttl_hours: integration.delivery_ttl.as_secs() / 3_600,
            max_in_flight: integration.max_in_flight,
        }
    }
}
