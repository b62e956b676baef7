//! What only this engine can have: a file that is opened again, shared, damaged, or tidied up.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::*;
use crate::model::record::Record;
use crate::model::time::{ManualClock, Timestamp};
use crate::stream::log::{Batch, Part, PartitionCommit};

const DAY: i64 = 24 * 3_600 * 1_000;

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(1_000 * DAY)))
}

pub(super) async fn open(dir: &Path, clock: Arc<ManualClock>) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(dir, &Declared::built_in(Some("small")).unwrap(), clock).await
}

async fn refusal(dir: &Path) -> String {
    match open(dir, clock()).await {
        Ok(_) => panic!("it was opened"),
        Err(LogError::Fatal(why)) => why,
        Err(other) => panic!("tried again for ever: {other}"),
    }
}

/// A statement on the file, by somebody else.
pub(super) async fn by_hand(dir: &Path, statement: &'static str) {
    let mut file = SqliteConnectOptions::new().filename(dir.join("log.db")).connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut file).await.unwrap();
}

pub(super) fn output(topic: Topic, key: &str, value: Option<&str>) -> Output {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let record = Record { key: Some(bytes(key)), value: value.map(bytes), ..Record::default() };
    Output { topic, partition: Some(Partition(0)), record }
}

pub(super) async fn append(log: &EmbeddedLog, topic: Topic, rows: &[(&str, Option<&str>)]) -> Vec<i64> {
    let outputs = rows.iter().map(|(key, value)| output(topic, key, *value)).collect();
    log.append(outputs).await.unwrap().into_iter().map(|(_, offset)| offset.0).collect()
}

pub(super) async fn keys(log: &EmbeddedLog, topic: Topic) -> Vec<(i64, String)> {
    let mut reader = log.read(topic, Partition(0), From::Start).await.unwrap();
    let Batch { records, .. } = reader.next(10_000, Duration::ZERO).await.unwrap();
    let key = |r: &Received| String::from_utf8_lossy(r.record.key.as_deref().unwrap_or_default()).into_owned();
    records.iter().map(|r| (r.offset.0, key(r))).collect()
}

fn keeper(log: &EmbeddedLog) -> Keeper {
    let topics = Declared::built_in(Some("small")).unwrap().topics().iter().map(|t| (t.topic, t.cleanup)).collect();
    Keeper { store: log.store.clone(), requests: log.requests.clone(), topics, compacted: BTreeMap::new() }
}

#[tokio::test]
async fn what_was_answered_is_there_when_the_file_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    assert_eq!(append(&log, Topic::Events, &[("a", Some("1")), ("b", None)]).await, [0, 1]);
    let mut seat = log.seat("catalog", Duration::from_secs(10)).await.unwrap();
    seat.commit(vec![output(Topic::Catalog, "k", Some("v"))]).await.unwrap();
    let mut member = log.join(membership()).await.unwrap();
    let Some(Signal::Assigned(assigned)) = member.signals.recv().await else { panic!("nothing was assigned") };
    let commit = PartitionCommit {
        partition: Partition(0),
        epoch: assigned[0].epoch,
        offset: Offset(2),
        metadata: "1;2;1;".into(),
    };
    let flush = Part { commit, outputs: vec![output(Topic::Deliveries, "d", Some("1"))] };
    member.committer.commit(vec![flush]).await.unwrap();
    drop((member, seat));
    assert!(log.close(Duration::from_secs(10)).await);

    let log = open(dir.path(), clock()).await.unwrap();
    assert_eq!(keys(&log, Topic::Events).await, [(0, "a".to_owned()), (1, "b".to_owned())]);
    assert_eq!(log.end(Topic::Deliveries, Partition(0)).await.unwrap(), Offset(1));
    assert_eq!(log.load(Topic::Catalog, Partition(0)).await.unwrap().len(), 1);
    let mut member = log.join(membership()).await.unwrap();
    let Some(Signal::Assigned(assigned)) = member.signals.recv().await else { panic!("nothing was assigned") };
    let first = assigned.iter().find(|a| a.partition == Partition(0)).and_then(|a| a.committed.clone()).unwrap();
    assert_eq!((first.offset, first.metadata.as_str()), (Offset(2), "1;2;1;"));
}

pub(super) fn membership() -> Membership {
    Membership { stage: "match", topic: Topic::Events, max_records: 100, max_bytes: 1 << 20 }
}

#[tokio::test]
async fn offsets_are_not_given_again_after_everything_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = open(dir.path(), clock.clone()).await.unwrap();
    append(&log, Topic::Events, &[("a", Some("1")); 2_500]).await;
    clock.advance(Duration::from_secs(8 * 24 * 3_600));
    keeper(&log).round(true).await.unwrap();
    assert!(keys(&log, Topic::Events).await.is_empty());
    assert!(log.close(Duration::from_secs(10)).await);
    let log = open(dir.path(), clock).await.unwrap();
    assert_eq!(append(&log, Topic::Events, &[("b", Some("1"))]).await, [2_500]);
    assert_eq!(keys(&log, Topic::Events).await, [(2_500, "b".to_owned())]);
}

#[tokio::test]
async fn retention_takes_what_is_older_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = open(dir.path(), clock.clone()).await.unwrap();
    append(&log, Topic::Events, &[("old", Some("1"))]).await;
    append(&log, Topic::Dlq, &[("kept for 30 days", Some("1"))]).await;
    clock.advance(Duration::from_secs(6 * 24 * 3_600));
    append(&log, Topic::Events, &[("young", Some("1"))]).await;
    clock.advance(Duration::from_secs(2 * 24 * 3_600));
    keeper(&log).round(true).await.unwrap();
    assert_eq!(keys(&log, Topic::Events).await, [(1, "young".to_owned())]);
    assert_eq!(keys(&log, Topic::Dlq).await.len(), 1);
}

#[tokio::test]
async fn compaction_keeps_the_last_of_each_key_and_young_tombstones() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let log = open(dir.path(), clock.clone()).await.unwrap();
    append(&log, Topic::Retry, &[("gone", Some("1")), ("gone", None)]).await;
    clock.advance(Duration::from_secs(25 * 3_600));
    append(&log, Topic::Retry, &[("a", Some("1")); 1_500]).await;
    append(&log, Topic::Retry, &[("b", Some("1")), ("b", None), ("c", Some("last"))]).await;
    let before = log.load(Topic::Retry, Partition(0)).await.unwrap();
    keeper(&log).round(true).await.unwrap();
    let left = [(1_501, "a"), (1_503, "b"), (1_504, "c")].map(|(offset, key)| (offset, key.to_owned()));
    assert_eq!(keys(&log, Topic::Retry).await, left);
    assert_eq!(log.load(Topic::Retry, Partition(0)).await.unwrap(), before, "the table is what it was");
    assert_eq!(append(&log, Topic::Retry, &[("d", None)]).await, [1_505]);
}

#[tokio::test]
async fn a_folder_that_another_gateway_uses_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    let why = refusal(dir.path()).await;
    assert!(why.contains("another process uses it") && why.contains("TIDEGATE_DATA_DIR"), "{why}");
    assert!(log.close(Duration::from_secs(10)).await);
    assert!(open(dir.path(), clock()).await.is_ok(), "it was let go");
}

#[tokio::test]
async fn nobody_else_can_read_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let log = open(&dir, clock()).await.unwrap();
    append(&log, Topic::Events, &[("a", Some("a patient"))]).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["log.db", "log.db-wal", "log.db.lock"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    assert!(log.close(Duration::from_secs(10)).await);
    let left = std::fs::metadata(dir.join("log.db-wal")).map_or(0, |wal| wal.len());
    assert_eq!(left, 0, "all of it is in the file");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path(), clock()).await.unwrap().close(Duration::from_secs(10)).await);
    by_hand(dir.path(), "PRAGMA user_version = 3").await;
    let why = refusal(dir.path()).await;
    assert!(why.contains("written by a newer version"), "{why}");
    by_hand(dir.path(), "PRAGMA user_version = 2").await;
    assert!(open(dir.path(), clock()).await.is_ok());
}

#[tokio::test]
async fn a_file_of_something_else_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.db");
    let mut other = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (x); PRAGMA user_version = 7").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let before = std::fs::read(&path).unwrap();
    let why = refusal(dir.path()).await;
    assert!(why.contains("not a log of tidegate"), "{why}");
    assert!(EmbeddedLog::claim(dir.path()).is_err(), "nor deleted");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_told_as_that_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.db");
    let mut damaged = b"SQLite format 3\0".to_vec();
    damaged.resize(40_000, 0x5a);
    std::fs::write(&path, &damaged).unwrap();
    let why = refusal(dir.path()).await;
    assert!(why.contains("it is damaged") && why.contains("put a copy of the folder back"), "{why}");
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_fails_the_stage_and_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    append(&log, Topic::Events, &[("a", Some("1")), ("b", Some("1"))]).await;
    by_hand(dir.path(), "UPDATE log SET headers = x'ffffffff01' WHERE key = CAST('b' AS BLOB)").await;
    let mut member = log.join(membership()).await.unwrap();
    let failed = loop {
        match member.signals.recv().await.expect("a signal") {
            Signal::Failed(error) => break error,
            Signal::Records { position, .. } => assert!(position < Offset(2), "it was passed over"),
            _ => {}
        }
    };
    assert!(matches!(&failed, LogError::Fatal(why) if why.contains("is damaged")), "{failed}");
}

#[tokio::test]
async fn a_log_is_closed_with_its_members_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    let mut member = log.join(membership()).await.unwrap();
    assert!(matches!(member.signals.recv().await, Some(Signal::Assigned(_))));
    assert!(log.close(Duration::from_secs(10)).await);
    assert!(open(dir.path(), clock()).await.is_ok(), "the folder was let go");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told_with_its_name() {
    let why = refusal(Path::new("/proc/tidegate")).await;
    assert!(why.contains("/proc/tidegate"), "{why}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let why = refusal(file.path()).await;
    assert!(why.contains("cannot be made"), "{why}");
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path(), clock()).await.unwrap().close(Duration::from_secs(10)).await);
    let opened = EmbeddedLog::open(dir.path(), &Declared::built_in(None).unwrap(), clock()).await;
    let why = opened.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(why.contains("topic events has 3 partitions there and 12 in the topology"), "{why}");
}

#[tokio::test]
async fn rows_of_another_writer_are_told_and_not_tried_against_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    append(&log, Topic::Events, &[("a", Some("1"))]).await;
    by_hand(dir.path(), "INSERT INTO log SELECT id + 1, at, key, headers, value FROM log").await;
    let failed = log.append(vec![output(Topic::Events, "b", Some("1"))]).await;
    assert!(
        matches!(&failed, Err(LogError::Fatal(why)) if why.contains("another program has written to it")),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_log_that_writes_much_at_once_is_not_taken_for_one_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), clock()).await.unwrap();
    let (sender, _never_read) = mpsc::channel(4);
    let busy = Requests(sender);
    tokio::time::pause();
    assert!(log.store.ping(&busy).await.is_err(), "a disk that hangs is told");
    log.store.begins(200 << 20);
    assert!(log.store.ping(&busy).await.is_ok());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(log.store.ping(&busy).await.is_err(), "it has had its time");
    log.store.begins(200 << 20);
    log.store.ended();
    assert!(log.store.ping(&busy).await.is_err());
    log.store.begins(1 << 20);
    assert!(log.store.ping(&busy).await.is_err(), "a small one takes no time");
}
