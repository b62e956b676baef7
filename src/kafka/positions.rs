//! Where the partitions of an assignment begin: the load barrier of an assignment.
//!
//! Read committed, the broker does not tell a committed offset while a transaction is pending on it. So the answer holds
//! everything that the predecessor committed, and may take as long as its transaction may be open.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::mpsc;

use super::Engine;
use super::committer::committed;
use super::consumer::Client;
use super::group::Group;
use super::health::Context;
use super::metadata::Span;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::{Committed, LogError};

/// How long one question may take; between two the partitions may have been revoked.
const ASK: Duration = Duration::from_secs(1);
/// The same where each partition is asked for by itself, so that one with a pending transaction does not hold up the others.
const ASK_ONE: Duration = Duration::from_millis(250);

const PAUSE: Duration = Duration::from_millis(10);
/// An answer is late after so long: a transaction's time-out and the broker's sweep.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) partition: Partition,
    pub(super) committed: Option<Committed>,
    pub(super) next: Offset,
    /// Offsets from here to `next` are gone.
    pub(super) lost_from: Option<Offset>,
}

/// The starts of partitions of one assignment, told by its number.
pub(super) type Starts = (u64, Vec<Start>);

/// Asks on a thread of its own, until there is an answer for every partition that is still waited for.
pub(super) fn look_up(
    engine: &Arc<Engine>,
    consumer: &Arc<BaseConsumer<Context<Group>>>,
    assignment: (u64, Topic, Vec<Partition>),
    answers: &mpsc::Sender<Starts>,
) -> Result<(), LogError> {
    let (number, topic, open) = assignment;
    let now = Instant::now();
    let mut asker = Asker {
        since: now,
        told: now,
        engine: engine.clone(),
        consumer: Arc::downgrade(consumer),
        number,
        topic,
        open,
        answers: answers.clone(),
    };
    engine.threads.spawn("kafka-positions", move || while asker.ask().is_some() {})
}

struct Asker {
    since: Instant,
    /// When it was last told that an answer takes long.
    told: Instant,
    engine: Arc<Engine>,
    consumer: Weak<BaseConsumer<Context<Group>>>,
    number: u64,
    topic: Topic,
    open: Vec<Partition>,
    answers: mpsc::Sender<Starts>,
}

impl Asker {
    /// One round of questions. `None`: there is nobody left to ask for.
    fn ask(&mut self) -> Option<()> {
        let consumer = self.consumer.upgrade()?;
        let group = &consumer.context().hooks;
        self.open.retain(|p| !group.own.is_stopped() && group.is_pending(*p, self.number));
        if self.open.is_empty() {
            return None;
        }
        if let Err(error) = self.settle(&consumer, &self.open.clone(), ASK) {
            for partition in self.open.clone() {
                // What holds one up is told for all; it is most often a transaction of the predecessor that is still open.
                let _ = self.settle(&consumer, &[partition], ASK_ONE);
            }
            self.tell(&error);
        }
        if !self.open.is_empty() {
            std::thread::sleep(PAUSE);
        }
        Some(())
    }

    fn settle(&mut self, consumer: &Client, partitions: &[Partition], wait: Duration) -> KafkaResult<()> {
        let name = self.engine.names.of(self.topic);
        let mut found = Vec::new();
        for (partition, committed) in committed(consumer, name, partitions.iter().copied(), wait)? {
            match self.engine.metadata.span(name, partition) {
                // A broker that has just come back may tell an end that is too low, for a moment.
                Ok(span) if committed.as_ref().is_some_and(|c| c.offset > span.end) && !self.is_late() => {}
                Ok(span) => {
                    self.open.retain(|p| *p != partition);
                    found.push(start(partition, committed, span));
                }
                // One without a leader takes its time to say so: the others do not wait for the next.
                Err(_) => self.send(std::mem::take(&mut found)),
            }
        }
        self.send(found);
        Ok(())
    }

    fn is_late(&self) -> bool {
        self.since.elapsed() > PATIENCE
    }

    fn tell(&mut self, error: &KafkaError) {
        if self.is_late() && self.told.elapsed() > PATIENCE {
            self.told = Instant::now();
            let (partitions, seconds) = (self.open.len(), self.since.elapsed().as_secs());
            let topic = self.topic.name();
            tracing::warn!(topic, partitions, seconds, %error, "where partitions begin is not known yet; they wait");
        }
    }

    fn send(&self, found: Vec<Start>) {
        // The poll thread is gone where the member was left; then nothing is pending any more either.
        let _ = self.answers.blocking_send((self.number, found));
    }
}

/// From the committed offset, or the log's start where nothing was committed or what was committed is not in the log. Behind
/// the log's end it is of a log that is not this one: nothing of it counts.
fn start(partition: Partition, committed: Option<Committed>, span: Span) -> Start {
    let (next, lost_from) = match &committed {
        None => (span.start, None),
        Some(c) if (span.start..=span.end).contains(&c.offset) => (c.offset, None),
        Some(c) => (span.start, Some(c.offset)),
    };
    let of_this_log = |c: &Committed| c.offset <= span.end;
    Start { partition, committed: committed.filter(of_this_log), next, lost_from }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_committed_offset_that_retention_overtook_begins_at_the_logs_start_and_says_so() {
        let span = Span { start: Offset(10), end: Offset(20) };
        let at = |o: i64| Some(Committed { offset: Offset(o), metadata: String::new() });
        for (committed, next, lost_from) in [
            (None, 10, None),
            (at(10), 10, None),
            (at(15), 15, None),
            (at(20), 20, None),
            (at(9), 10, Some(Offset(9))),
            (at(21), 10, Some(Offset(21))),
        ] {
            let start = start(Partition(0), committed.clone(), span);
            assert_eq!((start.next, start.lost_from), (Offset(next), lost_from), "{committed:?}");
            let kept = committed.filter(|c| c.offset <= span.end);
            assert_eq!(start.committed, kept, "progress of another log would pass over records of this one");
        }
    }
}
