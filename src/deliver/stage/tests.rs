use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;

use super::*;
use crate::deliver::testing::{DELIVERY, Does, NOW, OK, Receiver, delivery, integration};
use crate::model::ids::OrgId;
use crate::model::time::ManualClock;
use crate::model::topic::Topic;

/// What the app would answer from its snapshot.
struct Known {
    integrations: Mutex<Vec<Arc<OutboundIntegration>>>,
    position: AtomicI64,
}

impl Integrations for Known {
    fn get(&self, id: &IntegrationId) -> Option<Arc<OutboundIntegration>> {
        lock(&self.integrations).iter().find(|i| i.id == *id).cloned()
    }

    fn is_unreadable(&self, id: &IntegrationId) -> bool {
        id.as_str() == "unreadable"
    }

    fn position(&self) -> Offset {
        Offset(self.position.load(Ordering::SeqCst))
    }
}

struct Stage {
    known: Arc<Known>,
    deliver: Deliver,
}

fn stage(integrations: Vec<OutboundIntegration>, allow: &str) -> Stage {
    let integrations = Mutex::new(integrations.into_iter().map(Arc::new).collect());
    let known = Arc::new(Known { integrations, position: AtomicI64::new(40) });
    let config = DeliverConfig { allow: allow.parse().unwrap(), longest_wait: Duration::from_secs(144 * 3_600) };
    let deliver = Deliver::new(known.clone(), Arc::new(ManualClock::at(NOW)), config).unwrap();
    Stage { known, deliver }
}

impl Stage {
    /// Attempts the delivery once with the integration changed to this target.
    async fn attempt_at(&self, target: &str) -> Attempted {
        *lock(&self.known.integrations) = vec![Arc::new(integration(target))];
        self.deliver.attempt(job(&delivery(), 1)).await
    }
}

fn job(record: &Received, attempt: u32) -> Job<'_> {
    Job { record, attempt, first_at: (attempt > 1).then_some(Timestamp(NOW.0 - 1_000)) }
}

/// Attempts the delivery once at a receiver on loopback.
async fn attempted(receiver: &Receiver, attempt: u32, change: impl FnOnce(&mut OutboundIntegration)) -> Attempted {
    let mut target = integration(&receiver.url());
    change(&mut target);
    let stage = stage(vec![target], "127.0.0.0/8");
    stage.deliver.attempt(job(&delivery(), attempt)).await
}

fn told(outputs: &[Output]) -> Value {
    assert_eq!(outputs[0].topic, Topic::Attempts);
    assert_eq!(outputs[0].record.key.as_deref(), Some(DELIVERY.as_bytes()));
    serde_json::from_slice(outputs[0].record.value.as_deref().unwrap()).unwrap()
}

fn retry_in(attempted: &Attempted) -> Duration {
    match &attempted.outcome {
        Outcome::Retry { due, .. } => due.since(NOW),
        other => panic!("{other:?}"),
    }
}

mod sending;

#[tokio::test]
async fn a_producer_whose_clock_is_wrong_does_not_make_deliveries_look_slow() {
    let receiver = Receiver::that(OK).await;
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let stage = metrics::with_local_recorder(&recorder, || stage(vec![integration(&receiver.url())], "127.0.0.0/8"));
    let mut record = delivery();
    record.record.headers.set("ce_time", "2020-01-01T00:00:00.000Z");
    record.timestamp = Timestamp(NOW.0 - 250);
    assert_eq!(stage.deliver.attempt(job(&record, 1)).await.outcome, Outcome::Delivered);
    let text = recorder.handle().render();
    assert!(text.contains("tidegate_event_to_delivery_seconds_sum 0.25"), "{text}");
}

#[tokio::test]
async fn a_dead_letter_produced_to_deliveries_again_is_the_same_delivery() {
    let receiver = Receiver::that(Does::Answers("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")).await;
    let first = attempted(&receiver, 7, |_| ()).await;
    assert_eq!(first.outcome, Outcome::Abandoned);
    let letter = &first.outputs[1];
    let original = delivery();
    assert_eq!((letter.topic, letter.partition), (Topic::Dlq, None));
    assert_eq!((&letter.record.key, &letter.record.value), (&original.record.key, &original.record.value));
    for (name, value) in original.record.headers.iter() {
        assert_eq!(letter.record.headers.get(name), Some(value), "{name}");
    }
    let text = |output: &Output, name| output.record.headers.text(name).unwrap_or_default().to_owned();
    let since = Timestamp(NOW.0 - 1_000).to_string();
    assert_eq!(
        (text(letter, "tg_attempt"), text(letter, "tg_status"), text(letter, "tg_first_at")),
        ("7".into(), "ABANDONED".into(), since.clone())
    );
    assert_eq!(text(letter, "tg_error"), "HTTP_5XX: the receiver answered 500 Internal Server Error");

    let redriven = Received { record: letter.record.clone(), ..original };
    let stage = stage(vec![integration(&receiver.url())], "127.0.0.0/8");
    assert!(matches!(stage.deliver.admit(&redriven), Admission::Take { .. }));
    let again = stage.deliver.attempt(job(&redriven, 1)).await;
    assert_eq!((retry_in(&again), &told(&again.outputs)["attempt"]), (Duration::from_secs(1), &8.into()));
    let again = stage.deliver.attempt(Job { first_at: Some(NOW), ..job(&redriven, 7) }).await;
    assert_eq!((text(&again.outputs[1], "tg_attempt"), text(&again.outputs[1], "tg_first_at")), ("14".into(), since));
    assert_eq!(again.outputs[1].record.headers.len(), letter.record.headers.len());
}

#[tokio::test]
async fn a_reader_of_the_topic_sees_the_story_and_no_credentials() {
    let answer = "HTTP/1.1 401 No\r\nset-cookie: session=secret\r\nx-two: a\r\nx-two: b\r\ncontent-length: 3\r\n\r\n\u{7f}\u{e9}";
    let receiver = Receiver::that(Does::Answers(answer)).await;
    let attempted = attempted(&receiver, 1, |_| ()).await;
    let record = &attempted.outputs[0].record;
    let told_by = |name| record.headers.text(name).unwrap_or_default();
    let expected = [
        ("ce_id", "e-1"),
        ("ce_type", "bill.created"),
        ("ce_orgid", "648"),
        ("tg_delivery", DELIVERY),
        ("tg_integration", "bills"),
        ("tg_attempt", "1"),
        ("tg_outcome", "DEAD"),
        ("tg_status", "FAILED"),
        ("tg_error", "HTTP_4XX: the receiver answered 401 Unauthorized"),
    ];
    for (name, value) in expected {
        assert_eq!(told_by(name), value);
    }
    let value = told(&attempted.outputs);
    assert_eq!(value["responseHeaders"]["x-two"], "a, b");
    assert!(!value.to_string().contains("secret"), "{value}");
    let facts = ["kind", "eventId", "entityId", "correlationId", "integrationName", "httpMethod", "trigger", "traceId"];
    let shown: Vec<_> = facts.iter().map(|name| value[*name].as_str().unwrap()).collect();
    assert_eq!(
        shown,
        ["attempt", "e-1", "Patient/7 é", "c 1", "Bills", "POST", "EVENT", "0197a0b23c4d8e5f8a6b7c8d9e0f1a2b"]
    );
}

#[test]
fn an_ending_is_told_and_only_an_expired_one_is_a_dead_letter() {
    let record = delivery();
    let with = stage(vec![integration("https://erp.example/")], "");
    let outputs = with.deliver.end(job(&record, 3), Ending::Expired);
    let value = told(&outputs);
    let shown =
        |value: &Value| ["kind", "outcome", "status", "errorCategory"].map(|n| value[n].as_str().map(str::to_owned));
    let words = |all: [&str; 4]| all.map(|w| (!w.is_empty()).then(|| w.to_owned()));
    assert_eq!(shown(&value), words(["expired", "DEAD", "ABANDONED", "EXPIRED"]));
    assert_eq!((&value["attempt"], outputs[1].topic, outputs.len()), (&3.into(), Topic::Dlq, 2));
    assert!(outputs[1].record.headers.text("tg_error").unwrap().starts_with("EXPIRED: "));

    let outputs = stage(vec![], "").deliver.end(job(&record, 0), Ending::Cancelled);
    assert_eq!(shown(&told(&outputs)), words(["cancelled", "SKIPPED", "CANCELLED", ""]));
    assert_eq!(outputs.len(), 1);
}

#[tokio::test]
async fn what_was_for_a_deleted_integration_is_never_sent_to_another_organizations_of_the_same_id() {
    let receiver = Receiver::that(Does::Halves("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "ok")).await;
    let attempted = attempted(&receiver, 2, |one| one.org_id = OrgId::parse("649").unwrap()).await;
    assert_eq!(attempted.outcome, Outcome::Dead);
    let value = told(&attempted.outputs);
    assert_eq!((&value["kind"], &value["orgId"], &value["attempt"]), (&"cancelled".into(), &"648".into(), &1.into()));
    assert_eq!((value.get("targetUrl"), receiver.connections.load(Ordering::SeqCst)), (None, 0));
}

#[tokio::test]
async fn a_record_that_is_no_delivery_goes_to_rejected_whenever_it_is_seen() {
    let mut record = delivery();
    record.record.key = Some("other".into());
    let stage = stage(vec![integration("https://erp.example/")], "");
    let Admission::Refuse(refused) = stage.deliver.admit(&record) else { panic!("taken") };
    assert_eq!((refused.len(), refused[0].topic), (1, Topic::Rejected));
    let attempted = stage.deliver.attempt(job(&record, 1)).await;
    assert_eq!(attempted, Attempted { outcome: Outcome::Dead, outputs: refused.clone() });
    assert_eq!(stage.deliver.end(job(&record, 1), Ending::Expired), refused);
}

#[tokio::test]
async fn an_integration_matched_by_a_newer_catalog_is_waited_for() {
    let record = delivery();
    let id = IntegrationId::parse("bills").unwrap();
    let stage = stage(vec![], "");
    stage.known.position.store(39, Ordering::SeqCst);
    assert!(matches!(stage.deliver.admit(&record), Admission::Take { .. }));
    assert_eq!(stage.deliver.standing(&id), Standing::Unknown);
    assert_eq!(stage.deliver.standing(&IntegrationId::parse("other").unwrap()), Standing::Deleted);
    let unreadable = IntegrationId::parse("unreadable").unwrap();
    assert_eq!(stage.deliver.standing(&unreadable), Standing::Unknown, "its deliveries would be cancelled");
    assert!(matches!(stage.deliver.attempt(job(&record, 1)).await.outcome, Outcome::Retry { .. }));

    stage.known.position.store(40, Ordering::SeqCst);
    assert_eq!(stage.deliver.standing(&id), Standing::Deleted);
    let attempted = stage.deliver.attempt(job(&record, 1)).await;
    assert_eq!((attempted.outcome, &told(&attempted.outputs)["status"]), (Outcome::Dead, &"CANCELLED".into()));

    lock(&stage.known.integrations).push(Arc::new(integration("https://erp.example/")));
    assert_eq!(stage.deliver.standing(&id), Standing::Active { max_in_flight: 64 });
    let paused = OutboundIntegration { is_active: false, ..integration("https://erp.example/") };
    *lock(&stage.known.integrations) = vec![Arc::new(paused)];
    assert_eq!(stage.deliver.standing(&id), Standing::Disabled);
}

#[test]
fn more_unknown_integrations_than_there_is_room_for_are_still_waited_for() {
    let stage = stage(vec![], "");
    stage.known.position.store(39, Ordering::SeqCst);
    let ids: Vec<_> = (0..AWAITED + 10).map(|n| IntegrationId::parse(&format!("i{n}")).unwrap()).collect();
    for id in &ids {
        let mut record = delivery();
        record.record.key = Some(id.to_string().into());
        record.record.headers.set("tg_integration", id.to_string());
        assert!(matches!(stage.deliver.admit(&record), Admission::Take { .. }));
    }
    assert!(ids.iter().all(|id| stage.deliver.standing(id) == Standing::Unknown));
    assert!(lock(&stage.deliver.awaited).by_id.len() <= AWAITED);
    stage.known.position.store(40, Ordering::SeqCst);
    assert!(ids.iter().all(|id| stage.deliver.standing(id) == Standing::Deleted));
}

#[test]
fn a_delivery_expires_before_the_log_would_delete_it() {
    let record = delivery();
    let hours = |integrations: Vec<OutboundIntegration>| match stage(integrations, "").deliver.admit(&record) {
        Admission::Take { expires, .. } => expires.since(NOW).as_secs() / 3_600,
        Admission::Refuse(outputs) => panic!("{outputs:?}"),
    };
    let short = OutboundIntegration { delivery_ttl: Duration::from_secs(7_200), ..integration("https://erp.example/") };
    assert_eq!(hours(vec![short]), 2);
    assert_eq!(hours(vec![integration("https://erp.example/")]), 144);
    assert_eq!(hours(vec![]), 144);
}
