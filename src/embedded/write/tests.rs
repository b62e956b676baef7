//! A COMMIT that fails. SQLite looks at deferred foreign keys when it commits and not before, so rows that nothing allows let
//! every statement through and end the transaction there.

use std::path::Path;
use std::time::Duration;

use crate::embedded::EmbeddedLog;
use crate::embedded::tests::{append, by_hand, clock, keys, membership, open, output};
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::{Assignment, Log as _, LogError, Part, PartitionCommit, SeatError, Signal};

/// No transaction with records can be committed.
const RECORDS: &str = "
CREATE TABLE allowed (n INTEGER PRIMARY KEY);
CREATE TABLE owed (n INTEGER REFERENCES allowed (n) DEFERRABLE INITIALLY DEFERRED);
CREATE TRIGGER fail_records AFTER INSERT ON log BEGIN INSERT INTO owed VALUES (1); END;
";
/// Nor can the one that settles.
const SETTLING: &str = "
CREATE TRIGGER fail_first AFTER INSERT ON writers BEGIN INSERT INTO owed VALUES (1); END;
CREATE TRIGGER fail_next AFTER UPDATE ON writers BEGIN INSERT INTO owed VALUES (1); END;
";
/// The fault is gone.
const MENDED: &str = "DROP TRIGGER fail_records; DROP TRIGGER IF EXISTS fail_first; DROP TRIGGER IF EXISTS fail_next;";

async fn refused(log: &EmbeddedLog, key: &str) -> LogError {
    log.append(vec![output(Topic::Events, key, Some("1"))]).await.expect_err("it was answered")
}

/// What is there now, and after the file was opened again.
async fn holds(log: EmbeddedLog, dir: &Path, wanted: &[&str]) {
    let wanted: Vec<_> = (0..).zip(wanted).map(|(offset, key)| (offset, (*key).to_owned())).collect();
    assert_eq!(keys(&log, Topic::Events).await, wanted);
    assert!(log.close(Duration::from_secs(10)).await);
    let log = open(dir, clock()).await.unwrap();
    assert_eq!(keys(&log, Topic::Events).await, wanted);
}

#[tokio::test]
async fn a_commit_that_failed_and_was_settled_left_nothing_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    append(&log, Topic::Events, &[("before", Some("1"))]).await;
    by_hand(dir.path(), RECORDS).await;
    for key in ["one", "two"] {
        let error = refused(&log, key).await;
        assert!(matches!(&error, LogError::Unavailable(why) if why.contains("FOREIGN KEY")), "{error:?}");
        assert_eq!(log.end(Topic::Events, Partition(0)).await.unwrap(), Offset(1));
    }
    by_hand(dir.path(), MENDED).await;
    assert_eq!(append(&log, Topic::Events, &[("after", Some("1"))]).await, [1]);
    log.ping().await.unwrap();
    holds(log, dir.path(), &["before", "after"]).await;
}

#[tokio::test]
async fn a_commit_whose_fate_is_not_known_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    let mut seat = log.seat("catalog", Duration::from_secs(10)).await.unwrap();
    append(&log, Topic::Events, &[("before", Some("1"))]).await;
    by_hand(dir.path(), RECORDS).await;
    by_hand(dir.path(), SETTLING).await;
    let error = refused(&log, "one").await;
    assert!(matches!(&error, LogError::UnknownOutcome(why) if why.contains("FOREIGN KEY")), "{error:?}");
    let lost = seat.commit(vec![output(Topic::Catalog, "k", Some("v"))]).await;
    assert!(matches!(&lost, Err(SeatError::Log(LogError::UnknownOutcome(_)))), "{lost:?}");
    assert!(log.ping().await.is_err(), "it says that it can be written");
    by_hand(dir.path(), MENDED).await;
    log.ping().await.unwrap();
    assert_eq!(append(&log, Topic::Events, &[("after", Some("1"))]).await, [1]);
    holds(log, dir.path(), &["before", "after"]).await;
}

#[tokio::test]
async fn a_flush_whose_commit_fails_is_written_once_when_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    let mut member = log.join(membership()).await.unwrap();
    let Some(Signal::Assigned(assigned)) = member.signals.recv().await else { panic!("nothing was assigned") };
    let Some(Assignment { partition, epoch, .. }) = assigned.first().cloned() else { panic!("nothing was assigned") };
    by_hand(dir.path(), RECORDS).await;
    by_hand(dir.path(), SETTLING).await;
    let commit = PartitionCommit { partition, epoch, offset: Offset(1), metadata: "1;1;1;".into() };
    let flush = Part { commit, outputs: vec![output(Topic::Deliveries, "d", Some("1"))] };
    let mended = async {
        while log.ping().await.is_ok() {
            tokio::task::yield_now().await;
        }
        by_hand(dir.path(), MENDED).await;
    };
    let (flushed, ()) = tokio::join!(member.committer.commit(vec![flush]), mended);
    assert!(flushed.unwrap().left_out.is_empty());
    assert_eq!(keys(&log, Topic::Deliveries).await, [(0, "d".to_owned())]);
    let committed = log.store.committed("match").await.unwrap();
    assert_eq!(committed.into_iter().map(|(_, c)| c.offset).collect::<Vec<_>>(), [Offset(1)]);
}
