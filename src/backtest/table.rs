//! A report for a person.

use std::fmt::Write as _;

use super::report::{Channel, Report};

impl Report {
    /// The report as lines of text.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _never_fails = writeln!(out, "{name:<28} {value}");
        };
        line("events", self.events.to_string());
        for (reason, count) in &self.rejected {
            line(&format!("rejected: {reason}"), count.to_string());
        }
        if self.graded > 0 {
            let rest = [(self.skipped, "skipped"), (self.unlabelled, "without label")];
            let rest =
                rest.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!(", {count} {why}"));
            line("graded", format!("{}{}", self.graded, rest.collect::<String>()));
            line("anomalies", self.anomalies.to_string());
            line("AUROC", figure(self.auroc));
            line("average precision", figure(self.average_precision));
            let at_budget = [self.precision_at_budget, self.recall_at_budget].map(figure);
            line("at the budget", format!("precision {}, recall {}", at_budget[0], at_budget[1]));
        }
        line("events over the threshold", alerts(self));
        line("incidents", incidents(self));
        if let (Some(realised), Some(budget)) = (self.realised_alert_rate, self.budget) {
            let text = &self.budget_text;
            let ratio = figure(self.realised_over_budget);
            line(
                "rate of incidents",
                format!("{realised:.6} an event, budget {budget:.6} ({text}): ratio {ratio}"),
            );
        }
        if let Some(windows) = &self.windows {
            line(
                "windows",
                format!(
                    "{}; {} found by as many alerts, {} by twice as many, {} by incidents",
                    windows.windows, windows.found, windows.found_twice, windows.found_by_incidents
                ),
            );
        }
        let seconds = &self.seconds;
        line(
            "seconds",
            format!(
                "{:.1}: read {:.1}, embed {:.1}, pipeline {:.1}, grade {:.1}; {:.0} events a second",
                seconds.total,
                seconds.read,
                seconds.embed,
                seconds.pipeline,
                seconds.grade,
                self.events_per_second
            ),
        );
        for (lane, fields) in &self.schema {
            for (kind, names) in fields.kinds() {
                line(kind, if self.schema.len() > 1 { format!("{names} ({lane})") } else { names });
            }
        }
        self.gates_table(&mut out);
        self.channels_table(&mut out);
        out
    }

    /// What a transformer's view of each text counts for.
    fn gates_table(&self, out: &mut String) {
        for (input, fields) in &self.gates {
            for (field, gate) in fields {
                let of = if self.gates.len() > 1 { format!("{field} ({input})") } else { field.clone() };
                let [correlation, lift] = [gate.correlation, gate.lift].map(figure);
                let weight = gate.weight;
                let _never_fails = writeln!(
                    out,
                    "{:<28} {weight:.2} in {of}: correlation {correlation}, lift {lift}",
                    "meaning counts for"
                );
            }
        }
    }

    fn channels_table(&self, out: &mut String) {
        let windows = self.windows.is_some();
        let mut row = |name: &str, auroc: &str, precision: &str, found: &str| {
            let found = if windows { format!("  {found:>7}") } else { String::new() };
            let _never_fails = writeln!(out, "{name:<40} {auroc:>6}  {precision:>17}{found}");
        };
        if self.graded == 0 || self.channels.is_empty() {
            return;
        }
        row("\nchannel, field", "AUROC", "average precision", "windows");
        let mut told = |name: &str, channel: &Channel| {
            let found = channel.windows_found.map_or_else(String::new, |found| found.to_string());
            row(name, &figure(channel.auroc), &figure(channel.average_precision), &found);
        };
        for (name, channel) in &self.channels {
            told(name, channel);
            for (field, channel) in &channel.fields {
                told(&format!("  {field}"), channel);
            }
        }
    }

    /// What is odd about the labels, in words; none when nothing is.
    pub fn caveat(&self, label: &str) -> Option<String> {
        if self.events == self.unlabelled + self.skipped && self.graded == 0 {
            return Some(format!("no event that is graded has a label {label}: nothing was graded"));
        }
        let class = match self.anomalies {
            0 => "normal events",
            anomalies if anomalies == self.graded => "anomalies",
            _ => return None,
        };
        Some(format!("all {} graded events are {class}: there is nothing to rank", self.graded))
    }
}

fn alerts(report: &Report) -> String {
    match (report.precision, report.recall) {
        (None, None) => report.alerts.to_string(),
        (precision, recall) => {
            format!(
                "{}; graded ones: precision {}, recall {}",
                report.alerts,
                figure(precision),
                figure(recall)
            )
        }
    }
}

fn incidents(report: &Report) -> String {
    match (report.incidents_true, report.incidents_false) {
        (Some(right), Some(wrong)) => {
            format!(
                "{}; graded ones: {right} opened by an anomaly, {wrong} by a normal event",
                report.incidents
            )
        }
        _ => report.incidents.to_string(),
    }
}

/// A share to four places; a dash where there is none.
pub(super) fn figure(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.4}"))
}
