//! The vectors of texts met lately, by fingerprint: bounded, and cheap enough to stand before a hash embedder.
//!
//! A set-associative cache, as in a processor: a key may live in the eight slots of one set only, and the slot used
//! longest ago makes room. Eight neighbouring slots are compared; there is no second hashing, no list to mend and no
//! allocation after the start. The price: a crowded set forgets before the whole is full, which costs an embedding
//! anew and never a wrong one. It must never change a vector, only save computing it.

use std::sync::Arc;

const WAYS: usize = 8;

#[derive(Clone, Debug, Default)]
struct Slot {
    fingerprint: u64,
    used: u64,
    vector: Option<Arc<[f32]>>,
}

impl Slot {
    fn holds(&self, fingerprint: u64) -> bool {
        self.vector.is_some() && self.fingerprint == fingerprint
    }
}

/// Vectors by fingerprint.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Slot>,
    /// Sets - 1, where the number of sets is a power of two.
    mask: usize,
    /// Counts uses; it stands in for time.
    uses: u64,
}

impl Cache {
    /// A cache of at most `entries` vectors: the largest power of two, times eight, that fits. Fewer than eight: none.
    pub fn new(entries: usize) -> Self {
        let sets = match entries / WAYS {
            0 => 0,
            sets => 1 << sets.ilog2(),
        };
        Self { slots: vec![Slot::default(); sets * WAYS], mask: sets.saturating_sub(1), uses: 0 }
    }

    /// The vector, if it is still known; it counts as used.
    pub fn get(&mut self, fingerprint: u64) -> Option<Arc<[f32]>> {
        self.uses += 1;
        let uses = self.uses;
        let slot = self.set(fingerprint).iter_mut().find(|slot| slot.holds(fingerprint))?;
        slot.used = uses;
        slot.vector.clone()
    }

    /// Remembers a vector in the place of the one of its set that was used longest ago.
    pub fn insert(&mut self, fingerprint: u64, vector: Arc<[f32]>) {
        self.uses += 1;
        let used = self.uses;
        let set = self.set(fingerprint);
        let slot = match set.iter().position(|slot| slot.holds(fingerprint)) {
            Some(at) => set.get_mut(at),
            None => set.iter_mut().min_by_key(|slot| slot.used),
        };
        if let Some(slot) = slot {
            *slot = Slot { fingerprint, used, vector: Some(vector) };
        }
    }

    fn set(&mut self, fingerprint: u64) -> &mut [Slot] {
        if self.slots.is_empty() {
            return &mut [];
        }
        let first = (fingerprint as usize & self.mask) * WAYS;
        &mut self.slots[first..first + WAYS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(value: u64) -> Arc<[f32]> {
        Arc::from([value as f32])
    }

    #[test]
    fn the_one_used_longest_ago_makes_room() {
        let mut cache = Cache::new(8);
        for key in 0..8 {
            cache.insert(key, vector(key));
        }
        assert_eq!(cache.get(0), Some(vector(0)), "a use keeps it");
        cache.insert(8, vector(8));
        assert_eq!(cache.get(1), None, "the oldest is gone");
        let known: Vec<u64> = (0..9).filter(|key| cache.get(*key).is_some()).collect();
        assert_eq!(known, [0, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn it_holds_no_more_than_it_was_given_and_answers_with_what_it_was_told() {
        let mut cache = Cache::new(100);
        for key in 0..10_000_u64 {
            cache.insert(key.wrapping_mul(0x9E37_79B9_7F4A_7C15), vector(key));
        }
        let known = (0..10_000_u64)
            .filter(|key| {
                let found = cache.get(key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                assert!(found.is_none() || found == Some(vector(*key)));
                found.is_some()
            })
            .count();
        assert_eq!(known, 64, "the largest power of two below 100 / 8, times eight");
    }

    #[test]
    fn an_entry_is_replaced_not_doubled() {
        let mut cache = Cache::new(8);
        for value in 0..20 {
            cache.insert(7, vector(value));
        }
        for key in 100..107 {
            cache.insert(key, vector(key));
        }
        assert_eq!(cache.get(7), Some(vector(19)), "seven others leave it its slot");
    }

    #[test]
    fn no_room_means_no_cache() {
        let mut cache = Cache::new(0);
        cache.insert(1, vector(1));
        assert_eq!(cache.get(1), None);
    }

    #[test]
    fn an_empty_slot_is_not_the_text_with_fingerprint_zero() {
        assert_eq!(Cache::new(8).get(0), None);
    }
}
