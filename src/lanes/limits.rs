//! Bounds of the core, and what an integration may do: given from outside.

use std::time::Duration;

use crate::model::ids::IntegrationId;
use crate::stream::metadata::MAX_WINDOW;
use crate::stream::stage::Standing;

/// Bounds of one partition. Everything that the core remembers is bounded by them and by the number of integrations
/// (some 500 bytes each, for those that had a record or an entry during the assignment).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Offsets between the low watermark and the main reader, at most `MAX_WINDOW`; some 40 bytes each.
    pub window: i64,
    /// Records that wait in memory for one integration, and their payloads; at least one is always taken.
    pub queue: usize,
    pub queue_bytes: usize,
    /// Payloads of all queues together. Above it a queue takes one record at a time.
    pub total_bytes: usize,
    /// Records of one ordering key remembered while its head is tried again; some 16 bytes each.
    pub followers: usize,
    /// Lanes of an integration that have something to send, before it gets no more first attempts; some 300 bytes each.
    pub singles: usize,
    /// Finished offsets in the entry of a held integration: so many for each attempt that it may have in flight ...
    pub done_per_slot: usize,
    /// ... and at most so many. An entry takes about ten bytes for each.
    pub done: usize,
    /// Records of one integration that are being ended without an attempt at a time.
    pub endings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            window: MAX_WINDOW,
            queue: 1_024,
            queue_bytes: 8 << 20,
            total_bytes: 64 << 20,
            followers: 4_096,
            singles: 10_000,
            done_per_slot: 4,
            done: 4_096,
            endings: 32,
        }
    }
}

/// How fast an integration may be sent to, beyond its attempts in flight. Off unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub breaker: Option<Breaker>,
    pub rate: Option<Rate>,
}

/// After so many failures in a row nothing is sent for `pause`; then one record is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    pub failures: u32,
    pub pause: Duration,
}

/// At most `count` attempts within any `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub span: Duration,
}

/// What the catalog says of integrations. Asked before every attempt; must not block.
pub trait Standings {
    fn standing(&self, integration: &IntegrationId) -> Standing;

    fn policy(&self, _integration: &IntegrationId) -> Policy {
        Policy::default()
    }
}

impl<F: Fn(&IntegrationId) -> Standing> Standings for F {
    fn standing(&self, integration: &IntegrationId) -> Standing {
        self(integration)
    }
}
