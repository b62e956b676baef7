//! Writes to the catalog: linearizable, whichever process takes them.
//!
//! The writer keeps its seat. Taking it settles and fences whoever had it, so that reading to the log's end afterwards sees
//! every write that can ever have been made before; each write is then decided over a snapshot that nothing is missing from.

mod turn;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use crate::catalog::apply::Plan;
use crate::catalog::audit::{Made, Origin};
use crate::catalog::change::{Change, Decision, Refusal};
use crate::catalog::handle::Catalog;
use crate::catalog::resource::Resource;
use crate::catalog::seal::Keyring;
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::Offset;
use crate::model::time::Clock;
use crate::stream::log::{Log, LogError, Seat};
use turn::{Turn, Work};

/// How often the log is asked whether it is there while a call of it is not answered. The client library goes on trying for
/// far longer than anybody waits for an answer here.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What each of many changes at once may take longer than one alone.
const EACH: Duration = Duration::from_millis(1);

/// Why a write has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// Of several changes, the one at this place.
    #[error("{refusal}")]
    Refused { at: usize, refusal: Refusal },
    /// Nothing was written.
    #[error("the catalog moved since the plan: it is at {actual}, and the plan was made at {planned}")]
    Moved { planned: Offset, actual: Offset },
    /// Nothing was written.
    #[error("the catalog cannot be written now: {0}")]
    Unavailable(String),
    /// The log went away at the moment of the write, and stayed away.
    #[error("it is not known whether the change was made; look before you send it again: {0}")]
    Unknown(String),
    /// It is more than the log takes, as one record or as one transaction. Nothing was written.
    #[error("{0}")]
    TooLarge(String),
}

/// How long and how often a write is tried.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the call to the answer, at most, while the log answers. With the log away it is about five seconds.
    pub patience: Duration,
    pub tries: u32,
    /// Milliseconds to wait after being fenced, at random, so that two writers do not go on taking the seat from each other.
    pub pause_ms: RangeInclusive<u64>,
    /// Writes that wait for their turn.
    pub queue: usize,
    /// Resources that one write changes, and bytes of its records, those of the audit included: the log gives a transaction
    /// 30 s.
    pub changes: usize,
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            patience: Duration::from_secs(20),
            tries: 10,
            pause_ms: 50..=250,
            queue: 256,
            changes: 200_000,
            bytes: 512 << 20,
        }
    }
}

/// The seat, while this process believes to have it.
type Held = Option<Box<dyn Seat>>;

/// Takes changes one at a time. One for each process; share it as `Arc<Writer>`.
pub struct Writer {
    log: Arc<dyn Log>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    keyring: Option<Arc<Keyring>>,
    limits: Limits,
    queue: Semaphore,
    /// Taken out while it is used: a write that is dropped half-way loses the seat, and the next one settles it.
    seat: Mutex<Held>,
}

impl Writer {
    pub fn new(log: Arc<dyn Log>, catalog: Arc<Catalog>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let queue = Semaphore::new(limits.queue);
        Writer { log, catalog, clock, keyring: None, limits, queue, seat: Mutex::new(None) }
    }

    /// Without a key no secret is taken.
    pub fn sealing_with(self, keyring: Option<Arc<Keyring>>) -> Self {
        Writer { keyring, ..self }
    }

    /// What secrets are sealed under and opened by.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_deref()
    }

    /// Makes the change durable and visible in the own snapshot. The answer is the resource as it is now or, deleted, as it was.
    pub async fn write(&self, change: Change, by: &Origin) -> Result<Resource, WriteError> {
        let made = self.write_all(&[change], by).await?;
        // As many decisions as changes.
        made.into_iter()
            .next()
            .map(|made| made.resource().clone())
            .ok_or_else(|| WriteError::Unavailable(String::new()))
    }

    /// Makes all changes in one transaction, or none, as `change::decide` has them. Beside each goes a record of who made it.
    pub async fn write_all(&self, changes: &[Change], by: &Origin) -> Result<Vec<Decision>, WriteError> {
        let made = self.write_work(Work::Changes(changes), by).await?;
        Ok(made.into_iter().map(|made| made.decision).collect())
    }

    /// Writes what a plan comes to in one transaction, if nothing was changed since `planned`, which is `Snapshot::changed` of what
    /// it was made over.
    ///
    /// # Errors
    /// Beside the others `WriteError::Moved`.
    pub async fn write_planned(&self, plan: &Plan, planned: Offset, by: &Origin) -> Result<(), WriteError> {
        self.write_work(Work::Plan(plan, planned), by).await.map(drop)
    }

    /// Is it more than one transaction takes?
    ///
    /// # Errors
    /// `WriteError::TooLarge`.
    pub fn takes(&self, changes: usize) -> Result<(), WriteError> {
        let most = self.limits.changes;
        if changes <= most {
            return Ok(());
        }
        Err(WriteError::TooLarge(format!(
            "these are {changes} changes, and one transaction takes {most} at most: make them in several, such as an organization \
             at a time"
        )))
    }

    async fn write_work(&self, work: Work<'_>, by: &Origin) -> Result<Vec<Made>, WriteError> {
        let count = match work {
            Work::Changes(changes) => changes.len(),
            Work::Plan(plan, _) => plan.changes(),
        };
        self.takes(count)?;
        let many = EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        // What the log may take as long as it may is not given up before: whether it was written would not be known.
        let committing = if count >= turn::MANY { turn::COMMITTED_WITHIN } else { Duration::ZERO };
        let deadline = Instant::now() + self.limits.patience + many + committing;
        let busy = || WriteError::Unavailable("too many changes wait for their turn; try again".to_owned());
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        // Before the turn, so that with the log away none waits for the others to find that out, and nothing is written.
        self.answers().await?;
        let mut held = tokio::time::timeout_at(deadline, self.seat.lock()).await.map_err(|_| busy())?;
        let write = Uuid::new_v4();
        let turn = Turn { writer: self, work, by, write, awaited: self.catalog.watch_for(write), deadline };
        turn.run(&mut held).await
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.catalog.snapshot()
    }

    /// The snapshot holds what was written anywhere before this call.
    ///
    /// # Errors
    /// Where the log does not answer, or the snapshot does not get there in time.
    pub async fn see_everything(&self) -> Result<(), LogError> {
        self.answers().await?;
        self.catalog.catch_up(&*self.log, self.limits.patience).await
    }

    /// Does the log answer? Asked twice: one slow answer must not refuse a write.
    async fn answers(&self) -> Result<(), LogError> {
        match self.log.ping().await {
            Ok(()) => Ok(()),
            Err(_) => self.log.ping().await,
        }
    }

    /// Returns once the log does not answer any more.
    async fn gone(&self) -> LogError {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            if let Err(error) = self.answers().await {
                return error;
            }
        }
    }

    async fn pause(&self) {
        let pause = Duration::from_millis(fastrand::u64(self.limits.pause_ms.clone()));
        tokio::time::sleep(pause).await;
    }
}

impl From<LogError> for WriteError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::TooLarge { .. } => WriteError::TooLarge(error.to_string()),
            LogError::UnknownOutcome(_) => WriteError::Unknown(error.to_string()),
            LogError::Unavailable(_)
            | LogError::OutOfRange { .. }
            | LogError::InstanceShared(_)
            | LogError::Fatal(_) => WriteError::Unavailable(error.to_string()),
        }
    }
}
