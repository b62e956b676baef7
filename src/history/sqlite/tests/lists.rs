//! Lists: plans of their statements, and what they find.

use sqlx::Sqlite;
use sqlx::sqlite::SqliteRow;

use super::*;
use crate::history::sqlite::conditions::Conditions;
use crate::history::sqlite::list::{FEWER, List, Source};
use crate::history::store::COUNTED;

async fn plan(store: &SqliteStore, query: QueryBuilder<Sqlite>) -> String {
    let mut explained = QueryBuilder::<Sqlite>::new(format!("EXPLAIN QUERY PLAN {}", query.sql().as_str()));
    let rows = explained.build().fetch_all(&store.readers).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>("detail").unwrap()).collect::<Vec<_>>().join("; ")
}

/// Every combination.
fn filters() -> Vec<DeliveryFilter> {
    let some = |text: &str| Some(text.to_owned());
    let filter = |bits: u32| {
        let on = |bit: u32| bits & (1 << bit) != 0;
        let statuses = [DeliveryStatus::Failed, DeliveryStatus::Abandoned];
        DeliveryFilter {
            org: OrgId::parse("648").ok().filter(|_| on(0)),
            statuses: statuses.into_iter().take(if on(1) { 2 } else { 0 }).collect(),
            integration_id: some("bills").filter(|_| on(2)),
            event_type: some("t").filter(|_| on(3)),
            category: on(4).then_some(ErrorCategory::Timeout),
            event_id: some("1").filter(|_| on(5)),
            entity_id: some("e").filter(|_| on(6)),
            correlation_id: some("c").filter(|_| on(7)),
            since: on(8).then_some(Timestamp(1)),
            until: on(8).then_some(Timestamp(2)),
            search: some("s").filter(|_| on(9)),
        }
    };
    (0..1 << 10).map(filter).collect()
}

/// Every combination.
fn audit_filters() -> Vec<AuditFilter> {
    let some = |text: &str| Some(text.to_owned());
    let filter = |bits: u32| {
        let on = |bit: u32| bits & (1 << bit) != 0;
        AuditFilter {
            org: OrgId::parse("648").ok().filter(|_| on(0)),
            kind: some("AlertRule").filter(|_| on(1)),
            id: some("rule").filter(|_| on(2)),
            actor: some("user:ada").filter(|_| on(3)),
            action: some("DELETE").filter(|_| on(4)),
            since: on(5).then_some(Timestamp(1)),
            until: on(5).then_some(Timestamp(2)),
        }
    };
    (0..1 << 6).map(filter).collect()
}

/// Every combination.
fn rejected_filters() -> Vec<RejectedFilter> {
    let filter = |bits: u32| {
        let on = |bit: u32| bits & (1 << bit) != 0;
        RejectedFilter {
            org: OrgId::parse("648").ok().filter(|_| on(0)),
            stage: on(1).then(|| "match".to_owned()),
            reason: on(2).then(|| "not_json".to_owned()),
            since: on(3).then_some(Timestamp(1)),
            until: on(3).then_some(Timestamp(2)),
        }
    };
    (0..1 << 4).map(filter).collect()
}

/// The statements of a filter's pages and count: with few kinds and many, with a floor and without, first page and behind a cursor.
fn statements(list: &List, conditions: &Conditions) -> Vec<QueryBuilder<Sqlite>> {
    let few = [Source::Kinds(vec![1, 2])];
    let mut all = vec![list.kinds(conditions), list.count(conditions, &conditions.sources(list, vec![1]), COUNTED)];
    let cursor = crate::history::store::Cursor { at: Timestamp(1), id: "x".into() };
    for (kinds, floor, after) in [(2, None, None), (3_000, Some(7), Some(cursor)), (3_000, None, None)] {
        let sources = conditions.sources(list, (0..kinds).collect());
        let page = Page { after, ..page() };
        all.push(list.page(conditions, (&sources, floor), &page));
        if !conditions.by_kind() {
            break;
        }
        all.push(list.floor(conditions, &[1, 2], &page));
    }
    if conditions.may_be_by_kind() {
        all.push(list.count(conditions, &few, FEWER));
        all.push(list.page(conditions, (&few, None), &page()));
    }
    all
}

/// Nothing but an index, in which the planner may walk; no sorting but of a page's candidates.
fn reads_a_table(plan: &str) -> bool {
    let scans = |part: &str| {
        let table =
            ["deliveries", "events", "rejected", "audit", "d"].iter().any(|t| part.starts_with(&format!("SCAN {t}")));
        table && !part.contains("USING")
    };
    plan.split("; ").any(scans)
}

#[tokio::test]
async fn no_combination_of_filters_reads_the_table_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let mut wrong = Vec::new();
    let of_events = |f: &DeliveryFilter| EventFilter {
        org: f.org.clone(),
        event_type: f.event_type.clone(),
        entity_id: f.entity_id.clone(),
        correlation_id: f.correlation_id.clone(),
        since: f.since,
        until: f.until,
        search: f.search.clone(),
    };
    for filter in filters() {
        let mut lists = vec![(&list::DELIVERIES, conditions::deliveries(&filter))];
        if filter.statuses.is_empty() && filter.integration_id.is_none() && filter.category.is_none() {
            lists.push((&list::EVENTS, conditions::events(&of_events(&filter))));
        }
        for (list, conditions) in lists {
            for query in statements(list, &conditions) {
                let sql = query.sql().as_str().to_owned();
                let plan = plan(&store, query).await;
                if reads_a_table(&plan) {
                    wrong.push(format!("{sql}: {plan}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    for filter in audit_filters() {
        for (at, query) in statements(&list::AUDIT, &conditions::audit(&filter)).into_iter().enumerate() {
            let plan = plan(&store, query).await;
            if reads_a_table(&plan) || filter.id.is_some() && (1..3).contains(&at) && !plan.contains("audit_resource") {
                wrong.push(format!("{filter:?}: {plan}"));
            }
        }
    }
    let of = Lifetime { kind: "k".into(), id: "i".into(), org: None, made_at: Timestamp(1) };
    for query in statements(&list::VERSIONS, &conditions::versions(&of, &[1, 2])).into_iter().skip(1) {
        let plan = plan(&store, query).await;
        assert!(!reads_a_table(&plan) && plan.contains("audit_resource"), "{plan}");
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    for filter in rejected_filters() {
        for query in statements(&list::REJECTED, &conditions::rejected(&filter)).into_iter().skip(1) {
            let plan = plan(&store, query).await;
            let asks = filter.org.is_some() || filter.stage.is_some() || filter.reason.is_some();
            let found = ["rejected_org", "rejected_stage", "rejected_reason"].iter().any(|index| plan.contains(index));
            if reads_a_table(&plan) || asks != found {
                wrong.push(format!("{filter:?}: {plan}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    for (statement, _) in PRUNE {
        let plan = plan(&store, QueryBuilder::new(statement)).await;
        assert!(!plan.contains("SCAN"), "{statement}: {plan}");
    }
}

/// What narrows most leads.
#[tokio::test]
async fn an_entity_of_few_deliveries_is_not_looked_for_among_all_of_its_organization() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let wide = DeliveryFilter {
        org: OrgId::parse("648").ok(),
        statuses: vec![DeliveryStatus::Success],
        since: Some(Timestamp(1)),
        ..DeliveryFilter::default()
    };
    let cases = [
        (DeliveryFilter { entity_id: some("e"), ..wide.clone() }, "deliveries_entity"),
        (DeliveryFilter { correlation_id: some("c"), ..wide.clone() }, "deliveries_correlation"),
        (DeliveryFilter { event_id: some("1"), ..wide }, "deliveries_event"),
    ];
    for (filter, index) in cases {
        for query in statements(&list::DELIVERIES, &conditions::deliveries(&filter)).into_iter().skip(1).take(2) {
            let plan = plan(&store, query).await;
            assert!(plan.split([' ', ';']).any(|word| word == index), "{index}: {filter:?}: {plan}");
        }
    }
}

/// What a status has few rows of, or none, is not looked for among an entity's, which may be many.
#[tokio::test]
async fn an_entity_of_many_deliveries_is_not_searched_for_a_status_that_none_has() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let facts = (0..6_000u32).map(|n| {
        let status = if n < 3 { DeliveryStatus::Failed } else { DeliveryStatus::Pending };
        let mut fact = fact(n, 3, status);
        fact.about.entity_id = Some(if n == 1 { "e1".into() } else { "e".into() });
        fact
    });
    store.write(&Batch { facts: facts.collect(), ..Batch::default() }).await.unwrap();
    let cases = [
        (DeliveryStatus::Cancelled, true, 0),
        (DeliveryStatus::Failed, true, 2),
        (DeliveryStatus::Pending, false, 5_997),
    ];
    for (status, by_kind, expected) in cases {
        let entity_id = Some("e".to_owned());
        let filter = DeliveryFilter { statuses: vec![status], entity_id, ..DeliveryFilter::default() };
        let sources = store.asking().await.unwrap().sources(&list::DELIVERIES, &conditions::deliveries(&filter)).await;
        assert_eq!(matches!(sources.unwrap()[..], [Source::Kinds(_)]), by_kind, "{status}");
        let listed = store.deliveries(&filter, &page()).await.unwrap();
        assert_eq!((listed.total, listed.items.len()), (expected, expected.min(50) as usize), "{status}");
    }
}

/// Whatever the kinds' shares: all alike, one with most of the rows, one that ended long ago.
#[tokio::test]
async fn few_kinds_or_many_few_rows_or_many_the_page_is_the_same() {
    let shares: [fn(u32) -> u32; 3] =
        [|n| n % 150, |n| if n % 5 == 0 { n % 150 } else { 1 }, |n| if n < 400 { 1 } else { n % 150 }];
    for share in shares {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await.unwrap();
        let facts = (0..600u32).map(|n| {
            let status = if n % 7 == 0 { DeliveryStatus::Failed } else { DeliveryStatus::Pending };
            let mut fact = fact(n, 3, status);
            // Some at the same moment: the id decides.
            fact.at = Timestamp(i64::from(n / 4));
            fact.about.integration_id = Some(format!("i{}", share(n)));
            fact
        });
        store.write(&Batch { facts: facts.collect(), ..Batch::default() }).await.unwrap();
        let pages = [(10, 0), (10, 30), (50, 0), (50, 500), (300, 100), (500, 400)];
        let after = crate::history::store::Cursor { at: Timestamp(100), id: id(401).to_string() };
        for ((limit, skip), after) in pages.into_iter().flat_map(|page| [(page, None), (page, Some(after.clone()))]) {
            the_same_each_way(&store, &Page { skip, limit, after }).await;
        }
    }
}

/// Each way of finding a page finds what the plainest one finds.
async fn the_same_each_way(store: &SqliteStore, page: &Page) {
    let pending = DeliveryFilter { statuses: vec![DeliveryStatus::Pending], ..DeliveryFilter::default() };
    let all = (0..600).rev().filter(|n| n % 7 != 0).map(id);
    let from = all.filter(|one| page.after.is_none() || *one < id(401));
    let expected: Vec<DeliveryId> = from.skip(page.skip).take(page.limit + 1).collect();
    let conditions = conditions::deliveries(&pending);
    let mut asking = store.asking().await.unwrap();
    let kinds = asking.all(&mut list::DELIVERIES.kinds(&conditions), |row| row.try_get(0)).await.unwrap();
    let mut query = list::DELIVERIES.floor(&conditions, &kinds, page);
    let floor: Option<Option<i64>> = asking.one(&mut query, |row| row.try_get(0)).await.unwrap();
    let sources = conditions.sources(&list::DELIVERIES, kinds);
    for floor in [None, floor.flatten()] {
        let mut query = list::DELIVERIES.page(&conditions, (&sources, floor), page);
        let found = asking.all(&mut query, read::delivery).await.unwrap();
        let found: Vec<DeliveryId> = found.into_iter().map(|one| one.id).collect();
        assert_eq!(found, expected, "{page:?}, {floor:?}");
    }
}

const ENDLESS: &str = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn a_question_without_end_does_not_keep_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let count: fn(&SqliteRow) -> Result<i64, sqlx::Error> = |row| row.try_get(0);
    let within = std::time::Duration::ZERO;
    let slow = store.asking_within(within).await.unwrap().all(&mut QueryBuilder::new(ENDLESS), count).await;
    assert_eq!(slow, Err(StoreError::Slow(within)));
    // Those who asked have gone.
    for _ in 0..8 {
        let mut asking = store.asking().await.unwrap();
        let mut query = QueryBuilder::new(ENDLESS);
        let asked = asking.all(&mut query, count);
        assert!(futures_util::poll!(std::pin::pin!(asked)).is_pending());
    }
    assert_eq!(store.deliveries(&DeliveryFilter::default(), &page()).await.unwrap().total, 0);
}
