//! Partitions come and go.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_delivery_in_flight_at_a_revoke_is_finished_before_the_partition_goes() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a"]).await;
    let (first, second) = (run.call_of(0).await, run.call_of(1).await);
    let mut gone = run.revoke(0, 1).await;
    time_passes(Duration::from_secs(1)).await;
    assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty), "let go while it was being sent");
    first.delivered();
    second.retry(60_000);
    assert!(gone.await.is_err(), "dropping it is the message");
    assert_eq!((of(&run.log, 0), of(&run.log, 1)), (vec!["1 delivered".to_owned()], vec!["1 retry".to_owned()]));
    assert_eq!((watermark(&run.log), lanes(&run.log)), (2, vec!["a@1".to_owned()]));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_does_not_keep_a_rebalance_or_what_has_ended() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a", "a"]).await;
    let (_slow, done) = (run.call_of(0).await, run.call_of(1).await);
    let gone = run.revoke(0, 1).await;
    done.delivered();
    assert!(timeout(Duration::from_secs(6), gone).await.unwrap().is_err());
    assert_eq!(of(&run.log, 1), ["1 delivered"]);
    let mut run = run.restart().await;
    run.take_over(0, 2).await;
    assert_eq!((run.call().await.offset, run.call().await.offset), (0, 2));
    run.quiet(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoke_does_not_wait_for_lanes_that_cannot_be_read() {
    let run = start(FakeLog::new());
    run.log.loads(false);
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a"]).await;
    let gone = run.revoke(0, 1).await;
    assert!(timeout(LONG, gone).await.expect("waits for the load").is_err());
    assert_eq!(run.log.credit().0, 2);
    run.log.loads(true);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_not_judged_by_a_catalog_that_is_older_than_it() {
    let mut run = start(FakeLog::new());
    let end = run.log.append_at(Topic::Catalog, 0, 0, record("OutboundIntegration/a", "{}")).offset.next();
    run.assign(0, 1).await;
    run.give(0, 1, &["a"]).await;
    run.quiet(LONG).await;
    run.changed.send_replace(Some(end));
    run.call_of(0).await.delivered();
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_ended_by_itself_is_not_counted_for_one_that_still_drains() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.assign(1, 2).await;
    run.give(0, 1, &["refused"]).await;
    run.give(1, 2, &["a"]).await;
    let call = run.call().await;
    // Its flush is left out, so its actor ends; both go before that is noticed.
    run.log.revoke(0, 1);
    let (drained, mut gone) = Drained::new();
    let partitions = vec![(Partition(0), Epoch(1)), (Partition(1), Epoch(2))];
    run.log.signal(Signal::Revoked { partitions, deadline: Duration::from_secs(10), drained }).await;
    time_passes(Duration::from_secs(1)).await;
    assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Empty), "let go while it was being sent");
    call.delivered();
    assert!(gone.await.is_err());
    assert_eq!(of(&run.log, 0), ["1 delivered"]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_sends_and_commits_nothing_more() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.stand("b", Standing::Disabled);
    run.give(0, 1, &["a", "a", "a", "a", "a", "b"]).await;
    let call = run.call_of(0).await;
    for offset in 1..4 {
        run.call_of(offset).await;
    }
    time_passes(LONG).await;
    let before = (run.log.committed(0), run.log.records(Topic::Retry, 0).len());
    run.lose(0, 1).await;
    call.delivered();
    run.stand("b", Standing::Active { max_in_flight: 1 });
    run.give(0, 1, &["a"]).await;
    run.quiet(LONG).await;
    assert_eq!((run.log.committed(0), run.log.records(Topic::Retry, 0).len()), before);
    assert_eq!(of(&run.log, 0), Vec::<String>::new());
    let log = run.stop().await;
    assert_eq!(log.credit().0, 7);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_lost_does_not_stop_the_others() {
    let mut run = start(FakeLog::new());
    run.log.loads(false);
    run.log.append_at(Topic::Retry, 0, 0, record("a@0", "garbage"));
    run.assign(0, 1).await;
    run.lose(0, 1).await;
    run.log.loads(true);
    run.assign(1, 2).await;
    run.give(1, 2, &["b"]).await;
    run.call_of(0).await.delivered();
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn credit_comes_back_for_every_record() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.assign(1, 1).await;
    run.give(0, 1, &["a", "refused", "b", "a"]).await;
    for _ in 0..3 {
        run.call().await.delivered();
    }
    run.give(0, 7, &["of another epoch"]).await;
    // Signals that the session has not yet given on when the partitions go.
    run.log.loads(false);
    run.assign(1, 2).await;
    run.give(1, 2, &["a", "a"]).await;
    time_passes(LONG).await;
    run.lose(1, 2).await;
    run.give(1, 2, &["a", "a", "a"]).await;
    run.give(0, 1, &["a"]).await;
    time_passes(LONG).await;
    let log = run.stop().await;
    let sizes = |p| log.records(Topic::Deliveries, p).iter().map(|r| r.record.size()).sum::<usize>();
    assert_eq!(log.credit(), (11, sizes(0) + sizes(1)));
}

#[tokio::test(start_paused = true)]
async fn a_restart_resumes_each_lane_where_it_was() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.stand("off", Standing::Disabled);
    run.give(0, 1, &["a", "off", "a", "off", "b"]).await;
    let (zero, four, two) = (run.call_of(0).await, run.call_of(4).await, run.call_of(2).await);
    zero.retry(30_000);
    two.delivered();
    four.retry(5_000);
    let again = run.call_of(4).await;
    assert_eq!((again.attempt, again.first_at), (2, Some(Timestamp(START))));
    again.retry(40_000);
    time_passes(LONG).await;
    let mut run = run.restart().await;
    run.take_over(0, 2).await;
    let mut next: Vec<_> = Vec::new();
    for _ in 0..4 {
        let call = run.call().await;
        next.push((call.offset, call.attempt, call.first_at.map(|at| at.0 - START)));
        if call.attempt > 1 {
            let due = START + if call.offset == 0 { 30_000 } else { 40_000 };
            assert!(call.at.0 >= due && call.at.0 < due + 100, "{call:?}");
        }
        call.delivered();
    }
    assert_eq!(next, [(1, 1, None), (3, 1, None), (0, 2, Some(0)), (4, 3, Some(0))]);
    time_passes(LONG).await;
    assert_eq!((lanes(&run.log), watermark(&run.log)), (Vec::new(), 5));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn outputs_and_progress_are_one_flush() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a", "a"]).await;
    run.call_of(0).await.delivered();
    run.log.commits(1).await;
    run.log.open(false);
    run.call_of(1).await.delivered();
    run.call_of(2).await.answer(Outcome::Dead);
    time_passes(LONG).await;
    let mut run = run.restart().await;
    assert!(committed(&run.log, Topic::Dlq).is_empty());
    run.take_over(0, 2).await;
    run.call_of(1).await.delivered();
    run.call_of(2).await.delivered();
    run.quiet(LONG).await;
    let log = run.stop().await;
    for offset in 0..3 {
        assert_eq!(of(&log, offset), ["1 delivered"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_in_flight_and_not_for_ever() {
    let mut run = start(FakeLog::new());
    run.assign(0, 1).await;
    run.give(0, 1, &["a", "a"]).await;
    let (first, _never) = (run.call_of(0).await, run.call_of(1).await);
    run.stop.cancel();
    first.delivered();
    run.log.open(false);
    let began = Instant::now();
    run.ended().await.unwrap();
    assert!(began.elapsed() <= super::super::STOP_DEADLINE + super::super::STOP_COMMIT);
}
