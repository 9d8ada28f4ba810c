//! Alerts on standard output: JSON for a program, or text for a person.
//!
//! Text shows what came in from outside on somebody's terminal, so all of it passes through `printable`; colour comes
//! only when it is asked for. Nothing else may be written to standard output while this sink runs.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::lines::{Lines, Output};
use super::{Acks, Outgoing, Provenance, SinkError, Status, wire};
use crate::flow::{Alert, Phase, Time};

/// How alerts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// A few lines for a person.
    Text,
}

/// What the sink needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How alerts are written.
    pub format: Format,
    /// Whether text is coloured, with ANSI escapes.
    pub colour: bool,
    /// Where records that cannot be read go, as lines of JSON; without it they are counted only.
    pub dead_letters: Option<PathBuf>,
    /// Longest JSON line of an alert, in bytes; at least [`wire::alert::BODY_MIN`].
    pub message_max: usize,
}

/// Writes until `outgoing` disconnects.
///
/// # Errors
/// When the dead-letter file cannot be opened, a write fails, or the reader has gone ([`SinkError::Closed`]).
pub fn run(
    settings: &Settings,
    provenance: &Provenance,
    outgoing: Receiver<Outgoing>,
    acks: Acks,
    status: Arc<Status>,
) -> Result<(), SinkError> {
    let dead_letters = settings.dead_letters.as_deref().map(Output::append).transpose()?;
    let alerts = Output::new("standard output", io::stdout().lock());
    let encode = |alert: &Alert| match settings.format {
        Format::Json => wire::alert::line(alert, provenance, settings.message_max),
        Format::Text => text(alert, settings.colour).into_bytes(),
    };
    Lines { alerts, dead_letters, encode, outgoing, acks, status }.run()
}

/// The alert for a person, in three lines: when, where and how strange; why; and by which channels.
pub fn text(alert: &Alert, colour: bool) -> String {
    let paint = |code: &'static str| if colour { code } else { "" };
    let (bold, dim, red, green, plain) = (
        paint("\u{1b}[1m"),
        paint("\u{1b}[2m"),
        paint("\u{1b}[31m"),
        paint("\u{1b}[32m"),
        paint("\u{1b}[0m"),
    );
    let verdict = &alert.verdict;
    let (time, word, tint) = match alert.phase {
        Phase::Opened => (alert.origin.time, "ALERT", red),
        Phase::Closed => (alert.last_time, "ENDED", green),
    };
    // An event of a file need not have a time.
    let time = if time == Time(0) { String::new() } else { format!("{dim}{}{plain} ", wire::rfc3339(time)) };
    let mut text = format!(
        "{time}{bold}{tint}{word}{plain} {} offset {}  surprise {:.1} (threshold {:.1})",
        wire::printable(&alert.origin.lane.to_string()),
        alert.origin.offset,
        verdict.surprise,
        verdict.threshold,
    );
    if alert.count > 1 {
        text = format!("{text}  {} events to offset {}", alert.count, alert.last_offset);
    }
    text = format!("{text}\n  {bold}{}{plain}\n", wire::sentence(alert));
    let mut channels: Vec<_> = verdict.channels.iter().filter(|channel| channel.surprise > 0.0).collect();
    channels.sort_by(|a, b| b.surprise.total_cmp(&a.surprise));
    if !channels.is_empty() {
        let names = channels.iter().take(4).map(|channel| {
            let field = wire::printable(wire::cut(&wire::field_name(&channel.field), 80));
            format!("{field} {} {:.1}", channel.channel, channel.surprise)
        });
        text = format!("{text}  {dim}{}{plain}\n", names.collect::<Vec<_>>().join(" · "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_when_where_why_and_how_much() {
        let mut alert = wire::alert::tests::example();
        assert_eq!(
            text(&alert, false),
            "2024-02-29T12:34:56.789Z ALERT logs[3] offset 12345  surprise 14.2 (threshold 9.1)\n  never seen before: \
             \"segfault at 0x0\" (message); nearest normal text at cosine distance 0.62\n  message text 14.0 · message \
             density 8.0\n"
        );
        (alert.phase, alert.count, alert.last_offset) = (Phase::Closed, 7, 12_400);
        let ended = text(&alert, false);
        assert!(ended.contains(" ENDED logs[3]") && ended.contains("7 events to offset 12400"), "{ended}");
    }

    #[test]
    fn colour_only_when_asked() {
        let alert = wire::alert::tests::example();
        assert!(!text(&alert, false).contains('\u{1b}'));
        assert!(text(&alert, true).contains("\u{1b}[31mALERT\u{1b}[0m"));
    }
}
