//! What is to be written, all of it in one transaction or nothing (rule 2).

use rustc_hash::FxHashMap;

use super::LaneId;
use super::Lanes;
use super::entry::{Entry, LaneName, Reason};
use super::integration::{Int, Narrow};
use crate::model::ids::Offset;
use crate::stream::metadata::Progress;

/// To be committed with the outputs of everything that was completed or ended since the last one.
#[derive(Clone, Debug, PartialEq)]
pub struct Flush {
    pub progress: Progress,
    /// Records for `retry`; `None` is a tombstone.
    pub entries: Vec<(LaneName, Option<Entry>)>,
}

/// What the core holds, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Lanes by why they wait; a reason without lanes is left out.
    pub lanes: FxHashMap<Reason, usize>,
    /// Offsets between the low watermark and the main reader.
    pub window: usize,
    pub in_flight: usize,
    /// Records in queues, and their payloads' bytes.
    pub queued: usize,
    pub queued_bytes: usize,
}

impl Lanes {
    /// What is new since the last flush; `None`: nothing, or one is outstanding. Until `committed` there is no other, so
    /// one that failed is sent again as it is.
    pub fn flush(&mut self) -> Option<Flush> {
        self.advance();
        if self.outstanding.is_some() || !self.is_dirty() {
            return None;
        }
        let mut dirty: Vec<LaneId> = std::mem::take(&mut self.dirty).into_iter().collect();
        dirty.sort_unstable();
        let entries = dirty.into_iter().filter_map(|(i, narrow)| self.write(i, narrow)).collect();
        self.flush += 1;
        self.changed = false;
        self.outstanding = Some(std::mem::take(&mut self.unsaved));
        let progress = Progress { watermark: self.window.low(), flush: self.flush, done: self.bits() };
        Some(Flush { progress, entries })
    }

    /// The outstanding flush is written.
    pub fn committed(&mut self) {
        for (i, key) in self.outstanding.take().unwrap_or_default() {
            let int = self.int_mut(i);
            int.unsaved.remove(&key);
            int.queue.unblock(&key);
            self.place(i, &Narrow::Key(key));
            self.rouse(i);
        }
    }

    /// There is something to be committed that no record brought about: the next flush is due whatever else happens.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Is there anything to write?
    pub fn is_dirty(&self) -> bool {
        self.changed || !self.dirty.is_empty()
    }

    /// Entries that the next flush will write.
    pub fn dirty_lanes(&self) -> usize {
        self.dirty.len()
    }

    fn write(&mut self, i: Int, narrow: Option<Narrow>) -> Option<(LaneName, Option<Entry>)> {
        let int = &mut self.ints[i.0 as usize];
        let (id, entry, name) = (int.id.clone(), Lanes::entry_of(int, narrow.as_ref()), narrow.clone());
        let stored = if entry.is_some() {
            self.stored.insert((i, narrow));
            true
        } else {
            self.stored.remove(&(i, narrow))
        };
        let name = match name {
            None => LaneName::Integration(id),
            Some(Narrow::Key(key)) => LaneName::Key(id, key),
            Some(Narrow::Single(offset)) => LaneName::Single(id, offset),
        };
        stored.then_some((name, entry))
    }

    fn entry_of(int: &mut super::Integration, narrow: Option<&Narrow>) -> Option<Entry> {
        match narrow {
            None => {
                let wide = int.wide.as_mut()?;
                wide.written = Some(wide.from);
                Some(wide.entry())
            }
            Some(narrow) => int.lanes.get(narrow).map(|lane| lane.entry(matches!(narrow, Narrow::Single(_)))),
        }
    }

    fn bits(&self) -> Vec<Offset> {
        #[cfg(test)]
        if !self.rules.keep(super::rules::Rule::PersistDone) {
            return self.done_and_covered();
        }
        self.window.bits()
    }

    #[cfg(test)]
    fn done_and_covered(&self) -> Vec<Offset> {
        use super::read::Verdict;
        let free = |o: Offset, slot: &super::window::Slot| {
            slot.int.is_some_and(|i| self.verdict(i, slot.key.as_ref(), o) == Verdict::Free)
        };
        self.window.slots().filter(|(o, slot)| !free(*o, slot)).map(|(o, _)| o).collect()
    }

    /// Walks all lanes: for a look every few seconds.
    pub fn gauges(&self) -> Gauges {
        let mut lanes: FxHashMap<Reason, usize> = FxHashMap::default();
        for int in &self.ints {
            let wide = int.wide.iter().map(|wide| wide.reason);
            for reason in wide.chain(int.lanes.values().map(|lane| lane.at.reason)) {
                *lanes.entry(reason).or_default() += 1;
            }
        }
        Gauges {
            lanes,
            window: usize::try_from(self.window.position().0 - self.window.low().0).unwrap_or(0),
            in_flight: self.flight.len(),
            queued: self.queued,
            queued_bytes: self.queued_bytes,
        }
    }
}
