//! What the real binary tells a service manager: a socket is bound as systemd binds one, and read.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::client::{self, Daemon};

const WATCHED: (&str, &str) = ("WATCHDOG_USEC", "400000");

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    name: String,
    path: Option<PathBuf>,
}

impl Manager {
    fn with_a_path() -> Self {
        let path = std::env::temp_dir().join(client::unique("outlierd-notify"));
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, name: path.to_string_lossy().into_owned(), path: Some(path) }
    }

    fn with_an_abstract_name() -> Self {
        let name = client::unique("outlierd-notify");
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self { socket: UnixDatagram::bind_addr(&address).unwrap(), name: format!("@{name}"), path: None }
    }

    fn environment(&self) -> (&str, &str) {
        ("NOTIFY_SOCKET", &self.name)
    }

    /// The assignments of all datagrams until one that has `last`.
    fn until(&self, last: &str) -> Vec<String> {
        self.socket.set_read_timeout(Some(client::PATIENCE)).unwrap();
        let mut said = Vec::new();
        loop {
            let mut datagram = [0; 4_096];
            let length = self
                .socket
                .recv(&mut datagram)
                .unwrap_or_else(|error| panic!("no {last}: {error}; {said:?}"));
            let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
            said.extend(text.lines().map(str::to_owned));
            if text.lines().any(|line| line.starts_with(last)) {
                return said;
            }
        }
    }

    /// What is still unread of a process that has ended.
    fn rest(&self) -> Vec<String> {
        self.socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let mut said = Vec::new();
        let mut datagram = [0; 4_096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            said.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
        }
        said
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _left_behind = std::fs::remove_file(path);
        }
    }
}

fn arguments(words: &[&str]) -> Vec<String> {
    ["run", "--sink", "stdout", "--set", "admin.listen="]
        .iter()
        .chain(words)
        .map(|&word| word.to_owned())
        .collect()
}

fn count(said: &[String], line: &str) -> usize {
    said.iter().filter(|said| *said == line).count()
}

#[test]
fn ready_alive_and_stopping_are_told() {
    let manager = Manager::with_a_path();
    let stdin = arguments(&["--source", "stdin"]);
    let mut daemon =
        Daemon::start_in(&[manager.environment(), WATCHED], &stdin, Stdio::piped(), Stdio::null());
    let before = manager.until("READY=1");
    assert_eq!(count(&before, "STOPPING=1"), 0, "{before:?}");
    // It goes on living with nothing to read.
    for _ in 0..5 {
        let alive = manager.until("WATCHDOG=1");
        assert_eq!(count(&alive, "READY=1") + count(&alive, "STOPPING=1"), 0, "{alive:?}");
    }
    daemon.signal("TERM");
    let stopping = manager.until("STOPPING=1");
    assert!(daemon.ended().success());
    let rest = manager.rest();
    assert_eq!(count(&stopping, "STOPPING=1") + count(&rest, "STOPPING=1"), 1, "{stopping:?} {rest:?}");
}

#[test]
fn a_broker_that_is_away_is_told_and_more_time_asked_for() {
    let manager = Manager::with_an_abstract_name();
    let broker = "127.0.0.1:1";
    let kafka = client::run_arguments(broker, "group", "topic", &[("sink.kind", "stdout")]);
    // The watchdog of another process is not ours to feed.
    let environment = [manager.environment(), WATCHED, ("WATCHDOG_PID", "1")];
    let mut daemon = Daemon::start_in(&environment, &kafka, Stdio::null(), Stdio::null());
    let mut said = manager.until("STATUS=source: ");
    said.extend(manager.until("EXTEND_TIMEOUT_USEC="));
    said.extend(manager.until("EXTEND_TIMEOUT_USEC="));
    daemon.signal("TERM");
    said.extend(manager.until("STOPPING=1"));
    assert!(daemon.ended().success());
    assert_eq!(count(&said, "READY=1") + count(&said, "WATCHDOG=1"), 0, "{said:?}");
}

#[test]
fn a_stream_that_ends_by_itself_is_told_as_stopping() {
    let manager = Manager::with_a_path();
    let stdin = arguments(&["--source", "stdin"]);
    let mut daemon = Daemon::start_in(&[manager.environment()], &stdin, Stdio::null(), Stdio::null());
    let said = manager.until("STOPPING=1");
    assert!(daemon.ended().success());
    assert_eq!(count(&said, "WATCHDOG=1"), 0, "nobody asked for it: {said:?}");
}

#[test]
fn a_socket_that_is_not_there_changes_nothing() {
    for name in ["/nowhere/notify", "@nobody", "neither", ""] {
        let environment = [("NOTIFY_SOCKET", name), WATCHED];
        let stdin = arguments(&["--source", "stdin"]);
        let mut daemon = Daemon::start_in(&environment, &stdin, Stdio::null(), Stdio::null());
        assert!(daemon.ended().success(), "{name}");
    }
}
