//! The log port on SQLite: one process, one file, durable. No broker: what shares it are the stages of one process.
//!
//! * `open` says what makes the file one of ours, `store` reads it with `queries`, `write` is the one that writes it, `request` what that is asked for;
//! * `rows` and `spans` say where a record stands and where partitions begin and end, `partitioner` which one a key is for;
//! * `groups` shares partitions among members, `owners` knows who has which, `member` feeds one, `reader` reads one or many without a group;
//! * `view` reads it beside the process that has it;
//! * `keep` forgets what retention and compaction allow.

mod groups;
mod keep;
mod member;
mod open;
mod owners;
mod partitioner;
mod queries;
mod reader;
mod request;
mod rows;
mod spans;
mod store;
mod view;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::groups::{EVENTS, Event, Group, MemberId, ORDERS};
use self::keep::Keeper;
use self::member::{EmbeddedCommitter, Feeder, Leaving, Wires};
pub use self::open::LogId;
use self::owners::Owners;
use self::reader::{EmbeddedFollower, EmbeddedReader};
use self::request::{QUEUE, Request, Requests};
use self::store::Store;
pub use self::view::{View, ViewReader};
use self::write::Writer;
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received};
use crate::model::time::Clock;
use crate::model::topic::Topic;
use crate::sqlite::{Claim, Place};
use crate::stream::lag::Lag;
use crate::stream::log::{Follower, From, Log, LogError, Member, Membership, PartitionReader, Seat, SeatError, Signal};
use crate::stream::room::{Room, RoomCredit};
use crate::topology::Declared;

/// Signals that may wait for a stage; what they carry is bounded by its credit.
const SIGNALS: usize = 64;

/// The log in one file of this process.
pub struct EmbeddedLog {
    store: Arc<Store>,
    id: LogId,
    requests: Requests,
    groups: Mutex<HashMap<&'static str, Stage>>,
    members: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
    _end: DropGuard,
}

/// A stage's group, as a new member meets it.
#[derive(Clone)]
struct Stage {
    events: mpsc::Sender<Event>,
    owners: Arc<Owners>,
    lag: Arc<Lag>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, made where it is missing, with the topics and the retention that are declared. `Fatal`: another
    /// process has it, it is damaged, read-only or not of this version, or its topics have other partitions.
    pub async fn open(dir: &Path, declared: &Declared, clock: Arc<dyn Clock>) -> Result<EmbeddedLog, LogError> {
        let file = open::file(dir);
        let opened = open::open(&file, declared).await?;
        let store = Arc::new(Store {
            file,
            spans: opened.spans,
            limits: declared
                .topics()
                .iter()
                .map(|t| usize::try_from(t.max_message_bytes).unwrap_or(usize::MAX))
                .collect(),
            clock,
            readers: opened.readers,
            failing: Mutex::default(),
            broken: AtomicBool::new(false),
            large: Mutex::default(),
        });
        let (sender, queue) = mpsc::channel(QUEUE);
        let requests = Requests(sender);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (writer, lock, ended) = (Writer::new(store.clone(), opened.writer), opened.lock, stop.clone());
        let watched = store.clone();
        tasks.spawn(async move {
            watched.watch_over("the writer", writer.run(queue, ended)).await;
            // Not before: the next process may begin when nothing of this one writes any more.
            drop(lock);
        });
        let keeper = Keeper {
            store: store.clone(),
            requests: requests.clone(),
            topics: declared.topics().iter().map(|t| (t.topic, t.cleanup)).collect(),
            compacted: BTreeMap::new(),
        };
        tasks.spawn(store.clone().watch_over("the keeper", keeper.run(stop.clone())));
        Ok(EmbeddedLog {
            store,
            id: opened.id,
            requests,
            groups: Mutex::default(),
            members: AtomicU64::new(0),
            tasks,
            _end: stop.clone().drop_guard(),
            stop,
        })
    }

    pub fn id(&self) -> &LogId {
        &self.id
    }

    /// Deletes what lies below `offset`, as retention does.
    pub async fn delete_before(&self, topic: Topic, partition: Partition, offset: Offset) -> Result<(), LogError> {
        keep::delete_before(&self.store, &self.requests, (topic, partition), offset).await
    }

    /// Ends what runs and closes the file, members that are still there with it; false where `deadline` came first. Nothing is
    /// lost by not calling it.
    pub async fn close(&self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tasks.close();
        let all = async {
            self.tasks.wait().await;
            self.store.readers.close().await;
        };
        tokio::time::timeout(deadline, all).await.is_ok()
    }

    /// Makes sure that the log in `dir` may be deleted: no process has it, and it is one of ours.
    pub fn claim(dir: &Path) -> Result<Claim, LogError> {
        Ok(open::file(dir).claim(Place::Usual)?)
    }

    fn stage(&self, name: &'static str, topic: Topic) -> Stage {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let found = groups.entry(name).or_insert_with(|| {
            let (events, inbox) = mpsc::channel(EVENTS);
            let owners = Arc::<Owners>::default();
            let lag = Arc::new(Lag::new(name.to_owned(), topic.name().to_owned()));
            let group = Group {
                stage: name,
                topic,
                store: self.store.clone(),
                requests: self.requests.clone(),
                owners: owners.clone(),
                lag: lag.clone(),
                members: BTreeMap::new(),
                held: BTreeMap::new(),
            };
            self.tasks.spawn(self.store.clone().watch_over("a group", group.run(inbox, self.stop.clone())));
            Stage { events, owners, lag }
        });
        found.clone()
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn append(&self, outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        self.requests.ask(|done| Request::Append { outputs, done }).await?
    }

    async fn join(&self, membership: Membership) -> Result<Member, LogError> {
        let Membership { stage: name, topic, max_records, max_bytes } = membership;
        let stage = self.stage(name, topic);
        let id = MemberId(self.members.fetch_add(1, Ordering::Relaxed));
        let room = Arc::new(Room::new(max_records, max_bytes));
        let (signals, inbox) = mpsc::channel::<Signal>(SIGNALS);
        let (orders, ordered) = mpsc::channel(ORDERS);
        let moved = self.store.spans.watch(topic)?;
        let wires = Wires { signals, orders: ordered, moved };
        let feeder = Feeder::new(self.store.clone(), (name, topic), room.clone(), wires);
        let left = CancellationToken::new();
        let leaving = Leaving { id, group: stage.events.clone(), tasks: self.tasks.clone() };
        let feeding = feeder.run(left.clone(), self.stop.clone());
        self.tasks.spawn(self.store.clone().watch_over("a member", async move {
            let _leaving = leaving;
            feeding.await;
        }));
        let leave = Arc::new(left.drop_guard());
        stage
            .events
            .send(Event::Join(id, orders))
            .await
            .map_err(|_| LogError::Unavailable("the log is being closed".into()))?;
        let committer = EmbeddedCommitter {
            stage: name,
            requests: self.requests.clone(),
            owners: stage.owners,
            lag: stage.lag,
            turn: tokio::sync::Mutex::default(),
            _leave: leave.clone(),
        };
        Ok(Member { signals: inbox, committer: Arc::new(committer), credit: Arc::new(RoomCredit { room, leave }) })
    }

    async fn read(&self, topic: Topic, partition: Partition, from: From) -> Result<Box<dyn PartitionReader>, LogError> {
        let position = match from {
            From::Start => self.store.spans.start(topic, partition)?,
            From::At(offset) => offset,
            From::Time(time) => self.store.at_time(topic, partition, time).await?,
        };
        Ok(Box::new(EmbeddedReader(EmbeddedFollower::new(&self.store, vec![(topic, partition, position)])?)))
    }

    async fn follow(&self, places: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError> {
        Ok(Box::new(EmbeddedFollower::new(&self.store, places)?))
    }

    async fn end(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError> {
        self.store.spans.end(topic, partition)
    }

    async fn load(&self, topic: Topic, partition: Partition) -> Result<Vec<Received>, LogError> {
        self.store.table(topic, partition).await
    }

    async fn seat(&self, name: &'static str, _within: Duration) -> Result<Box<dyn Seat>, LogError> {
        let epoch = self.requests.ask(|done| Request::TakeSeat { name, done }).await??;
        Ok(Box::new(EmbeddedSeat { name, epoch, requests: self.requests.clone() }))
    }

    async fn partitions(&self, topic: Topic) -> Result<i32, LogError> {
        self.store.spans.partitions(topic)
    }

    async fn ping(&self) -> Result<(), LogError> {
        self.store.ping(&self.requests).await
    }
}

struct EmbeddedSeat {
    name: &'static str,
    epoch: i64,
    requests: Requests,
}

#[async_trait]
impl Seat for EmbeddedSeat {
    async fn commit(&mut self, outputs: Vec<Output>) -> Result<(), SeatError> {
        let (name, epoch) = (self.name, self.epoch);
        self.requests.ask(|done| Request::SeatCommit { name, epoch, outputs, done }).await?
    }
}

#[cfg(test)]
mod tests;
