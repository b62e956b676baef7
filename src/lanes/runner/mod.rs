//! Runs a `Work` stage: one actor a partition, born when it is assigned and joined when it is revoked.

mod flying;
mod load;
mod owed;
mod partition;
mod payloads;
mod reads;
mod table;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::ids::{Offset, Partition};
use crate::model::time::Clock;
use crate::model::topic::Topic;
use crate::stream::flusher::{FlushQueue, Flusher};
use crate::stream::log::{Assignment, Committer, Credit, Epoch, Log, LogError, Member, Membership, Signal};
use crate::stream::stage::Work;
use owed::Owed;
use partition::{Mail, Means};

/// Bytes of payloads held over all partitions, beside what is in flight.
const PAYLOAD_BUDGET: usize = 96 << 20;
/// What is in flight when the process stops gets so long to end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// ... and its outcome so long to be committed.
const STOP_COMMIT: Duration = Duration::from_secs(10);

/// Owns a `Work` stage and its membership. `run` returns when told to stop, or when the log has failed for good.
pub struct WorkRunner<W> {
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub membership: Membership,
    pub work: Arc<W>,
    /// Changes whenever an integration's standing may have changed.
    pub changed: watch::Receiver<Option<Offset>>,
}

/// The members of a running stage.
struct Session<W> {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    topic: Topic,
    work: Arc<W>,
    changed: watch::Receiver<Option<Offset>>,
    committer: Arc<dyn Committer>,
    credit: Arc<dyn Credit>,
    flushes: FlushQueue,
    /// Bytes of payloads that one partition may hold.
    budget: usize,
    mailbox: usize,
    actors: BTreeMap<Partition, (Epoch, mpsc::Sender<Mail>)>,
    running: JoinSet<(Partition, Epoch, Result<(), LogError>)>,
}

impl<W: Work> WorkRunner<W> {
    /// Runs until `stop`; then starts nothing more, waits for what is in flight, commits and leaves the group.
    pub async fn run(self, stop: CancellationToken) -> Result<(), LogError> {
        let partitions = usize::try_from(self.log.partitions(self.membership.topic).await?).unwrap_or(1).max(1);
        // A batch has at least one record and gives its credit back when it is taken, so no mailbox ever fills: posting
        // never waits for a partition that is slow, and never refuses.
        let mailbox = self.membership.max_records + 64;
        let (stage, topic) = (self.membership.stage, self.membership.topic);
        let Member { mut signals, committer, credit } = self.log.join(self.membership).await?;
        let (flushes, flusher) = Flusher::new(stage, committer.clone(), partitions);
        let mut flushing = JoinSet::new();
        flushing.spawn(flusher.run());
        let mut session = Session {
            log: self.log,
            clock: self.clock,
            topic,
            work: self.work,
            changed: self.changed,
            committer,
            credit,
            flushes,
            budget: PAYLOAD_BUDGET / partitions,
            mailbox,
            actors: BTreeMap::new(),
            running: JoinSet::new(),
        };
        let result = loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(signal) => if let Err(error) = session.handle(signal).await { break Err(error) },
                    None => break Err(LogError::Unavailable("the group membership ended".into())),
                },
                Some(ended) = session.running.join_next() => if let Err(error) = session.ended(ended) { break Err(error) },
                Some(ended) = flushing.join_next() => break ended.unwrap_or_else(|e| Err(LogError::Fatal(e.to_string()))),
                () = stop.cancelled() => break session.drain_all().await,
            }
        };
        drop(session);
        result
    }
}

impl<W: Work> Session<W> {
    async fn handle(&mut self, signal: Signal) -> Result<(), LogError> {
        match signal {
            Signal::Assigned(assignments) => {
                for assignment in assignments {
                    self.assign(assignment);
                }
            }
            Signal::Records { partition, epoch, records, position } => {
                let owed = Owed::new(self.credit.clone(), &records);
                self.post(partition, epoch, Mail::Records { records, position, owed })?;
            }
            Signal::Skipped { partition, epoch, to, .. } => {
                let owed = Owed::new(self.credit.clone(), &[]);
                self.post(partition, epoch, Mail::Records { records: Vec::new(), position: to, owed })?;
            }
            Signal::Revoked { partitions, deadline, drained } => {
                self.drain(&partitions, deadline / 2, deadline).await?;
                drop(drained);
            }
            Signal::Lost { partitions } => {
                for (partition, epoch) in partitions {
                    self.forget(partition, epoch);
                }
            }
            Signal::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn assign(&mut self, assignment: Assignment) {
        let (mail, inbox) = mpsc::channel(self.mailbox);
        let (partition, epoch) = (assignment.partition, assignment.epoch);
        let means = Means {
            log: self.log.clone(),
            clock: self.clock.clone(),
            topic: self.topic,
            work: self.work.clone(),
            committer: self.committer.clone(),
            credit: self.credit.clone(),
            flushes: self.flushes.clone(),
            changed: self.changed.clone(),
            budget: self.budget,
        };
        self.actors.insert(partition, (epoch, mail));
        self.running.spawn(async move {
            let result = load::serve(means, assignment, inbox).await;
            (partition, epoch, result)
        });
    }

    /// False where the partition is not ours any more.
    fn post(&self, partition: Partition, epoch: Epoch, mail: Mail) -> Result<bool, LogError> {
        let Some((_, inbox)) = self.actors.get(&partition).filter(|(e, _)| *e == epoch) else { return Ok(false) };
        match inbox.try_send(mail) {
            Ok(()) => Ok(true),
            Err(TrySendError::Closed(_)) => Ok(false),
            // Left out, its records would count as a gap and be lost.
            Err(TrySendError::Full(_)) => {
                Err(LogError::Unavailable(format!("partition {partition} takes no more records")))
            }
        }
    }

    fn ended(
        &mut self,
        ended: Result<(Partition, Epoch, Result<(), LogError>), tokio::task::JoinError>,
    ) -> Result<(), LogError> {
        let (partition, epoch, result) =
            ended.map_err(|e| LogError::Fatal(format!("a partition's actor broke: {e}")))?;
        if self.forget(partition, epoch) {
            return result;
        }
        // What went wrong with a partition that is not ours any more is its next owner's business.
        if let Err(error) = result {
            tracing::warn!(partition = partition.0, %error, "a partition that was lost ended with an error");
        }
        Ok(())
    }

    /// Drops the partition's mailbox, which ends its actor at once. False where it is not ours.
    fn forget(&mut self, partition: Partition, epoch: Epoch) -> bool {
        let ours = self.actors.get(&partition).is_some_and(|(e, _)| *e == epoch);
        if ours {
            self.actors.remove(&partition);
        }
        ours
    }

    async fn drain_all(&mut self) -> Result<(), LogError> {
        let all: Vec<_> = self.actors.iter().map(|(p, (e, _))| (*p, *e)).collect();
        self.drain(&all, STOP_DEADLINE, STOP_DEADLINE + STOP_COMMIT).await
    }

    /// Tells the actors to finish and waits until they have. After `finish` they drop what is still in flight, after
    /// `end` nobody waits for their commits any more.
    async fn drain(
        &mut self,
        partitions: &[(Partition, Epoch)],
        finish: Duration,
        end: Duration,
    ) -> Result<(), LogError> {
        let now = tokio::time::Instant::now();
        let mut left = BTreeSet::new();
        for (partition, epoch) in partitions {
            if self.post(*partition, *epoch, Mail::Drain { until: now + finish })? {
                left.insert((*partition, *epoch));
            }
        }
        while !left.is_empty() {
            let Ok(Some(ended)) = tokio::time::timeout_at(now + end, self.running.join_next()).await else {
                tracing::warn!(partitions = left.len(), "not committed in time, will be repeated");
                break;
            };
            if let Ok((partition, epoch, _)) = &ended {
                left.remove(&(*partition, *epoch));
            }
            self.ended(ended)?;
        }
        for (partition, epoch) in partitions {
            self.forget(*partition, *epoch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
