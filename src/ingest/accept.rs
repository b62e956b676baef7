//! Where every event is accepted, whichever way it came: its organization is known, and the log has acknowledged it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ingest::error::IngestError;
use crate::model::event::{Event, MAX_HEADERS, NotAnEvent};
use crate::model::ids::{EventId, Label, Offset, OrgId};
use crate::model::record::{Output, Record, header};
use crate::model::time::{Clock, Timestamp};
use crate::model::topic::Topic;
use crate::stream::log::{Log, LogError};
use crate::telemetry::metrics::EVENTS_ACCEPTED;

/// Which organizations there are.
#[async_trait]
pub trait KnownOrgs: Send + Sync + 'static {
    fn knows(&self, org: &OrgId) -> bool;

    /// How far the catalog was read. An event is not matched by an older one, wherever it is matched: what was configured
    /// before it was accepted hears it.
    fn position(&self) -> Offset;

    /// Learns what was written before this call, by whichever process. False where that cannot be had now: then an unknown
    /// organization may exist all the same.
    async fn catch_up(&self) -> bool;
}

/// The way that an event came; a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Rest,
}

impl SourceKind {
    const fn name(self) -> &'static str {
        match self {
            SourceKind::Rest => "rest",
        }
    }
}

/// Accepts events: what it says yes to is durable.
pub struct Ingest {
    log: Arc<dyn Log>,
    orgs: Arc<dyn KnownOrgs>,
    clock: Arc<dyn Clock>,
    budget: Arc<Semaphore>,
    /// Whether the last write went through: a failure is logged when it begins and when it ends, not for each request.
    writable: AtomicBool,
}

impl Ingest {
    /// `budget`: bytes that may wait for the log at once; more is `Busy`.
    pub fn new(log: Arc<dyn Log>, orgs: Arc<dyn KnownOrgs>, clock: Arc<dyn Clock>, budget: usize) -> Self {
        let budget = Arc::new(Semaphore::new(budget.min(Semaphore::MAX_PERMITS)));
        Ingest { log, orgs, clock, budget, writable: AtomicBool::new(true) }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Room for events that are about to come, to be held until they are answered.
    pub fn room(&self) -> Room {
        Room { budget: self.budget.clone(), taken: None }
    }

    /// Accepts one event; returns, and gives the room back, once the log has it.
    pub async fn accept_one(&self, kind: SourceKind, event: Event, room: Room) -> Result<EventId, IngestError> {
        let id = event.id.clone();
        self.meet([&event].into_iter()).await?;
        let output = self.output(event)?;
        self.append(kind, vec![output]).await.map_err(|e| match e {
            IngestError::Unconfirmed(_) => IngestError::Unconfirmed(Some(id.clone())),
            other => other,
        })?;
        drop(room);
        Ok(id)
    }

    /// Accepts a batch, answering for each in order; the good ones are written together, once. After
    /// `Unconfirmed` it is not known whether they were accepted; after any other error none was.
    pub async fn accept_batch(
        &self,
        kind: SourceKind,
        events: Vec<Result<Event, IngestError>>,
        room: Room,
    ) -> Result<Vec<Result<EventId, IngestError>>, IngestError> {
        self.meet(events.iter().flatten()).await?;
        let mut outputs = Vec::with_capacity(events.len());
        let mut answer = |event: Event| {
            let id = event.id.clone();
            outputs.push(self.output(event)?);
            Ok(id)
        };
        let answers = events.into_iter().map(|event| event.and_then(&mut answer)).collect();
        if !outputs.is_empty() {
            self.append(kind, outputs).await?;
        }
        drop(room);
        Ok(answers)
    }

    /// No organization is taken for unknown by a process that has just started, or has not heard of it yet.
    async fn meet(&self, mut events: impl Iterator<Item = &Event>) -> Result<(), IngestError> {
        let strange = events.any(|event| !self.orgs.knows(&event.org));
        if strange && !self.orgs.catch_up().await { Err(IngestError::Unavailable) } else { Ok(()) }
    }

    fn output(&self, mut event: Event) -> Result<Output, IngestError> {
        if !self.orgs.knows(&event.org) {
            return Err(IngestError::invalid(
                "orgId",
                format!("names organization `{}`, which does not exist", event.org),
            ));
        }
        if event.traceparent.is_none() {
            event.traceparent = Label::parse(&fresh_traceparent()).ok();
        }
        let mut record: Record = event.to_record();
        record.headers.push(header::TG_CATALOG, self.orgs.position().to_string());
        let bytes = record.headers.size();
        if bytes > MAX_HEADERS {
            return Err(IngestError::TooLarge(NotAnEvent::HeadersTooLarge { bytes, limit: MAX_HEADERS }.to_string()));
        }
        Ok(Output { topic: Topic::Events, partition: None, record })
    }

    async fn append(&self, kind: SourceKind, outputs: Vec<Output>) -> Result<(), IngestError> {
        let count = outputs.len() as u64;
        match self.log.append(outputs).await {
            Ok(_) => {
                if !self.writable.swap(true, Ordering::Relaxed) {
                    tracing::info!("events are written again");
                }
                metrics::counter!(EVENTS_ACCEPTED, "source_kind" => kind.name()).increment(count);
                Ok(())
            }
            Err(LogError::TooLarge { bytes, .. }) => {
                Err(IngestError::TooLarge(format!("an event of {bytes} bytes is larger than the log takes")))
            }
            Err(cause) => {
                if self.writable.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%cause, "events cannot be written; they are refused until they can");
                }
                Err(match cause {
                    LogError::Unavailable(_) => IngestError::Unavailable,
                    LogError::UnknownOutcome(_) => IngestError::Unconfirmed(None),
                    _ => IngestError::Broken,
                })
            }
        }
    }
}

/// A trace begins here: W3C Trace Context, sampled.
fn fresh_traceparent() -> String {
    format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..))
}

/// A share of the bytes that may wait; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Takes room for so many bytes more. Never waits: who waits holds what it has, and holds up the others.
    pub fn grow(&mut self, bytes: usize) -> Result<(), IngestError> {
        let bytes = u32::try_from(bytes).map_err(|_| IngestError::Busy)?;
        let more = self.budget.clone().try_acquire_many_owned(bytes).map_err(|_| IngestError::Busy)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
