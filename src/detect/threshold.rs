//! The line that a fused surprise must cross; it follows the operator's budget of incidents.
//!
//! If surprises were -ln p and every strange event an incident of its own, the line would be -ln of the budget's
//! rate r of incidents an event. They are not: streams drift, and strange events come in bursts that make one
//! incident. So an offset is added that follows what really happened: with every event it moves by
//! STEP x (opened - r), that is up by [`STEP`] nats with an incident and down by as much over the 1/r events that
//! one incident is budgeted for (Gibbs & Candes, "Adaptive conformal inference under distribution shift", NIPS
//! 2021; here in log space, which makes the step a factor of e^STEP whatever the budget). Summed up, incidents less
//! their budget are the offset's change over STEP: no drift can cost more than its size in nats over STEP incidents.
//! Events folded into an incident already open are not incidents, so a burst does not raise the line.
//! Nor does it sink while ten times as many events are over it as incidents are budgeted: where all that is strange is of
//! one incident, no line keeps the budget from below.
//! Until the first few incidents the step is [`STEP_FIRST`]: a line that starts in the wrong place gets there sooner.
//!
//! A budget in time needs the events' rate in event time: the mean step from event to event, negative steps
//! counted as such, so that times out of order cancel out, and none counted for more than the budget's span.
//!
//! It must never read a clock, nor move while the lane is warming up.

use super::Budget;
use crate::flow::Time;

/// The line, and the budget it follows.
#[derive(Debug)]
pub(crate) struct Threshold {
    budget: Budget,
    offset: f64,
    opened: u32,
    /// Share of events over the line lately.
    over: f64,
    /// Since the lane is warm: incidents an event, budgeted and opened, summed up.
    budgeted: f64,
    realised: f64,
    pace: Pace,
}

impl Threshold {
    /// Starts at the budget.
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            offset: 0.0,
            opened: 0,
            over: 0.0,
            budgeted: 0.0,
            realised: 0.0,
            pace: Pace::default(),
        }
    }

    /// The surprise to exceed, in nats.
    pub(crate) fn line(&self) -> f64 {
        let line = self.offset - self.rate().ln();
        (line * 1e6).round() / 1e6
    }

    /// Incidents that the budget allowed for since the lane is warm, and those there were.
    pub(crate) fn account(&self) -> (f64, f64) {
        (self.budgeted, self.realised)
    }

    /// Takes in what became of an event. While the lane is not warm, only time passes.
    pub(crate) fn settle(&mut self, time: Time, over: bool, opened: bool, warm: bool) {
        if let Budget::Rate { span_ms, .. } = self.budget {
            self.pace.step(time, span_ms);
        }
        if warm {
            let realised = if opened { 1.0 } else { 0.0 };
            let rate = self.rate();
            self.over += rate / OVER_MEMORY * (f64::from(u8::from(over)) - self.over);
            let step = if self.opened < FIRST { STEP_FIRST } else { STEP };
            self.budgeted += self.rate();
            self.realised += realised;
            let sinking = if self.over > OVER_MAX * rate { 0.0 } else { rate };
            self.offset = (self.offset + step * (realised - sinking)).clamp(-SINK, RISE);
            self.opened += u32::from(opened && self.opened < FIRST);
        }
    }

    /// Incidents budgeted for each event.
    fn rate(&self) -> f64 {
        let rate = match self.budget {
            Budget::Events(events) => 1.0 / events,
            Budget::Rate { count, span_ms } => match self.pace.mean() {
                Some(gap) => count * gap / span_ms,
                None => RATE_UNTIMED,
            },
        };
        // NaN (a budget that is no number) falls to the default too.
        if rate > 0.0 { rate.clamp(RATE_MIN, RATE_MAX) } else { RATE_UNTIMED }
    }
}

/// Nats that one incident raises the line by. A drift of 7 nats (twice the scale at 1 in 1 000) then costs 14
/// incidents beyond the budget, and at rest the line wanders by sqrt(STEP / 2) = .5 nats about its place.
const STEP: f64 = 0.5;
/// Events over the line, as a multiple of incidents budgeted, above which the line does not sink: they are folded into
/// incidents that are open, and lower it would only fold more.
const OVER_MAX: f64 = 10.0;
/// Incidents budgeted over which that share is averaged.
const OVER_MEMORY: f64 = 0.2;
/// The same until so many incidents have been opened.
const STEP_FIRST: f64 = 2.0;
const FIRST: u32 = 3;
/// The line sinks at most so far below the budget: a stream without incidents is not searched for trifles.
const SINK: f64 = 3.0;
/// The line rises at most so far above it.
const RISE: f64 = 40.0;
/// Bounds of incidents budgeted for each event.
const RATE_MIN: f64 = 1e-7;
const RATE_MAX: f64 = 0.1;
/// Incidents for each event while event time does not pass.
const RATE_UNTIMED: f64 = 1e-4;
/// Events over which the pace of event time is averaged.
const PACE_EVENTS: f64 = 2_000.0;

/// Mean milliseconds of event time from one event to the next.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Time>,
    count: f64,
    gap: f64,
}

impl Pace {
    fn step(&mut self, time: Time, span_ms: f64) {
        if let Some(last) = self.last {
            let gap = (time.0 as f64 - last.0 as f64).clamp(-span_ms.abs(), span_ms.abs());
            self.count = (self.count + 1.0).min(PACE_EVENTS);
            self.gap += (gap - self.gap) / self.count;
        }
        self.last = Some(time);
    }

    fn mean(&self) -> Option<f64> {
        (self.gap > 0.0).then_some(self.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::lru::hash_pair;

    fn exponential(state: &mut u64) -> f64 {
        *state = hash_pair(*state, 2);
        -(((*state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64).ln()
    }

    /// Incidents over 100 000 events, 10 ms apart; the surprise is a function of the event and a draw.
    fn incidents(budget: Budget, surprise: impl Fn(u32, f64) -> f64, burst: impl Fn(u32) -> bool) -> f64 {
        let (mut threshold, mut state, mut count, mut open_until) = (Threshold::new(budget), 5, 0.0, 0);
        for event in 0..100_000 {
            let draw = exponential(&mut state);
            let over = burst(event) || surprise(event, draw) > threshold.line();
            let opened = over && event >= open_until;
            if over {
                open_until = event + 20;
            }
            count += f64::from(u8::from(opened));
            threshold.settle(Time(i64::from(event) * 10), over, opened, true);
        }
        count
    }

    #[test]
    fn keeps_the_budget_on_any_law_and_through_drift_and_bursts() {
        let budget = Budget::Events(1_000.0);
        let hour = Budget::Rate { count: 360.0, span_ms: 3_600_000.0 };
        let cases = [
            ("calibrated", incidents(budget, |_, x| x, |_| false)),
            ("heavier than said", incidents(budget, |_, x| 1.6 * x, |_| false)),
            ("lighter than said", incidents(budget, |_, x| 0.7 * x, |_| false)),
            ("much heavier tail", incidents(budget, |_, x| (x / 2.2).exp(), |_| false)),
            ("twice the scale", incidents(budget, |at, x| if at < 50_000 { x } else { 2.0 * x }, |_| false)),
            ("bursts", incidents(budget, |_, x| x, |at| at % 5_000 < 400)),
            ("in time", incidents(hour, |_, x| x, |_| false)),
        ];
        for (name, count) in cases {
            assert!((50.0..=200.0).contains(&count), "{name}: {count} incidents where 100 are budgeted");
        }
    }

    #[test]
    fn does_not_sink_while_all_that_is_strange_is_of_one_incident() {
        let mut threshold = Threshold::new(Budget::Events(500.0));
        threshold.settle(Time(0), true, true, true);
        let before = threshold.line();
        // An event in ten is over the line, and all belong to the incident that is open.
        for event in 0..20_000 {
            threshold.settle(Time(event), event % 10 == 0, false, true);
        }
        assert!(before - threshold.line() < 0.5, "{before} {}", threshold.line());
        // When it is over, the line sinks.
        for event in 0..20_000 {
            threshold.settle(Time(event), false, false, true);
        }
        assert!(before - threshold.line() > 2.0);
    }

    #[test]
    fn tells_what_was_budgeted_and_what_was_opened_since_it_is_warm() {
        let mut threshold = Threshold::new(Budget::Events(100.0));
        for event in 0..2_000 {
            threshold.settle(Time(event), event % 250 == 0, event % 250 == 0, event >= 1_000);
        }
        let (budgeted, realised) = threshold.account();
        assert!((budgeted - 10.0).abs() < 1e-6 && (realised - 4.0).abs() < 1e-9, "{budgeted} {realised}");
    }

    #[test]
    fn starts_at_the_budget_and_moves_only_when_warm() {
        let mut threshold = Threshold::new(Budget::Events(10_000.0));
        assert!((threshold.line() - 10_000_f64.ln()).abs() < 1e-6);
        threshold.settle(Time(0), true, true, false);
        assert!((threshold.line() - 10_000_f64.ln()).abs() < 1e-6);
        threshold.settle(Time(0), true, true, true);
        assert!(threshold.line() > 10_000_f64.ln() + 0.49);
    }

    #[test]
    fn out_of_order_equal_and_wild_times_do_not_break_a_budget_in_time() {
        let day = Budget::Rate { count: 20.0, span_ms: 86_400_000.0 };
        let mut threshold = Threshold::new(day);
        for event in 0..5_000_i64 {
            let jitter = if event % 2 == 0 { 4_000 } else { 0 };
            threshold.settle(Time(event * 1_000 + jitter), false, false, false);
        }
        // 86 400 events a day: one in 4 320.
        assert!((threshold.line() - 4_320_f64.ln()).abs() < 0.1, "{}", threshold.line());
        for wild in [i64::MAX, i64::MIN, 5_001_000] {
            threshold.settle(Time(wild), false, false, false);
            assert!(threshold.line().is_finite());
        }
        for _ in 0..100_000 {
            threshold.settle(Time(5_001_000), false, false, true);
        }
        assert!(threshold.line().is_finite() && threshold.line() > 0.0);
        let none = Threshold::new(Budget::Events(f64::NAN));
        assert!((none.line() - 10_000_f64.ln()).abs() < 1e-6);
    }
}
