//! One partition's actor: it alone decides what is sent, read and committed there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::payloads::Payloads;
use super::reads::Reads;
use crate::lanes::{Answer, Lanes, Limits, Seen, Start};
use crate::model::ids::{Offset, Partition};
use crate::model::record::{Output, Received};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::flusher::{FlushQueue, PartResult};
use crate::stream::log::{Assignment, Committer, Credit, Epoch, Log, LogError, Part, PartitionCommit};
use crate::stream::metadata::Progress;
use crate::stream::stage::{Admission, Attempted, Job, Outcome, Work};

/// Outputs wait so long for company before they are committed; nothing that is sent depends on it.
const LINGER: Duration = Duration::from_millis(20);
/// A flush is handed in at once with so many outputs or bytes.
const FLUSH_OUTPUTS: usize = 1_000;
const FLUSH_BYTES: usize = 4 << 20;
/// Bytes of payloads in flight above which nothing more is started.
const IN_FLIGHT_BYTES: usize = 64 << 20;

/// What an actor is told.
pub(super) enum Mail {
    Records { records: Vec<Received>, position: Offset },
    /// Start nothing more, finish what runs by `until`, commit, end.
    Drain { until: Instant },
}

/// What an actor works with.
pub(super) struct Means<W> {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub work: Arc<W>,
    pub committer: Arc<dyn Committer>,
    pub credit: Arc<dyn Credit>,
    pub flushes: FlushQueue,
    pub changed: watch::Receiver<Option<Offset>>,
    pub budget: usize,
}

/// An attempt that has ended.
struct Ended {
    offset: Offset,
    attempt: u32,
    bytes: usize,
    attempted: Attempted,
}

pub(super) struct Actor<W> {
    means: Means<W>,
    partition: Partition,
    epoch: Epoch,
    lanes: Lanes,
    payloads: Payloads,
    reads: Reads,
    attempts: FuturesUnordered<BoxFuture<'static, Ended>>,
    in_flight_bytes: usize,
    /// Read, but the window has no room for them yet.
    backlog: VecDeque<Received>,
    /// The position after the backlog.
    position: Offset,
    outputs: Vec<Output>,
    output_bytes: usize,
    dirty_since: Option<Instant>,
    flushing: Option<BoxFuture<'static, PartResult>>,
    /// Set while draining: nothing is started, and this is the last moment.
    draining: Option<Instant>,
}
