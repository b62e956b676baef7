//! The cases that every engine must pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate::model::ids::{Offset, Partition};
use tidegate::model::record::Received;
use tidegate::model::time::Timestamp;
use tidegate::model::topic::Topic;
use tidegate::stream::log::{Flushed, From, Log, LogError, READ_BYTES, SeatError};

use crate::harness::{Stage, World, everything, output, part, text, texts, tombstone, within};

/// Hands the names of all cases to a macro that makes tests of them.
macro_rules! each {
    ($engine:ident) => {
        $engine! {
            what_was_appended_is_read_back_whole_and_in_order,
            what_has_one_key_lies_where_kafkas_own_producers_put_it,
            a_record_that_is_too_large_is_refused_and_the_rest_of_the_log_goes_on,
            outputs_and_offsets_are_committed_together,
            metadata_of_four_thousand_characters_comes_back_as_it_was,
            a_committed_offset_may_go_back,
            progress_behind_the_logs_end_is_that_of_another_log,
            a_reader_rewinds_and_starts_where_it_is_told,
            a_reader_whose_offset_is_gone_is_told_where_the_log_starts,
            a_reader_may_seek_as_often_and_end_as_soon_as_it_likes,
            a_follower_reads_every_partition_from_where_it_is_told,
            a_follower_of_many_large_partitions_is_not_handed_all_of_them_at_once,
            a_member_whose_offset_is_gone_is_told_what_was_lost_and_goes_on,
            a_live_member_that_retention_overtakes_is_told_what_was_lost_and_goes_on,
            a_table_is_the_last_record_of_each_key_without_tombstones,
            a_stage_that_gives_no_room_back_is_given_no_more_than_its_bound,
            a_revoked_partition_is_left_out_and_the_others_are_committed,
            a_rebalance_waits_until_the_stage_has_drained,
            two_members_under_load_process_every_record_once_in_effect,
            of_two_that_take_a_seat_only_the_last_can_write,
        }
    };
}
pub(crate) use each;

pub async fn what_was_appended_is_read_back_whole_and_in_order(world: &dyn World) {
    let log = world.open("a").await;
    let outputs: Vec<_> = (0..500).map(|i| output(Topic::Events, 1, &format!("k{i}"), &format!("v{i}"))).collect();
    let places = log.append(outputs.clone()).await.unwrap();
    let found = everything(&log, Topic::Events, 1).await;
    assert_eq!(found.len(), 500);
    for ((found, sent), (partition, offset)) in found.iter().zip(&outputs).zip(&places) {
        assert_eq!(found.record, sent.record);
        assert_eq!((found.partition, found.offset), (*partition, *offset));
    }
    assert_eq!(log.partitions(Topic::Events).await.unwrap(), 4);
    assert!(log.end(Topic::Events, Partition(1)).await.unwrap() > places[499].1);
}

pub async fn what_has_one_key_lies_where_kafkas_own_producers_put_it(world: &dyn World) {
    let log = world.open("a").await;
    // Hashes of Kafka's own test of its partitioner, over four partitions.
    let known = [("21", -973_932_308_i32), ("foobar", -790_332_482), ("abc", 479_470_107)];
    for (key, hash) in known {
        let mut keyed = output(Topic::Events, 0, key, "v");
        keyed.partition = None;
        let place = log.append(vec![keyed]).await.unwrap()[0].0;
        assert_eq!(place, Partition((hash & i32::MAX) % 4), "{key}");
    }
}

pub async fn a_record_that_is_too_large_is_refused_and_the_rest_of_the_log_goes_on(world: &dyn World) {
    let log = world.open("a").await;
    let large = output(Topic::Events, 0, "k", &"x".repeat(5 * 1024 * 1024));
    let refused = log.append(vec![large.clone()]).await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { topic: Topic::Events, bytes }) if bytes > 5_000_000),
        "{refused:?}"
    );

    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    let refused = stage.member.committer.commit(vec![part(Partition(0), stage.epoch(0), 0, "1", vec![large])]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    let small = output(Topic::Events, 0, "k", "small");
    let kept = stage.member.committer.commit(vec![part(Partition(0), stage.epoch(0), 0, "2", vec![small])]).await;
    assert_eq!(kept.unwrap(), Flushed::default());
}

pub async fn outputs_and_offsets_are_committed_together(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..10).map(|i| output(Topic::Events, 2, "k", &format!("e{i}"))).collect()).await.unwrap();
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("the records are there", |s| s.records.len() == 10).await;
    let outputs = stage.records.iter().map(|r| output(Topic::Deliveries, 0, "d", &text(r))).collect();
    let flush = part(Partition(2), stage.epoch(2), 10, "1;10;1;", outputs);
    assert_eq!(stage.member.committer.commit(vec![flush]).await.unwrap(), Flushed::default());
    assert_eq!(texts(&log, Topic::Deliveries, 0).await, (0..10).map(|i| format!("e{i}")).collect::<Vec<_>>());

    drop(stage);
    let mut next = Stage::join(&world.open("b").await, Topic::Events).await;
    next.until("everything is assigned", |s| s.held.len() == 4).await;
    let committed = next.held[&Partition(2)].committed.clone().expect("an offset is committed");
    assert_eq!((committed.offset, committed.metadata.as_str()), (Offset(10), "1;10;1;"));
    assert!(next.held[&Partition(1)].committed.is_none());
    log.append(vec![output(Topic::Events, 2, "k", "after")]).await.unwrap();
    next.until("the next record", |s| !s.records.is_empty()).await;
    assert_eq!(next.records.iter().map(text).collect::<Vec<_>>(), ["after"]);
}

pub async fn metadata_of_four_thousand_characters_comes_back_as_it_was(world: &dyn World) {
    let metadata = ["", "1;0;1;", &"x".repeat(4_000), &"\u{e9}\u{4e2d}".repeat(1_000)];
    let log = world.open("a").await;
    log.append(vec![output(Topic::Events, 0, "k", "v"); metadata.len()]).await.unwrap();
    for (i, sent) in metadata.iter().enumerate() {
        let mut stage = Stage::join(&log, Topic::Events).await;
        stage.until("everything is assigned", |s| s.held.len() == 4).await;
        if i > 0 {
            let found = stage.held[&Partition(0)].committed.clone().expect("committed before");
            assert_eq!(found.metadata, metadata[i - 1]);
        }
        let offset = i64::try_from(i).unwrap();
        stage.member.committer.commit(vec![part(Partition(0), stage.epoch(0), offset, sent, vec![])]).await.unwrap();
    }
}

pub async fn progress_behind_the_logs_end_is_that_of_another_log(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..3).map(|i| output(Topic::Events, 0, "k", &format!("e{i}"))).collect()).await.unwrap();
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    stage.member.committer.commit(vec![part(Partition(0), stage.epoch(0), 5_000, "1;5000;9;", vec![])]).await.unwrap();
    drop(stage);
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("the records that are there", |s| s.records.len() == 3).await;
    assert!(stage.held[&Partition(0)].committed.is_none(), "a stage would pass over records below it");
}

pub async fn a_committed_offset_may_go_back(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..5).map(|i| output(Topic::Events, 0, "k", &format!("e{i}"))).collect()).await.unwrap();
    for (number, offset) in [(1, 5), (2, 2)] {
        let mut stage = Stage::join(&log, Topic::Events).await;
        stage.until("everything is assigned", |s| s.held.len() == 4).await;
        let flush = part(Partition(0), stage.epoch(0), offset, &format!("{number}"), vec![]);
        stage.member.committer.commit(vec![flush]).await.unwrap();
    }
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("the records from 2 on", |s| s.records.len() == 3).await;
    assert_eq!(stage.records.iter().map(text).collect::<Vec<_>>(), ["e2", "e3", "e4"]);
}

pub async fn a_reader_rewinds_and_starts_where_it_is_told(world: &dyn World) {
    let log = world.open("a").await;
    let before = log.append(vec![output(Topic::Deliveries, 3, "k", "v0")]).await.unwrap()[0].1;
    let first = within("the first record", async {
        let mut reader = log.read(Topic::Deliveries, Partition(3), From::At(before)).await.unwrap();
        loop {
            if let Some(found) = reader.next(1, Duration::from_millis(200)).await.unwrap().records.pop() {
                break found;
            }
        }
    })
    .await;
    let later = within("the clock ticks", async {
        loop {
            let place = log.append(vec![output(Topic::Deliveries, 3, "k", "later")]).await.unwrap()[0].1;
            let mut reader = log.read(Topic::Deliveries, Partition(3), From::At(place)).await.unwrap();
            let found = reader.next(1, Duration::from_secs(5)).await.unwrap().records.remove(0);
            if found.timestamp > first.timestamp {
                break found;
            }
        }
    })
    .await;
    let mut by_time = log.read(Topic::Deliveries, Partition(3), From::Time(later.timestamp)).await.unwrap();
    let found = by_time.next(1, Duration::from_secs(5)).await.unwrap();
    assert!(found.records[0].timestamp >= later.timestamp && found.records[0].offset > first.offset);
    let mut future = log.read(Topic::Deliveries, Partition(3), From::Time(Timestamp(i64::MAX / 4))).await.unwrap();
    assert!(future.next(1, Duration::from_millis(50)).await.unwrap().records.is_empty());

    let mut reader = log.read(Topic::Deliveries, Partition(3), From::Start).await.unwrap();
    for _ in 0..3 {
        let batch = reader.next(1, Duration::from_secs(5)).await.unwrap();
        assert_eq!(batch.records.iter().map(|r| r.offset).collect::<Vec<_>>(), [before]);
        assert_eq!(batch.position, before.next());
        reader.seek(before).await.unwrap();
    }
}

pub async fn a_reader_whose_offset_is_gone_is_told_where_the_log_starts(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..10).map(|i| output(Topic::Deliveries, 0, "k", &format!("v{i}"))).collect()).await.unwrap();
    world.delete_before(Topic::Deliveries, Partition(0), Offset(6)).await;
    let mut reader = log.read(Topic::Deliveries, Partition(0), From::At(Offset(2))).await.unwrap();
    let refused = reader.next(10, Duration::from_secs(10)).await;
    let told =
        LogError::OutOfRange { topic: Topic::Deliveries, partition: Partition(0), asked: Offset(2), start: Offset(6) };
    assert_eq!(refused.unwrap_err().to_string(), told.to_string());
    reader.seek(Offset(6)).await.unwrap();
    let batch = reader.next(10, Duration::from_secs(10)).await.unwrap();
    assert_eq!(batch.records.first().map(text).as_deref(), Some("v6"));
}

pub async fn a_reader_may_seek_as_often_and_end_as_soon_as_it_likes(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..10).map(|i| output(Topic::Events, 0, "k", &format!("v{i}"))).collect()).await.unwrap();
    for round in 0..20 {
        let mut reader = log.read(Topic::Events, Partition(0), From::Start).await.unwrap();
        for i in 0..10 {
            let at = Offset((round + 3 * i) % 10);
            reader.seek(at).await.unwrap();
            if round % 2 == 0 {
                let batch = reader.next(1, Duration::from_secs(5)).await.unwrap();
                assert_eq!(batch.records.iter().map(|r| r.offset).collect::<Vec<_>>(), [at]);
            }
        }
    }
}

pub async fn a_follower_reads_every_partition_from_where_it_is_told(world: &dyn World) {
    let log = world.open("a").await;
    let of = |topic, partition: i32, n: i32| output(topic, partition, "k", &format!("{topic}{partition}{n}"));
    for n in 0..10 {
        log.append(vec![of(Topic::Events, 0, n), of(Topic::Events, 3, n), of(Topic::Attempts, 1, n)]).await.unwrap();
    }
    let places = vec![
        (Topic::Events, Partition(0), Offset(4)),
        (Topic::Events, Partition(3), Offset(0)),
        (Topic::Events, Partition(2), Offset(0)),
        (Topic::Attempts, Partition(1), Offset(9)),
    ];
    let mut follower = log.follow(places).await.unwrap();
    let mut found: BTreeMap<(Topic, Partition), Vec<i64>> = BTreeMap::new();
    let mut more = async |wanted: usize| {
        within("what was written is followed", async {
            while found.values().map(Vec::len).sum::<usize>() < wanted {
                for (topic, partition, batch) in follower.next(5, Duration::from_secs(1)).await.unwrap() {
                    let offsets = found.entry((topic, partition)).or_default();
                    offsets.extend(batch.records.iter().map(|r| r.offset.0));
                    assert!(offsets.last().is_none_or(|last| batch.position.0 > *last), "{offsets:?} {batch:?}");
                }
            }
        })
        .await;
        found.clone()
    };
    more(17).await;
    log.append(vec![of(Topic::Events, 2, 0), of(Topic::Attempts, 1, 10)]).await.unwrap();
    let found = more(19).await;
    assert_eq!(found[&(Topic::Events, Partition(0))], (4..10).collect::<Vec<_>>());
    assert_eq!(found[&(Topic::Events, Partition(3))], (0..10).collect::<Vec<_>>());
    assert_eq!(found[&(Topic::Events, Partition(2))], [0]);
    assert_eq!(found[&(Topic::Attempts, Partition(1))], [9, 10]);

    world.delete_before(Topic::Events, Partition(3), Offset(6)).await;
    let places = vec![(Topic::Events, Partition(0), Offset(9)), (Topic::Events, Partition(3), Offset(2))];
    let mut follower = log.follow(places).await.unwrap();
    let told = within("what is gone is told", async {
        loop {
            if let Err(error) = follower.next(5, Duration::from_secs(1)).await {
                break error;
            }
        }
    })
    .await;
    assert!(
        matches!(told, LogError::OutOfRange { topic: Topic::Events, partition: Partition(3), start: Offset(6), .. }),
        "{told:?}"
    );
}

pub async fn a_follower_of_many_large_partitions_is_not_handed_all_of_them_at_once(world: &dyn World) {
    let log = world.open("a").await;
    let large = "x".repeat(256 << 10);
    for partition in 0..4 {
        log.append((0..14).map(|_| output(Topic::Events, partition, "k", &large)).collect()).await.unwrap();
    }
    let places = (0..4).map(|p| (Topic::Events, Partition(p), Offset(0))).collect();
    let mut follower = log.follow(places).await.unwrap();
    let mut seen = 0;
    within("all of it is followed", async {
        while seen < 4 * 14 {
            let found = follower.next(10_000, Duration::from_secs(1)).await.unwrap();
            let records: Vec<_> = found.iter().flat_map(|(.., batch)| &batch.records).collect();
            let bytes: usize = records.iter().map(|r| r.record.size()).sum();
            assert!(bytes < READ_BYTES + 2 * large.len() + 4_096, "{bytes} bytes at once");
            seen += records.len();
        }
    })
    .await;
}

pub async fn a_member_whose_offset_is_gone_is_told_what_was_lost_and_goes_on(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..10).map(|i| output(Topic::Events, 0, "k", &format!("v{i}"))).collect()).await.unwrap();
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    stage.member.committer.commit(vec![part(Partition(0), stage.epoch(0), 2, "1", vec![])]).await.unwrap();
    drop(stage);
    world.delete_before(Topic::Events, Partition(0), Offset(6)).await;

    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("the records that are left", |s| s.records.len() == 4).await;
    assert_eq!(stage.skipped, [(Partition(0), Offset(2), Offset(6))]);
    assert_eq!(stage.held[&Partition(0)].committed.as_ref().map(|c| c.offset), Some(Offset(2)));
    assert_eq!(text(&stage.records[0]), "v6");
}

pub async fn a_live_member_that_retention_overtakes_is_told_what_was_lost_and_goes_on(world: &dyn World) {
    let log = world.open("a").await;
    log.append((0..500).map(|i| output(Topic::Events, 0, "k", &format!("v{i}"))).collect()).await.unwrap();
    let mut stage = Stage::bounded(&log, Topic::Events, 50).await;
    stage.release = false;
    stage.until("the first records", |s| s.records.len() == 50).await;
    stage.member.committer.commit(vec![part(Partition(0), stage.epoch(0), 10, "1", vec![])]).await.unwrap();
    // Out of room, so that nothing more is read; then the log is cut behind the reader's back.
    stage.step(Duration::from_secs(1)).await;
    world.delete_before(Topic::Events, Partition(0), Offset(400)).await;
    let held = stage.records.iter().map(|r| r.record.size()).sum();
    stage.member.credit.release(50, held);
    stage.release = true;
    let last = |s: &Stage| s.records.last().is_some_and(|r| r.offset == Offset(499));
    stage.until("the records that are left", last).await;
    assert!(
        matches!(stage.skipped[..], [(Partition(0), from, Offset(400))] if from >= Offset(10)),
        "{:?}",
        stage.skipped
    );
    let offsets: Vec<_> = stage.records.iter().map(|r| r.offset.0).filter(|o| *o >= 50).collect();
    assert_eq!(offsets, (400..500).collect::<Vec<_>>());
}

pub async fn a_table_is_the_last_record_of_each_key_without_tombstones(world: &dyn World) {
    let log = world.open("a").await;
    assert!(log.load(Topic::Retry, Partition(1)).await.unwrap().is_empty());
    let of = |key: &str, value: &str| output(Topic::Retry, 1, key, value);
    log.append(vec![of("a", "1"), of("b", "1"), of("c", "1"), of("a", "2"), tombstone(Topic::Retry, 1, "b")])
        .await
        .unwrap();
    let rows = log.load(Topic::Retry, Partition(1)).await.unwrap();
    assert_eq!(rows.iter().map(text).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(rows[0].record.key.as_deref(), Some(b"c".as_slice()));
    log.append(vec![tombstone(Topic::Retry, 1, "c"), tombstone(Topic::Retry, 1, "a")]).await.unwrap();
    assert!(log.load(Topic::Retry, Partition(1)).await.unwrap().is_empty());
}

pub async fn a_stage_that_gives_no_room_back_is_given_no_more_than_its_bound(world: &dyn World) {
    let log = world.open("a").await;
    let all = 2_000;
    log.append((0..all).map(|i| output(Topic::Events, i % 4, "k", &format!("{i}"))).collect()).await.unwrap();
    let mut stage = Stage::bounded(&log, Topic::Events, 100).await;
    stage.release = false;
    stage.until("the bound is reached", |s| s.records.len() >= 100).await;
    // Long enough for the engine to run out of patience and pause.
    let more = tokio::time::timeout(Duration::from_millis(1_500), stage.member.signals.recv()).await;
    assert!(more.is_err(), "more than the bound: {more:?}");
    assert_eq!(stage.records.len(), 100);
    let held = stage.records.iter().map(|r| r.record.size()).sum();
    stage.member.credit.release(100, held);
    stage.release = true;
    stage.until("the rest, each once", |s| s.records.len() >= all as usize).await;
    let mut seen: Vec<_> = stage.records.iter().map(|r| (r.partition, r.offset)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all as usize);
}

pub async fn a_revoked_partition_is_left_out_and_the_others_are_committed(world: &dyn World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let mut first = Stage::join(&a, Topic::Events).await;
    first.until("everything is assigned", |s| s.held.len() == 4).await;
    let before: BTreeMap<_, _> = first.held.iter().map(|(p, h)| (*p, h.epoch)).collect();

    let mut second = Stage::join(&b, Topic::Events).await;
    first.during("the second member has its share", second.until("its share", |s| s.held.len() == 2)).await;
    assert_eq!((first.held.len(), second.held.len()), (2, 2));
    for (partition, epoch) in &first.revoked {
        assert!(!first.member.committer.may_act(*partition, *epoch));
        assert!(second.member.committer.may_act(*partition, second.held[partition].epoch));
    }

    let flush = before
        .iter()
        .map(|(p, e)| part(*p, *e, 0, "1", vec![output(Topic::Deliveries, 0, "k", &format!("of {p}"))]))
        .collect();
    let flushed = first.member.committer.commit(flush).await.unwrap();
    let mut left_out = flushed.left_out.clone();
    left_out.sort_unstable();
    let mut revoked = first.revoked.clone();
    revoked.sort_unstable();
    assert_eq!(left_out, revoked);
    let mut written = texts(&a, Topic::Deliveries, 0).await;
    written.sort_unstable();
    assert_eq!(written, first.held.keys().map(|p| format!("of {p}")).collect::<Vec<_>>());

    let gone = first.revoked.iter().map(|(p, e)| part(*p, *e, 0, "2", vec![])).collect();
    assert_eq!(first.member.committer.commit(gone).await.unwrap().left_out.len(), 2);
}

pub async fn a_rebalance_waits_until_the_stage_has_drained(world: &dyn World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let mut first = Stage::join(&a, Topic::Events).await;
    first.hold_drains = true;
    first.until("everything is assigned", |s| s.held.len() == 4).await;
    let mut second = Stage::join(&b, Topic::Events).await;
    first.until("a revoke", |s| !s.revoked.is_empty()).await;

    // What is being drained may still act and commit, and the new owner begins behind it.
    let revoked = first.revoked.clone();
    assert!(revoked.iter().all(|(p, e)| first.member.committer.may_act(*p, *e)));
    let last = revoked.iter().map(|(p, e)| part(*p, *e, 0, "drained", vec![])).collect();
    assert_eq!(first.member.committer.commit(last).await.unwrap(), Flushed::default());
    assert!(second.held.is_empty());
    first.drains.clear();
    first.during("the second has its share", second.until("its share", |s| s.held.len() == 2)).await;
    for (partition, epoch) in revoked {
        assert!(!first.member.committer.may_act(partition, epoch));
        let committed = second.held[&partition].committed.as_ref().map(|c| c.metadata.clone());
        assert_eq!(committed.as_deref(), Some("drained"));
    }
}

pub async fn of_two_that_take_a_seat_only_the_last_can_write(world: &dyn World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let of = |who: &str, i: usize| vec![output(Topic::Catalog, 0, &format!("{who}{i}"), &format!("{who}{i}"))];
    for round in 0..5 {
        let mut first = a.seat("catalog", Duration::from_secs(10)).await.unwrap();
        first.commit(of("first", round)).await.unwrap();
        let mut second = b.seat("catalog", Duration::from_secs(10)).await.unwrap();
        let end = b.end(Topic::Catalog, Partition(0)).await.unwrap();
        let (lost, won) = tokio::join!(first.commit(of("zombie", round)), second.commit(of("second", round)));
        assert!(matches!(lost, Err(SeatError::Fenced)), "{lost:?}");
        won.unwrap();
        assert!(matches!(first.commit(of("zombie", round)).await, Err(SeatError::Fenced)));
        assert!(b.end(Topic::Catalog, Partition(0)).await.unwrap() > end);
    }
    let written = texts(&a, Topic::Catalog, 0).await;
    let expected: Vec<_> = (0..5).flat_map(|i| [format!("first{i}"), format!("second{i}")]).collect();
    assert_eq!(written, expected);
}

/// Copies what it was given to `deliveries` and commits that with its offsets, partition by partition.
async fn copy(stage: &mut Stage, flushes: &mut u64) {
    let mut by_partition: BTreeMap<Partition, Vec<Received>> = BTreeMap::new();
    for r in std::mem::take(&mut stage.records) {
        if stage.held.contains_key(&r.partition) {
            by_partition.entry(r.partition).or_default().push(r);
        }
    }
    let parts: Vec<_> = by_partition
        .into_iter()
        .filter_map(|(p, records)| {
            let next = records.last()?.offset.next();
            *flushes += 1;
            let outputs = records.iter().map(|r| output(Topic::Deliveries, p.0, "k", &text(r))).collect();
            Some(part(p, stage.held[&p].epoch, next.0, &format!("{flushes} of {:p}", &raw const *stage), outputs))
        })
        .collect();
    if !parts.is_empty() {
        stage.member.committer.commit(parts).await.unwrap();
    }
}

pub async fn two_members_under_load_process_every_record_once_in_effect(world: &dyn World) {
    const EVENTS: i32 = 4_000;
    let (a, b) = (world.open("a").await, world.open("b").await);
    let load = tokio::spawn({
        let log = a.clone();
        async move {
            for chunk in 0..EVENTS / 40 {
                let events = (chunk * 40..(chunk + 1) * 40).map(|i| output(Topic::Events, i % 4, "k", &format!("{i}")));
                log.append(events.collect()).await.unwrap();
            }
        }
    });
    // By what is read: an end counts the markers of transactions too.
    let done = |log: Arc<dyn Log>| async move {
        let mut total = 0;
        for p in 0..4 {
            total += texts(&log, Topic::Deliveries, p).await.len();
        }
        total >= EVENTS as usize
    };
    let mut flushes = 0;
    let mut first = Stage::join(&a, Topic::Events).await;
    let mut second: Option<Stage> = None;
    let mut steps = 0;
    within("everything is copied", async {
        loop {
            steps += 1;
            // The second member comes and goes while records flow.
            match steps % 40 {
                10 => second = Some(Stage::join(&b, Topic::Events).await),
                39 => second = None,
                _ => {}
            }
            for stage in [Some(&mut first), second.as_mut()].into_iter().flatten() {
                stage.step(Duration::from_millis(20)).await;
                copy(stage, &mut flushes).await;
            }
            if load.is_finished() && steps % 10 == 0 && done(a.clone()).await {
                break;
            }
        }
    })
    .await;
    let mut seen: Vec<i32> = Vec::new();
    for p in 0..4 {
        let copied = texts(&b, Topic::Deliveries, p).await;
        let numbers: Vec<i32> = copied.iter().map(|t| t.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "the order of partition {p} was not kept");
        seen.extend(numbers);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>());
}
