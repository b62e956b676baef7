//! What every store is held to. Another store runs the same suite: `suite(&store)`.

mod audit;

use super::rows::{
    About, Attempt, Audited, Batch, DeadLetter, EventRow, Fact, Kind, Outcome, Place, Rank, Rejected, Skip, State,
    Tried,
};
use super::store::{
    AuditFilter, Census, Cursor, Cutoffs, DeliveryFilter, EventFilter, EventKey, Lifetime, Page, RejectedFilter, Store,
};
use crate::model::delivery::{DeliveryStatus, ErrorCategory};
use crate::model::ids::{DeliveryId, Offset, OrgId, Partition};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;

/// Each on an empty store of its own.
pub(super) type Case<'a> = (&'static str, fn(&'a dyn Store) -> futures_util::future::BoxFuture<'a, ()>);

pub(super) fn cases<'a>() -> [Case<'a>; 11] {
    [
        ("a_batch_written_twice_changes_nothing", |s| Box::pin(a_batch_written_twice_changes_nothing(s))),
        ("the_order_of_facts_does_not_matter", |s| Box::pin(the_order_of_facts_does_not_matter(s))),
        ("of_repeats_the_first_event_stays", |s| Box::pin(of_repeats_the_first_event_stays(s))),
        ("each_filter_lets_through_what_it_says", |s| Box::pin(each_filter_lets_through_what_it_says(s))),
        ("no_row_is_lost_or_told_twice_between_pages", |s| Box::pin(no_row_is_lost_or_told_twice_between_pages(s))),
        ("retention_deletes_what_is_old_and_nothing_else", |s| {
            Box::pin(retention_deletes_what_is_old_and_nothing_else(s))
        }),
        ("what_waits_and_what_is_dead_is_counted_whatever_ended", |s| {
            Box::pin(what_waits_and_what_is_dead_is_counted_whatever_ended(s))
        }),
        ("everything_of_an_event_is_found", |s| Box::pin(everything_of_an_event_is_found(s))),
        ("each_change_of_the_catalog_is_found_by_what_it_says", |s| {
            Box::pin(audit::each_change_of_the_catalog_is_found_by_what_it_says(s))
        }),
        ("the_last_use_of_each_is_the_latest_one", |s| Box::pin(audit::the_last_use_of_each_is_the_latest_one(s))),
        ("versions_are_those_of_one_lifetime", |s| Box::pin(audit::versions_are_those_of_one_lifetime(s))),
    ]
}

pub(super) fn id(n: u32) -> DeliveryId {
    DeliveryId::parse(&format!("0197a0b2-3c4d-8e5f-8a6b-{n:012x}")).unwrap()
}

fn place(offset: i64) -> Place {
    Place { partition: Partition(0), offset: Offset(offset) }
}

fn event(n: i64) -> EventRow {
    EventRow {
        org: "648".into(),
        source: "his".into(),
        id: format!("e{n}"),
        event_type: "patient.created".into(),
        entity_id: Some("Patient/1".into()),
        time: Timestamp(n),
        at: Timestamp(n),
        place: place(n),
        content_type: "application/json".into(),
        payload: Some("{}".into()),
        ..EventRow::default()
    }
}

pub(super) fn fact(n: u32, step: i64, status: DeliveryStatus) -> Fact {
    let text = |text: &str| Some(text.to_owned());
    Fact {
        id: id(n),
        about: About {
            org: text("648"),
            event_id: Some(format!("e{n}")),
            source: text("his"),
            event_type: text("patient.created"),
            integration_id: text("bills"),
            ..About::default()
        },
        tried: (step % 8 == 2).then(|| Tried {
            integration_name: Some(format!("Bills {step}")),
            max_attempts: Some(3),
            ..Tried::default()
        }),
        state: State {
            status,
            category: None,
            error: None,
            response_status: None,
            duration_ms: None,
            attempts: u32::try_from(step / 8).unwrap(),
            next_attempt_at: None,
            delivered_at: None,
        },
        at: Timestamp(i64::from(n) * 100 + step),
        rank: Rank {
            attempts: u32::try_from(step / 8).unwrap(),
            redrives: 0,
            step: u8::try_from(step % 8).unwrap(),
            offset: step,
        },
    }
}

fn attempt(n: u32, offset: i64) -> Attempt {
    Attempt {
        delivery: id(n),
        place: place(offset),
        at: Timestamp(offset),
        kind: Kind::Attempt,
        attempt: 1,
        outcome: Outcome::Dead,
        status: DeliveryStatus::Failed,
        started_at: Timestamp(offset),
        duration_ms: 1.5,
        next_attempt_at: None,
        category: Some(ErrorCategory::Http4xx),
        error: Some("answered 404".into()),
        response_status: Some(404),
        response_headers: Some(r#"{"x":"y"}"#.into()),
        response_body: Some("not here".into()),
        response_encoding: Some("text".into()),
        response_truncated: Some(false),
    }
}

fn skip(n: i64, offset: i64) -> Skip {
    Skip {
        place: place(offset),
        at: Timestamp(n),
        org: "648".into(),
        source: "his".into(),
        event_id: format!("e{n}"),
        integration_id: None,
        delivery: None,
        reason: "no_match".into(),
    }
}

fn rejected(offset: i64) -> Rejected {
    Rejected {
        place: place(offset),
        at: Timestamp(offset),
        stage: "match".into(),
        reason: "unknown_org".into(),
        message: "it does not exist".into(),
        topic: "events".into(),
        from: place(offset),
        headers: "{}".into(),
        value: Some("raw".into()),
        ..Rejected::default()
    }
}

fn batch() -> Batch {
    Batch {
        events: vec![event(1), event(2)],
        facts: [fact(1, 3, DeliveryStatus::Pending), fact(1, 10, DeliveryStatus::Failed)].into(),
        attempts: vec![attempt(1, 5)],
        skips: vec![skip(2, 6)],
        dead: vec![DeadLetter { delivery: id(1), place: place(3), at: Timestamp(9) }],
        rejected: vec![rejected(1)],
        audit: vec![audit::audited(4, 1)],
        offsets: [((Topic::Events, Partition(0)), Offset(3)), ((Topic::Attempts, Partition(1)), Offset(7))].into(),
        ..Batch::default()
    }
}

fn first(limit: usize) -> Page {
    Page { limit, ..Page::default() }
}

async fn everything(store: &dyn Store) -> String {
    let events = store.events(&EventFilter::default(), &first(100)).await.unwrap();
    let deliveries = store.deliveries(&DeliveryFilter::default(), &first(100)).await.unwrap();
    let rejected = store.rejected(&RejectedFilter::default(), &first(100)).await.unwrap();
    let (attempts, skips) = (store.attempts(id(1)).await.unwrap(), store.skips(&event(2)).await.unwrap());
    let audit = store.audit(&AuditFilter::default(), &first(100)).await.unwrap();
    let (letter, offsets) = (store.dead_letter(id(1)).await.unwrap(), store.offsets().await.unwrap());
    format!("{events:#?} {deliveries:#?} {rejected:#?} {attempts:#?} {skips:#?} {letter:#?} {offsets:#?} {audit:#?}")
}

async fn a_batch_written_twice_changes_nothing(store: &dyn Store) {
    store.write(&batch()).await.unwrap();
    let once = everything(store).await;
    store.write(&batch()).await.unwrap();
    assert_eq!(everything(store).await, once);
    let one = store.delivery(id(1)).await.unwrap().unwrap();
    assert_eq!((one.state.status, one.state.attempts), (DeliveryStatus::Failed, 1));
    assert_eq!((one.created_at, one.updated_at), (Timestamp(103), Timestamp(110)));
    assert_eq!(store.attempts(id(1)).await.unwrap(), [attempt(1, 5)]);
    assert_eq!(store.skips(&event(2)).await.unwrap(), [skip(2, 6)]);
    assert_eq!(store.rejected_of(&event(1)).await.unwrap(), [rejected(1)]);
    assert_eq!(store.event(EventKey { org: None, source: None, id: "e1" }).await.unwrap(), [event(1)]);
    assert_eq!(store.audit(&AuditFilter::default(), &first(100)).await.unwrap().items, [audit::audited(4, 1)]);
    assert_eq!(store.offsets().await.unwrap(), batch().offsets);
}

async fn the_order_of_facts_does_not_matter(store: &dyn Store) {
    use DeliveryStatus::{Failed, Pending, Retrying, Success};
    let story = [(3, Pending), (10, Retrying), (17, Failed), (18, Failed), (19, Retrying), (26, Success)];
    for (n, turn) in (1..).zip(0..story.len()) {
        let facts = story.iter().map(|(step, status)| Fact { at: Timestamp(*step), ..fact(n, *step, *status) });
        let mut facts: Vec<Fact> = facts.collect();
        facts.rotate_left(turn);
        for fact in facts {
            store.write(&Batch { facts: [fact].into(), ..Batch::default() }).await.unwrap();
        }
        let one = store.delivery(id(n)).await.unwrap().unwrap();
        let told = (one.state.status, one.state.attempts, one.created_at, one.updated_at);
        assert_eq!(told, (Success, 3, Timestamp(3), Timestamp(26)), "begun at {turn}");
        assert_eq!(one.tried.integration_name.as_deref(), Some("Bills 26"), "begun at {turn}");
    }
}

async fn of_repeats_the_first_event_stays(store: &dyn Store) {
    let again = |at: i64| EventRow { at: Timestamp(at), place: place(at), id: "same".into(), ..event(1) };
    let other = EventRow { source: "lab".into(), ..again(1) };
    for row in [again(5), again(9), again(3), other.clone()] {
        store.write(&Batch { events: vec![row], ..Batch::default() }).await.unwrap();
    }
    let found = store.event(EventKey { org: Some("648"), source: None, id: "same" }).await.unwrap();
    assert_eq!(found, [again(3), other.clone()]);
    assert_eq!(store.event(EventKey { org: None, source: Some("lab"), id: "same" }).await.unwrap(), [other]);
    assert_eq!(store.event(EventKey { org: Some("649"), source: None, id: "same" }).await.unwrap(), []);
}

async fn each_filter_lets_through_what_it_says(store: &dyn Store) {
    let mut other = fact(2, 10, DeliveryStatus::Failed);
    other.about.org = Some("7".into());
    other.about.entity_id = Some("Patient/9".into());
    other.about.correlation_id = Some("c9".into());
    other.about.event_type = Some("bill.created".into());
    other.about.integration_id = Some("mail".into());
    other.tried.as_mut().unwrap().integration_name = Some("Mail Out".into());
    (other.state.category, other.state.error) = (Some(ErrorCategory::Http5xx), Some("answered 503: 100% busy".into()));
    let facts = vec![fact(1, 3, DeliveryStatus::Pending), other, fact(3, 10, DeliveryStatus::Success)];
    store
        .write(&Batch { facts: facts.into_iter().collect(), events: vec![event(1), event(2)], ..Batch::default() })
        .await
        .unwrap();
    let none = DeliveryFilter::default;
    let some = |text: &str| Some(text.to_owned());
    let search = |text: &str| DeliveryFilter { search: some(text), ..none() };
    let statuses = |all: &[DeliveryStatus]| DeliveryFilter { statuses: all.to_vec(), ..none() };
    let cases: Vec<(DeliveryFilter, &[u32])> = vec![
        (none(), &[3, 2, 1]),
        (DeliveryFilter { org: OrgId::parse("7").ok(), ..none() }, &[2]),
        (statuses(&[DeliveryStatus::Pending]), &[1]),
        (statuses(&[DeliveryStatus::Pending, DeliveryStatus::Failed]), &[2, 1]),
        (DeliveryFilter { integration_id: some("mail"), ..none() }, &[2]),
        (DeliveryFilter { event_type: some("patient.created"), ..none() }, &[3, 1]),
        (DeliveryFilter { event_id: some("e3"), ..none() }, &[3]),
        (DeliveryFilter { entity_id: some("Patient/9"), ..none() }, &[2]),
        (DeliveryFilter { correlation_id: some("c9"), ..none() }, &[2]),
        (DeliveryFilter { category: Some(ErrorCategory::Http5xx), ..none() }, &[2]),
        (DeliveryFilter { since: Some(Timestamp(210)), ..none() }, &[3, 2]),
        (DeliveryFilter { until: Some(Timestamp(210)), ..none() }, &[1]),
        (search(&id(1).to_string()), &[1]),
        (search("e3"), &[3]),
        (search("mail o"), &[2]),
        (search("100% BUSY"), &[2]),
        (search("%"), &[2]),
        (search("nothing'; DROP TABLE deliveries; --"), &[]),
    ];
    for (filter, expected) in cases {
        let listed = store.deliveries(&filter, &first(10)).await.unwrap();
        let found: Vec<_> = listed.items.iter().map(|one| one.id).collect();
        let expected: Vec<_> = expected.iter().map(|n| id(*n)).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert_eq!((listed.total, listed.has_more), (expected.len() as u64, false), "{filter:?}");
    }
    let filter = EventFilter { search: some("e2"), event_type: some("patient.created"), ..EventFilter::default() };
    let listed = store.events(&filter, &first(10)).await.unwrap();
    assert_eq!(listed.items, [EventRow { payload: None, ..event(2) }]);
}

async fn no_row_is_lost_or_told_twice_between_pages(store: &dyn Store) {
    // Three of each moment: the id decides among them.
    let facts = (0..10).map(|n| Fact { at: Timestamp(i64::from(n) / 3), ..fact(n, 3, DeliveryStatus::Pending) });
    store.write(&Batch { facts: facts.collect(), ..Batch::default() }).await.unwrap();
    let newest: Vec<_> = (0..10).rev().map(id).collect();
    let (mut numbered, mut behind) = (Vec::new(), Vec::new());
    let mut after = None;
    for n in 0..4 {
        let page = Page { skip: n * 3, ..first(3) };
        let listed = store.deliveries(&DeliveryFilter::default(), &page).await.unwrap();
        assert_eq!((listed.total, listed.has_more), (10, n < 3));
        numbered.extend(listed.items.iter().map(|one| one.id));
        let page = Page { after: after.take(), ..first(3) };
        let listed = store.deliveries(&DeliveryFilter::default(), &page).await.unwrap();
        after = listed.items.last().map(|one| Cursor { at: one.created_at, id: one.id.to_string() });
        behind.extend(listed.items.iter().map(|one| one.id));
    }
    assert_eq!((&numbered, &behind), (&newest, &newest));
}

async fn retention_deletes_what_is_old_and_nothing_else(store: &dyn Store) {
    store.write(&batch()).await.unwrap();
    let never = Timestamp(i64::MIN);
    let keep = Cutoffs { events: never, deliveries: never, attempts: never, bodies: never, audit: never };
    assert_eq!(store.prune(keep, 100).await.unwrap(), 0);
    let bodies = Cutoffs { bodies: Timestamp(2), ..keep };
    assert_eq!(store.prune(bodies, 100).await.unwrap(), 2, "an event's payload, and one that was rejected");
    let payload = async |id| store.event(EventKey { org: None, source: None, id }).await.unwrap()[0].payload.clone();
    assert_eq!((payload("e1").await, payload("e2").await), (None, Some("{}".into())));
    let rejected = store.rejected(&RejectedFilter::default(), &first(9)).await.unwrap().items;
    assert_eq!((rejected.len(), &rejected[0].value), (1, &None));
    let old = Cutoffs {
        events: Timestamp(100),
        deliveries: Timestamp(200),
        attempts: Timestamp(6),
        audit: Timestamp(5),
        ..keep
    };
    let mut gone = Vec::new();
    while gone.last() != Some(&0) {
        gone.push(store.prune(old, 1).await.unwrap());
    }
    assert_eq!(gone, [7, 1, 0], "one of each table at once");
    let left = everything(store).await;
    assert!(!left.contains("EventRow") && !left.contains("Delivery {") && !left.contains("Attempt {"), "{left}");
    assert!(!left.contains("Audited"), "{left}");
    assert_eq!(store.offsets().await.unwrap(), batch().offsets);
}

async fn what_waits_and_what_is_dead_is_counted_whatever_ended(store: &dyn Store) {
    use DeliveryStatus::{Abandoned, Cancelled, Failed, Pending, Retrying, Success};
    assert_eq!(store.census().await.unwrap(), Census::default());
    let all = [Success, Cancelled, Failed, Retrying, Abandoned, Pending, Failed];
    let facts: Vec<Fact> = all.into_iter().zip(1..).map(|(status, n)| fact(n, 10, status)).collect();
    let oldest = facts[3].at;
    store.write(&Batch { facts: facts.into_iter().collect(), ..Batch::default() }).await.unwrap();
    assert_eq!(store.census().await.unwrap(), Census { dead: 3, oldest_unfinished: Some(oldest) });
    let ended = [fact(4, 18, Success), fact(6, 18, Success), fact(3, 18, Success)];
    store.write(&Batch { facts: ended.into(), ..Batch::default() }).await.unwrap();
    assert_eq!(store.census().await.unwrap(), Census { dead: 2, oldest_unfinished: None });
}

async fn everything_of_an_event_is_found(store: &dyn Store) {
    let mut attempts_alone = fact(1, 10, DeliveryStatus::Failed);
    attempts_alone.about.source = None;
    let mut other = Fact { id: id(2), ..fact(1, 3, DeliveryStatus::Pending) };
    other.about.source = Some("lab".into());
    store.write(&Batch { facts: [attempts_alone, other].into(), ..batch() }).await.unwrap();
    let found: Vec<_> = store.deliveries_of(&event(1)).await.unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(found, [id(1)], "what is of another event with this id is not of this one");
    let letter = |offset| DeadLetter { delivery: id(1), place: place(offset), at: Timestamp(offset) };
    store.write(&Batch { dead: vec![letter(20), letter(12)], ..Batch::default() }).await.unwrap();
    assert_eq!(store.dead_letter(id(1)).await.unwrap(), Some(letter(20)), "the newest one");
}
