//! What the writer is asked for, and what it answers once it is on the disk.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::owners::Owners;
use crate::model::ids::{Offset, Partition};
use crate::model::record::Output;
use crate::model::topic::Topic;
use crate::stream::log::{Flushed, LogError, Part, SeatError};

/// Requests that may wait; each is bounded by who makes it: a publisher's budget, a flush.
pub(super) const QUEUE: usize = 256;

pub(super) type Places = Vec<(Partition, Offset)>;
/// What could not be written comes back.
pub(super) type Committed = Result<Flushed, (LogError, Vec<Part>)>;
type Done<T> = oneshot::Sender<T>;

pub(super) enum Request {
    Append {
        outputs: Vec<Output>,
        done: Done<Result<Places, LogError>>,
    },
    /// Parts whose partition is not owned under their epoch are left out.
    Commit {
        stage: &'static str,
        owners: Arc<Owners>,
        parts: Vec<Part>,
        done: Done<Committed>,
    },
    /// Answers the seat's new epoch.
    TakeSeat {
        name: &'static str,
        done: Done<Result<i64, LogError>>,
    },
    SeatCommit {
        name: &'static str,
        epoch: i64,
        outputs: Vec<Output>,
        done: Done<Result<(), SeatError>>,
    },
    /// Answers how many rows were deleted.
    Delete {
        topic: Topic,
        partition: Partition,
        what: Which,
        done: Done<Result<u64, LogError>>,
    },
    /// Answers when everything before it is settled.
    Settle {
        done: Done<Result<(), LogError>>,
    },
}

/// Rows to be deleted.
pub(super) enum Which {
    /// Up to `most` of those below an offset, where the partition begins from now on.
    Before { offset: Offset, most: i64 },
    /// These ids, as a JSON array.
    Rows(String),
}

/// What a request comes to.
pub(super) enum Answer {
    Places(Places),
    Flushed(Flushed),
    Seat(i64),
    Deleted(u64),
    Fenced,
    Done,
    Refused(LogError),
}

impl Request {
    pub(super) fn outputs(&self) -> Box<dyn Iterator<Item = &Output> + Send + '_> {
        match self {
            Request::Append { outputs, .. } | Request::SeatCommit { outputs, .. } => Box::new(outputs.iter()),
            Request::Commit { parts, .. } => Box::new(parts.iter().flat_map(|p| &p.outputs)),
            Request::TakeSeat { .. } | Request::Delete { .. } | Request::Settle { .. } => Box::new(std::iter::empty()),
        }
    }

    /// Records and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        self.outputs().fold((0, 0), |(records, bytes), o| (records + 1, bytes + o.record.size()))
    }

    /// Tells who asked, unless they are gone.
    pub(super) fn answer(self, answer: Answer) {
        let mismatch = || LogError::Fatal("the writer answered something else than was asked".into());
        match self {
            Request::Append { done, .. } => drop(done.send(match answer {
                Answer::Places(places) => Ok(places),
                Answer::Refused(error) => Err(error),
                _ => Err(mismatch()),
            })),
            Request::Commit { parts, done, .. } => drop(done.send(match answer {
                Answer::Flushed(flushed) => Ok(flushed),
                Answer::Refused(error) => Err((error, parts)),
                _ => Err((mismatch(), parts)),
            })),
            Request::TakeSeat { done, .. } => drop(done.send(match answer {
                Answer::Seat(epoch) => Ok(epoch),
                Answer::Refused(error) => Err(error),
                _ => Err(mismatch()),
            })),
            Request::SeatCommit { done, .. } => drop(done.send(match answer {
                Answer::Done => Ok(()),
                Answer::Fenced => Err(SeatError::Fenced),
                Answer::Refused(error) => Err(error.into()),
                _ => Err(mismatch().into()),
            })),
            Request::Delete { done, .. } => drop(done.send(match answer {
                Answer::Deleted(rows) => Ok(rows),
                Answer::Refused(error) => Err(error),
                _ => Err(mismatch()),
            })),
            Request::Settle { done } => drop(done.send(match answer {
                Answer::Refused(error) => Err(error),
                _ => Ok(()),
            })),
        }
    }
}

/// Where requests are handed in; the writer ends when all of these are dropped.
#[derive(Clone)]
pub(super) struct Requests(pub(super) mpsc::Sender<Request>);

impl Requests {
    /// Makes the request with the sender of its answer, and waits for that.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, LogError> {
        let gone = || LogError::Unavailable("the log is being closed".into());
        let (done, answer) = oneshot::channel();
        self.0.send(request(done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Waits until everything that was asked for before is on the disk or refused.
    pub(super) async fn settle(&self) -> Result<(), LogError> {
        self.ask(|done| Request::Settle { done }).await?
    }
}
