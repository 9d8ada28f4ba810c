//! What the command says: results on standard output, faults on standard error.
//!
//! A result that could not be written is a fault, and the exit code says so: whoever redirects into a file on a full
//! disk must not find out later. A reader that has read enough and gone (`| head -n 1`) is none. It must never panic:
//! a terminal may be gone at any time.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use super::IO;

/// Why the first text that could not be written was not. One for the process, as standard output is: no verb can forget
/// to hand it on.
static UNSAID: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output.
pub(super) fn say(text: &str) {
    let mut out = io::stdout().lock();
    // What is kept back until the end of a line would be lost without a word at the end of the process.
    note(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Whether somebody took all that was said: if not, going on is in vain.
pub(super) fn heard() -> bool {
    UNSAID.get().is_none()
}

/// Notes how writing to standard output went.
pub(super) fn note(written: io::Result<()>) {
    if let Err(error) = written {
        let _an_earlier_one = UNSAID.set(error);
    }
}

/// The exit code of a verb that has ended with `code`, now that all is said.
pub(super) fn ended(code: ExitCode) -> ExitCode {
    match UNSAID.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            fail(IO, &format!("cannot write to standard output: {error}; what was printed is not complete"))
        }
        _ => code,
    }
}

/// Says what went wrong.
pub(super) fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    warn(error);
    ExitCode::from(code)
}

/// Says what is worth knowing beside the result.
pub(super) fn warn(what: &dyn std::fmt::Display) {
    let _on_a_closed_terminal = writeln!(io::stderr().lock(), "outlierd: {what}");
}
