//! The two contracts that stages are written to. The runners do everything else: polling, offsets, transactions, lanes,
//! budgets, rebalances. A stage knows no broker, no offsets to commit, no threads.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::ids::{IntegrationId, Partition};
use crate::model::record::{Output, Received};
use crate::model::time::Timestamp;

/// A stage that turns records into records: synchronous, in input order, its outputs committed with its input.
///
/// It must never block or sleep, and never fail: what it cannot understand becomes an output to `rejected`.
#[async_trait]
pub trait Map: Send + 'static {
    /// Waits until what these records need is known, such as configuration newer than this process has seen. The runner calls
    /// it with the records of one partition that it gives to `map` next, and only then. The one place where a `Map` may
    /// wait, holding its input back; dropped half-way when the partition is revoked, so it must change nothing.
    async fn prepare(&mut self, _records: &[Received]) {}

    /// Appends what the record turns into. Called once for each record of an assignment, in offset order.
    fn map(&mut self, record: &Received, out: &mut Vec<Output>);

    /// How far back the stage wants to be reminded when a partition is assigned; zero: not at all.
    fn memory(&self) -> Duration {
        Duration::ZERO
    }

    /// A record that a former owner of the partition has dealt with, in offset order, before the first `map`.
    fn recall(&mut self, _record: &Received) {}

    /// The partition is no longer this stage's: forget what was kept for it.
    fn forget(&mut self, _partition: Partition) {}
}

/// A stage that works on one record at a time, many at once: asynchronous, out of order, for as long as it takes.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// What the record asks for, from its key and headers alone. Called once a reading, never blocks.
    fn admit(&self, record: &Received) -> Admission;

    /// May this integration send now, and how much at once? Asked before every attempt, never blocks.
    fn standing(&self, integration: &IntegrationId) -> Standing;

    /// Makes one attempt. Must end by itself (a time-out of its own) and may be dropped half-way at a revoke.
    async fn attempt(&self, job: Job<'_>) -> Attempted;

    /// The outputs of a record that ends without an attempt: its `attempts` record, and where it is a dead letter that too.
    fn end(&self, job: Job<'_>, how: Ending) -> Vec<Output>;
}

/// A record to work on.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    pub record: &'a Received,
    /// From 1. For `end`: attempts made before.
    pub attempt: u32,
    /// When the first attempt was made, where this is not the first.
    pub first_at: Option<Timestamp>,
}

/// What becomes of a record that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    Take {
        integration: IntegrationId,
        /// From here on it ends as `Ending::Expired`.
        expires: Timestamp,
    },
    /// Not for this stage; these outputs say so and where it went.
    Refuse(Vec<Output>),
}

/// How an integration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// May send, so many at once in each partition.
    Active { max_in_flight: u16 },
    /// Its deliveries wait.
    Disabled,
    /// Its deliveries are cancelled.
    Deleted,
    /// Not known yet: configuration newer than this process has seen. Its deliveries wait for a moment.
    Unknown,
}

/// The result of an attempt: what it means, and the records that tell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempted {
    pub outcome: Outcome,
    /// The `attempts` record, and the dead letter where it is one. Committed together with the progress.
    pub outputs: Vec<Output>,
}

/// What an attempt means for the delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Delivered,
    /// Not before `due`. The texts end up in the lane's entry in `retry`, for people to read.
    Retry {
        due: Timestamp,
        error: String,
        status: Option<u16>,
    },
    /// No retry mends it; it is in `dlq`.
    Dead,
    /// No attempts are left; it is in `dlq`.
    Abandoned,
}

/// How a record ends that is not attempted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It waited for as long as a delivery may.
    Expired,
    /// Its integration was deleted.
    Cancelled,
}
