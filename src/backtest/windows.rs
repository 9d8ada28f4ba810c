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
    pub(super) found: usize,
    /// Windows found by twice as many.
    pub(super) found_twice: usize,
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
        Found { windows, found: found(windows), found_twice: found(2 * windows) }
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
