//! What was received for one integration and not started: first in, first out; of each ordering key one at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

use super::entry::OrderingKey;
use crate::model::ids::Offset;
use crate::model::time::Timestamp;

/// A record that waits in memory, without its payload.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub offset: Offset,
    pub key: Option<OrderingKey>,
    pub expires: Timestamp,
    pub bytes: usize,
}

/// Items in the order of their offsets; pushed in that order too.
#[derive(Debug, Default)]
pub(super) struct Queue {
    plain: VecDeque<Item>,
    keyed: BTreeMap<Offset, Item>,
    keys: FxHashMap<OrderingKey, VecDeque<Offset>>,
    /// The first of each key that is not blocked.
    heads: BTreeSet<Offset>,
    /// Keys of which nothing may be started: one is in flight, or has ended without success and is not committed.
    blocked: FxHashSet<OrderingKey>,
    bytes: usize,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.plain.len() + self.keyed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.keyed.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, item: Item) {
        self.bytes += item.bytes;
        let Some(key) = &item.key else { return self.plain.push_back(item) };
        let of_key = self.keys.entry(key.clone()).or_default();
        if of_key.is_empty() && !self.blocked.contains(key) {
            self.heads.insert(item.offset);
        }
        of_key.push_back(item.offset);
        self.keyed.insert(item.offset, item);
    }

    /// The lowest offset in it.
    pub fn front(&self) -> Option<Offset> {
        let plain = self.plain.front().map(|item| item.offset);
        let keyed = self.keyed.first_key_value().map(|(o, _)| *o);
        plain.into_iter().chain(keyed).min()
    }

    /// The first that may be started.
    pub fn startable(&self) -> Option<&Item> {
        let keyed = self.heads.first().and_then(|o| self.keyed.get(o));
        match (self.plain.front(), keyed) {
            (Some(a), Some(b)) => Some(if a.offset < b.offset { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Takes out the item at `o`, which is the first startable or the front.
    pub fn take(&mut self, o: Offset) -> Option<Item> {
        let item = match self.plain.front() {
            Some(item) if item.offset == o => self.plain.pop_front(),
            _ => self.take_keyed(o),
        }?;
        self.bytes -= item.bytes;
        Some(item)
    }

    fn take_keyed(&mut self, o: Offset) -> Option<Item> {
        let item = self.keyed.remove(&o)?;
        self.heads.remove(&o);
        let key = item.key.as_ref()?;
        if let Some(of_key) = self.keys.get_mut(key) {
            of_key.retain(|other| *other != o);
            if of_key.is_empty() {
                self.keys.remove(key);
            }
        }
        self.show_head(&item.key.clone()?);
        Some(item)
    }

    /// Takes out everything of a key, in order.
    pub fn take_key(&mut self, key: &OrderingKey) -> Vec<Item> {
        let offsets = self.keys.remove(key).unwrap_or_default();
        let items: Vec<Item> = offsets.iter().filter_map(|o| self.keyed.remove(o)).collect();
        for item in &items {
            self.heads.remove(&item.offset);
            self.bytes -= item.bytes;
        }
        items
    }

    pub fn block(&mut self, key: &OrderingKey) {
        if let Some(head) = self.keys.get(key).and_then(VecDeque::front) {
            self.heads.remove(head);
        }
        self.blocked.insert(key.clone());
    }

    pub fn unblock(&mut self, key: &OrderingKey) {
        self.blocked.remove(key);
        self.show_head(key);
    }

    fn show_head(&mut self, key: &OrderingKey) {
        if let Some(head) = self.keys.get(key).and_then(VecDeque::front)
            && !self.blocked.contains(key)
        {
            self.heads.insert(*head);
        }
    }

    /// Takes out everything above `keep`, in order.
    pub fn cut(&mut self, keep: Offset) -> Vec<Item> {
        let plain = self.plain.partition_point(|item| item.offset <= keep);
        let mut cut: Vec<Item> = self.plain.drain(plain..).collect();
        let keyed: Vec<Offset> = self.keyed.range(keep.next()..).map(|(o, _)| *o).collect();
        self.bytes -= cut.iter().map(|item| item.bytes).sum::<usize>();
        cut.extend(keyed.into_iter().rev().filter_map(|o| {
            let item = self.take_keyed(o)?;
            self.bytes -= item.bytes;
            Some(item)
        }));
        cut.sort_unstable_by_key(|item| item.offset);
        cut
    }
}
