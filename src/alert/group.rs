//! What two anomalies must share to be of one incident.
//!
//! The channel that found an anomaly strangest tells what to compare. Comparing texts where a number was strange
//! would fold all odd amounts of a day into one; comparing fields where words were strange would fold all new
//! messages into one. Of several texts only the one that was strange is compared: the others, such as the user agent
//! beside a request, are alike because one client sent them.

use std::sync::Arc;

use crate::flow::{Embedding, Point, Verdict};

/// Channels whose surprise lies in the words of a text.
const OF_WORDS: [&str; 2] = ["density", "text"];

/// What an anomaly is about.
#[derive(Clone, Debug)]
pub(super) enum Trait {
    /// Its words: the strange text field and what stood there.
    Words { field: Arc<str>, embedding: Embedding },
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
        Self::Field { channel, field, key: point.sample.keys.first().cloned().flatten() }
    }

    /// 1 for the same, less for the less alike; minus infinity for what cannot be compared.
    pub(super) fn likeness(&self, other: &Self) -> f64 {
        match (self, other) {
            (
                Self::Words { field, embedding },
                Self::Words { field: other_field, embedding: other_embedding },
            ) if field == other_field => cosine(embedding, other_embedding),
            (
                Self::Field { channel, field, key },
                Self::Field { channel: other_channel, field: other_field, key: other_key },
            ) if channel == other_channel && field == other_field && key == other_key => 1.0,
            _ => f64::NEG_INFINITY,
        }
    }
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

    #[test]
    fn the_cosine_counts_every_dimension() {
        for length in [1, 7, 8, 9, 384] {
            let share = 1.0 / (length as f32).sqrt();
            let even = Embedding { fingerprint: 1, vector: vec![share; length].into() };
            let mut vector = vec![0.0; length];
            vector[length - 1] = 1.0;
            let last = Embedding { fingerprint: 2, vector: vector.into() };
            assert!((cosine(&even, &last) - f64::from(share)).abs() < 1e-6, "{length}");
        }
    }
}
