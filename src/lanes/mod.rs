//! What waits, and what may be sent now: the decisions for one partition of `deliveries`, without I/O, clock or payloads.
//!
//! A *lane* is a queue inside the partition: one ordering key of an integration, one unordered record that waits, or a
//! whole integration. What waits stays in the partition; what is written to `retry` is a cursor (`entry`). W is the low
//! watermark: the lowest offset that is neither finished nor covered by a lane.
//!
//! 1. The narrowest entry that covers a record decides alone: unfinished if it lies at or above `from` and is neither in
//!    `done[]` nor a bit of the window. Without an entry: unfinished at or above W without a bit.
//! 2. W, window, entries and outputs change in one transaction (`flush`). If something of a held integration ends at or
//!    above its last written `from`, its entry is written too.
//! 3. W passes what is done or covered. The window persists done bits only, never covered ones (`window`).
//! 4. Of an ordered lane only the head is in flight; `from` passes done records only. A head that ends without success
//!    holds its key until that is committed: after a crash it might yet succeed, behind its followers.
//! 5. Each integration has one reader position: the main reader's, or, held and lagging, its own. That reader alone feeds
//!    queue and key lanes. A lane goes only when none of its records waits below that position, the position has passed
//!    every `from` that its integration had at load, and, of a key lane, its integration's `from` has passed it.
//! 6. The narrow lane says what is sent, the wide one whether: DISABLED, BREAKER and RATE_LIMITED hold the narrower lanes
//!    too, BUSY does not. Any record that waits can be the breaker's probe. Expiry and cancellation pass every gate.
//!
//! The owner of the partition has one `Lanes` for as long as it is assigned, and drops it when it is not: nothing must
//! be said of what was in flight, a successor decides by what was committed. Where the metadata could not be read
//! (`Progress` without bits) records above W are repeated and none is lost. An integration that is deleted and created
//! again under its id goes on with what was not cancelled meanwhile. What retention deletes is passed like a gap: lanes
//! that waited for it go when their reader has passed it; for a single record the caller says `ended`.
//!
//! How it is used: `load`; then give each record of the main reader to `receive` and each gap to `passed` while there is
//! `room`; bring what it `wants` to `reread`; do what `next` says, after `begins` if it had to be read, and report it with
//! `complete` or `ended`; commit what `flush` gives together with the outputs of everything received, completed and ended
//! before it, and say `committed`. After a catalog change `poke`. When nothing happens, the next call of `next` is at `next_due`.
//!
//! - `limits`: bounds and what an integration may do; `rules`: the rules by name, for the model test
//! - `entry`: the records of `retry`; `window`: W and the bits; `queue`: received and not started
//! - `integration`: what is remembered of one; `place`: its narrow lanes, their lists and timers
//! - `read`: records come in; `hold`: lanes come and go; `send`: what to do next; `begin`: whether what had to be read may
//!   still be sent; `finish`: answers; `flush`: what to write
//! - `model`: the model test, which holds all of it against random histories with faults at every step

mod begin;
mod entry;
mod finish;
mod flush;
mod hold;
mod integration;
mod limits;
mod load;
mod place;
mod queue;
mod read;
mod rules;
pub mod runner;
mod send;
mod window;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

pub use entry::{About, Entry, EntryError, LaneName, OrderingKey, Reason};
pub use finish::Answer;
pub use flush::{Flush, Gauges};
pub use limits::{Breaker, Limits, Policy, Rate, Standings};
pub use read::{Reads, Seen};
pub use send::{Start, Task};

use integration::{Flight, Int, Integration, Narrow};
use rules::Rules;
use window::Window;

use crate::model::ids::{IntegrationId, Offset};
use crate::model::time::Timestamp;

/// A lane by its place; without the second part the whole integration.
type LaneId = (Int, Option<Narrow>);

/// What wakes at a moment: a narrow lane, or without one its integration.
type Timer = (Timestamp, Int, Option<Narrow>);

/// The lanes of one partition, for the span of one assignment.
#[derive(Debug)]
pub struct Lanes {
    limits: Limits,
    rules: Rules,
    window: Window,
    /// Number of the last flush.
    flush: u64,
    ints: Vec<Integration>,
    ids: FxHashMap<IntegrationId, Int>,
    flight: FxHashMap<Offset, Flight>,
    timers: BTreeSet<Timer>,
    /// Integrations that may have something to do; each is looked at once, then waits for an event.
    turn: VecDeque<Int>,
    /// Integrations by the position of their own reader.
    lagging: BTreeSet<(Offset, Int)>,
    /// Those of them whose reader should go on, in turn.
    hungry: VecDeque<Int>,
    /// Integrations with narrow lanes that may go, in turn: those whose heads should be read ahead.
    heads_of: VecDeque<Int>,
    /// Key lanes to be scanned for, by where from.
    scans: BTreeSet<(Offset, Int, OrderingKey)>,
    /// What happens when the main reader has come so far: an integration's reader or the end of its going back.
    ahead: BTreeMap<Offset, Vec<Int>>,
    dirty: FxHashSet<LaneId>,
    /// Lanes that have an entry, written if perhaps not yet committed.
    stored: FxHashSet<LaneId>,
    /// Something other than a lane is to be committed.
    changed: bool,
    unsaved: Vec<(Int, OrderingKey)>,
    /// The keys that the outstanding flush saves.
    outstanding: Option<Vec<(Int, OrderingKey)>>,
    released: Vec<Offset>,
    queued: usize,
    queued_bytes: usize,
    starved: usize,
}

impl Lanes {
    fn int(&self, i: Int) -> &Integration {
        &self.ints[i.0 as usize]
    }

    fn int_mut(&mut self, i: Int) -> &mut Integration {
        &mut self.ints[i.0 as usize]
    }

    fn intern(&mut self, id: &IntegrationId) -> Int {
        if let Some(i) = self.ids.get(id) {
            return *i;
        }
        let i = Int(u32::try_from(self.ints.len()).unwrap_or(u32::MAX));
        self.ints.push(Integration::new(id.clone()));
        self.ids.insert(id.clone(), i);
        i
    }

    /// Gives the integration a turn at the next `next`.
    fn rouse(&mut self, i: Int) {
        let int = self.int_mut(i);
        if !int.in_turn {
            int.in_turn = true;
            self.turn.push_back(i);
        }
    }
}
