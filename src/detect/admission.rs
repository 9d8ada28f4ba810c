//! Which events may teach what is normal.
//!
//! An anomaly that is learned is normal the next time. So an event stranger than the guard does not teach the
//! channels: it waits. If its like keep coming, often and for a while, that is
//! normal: their shape is promoted, and teaches from then on. What comes again and again but seldom is not: such are
//! most anomalies that repeat (promoting a shape at its eighth visit in 10 000 events took scanner requests
//! in a web log from an average precision of .68 to .44). The guard is a quantile of the calibrated surprise, so on a steady stream
//! it keeps a fixed share away from the channels.
//!
//! Calibrators are another matter. Were they taught only what passes the guard, the tail they measure would be cut
//! off, each remaining event would seem rarer than it is, and the guard would cut deeper at every turn. They learn
//! every event, with one exception: a strange event whose like was here a moment ago (a burst) is one occurrence
//! seen many times, and counting it each time would hide the next anomaly behind the last. "A moment" is so short
//! that a clean stream loses at most a tenth of its strange events even if all look alike: .1 nats. Once a shape has
//! come several times in quick succession it is a burst, and "a moment" is five times as long: other events come
//! between the lines of an outage.
//!
//! It must never be fed time other than the number of events.

use std::collections::VecDeque;

use super::lru::{self, Lru};
use crate::flow::Sample;

/// What an event may teach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// All channels and calibrators; but not a field that guards itself, if it finds the event too strange.
    Admitted,
    /// Not the channels; not even the calibrators, if it is a repeat within a burst.
    Quarantined {
        /// Its like was here a moment ago.
        repeat: bool,
    },
    /// Everything: its shape has become normal, or the lane is not warm yet.
    Promoted,
}

impl Admission {
    /// Whether channels learn the event.
    pub(crate) fn teaches_channels(self) -> bool {
        !matches!(self, Self::Quarantined { .. })
    }

    /// Whether it teaches a channel also what is strange about it.
    pub(crate) fn overrides_fields(self) -> bool {
        self == Self::Promoted
    }

    /// Whether calibrators learn its scores.
    pub(crate) fn teaches_calibrators(self) -> bool {
        self != Self::Quarantined { repeat: true }
    }
}

/// Decides who may teach.
#[derive(Debug)]
pub(crate) struct Guard {
    limit: f64,
    repeat_gap: u64,
    burst_gap: u64,
    often: Pace,
    waiting: Lru<Waiting>,
    normal: Lru<()>,
    promoted: u64,
}

impl Guard {
    /// Keeps that share of a steady stream's events, the strangest, from teaching.
    pub(crate) fn new(share: f64) -> Self {
        let share = if share.is_nan() { 0.02 } else { share.clamp(1e-6, 0.5) };
        #[expect(clippy::cast_sign_loss, reason = "a ratio of positive numbers")]
        let events = |of_mean_gap: f64| ((of_mean_gap / share) as u64).max(1);
        Self {
            limit: -share.ln(),
            repeat_gap: events(0.1),
            burst_gap: events(0.5),
            often: Pace { visits: OFTEN, gap: events(0.2), span: events(10.0) },
            waiting: Lru::new(SHAPES),
            normal: Lru::new(SHAPES),
            promoted: 0,
        }
    }

    /// Surprise in nats beyond which an event, or a field, is too strange to teach.
    pub(crate) fn limit(&self) -> f64 {
        self.limit
    }

    /// Decides about event number `event`, with its fused surprise in nats, and whether each of its fields by itself
    /// would be admitted.
    pub(crate) fn decide(
        &mut self,
        event: u64,
        surprise: f64,
        fields: bool,
        sample: &Sample,
        leading: Leading,
    ) -> Admission {
        let within = surprise <= self.limit;
        if within && fields {
            return Admission::Admitted;
        }
        let shape = shape(sample, leading);
        if self.normal.get(shape).is_some() {
            self.normal.entry(shape, || ());
            return Admission::Promoted;
        }
        if within {
            return Admission::Admitted;
        }
        let waiting = self.waiting.entry(shape, Waiting::default);
        let gap = waiting.last.map_or(u64::MAX, |last| event - last);
        waiting.run = if gap <= self.burst_gap { waiting.run + 1 } else { 0 };
        let repeat = gap <= self.repeat_gap || waiting.run >= BURST;
        waiting.last = Some(event);
        if waiting.often.visit(event, self.often) {
            *waiting = Waiting::default();
            self.normal.entry(shape, || ());
            self.promoted += 1;
            return Admission::Promoted;
        }
        Admission::Quarantined { repeat }
    }

    /// Shapes that have become normal so far.
    pub(crate) fn promoted(&self) -> u64 {
        self.promoted
    }
}

/// Shapes that may wait, and shapes that may be normal.
const SHAPES: usize = 1_024;
/// Visits that make a frequent shape normal, each a fifth of the guard's mean gap from the one before, all within ten of
/// its mean gaps: with a guard of .02, 20 visits over 200 to 500 events. A clean stream's strange events number
/// ten in that span if all look alike; that twenty come so spread has a chance of about 1 in 100 000.
const OFTEN: usize = 20;
/// Returns in quick succession that make a burst. If all strange events of a clean stream look alike, two in five
/// return as quickly, and one in forty is the fourth in a row to do so.
const BURST: u32 = 4;
/// Words of a text that tell its shape.
const WORDS: usize = 4;

/// A shape in quarantine.
#[derive(Debug, Default)]
struct Waiting {
    last: Option<u64>,
    /// How often in a row it came back quickly.
    run: u32,
    often: Visits,
}

/// How many visits, how far apart at least, and within how many events.
#[derive(Clone, Copy, Debug)]
struct Pace {
    visits: usize,
    gap: u64,
    span: u64,
}

/// Events at which a shape came, as far apart as its pace wants.
#[derive(Debug, Default)]
struct Visits(VecDeque<u64>);

impl Visits {
    /// Notes an event; whether the shape has now come at that pace.
    fn visit(&mut self, event: u64, pace: Pace) -> bool {
        if self.0.back().is_none_or(|last| event - last >= pace.gap) {
            self.0.push_back(event);
        }
        if self.0.len() > pace.visits {
            self.0.pop_front();
        }
        self.0.len() == pace.visits && self.0.front().is_some_and(|first| event - first <= pace.span)
    }
}

/// What made an event strange: the field that was loudest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leading {
    /// A text, by its place in the sample.
    Text(usize),
    /// A number.
    Number(usize),
    /// A category.
    Category(usize),
    /// All numbers and categories together.
    Joint,
}

/// Alike enough to be one occurrence: the field that was strange, with the first words without digits of a text (a
/// message is the same message on every host), or with the value of a category or the magnitude of a number, or with
/// all of these where it was their combination, and then the keys: a stranger amount of one customer is not that of
/// another, whatever the message beside it.
fn shape(sample: &Sample, leading: Leading) -> u64 {
    let text = |text: Option<&str>| text.map_or(1, lru::hash);
    // Sign and exponent.
    let magnitude = |number: Option<f64>| number.map_or(1, |x| x.to_bits() >> 52);
    let (place, own, keyed) = match leading {
        Leading::Text(at) => {
            let text = sample.texts.get(at).and_then(Option::as_deref).unwrap_or_default();
            let words = text.split(|c: char| !c.is_alphanumeric());
            let plain = words.filter(|word| !word.is_empty() && !word.contains(|c: char| c.is_ascii_digit()));
            let words = plain.take(WORDS).fold(0, |shape, word| lru::hash_pair(shape, lru::hash(word)));
            (3 * at, if words == 0 { lru::hash(text) } else { words }, false)
        }
        Leading::Number(at) => (3 * at + 1, magnitude(sample.numbers.get(at).copied().flatten()), true),
        Leading::Category(at) => {
            (3 * at + 2, text(sample.categories.get(at).and_then(Option::as_deref)), true)
        }
        Leading::Joint => {
            let numbers = sample.numbers.iter().map(|number| magnitude(*number));
            let parts = numbers.chain(sample.categories.iter().map(|category| text(category.as_deref())));
            (usize::MAX, parts.fold(0, lru::hash_pair), true)
        }
    };
    let shape = lru::hash_pair(place as u64, own);
    let keys = sample.keys.iter().filter(|_| keyed);
    keys.fold(shape, |shape, key| lru::hash_pair(shape, text(key.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Leading = Leading::Text(0);

    fn text(text: &str) -> Sample {
        Sample { texts: vec![Some(text.into())], ..Sample::default() }
    }

    #[test]
    fn the_strange_wait_and_the_steady_are_promoted() {
        let mut guard = Guard::new(0.02);
        let ordinary = text("all is well");
        assert_eq!(guard.decide(0, 3.9, true, &ordinary, TEXT), Admission::Admitted);
        let mut promoted_at = None;
        for event in 1..1_000 {
            let admission =
                guard.decide(event, 6.0, true, &text(&format!("disk {event} failed on sda{event}")), TEXT);
            match promoted_at {
                Some(_) => assert_eq!(admission, Admission::Promoted),
                None if admission == Admission::Promoted => promoted_at = Some(event),
                None => assert_eq!(admission, Admission::Quarantined { repeat: event > 1 }),
            }
        }
        assert!(promoted_at.is_some_and(|event| (190..=500).contains(&event)), "{promoted_at:?}");
        assert_eq!(guard.promoted(), 1);
        assert_eq!(
            guard.decide(1_000, 6.0, true, &text("disk removed"), TEXT),
            Admission::Quarantined { repeat: false }
        );
    }

    #[test]
    fn one_burst_or_a_seldom_guest_is_not_promoted() {
        let mut guard = Guard::new(0.02);
        let outage = text("connection refused");
        assert!((0..150).all(|event| !guard.decide(event, 9.0, true, &outage, TEXT).teaches_channels()));
        assert!(
            (5_000..500_000)
                .step_by(3_000)
                .all(|event| !guard.decide(event, 9.0, true, &outage, TEXT).teaches_channels())
        );
        assert_eq!(guard.promoted(), 0);
        // Yet calibrators learn the seldom guest, and of a burst only its first event.
        assert!(guard.decide(900_000, 9.0, true, &outage, TEXT).teaches_calibrators());
        assert!(!guard.decide(900_001, 9.0, true, &outage, TEXT).teaches_calibrators());
    }

    #[test]
    fn what_was_strange_tells_the_shape() {
        let sample = |x, key: &str, word: &str| Sample {
            texts: vec![Some(format!("{word} has paid").into())],
            numbers: vec![Some(x), None],
            categories: vec![Some(word.into())],
            keys: vec![Some(key.into())],
            ..Sample::default()
        };
        let number = |x, key| shape(&sample(x, key, "she"), Leading::Number(0));
        assert_eq!(number(17.0, "a"), number(18.0, "a"));
        assert_ne!(number(17.0, "a"), number(-17.0, "a"));
        assert_ne!(number(17.0, "a"), number(17.0, "b"));
        // A familiar message does not make an unheard-of amount familiar.
        let message = |x, key, word| shape(&sample(x, key, word), Leading::Text(0));
        assert_eq!(message(1.0, "a", "she"), message(9e9, "b", "she"));
        assert_ne!(message(1.0, "a", "she"), message(1.0, "a", "he"));
        assert_ne!(message(1.0, "a", "she"), number(1.0, "a"));
        let category = |key, word| shape(&sample(1.0, key, word), Leading::Category(0));
        assert_ne!(category("a", "she"), category("a", "he"));
        assert_ne!(category("a", "she"), category("b", "she"));
        assert_ne!(shape(&text("1 2 3"), TEXT), shape(&text("4 5 6"), TEXT));
        let joint = |x, key, word| shape(&sample(x, key, word), Leading::Joint);
        assert_eq!(joint(17.0, "a", "she"), joint(18.0, "a", "she"));
        for other in [joint(170.0, "a", "she"), joint(17.0, "b", "she"), joint(17.0, "a", "he")] {
            assert_ne!(joint(17.0, "a", "she"), other);
        }
    }

    #[test]
    fn ever_new_shapes_cost_bounded_memory() {
        let mut guard = Guard::new(f64::NAN);
        for event in 0..10_000 {
            guard.decide(event, 9.0, true, &text(&"x".repeat(1 + event as usize % 5_000)), TEXT);
        }
        assert!(guard.waiting.len() <= SHAPES && guard.normal.len() <= SHAPES);
    }
}
