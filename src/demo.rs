//! Shows the main job: a stream with planted anomalies goes into a broker, the daemon's own path reads it, and what
//! comes out on the alert topic is held against what was planted.
//!
//! The broker is librdkafka's mock cluster inside this process, or a real one. Nothing else differs from a production
//! run: the same consumer, pipeline and producer on their default configuration.

mod dice;
pub mod generate;
pub mod scoreboard;
mod traffic;

use std::io::{self, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::config::{Config, ConfigError};
use crate::daemon::{self, Progress, Stop};
use generate::Topic;
use scoreboard::{Matched, Scoreboard};
use traffic::{AlertReader, Heard};

/// What the operator of the demo's shop asks for: about as much as is planted.
const BUDGET: &str = "1 in 600";
/// Partitions of each topic of the demo.
const PARTITIONS: i32 = 3;
/// How often the terminal hears of progress while nothing else happens.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long the alert topic has to be quiet, all events judged, before the demo is over.
const QUIET: Duration = Duration::from_millis(700);
/// Without a newly judged event for so long, something is wrong.
const STUCK: Duration = Duration::from_secs(60);

/// What the operator asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A real broker; none: one inside this process.
    pub brokers: Option<String>,
    /// Events to write.
    pub events: u64,
    /// Seed of the stream.
    pub seed: u64,
    /// Whether the last line is to be a JSON object.
    pub json: bool,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The configuration, from the environment, does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon ended with an error.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// The broker did not do as asked.
    #[error("{0}")]
    Broker(String),
    /// The terminal has gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// The three topics of one run.
struct Topics {
    logs: String,
    payments: String,
    alerts: String,
    dead_letters: String,
}

impl Topics {
    /// On a real broker a run has topics of its own, so that an earlier one is no part of its stream.
    fn new(settings: &Settings) -> Self {
        let run = settings.brokers.as_ref().map_or_else(String::new, |_| format!(".{}", std::process::id()));
        let name = |what: &str| format!("demo.{what}{run}");
        Self {
            logs: name("logs"),
            payments: name("payments"),
            alerts: name("alerts"),
            dead_letters: name("dead-letters"),
        }
    }

    fn of(&self, topic: Topic) -> &str {
        match topic {
            Topic::Logs => &self.logs,
            Topic::Payments => &self.payments,
        }
    }

    fn named(&self, name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| self.of(*topic) == name)
    }
}

/// A broker, for as long as this lives.
enum Broker {
    Here(MockCluster<'static, DefaultProducerContext>),
    There(String),
}

impl Broker {
    fn start(settings: &Settings, topics: &Topics) -> Result<Self, DemoError> {
        let wanted = [
            (&topics.logs, PARTITIONS),
            (&topics.payments, PARTITIONS),
            (&topics.alerts, 1),
            (&topics.dead_letters, 1),
        ];
        let broken = |error: rdkafka::error::KafkaError| DemoError::Broker(format!("broker: {error}"));
        if let Some(brokers) = &settings.brokers {
            traffic::create_topics(brokers, &wanted)?;
            return Ok(Self::There(brokers.clone()));
        }
        let cluster = MockCluster::new(1).map_err(broken)?;
        for (name, partitions) in wanted {
            cluster.create_topic(name, partitions, 1).map_err(broken)?;
        }
        Ok(Self::Here(cluster))
    }

    fn bootstrap(&self) -> String {
        match self {
            Self::Here(cluster) => cluster.bootstrap_servers(),
            Self::There(brokers) => brokers.clone(),
        }
    }
}

/// Runs the demo, telling it on standard output.
///
/// # Errors
/// When broker, daemon or terminal fail.
pub fn run(settings: &Settings) -> Result<(), DemoError> {
    let topics = Arc::new(Topics::new(settings));
    let broker = Broker::start(settings, &topics)?;
    let config = config(&broker, &topics)?;
    daemon::log(&crate::config::LogConfig { level: "error".into(), text: Some(true) });
    let (stop, progress) = (Stop::default(), Arc::new(Progress::default()));
    let scoreboard = Arc::new(Mutex::new(Scoreboard::new()));

    let worker = {
        let (config, stop, progress) = (config.clone(), stop.clone(), Arc::clone(&progress));
        thread::Builder::new()
            .name("demo-daemon".into())
            .spawn(move || daemon::run_watched(&config, &stop, &progress))
            .map_err(DemoError::Output)?
    };
    let writer = traffic::write(settings, &broker.bootstrap(), &topics, &scoreboard, &progress, &stop)?;
    let mut reader = AlertReader::new(&broker.bootstrap(), &topics.alerts)?;
    let mut told = Told::new(settings.events, config.pipeline.detect.warmup_events, Arc::clone(&progress));
    told.opening(&broker)?;
    while !told.is_over() && !worker.is_finished() && !stop.is_set() {
        for heard in reader.poll()? {
            told.alert(&heard, &topics, &scoreboard)?;
        }
        told.progress()?;
    }
    let stuck = told.is_stuck();
    stop.set();
    let ended = worker.join().unwrap_or_else(|_| Err(daemon::Error::Internal("the daemon broke".into())));
    writer.join().unwrap_or_else(|_| Err(DemoError::Broker("the writer broke".into())))?;
    ended?;
    if stuck {
        return Err(DemoError::Broker(format!("no event was judged for {STUCK:?}; is the broker well?")));
    }
    told.closing(&scoreboard, settings.json)
}

fn config(broker: &Broker, topics: &Topics) -> Result<Config, ConfigError> {
    let set = |key: &str, value: String| (key.to_owned(), value);
    let mut sets = vec![
        set("kafka.brokers", broker.bootstrap()),
        set("kafka.group", format!("outlierd-demo-{}", std::process::id())),
        set("source.kind", "kafka".into()),
        set("source.topics", format!("[{:?}, {:?}]", topics.logs, topics.payments)),
        set("sink.kind", "kafka".into()),
        set("sink.topic", topics.alerts.clone()),
        set("sink.dead_letter_topic", topics.dead_letters.clone()),
        set("alert.budget", BUDGET.to_owned()),
        set("admin.listen", String::new()),
    ];
    if let Broker::Here(_) = broker {
        // A real broker answers a waiting fetch when a record comes, the mock cluster only when the wait is over.
        sets.push(set("kafka.options", "{\"fetch.wait.max.ms\" = 20}".into()));
    }
    Config::load(None, &sets)
}

/// What the terminal was told, and what there still is to tell.
struct Told {
    events: u64,
    warmup: u64,
    progress: Arc<Progress>,
    /// When the first event was judged, and how many had been by then.
    first: Option<(Instant, u64)>,
    /// When the last newly judged event was noticed, and how many there were.
    last: (Instant, u64),
    heard: Instant,
    said: Instant,
    warm: bool,
}

impl Told {
    fn new(events: u64, warmup: u64, progress: Arc<Progress>) -> Self {
        let (last, heard, said) = ((now(), 0), now(), now());
        Self { events, warmup, progress, first: None, last, heard, said, warm: false }
    }

    fn done(&self) -> u64 {
        self.progress.judged.load(Ordering::Relaxed) + self.progress.rejected.load(Ordering::Relaxed)
    }

    /// All events judged, and the alert topic quiet since.
    fn is_over(&self) -> bool {
        let quiet = self.heard.elapsed() > QUIET && self.last.0.elapsed() > QUIET;
        (self.last.1 >= self.events && quiet) || self.is_stuck()
    }

    fn is_stuck(&self) -> bool {
        self.last.1 < self.events && self.last.0.elapsed() > STUCK
    }

    fn events_per_second(&self) -> f64 {
        self.first.map_or(0.0, |(at, count)| {
            (self.last.1 - count) as f64 / (self.last.0 - at).as_secs_f64().max(1e-3)
        })
    }

    fn opening(&self, broker: &Broker) -> io::Result<()> {
        let place = match broker {
            Broker::Here(_) => format!("a Kafka-protocol broker inside this process, {}", broker.bootstrap()),
            Broker::There(brokers) => format!("the broker {brokers}"),
        };
        say(&format!(
            "outlierd demo: {} events, service logs and card payments, through {place}\n\
             Planted: new messages, wrong amounts for a customer, rare combinations, bursts. Nobody tells the daemon.\n",
            self.events
        ))
    }

    fn progress(&mut self) -> io::Result<()> {
        let done = self.done();
        if done > self.last.1 {
            if self.first.is_none() {
                self.first = Some((now(), done));
                self.said = now();
                say(&format!(
                    "  … warming up: no partition alerts before it has judged {} events\n",
                    self.warmup
                ))?;
            }
            self.last = (now(), done);
        }
        if self.said.elapsed() < PROGRESS || done >= self.events {
            return Ok(());
        }
        self.said = now();
        let lanes = self.progress.lanes();
        let warm = lanes.iter().filter(|lane| lane.warm).count();
        if done == 0 {
            return say("  … waiting for partitions\n");
        }
        if !self.warm && warm < lanes.len() {
            return say(&format!(
                "  … warming up: {done} events judged, {warm} of {} partitions may alert\n",
                lanes.len()
            ));
        }
        self.warm = true;
        say(&format!("  … {done} of {} events judged\n", self.events))
    }

    fn alert(&mut self, heard: &Heard, topics: &Topics, scoreboard: &Mutex<Scoreboard>) -> io::Result<()> {
        self.heard = now();
        let place = format!("{}[{}]@{}", heard.topic, heard.partition, heard.offset);
        if heard.closed {
            return say(&format!("  closed  {place}: {} events in all\n", heard.count));
        }
        let topic = topics.named(&heard.topic);
        let matched = topic.map(|topic| {
            let mut scoreboard = scoreboard.lock().unwrap_or_else(PoisonError::into_inner);
            scoreboard.alert(topic, heard.partition, heard.offset, heard.count)
        });
        let mark = match &matched {
            Some(Matched::Found(planted)) => format!("planted: {}", planted.kind.name()),
            Some(Matched::Repeat(planted)) => format!("planted: {}, again", planted.kind.name()),
            Some(Matched::False) | None => "not planted".to_owned(),
        };
        say(&format!("  ALERT   {place} ({mark}): {}\n", heard.message))
    }

    fn closing(&self, scoreboard: &Mutex<Scoreboard>, json: bool) -> Result<(), DemoError> {
        let scoreboard = scoreboard.lock().unwrap_or_else(PoisonError::into_inner);
        let (rate, summary) = (self.events_per_second(), scoreboard.summary());
        say(&format!("\n{}\n{rate:.0} events a second, from topic to topic\n", summary.table()))?;
        if json {
            say(&format!("{}\n", summary.json(self.last.1, rate)))?;
        }
        Ok(())
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[expect(clippy::disallowed_methods, reason = "the demo tells a person how fast it went")]
fn now() -> Instant {
    Instant::now()
}
