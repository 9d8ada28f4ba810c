//! Grades the demo: which planted incidents were found, and which alerts had no cause.
//!
//! Alerts and delivery reports come in any order, so nothing is final before [`Scoreboard::summary`]. It knows
//! positions in topics and nothing of how they came about; it must never reach into what it grades.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::demo::generate::{Kind, Planted, Topic};

/// Positions it remembers of planted events, and as many of alerts: far more than a demo has, and a bound.
/// What comes after is not graded, and [`Summary::ungraded`] says how many.
const POSITIONS_MAX: usize = 1 << 20;

type Position = (Topic, i32, i64);

/// Where anomalies were planted, and where alerts were raised.
#[derive(Debug, Default)]
pub struct Scoreboard {
    /// What lies at a position, known once the broker has told where the record went.
    planted: BTreeMap<Position, Planted>,
    /// Planted incidents, by id.
    incidents: BTreeMap<u32, Kind>,
    /// Events that each alert took in, by the position of its first.
    alerts: BTreeMap<Position, u64>,
    /// Incidents found so far, as far as positions are known.
    found: BTreeSet<u32>,
    ungraded: u64,
}

/// What an alert turned out to be, as far as is known when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// The first alert of a planted incident.
    Found(Planted),
    /// One more alert of an incident already found, or the same alert again.
    Repeat(Planted),
    /// Nothing known was planted there; a later delivery report may still say otherwise.
    False,
}

/// The grade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Incidents planted.
    pub planted: u64,
    /// Incidents with at least one alert at one of their events.
    pub found: u64,
    /// Incidents without.
    pub missed: u64,
    /// Alerts, each position once, at which nothing was planted.
    pub false_alerts: u64,
    /// Kind, planted, found; in the order of [`Kind::ALL`].
    pub by_kind: [(Kind, u64, u64); 4],
    /// Positions that were not graded because there were too many.
    pub ungraded: u64,
}

impl Scoreboard {
    /// Nothing planted, nothing found.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note that a planted event lies at this offset.
    pub fn planted(&mut self, topic: Topic, partition: i32, offset: i64, planted: Planted) {
        let position = (topic, partition, offset);
        if self.planted.len() >= POSITIONS_MAX {
            self.ungraded += 1;
            return;
        }
        self.planted.insert(position, planted);
        self.incidents.insert(planted.id, planted.kind);
        if self.alerts.contains_key(&position) {
            self.found.insert(planted.id);
        }
    }

    /// Takes an alert whose first event lies at this offset and that took in `count` events so far. The same alert
    /// may come again (delivered twice, or summed up at its end): it counts once.
    pub fn alert(&mut self, topic: Topic, partition: i32, offset: i64, count: u64) -> Matched {
        let position = (topic, partition, offset);
        if self.alerts.len() < POSITIONS_MAX || self.alerts.contains_key(&position) {
            let known = self.alerts.entry(position).or_default();
            *known = count.max(*known);
        } else {
            self.ungraded += 1;
        }
        match self.planted.get(&position) {
            Some(&planted) if self.found.insert(planted.id) => Matched::Found(planted),
            Some(&planted) => Matched::Repeat(planted),
            None => Matched::False,
        }
    }

    /// Alerts raised so far, and the events they took in.
    pub fn alerts(&self) -> (u64, u64) {
        (self.alerts.len() as u64, self.alerts.values().sum())
    }

    /// The grade by what is known now.
    pub fn summary(&self) -> Summary {
        let by_kind = Kind::ALL.map(|kind| {
            let of_kind = || self.incidents.iter().filter(move |&(_, &other)| other == kind);
            let found = of_kind().filter(|&(id, _)| self.found.contains(id)).count();
            (kind, of_kind().count() as u64, found as u64)
        });
        let (planted, found) = (self.incidents.len() as u64, self.found.len() as u64);
        let without_cause = self.alerts.keys().filter(|&position| !self.planted.contains_key(position));
        Summary {
            planted,
            found,
            missed: planted - found,
            false_alerts: without_cause.count() as u64,
            by_kind,
            ungraded: self.ungraded,
        }
    }
}

impl Summary {
    /// A table for people, a line a kind and one for all; ends with a line break.
    pub fn table(&self) -> String {
        let mut table = format!("{:<18}{:>9}{:>9}{:>9}\n", "kind", "planted", "found", "missed");
        let all = ("all", self.planted, self.found);
        let rows = self.by_kind.iter().map(|&(kind, planted, found)| (kind.name(), planted, found));
        for (name, planted, found) in rows.chain([all]) {
            let missed = planted - found;
            // Writing to a string cannot fail.
            _ = writeln!(table, "{name:<18}{planted:>9}{found:>9}{missed:>9}");
        }
        _ = writeln!(table, "false alerts      {:>9}", self.false_alerts);
        if self.ungraded > 0 {
            _ = writeln!(table, "not graded        {:>9}", self.ungraded);
        }
        table
    }

    /// The grade as one JSON object. `events_per_second` is written with one decimal, 0 when it is not finite.
    pub fn json(&self, events: u64, events_per_second: f64) -> Value {
        let kinds = self.by_kind.iter().map(|&(kind, planted, found)| {
            (kind.name().to_owned(), json!({ "planted": planted, "found": found }))
        });
        let rate =
            if events_per_second.is_finite() { (events_per_second * 10.0).round() / 10.0 } else { 0.0 };
        json!({
            "events": events,
            "planted": self.planted,
            "found": self.found,
            "missed": self.missed,
            "false_alerts": self.false_alerts,
            "events_per_second": rate,
            "by_kind": kinds.collect::<Map<_, _>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Planted = Planted { id: 0, kind: Kind::NewMessage };
    const BURST: Planted = Planted { id: 1, kind: Kind::Burst };
    const RARE: Planted = Planted { id: 2, kind: Kind::RareCombination };

    /// One new message, one burst of three lines over two partitions, one rare combination.
    fn board() -> Scoreboard {
        let mut board = Scoreboard::new();
        board.planted(Topic::Logs, 0, 10, NEW);
        for (partition, offset) in [(0, 20), (1, 20), (0, 21)] {
            board.planted(Topic::Logs, partition, offset, BURST);
        }
        board.planted(Topic::Payments, 0, 10, RARE);
        board
    }

    #[test]
    fn any_line_of_a_burst_finds_it_and_the_others_repeat() {
        let mut board = board();
        assert_eq!(board.alert(Topic::Logs, 1, 20, 1), Matched::Found(BURST));
        assert_eq!(board.alert(Topic::Logs, 0, 21, 1), Matched::Repeat(BURST));
        let summary = board.summary();
        assert_eq!((summary.planted, summary.found, summary.missed, summary.false_alerts), (3, 1, 2, 0));
        assert_eq!(
            summary.by_kind,
            [
                (Kind::NewMessage, 1, 0),
                (Kind::WrongAmount, 0, 0),
                (Kind::RareCombination, 1, 0),
                (Kind::Burst, 1, 1)
            ]
        );
    }

    #[test]
    fn topic_partition_and_offset_must_all_agree() {
        let mut board = board();
        assert_eq!(board.alert(Topic::Payments, 0, 20, 1), Matched::False);
        assert_eq!(board.alert(Topic::Logs, 1, 10, 1), Matched::False);
        assert_eq!(board.alert(Topic::Logs, 0, 11, 1), Matched::False);
        assert_eq!((board.summary().found, board.summary().false_alerts), (0, 3));
    }

    #[test]
    fn an_alert_before_its_delivery_report_is_found_in_the_end() {
        let mut board = Scoreboard::new();
        assert_eq!(board.alert(Topic::Logs, 0, 10, 1), Matched::False);
        assert_eq!(board.summary().false_alerts, 1);
        board.planted(Topic::Logs, 0, 10, NEW);
        let summary = board.summary();
        assert_eq!((summary.found, summary.missed, summary.false_alerts), (1, 0, 0));
        assert_eq!(board.alert(Topic::Logs, 0, 10, 1), Matched::Repeat(NEW));
    }

    #[test]
    fn the_same_alert_again_counts_once_with_its_largest_count() {
        let mut board = board();
        for count in [1, 7, 1] {
            board.alert(Topic::Logs, 5, 99, count);
        }
        assert_eq!(board.summary().false_alerts, 1);
        assert_eq!(board.alerts(), (1, 7));
    }

    #[test]
    fn json_has_the_promised_keys() {
        let mut board = board();
        board.alert(Topic::Logs, 0, 10, 1);
        board.alert(Topic::Logs, 0, 999, 1);
        let expected = json!({
            "events": 40_000, "planted": 3, "found": 1, "missed": 2, "false_alerts": 1,
            "events_per_second": 1234.6,
            "by_kind": {
                "new_message": { "planted": 1, "found": 1 },
                "wrong_amount": { "planted": 0, "found": 0 },
                "rare_combination": { "planted": 1, "found": 0 },
                "burst": { "planted": 1, "found": 0 },
            },
        });
        assert_eq!(board.summary().json(40_000, 1_234.56), expected);
        assert_eq!(board.summary().json(1, f64::NAN)["events_per_second"], json!(0.0));
    }

    #[test]
    fn the_table_has_a_line_for_each_kind() {
        let table = board().summary().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[4].split_whitespace().collect::<Vec<_>>(), ["burst", "1", "0", "1"]);
        assert_eq!(lines[5].split_whitespace().collect::<Vec<_>>(), ["all", "3", "0", "3"]);
        assert_eq!(lines[6].split_whitespace().collect::<Vec<_>>(), ["false", "alerts", "0"]);
    }
}
