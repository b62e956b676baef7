//! The second reader of a partition: brings back what was left lying, one stretch after the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;
use crate::model::topic::Topic;
use crate::stream::log::{From, Log, LogError, PartitionReader};
use crate::telemetry::metrics::LOG_SKIPPED;

/// Records of one stretch, at most.
const STRETCH: usize = 512;
/// What is asked for lies below the main reader, so it is there; a longer silence is a log that does not answer.
const WAIT: Duration = Duration::from_millis(500);
/// Before a read that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Every record of `from..position` that there is.
pub(super) struct Stretch {
    pub from: Offset,
    pub records: Vec<Received>,
    pub position: Offset,
}

/// A reader with its position.
struct Open {
    reader: Box<dyn PartitionReader>,
    position: Offset,
}

type Read = (Option<Open>, Result<Stretch, LogError>);

/// One read at a time, by a reader that is made when it is first needed.
pub(super) struct Reads {
    log: Arc<dyn Log>,
    topic: Topic,
    partition: Partition,
    open: Option<Open>,
    running: Option<BoxFuture<'static, Read>>,
}

impl Reads {
    pub fn new(log: Arc<dyn Log>, topic: Topic, partition: Partition) -> Self {
        Reads { log, topic, partition, open: None, running: None }
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Begins to read at `from`. Only while idle.
    pub fn start(&mut self, from: Offset) {
        let (log, topic, partition, open) = (self.log.clone(), self.topic, self.partition, self.open.take());
        self.running = Some(async move { stretch(&*log, (topic, partition), open, from).await }.boxed());
    }

    /// The stretch that is being read; never while idle.
    pub async fn next(&mut self) -> Result<Stretch, LogError> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let (open, result) = running.await;
        self.running = None;
        self.open = open;
        result
    }
}

async fn stretch(log: &dyn Log, place: (Topic, Partition), open: Option<Open>, from: Offset) -> Read {
    match try_stretch(log, place, open, from).await {
        Ok((open, Some(stretch))) => (Some(open), Ok(stretch)),
        Ok((open, None)) => {
            let (topic, partition) = place;
            let silence = format!("{topic}-{partition} has not given offset {from} in {WAIT:?}");
            (Some(open), Err(LogError::Unavailable(silence)))
        }
        // What retention has deleted is no longer there to be read: the stretch is empty up to where the log begins.
        Err(LogError::OutOfRange { start, .. }) if start > from => {
            let (topic, partition) = place;
            let (lost, topic) = (u64::try_from(start.0 - from.0).unwrap_or(0), topic.name());
            tracing::error!(topic, %partition, %from, to = %start, "offsets are gone before what waits there was sent");
            metrics::counter!(LOG_SKIPPED, "topic" => topic).increment(lost);
            (None, Ok(Stretch { from, records: Vec::new(), position: start }))
        }
        Err(error) => {
            tokio::time::sleep(PAUSE).await;
            (None, Err(error))
        }
    }
}

/// No stretch: nothing has come yet. The reader is kept, since one that is new may take that long to connect.
async fn try_stretch(
    log: &dyn Log,
    (topic, partition): (Topic, Partition),
    open: Option<Open>,
    from: Offset,
) -> Result<(Open, Option<Stretch>), LogError> {
    let mut open = match open {
        Some(mut open) => {
            if open.position != from {
                open.reader.seek(from).await?;
            }
            open
        }
        None => Open { reader: log.read(topic, partition, From::At(from)).await?, position: from },
    };
    let batch = open.reader.next(STRETCH, WAIT).await?;
    open.position = batch.position;
    let came = !batch.records.is_empty() || batch.position > from;
    let stretch = Stretch { from, records: batch.records, position: batch.position };
    Ok((open, came.then_some(stretch)))
}
