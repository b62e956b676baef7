//! What a record of each topic says, by the same names; and which records somebody wants to see.

use std::borrow::Cow;

use serde::Deserialize;

use crate::model::event::canonical;
use crate::model::pattern::EventPattern;
use crate::model::record::{Headers, Received, header};
use crate::model::topic::Topic;

/// What is shown of a record. Texts as they are in it: whoever shows them makes them printable.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub event_type: Option<String>,
    pub org: Option<String>,
    pub entity: Option<String>,
    pub event: Option<String>,
    pub integration: Option<String>,
    pub delivery: Option<String>,
    pub attempt: Option<String>,
    /// What became of it: `DELIVERED`, `RETRY`, `unknown_org`.
    pub outcome: Option<String>,
    /// The gateway's other word for it, where it has one: `FAILED`.
    pub status: Option<String>,
    pub http_status: Option<u16>,
    pub error: Option<String>,
    /// Where it was, or when it goes on.
    pub note: Option<String>,
}

/// Of the values of `attempts` and `retry`.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Value<'a> {
    response_status: Option<u16>,
    status: Option<serde_json::Value>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    due: Option<Cow<'a, str>>,
    attempt: Option<u64>,
    duration_ms: Option<f64>,
}

impl Facts {
    pub(super) fn of(topic: Topic, received: &Received) -> Facts {
        if topic == Topic::Retry {
            return lane(received);
        }
        // Producers may write an event in structured mode; the pipeline's own records are as they are.
        let canonical = (topic == Topic::Events).then(|| canonical(received).ok()).flatten();
        let headers = canonical.as_ref().map_or(&received.record.headers, |event| &event.record.headers);
        let mut facts = from_headers(headers);
        match topic {
            Topic::Attempts => {
                let value: Value<'_> = value(received);
                facts.http_status = value.response_status;
                facts.note = value.duration_ms.map(|ms| format!("{ms:.0} ms"));
            }
            Topic::Rejected => {
                facts.outcome = text(headers, header::ERRORS_CLASS).or(facts.outcome);
                facts.error = text(headers, header::ERRORS_MESSAGE);
                let place = [header::ERRORS_TOPIC, header::ERRORS_PARTITION, header::ERRORS_OFFSET];
                let [topic, partition, offset] = place.map(|name| text(headers, name).unwrap_or_else(|| "?".into()));
                facts.note = Some(format!("{topic}-{partition}@{offset}"));
            }
            Topic::Dlq => facts.outcome = facts.status.take().or(facts.outcome),
            _ => {}
        }
        facts
    }
}

fn text(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
}

fn from_headers(headers: &Headers) -> Facts {
    let text = |name: &str| text(headers, name);
    Facts {
        event_type: text(header::CE_TYPE),
        org: text(header::CE_ORGID),
        entity: text(header::CE_SUBJECT),
        event: text(header::CE_ID),
        integration: text(header::TG_INTEGRATION),
        delivery: text(header::TG_DELIVERY),
        attempt: text(header::TG_ATTEMPT),
        outcome: text(header::TG_OUTCOME),
        status: text(header::TG_STATUS),
        error: text(header::TG_ERROR).or_else(|| text(header::TG_REASON)),
        ..Facts::default()
    }
}

fn value(received: &Received) -> Value<'_> {
    received.record.value.as_ref().and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default()
}

/// What waits, by the integration's lane; a tombstone says that it waits no longer.
fn lane(received: &Received) -> Facts {
    let key = received.record.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
    let integration = key.split(['/', '@']).next().map(str::to_owned);
    if received.record.value.is_none() {
        return Facts { integration, outcome: Some("DONE".to_owned()), entity: Some(key), ..Facts::default() };
    }
    let value = value(received);
    Facts {
        integration,
        entity: Some(key),
        outcome: value.reason.map(Cow::into_owned),
        attempt: value.attempt.map(|n| n.to_string()),
        http_status: value.status.and_then(|status| u16::try_from(status.as_u64()?).ok()),
        error: value.error.map(Cow::into_owned),
        note: value.due.map(|due| format!("due {due}")),
        ..Facts::default()
    }
}

/// Which records are shown: those for which everything that is named holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub event_type: Option<EventPattern>,
    pub org: Option<String>,
    pub integration: Option<String>,
    /// An outcome, a status, or the number of an answer, as it is shown; in any case of letters.
    pub status: Option<String>,
}

impl Filter {
    pub(super) fn wants(&self, facts: &Facts) -> bool {
        let is = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        let of_type =
            |pattern: &EventPattern| facts.event_type.as_ref().is_some_and(|event_type| pattern.matches(event_type));
        let with_status = |wanted: &String| {
            let number = facts.http_status.map(|status| status.to_string());
            [&facts.outcome, &facts.status, &number].into_iter().flatten().any(|has| has.eq_ignore_ascii_case(wanted))
        };
        self.event_type.as_ref().is_none_or(of_type)
            && is(&self.org, &facts.org)
            && is(&self.integration, &facts.integration)
            && self.status.as_ref().is_none_or(with_status)
    }

    /// The flag that asks for what records of this topic do not say, and those that do.
    pub(super) fn misplaced(&self, topic: Topic) -> Option<(&'static str, &'static str)> {
        let outcomes = !matches!(topic, Topic::Events | Topic::Deliveries);
        let integrations = !matches!(topic, Topic::Events | Topic::Rejected);
        let flags = [
            (self.event_type.is_some() && topic == Topic::Retry, ("--type", "every topic but retry")),
            (self.org.is_some() && topic == Topic::Retry, ("--org", "every topic but retry")),
            (self.integration.is_some() && !integrations, ("--integration", "deliveries, attempts, dlq and retry")),
            (self.status.is_some() && !outcomes, ("--status", "attempts, dlq, rejected and retry")),
        ];
        flags.into_iter().find_map(|(wrong, flag)| wrong.then_some(flag))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::ids::{Offset, Partition};
    use crate::model::record::Record;
    use crate::model::time::Timestamp;

    pub(in crate::cli::tail) fn received(key: &str, value: Option<&str>, headers: &[(&'static str, &str)]) -> Received {
        let mut record = Record { key: Some(key.to_owned().into()), ..Record::default() };
        record.value = value.map(|value| value.to_owned().into());
        for (name, value) in headers {
            record.headers.push(*name, (*value).to_owned());
        }
        Received { partition: Partition(2), offset: Offset(7), timestamp: Timestamp(1_763_712_000_250), record }
    }

    pub(in crate::cli::tail) fn attempt() -> Received {
        let headers = [
            ("ce_id", "e1"),
            ("ce_type", "bill.created"),
            ("ce_orgid", "648"),
            ("tg_integration", "bills"),
            ("tg_attempt", "2"),
            ("tg_outcome", "RETRY"),
            ("tg_status", "RETRYING"),
            ("tg_error", "HTTP_ERROR: 503"),
        ];
        received("d1", Some(r#"{"responseStatus":503,"durationMs":12.4}"#), &headers)
    }

    #[test]
    fn a_filter_hides_what_was_not_asked_for_and_nothing_else() {
        let attempt = Facts::of(Topic::Attempts, &attempt());
        let entry = r#"{"from":3,"due":"2026-11-21T08:00:00.000Z","attempt":4,"reason":"RETRY","status":502}"#;
        let waiting = Facts::of(Topic::Retry, &received("bills@17", Some(entry), &[]));
        let done = Facts::of(Topic::Retry, &received("bills/Patient/1", None, &[]));
        let none = Filter::default;
        let of_type = |text: &str| Filter { event_type: Some(EventPattern::parse(text).unwrap()), ..none() };
        let status = |text: &str| Filter { status: Some(text.into()), ..none() };
        let org = |text: &str| Filter { org: Some(text.into()), ..none() };
        let integration = |text: &str| Filter { integration: Some(text.into()), ..none() };
        let cases = [
            (none(), [true, true, true]),
            (of_type("bill.*"), [true, false, false]),
            (of_type("bill"), [false, false, false]),
            (org("648"), [true, false, false]),
            (org("64"), [false, false, false]),
            (integration("bills"), [true, true, true]),
            (integration("bill"), [false, false, false]),
            (status("retry"), [true, true, false]),
            (status("RETRYING"), [true, false, false]),
            (status("503"), [true, false, false]),
            (status("502"), [false, true, false]),
            (status("done"), [false, false, true]),
            (Filter { org: Some("712".into()), ..status("503") }, [false, false, false]),
        ];
        for (filter, expected) in cases {
            assert_eq!([&attempt, &waiting, &done].map(|facts| filter.wants(facts)), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_filter_that_can_never_match_is_not_taken() {
        let status = Filter { status: Some("x".into()), ..Filter::default() };
        assert_eq!(status.misplaced(Topic::Events).map(|m| m.0), Some("--status"));
        assert_eq!(status.misplaced(Topic::Attempts), None);
        let org = Filter { org: Some("x".into()), ..Filter::default() };
        assert_eq!(org.misplaced(Topic::Retry).map(|m| m.0), Some("--org"));
        assert_eq!(org.misplaced(Topic::Events), None);
    }

    #[test]
    fn an_event_in_structured_mode_is_shown_like_any_other() {
        let value = r#"{"specversion":"1.0","id":"e9","type":"a.b","source":"s","orgid":"648","data":{"x":1}}"#;
        let record = received("k", Some(value), &[("content-type", "application/cloudevents+json")]);
        let facts = Facts::of(Topic::Events, &record);
        assert_eq!((facts.event.as_deref(), facts.event_type.as_deref()), (Some("e9"), Some("a.b")));
    }
}
