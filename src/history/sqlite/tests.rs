//! What only this store can have: a file that is opened again, shared, damaged or another's, and plans of its queries.

use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

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
        Err(StoreError(why)) => why,
    }
}

/// A statement on the file, by somebody else.
async fn by_hand(dir: &Path, statement: &'static str) {
    let mut file = SqliteConnectOptions::new().filename(dir.join("history.db")).connect().await.unwrap();
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

#[tokio::test]
async fn a_file_of_an_older_version_is_brought_up_to_date_and_keeps_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    store.write(&Batch { facts: vec![fact(1, 10, DeliveryStatus::Failed)], ..Batch::default() }).await.unwrap();
    drop(store);
    let back = "DROP INDEX deliveries_dead; DROP INDEX deliveries_org_dead; PRAGMA user_version = 1";
    by_hand(dir.path(), back).await;
    let store = open(dir.path()).await.unwrap();
    let dead = vec![DeliveryStatus::Failed, DeliveryStatus::Abandoned];
    let filter = DeliveryFilter { statuses: dead, ..DeliveryFilter::default() };
    assert_eq!(store.deliveries(&filter, &page()).await.unwrap().total, 1);
    assert!(plan(&store, read::DELIVERIES.page(&read::deliveries(&filter), &page())).await.contains("deliveries_dead"));
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
    }
    store.write(&Batch { facts: vec![fact(1, 3, DeliveryStatus::Pending)], ..Batch::default() }).await.unwrap();
    assert_eq!(store.offsets().await.unwrap(), BTreeMap::new());
    assert!(store.delivery(id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn two_processes_do_not_share_a_file_nor_does_a_rebuild_take_it_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    assert_eq!(SqliteStore::erase(&path), Ok(false));
    let store = open(dir.path()).await.unwrap();
    for why in [refusal(dir.path()).await, SqliteStore::erase(&path).unwrap_err().to_string()] {
        assert!(why.contains("another process uses it") && why.contains("stop that one"), "{why}");
    }
    drop(store);
    assert_eq!(SqliteStore::erase(&path), Ok(true));
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
    std::fs::write(&path, "no database".repeat(1_000)).unwrap();
    let damaged = refusal(dir.path()).await;
    assert!(damaged.contains("damaged") && damaged.contains("tidegate history rebuild"), "{damaged}");
    assert_eq!(SqliteStore::erase(&path), Ok(true), "what is damaged can be made anew");
    drop(open(dir.path()).await.unwrap());
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    sqlx::raw_sql("PRAGMA max_page_count = 100").execute(&mut store.writer().await.connection).await.unwrap();
    let facts: Vec<_> = (0..5_000).map(|n| fact(n, 3, DeliveryStatus::Pending)).collect();
    let why = store.write(&Batch { facts, ..Batch::default() }).await.unwrap_err().to_string();
    assert!(why.contains("the disk is full") && why.contains("history.db"), "{why}");
    sqlx::raw_sql("PRAGMA max_page_count = 1000000").execute(&mut store.writer().await.connection).await.unwrap();
    assert_eq!(store.deliveries(&DeliveryFilter::default(), &page()).await.unwrap().total, 0);
    let facts = vec![fact(1, 3, DeliveryStatus::Pending)];
    store.write(&Batch { facts, ..Batch::default() }).await.unwrap();
    assert_eq!(store.deliveries(&DeliveryFilter::default(), &page()).await.unwrap().total, 1);
}

fn page() -> Page {
    Page { limit: 50, ..Page::default() }
}

async fn plan(store: &SqliteStore, query: QueryBuilder<Sqlite>) -> String {
    let mut explained = QueryBuilder::<Sqlite>::new(format!("EXPLAIN QUERY PLAN {}", query.sql().as_str()));
    let rows = explained.build().fetch_all(&store.readers).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>("detail").unwrap()).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn no_list_that_people_look_at_reads_or_sorts_the_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let org = OrgId::parse("648").ok();
    let none = DeliveryFilter::default;
    let failed = vec![DeliveryStatus::Failed];
    let dead = vec![DeliveryStatus::Failed, DeliveryStatus::Abandoned];
    let of_deliveries = [
        none(),
        DeliveryFilter { org: org.clone(), ..none() },
        DeliveryFilter { statuses: failed.clone(), ..none() },
        DeliveryFilter { org: org.clone(), statuses: failed.clone(), ..none() },
        DeliveryFilter { org: org.clone(), since: Some(Timestamp(1)), until: Some(Timestamp(2)), ..none() },
        DeliveryFilter { integration_id: some("bills"), ..none() },
        DeliveryFilter { integration_id: some("bills"), statuses: failed.clone(), ..none() },
        DeliveryFilter { event_type: some("t"), ..none() },
        DeliveryFilter { entity_id: some("e"), ..none() },
        DeliveryFilter { correlation_id: some("c"), ..none() },
        DeliveryFilter { category: Some(ErrorCategory::Timeout), ..none() },
    ];
    let any = EventFilter::default;
    let of_events = [
        any(),
        EventFilter { org: org.clone(), ..any() },
        EventFilter { event_type: some("t"), ..any() },
        EventFilter { org: org.clone(), event_type: some("t"), since: Some(Timestamp(1)), ..any() },
        EventFilter { entity_id: some("e"), ..any() },
        EventFilter { correlation_id: some("c"), ..any() },
    ];
    // The narrowest decides, whatever else is asked for.
    let chosen = [
        (DeliveryFilter { statuses: dead.clone(), ..none() }, "deliveries_dead"),
        (DeliveryFilter { org: org.clone(), statuses: dead.clone(), ..none() }, "deliveries_org_dead"),
        (DeliveryFilter { org: org.clone(), integration_id: some("bills"), ..none() }, "deliveries_integration"),
        (
            DeliveryFilter { event_type: some("t"), integration_id: some("bills"), statuses: failed.clone(), ..none() },
            "deliveries_integration_status",
        ),
        (
            DeliveryFilter { org: org.clone(), event_type: some("t"), entity_id: some("e"), ..none() },
            "deliveries_entity",
        ),
        (
            DeliveryFilter { integration_id: some("bills"), correlation_id: some("c"), ..none() },
            "deliveries_correlation",
        ),
    ];
    for (filter, index) in &chosen {
        let plan = plan(&store, read::DELIVERIES.page(&read::deliveries(filter), &page())).await;
        assert!(plan.split([' ', ';']).any(|word| word == *index), "{index}: {filter:?}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "it is sorted as a whole: {filter:?}: {plan}");
    }
    let mut queries = Vec::new();
    for after in [None, Some(crate::history::store::Cursor { at: Timestamp(1), id: "x".into() })] {
        let page = Page { after, ..page() };
        queries.extend(of_deliveries.iter().map(|f| read::DELIVERIES.page(&read::deliveries(f), &page)));
        queries.extend(of_events.iter().map(|f| read::EVENTS.page(&read::events(f), &page)));
    }
    queries.push(read::REJECTED.page(&read::rejected(&RejectedFilter::default()), &page()));
    for query in queries {
        let sql = query.sql().as_str().to_owned();
        let plan = plan(&store, query).await;
        assert!(plan.contains("USING INDEX") || plan.contains("USING COVERING INDEX"), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "it is sorted as a whole: {sql}: {plan}");
    }
    for (statement, _) in PRUNE {
        let plan = plan(&store, QueryBuilder::new(statement)).await;
        assert!(!plan.contains("SCAN"), "{statement}: {plan}");
    }
}
