//! What the service manager is told: systemd's notification protocol, datagrams to `$NOTIFY_SOCKET` (`sd_notify(3)`).
//!
//! `READY=1` is sent when `/readyz` is good for the first time, not before: until then, and while the daemon drains,
//! every beat asks for more time, so that a broker that is away is waited for and not answered by a restart.
//! `WATCHDOG=1` says that every shard went round since the last look, or that the model it waits for took on more
//! work, however slowly. To wait for records, or for a sink whose broker is away, is to go round; to wait for a model
//! that hangs is not. It must never be said because a timer went off. Without a service manager nothing is sent.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the manager may hear of us; often enough that stopping is told at once.
const TICK: Duration = Duration::from_millis(500);
/// Looks in the time that the manager gives: one that comes to nothing must not count as silence.
const LOOKS: u32 = 4;
/// What each beat asks for while the daemon starts or drains.
const EXTENSION: Duration = Duration::from_secs(30);

/// A shard's sign of life: it beats each time that it goes round.
#[derive(Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// An eye on it, and on the work of what the shard waits for. What has ended stands still rightly.
    pub(super) fn watch(&self, work: Work) -> Watch {
        Watch { pulse: Arc::downgrade(&self.0), work, seen: None }
    }
}

/// A number that rises with the work done.
pub(super) type Work = Box<dyn Fn() -> u64 + Send>;

/// An eye on a shard.
pub(super) struct Watch {
    pulse: Weak<AtomicU64>,
    work: Work,
    /// Beats and work at the last look.
    seen: Option<(u64, u64)>,
}

impl Watch {
    /// Whether it has beaten or its work has gone on since the last look, or it has ended.
    pub(super) fn moved(&mut self) -> bool {
        let Some(pulse) = self.pulse.upgrade() else { return true };
        let now = Some((pulse.load(Ordering::Relaxed), (self.work)()));
        std::mem::replace(&mut self.seen, now) != now
    }
}

/// Tells the service manager how it stands.
pub(super) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    tick: Duration,
    /// How long the manager bears silence; none: it does not watch.
    watchdog: Option<Duration>,
    watches: Vec<Watch>,
    ready: bool,
    stopping: bool,
    status: String,
    /// How long a shard has stood still.
    still: Duration,
}

impl Notifier {
    /// A notifier as the environment asks for it.
    pub(super) fn new(watches: Vec<Watch>) -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| {
            let open = address(std::os::unix::ffi::OsStrExt::as_bytes(&*name)).and_then(|address| {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Ok((socket, address))
            });
            open.inspect_err(|error| tracing::warn!(?name, %error, "cannot tell the service manager")).ok()
        });
        let variable = |name| std::env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        Self::with(socket, watchdog, watches)
    }

    fn with(
        socket: Option<(UnixDatagram, SocketAddr)>,
        watchdog: Option<Duration>,
        watches: Vec<Watch>,
    ) -> Self {
        let tick = watchdog.map_or(TICK, |limit| (limit / LOOKS).clamp(Duration::from_millis(1), TICK));
        let (ready, stopping, status, still) = (false, false, String::new(), Duration::ZERO);
        Self { socket, tick, watchdog, watches, ready, stopping, status, still }
    }

    /// How often to call [`Self::tell`].
    pub(super) fn tick(&self) -> Duration {
        self.tick
    }

    /// Tells the manager what it should know: `trouble` is what keeps the daemon from being ready.
    pub(super) fn tell(&mut self, stopping: bool, trouble: Option<&str>) {
        let message = self.message(stopping, trouble);
        if let Some((socket, address)) = self.socket.as_ref().filter(|_| !message.is_empty())
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }

    fn message(&mut self, stopping: bool, trouble: Option<&str>) -> String {
        let mut lines = Vec::new();
        if stopping && !self.stopping {
            self.stopping = true;
            lines.push("STOPPING=1".to_owned());
        } else if !stopping && !self.ready && trouble.is_none() {
            self.ready = true;
            lines.push("READY=1".to_owned());
        }
        if self.alive() {
            if self.watchdog.is_some() {
                lines.push("WATCHDOG=1".to_owned());
            }
            if self.stopping || !self.ready {
                lines.push(format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
            }
        }
        let status = match trouble {
            _ if self.stopping => "draining",
            Some(trouble) => trouble,
            None => "watching",
        };
        // A line feed would begin an assignment of its own.
        let status = status.replace(char::is_control, " ");
        if status != self.status {
            lines.push(format!("STATUS={status}"));
            self.status = status;
        }
        lines.join("\n")
    }

    /// Whether every shard went round since the last look. Says so once when one stands still for long.
    fn alive(&mut self) -> bool {
        // All are looked at, each time: a look at one must not wait for another.
        let still = self.watches.iter_mut().map(Watch::moved).enumerate().filter(|(_, moved)| !moved);
        let Some(shard) = still.map(|(shard, _)| shard).last() else {
            self.still = Duration::ZERO;
            return true;
        };
        let before = self.still;
        self.still += self.tick;
        let worrying = self.watchdog.unwrap_or(EXTENSION) / 2;
        if before < worrying && self.still >= worrying {
            tracing::warn!(shard, seconds = self.still.as_secs(), "a shard stands still");
        }
        false
    }
}

/// How long the manager bears silence, where it watches this process.
fn watchdog(microseconds: Option<String>, watched: Option<String>, own: u32) -> Option<Duration> {
    if watched.is_some_and(|watched| watched.parse() != Ok(own)) {
        return None;
    }
    let limit = microseconds?.parse().ok().filter(|limit| *limit > 0)?;
    Some(Duration::from_micros(limit))
}

/// The address that `$NOTIFY_SOCKET` names: a path, or a name without a file after `@`.
fn address(name: &[u8]) -> std::io::Result<SocketAddr> {
    match name {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        [b'/', ..] => {
            let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
            SocketAddr::from_pathname(path)
        }
        _ => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "NOTIFY_SOCKET is no path and no @name",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn notifier(watches: Vec<Watch>) -> Notifier {
        Notifier::with(None, Some(LIMIT), watches)
    }

    #[test]
    fn ready_and_stopping_are_said_once_and_time_is_asked_for_before_and_after() {
        let mut notifier = notifier(Vec::new());
        let more = "EXTEND_TIMEOUT_USEC=30000000";
        let away = notifier.message(false, Some("source: away\nREADY=1"));
        assert_eq!(away, format!("WATCHDOG=1\n{more}\nSTATUS=source: away READY=1"));
        assert_eq!(notifier.message(false, None), "READY=1\nWATCHDOG=1\nSTATUS=watching");
        assert_eq!(notifier.message(false, Some("sink: away")), "WATCHDOG=1\nSTATUS=sink: away");
        assert_eq!(notifier.message(false, None), "WATCHDOG=1\nSTATUS=watching");
        assert_eq!(notifier.message(true, None), format!("STOPPING=1\nWATCHDOG=1\n{more}\nSTATUS=draining"));
        assert_eq!(notifier.message(true, None), format!("WATCHDOG=1\n{more}"));
    }

    #[test]
    fn one_that_stops_before_it_was_ready_is_never_called_ready() {
        let mut notifier = notifier(Vec::new());
        assert!(!notifier.message(true, None).contains("READY"));
        assert!(!notifier.message(true, None).contains("READY"));
    }

    fn no_work() -> Work {
        Box::new(|| 0)
    }

    #[test]
    fn a_model_that_works_slowly_is_life() {
        let (pulse, batches) = (Pulse::default(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&batches);
        let mut watch = pulse.watch(Box::new(move || counted.load(Ordering::Relaxed)));
        assert!(watch.moved() && !watch.moved());
        batches.store(1, Ordering::Relaxed);
        assert!(watch.moved() && !watch.moved());
        pulse.beat();
        assert!(watch.moved() && !watch.moved());
    }

    #[test]
    fn a_shard_that_stands_still_withholds_the_beat_and_the_extension() {
        let (first, second) = (Pulse::default(), Pulse::default());
        let mut notifier = notifier(vec![first.watch(no_work()), second.watch(no_work())]);
        notifier.message(false, Some("away"));
        let round = |pulses: &[&Pulse]| pulses.iter().for_each(|pulse| pulse.beat());
        round(&[&first, &second]);
        assert!(notifier.message(false, Some("away")).contains("WATCHDOG=1\nEXTEND"));
        round(&[&first]);
        assert_eq!(notifier.message(false, Some("away")), "", "the second stands still");
        round(&[&second]);
        assert_eq!(notifier.message(false, Some("away")), "", "the first stands still");
        round(&[&first, &second]);
        assert!(notifier.message(false, None).contains("WATCHDOG=1"));
        drop((first, second));
        assert_eq!(notifier.message(false, None), "WATCHDOG=1", "what has ended is not waited for");
    }

    #[test]
    fn the_watchdog_is_ours_only_when_it_names_us() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(watchdog(text("2000000"), None, 7), Some(LIMIT));
        assert_eq!(watchdog(text("2000000"), text("7"), 7), Some(LIMIT));
        for (limit, watched) in
            [(text("2000000"), text("8")), (text("0"), None), (text("-1"), None), (None, None)]
        {
            assert_eq!(watchdog(limit, watched, 7), None);
        }
        assert_eq!(notifier(Vec::new()).tick(), TICK);
        assert_eq!(
            Notifier::with(None, Some(Duration::from_millis(400)), Vec::new()).tick().as_millis(),
            100
        );
    }

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        assert_eq!(address(b"/run/notify").unwrap().as_pathname(), Some("/run/notify".as_ref()));
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt as _;
            assert_eq!(address(b"@name").unwrap().as_abstract_name(), Some(b"name".as_slice()));
        }
        assert!(address(b"vsock:2:1").is_err() && address(b"").is_err());
        assert!(address(&[b'/'; 300]).is_err(), "longer than a socket's name may be");
    }
}
