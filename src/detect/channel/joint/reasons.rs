//! Which two values an event's score is about, and how often they came, alone and together.
//!
//! The forest says where it is thin; the counts are taken in the rows of the last events learned, so they are exact
//! and mean what they say. Must never name a field that the forest does not look at.

use super::places::{self, MISSING, Space};
use super::{Joint, Stand};
use crate::detect::channel::excerpt;
use crate::flow::{Reason, Sample};

impl Joint {
    /// What to tell of the event last scored; nothing, if the forest said nothing.
    pub(super) fn reason(&self, sample: &Sample) -> Option<Reason> {
        if let Some(at) = self.broken().next() {
            return self.broken_reason(at, sample);
        }
        let stand = self.stand.as_ref().filter(|_| self.score.is_some())?;
        let (first, second) = thinnest(&stand.forest.scores(&self.places), stand.chosen.len());
        let first = self.part(stand, first, sample)?;
        let second = second.and_then(|at| self.part(stand, at, sample));
        let (mut one, mut other, mut both) = (0, 0, 0);
        for (_, row) in self.rows.iter() {
            let (a, b) = (first.holds(row), second.as_ref().is_some_and(|second| second.holds(row)));
            one += u32::from(a);
            other += u32::from(b);
            both += u32::from(a && b);
        }
        let events = self.rows.len();
        let (value, expected) = match &second {
            None => {
                (first.value.clone(), format!("{} in {one} of the last {events} normal events", first.like))
            }
            Some(second) => (
                format!("{}, {}", first.value, second.value),
                format!(
                    "together in {both} of the last {events} normal events, {} in {one}, {} in {other}",
                    first.like, second.like
                ),
            ),
        };
        Some(Reason {
            channel: "joint",
            field: self.fields[first.column].name.clone(),
            value,
            expected,
            context: None,
        })
    }

    /// Of a field that had one value only so far.
    fn broken_reason(&self, at: usize, sample: &Sample) -> Option<Reason> {
        let name = &self.fields.get(at)?.name;
        let [numbers, ..] = self.counts;
        let value = match at.checked_sub(numbers) {
            None => sample.numbers.get(at).copied().flatten().map(|x| x.to_string()),
            Some(at) => sample.categories.get(at).cloned().flatten().map(|value| excerpt(&value)),
        };
        Some(Reason {
            channel: "joint",
            field: name.clone(),
            value: value.unwrap_or_else(|| "missing".to_owned()),
            expected: format!("had one other value in all {} events before", self.learned),
            context: None,
        })
    }

    /// What number `at` of the forest's fields holds.
    fn part(&self, stand: &Stand, at: usize, sample: &Sample) -> Option<Part> {
        let column = *stand.chosen.get(at)?;
        let pointer = &*self.fields.get(column)?.name;
        let name = pointer.strip_prefix('/').unwrap_or(pointer);
        let bits = *self.row.get(column)?;
        let space: Option<Space> = *stand.spaces.get(at)?;
        Some(match (space, places::number(bits)) {
            _ if bits == MISSING => Part {
                column,
                near: Near::Same(bits),
                value: format!("no {name}"),
                like: format!("no {name}"),
            },
            (Some(space), Some(x)) => {
                let (low, high) = space.near(x);
                Part {
                    column,
                    near: Near::Between(low, high),
                    value: format!("{name}={}", exactly(x)),
                    like: between(name, low, high),
                }
            }
            _ => {
                let text = sample.categories.get(column.wrapping_sub(self.counts[0]))?.as_deref()?;
                let value = format!("{name}={}", excerpt(text));
                Part { column, near: Near::Same(bits), like: value.clone(), value }
            }
        })
    }
}

/// A value of the event, and what is like it.
struct Part {
    column: usize,
    near: Near,
    value: String,
    like: String,
}

enum Near {
    Same(u64),
    Between(f64, f64),
}

impl Part {
    fn holds(&self, row: &[u64]) -> bool {
        let Some(&bits) = row.get(self.column) else { return false };
        match self.near {
            Near::Same(own) => bits == own,
            Near::Between(low, high) => places::number(bits).is_some_and(|x| (low..=high).contains(&x)),
        }
    }
}

/// The field whose trees score highest on average, and the field with which its trees score highest. A single pair
/// stands in few trees, so the field is found first; of equals the first.
fn thinnest(scores: &[([u16; 2], f64)], fields: usize) -> (usize, Option<usize>) {
    let highest = |with: Option<usize>| {
        let mut sums = vec![(0.0, 0_u32); fields];
        for (pair, score) in scores {
            let pair = pair.map(usize::from);
            if with.is_some_and(|field| !pair.contains(&field)) {
                continue;
            }
            for field in pair {
                if let Some((sum, count)) = sums.get_mut(field).filter(|_| with != Some(field)) {
                    (*sum, *count) = (*sum + score, *count + 1);
                }
            }
        }
        let means = sums.iter().enumerate().filter(|(_, (_, count))| *count > 0);
        let means = means.map(|(field, (sum, count))| (field, sum / f64::from(*count)));
        means.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(field, _)| field)
    };
    let first = highest(None).unwrap_or(0);
    (first, highest(Some(first)))
}

fn between(name: &str, low: f64, high: f64) -> String {
    let (low, high) = ((low > f64::MIN).then(|| written(low)), (high < f64::MAX).then(|| written(high)));
    match (low, high) {
        (Some(low), Some(high)) if low == high => format!("{name}={low}"),
        (Some(low), Some(high)) => format!("{name} {low} to {high}"),
        (Some(low), None) => format!("{name} from {low}"),
        (None, Some(high)) => format!("{name} up to {high}"),
        (None, None) => format!("any {name}"),
    }
}

/// Three significant digits: it is a neighbourhood.
fn written(x: f64) -> String {
    if x != 0.0 && !(1e-3..1e9).contains(&x.abs()) {
        return format!("{x:.2e}");
    }
    let decimals =
        if x == 0.0 { 0 } else { usize::try_from(2 - x.abs().log10().floor() as i32).unwrap_or(0) };
    let text = format!("{x:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// All digits, but not three hundred of them.
fn exactly(x: f64) -> String {
    if x == 0.0 || (1e-6..1e15).contains(&x.abs()) { format!("{x}") } else { format!("{x:e}") }
}
