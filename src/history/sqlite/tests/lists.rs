//! Lists: plans of their statements, and what they find.

use sqlx::Sqlite;

use super::*;
use crate::history::sqlite::list::{Conditions, List};
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

/// The statements of a filter's pages and count: with few kinds and many, few rows and many, first page and behind a cursor.
fn statements(list: &List, conditions: &Conditions) -> Vec<QueryBuilder<Sqlite>> {
    let mut all = vec![list.kinds(conditions), list.count(conditions, &conditions.sources(list, vec![1]), COUNTED)];
    let cursor = crate::history::store::Cursor { at: Timestamp(1), id: "x".into() };
    for (kinds, total, after) in [(2, Some(7), None), (3_000, Some(7), Some(cursor)), (3_000, None, None)] {
        let sources = conditions.sources(list, (0..kinds).collect());
        let page = Page { after, ..page() };
        all.push(list.page(conditions, (&sources, total), &page));
        if !conditions.by_kind() {
            break;
        }
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
        let mut lists = vec![(&list::DELIVERIES, list::deliveries(&filter))];
        if filter.statuses.is_empty() && filter.integration_id.is_none() && filter.category.is_none() {
            lists.push((&list::EVENTS, list::events(&of_events(&filter))));
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
        for query in statements(&list::AUDIT, &list::audit(&filter)) {
            let plan = plan(&store, query).await;
            if reads_a_table(&plan)
                || filter.id.is_some() && !plan.contains("audit_resource") && !plan.contains("kinds")
            {
                wrong.push(format!("{filter:?}: {plan}"));
            }
        }
    }
    let of = Lifetime { kind: "k".into(), id: "i".into(), org: None, made_at: Timestamp(1) };
    for query in statements(&list::VERSIONS, &list::versions(&of, &[1, 2])).into_iter().skip(1) {
        let plan = plan(&store, query).await;
        assert!(!reads_a_table(&plan) && plan.contains("audit_resource"), "{plan}");
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    let query =
        list::REJECTED.page(&list::rejected(&RejectedFilter::default()), (&[list::Source::Columns], Some(1)), &page());
    assert!(!reads_a_table(&plan(&store, query).await));
    for (statement, _) in PRUNE {
        let plan = plan(&store, QueryBuilder::new(statement)).await;
        assert!(!plan.contains("SCAN"), "{statement}: {plan}");
    }
}

/// What narrows most leads.
#[tokio::test]
async fn an_entity_of_few_deliveries_is_not_looked_for_among_all_of_its_organisation() {
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
        for query in statements(&list::DELIVERIES, &list::deliveries(&filter)).into_iter().skip(1) {
            let plan = plan(&store, query).await;
            assert!(plan.split([' ', ';']).any(|word| word == index), "{index}: {filter:?}: {plan}");
        }
    }
}

/// Each way of finding a page finds what the plainest one finds.
#[tokio::test]
async fn few_kinds_or_many_few_rows_or_many_the_page_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let facts = (0..600u32).map(|n| {
        let status = if n % 7 == 0 { DeliveryStatus::Failed } else { DeliveryStatus::Pending };
        let mut fact = fact(n, 3, status);
        // Some at the same moment: the id decides.
        fact.at = Timestamp(i64::from(n / 4));
        fact.about.integration_id = Some(format!("i{}", n % 150));
        fact
    });
    store.write(&Batch { facts: facts.collect(), ..Batch::default() }).await.unwrap();
    let pending = DeliveryFilter { statuses: vec![DeliveryStatus::Pending], ..DeliveryFilter::default() };
    let expected: Vec<DeliveryId> = (0..600).rev().filter(|n| n % 7 != 0).map(id).collect();
    for (limit, skip) in [(10, 0), (10, 30), (50, 0), (50, 500), (300, 100)] {
        let after = crate::history::store::Cursor { at: Timestamp(100), id: id(401).to_string() };
        for after in [None, Some(after)] {
            let page = Page { skip, limit, after };
            let conditions = list::deliveries(&pending);
            let kinds = store
                .asking()
                .await
                .unwrap()
                .all(&mut list::DELIVERIES.kinds(&conditions), |row| row.try_get(0))
                .await
                .unwrap();
            let sources = conditions.sources(&list::DELIVERIES, kinds);
            let from = expected.iter().filter(|one| page.after.is_none() || **one < id(401));
            let expected: Vec<DeliveryId> = from.skip(skip).take(limit + 1).copied().collect();
            for total in [Some(7), None] {
                let mut query = list::DELIVERIES.page(&conditions, (&sources, total), &page);
                let found = store.asking().await.unwrap().all(&mut query, read::delivery).await.unwrap();
                let found: Vec<DeliveryId> = found.into_iter().map(|one| one.id).collect();
                assert_eq!(found, expected, "{page:?}, {total:?}");
            }
        }
    }
}
