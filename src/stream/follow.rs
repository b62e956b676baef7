//! Many partitions read at once by a reader each: what an engine does that has no better way.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use super::log::{Batch, Follower, LogError, PartitionReader};
use crate::model::ids::Partition;
use crate::model::topic::Topic;

/// A look at a partition that has nothing new lasts so long, whoever waits for it.
const LOOK: Duration = Duration::from_secs(5);

type One = (Topic, Partition, Box<dyn PartitionReader>);

pub struct Readers {
    idle: Vec<One>,
    reading: FuturesUnordered<BoxFuture<'static, (One, Result<Batch, LogError>)>>,
}

impl Readers {
    pub fn new(readers: Vec<One>) -> Readers {
        Readers { idle: readers, reading: FuturesUnordered::new() }
    }
}

#[async_trait]
impl Follower for Readers {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<(Topic, Partition, Batch)>, LogError> {
        let look = |mut one: One| async move {
            let read = one.2.next(max, LOOK).await;
            (one, read)
        };
        self.reading.extend(self.idle.drain(..).map(|one| look(one).boxed()));
        let mut found = Vec::new();
        let mut records = 0;
        let mut more = timeout(wait, self.reading.next()).await.ok().flatten();
        while let Some((one, read)) = more {
            let place = (one.0, one.1);
            self.idle.push(one);
            let batch = read?;
            records += batch.records.len();
            found.push((place.0, place.1, batch));
            more = if records < max { self.reading.next().now_or_never().flatten() } else { None };
        }
        Ok(found)
    }
}
