//! Where the partitions of an assignment begin: the load barrier of an assignment.
//!
//! Read committed, the broker does not tell a committed offset while a transaction is pending on it. So the answer holds
//! everything that the predecessor committed, and may take as long as its transaction may be open.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use tokio::sync::oneshot;

use super::Engine;
use super::committer::committed;
use super::group::Group;
use super::health::Context;
use super::metadata::Span;
use super::ownership::Ownership;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::{Committed, LogError};

/// How long one question may take; between two the member may have been left.
const ASK: Duration = Duration::from_secs(1);

/// Where a partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) partition: Partition,
    pub(super) committed: Option<Committed>,
    pub(super) next: Offset,
    /// Offsets from here to `next` are gone.
    pub(super) lost_from: Option<Offset>,
}

/// A question under way. `number` is that of the assignment it was asked for.
pub(super) struct Lookup {
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Vec<Start>>,
}

/// Asks on a thread of its own, until there is an answer for all or the member is left.
pub(super) fn look_up(
    engine: &Arc<Engine>,
    consumer: &Arc<BaseConsumer<Context<Group>>>,
    own: &Arc<Ownership>,
    asked: (u64, Topic, Vec<Partition>),
) -> Result<Lookup, LogError> {
    let (number, topic, partitions) = asked;
    let (tx, answer) = oneshot::channel();
    let asker = Asker { engine: engine.clone(), consumer: Arc::downgrade(consumer), own: own.clone(), topic };
    engine.threads.spawn("kafka-positions", move || {
        if let Some(found) = asker.ask(&partitions, &tx) {
            // Nobody waits any more where the partitions were revoked meanwhile.
            let _ = tx.send(found);
        }
    })?;
    Ok(Lookup { number, answer })
}

struct Asker {
    engine: Arc<Engine>,
    consumer: Weak<BaseConsumer<Context<Group>>>,
    own: Arc<Ownership>,
    topic: Topic,
}

impl Asker {
    fn ask(&self, partitions: &[Partition], wanted: &oneshot::Sender<Vec<Start>>) -> Option<Vec<Start>> {
        let name = self.engine.names.of(self.topic);
        let mut found = Vec::with_capacity(partitions.len());
        let mut open = partitions.to_vec();
        while !open.is_empty() {
            if self.own.is_stopped() || wanted.is_closed() {
                return None;
            }
            let consumer = self.consumer.upgrade()?;
            match committed(&consumer, name, open.iter().copied(), ASK) {
                Ok(answers) => {
                    for (partition, committed) in answers {
                        if let Ok(span) = self.engine.metadata.span(name, partition) {
                            open.retain(|p| *p != partition);
                            found.push(start(partition, committed, span));
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(topic = name, %error, "the committed offsets are not settled yet");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
        Some(found)
    }
}

/// From the committed offset, or the log's start where nothing was committed or what was committed is not in the log.
fn start(partition: Partition, committed: Option<Committed>, span: Span) -> Start {
    let (next, lost_from) = match &committed {
        None => (span.start, None),
        Some(c) if (span.start..=span.end).contains(&c.offset) => (c.offset, None),
        Some(c) => (span.start, Some(c.offset)),
    };
    Start { partition, committed, next, lost_from }
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
        }
    }
}
