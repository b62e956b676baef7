//! What is remembered of one integration: its queue, its lanes, and how it stands.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

use super::entry::{About, Entry, OrderingKey, Reason};
use super::limits::{Limits, Policy};
use super::queue::Queue;
use crate::model::ids::{IntegrationId, Offset};
use crate::model::time::Timestamp;

/// An integration's place in `Lanes::ints`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Int(pub u32);

/// A lane that is narrower than its integration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Narrow {
    Key(OrderingKey),
    Single(Offset),
}

impl Narrow {
    pub fn of(key: Option<&OrderingKey>, offset: Offset) -> Narrow {
        key.map_or(Narrow::Single(offset), |key| Narrow::Key(key.clone()))
    }
}

/// A record of a lane, by what must be known before it is read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follower {
    pub offset: Offset,
    pub expires: Timestamp,
}

/// Where a narrow lane stands, when it goes on and why: the part of it that is written.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub from: Offset,
    pub due: Timestamp,
    pub attempt: u32,
    pub reason: Reason,
    pub about: Box<About>,
}

impl Cursor {
    pub fn busy(from: Offset) -> Cursor {
        Cursor { from, due: Timestamp::default(), attempt: 0, reason: Reason::Busy, about: Box::default() }
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub at: Cursor,
    /// The next records, head first; of a lane of one record just that one. A head in flight stays here until it ends.
    pub next: VecDeque<Follower>,
    /// Every record of the lane below this offset is done or in `next`.
    pub known: Offset,
    /// There may be more between `known` and the reader's position.
    pub scan: bool,
    pub state: State,
    pub listed: Listed,
}

/// How far the head of a narrow lane is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none, or it may not go before the end of its predecessor is committed.
    Still,
    /// In the timers at this moment.
    Waits(Timestamp),
    /// In `ready`, and in the timers for when it expires.
    Ready(Timestamp),
    /// In `over`: it ends without an attempt.
    Over,
    Runs,
}

/// In which list a narrow lane is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    No,
    /// Something to send: counts against `Limits::singles`.
    Active,
    /// Nothing in memory, to be looked for from here.
    Scan(Offset),
    /// Nothing waits; the lane's `from`.
    Spent(Offset),
}

/// The lane of the whole integration.
#[derive(Debug)]
pub(super) struct Wide {
    pub from: Offset,
    pub due: Timestamp,
    pub reason: Reason,
    pub done: BTreeSet<Offset>,
    /// `from` as last written: what a restart would go by.
    pub written: Option<Offset>,
}

impl Wide {
    pub fn entry(&self) -> Entry {
        Entry {
            from: self.from,
            due: self.due,
            attempt: 0,
            reason: self.reason,
            about: About::default(),
            expires: None,
            done: self.done.iter().copied().collect(),
        }
    }
}

impl Lane {
    pub fn entry(&self, single: bool) -> Entry {
        let expires = self.next.front().map(|head| head.expires).filter(|e| single && *e != NEVER);
        Entry {
            from: self.at.from,
            due: self.at.due,
            attempt: self.at.attempt,
            reason: self.at.reason,
            about: (*self.at.about).clone(),
            expires,
            done: Vec::new(),
        }
    }
}

/// Of a record whose expiry is not known before it is read.
pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

/// A record that was handed out.
#[derive(Debug)]
pub(super) struct Flight {
    pub int: Int,
    pub key: Option<OrderingKey>,
    pub expires: Timestamp,
    pub attempt: u32,
    /// It ends without an attempt.
    pub ending: bool,
}

#[derive(Debug)]
pub(super) struct Integration {
    pub id: IntegrationId,
    pub queue: Queue,
    /// In flight and without a lane of its own.
    pub running: BTreeSet<Offset>,
    pub in_flight: usize,
    pub endings: usize,
    pub wide: Option<Wide>,
    pub lanes: FxHashMap<Narrow, Lane>,
    /// Narrow lanes that have something to send.
    pub active: usize,
    /// Key lanes that wait only for `from` of the integration, by their own.
    pub spent: BTreeSet<(Offset, OrderingKey)>,
    /// Narrow lanes whose head may go; an element counts only while the lane's state says the same.
    pub ready: VecDeque<Narrow>,
    pub over: VecDeque<Narrow>,
    /// Keys whose head ended without success, not yet committed.
    pub unsaved: FxHashSet<OrderingKey>,
    /// The reader of its own, while it lags behind the main reader; after a restart it may lie ahead.
    pub reader: Option<Offset>,
    /// The highest `from` at load: until the reader has passed it, what it has not seen is no reason to release.
    pub back: Offset,
    /// `done[]` is full until the reader's next record is known.
    pub starved: bool,
    /// It is in `Lanes::hungry`, and below in `turn`.
    pub hungry: bool,
    pub in_turn: bool,
    /// It is in `Lanes::heads_of`.
    pub has_heads: bool,
    /// Whether a narrow lane goes before the queue, if both could: they take turns.
    pub lanes_first: bool,
    /// The earliest moment at which it is looked at again though nothing happened.
    pub wake: Option<Timestamp>,
    pub deleted: bool,
    /// As last heard.
    pub slots: Option<u16>,
    pub policy: Policy,
    /// Failures in a row.
    pub fails: u32,
    pub sent: VecDeque<Timestamp>,
}

impl Integration {
    pub fn new(id: IntegrationId) -> Integration {
        Integration {
            id,
            queue: Queue::default(),
            running: BTreeSet::new(),
            in_flight: 0,
            endings: 0,
            wide: None,
            lanes: FxHashMap::default(),
            active: 0,
            spent: BTreeSet::new(),
            ready: VecDeque::new(),
            over: VecDeque::new(),
            unsaved: FxHashSet::default(),
            reader: None,
            back: Offset(0),
            starved: false,
            hungry: false,
            in_turn: false,
            has_heads: false,
            lanes_first: true,
            wake: None,
            deleted: false,
            slots: None,
            policy: Policy::default(),
            fails: 0,
            sent: VecDeque::new(),
        }
    }

    pub fn lane(&self, key: Option<&OrderingKey>, offset: Offset) -> Option<&Lane> {
        if self.lanes.is_empty() { None } else { self.lanes.get(&Narrow::of(key, offset)) }
    }

    /// Up to here its records were taken into account.
    pub fn read_to(&self, position: Offset) -> Offset {
        self.reader.map_or(position, |reader| reader.min(position))
    }

    /// The lowest record that may be unfinished and has no lane of its own.
    pub fn front(&self, position: Offset) -> Offset {
        let rest = self.reader.unwrap_or(position);
        let running = self.running.first().copied();
        running.into_iter().chain(self.queue.front()).fold(rest, Offset::min)
    }

    pub fn full(&self, limits: &Limits, total_bytes: usize) -> bool {
        let queue = &self.queue;
        !queue.is_empty()
            && (queue.len() >= limits.queue || queue.bytes() >= limits.queue_bytes || total_bytes >= limits.total_bytes)
    }

    /// Has room for a good stretch of records from its reader.
    pub fn wants_refill(&self, limits: &Limits, total_bytes: usize, position: Offset) -> bool {
        let queue = &self.queue;
        self.reader.is_some_and(|reader| reader < position)
            && !self.full(limits, total_bytes)
            && queue.len() * 2 <= limits.queue
            && queue.bytes() * 2 <= limits.queue_bytes
    }

    pub fn done_cap(&self, limits: &Limits) -> usize {
        let slots = self.slots.map_or(usize::MAX, |slots| usize::from(slots.max(1)));
        slots.saturating_mul(limits.done_per_slot).min(limits.done)
    }
}
