//! Follows topics from their ends, for people who watch.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::model::ids::{Offset, Partition};
use crate::model::record::Received;
use crate::model::topic::Topic;
use crate::stream::log::{From, Log, LogError};

const BATCH: usize = 100;
const POLL: Duration = Duration::from_secs(1);
/// Between tries while the log is away.
const AGAIN: Duration = Duration::from_secs(1);

type Seen = dyn Fn(Topic, &Received) + Send + Sync;

/// What is watched, and what is done with each record that comes.
pub struct Watch {
    pub topics: &'static [Topic],
    pub seen: Box<Seen>,
}

/// Until `stop`. What was there before is not told.
pub(super) async fn follow(log: &dyn Log, watch: &Watch, stop: &CancellationToken) {
    let topics = watch.topics.iter().map(|topic| follow_topic(log, *topic, &*watch.seen));
    stop.run_until_cancelled(join_all(topics)).await;
}

async fn follow_topic(log: &dyn Log, topic: Topic, seen: &Seen) {
    let count = loop {
        match log.partitions(topic).await {
            Ok(count) => break count,
            Err(error) => pause(topic, &error).await,
        }
    };
    join_all((0..count).map(|n| follow_partition(log, (topic, Partition(n)), seen))).await;
}

async fn follow_partition(log: &dyn Log, place: (Topic, Partition), seen: &Seen) {
    let mut next = None;
    loop {
        let Err(error) = read_on(log, place, &mut next, seen).await;
        if let LogError::OutOfRange { start, .. } = error {
            next = Some(start);
        }
        pause(place.0, &error).await;
    }
}

async fn pause(topic: Topic, error: &LogError) {
    tracing::debug!(%topic, %error, "cannot be watched now; trying again");
    tokio::time::sleep(AGAIN).await;
}

/// Reads until something goes wrong; `next` is where to go on.
async fn read_on(
    log: &dyn Log,
    (topic, partition): (Topic, Partition),
    next: &mut Option<Offset>,
    seen: &Seen,
) -> Result<Infallible, LogError> {
    let from = match *next {
        Some(offset) => offset,
        None => log.end(topic, partition).await?,
    };
    *next = Some(from);
    let mut reader = log.read(topic, partition, From::At(from)).await?;
    loop {
        let batch = reader.next(BATCH, POLL).await?;
        batch.records.iter().for_each(|received| seen(topic, received));
        *next = Some(batch.position);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::sync::mpsc;

    use super::*;
    use crate::catalog::fake::SharedFake;
    use crate::model::record::Record;

    fn record(value: &'static str) -> Vec<Record> {
        vec![Record { value: Some(value.into()), ..Record::default() }]
    }

    #[tokio::test(start_paused = true)]
    async fn who_watches_is_told_what_comes_once_and_nothing_older_though_the_log_goes_away() {
        let log = SharedFake::default();
        log.0.foreign(record("before"));
        let (told, mut heard) = mpsc::channel(10);
        let seen = move |_: Topic, received: &Received| told.try_send(received.record.value.clone()).unwrap();
        let watch = Watch { topics: &[Topic::Dlq], seen: Box::new(seen) };
        let stop = CancellationToken::new();
        let following = follow(&log, &watch, &stop);
        tokio::pin!(following);
        assert!(poll!(following.as_mut()).is_pending());
        log.0.foreign(record("one"));
        assert!(poll!(following.as_mut()).is_pending());
        log.0.go_away(true);
        assert!(poll!(following.as_mut()).is_pending());
        log.0.go_away(false);
        log.0.foreign(record("two"));
        for expected in ["one", "two"] {
            tokio::select! {
                value = heard.recv() => assert_eq!(value, Some(Some(expected.into()))),
                () = following.as_mut() => panic!("it ended"),
            }
        }
        stop.cancel();
        following.await;
        assert!(heard.try_recv().is_err());
    }
}
