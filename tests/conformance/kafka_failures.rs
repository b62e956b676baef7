//! What can go wrong between a member, its producer and the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use tidegate::kafka::{KafkaConfig, KafkaLog};
use tidegate::model::ids::{Offset, Partition};
use tidegate::model::topic::Topic;
use tidegate::stream::log::{Flushed, From, Log, LogError};

use crate::harness::{DEADLINE, Stage, World as _, everything, output, part, text, texts, within};
use crate::kafka::Kafka;
use crate::proxy::{Lose, Proxy};

/// A transaction of some other program, open, with one record in a partition.
async fn open_transaction(world: &Kafka, topic: Topic, partition: i32, key: &str) -> Arc<FutureProducer> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &world.brokers)
        .set("transactional.id", format!("{}.other", world.prefix))
        .create()
        .unwrap();
    let producer = Arc::new(producer);
    blocking(&producer, |p| {
        p.init_transactions(Duration::from_secs(30)).unwrap();
        p.begin_transaction().unwrap();
    })
    .await;
    let name = topic.full_name(&world.prefix);
    let record = FutureRecord::to(&name).partition(partition).key(key).payload("in a transaction");
    producer.send(record, Duration::from_secs(5)).await.unwrap();
    producer
}

async fn blocking(producer: &Arc<FutureProducer>, call: impl FnOnce(&FutureProducer) + Send + 'static) {
    let producer = producer.clone();
    tokio::task::spawn_blocking(move || call(&producer)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_open_and_aborted_transactions_are_not_seen() {
    let world = Kafka::create().await;
    let log = world.open("a").await;
    let other = open_transaction(&world, Topic::Deliveries, 0, "k").await;
    log.append(vec![output(Topic::Deliveries, 0, "k", "after")]).await.unwrap();
    let mut reader = log.read(Topic::Deliveries, Partition(0), From::Start).await.unwrap();
    let while_open = reader.next(10, Duration::from_millis(300)).await.unwrap();
    assert!(while_open.records.is_empty() && while_open.position == Offset(0), "{while_open:?}");

    blocking(&other, |p| p.abort_transaction(Duration::from_secs(30)).unwrap()).await;
    let found = within("the record after it", async {
        loop {
            let batch = reader.next(10, Duration::from_millis(200)).await.unwrap();
            if !batch.records.is_empty() {
                break batch.records;
            }
        }
    })
    .await;
    assert_eq!(found.iter().map(text).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_at_the_end_is_past_the_markers_of_transactions() {
    let world = Kafka::create().await;
    let log = world.open("a").await;
    let other = open_transaction(&world, Topic::Deliveries, 0, "k").await;
    blocking(&other, |p| p.abort_transaction(Duration::from_secs(30)).unwrap()).await;
    // The coordinator answers before it has written the markers.
    let end = Offset(2);
    within("a record and a marker", async { while log.end(Topic::Deliveries, Partition(0)).await.unwrap() < end {} })
        .await;
    let mut reader = log.read(Topic::Deliveries, Partition(0), From::Start).await.unwrap();
    within("the position at the end", async {
        while reader.next(10, Duration::from_millis(200)).await.unwrap().position < end {}
    })
    .await;

    // A member is told of such positions too: else the last marker would count as lag for ever.
    let other = open_transaction(&world, Topic::Events, 1, "k").await;
    blocking(&other, |p| p.commit_transaction(Duration::from_secs(30)).unwrap()).await;
    let mut stage = Stage::join(&log, Topic::Events).await;
    let past = |s: &Stage| s.held.get(&Partition(1)).is_some_and(|h| h.position == Some(Offset(2)));
    stage.until("the position past the marker", past).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_not_loaded_before_a_predecessors_open_transaction_is_settled() {
    let world = Kafka::create().await;
    let log = world.open("a").await;
    log.append(vec![output(Topic::Retry, 2, "before", "1")]).await.unwrap();
    let other = open_transaction(&world, Topic::Retry, 2, "pending").await;
    let loading = tokio::spawn({
        let log = log.clone();
        async move { log.load(Topic::Retry, Partition(2)).await.unwrap() }
    });
    // A load that does not wait is over in a few milliseconds.
    let mut reader = log.read(Topic::Retry, Partition(2), From::Start).await.unwrap();
    assert_eq!(reader.next(10, Duration::from_secs(5)).await.unwrap().records.len(), 1);
    assert!(reader.next(10, Duration::from_millis(500)).await.unwrap().records.is_empty());
    assert!(!loading.is_finished());
    blocking(&other, |p| p.commit_transaction(Duration::from_secs(30)).unwrap()).await;
    let rows = within("the table", loading).await.unwrap();
    assert_eq!(rows.iter().map(text).collect::<Vec<_>>(), ["1", "in a transaction"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_does_not_begin_before_its_predecessors_offsets_are_settled() {
    let world = Kafka::create().await;
    let log = world.open("heir").await;
    log.append((0..8).map(|i| output(Topic::Events, 0, "k", &format!("e{i}"))).collect()).await.unwrap();
    let other = open_transaction(&world, Topic::Deliveries, 0, "k").await;
    // Another program's member of the group: sends offsets into its transaction, and is gone before it commits.
    let topic = Topic::Events.full_name(&world.prefix);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &world.brokers).set("group.id", format!("{}.match", world.prefix));
    let member: BaseConsumer = config.set("partition.assignment.strategy", "cooperative-sticky").create().unwrap();
    member.subscribe(&[&topic]).unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(5)).unwrap();
    blocking(&other, move |p| {
        let until = Instant::now() + DEADLINE;
        while member.assignment().unwrap().count() < 4 && Instant::now() < until {
            member.poll(Duration::from_millis(50));
        }
        let metadata = member.group_metadata().unwrap();
        p.send_offsets_to_transaction(&offsets, &metadata, Duration::from_secs(10)).unwrap();
    })
    .await;

    let mut heir = Stage::join(&log, Topic::Events).await;
    heir.until("the partitions without a transaction", |s| s.held.len() == 3).await;
    heir.step(Duration::from_millis(500)).await;
    assert!(!heir.held.contains_key(&Partition(0)), "it began at {:?}", heir.held[&Partition(0)].committed);
    blocking(&other, |p| p.commit_transaction(Duration::from_secs(30)).unwrap()).await;
    heir.until("the partition behind the transaction", |s| s.records.len() == 3).await;
    assert_eq!(heir.held[&Partition(0)].committed.as_ref().map(|c| c.offset), Some(Offset(5)));
    assert_eq!(heir.records.iter().map(text).collect::<Vec<_>>(), ["e5", "e6", "e7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_one_name_find_out_that_they_share_it() {
    let world = Kafka::create().await;
    let mut a = Stage::join(&world.open("same").await, Topic::Events).await;
    a.until("everything is assigned", |s| s.held.len() == 4).await;
    let mut b = Stage::join(&world.open("same").await, Topic::Events).await;
    a.during("b has its share", b.until("its share", |s| s.held.len() == 2)).await;
    let mut told = None;
    for round in 0..10 {
        for stage in [&a, &b] {
            let flushed = stage.member.committer.commit(stage.parts(0, &format!("{round}"))).await;
            if let Err(LogError::InstanceShared(name)) = flushed {
                told.get_or_insert(name);
            }
        }
        if told.is_some() {
            break;
        }
    }
    assert_eq!(told.as_deref(), Some("same"));
    let failed = |s: &Stage| matches!(s.failed, Some(LogError::InstanceShared(_)));
    tokio::select! {
        () = a.until("the failure is signalled", failed) => {}
        () = b.until("the failure is signalled", failed) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_static_member_of_one_name_ends_the_first() {
    let world = Kafka::create().await;
    let mut config = world.config("");
    config.instance = Some("same".into());
    let logs = [KafkaLog::connect(config.clone()).await.unwrap(), KafkaLog::connect(config).await.unwrap()];
    let [first, second] = logs.map(|log| Arc::new(log) as Arc<dyn Log>);
    let mut a = Stage::join(&first, Topic::Events).await;
    a.until("everything is assigned", |s| s.held.len() == 4).await;
    let old: Vec<_> = a.held.iter().map(|(p, h)| (*p, h.epoch)).collect();
    let mut b = Stage::join(&second, Topic::Events).await;
    b.until("everything is assigned to the second", |s| s.held.len() == 4).await;
    a.until("the failure is signalled", |s| matches!(s.failed, Some(LogError::InstanceShared(_)))).await;
    assert!(old.iter().all(|(p, e)| !a.member.committer.may_act(*p, *e)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_dropped_is_gone_from_its_group() {
    let world = Kafka::create().await;
    let a = KafkaLog::connect(world.config("a")).await.unwrap();
    let a = Arc::new(a);
    let mut stage = Stage::join(&(a.clone() as Arc<dyn Log>), Topic::Events).await;
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    drop(stage);
    assert!(a.close(Duration::from_secs(20)).await, "the member's threads did not end");
    let mut next = Stage::join(&world.open("b").await, Topic::Events).await;
    let began = Instant::now();
    next.until("everything is assigned at once", |s| s.held.len() == 4).await;
    assert!(began.elapsed() < Duration::from_secs(5), "the group waited for the session's end");
}

/// A log through a proxy, with time-outs as they are.
async fn through(proxy: &Proxy, world: &Kafka, instance: &str) -> Arc<dyn Log> {
    let mut config = world.config(instance);
    config.brokers = proxy.address.to_string();
    Arc::new(within("the broker answers", KafkaLog::connect(config)).await.unwrap())
}

/// Commits once while `lose` is in force; the outputs must be there once.
async fn commit_while_losing(lose: Lose) {
    let world = Kafka::create().await;
    let proxy = Proxy::start(&world.brokers).await;
    let log = through(&proxy, &world, "a").await;
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    let epoch = stage.epoch(0);
    let flush = |n: i64| {
        let outputs = (0..10).map(|i| output(Topic::Deliveries, 0, "k", &format!("{n}.{i}"))).collect();
        vec![part(Partition(0), epoch, n, &format!("1;{n};{n};"), outputs)]
    };
    let committer = stage.member.committer.clone();
    assert_eq!(committer.commit(flush(1)).await.unwrap(), Flushed::default());
    proxy.lose(lose);
    assert_eq!(stage.during("the flush", committer.commit(flush(2))).await.unwrap(), Flushed::default());
    assert!(proxy.lost() > 0, "nothing was lost, the test showed nothing");
    assert_eq!(committer.commit(flush(3)).await.unwrap(), Flushed::default());
    let direct = world.open("b").await;
    let expected: Vec<_> = (1..=3).flat_map(|n| (0..10).map(move |i| format!("{n}.{i}"))).collect();
    assert_eq!(texts(&direct, Topic::Deliveries, 0).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_not_written_twice() {
    commit_while_losing(Lose::AnswersToEndTxn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_written_again() {
    commit_while_losing(Lose::EndTxn).await;
}

/// The case that the broker does not catch: the member has joined again, so the metadata that the flush takes after its records
/// were written is good, while two of its partitions are another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_revoked_while_its_flush_is_written_is_left_out() {
    let world = Kafka::create().await;
    let proxy = Proxy::start(&world.brokers).await;
    let log = through(&proxy, &world, "a").await;
    let mut first = Stage::join(&log, Topic::Events).await;
    first.until("everything is assigned", |s| s.held.len() == 4).await;
    let mut parts = first.parts(0, "1");
    for p in &mut parts {
        p.outputs.push(output(Topic::Deliveries, 0, "k", &format!("of {}", p.commit.partition)));
    }
    proxy.lose(Lose::HoldProduce);
    let committer = first.member.committer.clone();
    let flush = tokio::spawn(async move { committer.commit(parts).await });
    first.during("the records are on their way", proxy.has_struck()).await;

    let mut second = Stage::join(&world.open("b").await, Topic::Events).await;
    first.during("the second has its share", second.until("its share", |s| s.held.len() == 2)).await;
    proxy.lose(Lose::Nothing);
    let flushed = first.during("the flush", flush).await.unwrap().unwrap();
    assert_eq!(sorted(flushed.left_out), sorted(first.revoked.clone()));
    let written = sorted(texts(&world.open("b").await, Topic::Deliveries, 0).await);
    assert_eq!(written, first.held.keys().map(|p| format!("of {p}")).collect::<Vec<_>>());
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_outlives_the_loss_of_the_broker() {
    let world = Kafka::create().await;
    let proxy = Proxy::start(&world.brokers).await;
    let log = through(&proxy, &world, "a").await;
    let mut stage = Stage::join(&log, Topic::Events).await;
    stage.until("everything is assigned", |s| s.held.len() == 4).await;
    let first = vec![part(Partition(0), stage.epoch(0), 1, "1", vec![output(Topic::Deliveries, 0, "k", "1")])];
    stage.member.committer.commit(first).await.unwrap();

    proxy.lose(Lose::Everything);
    let second = vec![part(Partition(0), stage.epoch(0), 2, "2", vec![output(Topic::Deliveries, 0, "k", "2")])];
    let committer = stage.member.committer.clone();
    let (gone, flushed) = tokio::join!(
        async {
            let refused = within("the append is answered", log.append(vec![output(Topic::Audit, 0, "k", "v")])).await;
            let asked = log.ping().await;
            proxy.lose(Lose::Nothing);
            (refused, asked)
        },
        stage.during("the flush", committer.commit(second)),
    );
    assert!(matches!(gone.0, Err(LogError::UnknownOutcome(_) | LogError::Unavailable(_))), "{gone:?}");
    assert!(matches!(&gone.1, Err(LogError::Unavailable(m)) if m.contains("KAFKA_BROKERS")), "{gone:?}");
    // The session may have ended meanwhile: then the flush is refused as a whole, and the next owner begins before it.
    let direct = world.open("b").await;
    let written = texts(&direct, Topic::Deliveries, 0).await;
    match flushed.unwrap().left_out.len() {
        0 => assert_eq!(written, ["1", "2"]),
        _ => assert_eq!(written, ["1"]),
    }
    within("the log answers again", async { while log.ping().await.is_err() {} }).await;
    within("an append goes through", async {
        while log.append(vec![output(Topic::Audit, 1, "k", "back")]).await.is_err() {}
    })
    .await;
    assert!(everything(&direct, Topic::Audit, 1).await.iter().any(|r| text(r) == "back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_broker_known_to_be_gone_an_append_is_refused_at_once() {
    let world = Kafka::create().await;
    let proxy = Proxy::start(&world.brokers).await;
    let log = through(&proxy, &world, "a").await;
    log.append(vec![output(Topic::Audit, 0, "k", "v")]).await.unwrap();
    proxy.lose(Lose::Everything);
    // Until the loss is known an append waits for its time-out, and cannot tell whether it arrived.
    within("the loss is known", async { while log.ping().await.is_ok() {} }).await;
    within("an append is refused for sure", async {
        while !matches!(log.append(vec![output(Topic::Audit, 0, "k", "v")]).await, Err(LogError::Unavailable(_))) {}
    })
    .await;
    let began = Instant::now();
    let refused = log.append(vec![output(Topic::Audit, 0, "k", "v")]).await;
    assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_told_with_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = KafkaLog::connect(KafkaConfig::new(free.to_string(), "p", 0)).await.err().unwrap().to_string();
    assert_eq!(
        refused,
        format!(
            "the log is not available: cannot reach Kafka at {free}: connection refused; is it running, is KAFKA_BROKERS right?"
        )
    );
    let mut config = KafkaConfig::new(free.to_string(), "p", 0);
    config.properties.insert("no.such.property".into(), "1".into());
    let refused = KafkaLog::connect(config).await.err().unwrap();
    assert!(matches!(&refused, LogError::Fatal(m) if m.contains("no.such.property")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_named() {
    let world = Kafka::create().await;
    let mut config = world.config("a");
    config.prefix = format!("{}x", world.prefix);
    let log = KafkaLog::connect(config).await.unwrap();
    for refused in [
        log.append(vec![output(Topic::Events, 0, "k", "v")]).await.map(drop),
        log.load(Topic::Events, Partition(0)).await.map(drop),
        log.partitions(Topic::Events).await.map(drop),
    ] {
        let fatal =
            matches!(&refused, Err(LogError::Fatal(m)) if m.contains("x.events") && m.contains("topology create"));
        assert!(fatal, "{refused:?}");
    }
}
