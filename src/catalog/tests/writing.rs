//! The writer and the follower together, on a log that fails on demand.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::catalog::audit::Origin;
use crate::catalog::change::{Action, Change, Condition, Refusal};
use crate::catalog::fake::{Fault, SharedFake};
use crate::catalog::kind::{Key, Kind};
use crate::catalog::resource::Resource;
use crate::catalog::samples::{integration, organization};
use crate::catalog::seal::Keyring;
use crate::catalog::writer::{Limits, WriteError, Writer};
use crate::catalog::{Catalog, Follower};
use crate::model::ids::Offset;
use crate::model::record::Record;
use crate::model::time::{ManualClock, Timestamp};
use crate::stream::log::LogError;

const SOON: Duration = Duration::from_secs(5);

/// One process with a catalog of its own on a shared log.
pub struct Process {
    pub log: SharedFake,
    catalog: Arc<Catalog>,
    pub writer: Writer,
    clock: Arc<ManualClock>,
    follower: JoinHandle<Result<(), LogError>>,
    _running: DropGuard,
}

fn process(log: &SharedFake) -> Process {
    let limits = Limits { patience: SOON, pause_ms: 0..=1, ..Limits::default() };
    process_with(log, limits)
}

fn process_with(log: &SharedFake, limits: Limits) -> Process {
    let (catalog, running) = (Arc::new(Catalog::default()), CancellationToken::new());
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let follower = Follower::new(Arc::new(log.clone()), Arc::clone(&catalog));
    let follower = tokio::spawn(follower.run(running.clone()));
    let writer = Writer::new(Arc::new(log.clone()), Arc::clone(&catalog), clock.clone(), limits);
    Process { log: log.clone(), catalog, writer, clock, follower, _running: running.drop_guard() }
}

fn create(resource: Resource) -> Change {
    Change { key: resource.key(), condition: Condition::None, action: Action::Create(resource.to_json()) }
}

pub fn somebody() -> Origin {
    Origin { actor: "user:ada".to_owned(), address: None, request_id: None }
}

fn org(id: &str) -> Resource {
    organization(id).into()
}

fn bills() -> Resource {
    integration("648", "bills").into()
}

fn change(key: Key, action: Action) -> Change {
    Change { key, condition: Condition::None, action }
}

fn record(resource: &Resource) -> Record {
    let key = Some(resource.key().to_string().into());
    Record { key, value: Some(resource.to_bytes()), ..Record::default() }
}

fn bills_key() -> Key {
    Key::of(Kind::OutboundIntegration, "bills").unwrap()
}

fn org_key() -> Key {
    Key::of(Kind::Organization, "648").unwrap()
}

impl Process {
    /// With organisation 648, and these keys.
    pub async fn sealing(log: &SharedFake, keyring: Option<Arc<Keyring>>) -> Self {
        let process = process(log);
        let process = Process { writer: process.writer.sealing_with(keyring), ..process };
        // Another process may have made it.
        let _ = process.write(create(org("648"))).await;
        process
    }

    async fn with_org(self) -> Self {
        self.write(create(org("648"))).await.unwrap();
        self
    }

    async fn write(&self, change: Change) -> Result<Resource, WriteError> {
        self.writer.write(change, &somebody()).await
    }

    fn has_bills(&self) -> bool {
        self.catalog.snapshot().get(&bills_key()).is_some()
    }
}

#[tokio::test]
async fn the_last_of_many_is_in_the_own_snapshot_too_before_they_are_answered() {
    let process = process(&SharedFake::default());
    // More than the follower reads at once.
    let changes: Vec<Change> = (0..2_500).map(|n| create(org(&format!("org-{n}")))).collect();
    process.writer.write_all(&changes, &somebody()).await.unwrap();
    assert_eq!(process.catalog.snapshot().all(Kind::Organization).len(), 2_500);
}

#[tokio::test]
async fn what_was_planned_is_not_written_over_what_others_have_changed_since() {
    let log = SharedFake::default();
    let (one, two) = (process(&log).with_org().await, process(&log));
    let planned = one.catalog.snapshot().changed();
    let plan = [create(bills())];
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
async fn a_commit_of_unknown_outcome_that_happened_is_answered_as_done_and_not_made_twice() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.fail_next_commit(Fault::UnknownButWritten);
    let written = process.write(create(bills())).await.unwrap();
    assert_eq!(written.revision.version, 1);
    assert_eq!(process.log.0.written().len(), 2);
}

#[tokio::test]
async fn a_commit_of_unknown_outcome_that_was_lost_is_made_again() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.fail_next_commit(Fault::UnknownAndLost);
    process.write(create(bills())).await.unwrap();
    assert_eq!(process.log.0.written().len(), 2);
    assert!(process.has_bills());
}

#[tokio::test]
async fn a_deletion_of_unknown_outcome_is_told_by_its_write_and_not_by_what_is_missing() {
    let process = process(&SharedFake::default()).with_org().await;
    process.write(create(bills())).await.unwrap();
    process.log.0.fail_next_commit(Fault::UnknownButWritten);
    process.write(change(bills_key(), Action::Delete)).await.unwrap();
    assert!(!process.has_bills());
}

#[tokio::test]
async fn a_write_is_never_said_to_have_failed_when_nobody_can_tell() {
    let limits = Limits { patience: Duration::from_millis(200), pause_ms: 0..=1, ..Limits::default() };
    let process = process_with(&SharedFake::default(), limits).with_org().await;
    process.log.0.hide(true);
    process.log.0.fail_next_commit(Fault::UnknownButWritten);
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown(_)), "{error}");
}

#[tokio::test]
async fn without_the_log_a_write_is_refused_and_the_snapshot_stays() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.go_away(true);
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::Unavailable(_)), "{error}");
    assert!(process.catalog.snapshot().get(&org_key()).is_some());
    process.log.0.go_away(false);
    process.write(create(bills())).await.unwrap();
    assert!(process.has_bills(), "the follower came back too");
}

#[tokio::test(start_paused = true)]
async fn with_the_log_away_nobody_waits_for_a_client_that_goes_on_trying() {
    let process = process_with(&SharedFake::default(), Limits::default()).with_org().await;
    process.log.0.fall_silent();
    let began = Instant::now();
    let writes = (0..20).map(|i| process.write(create(org(&i.to_string()))));
    for answer in futures_util::future::join_all(writes).await {
        let error = answer.unwrap_err();
        assert!(matches!(error, WriteError::Unavailable(_)), "nothing can have been written: {error}");
    }
    assert!(began.elapsed() <= SOON, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_goes_away_during_a_write_leaves_it_unknown_and_is_told_soon() {
    let process = process_with(&SharedFake::default(), Limits::default()).with_org().await;
    process.log.0.fail_next_commit(Fault::NeverAnswered);
    let began = Instant::now();
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::Unknown(_)), "it may have been written: {error}");
    assert!(began.elapsed() <= SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_write_that_failed_for_sure_can_be_made_again() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.fail_next_commit(Fault::Unavailable);
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::Unavailable(_)), "{error}");
    process.log.0.fail_next_commit(Fault::TooLarge);
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::TooLarge(_)), "{error}");
    process.write(create(bills())).await.unwrap();
}

#[tokio::test]
async fn a_write_that_its_caller_dropped_does_not_spoil_the_next() {
    let process = process(&SharedFake::default()).with_org().await;
    process.log.0.hide(true);
    {
        let first = process.write(create(bills()));
        tokio::pin!(first);
        // Committed, and waiting for a snapshot that does not come.
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        assert_eq!(process.log.0.written().len(), 2);
    }
    process.log.0.hide(false);
    let error = process.write(create(bills())).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { refusal: Refusal::Exists(_), .. }), "{error}");
}

#[tokio::test]
async fn an_integration_of_an_unknown_organisation_is_refused_with_its_path() {
    let process = process(&SharedFake::default());
    let error = process.write(create(bills())).await.unwrap_err();
    let WriteError::Refused { refusal: Refusal::Invalid(problems), .. } = error else { panic!("{error}") };
    assert_eq!(problems[0].path, "orgId");
}

#[tokio::test]
async fn an_organisation_with_integrations_cannot_be_deleted() {
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
async fn a_version_that_has_moved_on_is_a_conflict() {
    let process = process(&SharedFake::default()).with_org().await;
    process.write(create(bills())).await.unwrap();
    let with = |versions: &[u64], action| Change {
        key: bills_key(),
        condition: Condition::Versions(versions.to_vec()),
        action,
    };
    process.write(with(&[7, 1], Action::Replace(bills().to_json()))).await.unwrap();
    for action in [Action::Replace(bills().to_json()), Action::Delete, Action::SetActive(false)] {
        let error = process.write(with(&[1], action)).await.unwrap_err();
        assert!(
            matches!(error, WriteError::Refused { refusal: Refusal::VersionMismatch { actual: 2, .. }, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_leaves_the_last_good_state() {
    let log = SharedFake::default();
    let garbled = |key: &str, value: &str| Record {
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        ..Record::default()
    };
    let mut other = serde_json::to_value(bills()).unwrap();
    other["timeoutMs"] = json!(5);
    log.0.foreign(vec![
        record(&org("648")),
        record(&bills()),
        garbled("OutboundIntegration/bills", "{"),
        garbled("OutboundIntegration/bills", &other.to_string()),
        garbled("OutboundIntegration/bills", &serde_json::to_string(&org("648")).unwrap()),
        garbled("OutboundIntegration/else", &serde_json::to_string(&bills()).unwrap()),
        garbled("Unheard/1", "{}"),
        garbled("nonsense", "{}"),
        Record::default(),
        record(&org("649")),
    ]);
    let process = process(&log);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    let snapshot = process.catalog.snapshot();
    assert_eq!(snapshot.get(&bills_key()).cloned(), Some(bills()));
    assert_eq!((snapshot.orgs().len(), snapshot.all(Kind::OutboundIntegration).len()), (2, 1));
    let unreadable =
        |id: &str| process.catalog.snapshot().is_unreadable(&Key::of(Kind::OutboundIntegration, id).unwrap());
    assert!(unreadable("bills") && unreadable("else") && !unreadable("1"));
    log.0.foreign(vec![record(&bills())]);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    assert!(!unreadable("bills") && unreadable("else"));
}

#[tokio::test]
async fn nothing_is_published_before_the_catalog_is_complete() {
    let log = SharedFake::default();
    log.0.foreign(vec![record(&org("648"))]);
    log.0.hide(true);
    log.0.foreign(vec![record(&bills())]);
    let process = process(&log);
    assert!(!process.catalog.reached(Offset(1), Duration::from_millis(50)).await);
    assert!(!process.catalog.is_loaded() && process.catalog.snapshot().orgs().is_empty());
    log.0.hide(false);
    process.catalog.loaded().await;
    assert!(process.has_bills());
}

#[tokio::test]
async fn a_tombstone_takes_its_resource_away() {
    let log = SharedFake::default();
    log.0.foreign(vec![record(&org("648")), record(&bills())]);
    log.0.foreign(vec![Record { value: None, ..record(&bills()) }]);
    let process = process(&log);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    assert!(!process.has_bills() && process.catalog.snapshot().get(&org_key()).is_some());
}

#[tokio::test]
async fn a_follower_ends_when_it_is_told_to() {
    let process = process(&SharedFake::default());
    process.catalog.loaded().await;
    let Process { follower, _running, .. } = process;
    drop(_running);
    tokio::time::timeout(SOON, follower).await.unwrap().unwrap().unwrap();
}
