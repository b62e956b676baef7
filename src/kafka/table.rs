//! A compacted partition as a table, behind the load barrier.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::Engine;
use super::reader::KafkaReader;
use crate::model::ids::Partition;
use crate::model::record::Received;
use crate::model::topic::Topic;
use crate::stream::log::{LogError, PartitionReader as _};

/// An open transaction of a dead producer holds readers back for its time-out and the broker's sweep, 20 s together.
const NO_PROGRESS: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(500);

/// The last record of each key, tombstones left out, in the order of their offsets.
///
/// The end is asked for read uncommitted: it lies behind every transaction that was begun before. Reading read committed up to
/// there waits for each of them to be settled. (The end that a read committed client is told, and end-of-partition, come too
/// early while one is open.)
pub(super) async fn load(engine: &Arc<Engine>, topic: Topic, partition: Partition) -> Result<Vec<Received>, LogError> {
    let span = engine.ask(move |e| e.metadata.span(e.names.of(topic), partition)).await?;
    if span.start >= span.end {
        return Ok(Vec::new());
    }
    let mut reader = KafkaReader::open(engine, topic, partition, span.start).await?;
    let mut rows: FxHashMap<Option<Bytes>, Received> = FxHashMap::default();
    let mut position = span.start;
    let mut progress = Instant::now();
    while position < span.end {
        let batch = reader.next(10_000, STEP).await?;
        if batch.position > position {
            progress = Instant::now();
        } else if progress.elapsed() > NO_PROGRESS {
            return Err(LogError::Unavailable(format!(
                "topic {} partition {partition} cannot be read beyond offset {position}: a transaction is open there",
                engine.names.of(topic)
            )));
        }
        position = batch.position;
        for received in batch.records {
            match received.record.value {
                Some(_) => rows.insert(received.record.key.clone(), received),
                None => rows.remove(&received.record.key),
            };
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_unstable_by_key(|r| r.offset);
    Ok(rows)
}
