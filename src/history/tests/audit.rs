//! Changes of the catalog.

use std::collections::BTreeMap;

use super::*;
use crate::history::store::Use;

/// The change that led to a version of `bills`, at a place and moment of the same number as its offset.
pub(super) fn audited(offset: i64, version: u64) -> Audited {
    let state = |version: u64| Some(format!(r#"{{"version":{version}}}"#));
    Audited {
        place: place(offset),
        at: Timestamp(offset),
        actor: "user:ada".into(),
        action: if version == 1 { "CREATE" } else { "UPDATE" }.into(),
        kind: "OutboundIntegration".into(),
        id: "bills".into(),
        org: Some("648".into()),
        version,
        made_at: Some(Timestamp(1)),
        address: Some("10.0.0.7".into()),
        request_id: Some("r-1".into()),
        before: state(version - 1).filter(|_| version > 1),
        after: state(version),
    }
}

async fn write(store: &dyn Store, audit: Vec<Audited>) {
    store.write(&Batch { audit, ..Batch::default() }).await.unwrap();
}

pub(super) async fn each_change_of_the_catalog_is_found_by_what_it_says(store: &dyn Store) {
    let rule = Audited {
        kind: "AlertRule".into(),
        org: Some("7".into()),
        actor: "key:till".into(),
        action: "DELETE".into(),
        ..audited(3, 2)
    };
    let user = Audited { kind: "User".into(), id: "root".into(), org: None, ..audited(4, 1) };
    write(store, vec![audited(1, 1), audited(2, 2), rule, user]).await;
    let none = AuditFilter::default;
    let some = |text: &str| Some(text.to_owned());
    let cases: Vec<(AuditFilter, &[i64])> = vec![
        (none(), &[4, 3, 2, 1]),
        (AuditFilter { org: OrgId::parse("648").ok(), ..none() }, &[2, 1]),
        (AuditFilter { kind: some("AlertRule"), ..none() }, &[3]),
        (AuditFilter { id: some("bills"), ..none() }, &[3, 2, 1]),
        (AuditFilter { kind: some("OutboundIntegration"), id: some("bills"), ..none() }, &[2, 1]),
        (AuditFilter { actor: some("user:ada"), ..none() }, &[4, 2, 1]),
        (AuditFilter { action: some("CREATE"), ..none() }, &[4, 1]),
        (AuditFilter { since: Some(Timestamp(2)), until: Some(Timestamp(4)), ..none() }, &[3, 2]),
        (AuditFilter { action: some("UPDATE"), org: OrgId::parse("7").ok(), ..none() }, &[]),
    ];
    for (filter, expected) in cases {
        let (mut numbered, mut behind, mut after) = (Vec::new(), Vec::new(), None);
        for at in 0..expected.len().max(1) {
            let page = Page { skip: at, ..first(1) };
            let listed = store.audit(&filter, &page).await.unwrap();
            assert_eq!((listed.total, listed.has_more), (expected.len() as u64, at + 1 < expected.len()), "{filter:?}");
            numbered.extend(listed.items.iter().map(|row| row.at.0));
            let page = Page { after: after.take(), ..first(1) };
            let listed = store.audit(&filter, &page).await.unwrap();
            after = listed.items.last().map(|row| Cursor { at: row.at, id: row.name() });
            behind.extend(listed.items.iter().map(|row| row.at.0));
        }
        assert_eq!((&numbered[..], &behind[..]), (expected, expected), "{filter:?}");
    }
}

pub(super) async fn the_last_use_of_each_is_the_latest_one(store: &dyn Store) {
    let used = |kind, id: &str, at| Use { kind, id: id.to_owned(), at: Timestamp(at) };
    let all = ["till", "desk", "nobody", "it's"];
    assert_eq!(store.uses("ApiKey", &all).await.unwrap(), BTreeMap::new());
    store.used(&[used("ApiKey", "till", 5), used("ApiKey", "desk", 6), used("User", "till", 9)]).await.unwrap();
    store.used(&[used("ApiKey", "till", 4), used("ApiKey", "desk", 7), used("ApiKey", "it's", 1)]).await.unwrap();
    let of = |pairs: &[(&str, i64)]| pairs.iter().map(|(id, at)| ((*id).to_owned(), Timestamp(*at))).collect();
    let expected: BTreeMap<String, Timestamp> = of(&[("desk", 7), ("it's", 1), ("till", 5)]);
    assert_eq!(store.uses("ApiKey", &all).await.unwrap(), expected);
    assert_eq!(store.uses("User", &all).await.unwrap(), of(&[("till", 9)]));
    assert_eq!(store.uses("User", &[]).await.unwrap(), BTreeMap::new());
    let cutoffs = Cutoffs {
        events: Timestamp(0),
        deliveries: Timestamp(0),
        attempts: Timestamp(0),
        bodies: Timestamp(0),
        audit: Timestamp(6),
    };
    store.prune(cutoffs, 100).await.unwrap();
    assert_eq!(store.uses("ApiKey", &all).await.unwrap(), of(&[("desk", 7)]));
}

pub(super) async fn versions_are_those_of_one_lifetime(store: &dyn Store) {
    let deleted = Audited { action: "DELETE".into(), before: audited(0, 2).after, after: None, ..audited(3, 2) };
    // The id is used again, by another organization at first.
    let foreign = |offset, version| Audited { org: Some("7".into()), ..audited(offset, version) };
    let again = |offset, version| Audited { made_at: Some(Timestamp(9)), ..audited(offset, version) };
    // The clock of who wrote the second version is behind.
    let behind = Audited { at: Timestamp(0), ..again(11, 2) };
    let rows = vec![audited(1, 1), audited(2, 2), deleted, foreign(5, 1), again(10, 1), behind, again(12, 3)];
    write(store, rows).await;
    let of = |made_at| Lifetime {
        kind: "OutboundIntegration".into(),
        id: "bills".into(),
        org: Some("648".into()),
        made_at: Timestamp(made_at),
    };
    let mut seen = Vec::new();
    let mut after = None;
    for _ in 0..3 {
        let listed = store.versions(&of(9), &Page { after: after.take(), ..first(1) }).await.unwrap();
        assert_eq!(listed.total, 3);
        let last = listed.items.last().unwrap();
        after = Some(Cursor { at: Timestamp(i64::try_from(last.version).unwrap()), id: last.name() });
        seen.extend(listed.items.iter().map(|row| row.version));
    }
    assert_eq!(seen, [3, 2, 1]);
    let held = async |made_at, version| {
        let row = store.version(&of(made_at), version).await.unwrap();
        row.and_then(|row| row.holds(version).map(str::to_owned))
    };
    for (made_at, version) in [(1, 1), (1, 2), (9, 1), (9, 2), (9, 3)] {
        assert_eq!(held(made_at, version).await, audited(0, version).after, "{made_at} {version}");
    }
    for (made_at, version) in [(1, 3), (9, 4), (9, 0), (2, 1), (9, u64::MAX)] {
        assert_eq!(held(made_at, version).await, None, "{made_at} {version}");
    }
    // What led to the oldest is no longer kept; the change after it tells.
    let never = Timestamp(i64::MIN);
    let old = Cutoffs { events: never, deliveries: never, attempts: never, bodies: never, audit: Timestamp(11) };
    assert!(store.prune(old, 100).await.unwrap() > 0);
    assert_eq!((held(9, 2).await, held(9, 1).await), (audited(0, 2).after, None));
}
