use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::catalog::samples::{integration, organization, unit};
use crate::catalog::{Key, Resource};
use crate::model::ids::Rid;
use crate::model::integration::Scope;
use crate::model::pattern::EventPattern;
use crate::model::time::Timestamp;
use crate::stream::log::{self, Follower, LogError, Member, Membership, PartitionReader, Seat};

/// A log of which only the catalog's end matters.
struct CatalogEndsAt(Offset);

#[async_trait]
impl Log for CatalogEndsAt {
    async fn end(&self, _topic: Topic, _partition: Partition) -> Result<Offset, LogError> {
        Ok(self.0)
    }
    async fn append(&self, _outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        Err(not_here())
    }
    async fn join(&self, _membership: Membership) -> Result<Member, LogError> {
        Err(not_here())
    }
    async fn read(&self, _: Topic, _: Partition, _: log::From) -> Result<Box<dyn PartitionReader>, LogError> {
        Err(not_here())
    }
    async fn follow(&self, _: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError> {
        Err(not_here())
    }
    async fn load(&self, _topic: Topic, _partition: Partition) -> Result<Vec<Received>, LogError> {
        Err(not_here())
    }
    async fn seat(&self, _name: &'static str, _within: Duration) -> Result<Box<dyn Seat>, LogError> {
        Err(not_here())
    }
    async fn partitions(&self, _topic: Topic) -> Result<i32, LogError> {
        Err(not_here())
    }
    async fn ping(&self) -> Result<(), LogError> {
        Ok(())
    }
}

fn not_here() -> LogError {
    LogError::Fatal("this log has only an end".to_owned())
}

const NOW: Timestamp = Timestamp(1_763_712_000_000);

fn hears(id: &str, event_type: &str) -> OutboundIntegration {
    OutboundIntegration { event_types: vec![EventPattern::parse(event_type).unwrap()], ..integration("648", id) }
}

fn holding(position: i64, integrations: impl IntoIterator<Item = OutboundIntegration>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.put(organization("648"));
    integrations.into_iter().for_each(|i| snapshot.put(i));
    snapshot.advance(Offset(position));
    snapshot
}

fn stage(snapshot: Snapshot) -> Match {
    let end = snapshot.position();
    Match::new(Arc::new(Catalog::with(snapshot)), Arc::new(CatalogEndsAt(end)))
}

/// A record of `events` in binary mode.
fn event(id: &str, event_type: &str, more: &[(&'static str, &str)]) -> Received {
    let mut headers = Headers::default();
    let own = [
        (header::CE_SPECVERSION, "1.0"),
        (header::CE_ID, id),
        (header::CE_TYPE, event_type),
        (header::CE_SOURCE, "/his"),
        (header::CE_ORGID, "648"),
        (header::CE_TIME, "2026-11-20T08:15:30.000Z"),
    ];
    for (name, value) in own.iter().chain(more) {
        headers.set(*name, value.to_string());
    }
    let record = Record { key: Some("648/1".into()), value: Some("{\"a\":1}".into()), headers };
    Received { partition: Partition(0), offset: Offset(7), timestamp: NOW, record }
}

fn map(stage: &mut Match, record: &Received) -> Vec<Output> {
    let mut out = Vec::new();
    stage.map(record, &mut out);
    out
}

/// Topic, and the integration, the reason of the skip or that of the rejection.
fn told(outputs: &[Output]) -> Vec<(Topic, String)> {
    let tell = |output: &Output| {
        let headers = &output.record.headers;
        let name = match output.topic {
            Topic::Attempts => json_of(output)["reason"].as_str().unwrap_or_default().to_owned(),
            Topic::Rejected => headers.text(header::TG_REASON).unwrap_or_default().to_owned(),
            _ => headers.text(header::TG_INTEGRATION).unwrap_or_default().to_owned(),
        };
        (output.topic, name)
    };
    let mut told: Vec<_> = outputs.iter().map(tell).collect();
    told.sort();
    told
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(output.record.value.as_ref().unwrap()).unwrap()
}

#[test]
fn every_event_ends_as_deliveries_or_with_a_reason() {
    let mut asleep = hears("asleep", "bill.*");
    asleep.is_active = false;
    let mut waiting = hears("waiting", "bill.paid");
    (waiting.is_active, waiting.when_disabled) = (false, WhenDisabled::Wait);
    let all = [hears("patients", "patient.*"), hears("all-patients", "patient.*"), asleep, waiting];
    let mut stage = stage(holding(9, all));
    type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [(Topic, &'static str)]);
    let cases: [Case; 8] = [
        ("1", "patient.created", &[], &[(Topic::Deliveries, "all-patients"), (Topic::Deliveries, "patients")]),
        ("1", "patient.created", &[], &[(Topic::Attempts, "duplicate")]),
        ("2", "patient", &[], &[(Topic::Attempts, "no_match")]),
        ("3", "bill.paid", &[], &[(Topic::Deliveries, "waiting"), (Topic::Attempts, "inactive")]),
        ("4", "bill.sent", &[], &[(Topic::Attempts, "inactive")]),
        ("5", "patient.created", &[(header::CE_ORGID, "649")], &[(Topic::Rejected, "unknown_org")]),
        ("6", "patient created", &[], &[(Topic::Rejected, "bad_type")]),
        ("7", "patient.created", &[(header::CE_SPECVERSION, "0.3")], &[(Topic::Rejected, "unknown_specversion")]),
    ];
    for (id, event_type, more, expected) in cases {
        let mut expected: Vec<_> = expected.iter().map(|(topic, name)| (*topic, name.to_string())).collect();
        expected.sort();
        assert_eq!(told(&map(&mut stage, &event(id, event_type, more))), expected, "event {id}, {event_type}");
    }
}

#[test]
fn a_delivery_carries_the_event_as_it_came_and_where_it_goes() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let more = [
        (header::CE_SUBJECT, "Patient/1"),
        (header::CONTENT_TYPE, "application/fhir+json"),
        (header::TRACEPARENT, trace),
        (header::TG_INTEGRATION, "forged"),
        ("x-private", "1"),
    ];
    let record = event("1", "t", &more);
    let [delivery] = &map(&mut stage(holding(9, [hears("bills", "t")])), &record)[..] else { panic!("not one") };
    assert_eq!(delivery.record.key.as_deref(), Some(&b"bills"[..]));
    let (sent, came) = (delivery.record.value.as_ref().unwrap(), record.record.value.as_ref().unwrap());
    assert!(sent.as_ptr() == came.as_ptr() && sent == came, "the payload was copied or changed");
    let headers = &delivery.record.headers;
    for (name, value) in record.record.headers.iter().filter(|(name, _)| is_kept(name)) {
        assert_eq!(headers.get(name), Some(value), "{name}");
    }
    assert_eq!(headers.text(header::TG_INTEGRATION), Some("bills"));
    assert_eq!(headers.text(header::TG_CATALOG), Some("9"));
    assert_eq!(headers.text(header::TG_TRIGGER), Some("EVENT"));
    assert!(headers.get("x-private").is_none());
}

#[test]
fn an_event_in_structured_mode_becomes_a_delivery_in_binary_mode() {
    let body = json!({"specversion": "1.0", "id": "e1", "type": "t", "source": "/his", "orgid": "648",
        "subject": "Patient/1", "data": {"a": 1}});
    let mut record = event("1", "t", &[]);
    record.record.headers = Headers::default();
    record.record.headers.push(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8");
    record.record.value = Some(body.to_string().into());
    let [delivery] = &map(&mut stage(holding(9, [hears("bills", "t")])), &record)[..] else { panic!("not one") };
    let text = |name| delivery.record.headers.text(name);
    assert_eq!(text(header::CE_ID), Some("e1"));
    assert_eq!(text(header::CE_SUBJECT), Some("Patient/1"));
    assert_eq!(text(header::CE_TIME), Some(&*NOW.to_string()));
    assert_eq!(text(header::CONTENT_TYPE), Some("application/json"));
    assert_eq!(delivery.record.value.as_deref(), Some(&b"{\"a\":1}"[..]));
}

#[test]
fn a_skip_names_the_event_and_the_integration_that_it_passed_by() {
    let mut asleep = hears("asleep", "t");
    asleep.is_active = false;
    let mut skipping = stage(holding(9, [asleep]));
    let [skip] = &map(&mut skipping, &event("e1", "t", &[(header::CE_ENTITYRID, "u1")]))[..] else { panic!("not one") };
    let mut value = json_of(skip);
    let id = value["deliveryId"].take();
    assert_eq!(skip.record.key.as_deref(), id.as_str().map(str::as_bytes));
    let expected = json!({"kind": "skipped", "deliveryId": null, "eventId": "e1", "eventType": "t", "source": "/his",
        "orgId": "648", "entityRid": "u1", "integrationId": "asleep", "direction": "OUTBOUND", "trigger": "EVENT",
        "outcome": "SKIPPED", "status": "SKIPPED", "reason": "inactive", "startedAt": NOW.to_string()});
    assert_eq!(value, expected);
}

#[test]
fn a_change_of_the_catalog_counts_from_the_next_event_on() {
    let mut stage = stage(holding(9, [hears("first", "t")]));
    assert_eq!(told(&map(&mut stage, &event("1", "t", &[]))), [(Topic::Deliveries, "first".to_owned())]);
    let mut next = (*stage.catalog.snapshot()).clone();
    next.remove(&Key::from(&hears("first", "t").id));
    next.put(hears("second", "*"));
    stage.catalog.publish(next.clone());
    assert_eq!(told(&map(&mut stage, &event("2", "t", &[]))), [(Topic::Deliveries, "second".to_owned())]);
    next.remove(&Key::from(&organization("648").org_id));
    stage.catalog.publish(next);
    assert_eq!(told(&map(&mut stage, &event("3", "t", &[]))), [(Topic::Rejected, "unknown_org".to_owned())]);
}

#[test]
fn an_event_of_a_unit_is_heard_by_whoever_hears_the_units_above() {
    let mut snapshot = holding(9, []);
    for (rid, parent) in [("ward", None), ("room", Some("ward")), ("bed", Some("room"))] {
        snapshot.put(unit("648", rid, parent));
    }
    let of = |id: &str, rid: &str, scope| OutboundIntegration {
        org_unit: Some(Rid::parse(rid).unwrap()),
        scope,
        ..hears(id, "t")
    };
    snapshot.put(of("all-of-ward", "ward", Scope::IncludeChildren));
    snapshot.put(of("ward-alone", "ward", Scope::EntityOnly));
    snapshot.put(of("all-of-bed", "bed", Scope::IncludeChildren));
    let mut stage = stage(snapshot);
    let mut heard = |id: &str, rid: &str| {
        let mut all: Vec<_> =
            told(&map(&mut stage, &event(id, "t", &[("ce_entityrid", rid)]))).into_iter().map(|(_, id)| id).collect();
        all.sort();
        all
    };
    assert_eq!(heard("1", "bed"), ["all-of-bed", "all-of-ward"]);
    assert_eq!(heard("2", "ward"), ["all-of-ward", "ward-alone"]);
    assert_eq!(heard("3", "nowhere"), ["no_match"]);
}

#[test]
fn a_repeat_after_a_rebalance_is_known_by_what_was_recalled() {
    let mut stage = stage(holding(9, [hears("i", "t")]));
    stage.recall(&event("1", "t", &[]));
    assert_eq!(told(&map(&mut stage, &event("1", "t", &[]))), [(Topic::Attempts, "duplicate".to_owned())]);
    stage.forget(Partition(0));
    assert_eq!(told(&map(&mut stage, &event("1", "t", &[]))), [(Topic::Deliveries, "i".to_owned())]);
}

#[test]
fn an_event_rejected_before_its_organization_was_made_may_be_submitted_again() {
    let mut snapshot = holding(9, [hears("i", "t")]);
    let mut late = Resource::from(organization("648"));
    late.revision.created_at = Timestamp(NOW.0 + 1);
    snapshot.put(late);
    let mut stage = stage(snapshot);
    stage.recall(&event("1", "t", &[]));
    assert_eq!(told(&map(&mut stage, &event("1", "t", &[]))), [(Topic::Deliveries, "i".to_owned())]);
}

#[tokio::test]
async fn an_event_of_a_brand_new_organization_waits_for_the_catalog_and_is_not_rejected() {
    let catalog = Arc::new(Catalog::with(Snapshot::default()));
    let mut stage = Match::new(Arc::clone(&catalog), Arc::new(CatalogEndsAt(Offset(9))));
    let records = [event("1", "t", &[])];
    let publish = async { catalog.publish(holding(9, [hears("i", "t")])) };
    tokio::join!(biased; stage.prepare(&records), publish);
    assert_eq!(told(&map(&mut stage, &records[0])), [(Topic::Deliveries, "i".to_owned())]);
}

#[tokio::test]
async fn an_event_accepted_with_a_newer_catalog_waits_for_it() {
    let catalog = Arc::new(Catalog::with(holding(8, [])));
    let mut stage = Match::new(Arc::clone(&catalog), Arc::new(CatalogEndsAt(Offset(9))));
    let records = [event("1", "t", &[(header::TG_CATALOG, "9")])];
    let publish = async { catalog.publish(holding(9, [hears("i", "t")])) };
    tokio::join!(biased; stage.prepare(&records), publish);
    assert_eq!(told(&map(&mut stage, &records[0])), [(Topic::Deliveries, "i".to_owned())]);
}

#[tokio::test]
async fn a_catalog_offset_that_nobody_wrote_holds_nothing_back() {
    let mut stage = stage(holding(9, [hears("i", "t")]));
    let records =
        [event("1", "t", &[(header::TG_CATALOG, "9223372036854775807")]), event("2", "t", &[(header::CE_ORGID, "no")])];
    stage.prepare(&records).await;
    assert_eq!(told(&map(&mut stage, &records[0])), [(Topic::Deliveries, "i".to_owned())]);
}

proptest! {
    #[test]
    fn a_second_match_of_an_event_yields_the_same_deliveries(id in "[a-z0-9-]{1,40}", types in 1..6usize) {
        let all: Vec<_> = (0..types).map(|n| hears(&format!("i{n}"), "a.*")).collect();
        let record = event(&id, "a.b", &[]);
        let (mut one, mut other) = (stage(holding(9, all.clone())), stage(holding(9, all)));
        let first = map(&mut one, &record);
        prop_assert_eq!(first.len(), types);
        prop_assert_eq!(&first, &map(&mut other, &record));
        one.forget(Partition(0));
        prop_assert_eq!(&first, &map(&mut one, &record));
    }
}
