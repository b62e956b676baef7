//! Follows the catalog topic: reads it from its start, then for ever, and publishes what it says, every write as a whole: its
//! records are one transaction, side by side in the one partition, and each says how many of them come after it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::catalog::handle::Catalog;
use crate::catalog::kind::Key;
use crate::catalog::resource::Resource;
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::{Offset, Partition};
use crate::model::problem::Problem;
use crate::model::record::{Received, header};
use crate::model::topic::Topic;
use crate::stream::log::{From, Log, LogError};
use crate::telemetry::metrics::{CATALOG_POSITION, CATALOG_UNREADABLE};

/// The catalog topic has one partition, so that its offsets are one order of all changes.
pub(super) const PARTITION: Partition = Partition(0);

const BATCH: usize = 1_000;
/// Fewer records are decoded by one thread, more by several.
const FEW: usize = 200;
const THREADS: usize = 4;
const POLL: Duration = Duration::from_secs(1);
/// Between tries while the log is away.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3)];

/// Keeps a `Catalog` up to date. One for each process.
pub struct Follower {
    log: Arc<dyn Log>,
    catalog: Arc<Catalog>,
    /// What was read so far; published once it is complete.
    working: Snapshot,
    /// Up to here the first reading must come before anything is published; `None`: it has.
    loading_to: Option<Offset>,
    /// Where the write ends of which `working` may have a part only.
    whole_at: Offset,
    /// Writes that somebody here waits for, in `working` and not published yet.
    writes: Vec<Uuid>,
}

impl Follower {
    pub fn new(log: Arc<dyn Log>, catalog: Arc<Catalog>) -> Self {
        Follower {
            log,
            catalog,
            working: Snapshot::default(),
            loading_to: Some(Offset(0)),
            whole_at: Offset(0),
            writes: Vec::new(),
        }
    }

    /// Runs until it is cancelled. While the log is away it waits, and the last snapshot stays.
    ///
    /// # Errors
    /// Only what no waiting mends: `LogError::Fatal` and `LogError::InstanceShared`.
    pub async fn run(mut self, cancelled: CancellationToken) -> Result<(), LogError> {
        let mut failures = 0;
        loop {
            let before = self.working.position();
            let error = match cancelled.run_until_cancelled(self.follow()).await {
                None => return Ok(()),
                Some(error) => error,
            };
            failures = if self.working.position() > before { 0 } else { failures + 1 };
            match error {
                LogError::Fatal(_) | LogError::InstanceShared(_) => return Err(error),
                LogError::OutOfRange { asked, start, .. } => {
                    tracing::warn!(%asked, %start, "the catalog topic lost what was not read yet; reading it again");
                    self.start_over();
                }
                LogError::Unavailable(_) | LogError::UnknownOutcome(_) | LogError::TooLarge { .. } => {
                    tracing::warn!(%error, "the catalog cannot be followed now; trying again");
                }
            }
            let pause = PAUSES[failures.min(PAUSES.len() - 1)];
            if cancelled.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
        }
    }

    fn start_over(&mut self) {
        self.working = Snapshot::default();
        self.loading_to = Some(Offset(0));
        self.whole_at = Offset(0);
    }

    /// Reads until something goes wrong.
    async fn follow(&mut self) -> LogError {
        match self.read_on().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn read_on(&mut self) -> Result<std::convert::Infallible, LogError> {
        let from = match self.working.position() {
            Offset(0) => From::Start,
            position => From::At(position),
        };
        let mut reader = self.log.read(Topic::Catalog, PARTITION, from).await?;
        if self.loading_to.is_some() {
            self.loading_to = Some(self.log.end(Topic::Catalog, PARTITION).await?);
            self.publish_if_whole();
        }
        loop {
            let batch = reader.next(BATCH, POLL).await?;
            if batch.position > self.working.position() {
                let decoded = decode(&batch.records);
                batch.records.iter().zip(decoded).for_each(|(received, decoded)| self.apply(received, decoded));
                self.working.advance(batch.position);
                self.publish_if_whole();
            } else if self.working.position() < self.whole_at {
                self.wait_no_longer().await?;
            }
        }
    }

    fn publish_if_whole(&mut self) {
        let position = self.working.position();
        if self.loading_to.is_none_or(|end| position >= end) && position >= self.whole_at {
            self.loading_to = None;
            let writes = std::mem::take(&mut self.writes);
            self.catalog.publish_with(self.working.clone(), &writes);
            metrics::gauge!(CATALOG_POSITION).set(position.0 as f64);
        }
    }

    /// A write is in the log as a whole before any of it is read: at the log's end nothing of it is missing, whatever its records
    /// say.
    async fn wait_no_longer(&mut self) -> Result<(), LogError> {
        if self.working.position() >= self.log.end(Topic::Catalog, PARTITION).await? {
            self.whole_at = self.working.position();
            self.publish_if_whole();
        }
        Ok(())
    }

    /// Applies a record. One that cannot be read leaves its resource as it was.
    fn apply(&mut self, received: &Received, decoded: Decoded) {
        if let Err(problem) = apply(received, decoded, &mut self.working) {
            let key = received.record.key.as_deref().map(String::from_utf8_lossy);
            let Problem { path, message } = problem;
            tracing::warn!(offset = %received.offset, ?key, path, message, "a catalog record cannot be read; passed over");
            metrics::counter!(CATALOG_UNREADABLE).increment(1);
        }
        let headers = &received.record.headers;
        let write = headers.text(header::TG_WRITE).and_then(|id| Uuid::parse_str(id).ok());
        self.writes.extend(write.filter(|write| self.catalog.awaits(*write)));
        self.whole_at = self.whole_at.max(end_of_write(received));
    }
}

/// Where the write ends that the record is of. Each record tells, for compaction may leave any of them and take the others.
fn end_of_write(received: &Received) -> Offset {
    let more = received.record.headers.text(header::TG_MORE).and_then(|more| more.parse::<u32>().ok());
    Offset(received.offset.0 + 1 + i64::from(more.unwrap_or(0)))
}

/// What a record says, without the snapshot that it is said to.
struct Decoded {
    key: Option<Key>,
    /// `None`: the resource is gone.
    resource: Result<Option<Resource>, Problem>,
}

/// Decodes records, many of them on several threads: a start reads a hundred thousand.
fn decode(records: &[Received]) -> Vec<Decoded> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    if records.len() < FEW || threads == 1 {
        return records.iter().map(decode_one).collect();
    }
    std::thread::scope(|scope| {
        let parts = records.chunks(records.len().div_ceil(threads));
        let parts: Vec<_> =
            parts.map(|part| (part, scope.spawn(|| part.iter().map(decode_one).collect::<Vec<_>>()))).collect();
        // Decoding does not panic; if it did, here it would be told.
        let again = |part: &[Received]| part.iter().map(decode_one).collect();
        parts.into_iter().flat_map(|(part, thread)| thread.join().unwrap_or_else(|_| again(part))).collect()
    })
}

fn decode_one(received: &Received) -> Decoded {
    let record = &received.record;
    let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).and_then(Key::parse);
    let resource = match (&key, &record.value) {
        (None, _) => Err(Problem::new("", "the key is not `<kind>/<id>` of a kind that this version knows")),
        (Some(_), None) => Ok(None),
        (Some(key), Some(value)) => read(key, value).map(Some),
    };
    Decoded { key, resource }
}

fn apply(received: &Received, decoded: Decoded, snapshot: &mut Snapshot) -> Result<(), Problem> {
    let Decoded { key, resource } = decoded;
    // Who may come in is in no file: a plan outlives a user that is made meanwhile, the first one of a new gateway too.
    if key.as_ref().is_none_or(|key| key.kind.is_configuration()) {
        snapshot.has(received.offset);
    }
    match (key, resource) {
        (_, Ok(Some(resource))) => snapshot.put(resource),
        (Some(key), Ok(None)) => snapshot.remove(&key),
        (None, Ok(None)) => {}
        (key, Err(problem)) => {
            key.iter().for_each(|key| snapshot.set_unreadable(key));
            return Err(problem);
        }
    }
    Ok(())
}

fn read(key: &Key, value: &[u8]) -> Result<Resource, Problem> {
    let json = serde_json::from_slice(value).map_err(|e| Problem::new("", format!("not JSON: {e}")))?;
    let first = |problems: Vec<Problem>| problems.into_iter().next();
    let resource = key.kind.read(json).map_err(|e| first(e).unwrap_or_else(|| Problem::new("", "not valid")))?;
    match resource.key() {
        own if own == *key => Ok(resource),
        other => Err(Problem::new("", format!("the value is of {other}"))),
    }
}
