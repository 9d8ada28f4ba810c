//! `outlierd doctor`: everything that the daemon needs, looked at.

use std::process::ExitCode;

use clap::Args;

use super::{CONFIG, SOFTWARE, Settings, UNAVAILABLE, fail, say};
use crate::config::Config;
use crate::daemon;
use crate::doctor::{Check, Report, examine};

pub(super) const EXAMPLES: &str = "Examples:
  outlierd doctor -c outlierd.toml
  outlierd doctor --set kafka.brokers=broker:9092 --set 'source.topics=[\"logs\"]'
  outlierd doctor -c outlierd.toml --json

Exit code 0 when the daemon could run, 69 when something that it needs fails, 78 when the configuration is not valid.
Nothing is started, written or committed.";

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    settings: Settings,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Show what the libraries log meanwhile, on standard error.
    #[arg(short, long)]
    verbose: bool,
}

/// Looks, and says what it found.
pub(super) fn run(options: &Doctor) -> ExitCode {
    let config = match Config::load(options.settings.config.as_deref(), &options.settings.set) {
        Ok(config) => config,
        Err(error) if options.json => {
            let check = Check::fail("configuration", error.0.join("\n"), "correct it: outlierd validate");
            return print(&Report::of(vec![check]), true, CONFIG);
        }
        Err(error) => return fail(CONFIG, &error),
    };
    // What the libraries log of it stands in the report; who asks for more gets it.
    if options.verbose {
        daemon::log(&config.log);
    }
    print(&examine(&config), options.json, UNAVAILABLE)
}

fn print(report: &Report, json: bool, failed: u8) -> ExitCode {
    if json {
        match serde_json::to_string(report) {
            Ok(line) => say(&format!("{line}\n")),
            Err(error) => return fail(SOFTWARE, &error),
        }
    } else {
        say(&report.table());
    }
    if report.healthy { ExitCode::SUCCESS } else { ExitCode::from(failed) }
}
