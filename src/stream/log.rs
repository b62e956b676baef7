//! The log port: the few things that a stage, a table and the catalog ask of a log. `kafka` and `embedded` implement it.
//!
//! An engine keeps these promises, and the conformance suite holds it to them:
//!
//! * `commit` writes its outputs and its offsets together or not at all, whatever dies meanwhile, and only while every
//!   partition it names is still assigned under the epoch it names (the commit rule). A zombie commits nothing.
//! * readers see committed records only, in the order of their offsets, without repeats.
//! * a member's start positions and the tables it loads hold everything its predecessors committed (the load barrier).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received};
use crate::model::topic::Topic;

/// What went wrong at the log. The message says what to do where the user can do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Not reachable now, or not answering in time; the same call may go through later.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// Whether the records were written is not known; they may be there or not.
    #[error("the outcome of the write is unknown: {0}")]
    UnknownOutcome(String),
    /// A record is larger than the log takes.
    #[error("a record of {bytes} bytes is larger than topic {topic} takes")]
    TooLarge { topic: Topic, bytes: usize },
    /// The partition no longer has the offset asked for; `start` is the first that it has.
    #[error("offset {asked} of {topic}-{partition} is gone; the log starts at {start}")]
    OutOfRange { topic: Topic, partition: Partition, asked: Offset, start: Offset },
    /// Another process uses the same name; this one must stop.
    #[error("two processes share the instance name {0}; set TIDEGATE_INSTANCE to a name of its own for each")]
    InstanceShared(String),
    /// It will not work however often it is tried: a missing topic, no authorisation, an invalid configuration.
    #[error("{0}")]
    Fatal(String),
}

/// The span of one assignment of a partition to this member. Never used again once the partition is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A partition that was assigned, and where its last owner stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub partition: Partition,
    pub epoch: Epoch,
    /// The committed offset with its metadata; `None`: nothing was ever committed, reading begins at the log's start.
    pub committed: Option<Committed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: Offset,
    pub metadata: String,
}

/// What a member is told, in this order for each partition: assigned, records, revoked or lost.
#[derive(Debug)]
pub enum Signal {
    Assigned(Vec<Assignment>),
    /// Records of one partition in offset order. `position` is the next offset to be read: it passes gaps (markers,
    /// compaction) that no record fills.
    Records {
        partition: Partition,
        epoch: Epoch,
        records: Vec<Received>,
        position: Offset,
    },
    /// Retention overtook the reader: offsets `from..to` are gone for good and reading goes on at `to`.
    Skipped {
        partition: Partition,
        epoch: Epoch,
        from: Offset,
        to: Offset,
    },
    /// To be given up: start nothing, finish what runs, commit, then drop `drained`. The rebalance waits for that, up
    /// to the deadline; after it the epochs are void.
    Revoked {
        partitions: Vec<(Partition, Epoch)>,
        deadline: Duration,
        drained: Drained,
    },
    /// Gone already: nothing of them may be committed or sent any more.
    Lost {
        partitions: Vec<(Partition, Epoch)>,
    },
    /// The membership ended for good; the process must stop or join again.
    Failed(LogError),
}

/// Held while a partition is drained; dropping it lets the rebalance go on.
pub struct Drained(#[expect(dead_code, reason = "dropping it is the message")] oneshot::Sender<()>);

impl Drained {
    pub fn new() -> (Drained, oneshot::Receiver<()>) {
        let (tx, rx) = oneshot::channel();
        (Drained(tx), rx)
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drained")
    }
}

/// How a stage joins its group.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The stage's name; the group is `<prefix>.<stage>`, the transactional id `<prefix>.<stage>.<instance>`.
    pub stage: &'static str,
    pub topic: Topic,
    /// How much may lie between the log and the stage: records and bytes, over all partitions.
    pub max_records: usize,
    pub max_bytes: usize,
}

/// One member of a group. Dropping all three leaves the group.
pub struct Member {
    pub signals: mpsc::Receiver<Signal>,
    pub committer: Arc<dyn Committer>,
    pub credit: Arc<dyn Credit>,
}

/// Gives room back once records of a `Signal::Records` were dealt with: the bound on what lies in between.
pub trait Credit: Send + Sync {
    fn release(&self, records: usize, bytes: usize);
}

/// The offset of one partition, as it is to be committed with the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCommit {
    pub partition: Partition,
    pub epoch: Epoch,
    pub offset: Offset,
    /// At most 4,000 characters; differs from one flush to the next of a partition (it carries the flush's number), which
    /// is how a commit of unknown outcome is told from one that did not happen.
    pub metadata: String,
}

/// What one partition adds to a flush: its offset, and the outputs that depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub commit: PartitionCommit,
    pub outputs: Vec<Output>,
}

/// What became of a flush: every part was committed, but for those whose partition is no longer this member's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    pub left_out: Vec<(Partition, Epoch)>,
}

#[async_trait]
pub trait Committer: Send + Sync {
    /// Writes the offsets and outputs of all parts in one transaction, but leaves out the parts whose partition was revoked
    /// (all of them: nothing is written). Retries by itself after aborts, lost producers and unknown outcomes, for as
    /// long as a partition of it is assigned; returns once it is known to be committed, or when it never will be. One
    /// call at a time: a second waits.
    async fn commit(&self, parts: Vec<Part>) -> Result<Flushed, LogError>;

    /// May this member act for the partition now? False once the epoch is void, and while the membership cannot be sure of
    /// itself (its last sign of life is older than half a session). Cheap: asked before every request.
    fn may_act(&self, partition: Partition, epoch: Epoch) -> bool;
}

/// What is read at once ends where it has so many bytes, although more records were asked for; the last record may overshoot.
pub const READ_BYTES: usize = 4 << 20;

/// Records read from one partition, and how far.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub records: Vec<Received>,
    /// The next offset to be read, past records, gaps and aborted transactions.
    pub position: Offset,
}

/// Reads one partition from an offset, committed records only, without a group.
#[async_trait]
pub trait PartitionReader: Send {
    /// The next records, at most `max` and `READ_BYTES`, or none when `wait` is over before any came.
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError>;

    /// Goes on at `offset`.
    async fn seek(&mut self, offset: Offset) -> Result<(), LogError>;
}

/// Reads many partitions at once, committed records only, without a group.
#[async_trait]
pub trait Follower: Send {
    /// What has come, at most `max` records and `READ_BYTES` of all partitions together: for each partition that moved its records and how far it was read. Nothing
    /// when `wait` is over. After an error a new follower is to be made, `OutOfRange` at where that partition begins.
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<(Topic, Partition, Batch)>, LogError>;
}

/// A writer that is alone: taking a seat settles and fences whoever had it.
#[async_trait]
pub trait Seat: Send {
    /// Writes the records in one transaction. `Fenced`: another took the seat, nothing was written.
    async fn commit(&mut self, outputs: Vec<Output>) -> Result<(), SeatError>;
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum SeatError {
    #[error("another process has taken the seat")]
    Fenced,
    /// After `LogError::UnknownOutcome` the seat must be taken again, which settles the transaction, and the log looked at.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Start,
    At(Offset),
    /// The first record whose timestamp is not before this one.
    Time(crate::model::time::Timestamp),
}

/// A log of partitioned topics.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Appends outside any transaction; returns when every record is durable (`acks=all`), with their places. Where only
    /// some were written the error is `UnknownOutcome`.
    async fn append(&self, outputs: Vec<Output>) -> Result<Vec<(Partition, Offset)>, LogError>;

    /// Joins the stage's group.
    async fn join(&self, membership: Membership) -> Result<Member, LogError>;

    /// Reads a partition from a place, committed records only.
    async fn read(&self, topic: Topic, partition: Partition, from: From) -> Result<Box<dyn PartitionReader>, LogError>;

    /// Reads many partitions from these offsets on.
    async fn follow(&self, places: Vec<(Topic, Partition, Offset)>) -> Result<Box<dyn Follower>, LogError>;

    /// The offset after the last record, those of open transactions included: reading up to here sees everything that was
    /// written before the call.
    async fn end(&self, topic: Topic, partition: Partition) -> Result<Offset, LogError>;

    /// The table in one partition of a compacted topic, as it stands: the last record of each key, tombstones left out.
    /// Complete with respect to every transaction of the partition's former owners, if called after the assignment was
    /// signalled (the load barrier).
    async fn load(&self, topic: Topic, partition: Partition) -> Result<Vec<Received>, LogError>;

    /// Takes the seat of this name: settles what its last holder left open, and fences it. A transaction of it may take `within`:
    /// the log may end a longer one, of which nothing is written then. Readers wait for so long behind one that a process left open.
    async fn seat(&self, name: &'static str, within: Duration) -> Result<Box<dyn Seat>, LogError>;

    /// How many partitions the topic has.
    async fn partitions(&self, topic: Topic) -> Result<i32, LogError>;

    /// Is the log answering? For probes: no result is cached for longer than a few seconds.
    async fn ping(&self) -> Result<(), LogError>;
}
