//! The command line: verbs, flags, exit codes.
//!
//! Exit codes are those of sysexits(3): 64 usage, 65 records that are not what they were said to be, 69 something needed
//! is not there, 70 a fault of our own, 74 standard output cannot be written, 78 configuration.

mod backtest;
mod completions;
mod configuration;
mod doctor;
mod explain;
mod health;
mod model;
mod output;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, Config};
use crate::{daemon, demo, metrics};
use output::{fail, say};

mod infer;

const USAGE: u8 = 64;
const DATA: u8 = 65;
const UNAVAILABLE: u8 = 69;
const SOFTWARE: u8 = 70;
const IO: u8 = 74;
const CONFIG: u8 = 78;

/// Finds the strange event in a stream the moment it arrives.
#[derive(Debug, Parser)]
#[command(name = "outlierd", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Watch a stream and write alerts until told to stop.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Run the pipeline over records of the past, and say how well it does.
    #[command(after_help = backtest::EXAMPLES)]
    Backtest(Box<backtest::Backtest>),
    /// Show the main job: a broker in this process, a stream with planted anomalies, and what was found of them.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Say everything that is wrong with a configuration, without starting anything.
    #[command(after_help = configuration::VALIDATE_EXAMPLES)]
    Validate(configuration::Validate),
    /// Look at everything that the daemon needs, say what is wrong and what to do about it.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::Doctor),
    /// Print alerts for a person: what was strange, compared with what, how rare, under which budget.
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    /// Print the default configuration: every key, with a comment.
    #[command(after_help = DEFAULTS_EXAMPLES)]
    Defaults,
    /// Print every metric of /metrics, with its unit and meaning, as a page in Markdown.
    #[command(after_help = METRICS_EXAMPLES)]
    Metrics,
    /// Ask a running daemon whether it is ready; for containers that have no other client.
    #[command(after_help = health::EXAMPLES)]
    Health(health::Health),
    /// Get a model, see which there are, look into one.
    #[command(subcommand)]
    Model(model::Model),
    /// Print what completes this command's words in a shell.
    #[command(after_help = completions::COMPLETIONS_EXAMPLES)]
    Completions(completions::Completions),
    /// Print the manual page, or write one for each verb.
    #[command(after_help = completions::MAN_EXAMPLES)]
    Man(completions::Man),
    /// Show, describe or write a configuration.
    #[command(subcommand)]
    Config(configuration::Verb),
}

const EXAMPLES: &str = "The first hour:
  outlierd demo                                            a stream with planted anomalies, and what was found
  tail -n +1 -f app.log | outlierd run --source stdin --sink stdout
  outlierd doctor -c outlierd.toml                         what is missing before it can run
  outlierd run -c outlierd.toml                            from Kafka to Kafka
  outlierd explain alerts.jsonl                            an alert for a person

Exit codes: 64 usage, 65 records or files that are not what they should be, 69 something needed is not there, 70 a fault
of our own, 74 standard output cannot be written, 78 configuration. Each verb has examples: outlierd VERB --help";

const RUN_EXAMPLES: &str = "Examples:
  outlierd run -c outlierd.toml
  outlierd run --set kafka.brokers=broker:9092 --set 'source.topics=[\"logs\"]'
  tail -n +1 -f app.log | outlierd run --source stdin --sink stdout
  outlierd run --source file --input access.jsonl.gz --sink stdout --set sink.format=text";

const DEFAULTS_EXAMPLES: &str = "Examples:
  outlierd defaults | less
  outlierd defaults > outlierd.toml";

const METRICS_EXAMPLES: &str = "Examples:
  outlierd metrics > metrics.md";

const DEMO_EXAMPLES: &str = "Examples:
  outlierd demo
  outlierd demo --brokers localhost:9092 --events 100000
  outlierd demo --seed 7 --json | tail -n 1";

#[derive(Debug, Args)]
struct Settings {
    /// Configuration file (TOML); what it leaves out keeps its default.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, over file and environment: --set kafka.brokers=broker:9092
    #[arg(long, value_name = "KEY=VALUE", value_parser = set)]
    set: Vec<config::Set>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Source {
    Kafka,
    File,
    Stdin,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sink {
    Kafka,
    Stdout,
    File,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    settings: Settings,
    /// Where events come from.
    #[arg(long, value_enum)]
    source: Option<Source>,
    /// Where alerts go.
    #[arg(long, value_enum)]
    sink: Option<Sink>,
    /// A file to read (with --source file); may be given again.
    #[arg(long, value_name = "FILE")]
    input: Vec<String>,
}

#[derive(Debug, Args)]
struct Demo {
    /// A real broker, instead of the one inside this process.
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// How many events to write. Fewer than 10 000 would not show each partition what its fields are.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(10_000..))]
    events: u64,
    /// The stream's seed: the same seed, the same stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End with one line that is a JSON object.
    #[arg(long)]
    json: bool,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) if error.use_stderr() => {
            let _on_a_closed_terminal = error.print();
            return ExitCode::from(USAGE);
        }
        // Help and version were asked for.
        Err(error) => {
            output::note(error.print().and_then(|()| std::io::stdout().flush()));
            return output::ended(ExitCode::SUCCESS);
        }
    };
    output::ended(done(line.verb))
}

fn done(verb: Verb) -> ExitCode {
    match verb {
        Verb::Run(run) => run_daemon(&run),
        Verb::Backtest(options) => backtest::run(&options),
        Verb::Demo(demo) => run_demo(&demo),
        Verb::Validate(options) => configuration::validate(&options),
        Verb::Doctor(options) => doctor::run(&options),
        Verb::Defaults => {
            say(config::DEFAULTS);
            ExitCode::SUCCESS
        }
        Verb::Metrics => {
            say(&metrics::catalogue::markdown());
            ExitCode::SUCCESS
        }
        Verb::Health(health) => health.run(),
        Verb::Explain(options) => explain::run(&options),
        Verb::Completions(options) => completions::print(&options),
        Verb::Man(options) => completions::man(&options),
        Verb::Model(model) => model::run(&model),
        Verb::Config(verb) => configuration::run(&verb),
    }
}

fn run_daemon(run: &Run) -> ExitCode {
    let mut sets = Vec::new();
    if let Some(source) = run.source {
        let kind = match source {
            Source::Kafka => "kafka",
            Source::File => "file",
            Source::Stdin => "stdin",
        };
        sets.push(("source.kind".to_owned(), kind.to_owned()));
    }
    if let Some(sink) = run.sink {
        let kind = match sink {
            Sink::Kafka => "kafka",
            Sink::Stdout => "stdout",
            Sink::File => "file",
        };
        sets.push(("sink.kind".to_owned(), kind.to_owned()));
    }
    if !run.input.is_empty() {
        // A list of JSON is one of settings too.
        match serde_json::to_string(&run.input) {
            Ok(paths) => sets.push(("source.paths".to_owned(), paths)),
            Err(_) => return fail(USAGE, &"a path of --input is not UTF-8; rename the file"),
        }
    }
    sets.extend(run.settings.set.iter().cloned());
    let config = match Config::load(run.settings.config.as_deref(), &sets) {
        Ok(config) => config,
        Err(error) => return fail(CONFIG, &error),
    };
    daemon::log(&config.log);
    let stop = daemon::Stop::default();
    match daemon::run(&config, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn run_demo(options: &Demo) -> ExitCode {
    let settings = demo::Settings {
        brokers: options.brokers.clone(),
        events: options.events,
        seed: options.seed,
        json: options.json,
    };
    match demo::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(demo::DemoError::Daemon(error)) => failed(&error),
        Err(error @ demo::DemoError::Config(_)) => fail(CONFIG, &error),
        Err(demo::DemoError::Output(error)) => {
            output::note(Err(error));
            ExitCode::SUCCESS
        }
        Err(error) => fail(UNAVAILABLE, &error),
    }
}

fn failed(error: &daemon::Error) -> ExitCode {
    let code = match error {
        daemon::Error::Config(_) => CONFIG,
        daemon::Error::Unavailable(_) => UNAVAILABLE,
        daemon::Error::Internal(_) => SOFTWARE,
    };
    fail(code, error)
}

fn set(text: &str) -> Result<config::Set, String> {
    let (key, value) = text.split_once('=').ok_or("should be KEY=VALUE")?;
    if key.trim().is_empty() {
        Err("should be KEY=VALUE".to_owned())
    } else {
        Ok((key.trim().into(), value.into()))
    }
}

#[cfg(test)]
mod tests;
