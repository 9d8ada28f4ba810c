//! Where an alert's event lies, and the commands that bring it back.
//!
//! What lies in a file is told by its line, as every tool counts them. Commands are to be copied into a shell: no name of
//! anybody's making may leave its quotes.

use std::path::Path;

use super::page::Page;
use super::wire::{Alert, Source};
use crate::sink::wire::printable;

/// Events before it that a replay reads, so that it has learned what was normal.
const REPLAY: i64 = 20_000;
/// Events before and behind it that tell what else went on.
const AROUND: i64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kafka,
    File,
    Stdin,
}

impl Kind {
    fn of(source: &Source) -> Self {
        match source.kind.as_str() {
            "file" => Self::File,
            "stdin" => Self::Stdin,
            "" if source.topic == "stdin" => Self::Stdin,
            // Alerts of earlier versions do not say. No topic of Kafka's holds a slash.
            "" if source.topic.contains('/') => Self::File,
            _ => Self::Kafka,
        }
    }
}

/// `offset 12`, or `line 13` where lines are counted.
pub(super) fn at(source: &Source, offset: i64) -> String {
    match Kind::of(source) {
        Kind::Kafka => format!("offset {offset}"),
        Kind::File | Kind::Stdin => format!("line {}", offset.saturating_add(1)),
    }
}

/// Where the event lies.
pub(super) fn place(source: &Source) -> String {
    let here = at(source, source.offset);
    match Kind::of(source) {
        Kind::Kafka => format!("{}[{}] at {here}", printable(&source.topic), source.partition),
        Kind::File => format!("{here} of {}", printable(&source.topic)),
        Kind::Stdin => format!("{here} of standard input"),
    }
}

/// The commands.
pub(super) fn find(page: &mut Page, alert: &Alert) {
    let detail = &alert.outlierd;
    let (partition, offset) = (detail.source.partition, detail.source.offset);
    page.heading("Find it again");
    match Kind::of(&detail.source) {
        Kind::Kafka => {
            let topic = quoted(&detail.source.topic);
            page.verbatim(&format!(
                "kafka-console-consumer.sh --bootstrap-server BROKER --topic {topic} --partition {partition} --offset \
                 {offset} --max-messages 1"
            ));
            page.verbatim(&format!(
                "kafka-console-consumer.sh --bootstrap-server BROKER --topic {topic} --partition {partition} --offset \
                 {} --max-messages {}",
                offset.saturating_sub(AROUND).max(0),
                2 * AROUND + 1
            ));
            page.verbatim(&format!(
                "outlierd backtest -c CONFIG --topic {topic} --partition {partition} --from {} --to {} --out again",
                offset.saturating_sub(REPLAY).max(0),
                offset.saturating_add(1)
            ));
            again(page);
        }
        Kind::File => {
            let path = quoted(&path(&detail.source.topic));
            let gzip = Path::new(&detail.source.topic).extension().is_some_and(|end| end == "gz");
            let (cat, line) = (if gzip { "zcat" } else { "cat" }, offset.saturating_add(1));
            let (from, to) = (line.saturating_sub(AROUND).max(1), line.saturating_add(AROUND));
            page.verbatim(&format!("{cat} {path} | sed -n {line}p"));
            page.verbatim(&format!("{cat} {path} | sed -n {from},{to}p"));
            page.verbatim(&format!("outlierd backtest -c CONFIG --input {path} --out again"));
            again(page);
        }
        Kind::Stdin => page.line(&format!("it was {} of standard input", at(&detail.source, offset))),
    }
    page.pair(
        "raised by",
        &format!(
            "outlierd {} as {}, configuration {}, {} embedder",
            printable(&detail.version),
            printable(&detail.service),
            printable(&detail.config),
            printable(&detail.embedder)
        ),
    );
}

fn again(page: &mut Page) {
    page.verbatim("outlierd explain again/alerts.jsonl");
    page.line("CONFIG is the daemon's configuration: with another one, other events are alerts.");
}

/// A path that no command takes for a flag.
fn path(name: &str) -> String {
    if name.starts_with('-') { format!("./{name}") } else { name.to_owned() }
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let name = printable(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return name;
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("logs.a-b"), "logs.a-b");
        assert_eq!(quoted("a; rm -rf 'x'"), "'a; rm -rf '\\''x'\\'''");
        assert_eq!(quoted("-x"), "'-x'");
        assert_eq!(quoted(&path("-x")), "./-x");
        assert_eq!(quoted("\u{1b}[31m"), "'\\u{1b}[31m'");
    }

    #[test]
    fn the_kind_is_what_the_alert_says_and_guessed_only_where_it_does_not() {
        let place = |kind: &str, topic: &str| {
            place(&Source { kind: kind.into(), topic: topic.into(), partition: 3, offset: 9, key: None })
        };
        assert_eq!(place("file", "app.log"), "line 10 of app.log");
        assert_eq!(place("kafka", "stdin"), "stdin[3] at offset 9");
        assert_eq!(place("stdin", "stdin"), "line 10 of standard input");
        assert_eq!(place("", "stdin"), "line 10 of standard input");
        assert_eq!(place("", "/var/log/app.log"), "line 10 of /var/log/app.log");
        assert_eq!(place("", "app.log"), "app.log[3] at offset 9");
    }
}
