//! What became of every event, kept until all is read: what part of a stream is graded is known only at its end.
//!
//! Surprise is kept in whole steps of a millionth of a nat, four bytes each, the grid on which verdicts are given. So a
//! backtest takes about 20 bytes an event and four more for each field of a channel, and figures do not hang on the last
//! bits of a float.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::{Lane, Traced, Verdict};

/// Surprise in millionths of a nat.
pub(super) type Steps = u32;

/// What is known of a record beside what the pipeline is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Whether it is an anomaly; none where it has no label.
    pub(super) label: Option<bool>,
    /// Which series it belongs to, where labels are graded as windows.
    pub(super) series: u32,
}

/// One judged event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) surprise: Steps,
    pub(super) known: Known,
    pub(super) warm: bool,
    /// Over the threshold.
    pub(super) alerted: bool,
    pub(super) opened: bool,
}

/// A field of a channel, and its surprise by event.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) channel: &'static str,
    pub(super) field: Arc<str>,
    pub(super) steps: Vec<Steps>,
}

/// All judged events, lane after lane.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) rows: Vec<Row>,
    pub(super) columns: Vec<Column>,
    /// Where each lane begins, and its span of event time after the warm-up.
    pub(super) lanes: Vec<Span>,
    places: BTreeMap<(&'static str, Arc<str>), usize>,
    /// Columns of the verdict before, which are nearly always those of the next.
    recent: Vec<usize>,
}

/// The rows of one lane.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) lane: Lane,
    pub(super) start: usize,
    /// Earliest and latest time of its warm events, milliseconds.
    pub(super) times: Option<(i64, i64)>,
}

impl Trail {
    /// Takes in the next judged event.
    pub(super) fn take(&mut self, judged: &Traced<Verdict>, opened: bool, known: Known) {
        let Traced { origin, value: verdict } = judged;
        if self.lanes.last().is_none_or(|span| span.lane != origin.lane) {
            self.lanes.push(Span { lane: origin.lane.clone(), start: self.rows.len(), times: None });
        }
        if let Some(span) = self.lanes.last_mut().filter(|_| verdict.warm) {
            let (first, last) = span.times.unwrap_or((origin.time.0, origin.time.0));
            span.times = Some((first.min(origin.time.0), last.max(origin.time.0)));
        }
        let row = self.rows.len();
        for (at, entry) in verdict.channels.iter().enumerate() {
            let place = self.place(at, entry.channel, &entry.field);
            if let Some(column) = self.columns.get_mut(place) {
                // A column that is new, or was not there for a while, says nothing of the events between.
                column.steps.resize(row, 0);
                column.steps.push(steps(entry.surprise));
            }
        }
        self.rows.push(Row {
            surprise: steps(verdict.surprise),
            known,
            warm: verdict.warm,
            alerted: verdict.is_anomaly(),
            opened,
        });
    }

    /// All is read: fills columns up.
    pub(super) fn finish(&mut self) {
        for column in &mut self.columns {
            column.steps.resize(self.rows.len(), 0);
        }
    }

    /// The rows of each lane.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&Span, std::ops::Range<usize>)> {
        let ends = self.lanes.iter().skip(1).map(|span| span.start).chain([self.rows.len()]);
        self.lanes.iter().zip(ends).map(|(span, end)| (span, span.start..end))
    }

    fn place(&mut self, at: usize, channel: &'static str, field: &Arc<str>) -> usize {
        let known = self.recent.get(at).copied();
        let fits = |column: &Column| column.channel == channel && column.field == *field;
        if let Some(place) = known
            && self.columns.get(place).is_some_and(fits)
        {
            return place;
        }
        let columns = &mut self.columns;
        let place = *self.places.entry((channel, Arc::clone(field))).or_insert_with(|| {
            columns.push(Column { channel, field: Arc::clone(field), steps: Vec::new() });
            columns.len() - 1
        });
        self.recent.truncate(at);
        self.recent.resize(at, usize::MAX);
        self.recent.push(place);
        place
    }
}

/// Surprise in steps; what is no number is none.
fn steps(nats: f64) -> Steps {
    #[expect(
        clippy::cast_sign_loss,
        reason = "a cast to an unsigned number ends at its bounds, and NaN is 0"
    )]
    {
        (nats * 1e6).round() as Steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ChannelSurprise, Origin, Time};

    fn judged(topic: &str, offset: i64, columns: &[(&'static str, &str, f64)]) -> Traced<Verdict> {
        let channels = columns.iter().map(|(channel, field, surprise)| ChannelSurprise {
            channel,
            field: Arc::from(*field),
            score: 0.0,
            surprise: *surprise,
        });
        let verdict = Verdict {
            surprise: 1.5,
            threshold: 9.0,
            channels: channels.collect(),
            admitted: true,
            seen: 0,
            warm: offset > 0,
            evidence: None,
        };
        let lane = Lane { topic: Arc::from(topic), partition: 0 };
        Traced { origin: Origin { lane, offset, time: Time(offset * 10) }, value: verdict }
    }

    #[test]
    fn columns_of_many_lanes_and_late_fields_keep_to_their_rows() {
        let mut trail = Trail::default();
        trail.take(&judged("a", 0, &[("text", "/m", 1.0), ("numeric", "/n", 2.0)]), false, Known::default());
        trail.take(&judged("a", 3, &[("text", "/m", 3.0), ("numeric", "/n", 4.0)]), false, Known::default());
        trail.take(&judged("b", 1, &[("numeric", "/n", 5.0)]), true, Known::default());
        trail.take(
            &judged("b", 2, &[("text", "/late", 6.0), ("numeric", "/n", 7.0)]),
            false,
            Known::default(),
        );
        trail.finish();
        let columns: Vec<_> =
            trail.columns.iter().map(|column| (column.channel, &*column.field, &*column.steps)).collect();
        let expected: [(&str, &str, &[Steps]); 3] = [
            ("text", "/m", &[1_000_000, 3_000_000, 0, 0]),
            ("numeric", "/n", &[2_000_000, 4_000_000, 5_000_000, 7_000_000]),
            ("text", "/late", &[0, 0, 0, 6_000_000]),
        ];
        assert_eq!(columns, expected);
        let spans: Vec<_> = trail.spans().map(|(span, rows)| (&*span.lane.topic, rows, span.times)).collect();
        assert_eq!(spans, [("a", 0..2, Some((30, 30))), ("b", 2..4, Some((10, 20)))]);
        assert!(trail.rows[2].opened && !trail.rows[0].warm);
    }

    #[test]
    fn steps_are_finite_whatever_the_number() {
        assert_eq!([f64::NAN, -1.0, f64::NEG_INFINITY].map(steps), [0, 0, 0]);
        assert_eq!((steps(f64::INFINITY), steps(1e300), steps(2.5)), (Steps::MAX, Steps::MAX, 2_500_000));
    }
}
