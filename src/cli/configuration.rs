//! `validate`: what is wrong with settings.

use std::process::ExitCode;

use clap::Args;

use super::{CONFIG, fail, say};
use crate::config;

pub(super) const VALIDATE_EXAMPLES: &str = "Examples:
  outlierd validate -c outlierd.toml
  outlierd validate -c outlierd.toml --no-environment   # before it is rolled out, where there is no broker";

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Validate {
    #[command(flatten)]
    settings: super::Settings,
    /// Check only what is written, not what it points at: files, secrets, the model, the port, the broker and its topics.
    #[arg(long)]
    no_environment: bool,
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
