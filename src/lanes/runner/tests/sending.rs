//! What is sent when.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_retry_does_not_hold_back_the_watermark() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "b", "b"]).await;
    for offset in [0, 1, 2] {
        let call = run.call_of(offset).await;
        if offset == 0 { call.retry(3_600_000) } else { call.delivered() }
    }
    time_passes(LONG).await;
    assert_eq!((watermark(&run.log), lanes(&run.log)), (3, vec!["a@0".to_owned()]));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_never_early() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a"]).await;
    let (zero, one) = (run.call_of(0).await, run.call_of(1).await);
    zero.retry(7_001);
    one.retry(3);
    let one = run.call_of(1).await;
    assert_eq!((one.attempt, one.at), (2, Timestamp(START + 3)));
    one.delivered();
    let zero = run.call_of(0).await;
    assert_eq!((zero.attempt, zero.at, zero.first_at), (2, Timestamp(START + 7_001), Some(Timestamp(START))));
    zero.delivered();
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_integration_delays_no_other() {
    const SLOW: usize = 5_000;
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    let mut keys = vec!["slow"; SLOW];
    keys.push("quick");
    run.give(0, 1, &keys).await;
    let mut held = Vec::new();
    loop {
        let call = run.call().await;
        if call.offset == SLOW as i64 {
            assert_eq!(call.at, Timestamp(START));
            call.delivered();
            break;
        }
        held.push(call);
    }
    assert!(held.len() <= 4);
    run.give(0, 1, &["quick"]).await;
    let left = SLOW + 1 - held.len();
    for call in held {
        call.delivered();
    }
    let mut sent = std::collections::BTreeSet::new();
    for _ in 0..left {
        let call = run.call().await;
        assert!(sent.insert(call.offset), "{} again", call.offset);
        call.delivered();
    }
    run.quiet(LONG).await;
    assert_eq!((watermark(&run.log), lanes(&run.log)), (SLOW as i64 + 2, Vec::new()));
    let log = run.stop().await;
    assert_eq!(committed(&log, Topic::Attempts).len(), SLOW + 2);
    assert_eq!(log.credit().0, SLOW + 2);
}

/// A payload of a megabyte each; a partition has room for 48 of them.
fn large(key: &str) -> Record {
    record(key, &"x".repeat(1 << 20))
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_did_not_fit_is_read_again_within_the_bytes_in_flight() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.desk.standings.lock().unwrap().insert("a".into(), Standing::Active { max_in_flight: 1_000 });
    run.stand("b", Standing::Active { max_in_flight: 1_000 });
    for _ in 0..10 {
        run.give_records(0, 1, ["a", "b", "c", "d", "e", "f", "g", "h"].map(large).to_vec()).await;
    }
    let (mut flying, mut most, mut sent) = (Vec::new(), 0, std::collections::BTreeSet::new());
    while sent.len() < 80 {
        while let Ok(call) = timeout(LONG, run.calls.recv()).await {
            flying.push(call.unwrap());
        }
        most = most.max(flying.len());
        let call = flying.pop().unwrap();
        assert!(sent.insert(call.offset), "{} again", call.offset);
        call.delivered();
    }
    assert!((30..=33).contains(&most), "{most} MiB in flight");
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_retention_deleted_ends() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "b"]).await;
    run.call_of(0).await.retry(10_000);
    run.call_of(1).await.delivered();
    time_passes(LONG).await;
    let mut run = run.restart().await;
    run.log.delete(Topic::Deliveries, 0, 1);
    run.take_over(0, 2).await;
    run.quiet(Duration::from_secs(20)).await;
    assert_eq!((watermark(&run.log), lanes(&run.log)), (2, Vec::new()));
    run.give(0, 2, &["a"]).await;
    run.call_of(2).await.delivered();
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_goes_to_rejected_once_and_the_partition_goes_on() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "refused", "a"]).await;
    let _held = run.call_of(0).await;
    run.call_of(2).await.delivered();
    time_passes(LONG).await;
    assert_eq!(watermark(&run.log), 0);
    let mut run = run.restart().await;
    run.take_over(0, 2).await;
    run.call_of(0).await.delivered();
    run.quiet(LONG).await;
    let log = run.stop().await;
    assert_eq!(committed(&log, Topic::Rejected), [("1".to_owned(), "refused".to_owned())]);
    assert_eq!(watermark(&log), 3);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_integration_waits_and_goes_on_when_enabled() {
    let mut run = start(FakeLog::new());
    run.stand("a", Standing::Disabled);
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "b", "a"]).await;
    run.call_of(1).await.delivered();
    run.quiet(LONG).await;
    assert_eq!((watermark(&run.log), lanes(&run.log)), (3, vec!["a".to_owned()]));
    // Many changes at once are looked at as one, and the last is not missed.
    for _ in 0..50 {
        run.stand("b", Standing::Disabled);
        tokio::task::yield_now().await;
    }
    run.stand("a", Standing::Active { max_in_flight: 1 });
    run.call_of(0).await.delivered();
    run.call_of(2).await.delivered();
    time_passes(LONG).await;
    assert_eq!(lanes(&run.log), Vec::<String>::new());
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_integration_is_cancelled_and_told() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a"]).await;
    run.call_of(0).await.retry(3_600_000);
    let one = run.call_of(1).await;
    run.stand("a", Standing::Deleted);
    run.give(0, 1, &["a"]).await;
    time_passes(LONG).await;
    assert_eq!(
        (of(&run.log, 0), of(&run.log, 2)),
        (vec!["1 retry".into(), "1 Cancelled".into()], vec!["0 Cancelled".into()])
    );
    one.delivered();
    time_passes(LONG).await;
    assert_eq!((watermark(&run.log), lanes(&run.log)), (3, Vec::new()));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_for_a_wide_lane_stops_the_partition_and_says_what_to_do() {
    for (key, value) in [("a", "garbage"), ("a/k", r#"{"from":-1,"reason":"RETRY"}"#)] {
        let mut run = start(FakeLog::new());
        run.log.append_at(Topic::Retry, 0, 0, record(key, value));
        run.assign(0, 1).await;
        run.give(0, 1, &["b"]).await;
        let error = run.ended().await.unwrap_err().to_string();
        assert!(error.contains("retry-0") && error.contains(key) && error.contains("tombstone"), "{error}");
        assert_eq!(run.log.committed(0), None);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_while_the_membership_is_unsure() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a"]).await;
    run.call_of(0).await.retry(1_000);
    run.log.sure(false);
    run.give(0, 1, &["b"]).await;
    run.quiet(LONG).await;
    run.log.sure(true);
    let (one, two) = (run.call().await, run.call().await);
    assert!(one.at.0 < START + 2_500, "nobody looked again");
    assert_eq!([one.offset, two.offset].iter().sum::<i64>(), 1);
    run.stop.cancel();
    one.delivered();
    two.delivered();
    run.stop().await;
}

/// Taken over with a retry of offset 0 that is due: its payload is not in memory, and cannot be read for now.
async fn due_and_unread() -> Run {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a"]).await;
    run.call_of(0).await.retry(10_000);
    time_passes(LONG).await;
    let mut run = run.restart().await;
    run.log.reads(false);
    run.take_over(0, 2).await;
    run.quiet(Duration::from_secs(10)).await;
    run
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_read_again_is_not_started_while_the_membership_is_unsure() {
    let mut run = due_and_unread().await;
    run.log.sure(false);
    run.log.reads(true);
    run.quiet(LONG).await;
    run.log.sure(true);
    run.call_of(0).await.delivered();
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_integration_that_is_disabled_while_its_record_is_read_again_is_not_sent_to() {
    let mut run = due_and_unread().await;
    run.stand("a", Standing::Disabled);
    run.quiet(LONG).await;
    run.log.reads(true);
    run.quiet(Duration::from_secs(600)).await;
    run.stand("a", Standing::Active { max_in_flight: 1 });
    let call = run.call_of(0).await;
    assert_eq!((call.attempt, call.first_at), (2, Some(Timestamp(START))), "it was not attempted meanwhile");
    call.delivered();
    time_passes(LONG).await;
    assert_eq!((watermark(&run.log), lanes(&run.log)), (1, Vec::new()));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_sent_while_nothing_can_be_committed() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    let keys: Vec<String> = (0..10_000).map(|i| format!("i{}", i % 100)).collect();
    run.log.open(false);
    run.give(0, 1, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut sent = 0;
    while let Ok(Some(call)) = timeout(LONG, run.calls.recv()).await {
        call.delivered();
        sent += 1;
    }
    assert!(sent < 7_000, "{sent} sent");
    run.log.open(true);
    for _ in sent..10_000 {
        run.call().await.delivered();
    }
    time_passes(LONG).await;
    assert_eq!(watermark(&run.log), 10_000);
    run.stop().await;
}
