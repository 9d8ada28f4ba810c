//! How strange an event must be, among the scores lately, to teach nothing.
//!
//! An anomaly that is learned makes a cell of its own, and the next one falls into it. The detector's guard holds
//! back what all channels together find strange; this one holds back what the forest does, which others may drown.
//! (Measured beside the other channels: card transactions .25 without it, .34 with; card purchases .87 and .82,
//! where 4 % of events are fraud and the guard keeps 2 % out.) Its limit is a quantile of all scores, so a fixed share is kept out
//! and what keeps coming gets in.

/// The last scores, and their quantile.
#[derive(Debug)]
pub(super) struct Recent {
    share: f64,
    scores: Vec<f32>,
    next: usize,
    pending: usize,
    scratch: Vec<f32>,
    limit: f32,
    /// The quantile that twice the share of scores is above.
    twice: f32,
}

impl Recent {
    /// No scores yet; lets all but that share of events teach.
    pub(super) fn new(share: f64) -> Self {
        let share = if share.is_nan() { 0.02 } else { share.clamp(0.0, 0.5) };
        Self {
            share,
            scores: Vec::new(),
            next: 0,
            pending: 0,
            scratch: Vec::new(),
            limit: f32::INFINITY,
            twice: f32::INFINITY,
        }
    }

    /// Whether an event of that score may teach. Where many events share one score, as those of a common value do, it
    /// wanders over the limit with all of them: so a score is refused only if, [`SLACK`] lower, no more than twice the
    /// share would be.
    pub(super) fn admits(&self, score: f64) -> bool {
        score as f32 <= self.limit || (score - SLACK) as f32 <= self.twice
    }

    /// Remembers a score, whether its event teaches or not.
    pub(super) fn push(&mut self, score: f64) {
        match self.scores.get_mut(self.next) {
            Some(oldest) => *oldest = score as f32,
            None => self.scores.push(score as f32),
        }
        self.next = (self.next + 1) % SCORES;
        self.pending += 1;
        // Selecting among 5 000 takes some 30 microseconds.
        if self.pending >= EVERY {
            self.pending = 0;
            self.renew();
        }
    }

    /// Forgets all scores: another forest's are no measure.
    pub(super) fn clear(&mut self) {
        self.scores.clear();
        (self.next, self.pending) = (0, 0);
        (self.limit, self.twice) = (f32::INFINITY, f32::INFINITY);
    }

    fn renew(&mut self) {
        self.scratch.clone_from(&self.scores);
        let last = self.scratch.len().saturating_sub(1);
        #[expect(clippy::cast_sign_loss, reason = "a share of a length")]
        let at = ((1.0 - self.share) * last as f64) as usize;
        if at < self.scratch.len() {
            self.limit = *self.scratch.select_nth_unstable_by(at, f32::total_cmp).1;
            let below = (at + 1).saturating_sub(self.scratch.len() - at);
            self.twice = *self.scratch.select_nth_unstable_by(below, f32::total_cmp).1;
        }
    }
}

/// Scores remembered.
const SCORES: usize = 5_000;
/// Nats that the score of a common value wanders by: a decayed count of half-life 700 is good to 3 %, a cell of the
/// smallest mass that is looked into to 20 %.
const SLACK: f64 = 0.2;
/// Scores after which the limit is found anew.
const EVERY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_scores_is_kept_out_and_what_keeps_coming_gets_in() {
        let mut recent = Recent::new(0.02);
        assert!(recent.admits(1e9));
        let mut refused = 0;
        for event in 0..20_000_u32 {
            let score = f64::from(event.wrapping_mul(2_654_435_761) >> 8);
            refused += u32::from(!recent.admits(score));
            recent.push(score);
        }
        assert!((300..500).contains(&refused), "{refused}");
        assert!(!recent.admits(1e9));
        (0..400).for_each(|_| recent.push(1e9));
        assert!(recent.admits(1e9));
        recent.clear();
        assert!(recent.admits(f64::MAX));
    }
}
