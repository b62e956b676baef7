//! What only this store can have: a file that is opened again, shared, damaged or another's, and plans of its queries.

mod lists;

use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr};

use super::*;
use crate::history::tests::{cases, fact, id};
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::OrgId;
use crate::model::time::Timestamp;

async fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&dir.join("history.db"), "embedded").await
}

async fn refusal(dir: &Path) -> String {
    match open(dir).await {
        Ok(_) => panic!("it was opened"),
        Err(why) => why.to_string(),
    }
}

fn erase(path: &Path) -> Result<bool, StoreError> {
    Ok(SqliteStore::claim(path, Place::Usual)?.delete()?)
}

/// A statement on the file, by somebody else.
async fn by_hand(dir: &Path, statement: impl SqlSafeStr) {
    let mut file =
        SqliteConnectOptions::new().filename(dir.join("history.db")).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
}

#[tokio::test]
async fn it_is_a_store() {
    for (name, case) in cases() {
        eprintln!("{name}");
        let dir = tempfile::tempdir().unwrap();
        let store = Box::leak(Box::new(open(dir.path()).await.unwrap()));
        case(store).await;
    }
}

#[tokio::test]
async fn rows_are_there_when_the_file_is_opened_again_and_nobody_else_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("made");
    let store = open(&inner).await.unwrap();
    let facts = (0..70).map(|n| fact(n, 3, DeliveryStatus::Pending)).collect();
    store.write(&Batch { facts, ..Batch::default() }).await.unwrap();
    for (path, mode) in [("", 0o700), ("history.db", 0o600), ("history.db-wal", 0o600), ("history.db.lock", 0o600)] {
        assert_eq!(inner.join(path).metadata().unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
    drop(store);
    let store = open(&inner).await.unwrap();
    assert!(store.delivery(id(69)).await.unwrap().is_some());
}

/// Whether a delivery is new is seen when its row is put in, together with others.
#[tokio::test]
async fn a_delivery_that_is_there_learns_from_a_batch_in_which_the_others_are_new() {
    let dir = tempfile::tempdir().unwrap();
    let write = async |numbers: std::ops::Range<u32>, step, status| {
        // Opened anew each time: nothing is remembered of what was written before.
        let store = open(dir.path()).await.unwrap();
        let facts = numbers.map(|n| fact(n, step, status)).collect();
        store.write(&Batch { facts, ..Batch::default() }).await.unwrap();
    };
    write(0..130, 3, DeliveryStatus::Pending).await;
    write(120..350, 10, DeliveryStatus::Success).await;
    // Of one that is at its end the beginning is read again.
    write(340..360, 3, DeliveryStatus::Pending).await;
    let store = open(dir.path()).await.unwrap();
    for n in 0..360 {
        let one = store.delivery(id(n)).await.unwrap().unwrap();
        let (status, first) = match n {
            0..120 => (DeliveryStatus::Pending, 3),
            120..130 | 340..350 => (DeliveryStatus::Success, 3),
            130..340 => (DeliveryStatus::Success, 10),
            _ => (DeliveryStatus::Pending, 3),
        };
        let created = Timestamp(i64::from(n) * 100 + first);
        assert_eq!((one.state.status, one.created_at), (status, created), "delivery {n}");
    }
    let pending = DeliveryFilter { statuses: vec![DeliveryStatus::Pending], ..DeliveryFilter::default() };
    assert_eq!(store.deliveries(&pending, &page()).await.unwrap().total, 130);
}

/// Versions of the file that were in use, with a delivery, a dead letter's and an event in each.
#[tokio::test]
async fn a_file_of_an_older_version_is_brought_up_to_date_and_keeps_its_rows() {
    let rows = "
        INSERT INTO origin VALUES ('embedded');
        INSERT INTO offsets VALUES ('events', 0, 7);
        INSERT INTO events (org, source, id, type, time, at, partition, record, content_type)
          VALUES ('648', 'his', 'e1', 'patient.created', 1, 1, 0, 1, 'text/plain');
        INSERT INTO deliveries (id, org, event_id, type, tried, status, attempts, created_at, updated_at, step, step_record)
          VALUES ('0197a0b2-3c4d-8e5f-8a6b-000000000001', '648', 'e1', 'patient.created', -1, 'PENDING', 0, 103, 103, 3, 3);
        INSERT INTO deliveries (id, org, event_id, type, integration_id, integration_name, tried, status, category, error,
            attempts, created_at, updated_at, step, step_record)
          VALUES ('0197a0b2-3c4d-8e5f-8a6b-000000000002', '648', 'e1', 'patient.created', 'bills', 'Bills', 9, 'FAILED',
            'HTTP_4XX', 'answered 404', 1, 203, 210, 10, 10);
        INSERT INTO attempts (partition, record, delivery, at, kind, attempt, outcome, status, started_at, duration_ms)
          VALUES (0, 9, '0197a0b2-3c4d-8e5f-8a6b-000000000002', 210, 'attempt', 1, 'DEAD', 'FAILED', 205, 1.5);
        INSERT INTO dead_letters VALUES ('0197a0b2-3c4d-8e5f-8a6b-000000000002', 0, 4, 210)";
    let kinds = "
        INSERT INTO kinds (id, org, type, integration_id, integration_name, status, category) VALUES
          (1, '648', 'patient.created', NULL, NULL, NULL, NULL), (2, '648', 'patient.created', NULL, NULL, 'PENDING', NULL),
          (3, '648', 'patient.created', 'bills', 'Bills', 'FAILED', 'HTTP_4XX');
        UPDATE events SET kind = 1;
        UPDATE deliveries SET kind = iif(status = 'PENDING', 2, 3)";
    for version in 1..schema::STEPS.len() {
        let dir = tempfile::tempdir().unwrap();
        // The tables of later versions are what their steps make of these rows.
        let (before, after) = schema::STEPS[..version].split_at(version.min(3));
        for step in before {
            by_hand(dir.path(), *step).await;
        }
        by_hand(dir.path(), rows).await;
        if version > 2 {
            by_hand(dir.path(), kinds).await;
        }
        for step in after {
            by_hand(dir.path(), *step).await;
        }
        let mark = format!("PRAGMA user_version = {version}");
        by_hand(dir.path(), AssertSqlSafe(mark)).await;
        by_hand(dir.path(), "PRAGMA application_id = 0x54674869").await;
        let store = open(dir.path()).await.unwrap();
        let found = async |filter: DeliveryFilter| {
            let listed = store.deliveries(&filter, &page()).await.unwrap();
            listed.items.into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        let org = OrgId::parse("648").ok();
        let dead = vec![DeliveryStatus::Failed, DeliveryStatus::Abandoned];
        assert_eq!(found(DeliveryFilter { org: org.clone(), ..DeliveryFilter::default() }).await, [id(2), id(1)]);
        assert_eq!(found(DeliveryFilter { statuses: dead, ..DeliveryFilter::default() }).await, [id(2)]);
        assert_eq!(found(DeliveryFilter { search: Some("404".into()), ..DeliveryFilter::default() }).await, [id(2)]);
        let filter = EventFilter { org, event_type: Some("patient.created".into()), ..EventFilter::default() };
        assert_eq!(store.events(&filter, &page()).await.unwrap().total, 1);
        assert_eq!(store.attempts(id(2)).await.unwrap()[0].place.offset, Offset(9));
        assert_eq!(store.dead_letter(id(2)).await.unwrap().unwrap().place.offset, Offset(4));
        // What comes next finds what was there.
        let facts = [fact(1, 10, DeliveryStatus::Success)].into();
        store.write(&Batch { facts, ..Batch::default() }).await.unwrap();
        let one = store.delivery(id(1)).await.unwrap().unwrap();
        assert_eq!(
            (one.state.status, one.created_at),
            (DeliveryStatus::Success, Timestamp(103)),
            "of version {version}"
        );
        assert_eq!(store.offsets().await.unwrap()[&(Topic::Events, Partition(0))], Offset(7));
    }
}

#[tokio::test]
async fn a_write_that_was_dropped_half_way_leaves_nothing_and_harms_none_that_follow() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    {
        let mut writer = store.writer().await;
        writer.open = true;
        let half = "BEGIN IMMEDIATE; INSERT INTO offsets VALUES ('events', 0, 7)";
        sqlx::raw_sql(half).execute(&mut writer.connection).await.unwrap();
        let Writer { connection, seen, .. } = &mut *writer;
        let batch = Batch { facts: [fact(1, 3, DeliveryStatus::Pending)].into(), ..Batch::default() };
        store.statements.write(connection, &batch, seen).await.unwrap();
    }
    store.write(&Batch { facts: [fact(1, 3, DeliveryStatus::Pending)].into(), ..Batch::default() }).await.unwrap();
    assert_eq!(store.offsets().await.unwrap(), BTreeMap::new());
    assert!(store.delivery(id(1)).await.unwrap().is_some());
    let filter = DeliveryFilter { statuses: vec![DeliveryStatus::Pending], ..DeliveryFilter::default() };
    assert_eq!(
        store.deliveries(&filter, &page()).await.unwrap().total,
        1,
        "its kind went with the half that was dropped"
    );
}

#[tokio::test]
async fn two_processes_do_not_share_a_file_nor_does_a_rebuild_take_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    assert_eq!(erase(&path), Ok(false));
    let store = open(dir.path()).await.unwrap();
    for why in [refusal(dir.path()).await, erase(&path).unwrap_err().to_string()] {
        assert!(why.contains("another process uses it") && why.contains("stop that one"), "{why}");
    }
    drop(store);
    assert_eq!(erase(&path), Ok(true));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).await.unwrap());
    let path = dir.path().join("history.db");
    let other = SqliteStore::open(&path, "kafka, prefix tidegate").await.err().unwrap().to_string();
    assert!(other.contains("another log (embedded") && other.contains("tidegate history rebuild"), "{other}");
    by_hand(dir.path(), "PRAGMA user_version = 99").await;
    let newer = refusal(dir.path()).await;
    assert!(newer.contains("newer version of tidegate (format 99") && newer.contains("rebuild"), "{newer}");
    by_hand(dir.path(), "PRAGMA user_version = 0; PRAGMA application_id = 7").await;
    let foreign = refusal(dir.path()).await;
    assert!(foreign.contains("not a history of tidegate") && foreign.contains("DATABASE_URL"), "{foreign}");
    let mut damaged = b"SQLite format 3\0".to_vec();
    damaged.resize(8_000, 0xa5);
    std::fs::write(&path, &damaged).unwrap();
    let damaged = refusal(dir.path()).await;
    assert!(damaged.contains("damaged") && damaged.contains("tidegate history rebuild"), "{damaged}");
    std::fs::write(&path, vec![0; 8_000]).unwrap();
    assert_eq!(erase(&path), Ok(true), "what is damaged can be made anew");
    drop(open(dir.path()).await.unwrap());
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 100").execute(&mut store.writer().await.connection).await.unwrap();
    let facts = (0..5_000).map(|n| fact(n, 3, DeliveryStatus::Pending)).collect();
    let why = store.write(&Batch { facts, ..Batch::default() }).await.unwrap_err().to_string();
    assert!(why.contains("the disk is full") && why.contains("history.db"), "{why}");
    sqlx::raw_sql("PRAGMA max_page_count = 1000000").execute(&mut store.writer().await.connection).await.unwrap();
    assert_eq!(store.deliveries(&DeliveryFilter::default(), &page()).await.unwrap().total, 0);
    let facts = [fact(1, 3, DeliveryStatus::Pending)].into();
    store.write(&Batch { facts, ..Batch::default() }).await.unwrap();
    assert_eq!(store.deliveries(&DeliveryFilter::default(), &page()).await.unwrap().total, 1);
}

fn page() -> Page {
    Page { limit: 50, ..Page::default() }
}

#[tokio::test]
async fn kinds_do_not_pile_up_and_a_number_that_is_gone_is_not_given_to_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let write = async |n| {
        let facts = [fact(n, 3, DeliveryStatus::Pending)].into();
        store.write(&Batch { facts, ..Batch::default() }).await.unwrap();
    };
    let pending = DeliveryFilter { statuses: vec![DeliveryStatus::Pending], ..DeliveryFilter::default() };
    let all = async |pending: &DeliveryFilter| {
        let mut kinds = list::DELIVERIES.kinds(&conditions::deliveries(pending));
        let kinds: Vec<i64> = store.asking().await.unwrap().all(&mut kinds, |row| row.try_get(0)).await.unwrap();
        (kinds, store.deliveries(pending, &page()).await.unwrap().total)
    };
    write(1).await;
    let (first, total) = all(&pending).await;
    assert_eq!((first.len(), total), (1, 1));
    let never = Timestamp(i64::MIN);
    let old = Cutoffs { events: never, deliveries: Timestamp(1_000), attempts: never, bodies: never, audit: never };
    assert_eq!(store.prune(old, 10).await.unwrap(), 1);
    assert_eq!(all(&pending).await, (Vec::new(), 0));
    write(2).await;
    let (second, total) = all(&pending).await;
    assert_eq!((second.len(), total), (1, 1));
    // Who has asked for the first one's number, and not yet for its rows, finds none.
    assert_ne!(first, second);
}
