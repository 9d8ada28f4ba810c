//! How far a download is: one line of a terminal, written over; elsewhere a line at each tenth.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::embed::pull::Watch;

/// How often the line is written.
const PULSE: Duration = Duration::from_millis(100);
/// Cells of the bar.
const CELLS: u64 = 24;

/// The line.
pub(super) struct Bar {
    terminal: bool,
    name: String,
    total: Option<u64>,
    first: u64,
    begun: Instant,
    said: Option<Instant>,
    tenth: u64,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            name: String::new(),
            total: None,
            first: 0,
            begun: now(),
            said: None,
            tenth: 0,
        }
    }

    fn line(&self, there: u64) -> String {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let seconds = self.begun.elapsed().as_secs_f64().max(1e-3);
        let rate = megabytes(there.saturating_sub(self.first)) / seconds;
        match self.total {
            Some(total) if total > 0 => {
                let full = (there.min(total) * CELLS / total) as usize;
                let bar = format!("{}{}", "#".repeat(full), ".".repeat(CELLS as usize - full));
                format!(
                    "{} [{bar}] {:.1} of {:.1} MB, {rate:.1} MB/s",
                    self.name,
                    megabytes(there),
                    megabytes(total)
                )
            }
            _ => format!("{} {:.1} MB, {rate:.1} MB/s", self.name, megabytes(there)),
        }
    }

    fn write(text: &str) {
        let mut terminal = std::io::stderr().lock();
        let _on_a_closed_terminal = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
    }

    fn clear(&mut self) {
        if self.terminal && self.said.take().is_some() {
            Self::write("\r\x1b[K");
        }
    }
}

impl Watch for Bar {
    fn begin(&mut self, name: &str, there: u64, total: Option<u64>) {
        self.clear();
        name.clone_into(&mut self.name);
        (self.total, self.first, self.begun, self.tenth) = (total, there, now(), 0);
        if !self.terminal {
            let size = total.map_or_else(String::new, |total| format!(", {total} bytes"));
            let from = if there > 0 { format!(", from byte {there}") } else { String::new() };
            Self::write(&format!("outlierd: fetching {name}{size}{from}\n"));
        }
    }

    fn progress(&mut self, there: u64) {
        if self.terminal {
            if self.said.is_none_or(|said| said.elapsed() >= PULSE) {
                self.said = Some(now());
                Self::write(&format!("\r\x1b[K{}", self.line(there)));
            }
        } else if let Some(total) = self.total.filter(|total| *total >= 10 << 20) {
            let tenth = there.saturating_mul(10) / total;
            if tenth > self.tenth {
                self.tenth = tenth;
                Self::write(&format!("outlierd: {}\n", self.line(there)));
            }
        }
    }

    fn trouble(&mut self, what: &str) {
        self.clear();
        Self::write(&format!("outlierd: {what}\n"));
    }
}

// What is told next is told on a line of its own.
impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

#[expect(clippy::disallowed_methods, reason = "a progress bar shows a rate")]
fn now() -> Instant {
    Instant::now()
}
