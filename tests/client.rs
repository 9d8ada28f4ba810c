//! What the tests say to a broker and to the binary: topics, records in, alerts out, offsets, a child process.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList, producer::DefaultProducerContext};
use serde_json::Value;

/// Long enough for a first group join on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A name that no other test and no earlier run uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A port that nothing listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[expect(clippy::disallowed_methods, reason = "a test waits for real parts")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until something is there, for as long as `PATIENCE`.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A record as a test reads it back.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap()
    }
}

/// Writes records; partition, key, payload.
pub(crate) fn produce(bootstrap: &str, topic: &str, records: &[(i32, String, Vec<u8>)]) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("linger.ms", "5").create().unwrap();
    for (partition, key, payload) in records {
        let mut record = BaseRecord::to(topic).partition(*partition).key(key).payload(payload);
        while let Err((error, back)) = producer.send(record) {
            assert!(error.to_string().contains("QueueFull"), "{error}");
            record = back;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// All records of a topic of one partition, read until `enough` says so.
pub(crate) fn read_until(bootstrap: &str, topic: &str, enough: impl Fn(&[Got]) -> bool) -> Vec<Got> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", unique("reader"))
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&place).unwrap();
    let mut got = Vec::new();
    wait_for(&format!("enough records in {topic}"), || {
        while let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.unwrap();
            let headers = message.headers().map_or_else(BTreeMap::new, |headers| {
                let text =
                    |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
            });
            let payload = message.payload().unwrap_or_default().to_vec();
            got.push(Got { key: message.key().map(<[u8]>::to_vec), payload, headers });
        }
        enough(&got).then_some(())
    });
    got
}

/// Committed offsets of a group, by partition; what was never committed is not there.
pub(crate) fn committed(
    bootstrap: &str,
    group: &str,
    topic: &str,
    partitions: i32,
) -> BTreeMap<i32, (i64, String)> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", group).create().unwrap();
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions {
        asked.add_partition(topic, partition);
    }
    let Ok(answer) = consumer.committed_offsets(asked, Duration::from_secs(15)) else {
        return BTreeMap::new();
    };
    let offsets = answer.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), (offset, element.metadata().to_owned()))),
        _ => None,
    });
    offsets.collect()
}

/// The binary as a child process; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it with arguments; what it logs goes to a file.
    pub(crate) fn start(arguments: &[String]) -> Self {
        Self::start_with(arguments, Stdio::null(), Stdio::null())
    }

    pub(crate) fn start_with(arguments: &[String], stdin: Stdio, stdout: Stdio) -> Self {
        Self::start_in(&[], arguments, stdin, stdout)
    }

    /// Starts it with variables added to its environment.
    pub(crate) fn start_in(
        environment: &[(&str, &str)],
        arguments: &[String],
        stdin: Stdio,
        stdout: Stdio,
    ) -> Self {
        let log = std::env::temp_dir().join(unique("outlierd-log"));
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_outlierd"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = wait_for("the daemon to end", || self.child.try_wait().unwrap());
        if !status.success() {
            println!("{}", self.log());
        }
        status
    }

    /// Sends SIGTERM and waits.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// The lines of its standard output.
    pub(crate) fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.child.stdout.take().unwrap()).lines().map(Result::unwrap)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        let _left_behind = std::fs::remove_file(&self.log);
    }
}

/// The arguments of `outlierd run` for a Kafka topic.
pub(crate) fn run_arguments(bootstrap: &str, group: &str, topic: &str, sets: &[(&str, &str)]) -> Vec<String> {
    let mut arguments = vec!["run".to_owned()];
    let mut set = |key: &str, value: &str| arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    set("kafka.brokers", bootstrap);
    set("kafka.group", group);
    set("source.topics", &format!("[{topic:?}]"));
    set("admin.listen", "");
    for (key, value) in sets {
        set(key, value);
    }
    arguments
}
