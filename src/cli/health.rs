//! `outlierd health`: one question to a running daemon's admin server, for health checks where there is no other client.
//!
//! It reads no configuration: a check must not fail because a file cannot be read.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{UNAVAILABLE, fail, say};

pub(super) const EXAMPLES: &str = "Examples:
  outlierd health
  outlierd health --address 10.0.0.7:9464
  outlierd health --live";

/// How long to wait for a connection, and for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// More of an answer is not read.
const ANSWER_MAX: u64 = 64 * 1024;

/// Exit code 0 when the daemon is ready, 69 when it is not or cannot be asked.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// The daemon's admin.listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9464")]
    address: String,
    /// Ask only whether it lives, not whether events flow.
    #[arg(long)]
    live: bool,
}

impl Health {
    /// Asks, and says what the daemon says.
    pub(super) fn run(&self) -> ExitCode {
        match self.ask() {
            Ok(answer) => {
                say(&answer);
                ExitCode::SUCCESS
            }
            Err(error) => fail(UNAVAILABLE, &error),
        }
    }

    fn ask(&self) -> Result<String, String> {
        let answer = self.get().map_err(|error| {
            format!("cannot ask {}: {error}; is the daemon up, and its [admin] listen there?", self.address)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            Err(format!("{} is not well: {status}\n{}", self.address, body.trim_end()))
        }
    }

    fn get(&self) -> std::io::Result<String> {
        let mut outcome = Err(std::io::Error::other("the name has no address"));
        for address in self.address.to_socket_addrs()? {
            outcome = TcpStream::connect_timeout(&address, PATIENCE);
            if outcome.is_ok() {
                break;
            }
        }
        let mut stream = outcome?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let path = if self.live { "/livez" } else { "/readyz?verbose" };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
