//! Runs a `Work` stage: one actor a partition, born when it is assigned and joined when it is revoked.

mod partition;
mod payloads;
mod reads;
mod table;
mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::model::ids::{Offset, Partition};
use crate::model::time::Clock;
use crate::model::topic::Topic;
use crate::stream::flusher::{FlushQueue, Flusher};
use crate::stream::log::{Assignment, Committer, Credit, Epoch, Log, LogError, Member, Membership, Signal};
use crate::stream::stage::Work;
use partition::{Actor, Mail, Means};

/// Bytes of payloads held over all partitions, beside what is in flight.
const PAYLOAD_BUDGET: usize = 96 << 20;
/// What is in flight when the process stops gets so long to end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

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
                () = stop.cancelled() => break session.drain_all(STOP_DEADLINE).await,
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
                let weight = (records.len(), records.iter().map(|r| r.record.size()).sum());
                if !self.post(partition, epoch, Mail::Records { records, position }) {
                    self.credit.release(weight.0, weight.1);
                }
            }
            Signal::Skipped { partition, epoch, to, .. } => {
                self.post(partition, epoch, Mail::Records { records: Vec::new(), position: to });
            }
            Signal::Revoked { partitions, deadline, drained } => {
                self.drain(&partitions, deadline / 2).await?;
                drop(drained);
            }
            Signal::Lost { partitions } => {
                for (partition, epoch) in partitions {
                    // Dropping its mailbox ends the actor at once.
                    if self.actors.get(&partition).is_some_and(|(e, _)| *e == epoch) {
                        self.actors.remove(&partition);
                    }
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
            let result = match Actor::load(means, assignment).await {
                Ok(actor) => actor.run(inbox).await,
                Err(error) => Err(error),
            };
            (partition, epoch, result)
        });
    }

    /// False where the partition is not ours any more.
    fn post(&self, partition: Partition, epoch: Epoch, mail: Mail) -> bool {
        match self.actors.get(&partition) {
            Some((e, inbox)) if *e == epoch => inbox.try_send(mail).is_ok(),
            _ => false,
        }
    }

    fn ended(
        &mut self,
        ended: Result<(Partition, Epoch, Result<(), LogError>), tokio::task::JoinError>,
    ) -> Result<(), LogError> {
        let (partition, epoch, result) =
            ended.map_err(|e| LogError::Fatal(format!("a partition's actor broke: {e}")))?;
        if self.actors.get(&partition).is_some_and(|(e, _)| *e == epoch) {
            self.actors.remove(&partition);
        }
        result
    }

    async fn drain_all(&mut self, deadline: Duration) -> Result<(), LogError> {
        let all: Vec<_> = self.actors.iter().map(|(p, (e, _))| (*p, *e)).collect();
        self.drain(&all, deadline).await
    }

    /// Tells the actors to finish and waits until they have; at the deadline they drop what is still in flight.
    async fn drain(&mut self, partitions: &[(Partition, Epoch)], deadline: Duration) -> Result<(), LogError> {
        let until = tokio::time::Instant::now() + deadline;
        let mut left = 0;
        for (partition, epoch) in partitions {
            if self.post(*partition, *epoch, Mail::Drain { until }) {
                left += 1;
            }
        }
        let mine = |p: Partition, e: Epoch| partitions.contains(&(p, e));
        while left > 0 {
            let Some(ended) = self.running.join_next().await else { return Ok(()) };
            if ended.as_ref().is_ok_and(|(p, e, _)| mine(*p, *e)) {
                left -= 1;
            }
            self.ended(ended)?;
        }
        Ok(())
    }
}
