//! `config infer`: what the daemon would make of a file's fields, as a configuration to keep and to correct.
//!
//! What it prints, given back, is the schema that the daemon would have inferred from the same events: so every field
//! is named, those that are not read too, each with what was seen of it. It must print nothing that is not TOML:
//! names and values come from anybody.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{CONFIG, UNAVAILABLE, fail, say};
use crate::config::{Config, Set, SourceConfig};
use crate::decode::{self, Decoded};
use crate::flow::{Event, Record};
use crate::render::{self, Finding, Kind, Why};
use crate::source::file;

pub(super) const EXAMPLES: &str = "Examples:
  outlierd config infer --input access.jsonl.gz > fields.toml
  outlierd run -c fields.toml --source file --input access.jsonl.gz --sink stdout";

/// What to look at.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// File to look at, plain or gzip.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// How its lines are written.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How many events to look at, instead of what the configuration says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(20..=10_000))]
    events: Option<u64>,
    #[command(flatten)]
    settings: super::Settings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Auto,
    Json,
    Text,
}

/// Looks, and prints.
pub(super) fn run(options: &Options) -> ExitCode {
    let config = match Config::load(options.settings.config.as_deref(), &sets(options)) {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &error),
    };
    let SourceConfig::File(source) = &config.source else {
        return fail(CONFIG, &"source.kind is not \"file\"");
    };
    let render = &config.pipeline.render;
    let found = match first(options, source.line_max, &config.pipeline.decode, render.infer_events) {
        Ok(found) => found,
        Err(error) => return fail(UNAVAILABLE, &error),
    };
    if found.events.is_empty() {
        return fail(UNAVAILABLE, &found.nothing(options));
    }
    say(&written(&found, options, &render::findings(render, &found.events)));
    ExitCode::SUCCESS
}

/// The file takes the place of what the configuration reads and writes, which need not be there.
fn sets(options: &Options) -> Vec<Set> {
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut sets = options.settings.set.clone();
    sets.extend([set("source.kind", "file"), set("source.paths", "[\"-\"]"), set("sink.kind", "stdout")]);
    if let Some(format) = options.format {
        let name = match format {
            Format::Auto => "auto",
            Format::Json => "json",
            Format::Text => "text",
        };
        sets.push(set("decode.format", name));
    }
    sets.extend(options.events.map(|events| set("render.infer_events", &events.to_string())));
    sets
}

/// The first events, and how many lines could not be read.
#[derive(Debug, Default)]
struct First {
    events: Vec<Event>,
    unread: usize,
    /// Why the first of those could not.
    fault: Option<String>,
}

impl First {
    fn nothing(&self, options: &Options) -> String {
        let path = options.input.display();
        match &self.fault {
            Some(fault) => format!(
                "nothing to infer from: none of the first {} lines of {path} can be read ({fault}); see --format",
                self.unread
            ),
            None => format!("nothing to infer from: {path} has no lines"),
        }
    }
}

/// Lines that cannot be read, after which it is taken that none can.
const UNREAD_MAX: usize = 10_000;

fn first(
    options: &Options,
    line_max: usize,
    decode: &decode::Settings,
    wanted: usize,
) -> Result<First, crate::source::SourceError> {
    let mut found = First::default();
    file::lines(&options.input, line_max, |line| {
        if found.events.len() < wanted {
            match decode::decode(decode, &Record { payload: Some(line), ..Record::default() }) {
                Ok(Decoded::Event(event)) => found.events.push(event),
                Ok(Decoded::Tombstone) => {}
                Err(rejection) => {
                    found.unread += 1;
                    found.fault.get_or_insert(rejection.message);
                }
            }
        }
        found.events.len() < wanted && found.unread < UNREAD_MAX
    })?;
    Ok(found)
}

fn written(found: &First, options: &Options, findings: &[Finding]) -> String {
    let input = options.input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unread = match found.unread {
        0 => String::new(),
        1 => "; 1 line could not be read".to_owned(),
        unread => format!("; {} lines could not be read", grouped(unread)),
    };
    let head = format!(
        "# Inferred from the first {} events of {input:?}{unread}.\n# Fields that are not named are not read.\n",
        grouped(found.events.len())
    );
    let entries = findings.iter().map(|finding| {
        let (pointer, kind) = (quoted(&finding.pointer), name(finding.kind));
        format!("\n# {}\n[[field]]\npointer = {pointer}\nkind = \"{kind}\"\n", sentence(finding))
    });
    std::iter::once(head).chain(entries).collect()
}

/// A string as TOML has it. JSON's is the same but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Number => "number",
        Kind::Category => "category",
        Kind::Time => "time",
        Kind::Key => "key",
        Kind::Ignore => "ignore",
    }
}

/// What was seen, and what follows from it.
fn sentence(finding: &Finding) -> String {
    let Finding { events, seen, distinct, most, range, .. } = finding;
    let present = if seen < events {
        format!("in {} of {} events; ", grouped(*seen), grouped(*events))
    } else {
        String::new()
    };
    let (value, share) = most.as_ref().map_or((String::new(), 0), |(value, count)| {
        // A share of less than all is never written as 100 %.
        (format!("{value:?}"), count * 100 / seen.max(&1))
    });
    let counted = format!("{} distinct in {} events", grouped(*distinct), grouped(*seen));
    let often = format!("{counted}, most often {value} ({share} %)");
    let span = range.map_or_else(String::new, |(low, high)| format!("{low} to {high}, "));
    let what = match finding.why {
        Why::Rare => "too few to tell; not read".to_owned(),
        Why::Crowded => "too many fields are in more events; not read".to_owned(),
        Why::Clock => "times that go with the stream: the event's own".to_owned(),
        Why::OtherClock => "times that go with the stream, of which an event has one; not read".to_owned(),
        Why::Date => "times that do not go with the stream; not read".to_owned(),
        Why::Unplaced => format!("clocks without a date or a year, such as {value}; not read"),
        Why::Words => format!("words to be read: {counted}"),
        Why::Constant => format!("one value, {value}: constant, watched for change"),
        Why::Counter => format!("{span}rising: a counter; not read"),
        Why::Count => format!("{span}0 in {share} %: counts something rare"),
        Why::Codes => format!("{often}: codes"),
        Why::Quantity => format!("{span}{counted}: a quantity"),
        Why::Names => often,
        Why::Things => format!("{often}: who or what events are about"),
        Why::Passing => {
            format!("{counted}, none of which comes back later: of requests or sessions; not read")
        }
        Why::Identifier => {
            format!("identifier: {} of {} distinct; not read", grouped(*distinct), grouped(*seen))
        }
    };
    format!("{present}{what}")
}

/// 12 345 as `12 345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_anybody_stay_within_their_line() {
        let pointer = "/a\"b\\c\n\u{7f}\u{1}é";
        assert_eq!(quoted(pointer), r#""/a\"b\\c\n\u007f\u0001é""#);
        let finding = Finding {
            pointer: pointer.to_owned(),
            kind: Kind::Category,
            why: Why::Names,
            events: 2_000,
            seen: 1_000,
            distinct: 2,
            most: Some(("x\n[field]\r\u{7f}".to_owned(), 999)),
            range: None,
        };
        let sentence = sentence(&finding);
        assert!(!sentence.contains(|letter: char| letter.is_control()), "{sentence:?}");
        assert!(
            sentence.starts_with("in 1 000 of 2 000 events; 2 distinct in 1 000 events, most often \"x\\n")
        );
        assert!(sentence.ends_with("(99 %)"), "{sentence}");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
