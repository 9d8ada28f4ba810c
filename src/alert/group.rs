//! What two anomalies must share to be of one incident.
//!
//! The channel that found an anomaly strangest tells what to compare. Comparing texts where a number was strange
//! would fold all odd amounts of a day into one; comparing fields where words were strange would fold all new
//! messages into one. Where a combination was strange, most of its parts must be the same: the categories, and the
//! magnitudes of the numbers, of those that differ from event to event at all. Of several texts only the one that was strange is compared: the others, such as the user agent
//! beside a request, are alike because one client sent them.

use std::sync::Arc;

use crate::flow::{Embedding, Point, Sample, Verdict};

/// Channels whose surprise lies in the words of a text.
const OF_WORDS: [&str; 3] = ["density", "text", "meaning"];

/// The channels whose surprise lies in how values go together.
const OF_PARTS: [&str; 2] = ["joint", "nearest"];

/// What an anomaly is about.
#[derive(Clone, Debug)]
pub(super) enum Trait {
    /// Its words: the strange text field and what stood there.
    Words { field: Arc<str>, embedding: Embedding },
    /// Its categories and the magnitudes of its numbers, as hashes, and the first key.
    Parts { parts: Parts, key: Option<Arc<str>> },
    /// A field, in the eyes of a channel, and the first key.
    Field { channel: &'static str, field: Arc<str>, key: Option<Arc<str>> },
}

impl Trait {
    /// What the strongest channel of a verdict points at; of equal ones the first.
    pub(super) fn of(verdict: &Verdict, point: &Point) -> Self {
        let mut channels = verdict.channels.iter().enumerate();
        let first = channels.next();
        let leading = channels.fold(first, |leading, (at, channel)| match leading {
            Some((_, strongest)) if channel.surprise > strongest.surprise => Some((at, channel)),
            _ => leading,
        });
        let (at, channel, field) = leading.map_or_else(
            || (0, "", Arc::from("")),
            |(at, leading)| (at, leading.channel, Arc::clone(&leading.field)),
        );
        if OF_WORDS.contains(&channel) {
            // Both channels of words have an entry for each text of the schema, in the schema's order.
            let text = verdict.channels.iter().take(at).filter(|entry| entry.channel == channel).count();
            if let Some(Some(embedding)) = point.embeddings.get(text) {
                return Self::Words { field, embedding: embedding.clone() };
            }
        }
        let key = point.sample.keys.first().cloned().flatten();
        if OF_PARTS.contains(&channel) {
            Self::Parts { parts: parts(&point.sample), key }
        } else {
            Self::Field { channel, field, key }
        }
    }

    /// 1 for the same, less for the less alike; minus infinity for what cannot be compared.
    pub(super) fn likeness(&self, other: &Self, varied: &Varied) -> f64 {
        match (self, other) {
            (
                Self::Words { field, embedding },
                Self::Words { field: other_field, embedding: other_embedding },
            ) if field == other_field => cosine(embedding, other_embedding),
            (Self::Parts { parts, key }, Self::Parts { parts: other_parts, key: other_key })
                if key == other_key =>
            {
                let (mut count, mut same) = (0, 0);
                // Fields that have joined since the one was met say nothing.
                for ((parts, others), varies) in parts.iter().zip(other_parts).zip(&varied.varies) {
                    let pairs = parts.iter().zip(others).zip(varies).filter(|(_, varies)| **varies);
                    for ((part, other), _) in pairs.filter(|((part, other), _)| **part != 0 || **other != 0) {
                        count += 1;
                        same += u32::from(part == other);
                    }
                }
                // Nothing that could differ: the same.
                if count == 0 { 1.0 } else { f64::from(same) / f64::from(count) }
            }
            (
                Self::Field { channel, field, key },
                Self::Field { channel: other_channel, field: other_field, key: other_key },
            ) if channel == other_channel && field == other_field && key == other_key => 1.0,
            _ => f64::NEG_INFINITY,
        }
    }
}

/// Which parts of a lane's events differ at all: what never does makes no two of them alike.
#[derive(Debug, Default)]
pub(super) struct Varied {
    first: Parts,
    varies: [Vec<bool>; 2],
    events: u64,
}

impl Varied {
    /// Looks at every eighth event, and at all that are strange.
    pub(super) fn see(&mut self, sample: &Sample, strange: bool) {
        self.events += 1;
        if !strange && !self.events.is_multiple_of(8) {
            return;
        }
        let parts = parts(sample);
        for ((varies, first), parts) in self.varies.iter_mut().zip(&mut self.first).zip(&parts) {
            first.extend(parts.iter().skip(first.len()));
            varies.resize(first.len(), false);
            for ((varies, first), part) in varies.iter_mut().zip(first).zip(parts) {
                *varies |= *first != *part;
            }
        }
    }
}

/// One hash for each category, and each number's sign and power of two.
type Parts = [Vec<u64>; 2];

fn parts(sample: &Sample) -> Parts {
    let categories = sample.categories.iter().map(|category| category.as_deref().map_or(0, fnv));
    let numbers = sample.numbers.iter().map(|number| number.map_or(0, |x| x.to_bits() >> 52));
    [categories.collect(), numbers.collect()]
}

/// The hash of Fowler, Noll and Vo, of 64 bits (FNV-1a): the same on every machine, and enough to tell values apart.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// The cosine of two unit vectors, at most 1.
fn cosine(text: &Embedding, other: &Embedding) -> f64 {
    if text.fingerprint == other.fingerprint {
        return 1.0;
    }
    // Eight sums side by side: a single one would wait for itself at every step. Their order is fixed.
    let mut sums = [0.0_f32; 8];
    for (a, b) in text.vector.chunks(8).zip(other.vector.chunks(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    f64::from(sums.iter().sum::<f32>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ChannelSurprise;

    fn combination(numbers: [f64; 2], protocol: &str, host: &str) -> Trait {
        let sample = Sample {
            numbers: numbers.map(Some).to_vec(),
            categories: vec![Some(protocol.into()), Some("SF".into())],
            keys: vec![Some(host.into())],
            ..Sample::default()
        };
        let entry = ChannelSurprise { channel: "joint", field: "".into(), score: 9.0, surprise: 9.0 };
        let verdict = Verdict {
            surprise: 9.0,
            threshold: 6.0,
            channels: vec![entry],
            admitted: false,
            seen: 0,
            warm: true,
            evidence: None,
        };
        Trait::of(&verdict, &Point { sample, embeddings: Vec::new() })
    }

    #[test]
    fn combinations_are_alike_as_far_as_their_parts_are_and_never_across_keys() {
        let mut varied = Varied::default();
        let one = combination([100.0, 3.0], "tcp", "a");
        let likeness = |other: &Trait, varied: &Varied| one.likeness(other, varied);
        let other = combination([9e9, 0.0], "udp", "a");
        assert!((likeness(&other, &varied) - 1.0).abs() < 1e-9, "nothing is known to differ yet");
        for (numbers, protocol) in [([100.0, 3.0], "tcp"), ([7.0, 900.0], "udp")] {
            let numbers = numbers.map(Some).to_vec();
            let categories = vec![Some(protocol.into()), Some("SF".into())];
            varied.see(&Sample { numbers, categories, ..Sample::default() }, true);
        }
        // Of the three parts that differ; the flag is always the same.
        assert!((likeness(&combination([101.0, 3.5], "tcp", "a"), &varied) - 1.0).abs() < 1e-9);
        assert!((likeness(&combination([101.0, 3.5], "udp", "a"), &varied) - 2.0 / 3.0).abs() < 1e-9);
        assert!(likeness(&other, &varied) < 1e-9);
        assert!(likeness(&combination([100.0, 3.0], "tcp", "b"), &varied) < 0.0);
    }

    #[test]
    fn the_cosine_counts_every_dimension() {
        for length in [1, 7, 8, 9, 384] {
            let share = 1.0 / (length as f32).sqrt();
            let even = Embedding { fingerprint: 1, vector: vec![share; length].into(), meaning: None };
            let mut vector = vec![0.0; length];
            vector[length - 1] = 1.0;
            let last = Embedding { fingerprint: 2, vector: vector.into(), meaning: None };
            assert!((cosine(&even, &last) - f64::from(share)).abs() < 1e-6, "{length}");
        }
    }
}
