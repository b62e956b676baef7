use proptest::prelude::*;

use super::*;
use crate::history::standing::Standing;
use crate::model::record::Record;

const ID: &str = "0197a0b2-3c4d-8e5f-8a6b-7c8d9e0f1a2b";

fn received(offset: i64, value: &str, headers: &[(&'static str, &'static str)]) -> Received {
    let mut record = Record { key: Some("bills".into()), value: Some(value.to_owned().into()), ..Record::default() };
    headers.iter().for_each(|(name, value)| record.headers.push(*name, *value));
    Received { partition: Partition(1), offset: Offset(offset), timestamp: Timestamp(1_000 + offset), record }
}

const QUEUED: [(&str, &str); 2] = [("tg_delivery", ID), ("tg_integration", "bills")];

fn told(kind: &str, attempt: u32, outcome: &str, status: &str) -> String {
    serde_json::json!({"kind": kind, "deliveryId": ID, "attempt": attempt, "outcome": outcome, "status": status,
        "startedAt": "2026-11-20T08:15:30.250Z", "durationMs": 12.5, "a later version's": {"field": 1}})
    .to_string()
}

/// What happened to a delivery that died, was put back twice, and arrived.
fn story() -> Vec<(Topic, Received)> {
    let again = [&QUEUED[..], &[("tg_attempt", "2"), ("tg_status", "FAILED"), ("tg_error", "HTTP_4XX: 404")]].concat();
    let expired =
        [&QUEUED[..], &[("tg_attempt", "2"), ("tg_status", "ABANDONED"), ("tg_error", "EXPIRED: late")]].concat();
    vec![
        (Topic::Deliveries, received(5, "{}", &QUEUED)),
        (Topic::Attempts, received(7, &told("attempt", 1, "RETRY", "RETRYING"), &[])),
        (Topic::Dlq, received(1, "{}", &again)),
        (Topic::Attempts, received(8, &told("attempt", 2, "DEAD", "FAILED"), &[])),
        (Topic::Deliveries, received(6, "{}", &again)),
        (Topic::Dlq, received(2, "{}", &expired)),
        (Topic::Attempts, received(9, &told("expired", 2, "DEAD", "ABANDONED"), &[])),
        (Topic::Attempts, received(11, &told("attempt", 3, "DELIVERED", "SUCCESS"), &[])),
    ]
}

/// What each record alone tells of its delivery.
fn facts(records: &[(Topic, Received)]) -> Vec<Standing> {
    let each = records.iter().map(|(topic, received)| {
        let mut batch = Batch::default();
        batch.take(*topic, received);
        batch.facts.iter().map(|(_, told)| told.clone()).collect::<Vec<_>>()
    });
    each.flatten().collect()
}

#[test]
fn of_two_facts_the_later_one_wins_whatever_the_clocks_say() {
    let mut batch = Batch::default();
    story().iter().for_each(|(topic, received)| batch.take(*topic, received));
    assert_eq!((batch.facts.len(), batch.records.values().sum::<u64>(), batch.unreadable), (1, 8, 0));
    let facts = facts(&story());
    let statuses: Vec<_> = facts.iter().map(|fact| fact.state.status.as_str()).collect();
    let expected = ["PENDING", "RETRYING", "FAILED", "FAILED", "RETRYING", "ABANDONED", "ABANDONED", "SUCCESS"];
    assert_eq!(statuses, expected);
    for pair in facts.windows(2) {
        assert!(pair[0].rank < pair[1].rank, "{:?} is not before {:?}", pair[0].state, pair[1].state);
    }
    let last = &facts[7].state;
    assert_eq!(last.delivered_at, Timestamp::parse("2026-11-20T08:15:30.262Z"));
    assert_eq!((batch.attempts.len(), batch.dead.len()), (4, 2));
    assert_eq!(facts[4].state.category, Some(ErrorCategory::Http4xx));
    assert_eq!(facts[4].state.error.as_deref(), Some("404"));
}

#[test]
fn a_record_that_cannot_be_read_is_counted_and_stops_nothing() {
    let cases = [
        (Topic::Events, received(0, "{}", &[])),
        (Topic::Deliveries, received(0, "{}", &[("tg_delivery", "7")])),
        (Topic::Attempts, received(0, "{", &[])),
        (Topic::Attempts, received(0, &told("from a later version", 1, "RETRY", "RETRYING"), &[])),
        (Topic::Attempts, received(0, &told("attempt", 1, "RETRY", "UNHEARD_OF"), &[])),
        (Topic::Dlq, received(0, "{}", &[])),
        (Topic::Audit, received(0, r#"{"actor": "admin-key"}"#, &[])),
    ];
    for (topic, received) in cases {
        let mut batch = Batch::default();
        batch.take(topic, &received);
        let rows = batch.events.len() + batch.facts.len() + batch.attempts.len() + batch.skips.len() + batch.dead.len();
        assert_eq!((rows, batch.unreadable), (0, 1), "{topic} {received:?}");
    }
}

#[test]
fn a_match_that_was_skipped_is_a_delivery_until_it_becomes_one() {
    let skipped = serde_json::json!({"kind": "skipped", "deliveryId": ID, "eventId": "e1", "orgId": "648", "source": "his",
        "integrationId": "bills", "outcome": "SKIPPED", "status": "SKIPPED", "reason": "inactive",
        "startedAt": "2026-11-20T08:15:30.250Z"});
    let mut batch = Batch::default();
    let records =
        [(Topic::Attempts, received(900, &skipped.to_string(), &[])), (Topic::Deliveries, received(1, "{}", &QUEUED))];
    records.iter().for_each(|(topic, received)| batch.take(*topic, received));
    assert_eq!(batch.skips[0].reason, "inactive");
    let facts = facts(&records);
    assert_eq!(facts[0].state.status, DeliveryStatus::Skipped);
    assert!(facts[0].rank < facts[1].rank);
    let mut unmatched = skipped;
    unmatched["deliveryId"] = serde_json::Value::Null;
    let mut batch = Batch::default();
    batch.take(Topic::Attempts, &received(901, &unmatched.to_string(), &[]));
    assert_eq!((batch.skips.len(), batch.facts.len()), (1, 0));
}

#[test]
fn a_rejected_record_says_where_it_was_and_keeps_its_own_headers_apart() {
    let headers = [
        ("ce_id", "e1"),
        ("ce_orgid", "648"),
        ("__connect.errors.topic", "events"),
        ("__connect.errors.partition", "3"),
        ("__connect.errors.offset", "42"),
        ("__connect.errors.stage", "match"),
        ("__connect.errors.exception.class.name", "unknown_org"),
        ("__connect.errors.exception.message", "no such organization"),
        ("tg_reason", "unknown_org"),
    ];
    let mut batch = Batch::default();
    batch.take(Topic::Rejected, &received(4, "raw", &headers));
    let row = &batch.rejected[0];
    assert_eq!((row.stage.as_str(), row.reason.as_str(), row.topic.as_str()), ("match", "unknown_org", "events"));
    assert_eq!(row.from, Place { partition: Partition(3), offset: Offset(42) });
    assert_eq!(row.headers, r#"{"ce_id":"e1","ce_orgid":"648"}"#);
}

#[test]
fn a_change_of_a_kind_that_is_not_known_yet_is_kept_too() {
    let told = serde_json::json!({"at": "2026-11-20T08:15:30.250Z", "actor": "user:ada", "address": null, "requestId": "r",
        "action": "FROM_A_LATER_VERSION", "kind": "Later", "id": "x", "orgId": null, "version": 3, "more": 1,
        "before": {"createdAt": "2026-11-20T08:00:00Z", "secret": "sealed:1:x"}, "after": null});
    let mut batch = Batch::default();
    batch.take(Topic::Audit, &received(4, &told.to_string(), &[]));
    let row = &batch.audit[0];
    assert_eq!((row.kind.as_str(), row.action.as_str(), row.version), ("Later", "FROM_A_LATER_VERSION", 3));
    assert_eq!((row.made_at, &row.after), (Timestamp::parse("2026-11-20T08:00:00Z"), &None));
    assert!(row.before.as_deref().unwrap().contains("sealed:1:x"));
}

/// How one life of a delivery ends, after some attempts that failed.
#[derive(Clone, Copy, Debug)]
enum End {
    Dead,
    Expired,
    Delivered,
    Cancelled,
    Waits,
}

fn lives() -> impl Strategy<Value = Vec<(u32, End)>> {
    let end = prop_oneof![3 => Just(End::Dead), 4 => Just(End::Expired), 1 => Just(End::Delivered), 1 => Just(End::Cancelled),
        1 => Just(End::Waits)];
    proptest::collection::vec((0u32..3, end), 1..5)
}

/// What the gateway writes of these lives, in its order; one that does not end dead is the last.
fn written(lives: &[(u32, End)]) -> Vec<(Topic, Received)> {
    let mut story: Vec<(Topic, Received)> = Vec::new();
    let (mut attempts, mut put_back) = (0, None);
    let mut add = |topic: Topic, value: serde_json::Value, headers: &[(&'static str, String)]| {
        let offset = story.iter().filter(|(other, _)| *other == topic).count() as i64;
        let mut one = received(offset, &value.to_string(), &QUEUED);
        headers.iter().for_each(|(name, value)| one.record.headers.push(*name, value.clone()));
        story.push((topic, one));
    };
    for ((failed, end), redrives) in lives.iter().zip(0u32..) {
        let tell = |kind: &str, attempt: u32, (outcome, status): (&str, &str)| {
            let mut value: serde_json::Value = serde_json::from_str(&told(kind, attempt, outcome, status)).unwrap();
            value["redrives"] = redrives.into();
            value
        };
        let letter = |attempt: u32, status: &str, error: &str| {
            let number = (redrives > 0).then(|| ("tg_redrives", redrives.to_string()));
            let own = [("tg_attempt", attempt.to_string()), ("tg_status", status.into()), ("tg_error", error.into())];
            own.into_iter().chain(number).collect::<Vec<_>>()
        };
        let mut queued: Vec<(&str, String)> = put_back.take().unwrap_or_default();
        queued.retain(|(name, _)| *name != "tg_redrives");
        if redrives > 0 {
            queued.push(("tg_redrives", redrives.to_string()));
        }
        add(Topic::Deliveries, serde_json::json!({}), &queued);
        for _ in 0..*failed {
            attempts += 1;
            add(Topic::Attempts, tell("attempt", attempts, ("RETRY", "RETRYING")), &[]);
        }
        let dead = match end {
            End::Dead => {
                attempts += 1;
                let letter = letter(attempts, "FAILED", "HTTP_4XX: 404");
                add(Topic::Dlq, serde_json::json!({}), &letter);
                add(Topic::Attempts, tell("attempt", attempts, ("DEAD", "FAILED")), &[]);
                letter
            }
            End::Expired => {
                let letter = letter(attempts, "ABANDONED", "EXPIRED: late");
                add(Topic::Dlq, serde_json::json!({}), &letter);
                add(Topic::Attempts, tell("expired", attempts, ("DEAD", "ABANDONED")), &[]);
                letter
            }
            End::Delivered => {
                add(Topic::Attempts, tell("attempt", attempts + 1, ("DELIVERED", "SUCCESS")), &[]);
                break;
            }
            End::Cancelled => {
                add(Topic::Attempts, tell("cancelled", attempts, ("SKIPPED", "CANCELLED")), &[]);
                break;
            }
            End::Waits => break,
        };
        put_back = Some(dead);
    }
    story
}

proptest! {
    /// Topics are read side by side, and some of it twice.
    #[test]
    fn a_delivery_that_lives_again_is_not_told_dead_whatever_order_its_records_are_read_in(
        lives in lives(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let story = written(&lives);
        let facts = facts(&story);
        prop_assert_eq!(facts.len(), story.len());
        for pair in facts.windows(2) {
            prop_assert!(pair[0].rank < pair[1].rank, "{:?} is not before {:?}", pair[0], pair[1]);
        }
        let last = facts.last().unwrap();
        let mut all = last.clone();
        order.iter().map(|index| index.get(&facts)).chain(facts.iter().rev()).for_each(|one| all.learn(one));
        prop_assert_eq!((&all.state, all.rank), (&last.state, last.rank));
    }
}

#[test]
fn an_event_whose_attributes_have_another_type_is_kept_as_it_was_delivered() {
    let event = r#"{"specversion":"1.0","id":7,"source":8,"type":"a.b","orgid":648,"subject":true,"data":{}}"#;
    let mut batch = Batch::default();
    batch.take(Topic::Events, &received(3, event, &[("content-type", "application/cloudevents+json")]));
    assert_eq!((batch.events.len(), batch.unreadable), (1, 0));
    let EventRow { id, source, org, entity_id, .. } = &batch.events[0];
    assert_eq!((&**id, &**source, &**org, entity_id.as_deref()), ("7", "8", "648", Some("true")));
}
