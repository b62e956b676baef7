//! The writer and the follower together, on a log that fails on demand.

use std::time::Duration;

use serde_json::json;

use super::process::{
    SOON, at, bills, bills_key, change, create, org, org_key, process, process_with, record, somebody,
};
use crate::catalog::apply::{Desired, plan};
use crate::catalog::change::{Action, Basis, Change, Refusal};
use crate::catalog::fake::{Fault, SharedFake};
use crate::catalog::kind::{Key, Kind};
use crate::catalog::samples::{integration, organization};
use crate::catalog::writer::{Limits, WriteError};
use crate::model::time::Timestamp;

#[tokio::test]
async fn what_was_planned_is_not_written_over_what_others_have_changed_since() {
    let log = SharedFake::default();
    let (one, two) = (process(&log).with_org().await, process(&log));
    let planned = one.catalog.snapshot().changed();
    let hook = json!({"orgId": "648", "name": "bills", "eventType": "*", "targetUrl": "https://erp.example/bills"});
    let desired = [Desired::new(bills_key(), &hook)];
    let snapshot = one.catalog.snapshot();
    let plan = plan(&desired, false, Basis { snapshot: &snapshot, now: Timestamp(0), keyring: None }).unwrap();
    two.write(create(org("649"))).await.unwrap();
    let refused = one.writer.write_planned(&plan, planned, &somebody()).await;
    assert!(matches!(refused, Err(WriteError::Moved { .. })), "{refused:?}");
    assert!(!one.has_bills());
    let planned = one.catalog.snapshot().changed();
    // The first administrator of a new gateway is made a moment after it is ready.
    let user = json!({"id": "boss", "email": "boss@clinic.example", "role": "ADMIN"});
    let key = Key::of(Kind::User, "boss").unwrap();
    two.write(change(key, Action::Create(user))).await.unwrap();
    one.writer.write_planned(&plan, planned, &somebody()).await.unwrap();
    assert!(one.has_bills());
    let written = one.catalog.snapshot().get(&bills_key()).unwrap().revision;
    assert_eq!((written.version, written.created_at), (1, Timestamp(1_000)), "it is dated by its write");
}

#[tokio::test]
async fn what_is_more_than_a_transaction_takes_is_told_before_it_begins() {
    let limits = Limits { changes: 2, bytes: 8_000, ..Limits::default() };
    let process = process_with(&SharedFake::default(), limits);
    let described = |id: &str, chars: usize| {
        let mut one = organization(id);
        one.description = "x".repeat(chars);
        create(one.into())
    };
    let write = async |changes: &[Change]| process.writer.write_all(changes, &somebody()).await;
    let error = write(&["a", "b", "c"].map(|id| described(id, 1))).await.unwrap_err();
    let told = |error: &WriteError, what: &str| matches!(error, WriteError::TooLarge(why) if why.contains(what));
    assert!(told(&error, "3 changes") && told(&error, "2 at most"), "{error}");
    let error = write(&["a", "b"].map(|id| described(id, 2_000))).await.unwrap_err();
    assert!(told(&error, "in several"), "{error}");
    assert!(process.log.0.written().is_empty());
    write(&["a", "b"].map(|id| described(id, 1))).await.unwrap();
}

#[tokio::test]
async fn a_write_is_in_the_own_snapshot_before_it_is_answered() {
    let process = process(&SharedFake::default()).with_org().await;
    let written = process.write(create(bills())).await.unwrap();
    assert_eq!(process.catalog.snapshot().get(&bills_key()).cloned(), Some(written));
    assert_eq!(process.log.0.seats_taken(), 1, "the seat is kept from one write to the next");
}

#[tokio::test]
async fn versions_have_no_gaps_and_times_never_go_back() {
    let process = process(&SharedFake::default()).with_org().await;
    process.write(create(bills())).await.unwrap();
    let off = process.write(change(bills_key(), Action::SetActive(false))).await.unwrap();
    let again = process.write(change(bills_key(), Action::SetActive(false))).await.unwrap();
    assert_eq!((off.revision.version, again.revision.version), (2, 2), "what is so already is not written");
    process.clock.advance(Duration::from_secs(1));
    let replaced = process.write(change(bills_key(), Action::Replace(bills().to_json()))).await.unwrap().revision;
    assert_eq!((replaced.version, replaced.created_at, replaced.updated_at), (3, Timestamp(1_000), Timestamp(2_000)));
}

#[tokio::test]
async fn a_fenced_writer_decides_anew_and_never_overwrites_what_it_has_not_seen() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.fail_next_commit(Fault::FencedBy(vec![record(&bills())]));
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::Exists(_), .. }), "{error}");
    assert_eq!(process.log.0.written().len(), 2);
}

#[tokio::test]
async fn a_fenced_writer_takes_the_seat_again() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.fail_next_commit(Fault::FencedBy(vec![]));
    process.log.0.fail_next_commit(Fault::FencedBy(vec![]));
    process.write(create(bills())).await.unwrap();
    assert_eq!(process.log.0.seats_taken(), 3);
}

#[tokio::test]
async fn two_writers_that_fence_each_other_lose_no_write() {
    let log = SharedFake::default();
    let (one, two) = (process(&log).with_org().await, process(&log));
    for round in 0..10 {
        for (name, process) in [("one", &one), ("two", &two)] {
            let new = integration("648", &format!("{name}-{round}"));
            process.write(create(new.into())).await.unwrap();
        }
    }
    let end = log.0.end_offset();
    for process in [&one, &two] {
        assert!(process.catalog.reached(end, SOON).await);
        assert_eq!(process.catalog.snapshot().all(Kind::OutboundIntegration).len(), 20);
    }
}

#[tokio::test]
async fn a_refusal_never_rests_on_a_snapshot_that_misses_another_writers_change() {
    let process = process(&SharedFake::default());
    process.write(create(org("1"))).await.unwrap();
    process.log.0.hide(true);
    process.log.0.foreign(vec![record(&org("648"))]);
    let write = process.write(create(bills()));
    tokio::pin!(write);
    assert!(futures_util::poll!(write.as_mut()).is_pending(), "refused by a snapshot that is behind");
    process.log.0.hide(false);
    write.await.unwrap();
}

#[tokio::test]
async fn an_integration_of_an_unknown_organization_is_refused_with_its_path() {
    let process = process(&SharedFake::default());
    let error = process.write(create(bills())).await.unwrap_err();
    let WriteError::Refused { refusal: Refusal::Invalid(problems), .. } = error else { panic!("{error}") };
    assert_eq!(problems[0].path, "orgId");
}

#[tokio::test]
async fn an_organization_with_integrations_cannot_be_deleted() {
    let process = process(&SharedFake::default()).with_org().await;
    for i in 0..30 {
        let new = integration("648", &format!("i{i:02}"));
        process.write(create(new.into())).await.unwrap();
    }
    let error = process.write(change(org_key(), Action::Delete)).await.unwrap_err();
    let WriteError::Refused { refusal: Refusal::Referenced { by, count, .. }, .. } = error else { panic!("{error}") };
    assert_eq!((by.len(), by[0].to_string(), count), (20, "OutboundIntegration/i00".to_owned(), 30));
}

#[tokio::test]
async fn a_change_that_was_begun_never_falls_on_what_has_the_id_since() {
    let process = process(&SharedFake::default()).with_org().await;
    process.write(create(bills())).await.unwrap();
    let was = process.catalog.snapshot().get(&bills_key()).cloned().unwrap();
    let late = |action| Change::of(&was, at(&[1]), action);
    process.write(change(bills_key(), Action::Delete)).await.unwrap();
    process.clock.advance(Duration::from_secs(1));
    let is = process.write(create(bills())).await.unwrap();
    for action in [Action::Merge(json!({"name": "Mine"})), Action::SetActive(false), Action::Delete] {
        let error = process.write(late(action)).await.unwrap_err();
        assert!(matches!(error, WriteError::Refused { refusal: Refusal::NotFound(_), .. }), "{error}");
    }
    assert_eq!(process.catalog.snapshot().get(&bills_key()), Some(&is));
}

#[tokio::test]
async fn what_is_nested_deeper_than_an_export_can_say_is_refused() {
    let process = process(&SharedFake::default()).with_org().await;
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let event_type =
        |depth| json!({"id": "bill", "orgId": "648", "eventType": "bill.created", "sample": nested(depth)});
    let key = Key::of(Kind::EventType, "bill").unwrap();
    let error = process.write(change(key.clone(), Action::Create(event_type(120)))).await.unwrap_err();
    let WriteError::Refused { refusal: Refusal::Invalid(problems), .. } = error else { panic!("{error}") };
    assert!(problems[0].message.contains("nested deeper than 100"), "{problems:?}");
    process.write(change(key, Action::Create(event_type(90)))).await.unwrap();
}

#[tokio::test]
async fn a_version_that_has_moved_on_is_a_conflict() {
    let process = process(&SharedFake::default()).with_org().await;
    process.write(create(bills())).await.unwrap();
    let with = |versions: &[u64], action| Change { condition: at(versions), of: None, key: bills_key(), action };
    process.write(with(&[7, 1], Action::Replace(bills().to_json()))).await.unwrap();
    for action in [Action::Replace(bills().to_json()), Action::Delete, Action::SetActive(false)] {
        let error = process.write(with(&[1], action)).await.unwrap_err();
        assert!(
            matches!(error, WriteError::Refused { refusal: Refusal::VersionMismatch { actual: 2, .. }, .. }),
            "{error}"
        );
    }
}
