//! How far a backtest has come, on a terminal: one line of standard error, written over.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::drive::now;

/// How often the line is written.
const PULSE: Duration = Duration::from_millis(200);
/// Backtests that are over sooner show nothing.
const SOON: Duration = Duration::from_millis(500);

/// The line; silent where standard error is no terminal.
pub(super) struct Progress {
    terminal: bool,
    name: String,
    begun: Instant,
    said: Instant,
    shown: bool,
}

impl Progress {
    /// A line that begins with that name; `quiet` shows none.
    pub(super) fn new(name: &str, quiet: bool) -> Self {
        let terminal = !quiet && std::io::stderr().is_terminal();
        Self { terminal, name: name.to_owned(), begun: now(), said: now(), shown: false }
    }

    /// Says how far it is, if it is time to.
    pub(super) fn show(&mut self, events: usize, share: Option<f64>) {
        if !self.terminal || self.said.elapsed() < PULSE || self.begun.elapsed() < SOON {
            return;
        }
        self.said = now();
        self.shown = true;
        let rate = events as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let share = share.map_or_else(String::new, |share| format!(", {:.0} % of it read", share * 100.0));
        Self::write(&format!("\r\x1b[K{}: {events} events judged, {rate:.0} a second{share}", self.name));
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            Self::write("\r\x1b[K");
        }
    }

    fn write(text: &str) {
        let mut terminal = std::io::stderr().lock();
        let _on_a_closed_terminal = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
    }
}

// An error is told on a line of its own.
impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
