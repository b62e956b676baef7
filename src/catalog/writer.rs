//! Writes to the catalog: linearizable, whichever process takes them.
//!
//! The writer keeps its seat. Taking it settles and fences whoever had it, so that reading to the log's end afterwards sees
//! every write that can ever have been made before; each write is then decided over a snapshot that nothing is missing from.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use crate::catalog::apply::{Plan, Verb};
use crate::catalog::audit::{Deed, Entry, Made, Origin};
use crate::catalog::change::{self, Basis, Change, Decision, Refusal};
use crate::catalog::follow::PARTITION;
use crate::catalog::handle::{Awaited, Catalog};
use crate::catalog::kind::Key;
use crate::catalog::resource::Resource;
use crate::catalog::seal::Keyring;
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::Offset;
use crate::model::record::{Headers, Output, Record, header};
use crate::model::time::Clock;
use crate::model::topic::Topic;
use crate::stream::log::{Log, LogError, Seat, SeatError};

/// The transactional id is `<prefix>.catalog`, the same in every process.
const SEAT: &str = "catalog";

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
    /// Resources that one write changes, and bytes of its records, those of the audit included: the log gives a transaction ten
    /// seconds.
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

/// One write, from its turn on.
struct Turn<'a> {
    writer: &'a Writer,
    work: Work<'a>,
    by: &'a Origin,
    write: Uuid,
    awaited: Awaited<'a>,
    deadline: Instant,
}

/// What is to be written.
#[derive(Clone, Copy)]
enum Work<'a> {
    Changes(&'a [Change]),
    /// Decided already, over the catalog of which this is `Snapshot::changed`.
    Plan(&'a Plan, Offset),
}

/// How one try ended.
enum Tried {
    Done(Vec<Made>),
    Fenced,
    /// Whether it was written is seen once the seat is taken again.
    Unknown(Unsettled),
}

struct Unsettled {
    outcome: Vec<Made>,
    cause: LogError,
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

    /// Makes all changes in one transaction, or none: each is decided over what those before it leave. Beside each goes a record
    /// of who made it.
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
        let deadline = Instant::now() + self.limits.patience + many;
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
    pub(super) async fn see_everything(&self) -> Result<(), LogError> {
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

impl Turn<'_> {
    async fn run(self, held: &mut Held) -> Result<Vec<Made>, WriteError> {
        let mut unsettled: Option<Unsettled> = None;
        for _ in 0..self.writer.limits.tries {
            let seat = match (self.sit(held).await, unsettled.take()) {
                (Ok(seat), Some(open)) if self.awaited.is_held() => {
                    *held = Some(seat);
                    return Ok(open.outcome);
                }
                (Ok(seat), _) => seat,
                (Err(error), Some(open)) => {
                    tracing::warn!(%error, cause = %open.cause, "a write to the catalog stays unsettled");
                    return Err(WriteError::Unknown(open.cause.to_string()));
                }
                (Err(error), None) => return Err(WriteError::Unavailable(error.to_string())),
            };
            match self.attempt(seat, held).await? {
                Tried::Done(made) => return Ok(made),
                Tried::Fenced => {}
                Tried::Unknown(open) => unsettled = Some(open),
            }
            self.writer.pause().await;
        }
        match unsettled {
            Some(open) => Err(WriteError::Unknown(open.cause.to_string())),
            None => Err(WriteError::Unavailable("other processes keep writing to it; try again".to_owned())),
        }
    }

    /// The seat that is held already, or a fresh one with a snapshot that nothing is missing from.
    async fn sit(&self, held: &mut Held) -> Result<Box<dyn Seat>, LogError> {
        if let Some(seat) = held.take() {
            return Ok(seat);
        }
        let seat = self.in_time(self.writer.log.seat(SEAT)).await?;
        self.catch_up().await?;
        Ok(seat)
    }

    async fn catch_up(&self) -> Result<(), LogError> {
        self.in_time(self.writer.catalog.catch_up(&*self.writer.log, self.rest())).await
    }

    /// Whoever has taken the seat meanwhile may have written what a refusal rests on; a commit would tell, a refusal does not.
    async fn decide(&self) -> Result<Result<Vec<Made>, WriteError>, LogError> {
        match self.decide_now() {
            Ok(made) if !made.iter().all(|made| made.decision.is_unchanged()) => Ok(Ok(made)),
            _ => {
                self.catch_up().await?;
                Ok(self.decide_now())
            }
        }
    }

    fn decide_now(&self) -> Result<Vec<Made>, WriteError> {
        let Writer { catalog, clock, keyring, .. } = self.writer;
        let (snapshot, now) = (catalog.snapshot(), clock.now());
        match self.work {
            Work::Changes(changes) => {
                let basis = Basis { snapshot: &snapshot, now, keyring: keyring.as_deref() };
                let decided = change::decide(changes, basis);
                let decided = decided.map_err(|(at, refusal)| WriteError::Refused { at, refusal })?;
                let made = |(change, decision): (&Change, Decision)| Made {
                    key: change.key.clone(),
                    deed: Deed::from(&change.action),
                    decision,
                };
                Ok(changes.iter().zip(decided).map(made).collect())
            }
            Work::Plan(_, planned) if snapshot.changed() > planned => {
                Err(WriteError::Moved { planned, actual: snapshot.changed() })
            }
            Work::Plan(plan, _) => {
                let made = plan.steps.iter().filter_map(|step| {
                    let deed = match step.verb {
                        Verb::Create => Deed::Create,
                        Verb::Delete => Deed::Delete,
                        Verb::Update | Verb::Unchanged => Deed::Update,
                    };
                    Some(Made { key: step.key.clone(), deed, decision: step.decision.as_ref()?.dated(now) })
                });
                Ok(made.collect())
            }
        }
    }

    /// Decides over the snapshot and commits. The seat is kept only where the next write may rely on the snapshot.
    async fn attempt(&self, mut seat: Box<dyn Seat>, held: &mut Held) -> Result<Tried, WriteError> {
        let outcome = match self.decide().await? {
            Ok(outcome) => outcome,
            Err(refused) => {
                *held = Some(seat);
                return Err(refused);
            }
        };
        let records = self.records(&outcome)?;
        if records.is_empty() {
            *held = Some(seat);
            return Ok(Tried::Done(outcome));
        }
        let answer = tokio::select! {
            biased;
            answer = seat.commit(records) => answer,
            error = self.writer.gone() => return Err(WriteError::Unknown(error.to_string())),
            () = tokio::time::sleep_until(self.deadline) => {
                return Err(WriteError::Unknown("the log did not answer in time".to_owned()));
            }
        };
        match answer {
            Ok(()) => {
                let seen = tokio::select! {
                    seen = self.awaited.held(self.rest()) => seen,
                    _ = self.writer.gone() => false,
                };
                if seen {
                    *held = Some(seat);
                }
                Ok(Tried::Done(outcome))
            }
            Err(SeatError::Fenced) => Ok(Tried::Fenced),
            Err(SeatError::Log(cause @ LogError::UnknownOutcome(_))) => {
                Ok(Tried::Unknown(Unsettled { outcome, cause }))
            }
            Err(SeatError::Log(error)) => Err(error.into()),
        }
    }

    /// Of what changes: the resource, and who changed it.
    fn records(&self, outcome: &[Made]) -> Result<Vec<Output>, WriteError> {
        let (at, most) = (self.writer.clock.now(), self.writer.limits.bytes);
        let mut more = outcome.iter().filter(|made| !made.decision.is_unchanged()).count();
        let (mut records, mut bytes) = (Vec::with_capacity(2 * more), 0);
        for made in outcome {
            let Some(entry) = Entry::of(made, (self.by, at)) else { continue };
            more -= 1;
            let value = match &made.decision {
                Decision::Put { is, .. } => Some(is.to_bytes()),
                Decision::Remove(_) | Decision::Unchanged(_) => None,
            };
            for output in [self.record(&made.key, value, more), entry.record()] {
                bytes += output.record.size();
                records.push(output);
            }
            if bytes > most {
                return Err(WriteError::TooLarge(format!(
                    "these changes are more than {} MiB with their audit, which is what one transaction takes at most: make them in \
                     several, such as an organization at a time",
                    most >> 20
                )));
            }
        }
        Ok(records)
    }

    /// `more` of the same write come after it.
    fn record(&self, key: &Key, value: Option<Bytes>, more: usize) -> Output {
        let mut headers = Headers::with_capacity(2);
        headers.push(header::TG_WRITE, self.write.to_string());
        if more > 0 {
            headers.push(header::TG_MORE, more.to_string());
        }
        let key = Some(Bytes::from(key.to_string()));
        Output { topic: Topic::Catalog, partition: Some(PARTITION), record: Record { key, value, headers } }
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
        tokio::select! {
            biased;
            answer = call => answer,
            error = self.writer.gone() => Err(error),
            () = tokio::time::sleep_until(self.deadline) => {
                Err(LogError::Unavailable("it did not answer in time".to_owned()))
            }
        }
    }

    fn rest(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
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
