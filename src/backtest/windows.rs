//! Labels graded as windows, for streams of many series where an anomaly lasts a while.
//!
//! A window is a run of labelled events of one series. Of B windows, how many hold one of the B strongest alerts, or of
//! the 2B strongest? An alert is the strongest event of its series with no stronger one within [`APART`] events: whoever is
//! told once need not be told again the next moment. It must never let one noisy series take all alerts, nor a beginning
//! that is not graded take any.

use std::collections::BTreeMap;

use super::trail::Steps;

/// Events of a series that an alert covers, before and after it.
const APART: usize = 50;
/// Alerts of one series that are looked at, at most.
const ALERTS_MAX: usize = 40;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Windows graded.
    pub(super) windows: usize,
    /// Windows found by as many alerts.
    pub(super) by_as_many: usize,
    /// Windows found by twice as many.
    pub(super) by_twice_as_many: usize,
}

/// Where each series' events stand, and which of them lie before what is graded.
#[derive(Debug)]
pub(super) struct Series {
    /// Rows of each series in order, and how many of them are skipped.
    rows: Vec<(Vec<usize>, usize)>,
    /// Series, first and one past the last place in it.
    windows: Vec<(usize, usize, usize)>,
}

impl Series {
    /// Sorts events by series; the first `skip` of each is not graded, nor a window that ends there.
    pub(super) fn new(events: impl Iterator<Item = (u32, bool)>, skip: f64) -> Self {
        let mut by: BTreeMap<u32, (Vec<usize>, Vec<bool>)> = BTreeMap::new();
        for (row, (series, anomaly)) in events.enumerate() {
            let (rows, labels) = by.entry(series).or_default();
            rows.push(row);
            labels.push(anomaly);
        }
        let (mut all, mut windows) = (Vec::new(), Vec::new());
        for (rows, labels) in by.into_values() {
            let skipped = super::skipped(rows.len(), skip);
            let mut start = 0;
            for run in labels.chunk_by(|a, b| a == b) {
                let end = start + run.len();
                if run.first() == Some(&true) && end > skipped {
                    windows.push((all.len(), start, end));
                }
                start = end;
            }
            all.push((rows, skipped));
        }
        Self { rows: all, windows }
    }

    /// Whether each row is graded.
    pub(super) fn graded(&self, rows: usize) -> Vec<bool> {
        let mut graded = vec![false; rows];
        for (places, skipped) in &self.rows {
            for row in places.iter().skip(*skipped) {
                if let Some(slot) = graded.get_mut(*row) {
                    *slot = true;
                }
            }
        }
        graded
    }

    /// How many windows the strongest alerts find.
    pub(super) fn found(&self, surprise: impl Fn(usize) -> Steps) -> Found {
        let mut alerts = Vec::new();
        for (series, (rows, skipped)) in self.rows.iter().enumerate() {
            let scores: Vec<Steps> = rows.iter().map(|row| surprise(*row)).collect();
            alerts.extend(strongest(&scores, *skipped).into_iter().map(|place| {
                let score = scores.get(place).copied().unwrap_or_default();
                (std::cmp::Reverse(score), series, place)
            }));
        }
        // Of equals the first series, and in it the earlier.
        alerts.sort_unstable();
        let windows = self.windows.len();
        let found = |count: usize| {
            let told = alerts.get(..count.min(alerts.len())).unwrap_or_default();
            let holds = |(series, start, end): &&(usize, usize, usize)| {
                told.iter().any(|(_, of, place)| of == series && (start..end).contains(&place))
            };
            self.windows.iter().filter(holds).count()
        };
        Found { windows, by_as_many: found(windows), by_twice_as_many: found(2 * windows) }
    }
}

impl Series {
    /// How many windows hold, in the part that is graded, an event of which that is true.
    pub(super) fn holding(&self, told: impl Fn(usize) -> bool) -> usize {
        let holds = |(series, start, end): &&(usize, usize, usize)| {
            self.rows.get(*series).is_some_and(|(rows, skipped)| {
                rows.get((*start).max(*skipped)..*end).is_some_and(|rows| rows.iter().any(|row| told(*row)))
            })
        };
        self.windows.iter().filter(holds).count()
    }
}

/// Places of the strongest events, none within [`APART`] of a stronger one; of equals the earlier.
fn strongest(scores: &[Steps], skipped: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (skipped..scores.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(scores.get(*place).copied()));
    let mut covered = vec![false; scores.len()];
    let mut alerts = Vec::new();
    for place in order {
        if alerts.len() == ALERTS_MAX {
            break;
        }
        if covered.get(place) == Some(&false) {
            alerts.push(place);
            let end = (place + APART + 1).min(scores.len());
            if let Some(near) = covered.get_mut(place.saturating_sub(APART)..end) {
                near.fill(true);
            }
        }
    }
    alerts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two series of 200 events, taking turns; what is labelled and how strong each event is, by series and place.
    fn graded(labels: &[(usize, usize, usize)], scores: &[(usize, usize, Steps)]) -> (Series, Vec<Steps>) {
        let labelled = |series: usize, place: usize| {
            labels.iter().any(|(of, start, end)| *of == series && (*start..*end).contains(&place))
        };
        let events =
            (0..400).map(|row| (u32::try_from(row % 2).unwrap_or_default(), labelled(row % 2, row / 2)));
        let mut surprise = vec![0; 400];
        for (series, place, score) in scores {
            surprise[place * 2 + series] = *score;
        }
        (Series::new(events, 0.15), surprise)
    }

    #[test]
    fn windows_are_found_as_counted_by_hand() {
        // The first 30 events of each series are not graded: the first label is no window, the second one still is.
        let labels = [(0, 5, 9), (0, 25, 31), (0, 60, 70), (0, 150, 155)];
        let scores = [
            (0, 7, 99),   // not graded
            (1, 100, 90), // first alert: in no window
            (0, 65, 80),  // second: finds the window from 60 to 70
            (0, 40, 70),  // within 50 events of a stronger one: none
            (0, 115, 65), // the same, 50 after it
            (0, 152, 60), // third: finds the window from 150 to 155
            (0, 30, 55),  // within 50 of 65: none, so the window that ends there is not found
        ];
        let (series, surprise) = graded(&labels, &scores);
        let found = series.found(|row| surprise[row]);
        assert_eq!(found, Found { windows: 3, by_as_many: 2, by_twice_as_many: 2 });
        // Without the third alert's event the next best of its series lies in no window.
        let found = series.found(|row| if row == 304 { 0 } else { surprise[row] });
        assert_eq!(found, Found { windows: 3, by_as_many: 1, by_twice_as_many: 1 });
        assert_eq!(series.holding(|row| row == 2 * 30), 1);
        assert_eq!(series.holding(|row| row == 2 * 26), 0, "before what is graded");
        let graded = series.graded(400);
        assert_eq!(
            (graded[59], graded[60], graded.iter().filter(|graded| **graded).count()),
            (false, true, 340)
        );
    }

    #[test]
    fn nothing_labelled_is_no_window_and_a_label_to_the_end_is_one() {
        let (series, surprise) = graded(&[], &[]);
        assert_eq!(series.found(|row| surprise[row]), Found::default());
        let (series, surprise) = graded(&[(1, 190, 200)], &[(1, 199, 1)]);
        assert_eq!(
            series.found(|row| surprise[row]),
            Found { windows: 1, by_as_many: 1, by_twice_as_many: 1 }
        );
    }
}
