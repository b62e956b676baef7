//! A log in memory for tests of runners and stages: the test itself is the coordinator and says what is assigned,
//! revoked and committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received, Record};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::{
    Batch, Committed, Committer, Credit, Epoch, Flushed, Follower, From, Log, LogError, Member, Membership, Part,
    PartitionReader, Seat, SeatError, Signal,
};

#[derive(Clone, Default)]
struct Shelf {
    partitions: BTreeMap<(Topic, Partition), Vec<Received>>,
    /// Where partitions begin of which retention has deleted something.
    starts: BTreeMap<(Topic, Partition), Offset>,
    commits: Vec<Vec<Part>>,
}

#[derive(Default)]
struct State {
    shelf: Shelf,
    unsure: bool,
    away: bool,
    revoked: BTreeSet<(Partition, Epoch)>,
    credit: (usize, usize),
    member: Option<mpsc::Receiver<Signal>>,
    /// How often a seat was taken: the last to take it has it.
    seated: usize,
}

/// The log and the coordinator in one.
#[derive(Clone)]
pub(crate) struct FakeLog {
    state: Arc<Mutex<State>>,
    signals: mpsc::Sender<Signal>,
    /// Commits wait while this is false.
    open: watch::Sender<bool>,
    /// Tables are loaded while this is true.
    loads: watch::Sender<bool>,
    /// Partitions are read while this is true.
    reads: watch::Sender<bool>,
    /// How many commits there were: what tests wait for.
    committed: watch::Sender<usize>,
}

impl FakeLog {
    pub fn new() -> Self {
        FakeLog::of(Shelf::default())
    }

    fn of(shelf: Shelf) -> Self {
        let (signals, member) = mpsc::channel(1_000);
        let committed = watch::Sender::new(shelf.commits.len());
        let state = State { member: Some(member), shelf, ..State::default() };
        FakeLog {
            state: Arc::new(Mutex::new(state)),
            signals,
            open: watch::Sender::new(true),
            loads: watch::Sender::new(true),
            reads: watch::Sender::new(true),
            committed,
        }
    }

    /// What the next process finds: all that was written and committed, and nothing else.
    pub fn restarted(&self) -> Self {
        FakeLog::of(self.state.lock().unwrap().shelf.clone())
    }

    pub fn append_at(&self, topic: Topic, partition: i32, timestamp: i64, record: Record) -> Received {
        let partition = Partition(partition);
        let mut state = self.state.lock().unwrap();
        let records = state.shelf.partitions.entry((topic, partition)).or_default();
        let offset = Offset(i64::try_from(records.len()).unwrap());
        let received = Received { partition, offset, timestamp: Timestamp(timestamp), record };
        records.push(received.clone());
        received
    }

    pub async fn signal(&self, signal: Signal) {
        self.signals.send(signal).await.unwrap();
    }

    /// Holds commits back, or lets them through.
    pub fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Holds tables back that are to be loaded, or lets them be.
    pub fn loads(&self, open: bool) {
        self.loads.send_replace(open);
    }

    /// Holds readers back, or lets them read.
    pub fn reads(&self, open: bool) {
        self.reads.send_replace(open);
    }

    /// Whether the membership is sure of itself.
    pub fn sure(&self, sure: bool) {
        self.state.lock().unwrap().unsure = !sure;
    }

    /// Takes what is appended, or is away.
    pub fn takes(&self, takes: bool) {
        self.state.lock().unwrap().away = !takes;
    }

    /// Retention deletes what lies below `start`.
    pub fn delete(&self, topic: Topic, partition: i32, start: i64) {
        self.state.lock().unwrap().shelf.starts.insert((topic, Partition(partition)), Offset(start));
    }

    pub fn records(&self, topic: Topic, partition: i32) -> Vec<Received> {
        self.state.lock().unwrap().shelf.partitions.get(&(topic, Partition(partition))).cloned().unwrap_or_default()
    }

    /// What the partition's next owner is told.
    pub fn committed(&self, partition: i32) -> Option<Committed> {
        let state = self.state.lock().unwrap();
        let all = state.shelf.commits.iter().rev().flatten();
        let last = all.map(|part| &part.commit).find(|c| c.partition == Partition(partition))?;
        Some(Committed { offset: last.offset, metadata: last.metadata.clone() })
    }

    /// From now on parts of this assignment are left out, and nobody may act for it.
    pub fn revoke(&self, partition: i32, epoch: u64) {
        self.state.lock().unwrap().revoked.insert((Partition(partition), Epoch(epoch)));
    }

    /// Waits until so many flushes were committed, then gives all of them.
    pub async fn commits(&self, at_least: usize) -> Vec<Vec<Part>> {
        self.committed.subscribe().wait_for(|n| *n >= at_least).await.unwrap();
        self.state.lock().unwrap().shelf.commits.clone()
    }

    /// Waits until so many outputs were committed, then gives all of them in order.
    pub async fn outputs(&self, at_least: usize) -> Vec<Output> {
        let enough = |_: &usize| self.all_outputs().len() >= at_least;
        self.committed.subscribe().wait_for(enough).await.unwrap();
        self.all_outputs()
    }

    fn all_outputs(&self) -> Vec<Output> {
        self.state.lock().unwrap().shelf.commits.iter().flatten().flat_map(|p| p.outputs.clone()).collect()
    }

    pub fn credit(&self) -> (usize, usize) {
        self.state.lock().unwrap().credit
    }
}

/// Moves a paused clock on, past all that is due meanwhile.
pub(crate) async fn time_passes(span: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + span).await;
}

/// A record whose key and value are these texts.
pub(crate) fn record(key: &str, value: &str) -> Record {
    let bytes = |s: &str| Some(Bytes::copy_from_slice(s.as_bytes()));
    Record { key: bytes(key), value: bytes(value), ..Record::default() }
}

struct Handle(FakeLog);

#[async_trait]
impl Committer for Handle {
    async fn commit(&self, parts: Vec<Part>) -> Result<Flushed, LogError> {
        self.0.open.subscribe().wait_for(|open| *open).await.map_err(|e| LogError::Fatal(e.to_string()))?;
        let mut state = self.0.state.lock().unwrap();
        let (lost, kept): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|p| state.revoked.contains(&(p.commit.partition, p.commit.epoch)));
        for output in kept.iter().flat_map(|p| &p.outputs) {
            let partition = output.partition.unwrap_or_default();
            let records = state.shelf.partitions.entry((output.topic, partition)).or_default();
            let offset = Offset(i64::try_from(records.len()).unwrap());
            records.push(Received { partition, offset, timestamp: Timestamp(0), record: output.record.clone() });
        }
        if !kept.is_empty() {
            state.shelf.commits.push(kept);
            drop(state);
            self.0.committed.send_modify(|n| *n += 1);
        }
        Ok(Flushed { left_out: lost.iter().map(|p| (p.commit.partition, p.commit.epoch)).collect() })
    }

    fn may_act(&self, partition: Partition, epoch: Epoch) -> bool {
        let state = self.0.state.lock().unwrap();
        !state.unsure && !state.revoked.contains(&(partition, epoch))
    }
}

impl Credit for Handle {
    fn release(&self, records: usize, bytes: usize) {
        let mut state = self.0.state.lock().unwrap();
        state.credit = (state.credit.0 + records, state.credit.1 + bytes);
    }
}

struct Reader {
    log: FakeLog,
    topic: Topic,
    partition: Partition,
    position: Offset,
}

#[async_trait]
impl PartitionReader for Reader {
    async fn next(&mut self, max: usize, _wait: Duration) -> Result<Batch, LogError> {
        self.log.reads.subscribe().wait_for(|open| *open).await.map_err(|e| LogError::Fatal(e.to_string()))?;
        let state = self.log.state.lock().unwrap();
        let (topic, partition, asked) = (self.topic, self.partition, self.position);
        if let Some(start) = state.shelf.starts.get(&(topic, partition)).copied().filter(|start| asked < *start) {
            return Err(LogError::OutOfRange { topic, partition, asked, start });
        }
        let all = state.shelf.partitions.get(&(self.topic, self.partition)).map_or(&[][..], Vec::as_slice);
        let records: Vec<_> = all.iter().filter(|r| r.offset >= self.position).take(max).cloned().collect();
        self.position = records.last().map_or(self.position, |r| r.offset.next());
        Ok(Batch { records, position: self.position })
    }

    async fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        self.position = offset;
        Ok(())
    }
}

struct Seated {
    log: FakeLog,
    number: usize,
}

#[async_trait]
impl Seat for Seated {
    async fn commit(&mut self, outputs: Vec<Output>) -> Result<(), SeatError> {
        if self.log.state.lock().unwrap().seated != self.number {
            return Err(SeatError::Fenced);
        }
        self.log.append(outputs).await.map(drop).map_err(SeatError::Log)
    }
}

#[async_trait]
impl Log for FakeLog {
    async fn append(&self, outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        if self.state.lock().unwrap().away {
            return Err(LogError::Unavailable("it is away".into()));
        }
        let place = |o: Output| {
            let received = self.append_at(o.topic, o.partition.unwrap_or_default().0, 0, o.record);
            (received.partition, received.offset)
        };
        Ok(outputs.into_iter().map(place).collect())
    }

    async fn join(&self, _membership: Membership) -> Result<Member, LogError> {
        let signals = self.state.lock().unwrap().member.take();
        let signals = signals.ok_or_else(|| LogError::Fatal("one member only".into()))?;
        let handle = Arc::new(Handle(self.clone()));
        Ok(Member { signals, committer: handle.clone(), credit: handle })
    }

    async fn read(&self, topic: Topic, partition: Partition, from: From) -> Result<Box<dyn PartitionReader>, LogError> {
        let position = match from {
            From::Start => Offset(0),
            From::At(offset) => offset,
            From::Time(time) => {
                let state = self.state.lock().unwrap();
                let all = state.shelf.partitions.get(&(topic, partition)).map_or(&[][..], Vec::as_slice);
                let first = all.iter().find(|r| r.timestamp >= time).map(|r| r.offset);
                first.unwrap_or(Offset(i64::try_from(all.len()).unwrap()))
            }
        };
        Ok(Box::new(Reader { log: self.clone(), topic, partition, position }))
    }

    async fn follow(&self, _: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError> {
        Err(LogError::Fatal("no followers here".into()))
    }

    async fn end(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError> {
        let state = self.state.lock().unwrap();
        Ok(Offset(state.shelf.partitions.get(&(topic, partition)).map_or(0, |r| i64::try_from(r.len()).unwrap())))
    }

    async fn load(&self, topic: Topic, partition: Partition) -> Result<Vec<Received>, LogError> {
        self.loads.subscribe().wait_for(|open| *open).await.map_err(|e| LogError::Fatal(e.to_string()))?;
        let state = self.state.lock().unwrap();
        let mut table = BTreeMap::new();
        for record in state.shelf.partitions.get(&(topic, partition)).into_iter().flatten() {
            table.insert(record.record.key.clone(), record.clone());
        }
        Ok(table.into_values().filter(|r| r.record.value.is_some()).collect())
    }

    async fn seat(&self, _name: &'static str, _within: Duration) -> Result<Box<dyn Seat>, LogError> {
        let mut state = self.state.lock().unwrap();
        state.seated += 1;
        Ok(Box::new(Seated { log: self.clone(), number: state.seated }))
    }

    async fn partitions(&self, _topic: Topic) -> Result<i32, LogError> {
        Ok(2)
    }

    async fn ping(&self) -> Result<(), LogError> {
        Ok(())
    }
}
