//! A bounded map that forgets what was used least recently.
//!
//! Keys are 64-bit hashes, so a slot costs the same whatever its key was, and a stream of ever new keys costs
//! bounded memory. The hash has fixed keys: the same records give the same state on every run. It must never be
//! iterated through its index, whose order means nothing; `values_mut` goes through the slots.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

/// Hash of a string, the same on every run (`SipHash` with fixed keys: finding a value that collides with a given
/// common one, to pass for it, takes about 2^64 tries).
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Hash of a pair of hashes, in that order (the finaliser of `SplitMix64`).
pub(crate) fn hash_pair(first: u64, second: u64) -> u64 {
    let mut mixed = first.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ second;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A map from hashes to values that holds at most `capacity` of them.
#[derive(Debug)]
pub(crate) struct Lru<V> {
    slots: Vec<Slot<V>>,
    index: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    newest: u32,
    oldest: u32,
    capacity: usize,
    evicted: u64,
}

impl<V> Lru<V> {
    /// An empty map for `capacity` values, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, NONE as usize);
        Self {
            slots: Vec::new(),
            index: HashMap::default(),
            newest: NONE,
            oldest: NONE,
            capacity,
            evicted: 0,
        }
    }

    /// The value of a key; does not count as use.
    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        let at = *self.index.get(&key)?;
        self.slots.get(at as usize).map(|slot| &slot.value)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let at = *self.index.get(&key)?;
        self.slots.get_mut(at as usize).map(|slot| &mut slot.value)
    }

    /// The value of a key, which was used just now; made if it is not there, in place of the one used least
    /// recently if there is no room.
    pub(crate) fn entry(&mut self, key: u64, make: impl FnOnce() -> V) -> &mut V {
        let at = if let Some(&at) = self.index.get(&key) {
            at
        } else {
            let at = self.make_room(key, make);
            self.index.insert(key, at);
            self.link(at);
            at
        };
        if at != self.newest {
            self.unlink(at);
            self.link(at);
        }
        &mut self.slots[at as usize].value
    }

    /// Every value, in an order that only depends on the order of use.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().map(|slot| &mut slot.value)
    }

    /// Holds at most so many from now on, at least one; those used least recently go.
    pub(crate) fn shrink(&mut self, capacity: usize) {
        if capacity >= self.capacity {
            return;
        }
        let mut order = Vec::with_capacity(self.len());
        let mut at = self.newest;
        while let Some(slot) = self.slots.get(at as usize) {
            order.push(at as usize);
            at = slot.older;
        }
        let evicted = self.evicted;
        let shrunk = std::mem::replace(self, Self::new(capacity));
        let mut slots: Vec<_> = shrunk.slots.into_iter().map(Some).collect();
        for slot in order.iter().take(self.capacity).rev().filter_map(|at| slots.get_mut(*at)?.take()) {
            self.entry(slot.key, || slot.value);
        }
        self.evicted = evicted + (order.len() - self.len()) as u64;
    }

    /// How many values it holds.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a new key would take another one's place.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= self.capacity
    }

    /// How many it has forgotten for want of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A slot for a key, in no order yet: a fresh one, or that of the value used least recently.
    fn make_room(&mut self, key: u64, make: impl FnOnce() -> V) -> u32 {
        if self.slots.len() < self.capacity {
            self.slots.push(Slot { key, newer: NONE, older: NONE, value: make() });
            return (self.slots.len() - 1) as u32;
        }
        let at = self.oldest;
        self.unlink(at);
        self.evicted += 1;
        let slot = &mut self.slots[at as usize];
        self.index.remove(&slot.key);
        slot.key = key;
        slot.value = make();
        at
    }

    fn unlink(&mut self, at: u32) {
        let (newer, older) = (self.slots[at as usize].newer, self.slots[at as usize].older);
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link(&mut self, at: u32) {
        let before = self.newest;
        let slot = &mut self.slots[at as usize];
        (slot.newer, slot.older) = (NONE, before);
        match self.slots.get_mut(before as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }
}

/// No slot: beyond every slot there can be.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    newer: u32,
    older: u32,
    value: V,
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, &byte| hash_pair(sum, u64::from(byte)));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_shrinks_keeps_what_was_used_last_in_its_order() {
        let mut lru = Lru::new(10);
        for key in 0..12_u64 {
            *lru.entry(key, || key) += 100;
        }
        lru.entry(4, || 0);
        lru.shrink(20);
        assert_eq!((lru.len(), lru.evicted()), (10, 2));
        lru.shrink(3);
        assert_eq!((lru.len(), lru.evicted()), (3, 9));
        assert_eq!([10, 11, 4].map(|key| lru.get(key).copied()), [Some(110), Some(111), Some(104)]);
        lru.entry(50, || 150);
        assert_eq!([10, 11, 4].map(|key| lru.get(key).is_some()), [false, true, true]);
        lru.shrink(0);
        assert_eq!((lru.len(), lru.get(50).copied()), (1, Some(150)));
    }

    #[test]
    fn forgets_the_least_recently_used() {
        let mut map = Lru::new(3);
        for key in 1..=3_u64 {
            *map.entry(key, || 0) += key;
        }
        map.entry(1, || 0);
        map.entry(4, || 40);
        assert_eq!((map.get(2), map.get(1), map.get(4)), (None, Some(&1), Some(&40)));
        assert_eq!((map.len(), map.evicted(), map.is_full()), (3, 1, true));
        map.entry(5, || 50);
        assert_eq!(map.get(3), None);
        map.entry(6, || 60);
        assert_eq!((map.get(1), map.get(5)), (None, Some(&50)));
    }

    #[test]
    fn agrees_with_a_list_kept_by_hand() {
        let (mut map, mut list) = (Lru::new(5), Vec::new());
        let mut state = 7_u64;
        for _ in 0..2_000 {
            state = hash_pair(state, 1);
            let key = state % 9;
            *map.entry(key, || 0_u32) += 1;
            let count = list.iter().position(|&(held, _)| held == key).map_or(0, |at| list.remove(at).1);
            list.push((key, count + 1));
            if list.len() > 5 {
                list.remove(0);
            }
            assert!((0..9).all(|key| {
                map.get(key) == list.iter().find(|(held, _)| *held == key).map(|(_, count)| count)
            }));
        }
        assert_eq!(map.values_mut().count(), 5);
    }

    #[test]
    fn a_pair_is_not_its_reverse() {
        assert_ne!(hash_pair(1, 2), hash_pair(2, 1));
        assert_ne!(hash("a"), hash("b"));
        assert_eq!(hash("a"), hash("a"));
    }
}
