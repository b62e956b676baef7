//! Reads one partition or many without a group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::store::Store;
use crate::model::ids::{Offset, Partition};
use crate::model::topic::Topic;
use crate::stream::log::{Batch, Follower, LogError, PartitionReader, READ_BYTES};

pub(super) struct EmbeddedFollower {
    store: Arc<Store>,
    /// With the next offset to be read.
    places: Vec<(Topic, Partition, Offset)>,
    /// The place that is looked at first.
    turn: usize,
    /// One for each topic.
    moved: Vec<watch::Receiver<()>>,
}

/// Follows one place.
pub(super) struct EmbeddedReader(pub(super) EmbeddedFollower);

impl EmbeddedFollower {
    pub(super) fn new(
        store: &Arc<Store>,
        places: Vec<(Topic, Partition, Offset)>,
    ) -> Result<EmbeddedFollower, LogError> {
        let topics: BTreeSet<Topic> = places.iter().map(|(topic, ..)| *topic).collect();
        let moved = topics.into_iter().map(|topic| store.spans.watch(topic)).collect::<Result<_, _>>()?;
        Ok(EmbeddedFollower { store: store.clone(), places, turn: 0, moved })
    }

    /// What is there now, from one place after the other, within both bounds.
    async fn look(&mut self, max: usize) -> Result<Vec<(Topic, Partition, Batch)>, LogError> {
        let (mut found, mut records, mut bytes) = (Vec::new(), max, READ_BYTES);
        for _ in 0..self.places.len() {
            if records == 0 || bytes == 0 {
                break;
            }
            let (topic, partition, asked) = self.places[self.turn];
            let (start, end) = (self.store.spans.start(topic, partition)?, self.store.spans.end(topic, partition)?);
            if asked < start || asked > end {
                return Err(LogError::OutOfRange { topic, partition, asked, start });
            }
            let batch = self.store.read((topic, partition), asked, (records, bytes)).await?;
            self.places[self.turn].2 = batch.position;
            self.turn = (self.turn + 1) % self.places.len();
            if batch.position > asked {
                records = records.saturating_sub(batch.records.len());
                bytes = bytes.saturating_sub(batch.records.iter().map(|r| r.record.size()).sum());
                found.push((topic, partition, batch));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Follower for EmbeddedFollower {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<(Topic, Partition, Batch)>, LogError> {
        let until = Instant::now() + wait;
        loop {
            self.moved.iter_mut().for_each(watch::Receiver::mark_unchanged);
            let found = self.look(max).await?;
            if !found.is_empty() || self.moved.is_empty() || Instant::now() >= until {
                return Ok(found);
            }
            // Over or moved on: the loop looks again either way.
            let _ = timeout_at(until, select_all(self.moved.iter_mut().map(|topic| topic.changed().boxed()))).await;
        }
    }
}

#[async_trait]
impl PartitionReader for EmbeddedReader {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Batch, LogError> {
        let found = self.0.next(max, wait).await?.pop();
        let position = self.0.places.first().map_or(Offset(0), |place| place.2);
        Ok(found.map_or(Batch { records: Vec::new(), position }, |(.., batch)| batch))
    }

    async fn seek(&mut self, offset: Offset) -> Result<(), LogError> {
        self.0.places.iter_mut().for_each(|place| place.2 = offset);
        Ok(())
    }
}
