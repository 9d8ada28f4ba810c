//! The real binary from topic to topic: events a second and memory, with six partitions and default settings. The broker
//! is librdkafka's mock cluster in this process, or the one that `KAFKA_BROKERS` names (its topics must be creatable).
//! Run: `cargo bench --bench daemon`, and `KAFKA_BROKERS=localhost:9092 cargo bench --bench daemon`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may stop")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outlierd::demo::generate::Generator;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

const PARTITIONS: i32 = 6;
const EVENTS: u64 = 300_000;
/// How far ahead of the daemon's commits the writer goes: the mock cluster keeps little.
const AHEAD_MAX: u64 = 40_000;
const LIMIT: Duration = Duration::from_secs(300);

fn main() {
    let real = std::env::var("KAFKA_BROKERS").ok();
    let mock = real.is_none().then(|| MockCluster::<DefaultProducerContext>::new(1).unwrap());
    let brokers = real.clone().unwrap_or_else(|| mock.as_ref().unwrap().bootstrap_servers());
    let run = std::process::id();
    let (input, alerts, group) =
        (format!("bench-{run}"), format!("bench-alerts-{run}"), format!("bench-{run}"));
    match &mock {
        Some(cluster) => {
            cluster.create_topic(&input, PARTITIONS, 1).unwrap();
            cluster.create_topic(&alerts, 1, 1).unwrap();
        }
        None => create(&brokers, &[(&input, PARTITIONS), (&alerts, 1)]),
    }

    let mut daemon = Command::new(env!("CARGO_BIN_EXE_outlierd"))
        .args(["run", "--set", "admin.listen=", "--set", "sink.dead_letter_topic="])
        .args(["--set", "kafka.commit_interval=100ms", "--set", "log.level=error"])
        .args(["--set", &format!("kafka.brokers={brokers}"), "--set", &format!("kafka.group={group}")])
        .args(["--set", &format!("source.topics=[{input:?}]"), "--set", &format!("sink.topic={alerts}")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("linger.ms", "5")
        .set("sticky.partitioning.linger.ms", "5")
        .create()
        .unwrap();
    let progress = Progress::new(&brokers, &group, &input);
    let start = now();
    let (mut first, mut done) = (None, 0);
    let mut sent = 0;
    let mut events = Generator::new(1, EVENTS).take(usize::try_from(EVENTS).unwrap()).peekable();
    while done < EVENTS {
        while sent < done + AHEAD_MAX
            && let Some(event) = events.next_if(|_| true)
        {
            // One partition after the other: the load is even.
            let partition = i32::try_from(sent % u64::from(PARTITIONS.unsigned_abs())).unwrap();
            let mut record =
                BaseRecord::to(&input).partition(partition).key(&event.key).payload(&event.payload);
            while let Err((_, back)) = producer.send(record) {
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
        done = progress.committed();
        if done > 0 {
            first.get_or_insert((now(), done));
        }
        assert!(daemon.try_wait().unwrap().is_none(), "the daemon has ended");
        assert!(start.elapsed() < LIMIT, "not done in time: {done} of {EVENTS}");
    }
    let (from, before) = first.unwrap();
    let rate = (done - before) as f64 / from.elapsed().as_secs_f64();
    let broker = real.map_or_else(
        || "mock cluster in the bench's process".to_owned(),
        |brokers| format!("broker {brokers}"),
    );
    let (peak, now) = memory(&daemon);
    stop(&mut daemon);
    producer.flush(Duration::from_secs(5)).unwrap();
    println!("{EVENTS} events of about 290 bytes, {PARTITIONS} partitions, default settings, {broker}");
    println!("{:<44}{rate:>10.0}", "events a second, topic to committed");
    println!("{:<44}{peak:>10.0}", "memory of the daemon, peak MB");
    println!("{:<44}{now:>10.0}", "memory of the daemon, at the end MB");
}

/// The group's committed offsets, as the measure of how far the daemon is.
struct Progress {
    consumer: BaseConsumer,
    topic: String,
}

impl Progress {
    fn new(brokers: &str, group: &str, topic: &str) -> Self {
        let consumer =
            ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create().unwrap();
        Self { consumer, topic: topic.to_owned() }
    }

    fn committed(&self) -> u64 {
        let mut asked = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            asked.add_partition(&self.topic, partition);
        }
        let Ok(answer) = self.consumer.committed_offsets(asked, Duration::from_secs(5)) else { return 0 };
        let offsets = answer.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).unwrap_or(0),
            _ => 0,
        });
        offsets.sum()
    }
}

fn create(brokers: &str, topics: &[(&String, i32)]) {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topics: Vec<_> =
        topics.iter().map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(1))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for result in runtime.block_on(client.create_topics(&topics, &AdminOptions::new())).unwrap() {
        result.unwrap();
    }
}

/// Peak and present memory of a process, in MB (10^6 bytes).
fn memory(process: &Child) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1_024.0 / 1e6
    };
    (field("VmHWM:"), field("VmRSS:"))
}

fn stop(daemon: &mut Child) {
    Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
    let status = daemon.wait().unwrap();
    assert!(status.success(), "{status}");
}

#[expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]
fn now() -> Instant {
    Instant::now()
}
