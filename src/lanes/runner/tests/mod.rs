//! The runner against a log in memory. The test is the coordinator, the receiver of every delivery, and with paused time the
//! clock: nothing here waits for real.

mod handover;
mod schedules;
mod sending;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::WorkRunner;
use crate::model::ids::{IntegrationId, Offset, Partition};
use crate::model::record::{Output, Received, Record};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::fake::{FakeLog, record, time_passes};
use crate::stream::log::{Assignment, Drained, Epoch, LogError, Membership, Signal};
use crate::stream::stage::{Admission, Attempted, Ending, Job, Outcome, Standing, Work};

/// When every test begins, in milliseconds.
const START: i64 = 1_000_000;
/// Longer than anything lingers.
const LONG: Duration = Duration::from_secs(2);

/// Wall time that goes with the paused time of the runtime.
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp(START).plus(self.0.elapsed())
    }
}

/// An attempt under way: it ends when the test says how.
#[derive(Debug)]
struct Call {
    offset: i64,
    attempt: u32,
    first_at: Option<Timestamp>,
    at: Timestamp,
    outcome: oneshot::Sender<Outcome>,
}

impl Call {
    fn answer(self, outcome: Outcome) {
        let _ = self.outcome.send(outcome);
    }

    fn delivered(self) {
        self.answer(Outcome::Delivered);
    }

    /// To be tried again so long after the test began.
    fn retry(self, due: i64) {
        self.answer(Outcome::Retry { due: Timestamp(START + due), error: "no".into(), status: Some(503) });
    }
}

/// A stage that hands its attempts to the test.
struct Desk {
    clock: Arc<dyn Clock>,
    calls: mpsc::Sender<Call>,
    standings: Mutex<BTreeMap<String, Standing>>,
}

fn text(bytes: Option<&bytes::Bytes>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

/// Tells what became of an offset.
fn told(topic: Topic, record: &Received, what: &str) -> Output {
    Output { topic, partition: None, record: crate::stream::fake::record(&record.offset.to_string(), what) }
}

#[async_trait]
impl Work for Desk {
    fn admit(&self, record: &Received) -> Admission {
        let key = text(record.record.key.as_ref());
        if key == "refused" {
            return Admission::Refuse(vec![told(Topic::Rejected, record, "refused")]);
        }
        Admission::Take { integration: IntegrationId::parse(&key).unwrap(), expires: Timestamp(START * 1_000) }
    }

    fn standing(&self, integration: &IntegrationId) -> Standing {
        let standings = self.standings.lock().unwrap();
        standings.get(integration.as_str()).copied().unwrap_or(Standing::Active { max_in_flight: 4 })
    }

    async fn attempt(&self, job: Job<'_>) -> Attempted {
        let (outcome, answer) = oneshot::channel();
        let Job { record, attempt, first_at } = job;
        let _ =
            self.calls.send(Call { offset: record.offset.0, attempt, first_at, at: self.clock.now(), outcome }).await;
        let Ok(outcome) = answer.await else { std::future::pending().await };
        let what = match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Dead | Outcome::Abandoned => "dead",
        };
        let mut outputs = vec![told(Topic::Attempts, record, &format!("{attempt} {what}"))];
        if what == "dead" {
            outputs.push(told(Topic::Dlq, record, what));
        }
        Attempted { outcome, outputs }
    }

    fn end(&self, job: Job<'_>, how: Ending) -> Vec<Output> {
        vec![told(Topic::Attempts, job.record, &format!("{} {how:?}", job.attempt))]
    }
}

/// The stage at work.
struct Run {
    log: FakeLog,
    clock: Arc<Virtual>,
    desk: Arc<Desk>,
    calls: mpsc::Receiver<Call>,
    changed: watch::Sender<Option<Offset>>,
    stop: CancellationToken,
    task: JoinSet<Result<(), LogError>>,
}

fn start(log: FakeLog) -> Run {
    let clock = Arc::new(Virtual(Instant::now()));
    start_at(log, clock)
}

fn start_at(log: FakeLog, clock: Arc<Virtual>) -> Run {
    let (sender, calls) = mpsc::channel(100_000);
    let desk = Arc::new(Desk { clock: clock.clone(), calls: sender, standings: Mutex::default() });
    let (changed, changes) = watch::channel(None);
    let membership =
        Membership { stage: "deliver", topic: Topic::Deliveries, max_records: 100_000, max_bytes: 1 << 30 };
    let runner = WorkRunner {
        log: Arc::new(log.clone()),
        clock: clock.clone(),
        membership,
        work: desk.clone(),
        changed: changes,
    };
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(runner.run(stop.clone()));
    Run { log, clock, desk, calls, changed, stop, task }
}

impl Run {
    async fn assign(&self, partition: i32, epoch: u64) {
        let committed = self.log.committed(partition);
        let assignment = Assignment { partition: Partition(partition), epoch: Epoch(epoch), committed };
        self.log.signal(Signal::Assigned(vec![assignment])).await;
    }

    /// New records with these keys.
    async fn give(&self, partition: i32, epoch: u64, keys: &[&str]) {
        let records = keys.iter().map(|key| record(key, "payload")).collect();
        self.give_records(partition, epoch, records).await;
    }

    async fn give_records(&self, partition: i32, epoch: u64, records: Vec<Record>) {
        let append = |r| self.log.append_at(Topic::Deliveries, partition, 0, r);
        let records: Vec<_> = records.into_iter().map(append).collect();
        let position = records.last().unwrap().offset.next();
        let (partition, epoch) = (Partition(partition), Epoch(epoch));
        self.log.signal(Signal::Records { partition, epoch, records, position }).await;
    }

    /// A new owner: assigned, and given what lies above the watermark. Gives how much that is.
    async fn take_over(&self, partition: i32, epoch: u64) -> usize {
        self.assign(partition, epoch).await;
        let from = self.log.committed(partition).map_or(Offset(0), |c| c.offset);
        let mut records = self.log.records(Topic::Deliveries, partition);
        records.retain(|r| r.offset >= from);
        let Some(position) = records.last().map(|r| r.offset.next()) else { return 0 };
        let (partition, epoch, count) = (Partition(partition), Epoch(epoch), records.len());
        self.log.signal(Signal::Records { partition, epoch, records, position }).await;
        count
    }

    async fn revoke(&self, partition: i32, epoch: u64) -> oneshot::Receiver<()> {
        let (drained, done) = Drained::new();
        let (partitions, deadline) = (vec![(Partition(partition), Epoch(epoch))], Duration::from_secs(10));
        self.log.signal(Signal::Revoked { partitions, deadline, drained }).await;
        done
    }

    async fn lose(&self, partition: i32, epoch: u64) {
        self.log.revoke(partition, epoch);
        self.log.signal(Signal::Lost { partitions: vec![(Partition(partition), Epoch(epoch))] }).await;
    }

    fn stand(&self, integration: &str, standing: Standing) {
        self.desk.standings.lock().unwrap().insert(integration.into(), standing);
        self.changed.send_replace(None);
    }

    /// The next attempt.
    async fn call(&mut self) -> Call {
        timeout(Duration::from_secs(600), self.calls.recv()).await.expect("nothing was sent").unwrap()
    }

    /// The attempt of this offset, which must be the next.
    async fn call_of(&mut self, offset: i64) -> Call {
        let call = self.call().await;
        assert_eq!(call.offset, offset);
        call
    }

    /// Nothing is sent while so much time passes.
    async fn quiet(&mut self, time: Duration) {
        let call = timeout(time, self.calls.recv()).await.ok().flatten();
        assert!(call.is_none(), "{call:?}");
    }

    /// Dies without a word; the next process finds what was committed.
    async fn restart(mut self) -> Run {
        self.task.shutdown().await;
        start_at(self.log.restarted(), self.clock)
    }

    async fn ended(&mut self) -> Result<(), LogError> {
        self.task.join_next().await.unwrap().unwrap()
    }

    async fn stop(mut self) -> FakeLog {
        self.stop.cancel();
        self.ended().await.unwrap();
        self.log
    }
}

/// What was committed to a topic: key and value.
fn committed(log: &FakeLog, topic: Topic) -> Vec<(String, String)> {
    let pair = |r: Received| (text(r.record.key.as_ref()), r.record.value.map_or(String::new(), |v| text(Some(&v))));
    log.records(topic, 0).into_iter().map(pair).collect()
}

/// What was committed of this offset.
fn of(log: &FakeLog, offset: i64) -> Vec<String> {
    let key = offset.to_string();
    committed(log, Topic::Attempts).into_iter().filter(|(k, _)| *k == key).map(|(_, v)| v).collect()
}

/// The names of lanes that there are.
fn lanes(log: &FakeLog) -> Vec<String> {
    let last: BTreeMap<_, _> = committed(log, Topic::Retry).into_iter().collect();
    last.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, _)| k).collect()
}

fn watermark(log: &FakeLog) -> i64 {
    log.committed(0).map_or(0, |c| c.offset.0)
}
