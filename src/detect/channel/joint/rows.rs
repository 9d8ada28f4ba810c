//! The last accepted events, as rows of numbers' bits and hashes: what new trees are taught from.
//!
//! One flat ring, so that its memory is known: rows x columns x 8 bytes. Must never hold an event that the guard
//! kept out.

/// Rows, oldest forgotten first.
#[derive(Debug)]
pub(super) struct Rows {
    width: usize,
    capacity: usize,
    /// When each row came, by the channel's clock.
    times: Vec<u64>,
    /// What its event scored, NaN if nothing.
    scores: Vec<f32>,
    cells: Vec<u64>,
    /// Where the next row goes.
    next: usize,
}

impl Rows {
    /// No rows yet, and at most `capacity` of `width` cells.
    pub(super) fn new(width: usize, capacity: usize) -> Self {
        Self {
            width,
            capacity: capacity.max(1),
            times: Vec::new(),
            scores: Vec::new(),
            cells: Vec::new(),
            next: 0,
        }
    }

    /// Takes in a row of `width` cells and its event's score, in place of the oldest if there is no room.
    pub(super) fn push(&mut self, time: u64, row: &[u64], score: Option<f64>) {
        let score = score.map_or(f32::NAN, |score| score as f32);
        debug_assert_eq!(row.len(), self.width, "a row has all its cells");
        if self.times.len() < self.capacity {
            self.times.push(time);
            self.scores.push(score);
            self.cells.extend_from_slice(row);
        } else {
            let start = self.next * self.width;
            (self.times[self.next], self.scores[self.next]) = (time, score);
            self.cells[start..start + self.width].copy_from_slice(row);
        }
        self.next = (self.next + 1) % self.capacity;
    }

    /// Rows and when they came, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &[u64])> {
        self.order().map(|at| (self.times[at], &self.cells[at * self.width..(at + 1) * self.width]))
    }

    /// What their events scored, oldest first.
    pub(super) fn scores(&self) -> impl Iterator<Item = Option<f64>> {
        self.order().map(|at| Some(f64::from(self.scores[at])).filter(|score| !score.is_nan()))
    }

    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.times.len();
        let oldest = if count < self.capacity { 0 } else { self.next };
        (0..count).map(move |at| (oldest + at) % count)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut rows = Rows::new(2, 3);
        for time in 0..8 {
            assert_eq!(rows.len() as u64, time.min(3));
            rows.push(time, &[time * 10, time * 10 + 1], (time > 2).then_some(time as f64));
            let times: Vec<u64> = rows.iter().map(|(time, _)| time).collect();
            assert_eq!(times, (time.saturating_sub(2)..=time).collect::<Vec<_>>());
            let scores: Vec<Option<f64>> =
                times.iter().map(|time| (*time > 2).then_some(*time as f64)).collect();
            assert_eq!(rows.scores().collect::<Vec<_>>(), scores);
            assert!(rows.iter().all(|(time, row)| row == [time * 10, time * 10 + 1]));
        }
        assert_eq!(rows.cells.len(), 6);
    }

    #[test]
    fn rows_may_be_empty() {
        let mut rows = Rows::new(0, 0);
        rows.push(1, &[], None);
        rows.push(2, &[], None);
        assert_eq!(rows.iter().collect::<Vec<_>>(), vec![(2, &[][..])]);
    }
}
