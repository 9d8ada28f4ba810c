//! `validate` and `config`: what is wrong with settings, which are in effect, and which there can be.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{CONFIG, fail, infer, say};
use crate::config;

pub(super) const VALIDATE_EXAMPLES: &str = "Examples:
  outlierd validate -c outlierd.toml
  outlierd validate -c outlierd.toml --no-environment   # before it is rolled out, where there is no broker";

const SHOW_EXAMPLES: &str = "Examples:
  outlierd config show -c outlierd.toml
  OUTLIERD_KAFKA__BROKERS=broker:9092 outlierd config show --json";

const SCHEMA_EXAMPLES: &str = "Examples:
  outlierd config schema > outlierd.schema.json
Then, as the first line of a configuration, for editors that know Taplo:
  #:schema ./outlierd.schema.json";

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Validate {
    #[command(flatten)]
    settings: super::Settings,
    /// Check only what is written, not what it points at: files, secrets, the model, the port, the broker and its topics.
    #[arg(long)]
    no_environment: bool,
}

/// What to do about configurations.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Print what the fields of a file are, as a configuration that names them, with a reason each.
    #[command(after_help = infer::EXAMPLES)]
    Infer(infer::Options),
    /// Print the settings in effect, each with where it came from; secrets are not shown.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Print a JSON Schema of configurations, for editors.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
}

/// How to show them.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    settings: super::Settings,
    /// As one JSON object, by key, instead of TOML.
    #[arg(long)]
    json: bool,
}

/// Exit code 0 when nothing is wrong, else 78.
pub(super) fn validate(options: &Validate) -> ExitCode {
    let settings = &options.settings;
    match config::validate(settings.config.as_deref(), &settings.set, !options.no_environment) {
        Ok(()) => {
            say("the configuration is valid\n");
            ExitCode::SUCCESS
        }
        Err(error) => fail(CONFIG, &error),
    }
}

/// Does what the verb says.
pub(super) fn run(verb: &Verb) -> ExitCode {
    match verb {
        Verb::Infer(options) => infer::run(options),
        Verb::Show(show) => {
            match config::show(show.settings.config.as_deref(), &show.settings.set, show.json) {
                Ok(text) => {
                    say(&text);
                    ExitCode::SUCCESS
                }
                Err(error) => fail(CONFIG, &error),
            }
        }
        Verb::Schema => {
            say(&config::schema());
            ExitCode::SUCCESS
        }
    }
}
