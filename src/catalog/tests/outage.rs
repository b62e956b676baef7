//! What a write comes to where the log goes away, or does not say what became of it.

use std::time::Duration;

use tokio::time::Instant;

use super::process::{SOON, bills, bills_key, change, create, org, org_key, process, process_with, somebody};
use crate::catalog::change::{Action, Refusal};
use crate::catalog::fake::{Fault, SharedFake};
use crate::catalog::writer::{Limits, WriteError};
use crate::stream::log::{LogError, SeatError};

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

#[tokio::test(start_paused = true)]
async fn many_changes_that_take_the_log_too_long_are_refused_for_what_they_are_and_not_to_be_tried_again() {
    let process = process_with(&SharedFake::default(), Limits::default());
    let many: Vec<_> = (0..1_000).map(|n| create(org(&n.to_string()))).collect();
    let unavailable = || SeatError::Log(LogError::Unavailable("timed out".to_owned()));
    for (seconds, error, is_too_slow) in
        [(8, unavailable(), true), (2, unavailable(), false), (30, SeatError::Fenced, true)]
    {
        process.log.0.fail_next_commit(Fault::Late(Duration::from_secs(seconds), error));
        match process.writer.write_all(&many, &somebody()).await.unwrap_err() {
            WriteError::TooLarge(why) => assert!(is_too_slow && why.contains("nothing was written"), "{why}"),
            WriteError::Unavailable(why) => assert!(!is_too_slow, "{why}"),
            other => panic!("{other}"),
        }
        assert_eq!(process.log.0.written(), []);
    }
    process.log.0.fail_next_commit(Fault::Late(Duration::from_secs(8), unavailable()));
    let one = process.write(create(org("alone"))).await.unwrap_err();
    assert!(matches!(one, WriteError::Unavailable(_)), "{one}");
    process.writer.write_all(&many, &somebody()).await.unwrap();
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
