//! Decides which verdicts a person is told of: similar ones close in time are one incident.
//!
//! An outage writes ten thousand lines and deserves one alert, not ten thousand. What is similar follows from what was
//! strange: where words were, the words must be alike; where a number or a category was in its context, it must be the
//! same field of the same key; where a combination was, most of its parts and the key. Only the events of the lane move time here, so that reading them again folds them the same way.
//! It must never look at a clock, nor hold more than `open_max` incidents.

mod clock;
mod group;

use std::sync::Arc;

use crate::flow::{Alert, Phase, Point, Record, Schema, Time, Traced, Verdict};
use clock::Clock;
use group::{Trait, Varied};

/// What grouping needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Cosine similarity of their texts from which two anomalies are of one incident, 0 to 1.
    pub similarity: f64,
    /// An incident without a new event for so long has ended; milliseconds of event time.
    pub gap_ms: i64,
    /// An incident older than this is summed up and may open anew; milliseconds of event time.
    pub span_ms: i64,
    /// Incidents open at once; the one that is quiet longest is closed for a new one. At least one.
    pub open_max: usize,
    /// Whether a second alert is sent when an incident of more than one event has ended.
    pub closing: bool,
}

/// What became of a verdict.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whether a new incident was opened.
    pub opened: bool,
    /// What to tell, in order.
    pub alerts: Vec<Alert>,
}

/// The open incidents of one lane.
#[derive(Debug)]
pub struct Incidents {
    settings: Settings,
    /// In the order in which they were opened.
    open: Vec<Incident>,
    clock: Clock,
    varied: Varied,
    /// No incident ends at or before this time.
    quiet_until: i64,
}

#[derive(Debug)]
struct Incident {
    of: Trait,
    /// What was told when it opened, kept up to date.
    alert: Alert,
    opened_at: i64,
    last_at: i64,
}

impl Incidents {
    /// None yet.
    pub fn new(settings: Settings) -> Self {
        let clock = Clock::new(settings.gap_ms.saturating_add(1));
        Self { settings, open: Vec::new(), clock, varied: Varied::default(), quiet_until: i64::MAX }
    }

    /// Takes a verdict, normal or not, in the order of the lane.
    ///
    /// Incidents that have ended by the event's time are told first, then the one it opens.
    pub fn take(
        &mut self,
        judged: &Traced<Verdict>,
        point: &Point,
        record: &Arc<Record>,
        schema: &Arc<Schema>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.advance(judged.origin.time);
        self.varied.see(&point.sample, judged.value.is_anomaly());
        if self.clock.now() > self.quiet_until {
            self.close_ended(&mut outcome.alerts);
        }
        if !judged.value.is_anomaly() {
            return outcome;
        }
        let (of, now) = (Trait::of(&judged.value, point), self.clock.now());
        if let Some(incident) = self.nearest(&of) {
            incident.alert.count += 1;
            incident.alert.last_offset = judged.origin.offset;
            incident.alert.last_time = incident.alert.last_time.max(judged.origin.time);
            incident.last_at = incident.last_at.max(now);
            return outcome;
        }
        if self.open.len() >= self.settings.open_max.max(1) {
            self.close_quietest(&mut outcome.alerts);
        }
        let alert = Alert {
            origin: judged.origin.clone(),
            phase: Phase::Opened,
            count: 1,
            last_offset: judged.origin.offset,
            last_time: judged.origin.time,
            verdict: judged.value.clone(),
            record: Arc::clone(record),
            schema: Arc::clone(schema),
        };
        outcome.alerts.push(alert.clone());
        outcome.opened = true;
        let incident = Incident { of, alert, opened_at: now, last_at: now };
        self.quiet_until = self.quiet_until.min(incident.ends_after(&self.settings));
        self.open.push(incident);
        outcome
    }

    /// The lane has come to its end: sums up what is open.
    pub fn finish(&mut self) -> Vec<Alert> {
        let settings = self.settings;
        self.open.drain(..).filter_map(|incident| incident.close(&settings)).collect()
    }

    fn advance(&mut self, time: Time) {
        let set = self.clock.advance(time);
        if set != 0 {
            for incident in &mut self.open {
                incident.opened_at = incident.opened_at.saturating_add(set);
                incident.last_at = incident.last_at.saturating_add(set);
            }
            let ends = self.open.iter().map(|incident| incident.ends_after(&self.settings));
            self.quiet_until = ends.min().unwrap_or(i64::MAX);
        }
    }

    /// The open incident most like it, if one is like it enough; of several the first opened.
    fn nearest(&mut self, of: &Trait) -> Option<&mut Incident> {
        let mut nearest: Option<(f64, &mut Incident)> = None;
        for incident in &mut self.open {
            let likeness = incident.of.likeness(of, &self.varied);
            if likeness >= self.settings.similarity
                && nearest.as_ref().is_none_or(|(most, _)| likeness > *most)
            {
                nearest = Some((likeness, incident));
            }
        }
        nearest.map(|(_, incident)| incident)
    }

    fn close_ended(&mut self, alerts: &mut Vec<Alert>) {
        let (settings, now) = (self.settings, self.clock.now());
        let ended = self.open.extract_if(.., |incident| now > incident.ends_after(&settings));
        alerts.extend(ended.filter_map(|incident| incident.close(&settings)));
        // Events that joined since have put some ends off; now is the time to find out.
        let ends = self.open.iter().map(|incident| incident.ends_after(&settings));
        self.quiet_until = ends.min().unwrap_or(i64::MAX);
    }

    fn close_quietest(&mut self, alerts: &mut Vec<Alert>) {
        let places = 0..self.open.len();
        if let Some(quietest) = places.min_by_key(|place| self.open[*place].last_at) {
            alerts.extend(self.open.remove(quietest).close(&self.settings));
        }
    }
}

impl Incident {
    /// The last moment at which it is open, as far as is known.
    fn ends_after(&self, settings: &Settings) -> i64 {
        let silent = self.last_at.saturating_add(settings.gap_ms.max(0));
        silent.min(self.opened_at.saturating_add(settings.span_ms.max(0)))
    }

    fn close(self, settings: &Settings) -> Option<Alert> {
        let tell = settings.closing && self.alert.count > 1;
        tell.then_some(Alert { phase: Phase::Closed, ..self.alert })
    }
}

#[cfg(test)]
mod tests;
