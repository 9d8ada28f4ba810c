//! What two anomalies must share to be of one incident.
//!
//! The channel that found an anomaly strangest tells what to compare. Comparing texts where a number was strange
//! would fold all odd amounts of a day into one; comparing fields where words were strange would fold all new
//! messages into one.

use std::sync::Arc;

use crate::flow::{Embedding, Point, Verdict};

/// Channels whose surprise lies in the words of a text.
const OF_WORDS: [&str; 2] = ["density", "text"];

/// What an anomaly is about.
#[derive(Clone, Debug)]
pub(super) enum Trait {
    /// Its words: the embedding of each text.
    Words(Vec<Option<Embedding>>),
    /// A field, in the eyes of a channel, and the first key.
    Field { channel: &'static str, field: Arc<str>, key: Option<Arc<str>> },
}

impl Trait {
    /// What the strongest channel of a verdict points at; of equal ones the first.
    pub(super) fn of(verdict: &Verdict, point: &Point) -> Self {
        let mut channels = verdict.channels.iter();
        let first = channels.next();
        let leading = channels.fold(first, |leading, channel| match leading {
            Some(strongest) if channel.surprise > strongest.surprise => Some(channel),
            _ => leading,
        });
        let channel = leading.map_or("", |leading| leading.channel);
        if OF_WORDS.contains(&channel) && point.embeddings.iter().any(Option::is_some) {
            return Self::Words(point.embeddings.clone());
        }
        let field = leading.map_or_else(|| Arc::from(""), |leading| Arc::clone(&leading.field));
        Self::Field { channel, field, key: point.sample.keys.first().cloned().flatten() }
    }

    /// 1 for the same, less for the less alike; minus infinity for what cannot be compared.
    pub(super) fn likeness(&self, other: &Self) -> f64 {
        match (self, other) {
            (Self::Words(texts), Self::Words(others)) => mean_cosine(texts, others),
            (
                Self::Field { channel, field, key },
                Self::Field { channel: other_channel, field: other_field, key: other_key },
            ) if channel == other_channel && field == other_field && key == other_key => 1.0,
            _ => f64::NEG_INFINITY,
        }
    }
}

/// The mean cosine over the texts that both have.
fn mean_cosine(texts: &[Option<Embedding>], others: &[Option<Embedding>]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (text, other) in
        texts.iter().zip(others).filter_map(|(text, other)| text.as_ref().zip(other.as_ref()))
    {
        sum += cosine(text, other);
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { f64::NEG_INFINITY }
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
