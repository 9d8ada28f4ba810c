//! `outlierd explain`: alerts for a person.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;

use super::output::heard;
use super::{DATA, UNAVAILABLE, fail, say};
use crate::explain::{Style, explain};

pub(super) const EXAMPLES: &str = "Examples:
  outlierd explain alert.json
  outlierd explain alerts.jsonl | less
  tail -n +1 -f app.log | outlierd run --source stdin --sink stdout --set sink.format=json | outlierd explain -
  kafka-console-consumer.sh --bootstrap-server broker:9092 --topic outlierd.alerts | outlierd explain -";

/// A larger alert is none: the largest that can be configured has 100 MiB.
const ALERT_MAX: u64 = 110 << 20;
/// Columns where nobody says how many there are.
const WIDTH: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A file of alerts as the sinks write them, one after the other, or - for standard input.
    #[arg(value_name = "ALERT.json")]
    file: PathBuf,
    /// Columns of the page; without it $COLUMNS, or 100.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(40..=1000))]
    width: Option<u16>,
}

/// Prints a page for each alert.
pub(super) fn run(options: &Explain) -> ExitCode {
    let columns = || std::env::var("COLUMNS").ok()?.parse::<usize>().ok().filter(|columns| *columns >= 40);
    let style = Style {
        width: options.width.map(usize::from).or_else(columns).unwrap_or(WIDTH),
        bold: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let name = options.file.display();
    let reader: Box<dyn Read> = if options.file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        match File::open(&options.file) {
            Ok(file) => Box::new(io::BufReader::new(file)),
            Err(error) => return fail(UNAVAILABLE, &format!("cannot open {name}: {error}")),
        }
    };
    let read = Rc::new(Cell::new(0));
    let bounded = Bounded { inner: reader, read: Rc::clone(&read) };
    let mut number = 0;
    for value in serde_json::Deserializer::from_reader(bounded).into_iter::<serde_json::Value>() {
        number += 1;
        read.set(0);
        let page = match value {
            Ok(value) => explain(value, style),
            Err(error) if error.is_io() => {
                return fail(UNAVAILABLE, &format!("cannot read {name}: {error}"));
            }
            Err(error) => Err(format!("not JSON: {error}")),
        };
        match page {
            Ok(page) if number == 1 => say(&page),
            Ok(page) => say(&format!("\n{}\n\n{page}", "-".repeat(style.width.min(80)))),
            Err(why) => return fail(DATA, &format!("{name}, record {number}: {why}")),
        }
        // Whoever writes the alerts into this pipe is to hear that it has ended.
        if !heard() {
            return ExitCode::SUCCESS;
        }
    }
    if number == 0 {
        return fail(DATA, &format!("{name} holds no alert"));
    }
    ExitCode::SUCCESS
}

/// A reader that ends a value without end.
struct Bounded<R> {
    inner: R,
    /// Bytes read since the last value.
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > ALERT_MAX {
            return Err(io::Error::other("an alert is smaller than that"));
        }
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
