//! One write, from its turn on: the seat is taken, the change decided over a snapshot that nothing is missing from, and committed.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Held, WriteError, Writer};
use crate::catalog::apply::{Plan, Verb};
use crate::catalog::audit::{Deed, Entry, Made, Origin};
use crate::catalog::change::{self, Basis, Change, Decision};
use crate::catalog::follow::PARTITION;
use crate::catalog::handle::Awaited;
use crate::catalog::kind::Key;
use crate::model::ids::Offset;
use crate::model::record::{Headers, Output, Record, header};
use crate::model::topic::Topic;
use crate::stream::log::{LogError, Seat, SeatError};

/// The transactional id is `<prefix>.catalog`, the same in every process.
const SEAT: &str = "catalog";
/// Records of a large write between which others run.
const BETWEEN: usize = 100;
/// Changes of one write that take the log long, and are worth a line in the log of the process.
pub(super) const MANY: usize = 1_000;
/// For one transaction: a large one takes seconds.
pub(super) const COMMITTED_WITHIN: Duration = Duration::from_secs(30);
/// A transaction that is open for longer than this may have been ended by the log, which looks as if another had taken the seat.
const LONG: Duration = COMMITTED_WITHIN.saturating_sub(Duration::from_secs(1));
/// A record that waits for longer than this may have been given up.
const LATE: Duration = Duration::from_secs(7);

/// One write, from its turn on.
pub(super) struct Turn<'a> {
    pub writer: &'a Writer,
    pub work: Work<'a>,
    pub by: &'a Origin,
    pub write: Uuid,
    pub awaited: Awaited<'a>,
    pub deadline: Instant,
}

/// What is to be written.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
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

impl Turn<'_> {
    pub async fn run(self, held: &mut Held) -> Result<Vec<Made>, WriteError> {
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
        let seat = self.in_time(self.writer.log.seat(SEAT, COMMITTED_WITHIN)).await?;
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
        let records = self.records(&outcome).await?;
        if records.is_empty() {
            *held = Some(seat);
            return Ok(Tried::Done(outcome));
        }
        let (count, begun) = (outcome.len(), Instant::now());
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
                if count >= MANY {
                    tracing::info!(changes = count, took = ?begun.elapsed(), "many changes of the catalog were written as one");
                }
                let seen = tokio::select! {
                    seen = self.awaited.held(self.rest()) => seen,
                    _ = self.writer.gone() => false,
                };
                if seen {
                    *held = Some(seat);
                }
                Ok(Tried::Done(outcome))
            }
            Err(refused) if is_too_slow(&refused, (count, begun.elapsed())) => Err(WriteError::TooLarge(format!(
                "the log had not taken {count} changes after {} s, and gave up; nothing was written: where it is not busy with \
                 something else make them in several, such as an organization at a time",
                begun.elapsed().as_secs()
            ))),
            Err(SeatError::Fenced) => Ok(Tried::Fenced),
            Err(SeatError::Log(cause @ LogError::UnknownOutcome(_))) => {
                Ok(Tried::Unknown(Unsettled { outcome, cause }))
            }
            Err(SeatError::Log(error)) => Err(error.into()),
        }
    }

    /// Of what changes: the resource, and who changed it.
    async fn records(&self, outcome: &[Made]) -> Result<Vec<Output>, WriteError> {
        let (at, most) = (self.writer.clock.now(), self.writer.limits.bytes);
        let mut more = outcome.iter().filter(|made| !made.decision.is_unchanged()).count();
        let (mut records, mut bytes) = (Vec::with_capacity(2 * more), 0);
        for (n, made) in outcome.iter().enumerate() {
            if n % BETWEEN == BETWEEN - 1 {
                tokio::task::yield_now().await;
            }
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

/// Was it the time that so many changes took for which nothing was written? The same again would end the same.
fn is_too_slow(refused: &SeatError, (count, took): (usize, Duration)) -> bool {
    match refused {
        SeatError::Fenced => count > 1 && took > LONG,
        SeatError::Log(LogError::Unavailable(_)) => count >= MANY && took > LATE,
        SeatError::Log(_) => false,
    }
}
