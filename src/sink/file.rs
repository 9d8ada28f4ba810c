//! Alerts in a file, one JSON object a line.
//!
//! Appended, never truncated, and on the disk before it is acknowledged (`fdatasync` at the end of each batch, not of
//! each line). It must not create folders: a misspelt path is an error, not a new tree.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::lines::{Lines, Output};
use super::{Acks, Outgoing, Provenance, SinkError, Status, wire};
use crate::flow::Alert;

/// What the sink needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where alerts go.
    pub path: PathBuf,
    /// Where records that cannot be read go, as lines of JSON; without it they are counted only.
    pub dead_letters: Option<PathBuf>,
    /// Longest line of an alert, in bytes; at least [`wire::alert::BODY_MIN`].
    pub message_max: usize,
}

/// Writes until `outgoing` disconnects.
///
/// # Errors
/// When a file cannot be opened or written, or both are the same.
pub fn run(
    settings: &Settings,
    provenance: &Provenance,
    outgoing: Receiver<Outgoing>,
    acks: Acks,
    status: Arc<Status>,
) -> Result<(), SinkError> {
    if settings.dead_letters.as_ref() == Some(&settings.path) {
        let what = "alerts and dead letters cannot share a file; name another for one of them";
        return Err(SinkError::Settings(what.to_owned()));
    }
    let alerts = Output::append(&settings.path)?;
    let dead_letters = settings.dead_letters.as_deref().map(Output::append).transpose()?;
    let encode = |alert: &Alert| wire::alert::line(alert, provenance, settings.message_max);
    Lines { alerts, dead_letters, encode, outgoing, acks, status }.run()
}
