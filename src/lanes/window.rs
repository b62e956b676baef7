//! The low watermark W and what is known of each offset from there to the main reader's position (rule 3).

use std::collections::{BTreeSet, VecDeque};

use super::entry::OrderingKey;
use super::integration::Int;
use crate::model::ids::Offset;
use crate::stream::metadata::Progress;

/// An offset that the main reader has passed: the record's integration and key, or a gap, which is done.
#[derive(Debug)]
pub(super) struct Slot {
    pub int: Option<Int>,
    pub key: Option<OrderingKey>,
    done: bool,
}

#[derive(Debug)]
pub(super) struct Window {
    low: Offset,
    /// Those of `low..position`.
    slots: VecDeque<Slot>,
    /// Done and not passed yet: as the last owner committed it, or by a lane since.
    early: BTreeSet<Offset>,
    done: usize,
}

impl Window {
    pub fn load(progress: &Progress) -> Window {
        let early = progress.done.iter().copied().filter(|o| *o >= progress.watermark).collect();
        Window { low: progress.watermark, slots: VecDeque::new(), early, done: 0 }
    }

    pub fn low(&self) -> Offset {
        self.low
    }

    /// The next offset that the main reader will give.
    pub fn position(&self) -> Offset {
        Offset(self.low.0 + self.slots.len() as i64)
    }

    fn index(&self, o: Offset) -> Option<usize> {
        usize::try_from(o.0 - self.low.0).ok()
    }

    /// Finished at or above W, by this owner or a former one.
    pub fn is_done(&self, o: Offset) -> bool {
        match self.index(o).map(|i| self.slots.get(i)) {
            Some(Some(slot)) => slot.done,
            Some(None) => !self.early.is_empty() && self.early.contains(&o),
            None => false,
        }
    }

    /// The record at `position`; true where a former owner had finished it.
    pub fn push(&mut self, int: Int, key: Option<OrderingKey>) -> bool {
        let done = !self.early.is_empty() && self.early.remove(&self.position());
        self.done += usize::from(done);
        self.slots.push_back(Slot { int: Some(int), key, done });
        done
    }

    /// Nothing more to come below `position`.
    pub fn pass(&mut self, position: Offset) {
        self.early = self.early.split_off(&position);
        if self.slots.is_empty() {
            self.low = self.low.max(position);
        }
        while self.position() < position {
            self.done += 1;
            self.slots.push_back(Slot { int: None, key: None, done: true });
        }
    }

    pub fn finish(&mut self, o: Offset) {
        match self.index(o).map(|i| self.slots.get_mut(i)) {
            Some(Some(slot)) => {
                self.done += usize::from(!slot.done);
                slot.done = true;
            }
            // Of a lane that lies ahead of the main reader after a restart.
            Some(None) => _ = self.early.insert(o),
            None => {}
        }
    }

    /// The record at W, where the main reader has passed it; `None` inside: it is done.
    pub fn first(&self) -> Option<Option<(Int, Option<&OrderingKey>)>> {
        let slot = self.slots.front()?;
        Some(slot.int.filter(|_| !slot.done).map(|int| (int, slot.key.as_ref())))
    }

    pub fn advance(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.done -= usize::from(slot.done);
            self.low = self.low.next();
        }
    }

    /// Done records of one integration above `from` that the main reader has passed. Walks the window.
    pub fn done_of(&self, int: Int, from: Offset) -> impl Iterator<Item = (Offset, Option<&OrderingKey>)> {
        let skip = self.index(from.next()).unwrap_or(0).min(self.slots.len());
        let numbered = self.slots.range(skip..).enumerate();
        numbered
            .filter(move |(_, slot)| slot.done && slot.int == Some(int))
            .map(move |(i, slot)| (Offset(self.low.0 + (skip + i) as i64), slot.key.as_ref()))
    }

    /// All done offsets at or above W, ascending: what the commit's metadata persists.
    pub fn bits(&self) -> Vec<Offset> {
        let low = self.low.0;
        let passed = self.slots.iter().enumerate().filter(|(_, slot)| slot.done).take(self.done);
        passed.map(|(i, _)| Offset(low + i as i64)).chain(self.early.iter().copied()).collect()
    }

    #[cfg(test)]
    pub fn slots(&self) -> impl Iterator<Item = (Offset, &Slot)> {
        self.slots.iter().enumerate().map(|(i, slot)| (Offset(self.low.0 + i as i64), slot))
    }
}
