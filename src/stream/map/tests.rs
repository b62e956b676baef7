use super::*;
use crate::model::record::Received;
use crate::model::time::ManualClock;
use crate::stream::fake::{FakeLog, record, time_passes};
use crate::stream::log::{Committed, Drained};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Copies each record to `deliveries`, and tells what it recalled and forgot as records of `attempts`.
struct Copy {
    memory: Duration,
    seen: Vec<String>,
    /// Records called `newer` wait until this is true.
    ready: watch::Receiver<bool>,
}

impl Copy {
    fn tell(out: &mut Vec<Output>, topic: Topic, text: &str) {
        out.push(Output { topic, partition: None, record: record("k", text) });
    }
}

#[async_trait::async_trait]
impl Map for Copy {
    async fn prepare(&mut self, records: &[Received]) {
        if records.iter().any(|r| text(&r.record) == "newer") {
            self.ready.wait_for(|ready| *ready).await.unwrap();
        }
    }

    fn map(&mut self, received: &Received, out: &mut Vec<Output>) {
        for seen in self.seen.drain(..) {
            Copy::tell(out, Topic::Attempts, &seen);
        }
        let text = text(&received.record);
        let copies = text.strip_prefix("many ").map_or(1, |n| n.parse().unwrap());
        for _ in 0..copies {
            Copy::tell(out, Topic::Deliveries, &text);
        }
    }

    fn memory(&self) -> Duration {
        self.memory
    }

    fn recall(&mut self, received: &Received) {
        self.seen.push(format!("recalled {}", text(&received.record)));
    }

    fn forget(&mut self, partition: Partition) {
        self.seen.push(format!("forgot {partition}"));
    }
}

fn text(record: &crate::model::record::Record) -> String {
    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
}

struct Running {
    log: FakeLog,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), LogError>>,
}

fn start(log: FakeLog, memory: Duration) -> Running {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
    let membership = Membership { stage: "match", topic: Topic::Events, max_records: 100, max_bytes: 1 << 20 };
    let (ready, is_ready) = watch::channel(false);
    let stage = Copy { memory, seen: Vec::new(), ready: is_ready };
    let runner = MapRunner::new(Arc::new(log.clone()), clock, membership, stage);
    let stop = CancellationToken::new();
    Running { log, ready, stop: stop.clone(), task: tokio::spawn(runner.run(stop)) }
}

impl Running {
    async fn assign(&self, partition: i32, committed: Option<&str>) {
        let committed = committed.map(|metadata| {
            let offset = Offset(metadata.split(';').nth(1).unwrap().parse().unwrap());
            Committed { offset, metadata: metadata.into() }
        });
        let assignment = Assignment { partition: Partition(partition), epoch: Epoch(1), committed };
        self.log.signal(Signal::Assigned(vec![assignment])).await;
    }

    async fn records(&self, partition: i32, epoch: u64, texts: &[&str]) {
        let records: Vec<_> =
            texts.iter().map(|t| self.log.append_at(Topic::Events, partition, 0, record("k", t))).collect();
        let position = records.last().unwrap().offset.next();
        let (partition, epoch) = (Partition(partition), Epoch(epoch));
        self.log.signal(Signal::Records { partition, epoch, records, position }).await;
    }

    async fn stop(self) -> FakeLog {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.log
    }

    async fn revoke(&self, partition: i32, epoch: u64) -> tokio::sync::oneshot::Receiver<()> {
        let (drained, gone) = Drained::new();
        let partitions = vec![(Partition(partition), Epoch(epoch))];
        self.log.signal(Signal::Revoked { partitions, deadline: Duration::from_secs(5), drained }).await;
        gone
    }
}

fn texts(outputs: &[Output]) -> Vec<String> {
    outputs.iter().map(|o| text(&o.record)).collect()
}

#[tokio::test]
async fn outputs_keep_the_order_of_their_input_across_flushes() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.log.open(false);
    for batch in [["a", "b"], ["c", "d"], ["e", "f"]] {
        run.records(0, 1, &batch).await;
    }
    run.log.open(true);
    assert_eq!(texts(&run.log.outputs(6).await), ["a", "b", "c", "d", "e", "f"]);
    run.stop().await;
}

#[tokio::test]
async fn each_flush_carries_the_next_number_so_that_an_unknown_outcome_can_be_read_back() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, Some("1;0;7;")).await;
    run.records(0, 1, &["a"]).await;
    run.log.commits(1).await;
    run.records(0, 1, &["b"]).await;
    let commits = run.log.commits(2).await;
    let metadata: Vec<_> = commits.iter().map(|c| c[0].commit.metadata.as_str()).collect();
    assert_eq!(metadata, ["1;1;8;", "1;2;9;"]);
    run.stop().await;
}

#[tokio::test]
async fn a_lost_partition_takes_nothing_of_the_others_with_it() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.assign(1, None).await;
    run.log.open(false);
    run.records(0, 1, &["lost"]).await;
    run.records(1, 1, &["kept"]).await;
    run.log.revoke(0, 1);
    run.log.signal(Signal::Lost { partitions: vec![(Partition(0), Epoch(1))] }).await;
    run.records(0, 1, &["late"]).await;
    run.log.open(true);
    run.log.commits(1).await;
    let log = run.stop().await;
    let outputs: Vec<_> = texts(&log.outputs(1).await).into_iter().filter(|t| !t.starts_with("forgot")).collect();
    assert_eq!(outputs, ["kept"]);
}

#[tokio::test]
async fn a_rebalance_waits_until_what_was_mapped_is_committed() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.log.open(false);
    run.records(0, 1, &["a"]).await;
    let (drained, mut gone) = Drained::new();
    let partitions = vec![(Partition(0), Epoch(1))];
    run.log.signal(Signal::Revoked { partitions, deadline: Duration::from_secs(5), drained }).await;
    tokio::task::yield_now().await;
    assert!(gone.try_recv().is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Empty), "let go too early");
    run.log.open(true);
    assert!(gone.await.is_err(), "dropping it is the message");
    assert_eq!(texts(&run.log.outputs(1).await), ["a"]);
    run.stop().await;
}

#[tokio::test]
async fn room_is_given_back_for_all_that_was_read_also_for_partitions_that_are_gone() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.records(1, 9, &["not ours"]).await;
    run.records(0, 1, &["a", "b"]).await;
    run.log.commits(1).await;
    let log = run.stop().await;
    assert_eq!(log.credit().0, 3);
}

#[tokio::test]
async fn a_new_owner_recalls_the_recent_past_and_nothing_that_it_will_map() {
    let log = FakeLog::new();
    for (timestamp, name) in [(1, "old"), (990_000, "recent"), (995_000, "last"), (999_000, "to map")] {
        log.append_at(Topic::Events, 0, timestamp, record("k", name));
    }
    let run = start(log, Duration::from_secs(60));
    run.assign(0, Some("1;3;1;")).await;
    run.records(0, 1, &["next"]).await;
    let log = run.log.clone();
    assert_eq!(texts(&log.outputs(3).await), ["recalled recent", "recalled last", "next"]);
    run.stop().await;
}

#[tokio::test]
async fn gaps_are_passed_so_that_they_do_not_count_as_lag() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    let (partition, epoch) = (Partition(0), Epoch(1));
    run.log.signal(Signal::Records { partition, epoch, records: Vec::new(), position: Offset(7) }).await;
    let commits = run.log.commits(1).await;
    assert_eq!(commits[0][0].commit.offset, Offset(7));
    run.log.signal(Signal::Skipped { partition, epoch, from: Offset(7), to: Offset(90) }).await;
    let commits = run.log.commits(2).await;
    assert_eq!(commits[1][0].commit.offset, Offset(90));
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_does_not_wait_until_a_stage_is_ready() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.assign(1, None).await;
    run.records(1, 1, &["mapped"]).await;
    run.records(0, 1, &["newer"]).await;
    run.records(0, 1, &["behind"]).await;
    let gone = run.revoke(1, 1).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), gone).await.expect("another partition's revoke").is_err());
    assert_eq!(texts(&run.log.outputs(1).await), ["mapped"]);
    let gone = run.revoke(0, 1).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), gone).await.expect("its own revoke").is_err());
    run.assign(0, None).await;
    run.records(0, 1, &["newer", "last"]).await;
    run.ready.send_replace(true);
    let outputs = texts(&run.log.outputs(5).await);
    let mapped: Vec<_> = outputs.into_iter().filter(|t| !t.starts_with("forgot")).collect();
    assert_eq!(mapped, ["mapped", "newer", "last"]);
    assert_eq!(run.stop().await.credit().0, 5);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_stage_keeps_its_place_when_another_partition_goes() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.records(0, 1, &["newer"]).await;
    run.records(0, 1, &["behind"]).await;
    for _ in 0..3 {
        assert!(run.revoke(1, 1).await.await.is_err());
    }
    run.ready.send_replace(true);
    assert_eq!(texts(&run.log.outputs(2).await), ["newer", "behind"]);
    run.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_until_a_stage_is_ready() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.records(0, 1, &["newer"]).await;
    time_passes(Duration::from_secs(1)).await;
    let log = tokio::time::timeout(Duration::from_secs(1), run.stop()).await.expect("waits for ever");
    assert!(log.records(Topic::Deliveries, 0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_goes_while_its_past_is_recalled_is_not_taken_over() {
    let log = FakeLog::new();
    for name in ["old", "older"] {
        log.append_at(Topic::Events, 0, 999_000, record("k", name));
    }
    log.reads(false);
    let run = start(log, Duration::from_secs(60));
    run.assign(0, Some("1;2;1;")).await;
    run.records(0, 1, &["not ours"]).await;
    let gone = run.revoke(0, 1).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), gone).await.expect("waits for the past").is_err());
    run.log.reads(true);
    time_passes(Duration::from_secs(1)).await;
    let log = run.stop().await;
    assert_eq!((log.committed(0), log.credit().0), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn records_that_become_many_are_not_one_transaction() {
    let run = start(FakeLog::new(), Duration::ZERO);
    run.assign(0, None).await;
    run.records(0, 1, &["many 600", "many 600", "many 600", "many 600", "one"]).await;
    let outputs = run.log.outputs(2_401).await;
    assert_eq!(outputs.len(), 2_401);
    let commits = run.log.commits(1).await;
    let sizes: Vec<_> = commits.iter().map(|c| c[0].outputs.len()).collect();
    assert_eq!(sizes, [1_200, 1_200, 1]);
    let offsets: Vec<_> = commits.iter().map(|c| c[0].commit.offset.0).collect();
    assert_eq!(offsets, [2, 4, 5]);
    assert_eq!(run.stop().await.credit().0, 5);
}
