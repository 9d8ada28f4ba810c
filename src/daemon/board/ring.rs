//! What was judged lately, second by second: a fixed number of cells of equal width, oldest forgotten first.
//!
//! A cell keeps of its events how many there were and the one that came nearest to its line, or went furthest over it,
//! with that line: partitions have lines of their own, so a score without its own says nothing.

use std::collections::VecDeque;

/// Cells that are kept.
pub(in crate::daemon) const CELLS: usize = 300;

/// An event's surprise against its own line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::daemon) struct Peak {
    /// Whether its partition could alert.
    pub(in crate::daemon) warm: bool,
    /// Nats.
    pub(in crate::daemon) surprise: f64,
    /// Nats.
    pub(in crate::daemon) threshold: f64,
}

impl Peak {
    /// The one that matters more: of a partition that could alert, then the one with more over its line.
    fn larger(self, other: Self) -> Self {
        let rank = |peak: Self| (peak.warm, peak.surprise - peak.threshold);
        if rank(other) > rank(self) { other } else { self }
    }
}

/// What was judged within one width of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::daemon) struct Cell {
    /// When it begins, milliseconds since the Unix epoch by this machine's clock.
    pub(in crate::daemon) at: i64,
    /// Events judged.
    pub(in crate::daemon) judged: u64,
    /// Incidents opened by live events.
    pub(in crate::daemon) incidents: u64,
    /// The event nearest to its line, or furthest over it.
    pub(in crate::daemon) peak: Option<Peak>,
}

impl Cell {
    /// Counts one event more.
    pub(in crate::daemon) fn judge(&mut self, peak: Peak, opened: bool) {
        self.add(&Self { at: self.at, judged: 1, incidents: u64::from(opened), peak: Some(peak) });
    }

    fn add(&mut self, other: &Self) {
        self.judged += other.judged;
        self.incidents += other.incidents;
        self.peak = match (self.peak, other.peak) {
            (Some(one), Some(other)) => Some(one.larger(other)),
            (one, other) => one.or(other),
        };
    }
}

/// The last cells in which anything was judged.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Ring {
    width: i64,
    cells: VecDeque<Cell>,
}

impl Ring {
    /// An empty one; `width` in milliseconds.
    pub(in crate::daemon) fn new(width: i64) -> Self {
        Self { width: width.max(1), cells: VecDeque::new() }
    }

    /// Adds what was judged by now. A clock that was set back adds to the last cell.
    pub(in crate::daemon) fn add(&mut self, cell: &Cell) {
        let at = cell.at.div_euclid(self.width) * self.width;
        if let Some(last) = self.cells.back_mut().filter(|last| last.at >= at) {
            return last.add(cell);
        }
        if self.cells.len() >= CELLS {
            self.cells.pop_front();
        }
        self.cells.push_back(Cell { at, ..*cell });
    }

    /// Takes over what another shard has judged.
    pub(in crate::daemon) fn join(&mut self, other: &Self) {
        for cell in &other.cells {
            match self.cells.binary_search_by_key(&cell.at, |own| own.at) {
                Ok(place) => self.cells[place].add(cell),
                Err(place) => self.cells.insert(place, *cell),
            }
        }
        while self.cells.len() > CELLS {
            self.cells.pop_front();
        }
    }

    /// The cells not older than the whole span, oldest first.
    pub(in crate::daemon) fn since(&self, now: i64) -> impl Iterator<Item = &Cell> {
        let from = now.saturating_sub(self.width.saturating_mul(i64::try_from(CELLS).unwrap_or(i64::MAX)));
        self.cells.iter().filter(move |cell| cell.at >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(at: i64, judged: u64, surprise: f64) -> Cell {
        Cell { at, judged, incidents: 0, peak: Some(Peak { warm: true, surprise, threshold: 5.0 }) }
    }

    #[test]
    fn cells_gather_what_falls_into_them_and_the_oldest_go_first() {
        let mut ring = Ring::new(1_000);
        ring.add(&cell(10_000, 1, 2.0));
        ring.add(&cell(10_999, 2, 4.0));
        ring.add(&cell(9_000, 1, 3.0));
        let all: Vec<Cell> = ring.since(10_999).copied().collect();
        assert_eq!(all, [Cell { at: 10_000, ..cell(10_000, 4, 4.0) }]);
        for second in 11..1_000 {
            ring.add(&cell(second * 1_000, 1, 1.0));
        }
        assert_eq!(ring.cells.len(), CELLS);
        assert_eq!(ring.since(999_000).next().unwrap().at, 700_000);
        assert_eq!(
            ring.since(1_200_000).next().unwrap().at,
            900_000,
            "what is older than the span is not told"
        );
    }

    #[test]
    fn shards_join_by_time_and_the_event_most_over_its_own_line_is_kept() {
        let (mut one, mut other) = (Ring::new(1_000), Ring::new(1_000));
        one.add(&cell(1_000, 1, 4.0));
        one.add(&cell(3_000, 1, 1.0));
        let far = Peak { warm: true, surprise: 3.0, threshold: 1.0 };
        let cold = Peak { warm: false, surprise: 99.0, threshold: 0.0 };
        other.add(&Cell { at: 1_000, judged: 2, incidents: 1, peak: Some(far) });
        other.add(&Cell { at: 2_000, judged: 7, incidents: 0, peak: None });
        other.add(&Cell { at: 3_000, judged: 1, incidents: 0, peak: Some(cold) });
        one.join(&other);
        let all: Vec<Cell> = one.since(3_000).copied().collect();
        assert_eq!(
            all,
            [
                Cell { at: 1_000, judged: 3, incidents: 1, peak: Some(far) },
                Cell { at: 2_000, judged: 7, incidents: 0, peak: None },
                cell(3_000, 2, 1.0),
            ]
        );
    }
}
