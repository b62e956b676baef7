//! What one batch is made of, by followers that have all of it at once.

use async_trait::async_trait;

use super::*;
use crate::model::ids::DeliveryId;
use crate::model::record::{Received, Record, header};
use crate::stream::log::Batch as Read;

/// One partition of a topic with so many records, a millisecond apart.
struct Shelf {
    topic: Topic,
    next: i64,
    end: i64,
    /// Of one look, at most.
    most: usize,
}

#[async_trait]
impl Follower for Shelf {
    async fn next(&mut self, max: usize, _: Duration) -> Result<Vec<(Topic, Partition, Read)>, LogError> {
        let first = self.next;
        self.next = self.end.min(first + i64::try_from(max.min(self.most)).unwrap());
        let records: Vec<Received> = (first..self.next).map(|n| record(self.topic, n)).collect();
        let read = (self.topic, Partition(0), Read { records, position: Offset(self.next) });
        Ok(if self.next > first { vec![read] } else { Vec::new() })
    }
}

fn record(topic: Topic, n: i64) -> Received {
    let id = DeliveryId::parse(&format!("0197a0b2-3c4d-8e5f-8a6b-{n:012x}")).unwrap();
    let mut record = Record::default();
    if topic == Topic::Deliveries {
        record.headers.push(header::TG_DELIVERY, id.to_string());
    } else {
        let value = serde_json::json!({"kind": "attempt", "deliveryId": id, "attempt": 1, "outcome": "DELIVERED",
            "status": "SUCCESS", "startedAt": "2026-11-20T08:15:30.250Z"});
        record.value = Some(value.to_string().into());
    }
    Received { partition: Partition(0), offset: Offset(n), timestamp: Timestamp(n), record }
}

fn ways(deliveries: i64, attempts: i64) -> Vec<Way> {
    let ends = [(Topic::Deliveries, deliveries), (Topic::Attempts, attempts)];
    ends.map(|(topic, end)| Way {
        follower: Box::new(Shelf { topic, next: 0, end, most: usize::MAX }),
        pace: topic,
        at: Timestamp(i64::MIN),
        is_idle: false,
    })
    .into()
}

/// What was read of both, and how many deliveries that is.
async fn read(ways: &mut [Way]) -> (u64, u64, usize) {
    let batch = next(ways).await.unwrap();
    let of = |topic| batch.records.get(&topic).copied().unwrap_or(0);
    (of(Topic::Deliveries), of(Topic::Attempts), batch.facts.len())
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_deliveries_are_not_read_long_before_or_after_their_beginnings() {
    let mut ways = ways(20_000, 20_000);
    let (beginnings, ends, deliveries) = read(&mut ways).await;
    assert_eq!(beginnings + ends, MAX_RECORDS as u64);
    assert!(beginnings.abs_diff(ends) <= STEP as u64, "{beginnings} beginnings, {ends} ends");
    assert_eq!(deliveries as u64, beginnings.max(ends), "one row for each");
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_wants_keep_no_attempt_waiting() {
    for (most, later) in [(10, 100_000), (STEP, 0)] {
        let mut ways = ways(0, 3_000);
        // They come and come, and none becomes a delivery.
        ways[0].follower = Box::new(Shelf { topic: Topic::Events, next: 0, end: i64::MAX, most });
        ways[1].at = Timestamp(later);
        let batch = next(&mut ways).await.unwrap();
        assert_eq!(batch.records.get(&Topic::Attempts), Some(&3_000), "{most} in a look");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_at_its_end_holds_up_no_other() {
    let mut waiting = ways(20_000, 10);
    assert_eq!(read(&mut waiting).await, (MAX_RECORDS as u64 - 10, 10, MAX_RECORDS - 10));
    let mut ending = ways(10, 20_000);
    assert_eq!(read(&mut ending).await, (10, MAX_RECORDS as u64 - 10, MAX_RECORDS - 10));
    assert_eq!(read(&mut ways(0, 0)).await, (0, 0, 0), "nothing is no reason to wait longer");
}
