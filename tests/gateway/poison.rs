//! Records that nobody can understand, on every topic that something reads.

use serde_json::json;

use crate::support::api::{event, events, ids};
use crate::support::broker::Broker;
use crate::support::gateway::Setup;
use crate::support::kafka::{self, Record, Write};
use crate::support::ledger::Ledger;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{LATER, SOON, topics, turn, until};

fn headers(list: &[(&'static str, &str)]) -> Vec<(&'static str, Vec<u8>)> {
    list.iter().map(|(name, value)| (*name, value.as_bytes().to_vec())).collect()
}

/// What it is, the record, and the reason that `rejected` should give; `None`: any.
type Case = (&'static str, Write<'static>, Option<&'static str>);

fn on_events() -> Vec<Case> {
    let good = [("ce_specversion", "1.0"), ("ce_id", "p"), ("ce_type", "t"), ("ce_source", "s"), ("ce_orgid", "648")];
    let with = |changed: &[(&'static str, &str)]| {
        let kept = good.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        headers(&kept.chain(changed).copied().collect::<Vec<_>>())
    };
    let write = |value: Option<&'static [u8]>, headers| Write { key: Some(b"poison"), value, headers, partition: None };
    let mut huge = with(&[("ce_id", "huge")]);
    huge.push(("x-huge", vec![b'h'; 900 << 10]));
    let mut binary = with(&[]);
    binary.push(("ce_subject", vec![0xff, 0xfe, 0x00]));
    vec![
        ("bytes without headers", write(Some(b"\x00\xff garbage"), vec![]), None),
        ("null without headers", write(None, vec![]), None),
        ("null, and no key", Write::default(), None),
        ("another version of CloudEvents", write(Some(b"{}"), with(&[("ce_specversion", "0.3")])), None),
        (
            "an organization that does not exist",
            write(Some(b"{}"), with(&[("ce_orgid", "nobody")])),
            Some("unknown_org"),
        ),
        ("no type", write(Some(b"{}"), with(&[("ce_type", "")])), None),
        ("a time that is none", write(Some(b"{}"), with(&[("ce_time", "yesterday")])), None),
        (
            "a structured event that is cut",
            write(Some(b"{\"specversion\":"), headers(&[("content-type", "application/cloudevents+json")])),
            None,
        ),
        ("a subject that is not text", write(Some(b"{}"), binary), None),
        ("900 KB of headers", write(Some(b"{}"), huge), None),
    ]
}

fn on_deliveries() -> Vec<Case> {
    let id = "0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b";
    let write = |key: Option<&'static [u8]>, value, headers| Write { key, value, headers, partition: None };
    let good = [("tg_integration", "a"), ("tg_delivery", id), ("ce_id", "q")];
    // With the headers of its rejection it would exceed what the log takes.
    let large: &'static [u8] = vec![b'v'; (4 << 20) - 1_000].leak();
    vec![
        ("all that the log takes", write(Some(b"a"), Some(large), headers(&good)), Some("too_large")),
        ("a key of another integration", write(Some(b"other"), Some(&b"{}"[..]), headers(&good)), Some("foreign_key")),
        ("no key", write(None, Some(b"{}"), headers(&good)), Some("foreign_key")),
        ("bytes without headers", write(Some(b"a"), Some(b"\x00garbage"), vec![]), Some("missing_header")),
        ("null without headers", write(None, None, vec![]), Some("missing_header")),
        (
            "a delivery id that is none",
            write(Some(b"a"), Some(b"{}"), headers(&[("tg_integration", "a"), ("tg_delivery", "7")])),
            Some("invalid_header"),
        ),
    ]
}

/// `rejected` holds each of these records as it was, or as much of it as fits the log, and says where it lay and why it was refused.
fn all_rejected(rejected: &[Record], topic: &str, cases: &[Case]) {
    let of: Vec<&Record> = rejected.iter().filter(|r| r.header("__connect.errors.topic") == Some(topic)).collect();
    assert_eq!(of.len(), cases.len(), "{topic}: {:#?}", of.iter().map(|r| r.header("tg_reason")).collect::<Vec<_>>());
    for (what, sent, reason) in cases {
        let found =
            of.iter().find(|r| holds(r, sent)).unwrap_or_else(|| panic!("{topic}, {what}: not among the rejected"));
        let told = |name: &str| found.header(name).unwrap_or_default();
        assert!(!told("__connect.errors.exception.message").is_empty(), "{topic}, {what}: says nothing");
        assert!(told("__connect.errors.offset").parse::<i64>().is_ok(), "{topic}, {what}: lay nowhere");
        match reason {
            Some(reason) => assert_eq!(told("tg_reason"), *reason, "{topic}, {what}"),
            None => assert!(!told("tg_reason").is_empty(), "{topic}, {what}: no reason"),
        }
    }
}

fn holds(record: &Record, sent: &Write<'_>) -> bool {
    if record.header("__connect.errors.exception.message").is_some_and(|text| text.contains("the value was cut to")) {
        let (kept, value) = (record.value.as_deref().unwrap_or_default(), sent.value.unwrap_or_default());
        return kept.len() > 4_000_000 && value.starts_with(kept);
    }
    if (record.key.as_deref(), record.value.as_deref()) != (sent.key, sent.value) {
        return false;
    }
    sent.headers.iter().all(|(name, value)| record.headers.iter().any(|(n, v)| n == name && v == value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_nobody_understands_stops_nothing() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "poison");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    api.integration("a", &receiver.url("/a"), json!({"eventType": "patient.*"})).await;
    let mut accepted = ids("before", 30);
    api.publish_all(&events(&accepted, "patient.created")).await;
    let (bad_events, bad_deliveries) = (on_events(), on_deliveries());
    for (topic, cases) in [("events", &bad_events), ("deliveries", &bad_deliveries)] {
        let records: Vec<Write<'_>> = cases.iter().map(|(_, record, _)| record.clone()).collect();
        kafka::produce(&setup.brokers, &setup.topic(topic), &records).await;
    }
    let after = ids("after", 30);
    api.publish_all(&events(&after, "patient.created")).await;
    accepted.extend(after);
    receiver.wait_events("/a", accepted.len(), LATER).await;
    topics::quiet(&setup).await;
    let rejected = topics::read(&setup, "rejected").await;
    all_rejected(&rejected, "events", &bad_events);
    all_rejected(&rejected, "deliveries", &bad_deliveries);
    receiver.look(|log| Ledger { path: "/a", accepted: &accepted }.settle_once(log));
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_understands_in_a_table_stops_no_start() {
    let _turn = turn::beside().await;
    let broker = Broker::shared().await;
    let receiver = Receiver::start().await;
    let setup = Setup::new(&broker, "poisontable").instance("one");
    let gateway = setup.start().await;
    let api = gateway.api();
    api.org("648").await;
    let retry = json!({"maxAttempts": 9, "delays": ["1s"], "jitter": 0.0});
    api.integration("a", &receiver.url("/a"), json!({"retry": retry})).await;
    receiver.always("/a", Answer::Status(503));
    let accepted = ids("table", 10);
    api.publish_all(&events(&accepted, "patient.created")).await;
    until("what waits is written down", LATER, async || {
        let written = topics::read(&setup, "retry").await;
        (written.len() >= 10).then_some(())
    })
    .await;
    gateway.kill9().await;

    let keyed =
        |key: &'static [u8], value: &'static [u8]| Write { key: Some(key), value: Some(value), ..Write::default() };
    let poison = [keyed(b"\xff\x00", b"garbage"), keyed(b"a@not-an-offset", b"{}"), keyed(b"", b"")];
    kafka::produce(&setup.brokers, &setup.topic("retry"), &poison).await;
    // One entry that was good is damaged: its delivery may come early, but it comes.
    let good = topics::read(&setup, "retry").await;
    let is_lane = |r: &&Record| r.value.is_some() && r.header("tg_integration") == Some("a");
    let one = good.iter().rev().find(is_lane);
    let one = one.expect("an entry");
    let damaged = Write {
        partition: Some(one.partition),
        key: one.key.as_deref(),
        value: Some(b"{\"from\":\"x\"}"),
        ..Write::default()
    };
    kafka::produce(&setup.brokers, &setup.topic("retry"), &[damaged]).await;
    let strange = [keyed(b"\xff", b"garbage"), keyed(b"OutboundIntegration/x", b"{"), keyed(b"new-kind/y", b"{}")];
    kafka::produce(&setup.brokers, &setup.topic("catalog"), &strange).await;

    let gateway = setup.start().await;
    receiver.always("/a", Answer::Status(200));
    receiver
        .wait_for("all are delivered", LATER, |log| log.of("/a").filter(|s| s.answered.is_some()).count() >= 20)
        .await;
    api.publish(&event("later", "patient.created")).await;
    receiver.wait_for("the later one", SOON, |log| log.has("/a", "later")).await;
    topics::quiet(&setup).await;
    let all: Vec<String> = accepted.into_iter().chain(["later".to_owned()]).collect();
    let story = crate::support::story::Story::read(&setup).await;
    receiver.look(|log| {
        Ledger { path: "/a", accepted: &all }.settle(log);
        story.ended_once(log, "/a");
    });
    let rejected = topics::read(&setup, "rejected").await;
    let told: Vec<_> = rejected.iter().filter(|r| r.header("__connect.errors.topic") == Some("retry")).collect();
    assert_eq!(told.iter().filter(|r| r.header("tg_reason") == Some("not_a_lane")).count(), 3, "{told:#?}");
    assert_eq!(told.iter().filter(|r| r.header("tg_reason") == Some("not_an_entry")).count(), 1, "{told:#?}");
    drop(gateway);
}
