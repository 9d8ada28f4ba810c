//! The features of texts seen lately, so that a text that repeats is taken apart once.
//!
//! Logs repeat themselves, and taking a text apart costs several times as much as looking its features up. A small
//! set-associative table: a text has a few places, the one longest unused is given up. What is remembered must
//! never change a score, so a text is found by its bytes, not by its hash.

use std::sync::Arc;

use super::features::{Extractor, Features};

/// Texts that share their places.
const WAYS: usize = 4;
/// Groups of places.
const SETS: usize = 128;
/// Slots held by all features together: 2 MiB.
const SLOTS_MAX: usize = 1 << 19;
/// A text with more is not worth remembering.
const TEXT_SLOTS_MAX: usize = SLOTS_MAX / 32;

/// Features by text.
#[derive(Debug)]
pub(super) struct Recent {
    /// Most recently used first.
    sets: Vec<Vec<(Arc<str>, Arc<Features>)>>,
    slots: usize,
    /// The set that gives up a text next when there are too many slots.
    hand: usize,
}

impl Recent {
    /// Remembers nothing.
    pub(super) fn new() -> Self {
        Self { sets: vec![Vec::new(); SETS], slots: 0, hand: 0 }
    }

    /// The features of a text.
    pub(super) fn features(&mut self, text: &Arc<str>, extractor: &mut Extractor) -> Arc<Features> {
        let set = &mut self.sets[hash(text.as_bytes()) as usize % SETS];
        if let Some(at) = set.iter().position(|(known, _)| Arc::ptr_eq(known, text) || known == text) {
            set[..=at].rotate_right(1);
            return Arc::clone(&set[0].1);
        }
        let features = Arc::new(extractor.features(text));
        if features.size() <= TEXT_SLOTS_MAX {
            if set.len() >= WAYS {
                let gone = set.pop();
                self.slots -= gone.map_or(0, |(_, features)| features.size());
            }
            set.insert(0, (Arc::clone(text), Arc::clone(&features)));
            self.slots += features.size();
            self.shrink();
        }
        features
    }

    /// Slots held by all features together.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.sets.iter().flatten().map(|(_, features)| features.size()).sum()
    }

    fn shrink(&mut self) {
        while self.slots > SLOTS_MAX {
            let gone = self.sets[self.hand].pop();
            self.slots -= gone.map_or(0, |(_, features)| features.size());
            self.hand = (self.hand + 1) % SETS;
        }
    }
}

/// Eight bytes at a time; only good enough to spread texts over sets.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 32)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, &word| step(hash, u64::from_le_bytes(word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_given_up_before_they_fill_the_memory() {
        let (mut recent, mut extractor) = (Recent::new(), Extractor::default());
        for number in 0..600_u64 {
            let words =
                (0..100).map(|word| (number * 100 + word).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string());
            let text: Arc<str> = words.collect::<Vec<_>>().join(" ").into();
            let features = recent.features(&text, &mut extractor);
            assert!((1..TEXT_SLOTS_MAX).contains(&features.size()));
            assert_eq!(recent.held(), recent.slots);
            assert!(recent.held() <= SLOTS_MAX);
        }
    }
}
