//! A write of many records is seen as a whole, whatever the log has left of it.

use std::time::Duration;

use super::process::{Process, SOON, create, org, process, record, somebody};
use crate::catalog::change::Change;
use crate::catalog::fake::SharedFake;
use crate::catalog::kind::Kind;
use crate::model::record::{Record, header};

/// More than a follower reads at once.
const MANY: usize = 2_500;

fn many() -> Vec<Change> {
    (0..MANY).map(|n| create(org(&format!("org-{n}")))).collect()
}

fn count(process: &Process) -> usize {
    process.catalog.snapshot().all(Kind::Organization).len()
}

/// The record of an organization in a write of which so many come after it.
fn part(id: &str, more: usize) -> Record {
    let mut record = record(&org(id));
    record.headers.push(header::TG_MORE, more.to_string());
    record
}

#[tokio::test]
async fn an_apply_is_never_seen_by_half() {
    let log = SharedFake::default();
    let (one, two) = (process(&log), process(&log));
    two.catalog.loaded().await;
    log.0.read_step_by_step();
    let watching = async {
        let (mut changed, mut seen) = (two.catalog.changed(), Vec::new());
        while count(&two) < MANY {
            changed.changed().await.unwrap();
            seen.push(count(&two));
        }
        seen
    };
    let changes = many();
    let by = somebody();
    let (seen, written) = tokio::join!(watching, one.writer.write_all(&changes, &by));
    written.unwrap();
    assert_eq!(seen, [MANY], "{seen:?}");
}

#[tokio::test]
async fn an_apply_is_whole_in_the_own_snapshot_before_it_is_answered() {
    let process = process(&SharedFake::default());
    process.writer.write_all(&many(), &somebody()).await.unwrap();
    assert_eq!(count(&process), MANY);
}

#[tokio::test]
async fn a_follower_that_comes_late_takes_what_compaction_has_left_of_an_apply() {
    // Which of three records are gone.
    for gone in [vec![0], vec![1], vec![2], vec![0, 2], vec![1, 2]] {
        let log = SharedFake::default();
        let process = process(&log);
        process.catalog.loaded().await;
        log.0.hide(true);
        log.0.foreign(vec![part("a", 2), part("b", 1), record(&org("c"))]);
        gone.iter().for_each(|offset| log.0.compact_away(*offset));
        log.0.hide(false);
        assert!(process.catalog.reached(log.0.end_offset(), SOON).await, "{gone:?}");
        assert_eq!(count(&process), 3 - gone.len(), "{gone:?}");
    }
}

#[tokio::test]
async fn a_follower_waits_for_the_rest_of_an_apply_that_it_has_begun_to_read() {
    let log = SharedFake::default();
    let process = process(&log);
    process.catalog.loaded().await;
    log.0.show(2);
    log.0.foreign(vec![part("a", 2), part("b", 1), record(&org("c"))]);
    assert!(!process.catalog.reached(log.0.end_offset(), Duration::from_millis(50)).await);
    assert_eq!(count(&process), 0);
    log.0.hide(false);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    assert_eq!(count(&process), 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_promises_more_than_there_is_holds_nothing_back_for_long() {
    let log = SharedFake::default();
    let process = process(&log);
    process.catalog.loaded().await;
    log.0.foreign(vec![part("a", 1_000_000)]);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    assert_eq!(count(&process), 1);
}
