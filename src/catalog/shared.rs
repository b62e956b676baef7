//! An ordered map whose clones share what they do not change, so that a snapshot of 100,000 resources is followed by the
//! next at the price of one chunk.

use std::borrow::Borrow;
use std::sync::Arc;

use rustc_hash::FxHashSet;

/// Entries in one chunk at most. A change copies one chunk and the list of chunks.
const CHUNK: usize = 256;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// Sorted, never empty chunks of sorted entries. Keys and values should be cheap to clone (`Arc`).
#[derive(Clone, Debug)]
pub struct SharedMap<K, V> {
    chunks: Vec<Chunk<K, V>>,
    len: usize,
}

/// How a map differs from an older one; a changed entry is in both lists.
#[derive(Debug)]
pub struct Changes<'a, K, V> {
    pub removed: Vec<(&'a K, &'a V)>,
    pub added: Vec<(&'a K, &'a V)>,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap { chunks: Vec::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        chunk.get(at).map(|(_, v)| v)
    }

    pub fn insert(&mut self, key: K, value: V) {
        if self.chunks.is_empty() {
            self.chunks.push(Arc::default());
        }
        let index = self.chunk_of(&key);
        let chunk = Arc::make_mut(&mut self.chunks[index]);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => chunk[at].1 = value,
            Err(at) => {
                chunk.insert(at, (key, value));
                self.len += 1;
            }
        }
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            self.chunks.insert(index + 1, Arc::new(upper));
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let chunk = self.chunks.get_mut(index)?;
        let at = chunk.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        let (_, value) = Arc::make_mut(chunk).remove(at);
        if chunk.is_empty() {
            self.chunks.remove(index);
        }
        self.len -= 1;
        Some(value)
    }

    /// In the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
    }

    /// From the first key that is not below `start`, in the order of the keys.
    pub fn iter_from<'a>(&'a self, start: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let first = self.chunk_of(start);
        let skip = self.chunks.get(first).map_or(0, |chunk| chunk.partition_point(|(k, _)| k < start));
        let rest = self.chunks.get(first..).unwrap_or_default();
        rest.iter().flat_map(|chunk| chunk.iter()).skip(skip).map(|(k, v)| (k, v))
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, v)| v)
    }

    /// Entries of `older` that are not in this map as they were, and entries of this one that were not in `older`. Chunks
    /// that both share are not looked at, so that after a change it costs a chunk, not the map.
    pub fn changes_since<'a>(&'a self, older: &'a Self, same: impl Fn(&V, &V) -> bool) -> Changes<'a, K, V> {
        let pointers = |map: &Self| map.chunks.iter().map(Arc::as_ptr).collect::<FxHashSet<_>>();
        let (mine, theirs) = (pointers(self), pointers(older));
        let mut added = self.apart_from(&theirs).peekable();
        let mut changes = Changes { removed: Vec::new(), added: Vec::new() };
        for (key, was) in older.apart_from(&mine) {
            while let Some(earlier) = added.next_if(|(k, _)| *k < key) {
                changes.added.push(earlier);
            }
            match added.next_if(|(k, _)| *k == key) {
                Some((_, is)) if same(was, is) => {}
                Some(entry) => {
                    changes.removed.push((key, was));
                    changes.added.push(entry);
                }
                None => changes.removed.push((key, was)),
            }
        }
        changes.added.extend(added);
        changes
    }

    fn apart_from(&self, shared: &FxHashSet<*const Vec<(K, V)>>) -> impl Iterator<Item = (&K, &V)> {
        let own = self.chunks.iter().filter(|chunk| !shared.contains(&Arc::as_ptr(chunk)));
        own.flat_map(|chunk| chunk.iter().map(|(k, v)| (k, v)))
    }

    /// The chunk that holds `key`, or would.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|(k, _)| k.borrow() <= key));
        after.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_holds_what_an_ordered_map_holds(
            steps in proptest::collection::vec((any::<bool>(), 0..900u32, any::<u32>()), 0..2_000),
        ) {
            let (mut shared, mut plain) = (SharedMap::default(), BTreeMap::new());
            for (put, key, value) in steps {
                if put {
                    shared.insert(key, value);
                    plain.insert(key, value);
                } else {
                    prop_assert_eq!(shared.remove(&key), plain.remove(&key));
                }
                prop_assert_eq!(shared.len(), plain.len());
                prop_assert_eq!(shared.get(&key), plain.get(&key));
            }
            prop_assert!(shared.iter().eq(plain.iter()));
            for start in [0, 1, 450, 899, 900] {
                prop_assert!(shared.iter_from(&start).eq(plain.range(start..)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_changes_turn_the_older_map_into_the_newer(
            first in proptest::collection::btree_map(0..900u32, 0..3u32, 0..900),
            steps in proptest::collection::vec((any::<bool>(), 0..900u32, 0..3u32), 0..600),
        ) {
            let mut older = SharedMap::default();
            first.into_iter().for_each(|(key, value)| older.insert(key, value));
            let mut newer = older.clone();
            for (put, key, value) in steps {
                if put { newer.insert(key, value) } else { newer.remove(&key); }
            }
            let changes = newer.changes_since(&older, |a, b| a == b);
            let mut replayed: BTreeMap<u32, u32> = older.iter().map(|(k, v)| (*k, *v)).collect();
            for (key, value) in &changes.removed {
                prop_assert_eq!(replayed.remove(key), Some(**value));
            }
            for (key, value) in &changes.added {
                prop_assert_eq!(replayed.insert(**key, **value), None);
            }
            prop_assert!(newer.iter().eq(replayed.iter()));
        }
    }

    #[test]
    fn a_change_leaves_older_clones_alone_and_copies_one_chunk() {
        let mut map = SharedMap::default();
        for key in 0..10_000 {
            map.insert(key, Arc::new(key));
        }
        let before = map.clone();
        map.insert(5_000, Arc::new(-1));
        map.remove(&7_000);
        assert_eq!(before.get(&5_000).map(|v| **v), Some(5_000));
        assert_eq!(before.get(&7_000).map(|v| **v), Some(7_000));
        let copied = map.chunks.iter().zip(&before.chunks).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!(copied, 2, "of {} chunks", map.chunks.len());
    }
}
