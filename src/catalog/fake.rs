//! A log in memory for tests: one partition, transactions that leave a marker behind, and failures on demand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received, Record};
use crate::model::time::Timestamp;
use crate::model::topic::Topic;
use crate::stream::log::{Batch, Follower, From, Log, LogError, Member, Membership, PartitionReader, Seat, SeatError};

/// How long a log that is silent lets a ping wait.
const PING: Duration = Duration::from_secs(2);

/// What goes wrong at the next commit.
#[derive(Debug)]
pub enum Fault {
    /// Another process takes the seat and writes these first.
    FencedBy(Vec<Record>),
    UnknownButWritten,
    UnknownAndLost,
    Unavailable,
    /// After so long, of which it tells nothing.
    Late(Duration, SeatError),
    TooLarge,
    /// The log goes away, and the call is never answered.
    NeverAnswered,
}

#[derive(Default)]
struct State {
    /// By offset; `None` is a transaction's marker.
    records: Vec<Option<Record>>,
    /// Of the topic `audit`.
    audited: Vec<Record>,
    seat: u64,
    seats_taken: usize,
    faults: VecDeque<Fault>,
    away: bool,
    silent: bool,
    /// Readers see nothing at or past this offset.
    hidden_from: Option<usize>,
    /// Whoever waits gets to run between two batches of a reader.
    step_by_step: bool,
}

#[derive(Default)]
pub struct FakeLog {
    state: Mutex<State>,
    news: Notify,
}

impl FakeLog {
    /// Appends records in a transaction, as another process would that has taken the seat.
    pub fn foreign(&self, records: Vec<Record>) {
        let mut state = self.state.lock().unwrap();
        state.seat += 1;
        state.records.extend(records.into_iter().map(Some).chain([None]));
        drop(state);
        self.news.notify_waiters();
    }

    pub fn fail_next_commit(&self, fault: Fault) {
        self.state.lock().unwrap().faults.push_back(fault);
    }

    /// Every call fails, until told otherwise.
    pub fn go_away(&self, away: bool) {
        self.state.lock().unwrap().away = away;
        self.news.notify_waiters();
    }

    /// The log goes away as a broker does: a ping fails after a while, and calls of a client that goes on trying never end.
    pub fn fall_silent(&self) {
        self.state.lock().unwrap().silent = true;
        self.go_away(true);
    }

    async fn unless_silent(&self) {
        if self.state.lock().unwrap().silent {
            std::future::pending::<()>().await;
        }
    }

    /// What is written from now on stays out of sight, until told otherwise.
    pub fn hide(&self, hidden: bool) {
        let mut state = self.state.lock().unwrap();
        state.hidden_from = hidden.then_some(state.records.len());
        drop(state);
        self.news.notify_waiters();
    }

    /// Readers see what lies below this offset, until told otherwise.
    pub fn show(&self, below: usize) {
        self.state.lock().unwrap().hidden_from = Some(below);
    }

    /// From now on others run between two batches of a reader.
    pub fn read_step_by_step(&self) {
        self.state.lock().unwrap().step_by_step = true;
    }

    /// Compaction takes the record at this offset.
    pub fn compact_away(&self, offset: usize) {
        self.state.lock().unwrap().records[offset] = None;
    }

    pub fn seats_taken(&self) -> usize {
        self.state.lock().unwrap().seats_taken
    }

    pub fn written(&self) -> Vec<Record> {
        self.state.lock().unwrap().records.iter().flatten().cloned().collect()
    }

    pub fn audited(&self) -> Vec<Record> {
        self.state.lock().unwrap().audited.clone()
    }

    pub fn end_offset(&self) -> Offset {
        Offset(self.state.lock().unwrap().records.len() as i64)
    }

    fn state(&self) -> Result<std::sync::MutexGuard<'_, State>, LogError> {
        let state = self.state.lock().unwrap();
        if state.away { Err(LogError::Unavailable("the fake is away".into())) } else { Ok(state) }
    }
}

/// Shared, because seats and readers live on their own. The second holds the readers of one process back.
#[derive(Clone, Default)]
pub struct SharedFake(pub Arc<FakeLog>, Arc<AtomicBool>);

impl SharedFake {
    /// The same log for another process.
    pub fn beside(&self) -> SharedFake {
        SharedFake(Arc::clone(&self.0), Arc::default())
    }

    /// Readers of this process see nothing new, until told otherwise.
    pub fn hold(&self, held: bool) {
        self.1.store(held, Ordering::SeqCst);
        self.0.news.notify_waiters();
    }
}

struct FakeSeat {
    log: Arc<FakeLog>,
    number: u64,
}

struct FakeReader {
    log: Arc<FakeLog>,
    held: Arc<AtomicBool>,
    at: usize,
}

#[async_trait]
impl Seat for FakeSeat {
    async fn commit(&mut self, outputs: Vec<Output>) -> Result<(), SeatError> {
        self.log.unless_silent().await;
        let fault = self.log.state()?.faults.pop_front();
        let (catalog, audit): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|output| output.topic == Topic::Catalog);
        let records: Vec<_> = catalog.into_iter().map(|output| output.record).collect();
        let audited = audit.into_iter().map(|output| output.record);
        match fault {
            Some(Fault::FencedBy(others)) => self.log.foreign(others),
            Some(Fault::NeverAnswered) => {
                self.log.fall_silent();
                self.log.unless_silent().await;
            }
            Some(Fault::UnknownAndLost) => return Err(LogError::UnknownOutcome("lost".into()).into()),
            Some(Fault::Unavailable) => return Err(LogError::Unavailable("not now".into()).into()),
            Some(Fault::Late(after, error)) => {
                let _ = tokio::time::timeout(after, std::future::pending::<()>()).await;
                return Err(error);
            }
            Some(Fault::TooLarge) => return Err(LogError::TooLarge { topic: Topic::Catalog, bytes: 1 }.into()),
            Some(Fault::UnknownButWritten) => {
                self.log.foreign(records);
                return Err(LogError::UnknownOutcome("written".into()).into());
            }
            None => {
                let mut state = self.log.state()?;
                if state.seat == self.number {
                    state.records.extend(records.into_iter().map(Some).chain([None]));
                    state.audited.extend(audited);
                    drop(state);
                    self.log.news.notify_waiters();
                    return Ok(());
                }
            }
        }
        Err(SeatError::Fenced)
    }
}

#[async_trait]
impl PartitionReader for FakeReader {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let deadline = tokio::time::Instant::now() + wait;
        if self.log.state()?.step_by_step {
            tokio::task::yield_now().await;
        }
        loop {
            let news = self.log.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let batch = {
                let state = self.log.state()?;
                let shown = if self.held.load(Ordering::SeqCst) { Some(self.at) } else { state.hidden_from };
                let end = shown.unwrap_or(state.records.len()).clamp(self.at, self.at + max);
                let records = state.records[self.at..end].iter().enumerate().filter_map(|(i, record)| {
                    let offset = Offset((self.at + i) as i64);
                    record.clone().map(|record| Received {
                        partition: Partition(0),
                        offset,
                        timestamp: Timestamp(0),
                        record,
                    })
                });
                Batch { records: records.collect(), position: Offset(end as i64) }
            };
            let moved = batch.position.0 as usize > self.at;
            self.at = batch.position.0 as usize;
            if moved || tokio::time::timeout_at(deadline, news).await.is_err() {
                return Ok(batch);
            }
        }
    }

    async fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        self.at = offset.0 as usize;
        Ok(())
    }
}

fn unused<T>() -> Result<T, LogError> {
    Err(LogError::Fatal("the catalog does not use this".into()))
}

#[async_trait]
impl Log for SharedFake {
    async fn append(&self, _: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError> {
        unused()
    }

    async fn join(&self, _: Membership) -> Result<Member, LogError> {
        unused()
    }

    async fn read(&self, _: Topic, _: Partition, from: From) -> Result<Box<dyn PartitionReader>, LogError> {
        drop(self.0.state()?);
        let at = match from {
            From::Start | From::Time(_) => 0,
            From::At(offset) => offset.0 as usize,
        };
        Ok(Box::new(FakeReader { log: Arc::clone(&self.0), held: Arc::clone(&self.1), at }))
    }

    async fn follow(&self, _: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError> {
        unused()
    }

    async fn end(&self, _: Topic, _: Partition) -> Result<Offset, LogError> {
        drop(self.0.state()?);
        Ok(self.0.end_offset())
    }

    async fn load(&self, _: Topic, _: Partition) -> Result<Vec<Received>, LogError> {
        unused()
    }

    async fn seat(&self, _: &'static str, _: Duration) -> Result<Box<dyn Seat>, LogError> {
        self.0.unless_silent().await;
        let mut state = self.0.state()?;
        state.seat += 1;
        state.seats_taken += 1;
        Ok(Box::new(FakeSeat { log: Arc::clone(&self.0), number: state.seat }))
    }

    async fn partitions(&self, _: Topic) -> Result<i32, LogError> {
        Ok(1)
    }

    async fn ping(&self) -> Result<(), LogError> {
        if self.0.state.lock().unwrap().silent {
            let _ = tokio::time::timeout(PING, std::future::pending::<()>()).await;
        }
        drop(self.0.state()?);
        Ok(())
    }
}
