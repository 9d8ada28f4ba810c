//! A real Apache Kafka for the tests: one node (`KRaft`) in a Java process of its own, from the jars that `tests/run`
//! puts into `target/test-parts`.
//!
//! Java runs under a small shell that holds a pipe to the test process: when that process ends, for whatever reason,
//! the pipe closes and the shell kills Java. The broker's console is a locked file that the shell and Java inherit, so
//! a data folder whose lock is free belongs to nobody and the next start removes it.
//!
//! Topics are created through Kafka's own protocol: Java's tools take a second or two for each call.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a broker may take until it answers.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// How long a new topic may take until its partitions have leaders.
const TOPIC_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Below the ports that systems give to outgoing connections, so that none is taken while a broker is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// The settings that all brokers share.
const SETTINGS: &str = include_str!("kafka/server.properties");

/// A controller waits for the old session of a killed broker before it takes the new one: 9 s by default.
const SHORT_SESSION: &str = "broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=200\n";

/// Runs its arguments until they end, or kills them when its standard input closes. Signals that reach the whole
/// process group, as those of a terminal do, are the test process's to handle.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -9 $child; } &
watcher=$!
wait $child
status=$?
kill -9 $watcher 2>/dev/null
exit $status
"#;

/// A part that `tests/run` has put into `target/test-parts`.
pub(crate) fn part(path: &str) -> PathBuf {
    let full = target().join("test-parts").join(path);
    assert!(full.exists(), "run tests/run first: {} is missing", full.display());
    full
}

/// A real Apache Kafka in `KRaft` mode, on free loopback ports, data under target/; stopped when dropped.
pub(crate) struct Broker {
    bootstrap: String,
    /// `None` for the broker of `KAFKA_BROKERS`, which is not ours.
    node: Option<Node>,
}

impl Broker {
    /// One broker for the whole test binary, started on first use: that of `KAFKA_BROKERS` if this is set.
    pub(crate) fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("KAFKA_BROKERS") {
            Ok(bootstrap) if !bootstrap.is_empty() => {
                wire::brokers(&bootstrap).expect("KAFKA_BROKERS names a broker that answers");
                Broker { bootstrap, node: None }
            }
            _ => Broker::start(),
        })
    }

    /// A broker of the caller's own, for tests that kill it.
    pub(crate) fn start() -> Broker {
        Self::start_with("")
    }

    /// A broker of the caller's own, with settings added, a line each; `@port@` and `@controller@` stand for its ports.
    pub(crate) fn start_with(settings: &str) -> Broker {
        let mut node = Node::claim();
        let bootstrap = node.bootstrap();
        node.run(settings);
        Broker { bootstrap, node: Some(node) }
    }

    /// Allows a user one operation on one topic or group, and with it all others nothing there.
    pub(crate) fn allow(&self, user: &str, operation: Operation, resource: Resource<'_>) {
        wire::allow(&self.bootstrap, user, operation as i8, resource).expect("the broker takes an ACL");
    }

    /// Where clients connect to: `127.0.0.1:PORT`, or what `KAFKA_BROKERS` says.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// SIGKILL. The data stays, for [`Broker::restart`].
    pub(crate) fn kill(&mut self) {
        self.own().stop();
    }

    /// Starts a killed broker again, on the same port and data; returns when it answers.
    pub(crate) fn restart(&mut self) {
        let node = self.own();
        node.stop();
        node.run(SHORT_SESSION);
    }

    /// Creates a topic that does not exist yet; returns when all its partitions have leaders. Takes milliseconds.
    pub(crate) fn create_topic(&self, name: &str, partitions: u32) {
        wire::create_topic(&self.bootstrap, name, partitions)
            .unwrap_or_else(|error| panic!("cannot create the topic {name}: {error}"));
        let deadline = now() + TOPIC_WITHIN;
        loop {
            let led = wire::led_partitions(&self.bootstrap, name);
            if led.as_ref().is_ok_and(|led| *led == partitions) {
                return;
            }
            assert!(
                now() < deadline,
                "the topic {name} has leaders for {led:?} of its {partitions} partitions"
            );
            sleep(POLL);
        }
    }

    fn own(&mut self) -> &mut Node {
        self.node.as_mut().expect("a broker of the test's own, not that of KAFKA_BROKERS")
    }
}

/// What an ACL is about.
#[derive(Clone, Copy)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// What an ACL allows, by its number in Kafka's protocol.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Read = 3,
    Write = 4,
    Describe = 8,
}

/// The data folder of a broker, which is named after its port, and the process while it runs.
struct Node {
    folder: PathBuf,
    port: u16,
    /// Locked, and inherited by the processes: free when all of them are gone.
    console: File,
    supervisor: Option<Child>,
}

impl Node {
    /// Removes what earlier test processes have left, and takes a free pair of ports.
    fn claim() -> Node {
        let formatted = part("kafka/formatted");
        let all = target().join("test-brokers");
        fs::create_dir_all(&all).expect("target/ can be written");
        let turn = File::create(all.join("lock")).expect("target/ can be written");
        turn.lock().expect("a lock");
        remove_stale(&all);
        let pairs = PORTS.len() / 2;
        // Each process starts at another place: other checkouts have brokers of their own.
        let port = (0..pairs)
            .map(|step| PORTS.start + 2 * ((id() as usize + step) % pairs) as u16)
            .find(|port| {
                is_free(*port) && is_free(port + 1) && fs::create_dir(all.join(port.to_string())).is_ok()
            })
            .expect("two free ports");
        let folder = all.join(port.to_string());
        let console = console(&folder).expect("a new folder can be written");
        console.try_lock().expect("a new file has no lock");
        fs::create_dir(folder.join("log")).expect("a new folder can be written");
        for entry in fs::read_dir(formatted).expect("the formatted folder").flatten() {
            fs::copy(entry.path(), folder.join("log").join(entry.file_name())).expect("a copy");
        }
        Node { folder, port, console, supervisor: None }
    }

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts Java and waits until the broker answers.
    fn run(&mut self, settings: &str) {
        self.spawn(settings).unwrap_or_else(|error| panic!("cannot start a broker: {error}"));
        let deadline = now() + READY_WITHIN;
        while !wire::brokers(&self.bootstrap()).is_ok_and(|brokers| brokers > 0) {
            let ended = self.supervisor.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || now() > deadline {
                let what = if ended { "has ended" } else { "does not answer" };
                panic!("the broker {what}\n{}", self.logs());
            }
            sleep(POLL);
        }
    }

    fn spawn(&mut self, settings: &str) -> io::Result<()> {
        let mut properties = String::from(SETTINGS);
        let (port, controller, folder) = (self.port, self.port + 1, self.folder.display());
        writeln!(
            properties,
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             log.dirs={folder}/log\n{}",
            settings.replace("@port@", &port.to_string()).replace("@controller@", &controller.to_string())
        )
        .map_err(io::Error::other)?;
        fs::write(self.folder.join("server.properties"), properties)?;
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "sh", "java"]);
        command.args(["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg(format!(
            "-Dlog4j2.configurationFile={}/tests/kafka/log4j2.properties",
            env!("CARGO_MANIFEST_DIR")
        ));
        command.arg(format!("-Doutlierd.broker.log={folder}/broker.log"));
        command.arg("-cp").arg(part("kafka/libs").join("*"));
        command.args(["kafka.Kafka", "server.properties"]).current_dir(&self.folder);
        command.stdin(Stdio::piped());
        command.stdout(self.console.try_clone()?).stderr(self.console.try_clone()?);
        self.supervisor = Some(command.spawn()?);
        Ok(())
    }

    /// Kills Java and waits until it is gone.
    fn stop(&mut self) {
        if let Some(mut child) = self.supervisor.take() {
            drop(child.stdin.take());
            child.wait().expect("the supervisor ends");
        }
    }

    /// The ends of the broker's log and console.
    fn logs(&self) -> String {
        let tail = |name: &str| {
            let log = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n"))
        };
        tail("broker.log") + &tail("console.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Removes the data folders that no process holds any more.
fn remove_stale(all: &Path) {
    for entry in fs::read_dir(all).expect("the brokers' folder").flatten() {
        let held = console(&entry.path()).is_ok_and(|file| file.try_lock().is_err());
        if entry.path().is_dir() && !held {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn console(folder: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(folder.join("console.log"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

#[expect(clippy::disallowed_methods, reason = "the tests wait for a real process")]
fn now() -> Instant {
    Instant::now()
}

/// The four requests of Kafka's protocol that the tests need, in versions that all brokers since 2.4 speak.
mod wire {
    use std::io::{self, Read, Write};
    use std::net::{TcpStream, ToSocketAddrs};
    use std::time::Duration;

    const METADATA: (i16, i16) = (3, 4);
    const CREATE_TOPICS: (i16, i16) = (19, 4);
    const CREATE_ACLS: (i16, i16) = (30, 1);
    const TIMEOUT: Duration = Duration::from_secs(15);

    /// How many brokers are up.
    pub(super) fn brokers(bootstrap: &str) -> io::Result<usize> {
        let mut reply = metadata(bootstrap, None)?;
        skip_brokers(&mut reply)
    }

    /// How many partitions of a topic have a leader.
    pub(super) fn led_partitions(bootstrap: &str, topic: &str) -> io::Result<u32> {
        let mut reply = metadata(bootstrap, Some(topic))?;
        skip_brokers(&mut reply)?;
        reply.string()?;
        reply.int32()?;
        let mut led = 0;
        for _ in 0..reply.int32()? {
            check(reply.int16()?, "")?;
            reply.string()?;
            reply.take::<1>()?;
            for _ in 0..reply.int32()? {
                reply.int16()?;
                reply.int32()?;
                led += u32::from(reply.int32()? >= 0);
                for _ in 0..2 {
                    for _ in 0..reply.int32()? {
                        reply.int32()?;
                    }
                }
            }
        }
        Ok(led)
    }

    /// Creates a topic with the broker's own replication factor.
    pub(super) fn create_topic(bootstrap: &str, name: &str, partitions: u32) -> io::Result<()> {
        let mut body = Vec::new();
        body.extend(1_i32.to_be_bytes());
        put_string(&mut body, name);
        body.extend(partitions.to_be_bytes());
        body.extend((-1_i16).to_be_bytes());
        body.extend([0; 8]); // no assignments, no settings
        body.extend(10_000_i32.to_be_bytes());
        body.push(0);
        let mut reply = call(bootstrap, CREATE_TOPICS, &body)?;
        reply.int32()?;
        for _ in 0..reply.int32()? {
            reply.string()?;
            let (code, message) = (reply.int16()?, reply.string()?);
            check(code, &message)?;
        }
        Ok(())
    }

    /// An ACL for a literal name, from any host.
    pub(super) fn allow(
        bootstrap: &str,
        user: &str,
        operation: i8,
        resource: super::Resource<'_>,
    ) -> io::Result<()> {
        let (kind, name) = match resource {
            super::Resource::Topic(name) => (2_u8, name),
            super::Resource::Group(name) => (3, name),
        };
        let mut body = Vec::new();
        body.extend(1_i32.to_be_bytes());
        body.push(kind);
        put_string(&mut body, name);
        body.push(3); // a literal name
        put_string(&mut body, user);
        put_string(&mut body, "*");
        body.extend(operation.to_be_bytes());
        body.push(3); // allowed
        let mut reply = call(bootstrap, CREATE_ACLS, &body)?;
        reply.int32()?;
        for _ in 0..reply.int32()? {
            let (code, message) = (reply.int16()?, reply.string()?);
            check(code, &message)?;
        }
        Ok(())
    }

    fn metadata(bootstrap: &str, topic: Option<&str>) -> io::Result<Reply> {
        let mut body = Vec::new();
        body.extend(i32::from(topic.is_some()).to_be_bytes());
        if let Some(topic) = topic {
            put_string(&mut body, topic);
        }
        body.push(0);
        call(bootstrap, METADATA, &body)
    }

    fn skip_brokers(reply: &mut Reply) -> io::Result<usize> {
        reply.int32()?;
        let brokers = reply.int32()?;
        for _ in 0..brokers {
            reply.int32()?;
            reply.string()?;
            reply.int32()?;
            reply.string()?;
        }
        usize::try_from(brokers).map_err(io::Error::other)
    }

    fn check(code: i16, message: &str) -> io::Result<()> {
        match code {
            0 => Ok(()),
            _ => Err(io::Error::other(format!("error {code} of Kafka's protocol. {message}"))),
        }
    }

    fn put_string(body: &mut Vec<u8>, text: &str) {
        body.extend((text.len() as u16).to_be_bytes());
        body.extend(text.as_bytes());
    }

    /// One request on a connection of its own.
    fn call(bootstrap: &str, (key, version): (i16, i16), body: &[u8]) -> io::Result<Reply> {
        let first = bootstrap.split(',').next().unwrap_or_default();
        let address = first.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such host"))?;
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(0_i32.to_be_bytes());
        put_string(&mut request, "outlierd-tests");
        request.extend(body);
        stream.write_all(&(request.len() as u32).to_be_bytes())?;
        stream.write_all(&request)?;
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let mut reply = Reply { bytes: Vec::new(), at: 0 };
        stream.take(u64::from(u32::from_be_bytes(size))).read_to_end(&mut reply.bytes)?;
        reply.int32()?;
        Ok(reply)
    }

    /// The bytes of an answer, read from the front.
    struct Reply {
        bytes: Vec<u8>,
        at: usize,
    }

    impl Reply {
        fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
            let next = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<N>).copied();
            self.at += N;
            next.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }

        fn int16(&mut self) -> io::Result<i16> {
            self.take().map(i16::from_be_bytes)
        }

        fn int32(&mut self) -> io::Result<i32> {
            self.take().map(i32::from_be_bytes)
        }

        /// A string; an absent one is empty.
        fn string(&mut self) -> io::Result<String> {
            let size = usize::try_from(self.int16()?).unwrap_or(0);
            let text = self.bytes.get(self.at..self.at + size).map(String::from_utf8_lossy).map(String::from);
            self.at += size;
            text.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
    }
}
