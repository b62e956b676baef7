//! Cases that the model does not reach: retention, budgets, fairness, times, deletion and return of an integration.

use std::collections::BTreeMap;

use super::*;
use crate::model::time::Timestamp;
use crate::stream::metadata::Progress;
use crate::stream::stage::{Ending, Standing};

const NOW: Timestamp = Timestamp(1_000);
const ACTIVE: Standing = Standing::Active { max_in_flight: 2 };

fn id(text: &str) -> IntegrationId {
    IntegrationId::parse(text).unwrap()
}

fn seen(offset: i64, integration: &str) -> Seen {
    let expires = Timestamp(1_000_000 + offset);
    Seen { offset: Offset(offset), integration: id(integration), key: None, expires, bytes: 100 }
}

fn entry(from: i64, reason: Reason) -> Entry {
    let due = Timestamp::default();
    Entry { from: Offset(from), due, attempt: 0, reason, about: About::default(), expires: None, done: Vec::new() }
}

fn load(watermark: i64, entries: &[(&str, Entry)]) -> Lanes {
    let progress = Progress { watermark: Offset(watermark), flush: 7, done: Vec::new() };
    let entries = entries.iter().map(|(name, entry)| (LaneName::parse(name).unwrap(), entry.clone()));
    Lanes::load(Limits::default(), &progress, entries)
}

/// Starts what there is to start: offsets with their tasks.
fn starts(core: &mut Lanes, now: Timestamp, standing: Standing) -> Vec<(i64, Task)> {
    let all = |_: &IntegrationId| standing;
    std::iter::from_fn(|| core.next(now, &all)).map(|start| (start.offset.0, start.task)).collect()
}

fn written(core: &mut Lanes) -> BTreeMap<String, Option<i64>> {
    let entries = core.flush().map(|flush| flush.entries).unwrap_or_default();
    core.committed();
    entries.into_iter().map(|(name, entry)| (name.to_string(), entry.map(|e| e.from.0))).collect()
}

#[test]
fn lanes_whose_records_retention_deleted_do_not_wait_for_ever() {
    let mut core = load(
        50,
        &[("held", entry(5, Reason::Busy)), ("held/k", entry(6, Reason::Order)), ("x/k", entry(8, Reason::Order))],
    );
    core.passed(Offset(90));
    assert_eq!(core.wants(9, NOW).stretches, [8, 5].map(Offset));
    core.reread(Offset(5), Vec::new(), Offset(100));
    assert!(starts(&mut core, NOW, ACTIVE).is_empty());
    let gone = ["held", "held/k", "x/k"].map(|name| (name.to_owned(), None));
    assert_eq!(written(&mut core), BTreeMap::from(gone));
    assert_eq!(core.wants(9, NOW), Reads::default());
}

#[test]
fn a_single_record_that_retention_deleted_ends_when_it_is_read() {
    let mut core = load(50, &[("x@7", Entry { attempt: 2, ..entry(7, Reason::Retry) })]);
    assert_eq!(starts(&mut core, NOW, ACTIVE), [(7, Task::Attempt(3))]);
    core.ended(Offset(7));
    assert_eq!(written(&mut core), BTreeMap::from([("x@7".to_owned(), None)]));
}

#[test]
fn a_gap_wider_than_the_window_is_passed_and_what_is_in_flight_before_it_kept() {
    let mut core = load(0, &[]);
    core.receive(seen(0, "x"));
    core.receive(seen(1, "y"));
    assert_eq!(starts(&mut core, NOW, ACTIVE).len(), 2);
    core.receive(seen(2, "x"));
    core.passed(Offset(1_000_000));
    assert!(core.room());
    let flush = core.flush().unwrap();
    assert_eq!((flush.progress.watermark, flush.progress.flush), (Offset(1_000_000), 8));
    let names: Vec<String> = flush.entries.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["x", "x@0", "y@1"]);
}

#[test]
fn metadata_that_could_not_be_read_repeats_what_was_above_the_watermark_and_no_lane() {
    let held = Entry { done: vec![Offset(6)], ..entry(5, Reason::Busy) };
    let mut core = load(7, &[("x", held)]);
    let records = [5, 6].map(|o| seen(o, "x")).to_vec();
    assert_eq!(core.reread(Offset(5), records, Offset(7)), [Offset(5)]);
    assert!(core.receive(seen(7, "x")));
    assert_eq!(starts(&mut core, NOW, ACTIVE), [(5, Task::Attempt(1)), (7, Task::Attempt(1))]);
}

#[test]
fn a_retry_is_due_when_it_says_and_not_a_millisecond_before() {
    let mut core = load(0, &[]);
    core.receive(seen(0, "x"));
    assert_eq!(starts(&mut core, NOW, ACTIVE), [(0, Task::Attempt(1))]);
    let about = About { first_at: Some(NOW), status: Some(503), ..About::default() };
    core.complete(Offset(0), Answer::Retry { due: Timestamp(5_000), about }, NOW);
    assert!(starts(&mut core, Timestamp(4_999), ACTIVE).is_empty());
    assert_eq!(core.next_due(), Some(Timestamp(5_000)));
    assert_eq!(core.wants(9, Timestamp(4_999)).heads, []);
    assert_eq!(core.wants(9, Timestamp(5_000)).heads, [Offset(0)]);
    let start = core.next(Timestamp(5_000), &|_: &IntegrationId| ACTIVE).unwrap();
    assert_eq!((start.task, start.first_at), (Task::Attempt(2), Some(NOW)));
}

#[test]
fn what_waits_for_a_disabled_integration_expires_all_the_same() {
    let mut core = load(0, &[]);
    core.receive(seen(0, "x"));
    assert!(starts(&mut core, NOW, Standing::Disabled).is_empty());
    assert_eq!(core.next_due(), Some(Timestamp(1_000_000)));
    assert_eq!(starts(&mut core, Timestamp(1_000_000), Standing::Disabled), [(0, Task::End(Ending::Expired, 0))]);
}

#[test]
fn a_deleted_integration_that_returns_goes_on_with_what_was_not_cancelled() {
    let mut core = load(0, &[("x@0", Entry { due: Timestamp(9_000), attempt: 1, ..entry(0, Reason::Retry) })]);
    core.receive(seen(0, "x"));
    core.receive(seen(1, "x"));
    assert!(starts(&mut core, NOW, Standing::Unknown).is_empty());
    core.poke(&id("x"));
    let all = |_: &IntegrationId| Standing::Deleted;
    let start = core.next(NOW, &all).unwrap();
    assert_eq!((start.offset, start.task), (Offset(0), Task::End(Ending::Cancelled, 1)));
    core.poke_all();
    assert_eq!(starts(&mut core, NOW, ACTIVE), [(1, Task::Attempt(1))]);
}

#[test]
fn integrations_take_turns_however_much_one_of_them_has() {
    let mut core = load(0, &[]);
    for o in 0..10 {
        core.receive(seen(o, if o < 8 { "greedy" } else { "modest" }));
    }
    let standing = |_: &IntegrationId| Standing::Active { max_in_flight: 100 };
    let order: Vec<i64> = std::iter::from_fn(|| core.next(NOW, &standing)).map(|start| start.offset.0).collect();
    assert_eq!(order[..4], [0, 8, 1, 9]);
}

#[test]
fn lagging_readers_are_named_in_turn() {
    let held = ["a", "b", "c"].map(|name| (name, entry(5, Reason::Busy)));
    let mut core = load(50, &[held[0].clone(), held[1].clone(), (held[2].0, entry(9, Reason::Busy))]);
    let named: Vec<Offset> = (0..3).flat_map(|_| core.wants(1, NOW).stretches).collect();
    assert_eq!(named, [5, 5, 9].map(Offset));
}

#[test]
fn queues_stay_within_their_bytes_and_what_is_shed_is_read_again() {
    let limits = Limits { queue_bytes: 1_000, total_bytes: 1_500, ..Limits::default() };
    let mut core = Lanes::load(limits, &Progress::default(), []);
    for o in 0..60 {
        core.receive(seen(o, ["x", "y", "z"][o as usize / 20]));
    }
    let gauges = core.gauges();
    assert_eq!((gauges.queued, gauges.queued_bytes), (16, 1_600));
    assert_eq!(gauges.lanes[&Reason::Busy], 3);
    core.shed(0);
    assert_eq!(core.gauges().queued, 3);
    assert_eq!(core.take_released().len(), 13);
    assert_eq!(starts(&mut core, NOW, ACTIVE), [(0, Task::Attempt(1)), (20, Task::Attempt(1)), (40, Task::Attempt(1))]);
    assert_eq!(core.wants(9, NOW).stretches, [1, 21, 41].map(Offset));
    let again = (1..60).map(|o| seen(o, ["x", "y", "z"][o as usize / 20])).collect();
    assert_eq!(core.reread(Offset(1), again, Offset(60)).len(), 16);
}

#[test]
fn a_refused_record_is_done_and_its_outputs_are_not_written_again() {
    let mut core = load(0, &[]);
    core.receive(seen(0, "x"));
    core.passed(Offset(2));
    assert!(core.is_done(Offset(1)) && !core.is_done(Offset(0)));
    let progress = core.flush().unwrap().progress;
    let mut next = Lanes::load(Limits::default(), &progress, []);
    next.receive(seen(0, "x"));
    assert!(next.is_done(Offset(1)));
}
