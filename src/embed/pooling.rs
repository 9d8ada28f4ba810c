//! From a vector for each token to one for the text, of unit length.
//!
//! Sums run in the order of tokens and in double precision, over the text's own tokens only, so that padding cannot
//! touch a bit of the result. Nothing that is not finite gets out: such a text has no vector.

use std::sync::Arc;

/// How a text's token vectors become one. Only for models whose graph does not do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// As the model's folder says (`1_Pooling/config.json` of sentence-transformers), else the mean.
    #[default]
    Auto,
    /// The mean of all tokens (Reimers & Gurevych, EMNLP 2019).
    Mean,
    /// The first token.
    Cls,
    /// The last token.
    Last,
}

/// One vector out of those of a text's own tokens, `dimensions` numbers each; `None` when there is none or any number
/// used is not finite.
pub fn pool(tokens: &[f32], dimensions: usize, pooling: Pooling) -> Option<Arc<[f32]>> {
    let rows = tokens.chunks_exact(dimensions.max(1));
    match pooling {
        Pooling::Cls => unit(rows.take(1).next()?),
        Pooling::Last => unit(rows.last()?),
        Pooling::Auto | Pooling::Mean => {
            let mut sums = vec![0_f64; dimensions];
            let count = rows.len() as f64;
            for row in rows {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*value);
                }
            }
            (count > 0.0).then_some(())?;
            let means: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
            unit(&means)
        }
    }
}

/// The vector at unit length; a zero vector stays as it is. `None` when a number is not finite.
pub fn unit(vector: &[f32]) -> Option<Arc<[f32]>> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() {
        return None;
    }
    let length = if length > 0.0 { length } else { 1.0 };
    Some(vector.iter().map(|value| (f64::from(*value) / length) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pooling_takes_its_tokens_and_brings_them_to_unit_length() {
        let tokens = [3.0, 0.0, 9.0, 0.0, 0.0, 8.0, 0.0, 8.0];
        let pooled = |pooling| pool(&tokens, 2, pooling).map(|vector| vector.to_vec());
        assert_eq!(pooled(Pooling::Cls), Some(vec![1.0, 0.0]));
        assert_eq!(pooled(Pooling::Last), Some(vec![0.0, 1.0]));
        assert_eq!(pooled(Pooling::Mean), Some(vec![0.6, 0.8]));
        assert_eq!(pooled(Pooling::Auto), pooled(Pooling::Mean));
    }

    #[test]
    fn what_is_not_finite_has_no_vector() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(unit(&[1.0, bad]), None);
            for pooling in [Pooling::Mean, Pooling::Last] {
                assert_eq!(pool(&[1.0, 1.0, 1.0, bad], 2, pooling), None);
            }
        }
        assert_eq!(unit(&[f32::MAX, f32::MAX]).map(|v| v[0]), Some(0.5_f32.sqrt()), "large is not infinite");
    }

    #[test]
    fn no_tokens_have_no_vector_and_zero_stays_zero() {
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
            assert_eq!(pool(&[], 2, pooling), None);
        }
        assert_eq!(unit(&[0.0, 0.0]).map(|vector| vector.to_vec()), Some(vec![0.0, 0.0]));
    }
}
