//! What a follower makes of the records that it finds.

use std::time::Duration;

use serde_json::json;

use super::process::{Process, SOON, bills, bills_key, org, org_key, process, record};
use crate::catalog::fake::SharedFake;
use crate::catalog::kind::{Key, Kind};
use crate::model::ids::Offset;
use crate::model::record::Record;

#[tokio::test]
async fn a_record_that_cannot_be_read_leaves_the_last_good_state() {
    let log = SharedFake::default();
    let garbled = |key: &str, value: &str| Record {
        key: Some(key.to_owned().into()),
        value: Some(value.to_owned().into()),
        ..Record::default()
    };
    let mut other = serde_json::to_value(bills()).unwrap();
    other["timeoutMs"] = json!(5);
    log.0.foreign(vec![
        record(&org("648")),
        record(&bills()),
        garbled("OutboundIntegration/bills", "{"),
        garbled("OutboundIntegration/bills", &other.to_string()),
        garbled("OutboundIntegration/bills", &serde_json::to_string(&org("648")).unwrap()),
        garbled("OutboundIntegration/else", &serde_json::to_string(&bills()).unwrap()),
        garbled("Unheard/1", "{}"),
        garbled("nonsense", "{}"),
        Record::default(),
        record(&org("649")),
    ]);
    let process = process(&log);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    let snapshot = process.catalog.snapshot();
    assert_eq!(snapshot.get(&bills_key()).cloned(), Some(bills()));
    assert_eq!((snapshot.orgs().len(), snapshot.all(Kind::OutboundIntegration).len()), (2, 1));
    let unreadable =
        |id: &str| process.catalog.snapshot().is_unreadable(&Key::of(Kind::OutboundIntegration, id).unwrap());
    assert!(unreadable("bills") && unreadable("else") && !unreadable("1"));
    log.0.foreign(vec![record(&bills())]);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    assert!(!unreadable("bills") && unreadable("else"));
}

#[tokio::test]
async fn nothing_is_published_before_the_catalog_is_complete() {
    let log = SharedFake::default();
    log.0.foreign(vec![record(&org("648"))]);
    log.0.hide(true);
    log.0.foreign(vec![record(&bills())]);
    let process = process(&log);
    assert!(!process.catalog.reached(Offset(1), Duration::from_millis(50)).await);
    assert!(!process.catalog.is_loaded() && process.catalog.snapshot().orgs().is_empty());
    log.0.hide(false);
    process.catalog.loaded().await;
    assert!(process.has_bills());
}

#[tokio::test]
async fn a_tombstone_takes_its_resource_away() {
    let log = SharedFake::default();
    log.0.foreign(vec![record(&org("648")), record(&bills())]);
    log.0.foreign(vec![Record { value: None, ..record(&bills()) }]);
    let process = process(&log);
    assert!(process.catalog.reached(log.0.end_offset(), SOON).await);
    assert!(!process.has_bills() && process.catalog.snapshot().get(&org_key()).is_some());
}

#[tokio::test]
async fn a_follower_ends_when_it_is_told_to() {
    let process = process(&SharedFake::default());
    process.catalog.loaded().await;
    let Process { follower, running, .. } = process;
    drop(running);
    tokio::time::timeout(SOON, follower).await.unwrap().unwrap().unwrap();
}
