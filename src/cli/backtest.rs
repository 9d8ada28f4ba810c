//! `outlierd backtest`: its flags, and what it prints.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::warn;
use super::{CONFIG, DATA, SOFTWARE, Settings, UNAVAILABLE, USAGE, fail, failed, say};
use crate::backtest::{self, Error, Labels, Report};
use crate::daemon;
use crate::source::SourceError;
use crate::source::kafka::range::Bounds;

pub(super) const EXAMPLES: &str = "Examples:
  outlierd backtest --input events.jsonl.gz --label label --skip 0.2
  outlierd backtest --input bgl.jsonl --label alert --normal - --json | tail -n 1
  outlierd backtest --input metrics.jsonl.gz --label label --windows series --skip 0.15
  outlierd backtest --topic logs --partition 0 --from 1000 --to 90000 --set kafka.brokers=broker:9092
  outlierd backtest --input a.jsonl --input b.jsonl --label label --ablate
  zcat access.jsonl.gz | outlierd backtest --input - --budget '1 in 500' --out rows";

#[derive(Debug, Args)]
pub(super) struct Backtest {
    #[command(flatten)]
    settings: Settings,
    /// A file to read, plain or gzip, or - for standard input; may be given again.
    #[arg(long, value_name = "FILE", required_unless_present = "topic")]
    input: Vec<String>,
    /// A topic to read instead, from the broker of the configuration.
    #[arg(long, value_name = "TOPIC", conflicts_with = "input")]
    topic: Option<String>,
    /// The partition to read; without it all are read, one after the other.
    #[arg(long, value_name = "NUMBER", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// The first offset to read; without it the oldest.
    #[arg(long, value_name = "OFFSET", requires = "topic", value_parser = clap::value_parser!(i64).range(0..))]
    from: Option<i64>,
    /// The offset to end before; without it what is there now.
    #[arg(long, value_name = "OFFSET", requires = "topic", value_parser = clap::value_parser!(i64).range(0..))]
    to: Option<i64>,
    /// Field that says whether an event is an anomaly, as a name or JSON pointer: read only to grade.
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,
    /// A label's value that means an anomaly, every other being normal; may be given again.
    #[arg(long, value_name = "VALUE", requires = "label", allow_hyphen_values = true)]
    positive: Vec<String>,
    /// A label's value that means a normal event, every other being an anomaly; may be given again.
    #[arg(
        long,
        value_name = "VALUE",
        requires = "label",
        conflicts_with = "positive",
        allow_hyphen_values = true
    )]
    normal: Vec<String>,
    /// First part of each input that is not graded: 0.2 is the first fifth.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    skip: f64,
    /// Grade labels as windows of the series that this field names.
    #[arg(long, value_name = "FIELD", requires = "label")]
    windows: Option<String>,
    /// Folder for one row an event (Arrow IPC) and the alerts; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The alert budget, over the configuration: "1 in 500", "20 per day".
    #[arg(long, value_name = "BUDGET")]
    budget: Option<String>,
    /// Show what each channel is worth: every input with all channels, each alone, and all but each.
    #[arg(long, requires = "label", conflicts_with = "out")]
    ablate: bool,
    /// Print one line that is a JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs it and prints what it found.
pub(super) fn run(options: &Backtest) -> ExitCode {
    let labels = options.label.as_ref().map(|field| Labels {
        field: field.clone(),
        positive: options.positive.clone(),
        normal: options.normal.clone(),
    });
    let topic = options.topic.clone().map(|topic| Bounds {
        topic,
        partition: options.partition,
        from: options.from,
        to: options.to,
    });
    let settings = backtest::Settings {
        inputs: options.input.clone(),
        topic,
        labels,
        skip: options.skip,
        windows: options.windows.clone(),
        out: options.out.clone(),
        ..backtest::Settings::default()
    };
    let mut sets = options.settings.set.clone();
    sets.extend(options.budget.iter().map(|budget| ("alert.budget".to_owned(), budget.clone())));
    if options.ablate && options.input.iter().any(|input| input == "-") {
        return fail(USAGE, &"standard input can be read only once: --ablate needs a file");
    }
    let config = match backtest::configure(options.settings.config.as_deref(), &sets, &settings) {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &error),
    };
    daemon::log(&config.log);
    if options.ablate {
        return match backtest::ablate(&config, &settings) {
            Ok(ablation) if options.json => json(&ablation),
            Ok(ablation) => {
                say(&ablation.markdown());
                ExitCode::SUCCESS
            }
            Err(error) => refused(&error),
        };
    }
    match backtest::run(&config, &settings) {
        Ok(report) => print(&report, options),
        Err(error) => refused(&error),
    }
}

fn print(report: &Report, options: &Backtest) -> ExitCode {
    let code = if options.json {
        json(report)
    } else {
        say(&report.table());
        ExitCode::SUCCESS
    };
    if let Some(caveat) = options.label.as_deref().and_then(|label| report.caveat(label)) {
        warn(&caveat);
    }
    code
}

fn json(found: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string(found) {
        Ok(line) => {
            say(&format!("{line}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => fail(SOFTWARE, &error),
    }
}

fn refused(error: &Error) -> ExitCode {
    match error {
        Error::Config(error) => fail(CONFIG, error),
        Error::Daemon(error) => failed(error),
        Error::Embedder(_) => fail(SOFTWARE, error),
        Error::Data(_) => fail(DATA, error),
        Error::Source(SourceError::Settings(_)) => fail(CONFIG, error),
        Error::Source(_) | Error::Output(_) => fail(UNAVAILABLE, error),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("should be a share from 0 up to, not including, 1".to_owned()),
    }
}
