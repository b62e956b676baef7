//! Dead letters go back into `deliveries`, each once: whatever restarts meanwhile, and however many processes do it.
//!
//! `deliveries` holds what was put back, and history shows it once it has read that far. Who puts back holds a seat: taking it
//! settles and fences whoever had it, so that nothing of theirs comes behind the end that `deliveries` has then. History that
//! has passed this end knows what all others did. What this process does itself it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::facts::redrives;
use super::handle::{History, Positions};
use super::rows::{Delivery, Place};
use super::store::{Store, StoreError};
use crate::model::delivery::DeliveryStatus;
use crate::model::ids::{DeliveryId, Offset, Partition};
use crate::model::record::{Output, Record, header};
use crate::model::topic::Topic;
use crate::stream::log::{From, Log, LogError, Seat, SeatError};

/// How deliveries end that can be put back.
pub const DEAD: [DeliveryStatus; 2] = [DeliveryStatus::Failed, DeliveryStatus::Abandoned];

const SEAT: &str = "redrive";
/// Deliveries wait for so long behind a letter of a process that was killed.
const COMMITTED_WITHIN: Duration = Duration::from_secs(10);
/// Those under way; with each is a record of the log.
const AT_ONCE: usize = 64;
/// Letters that were put back under one seat. With more the seat is taken anew, behind what was done until then.
const REMEMBERED: usize = 100_000;
const READ_WITHIN: Duration = Duration::from_secs(5);
const SEATED_WITHIN: Duration = Duration::from_secs(15);
/// How often the seat is taken for one letter: another process may do the same.
const TRIES: u32 = 3;

/// Why a dead letter was not put back. Nothing was written, but for `Unsettled`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedriveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("history has no such delivery")]
    Unknown,
    #[error("it is {0}")]
    NotDead(DeliveryStatus),
    #[error("it was put back a moment ago")]
    JustNow,
    /// Retention has deleted it.
    #[error("its dead letter is gone from the log: retention deleted it")]
    Gone,
    #[error("history has not met its dead letter yet")]
    NotYet,
    /// `dlq` keeps records for longer than the topics that tell what became of them.
    #[error(
        "history knows it by its dead letter alone: whether it was put back since is not read yet, or gone from the log, as it is \
         where history was made anew after `attempts` had lost it"
    )]
    LetterAlone,
    /// So many records lie before the end of `deliveries` behind which history knows enough.
    #[error(
        "history does not know yet what was put back before: it has {0} records of `deliveries` to read until it does"
    )]
    Behind(u64),
    #[error("others are being put back")]
    Busy,
    /// It may be there. A second try finds that out first.
    #[error("whether it was put back is not known yet: {0}")]
    Unsettled(LogError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What a process needs to put dead letters back.
pub struct Redrives {
    log: Arc<dyn Log>,
    history: Arc<History>,
    /// How long one waits for its turn and for history.
    patience: Duration,
    room: Semaphore,
    /// Taken out while it writes: who gives up half-way leaves a seat that is taken anew.
    turn: Mutex<Option<Held>>,
}

/// The seat, and what is known under it.
struct Held {
    seat: Box<dyn Seat>,
    /// Where `deliveries` ended when the seat was taken.
    ends: BTreeMap<Partition, Offset>,
    done: BTreeSet<Place>,
}

impl Held {
    /// Records that history has to pass.
    fn behind(&self, positions: &Positions) -> u64 {
        let left = |(partition, end): (&Partition, &Offset)| {
            let next = positions.get(&(Topic::Deliveries, *partition)).map_or(0, |next| next.0);
            u64::try_from(end.0.saturating_sub(next)).unwrap_or(0)
        };
        self.ends.iter().map(left).sum()
    }
}

/// A dead letter as the log has it.
struct Letter {
    place: Place,
    record: Record,
}

impl Redrives {
    pub fn new(log: Arc<dyn Log>, history: Arc<History>, patience: Duration) -> Redrives {
        Redrives { log, history, patience, room: Semaphore::new(AT_ONCE), turn: Mutex::new(None) }
    }

    /// Puts the delivery's dead letter back: the same delivery, its attempts counted on. `beside` is written with it or not at all.
    pub async fn put_back(&self, id: DeliveryId, beside: Output) -> Result<(), RedriveError> {
        let _place = self.room.try_acquire().map_err(|_| RedriveError::Busy)?;
        // Before the turn, which one has at a time: what lies at a place does not change.
        let letter = self.letter(id).await?;
        let deadline = Instant::now() + self.patience;
        let mut unsettled: Option<LogError> = None;
        for _ in 0..TRIES {
            let mut turn = match (self.turn(deadline).await, &unsettled) {
                (Ok(turn), _) => turn,
                (Err(_), Some(cause)) => return Err(RedriveError::Unsettled(cause.clone())),
                (Err(error), None) => return Err(error),
            };
            // Asked now, for only now history knows what others did.
            match (self.stands(id, &letter).await, &unsettled) {
                (Ok(()), _) => {}
                (Err(RedriveError::NotDead(_) | RedriveError::NotYet), Some(_)) => return Ok(()),
                (Err(_), Some(cause)) => return Err(RedriveError::Unsettled(cause.clone())),
                (Err(error), None) => return Err(error),
            }
            let Some(mut held) = turn.take_if(|held| !held.done.contains(&letter.place)) else {
                return Err(RedriveError::JustNow);
            };
            match held.seat.commit(vec![letter.again(), beside.clone()]).await {
                Ok(()) => {
                    held.done.insert(letter.place);
                    *turn = Some(held);
                    return Ok(());
                }
                Err(SeatError::Fenced) => {}
                Err(SeatError::Log(cause @ LogError::UnknownOutcome(_))) => unsettled = Some(cause),
                Err(SeatError::Log(error)) => return Err(error.into()),
            }
        }
        Err(unsettled.map_or(RedriveError::Busy, RedriveError::Unsettled))
    }

    /// The seat, once history knows all that was done before it was taken.
    async fn turn(&self, deadline: Instant) -> Result<MutexGuard<'_, Option<Held>>, RedriveError> {
        let mut positions = self.history.positions();
        loop {
            let mut turn = timeout_at(deadline, self.turn.lock()).await.map_err(|_| RedriveError::Busy)?;
            if turn.as_ref().is_none_or(|held| held.done.len() >= REMEMBERED) {
                *turn = None;
                *turn = Some(self.sit().await?);
            }
            let behind = turn.as_ref().map_or(0, |held| held.behind(&positions.borrow_and_update()));
            if behind == 0 {
                return Ok(turn);
            }
            drop(turn);
            if !matches!(timeout_at(deadline, positions.changed()).await, Ok(Ok(()))) {
                return Err(RedriveError::Behind(behind));
            }
        }
    }

    /// Is the delivery dead by this letter, as far as history knows?
    async fn stands(&self, id: DeliveryId, letter: &Letter) -> Result<(), RedriveError> {
        letter.is_of(&dead(&*self.history.store()?, id).await?)
    }

    async fn sit(&self) -> Result<Held, LogError> {
        let sit = async {
            let seat = self.log.seat(SEAT, COMMITTED_WITHIN).await?;
            let mut ends = BTreeMap::new();
            for partition in (0..self.log.partitions(Topic::Deliveries).await?).map(Partition) {
                ends.insert(partition, self.log.end(Topic::Deliveries, partition).await?);
            }
            Ok(Held { seat, ends, done: BTreeSet::new() })
        };
        let late = |_| Err(LogError::Unavailable("it did not answer in time".to_owned()));
        timeout(SEATED_WITHIN, sit).await.unwrap_or_else(late)
    }

    async fn letter(&self, id: DeliveryId) -> Result<Letter, RedriveError> {
        let store = self.history.store()?;
        let delivery = dead(&*store, id).await?;
        let place = store.dead_letter(id).await?.ok_or(RedriveError::NotYet)?.place;
        let mut reader = self.log.read(Topic::Dlq, place.partition, From::At(place.offset)).await?;
        let batch = match reader.next(1, READ_WITHIN).await {
            Err(LogError::OutOfRange { .. }) => return Err(RedriveError::Gone),
            other => other?,
        };
        let found = batch
            .records
            .into_iter()
            .next()
            .ok_or_else(|| LogError::Unavailable(format!("the dead letter was not read within {READ_WITHIN:?}")))?;
        let headers = &found.record.headers;
        if found.offset != place.offset || headers.text(header::TG_DELIVERY) != Some(&id.to_string()) {
            return Err(RedriveError::Gone);
        }
        let letter = Letter { place, record: found.record };
        letter.is_of(&delivery)?;
        Ok(letter)
    }
}

/// The delivery, if it can be put back.
async fn dead(store: &dyn Store, id: DeliveryId) -> Result<Delivery, RedriveError> {
    let delivery = store.delivery(id).await?.ok_or(RedriveError::Unknown)?;
    if DEAD.contains(&delivery.state.status) { Ok(delivery) } else { Err(RedriveError::NotDead(delivery.state.status)) }
}

impl Letter {
    /// Is it what the delivery ended with? Else it died again since, and history has not met its newest letter.
    fn is_of(&self, delivery: &Delivery) -> Result<(), RedriveError> {
        if delivery.is_known_by_letter {
            return Err(RedriveError::LetterAlone);
        }
        let headers = &self.record.headers;
        let attempts = headers.text(header::TG_ATTEMPT).and_then(|n| n.parse().ok());
        let same = (attempts, redrives(headers)) == (Some(delivery.state.attempts), delivery.redrives);
        same.then_some(()).ok_or(RedriveError::NotYet)
    }

    fn again(&self) -> Output {
        let mut record = self.record.clone();
        let times = redrives(&record.headers).saturating_add(1);
        record.headers.set(header::TG_REDRIVES, times.to_string());
        Output { topic: Topic::Deliveries, partition: None, record }
    }
}
