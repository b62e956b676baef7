//! Which events were seen in the last 24 hours, so that a producer's repeat is not delivered again. A new owner of a partition
//! begins with what the log tells of the stage's `memory`.
//!
//! An event is the triple (org, source, id). Each takes 16 bytes: 96 bits of a keyed hash and the second it was seen. Tables
//! are at most four fifths full and grow by a quarter, so `MAX_TRIPLES` take at most 100 MB, plus one table's copy while it
//! grows; without events nothing is allocated.
//!
//! Two triples with one fingerprint would lose the later event. Among 4 million remembered triples that befalls an event with
//! a probability of 4e6 / 2^96 = 5e-23: at 20,000 events a second, once in 30 billion years. The keys are random in
//! each process, so no producer can look for such a pair.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::model::ids::Partition;
use crate::model::time::Timestamp;

/// How long a triple is remembered, by the log's timestamps.
pub const WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// How many triples a process remembers; past that the oldest of its largest partition are forgotten early.
pub const MAX_TRIPLES: usize = 4_000_000;

/// What tells one event from another.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Triple<'a> {
    pub org: &'a str,
    pub source: &'a str,
    pub id: &'a str,
}

/// The triples seen, a table a partition.
#[derive(Debug)]
pub struct Seen {
    keys: [RandomState; 2],
    tables: HashMap<Partition, Table>,
    max: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Seen::with_limit(MAX_TRIPLES)
    }
}

impl Seen {
    /// Remembers at most `max` triples.
    pub fn with_limit(max: usize) -> Seen {
        Seen { keys: [RandomState::new(), RandomState::new()], tables: HashMap::new(), max: max.max(1) }
    }

    /// True when the triple is new in its partition, which from now on it is not. A repeat does not prolong the memory of the
    /// first: a day after that the event is taken again, under the same delivery ids where it names the same time.
    pub fn first(&mut self, partition: Partition, triple: Triple<'_>, at: Timestamp) -> bool {
        let seconds = u32::try_from(at.as_millis() / 1_000).unwrap_or(0);
        let entry = Entry::new(self.fingerprint(triple), seconds);
        let table = self.tables.entry(partition).or_default();
        let first = table.insert(entry);
        if first && self.len() > self.max {
            self.forget_oldest();
        }
        first
    }

    /// Drops what was kept for a partition.
    pub fn forget(&mut self, partition: Partition) {
        self.tables.remove(&partition);
    }

    /// How many triples are kept, those that are too old and not yet swept included.
    pub fn len(&self) -> usize {
        self.tables.values().map(|t| t.used).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn fingerprint(&self, triple: Triple<'_>) -> u128 {
        let [high, low] = &self.keys;
        u128::from(high.hash_one(triple)) << 64 | u128::from(low.hash_one(triple))
    }

    /// A quarter of the largest table goes, so that this is rare and short.
    fn forget_oldest(&mut self) {
        if let Some(table) = self.tables.values_mut().max_by_key(|t| t.used) {
            table.forget_oldest_quarter();
        }
    }
}

/// 96 bits of fingerprint above 32 bits of seconds since the epoch. Zero is a free slot; a fingerprint never is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u128);

impl Entry {
    const FREE: Entry = Entry(0);

    fn new(fingerprint: u128, seconds: u32) -> Entry {
        let print = (fingerprint >> 32).max(1);
        Entry(print << 32 | u128::from(seconds))
    }

    fn is_free(self) -> bool {
        self == Entry::FREE
    }

    fn seconds(self) -> u32 {
        (self.0 & u128::from(u32::MAX)) as u32
    }

    fn same_event(self, other: Entry) -> bool {
        self.0 >> 32 == other.0 >> 32
    }

    fn is_remembered(self, now: u32) -> bool {
        u64::from(now.saturating_sub(self.seconds())) < WINDOW.as_secs()
    }

    /// Its slot among `n`: the fingerprint's top half as a fraction, so that `n` need not be a power of two.
    fn home(self, n: usize) -> usize {
        (((self.0 >> 64) * n as u128) >> 64) as usize
    }
}

/// Open addressing with linear probing. Entries leave only when the table is built anew.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Entry>,
    used: usize,
    /// The latest second seen: what is too old is judged by the log's time, not by this process' clock.
    latest: u32,
}

impl Table {
    /// False when the same event is remembered already.
    fn insert(&mut self, entry: Entry) -> bool {
        self.latest = self.latest.max(entry.seconds());
        if self.used * 5 >= self.slots.len() * 4 {
            self.rebuild(|_| true);
        }
        let at = self.place_of(entry);
        let there = self.slots[at];
        if there.is_free() {
            self.used += 1;
        } else if there.is_remembered(entry.seconds()) {
            return false;
        }
        self.slots[at] = entry;
        true
    }

    /// Where the event is, or the free slot where it goes. There is always a free one.
    fn place_of(&self, entry: Entry) -> usize {
        let mut at = entry.home(self.slots.len());
        while !self.slots[at].is_free() && !self.slots[at].same_event(entry) {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }

    /// Keeps what is wanted and not too old, with room for a quarter more.
    fn rebuild(&mut self, wanted: impl Fn(Entry) -> bool) {
        let latest = self.latest;
        let kept = |e: &Entry| !e.is_free() && e.is_remembered(latest) && wanted(*e);
        let old = std::mem::take(&mut self.slots);
        self.used = old.iter().filter(|e| kept(e)).count();
        self.slots = vec![Entry::FREE; (self.used * 25 / 16).max(64)];
        for entry in old.into_iter().filter(kept) {
            let at = self.place_of(entry);
            self.slots[at] = entry;
        }
    }

    fn forget_oldest_quarter(&mut self) {
        let mut seconds: Vec<u32> = self.slots.iter().filter(|e| !e.is_free()).map(|e| e.seconds()).collect();
        let quarter = seconds.len() / 4;
        let (_, cutoff, _) = seconds.select_nth_unstable(quarter);
        let cutoff = *cutoff;
        self.rebuild(|e| e.seconds() > cutoff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const P: Partition = Partition(0);

    fn triple(id: &str) -> Triple<'_> {
        Triple { org: "o", source: "s", id }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn parts_of_a_triple_do_not_run_into_each_other() {
        let mut seen = Seen::default();
        assert!(seen.first(P, Triple { org: "a", source: "bc", id: "d" }, at(0)));
        assert!(seen.first(P, Triple { org: "ab", source: "c", id: "d" }, at(0)));
        assert!(seen.first(P, Triple { org: "a", source: "b", id: "cd" }, at(0)));
    }

    #[test]
    fn a_repeat_is_taken_again_after_a_day_and_not_before() {
        let day = WINDOW.as_secs() as i64;
        let mut seen = Seen::default();
        assert!(seen.first(P, triple("e"), at(1_000)));
        assert!(!seen.first(P, triple("e"), at(1_000)));
        assert!(!seen.first(P, triple("e"), at(1_000 + day - 1)));
        assert!(seen.first(P, triple("e"), at(1_000 + day)));
        assert!(!seen.first(P, triple("e"), at(1_000 + day + 1)));
    }

    #[test]
    fn a_timestamp_that_goes_back_does_not_let_a_repeat_through() {
        let mut seen = Seen::default();
        assert!(seen.first(P, triple("e"), at(1_000)));
        assert!(!seen.first(P, triple("e"), at(10)));
        assert!(!seen.first(P, triple("e"), Timestamp::from_millis(-1)));
    }

    #[test]
    fn a_revoked_partition_takes_its_memory_along_and_no_other() {
        let mut seen = Seen::default();
        assert!(seen.first(P, triple("e"), at(0)) && seen.first(Partition(1), triple("e"), at(0)));
        seen.forget(P);
        assert!(seen.first(P, triple("e"), at(0)));
        assert!(!seen.first(Partition(1), triple("e"), at(0)));
    }

    #[test]
    fn a_flood_of_events_forgets_the_oldest_and_stays_within_its_limit() {
        let mut seen = Seen::with_limit(1_000);
        for n in 0..10_000_i64 {
            assert!(seen.first(Partition((n % 3) as i32), triple(&n.to_string()), at(n)));
            assert!(seen.len() <= 1_000);
        }
        for n in 9_700..10_000_i64 {
            assert!(!seen.first(Partition((n % 3) as i32), triple(&n.to_string()), at(n)), "{n} was forgotten");
        }
    }

    #[test]
    fn four_million_triples_fit_a_hundred_megabytes() {
        let mut table = Table::default();
        let mut worst = 0.0_f64;
        for n in 1..200_000_u128 {
            table.insert(Entry::new(n.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835), 1));
            if n > 1_000 {
                worst = worst.max((table.slots.len() * size_of::<Entry>()) as f64 / n as f64);
            }
        }
        assert!(worst * MAX_TRIPLES as f64 <= 100.1e6, "{worst} bytes a triple");
    }

    #[test]
    fn entries_too_old_make_room_before_the_table_grows() {
        let mut seen = Seen::default();
        for n in 0..100_000_i64 {
            seen.first(P, triple(&n.to_string()), at(n * 100));
        }
        assert!(seen.len() < 2_000, "{} kept", seen.len());
    }

    proptest! {
        #[test]
        fn only_repeats_are_repeats(ids in proptest::collection::vec(0..400_u32, 0..2_000)) {
            let (mut seen, mut model) = (Seen::default(), HashSet::new());
            for id in ids {
                prop_assert_eq!(seen.first(P, triple(&id.to_string()), at(5)), model.insert(id));
            }
        }
    }
}
