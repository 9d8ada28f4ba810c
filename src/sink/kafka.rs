//! Alerts and dead letters to Kafka topics, at least once and, by their ids, exactly once for a reader who cares.
//!
//! Each piece travels as a parcel with its number. What the broker holds is acknowledged; what it did not take comes
//! back, waits in its old place and is sent again for as long as it takes, with the status saying so. A parcel that is
//! too large is made smaller. Nothing is dropped, and nothing is acknowledged on any ground but a delivery report.
//! Alerts take the time of writing as their message's time, so that a topic's retention does not eat alerts on old
//! events; dead letters keep their record's.

mod client;
pub mod rights;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::{Acks, Outgoing, Provenance, SinkError, Status, wire};
pub use client::refuses;
use client::{Context, Producer, Report, Sight};

/// Parcels held at once; above it the sink takes no more, and the shards wait.
const HELD_MAX: usize = 4_096;

/// How long a missing topic may take to appear at the start: brokers learn of a new topic one by one.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one look at the cluster may take.
const LOOK: Duration = Duration::from_secs(1);

/// First and longest pause before what failed is sent again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A parcel that is refused as too large below this many bytes will not fit at all.
const SMALLEST: usize = 1_024;

/// What the sink needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Addresses of brokers, `host:port` separated by commas.
    pub brokers: String,
    /// Where alerts go.
    pub alerts_topic: String,
    /// Where records that cannot be read go; without it they are counted and acknowledged.
    pub dead_letter_topic: Option<String>,
    /// librdkafka options for the producer, passed on as they are.
    pub options: BTreeMap<String, String>,
    /// Largest body of an alert and largest dead letter, in bytes; at least [`wire::alert::BODY_MIN`]. Topics must
    /// take 100 000 bytes more, for key and headers.
    pub message_max: usize,
    /// How long delivery may take once the shards have gone.
    pub flush_timeout: Duration,
}

impl fmt::Debug for Settings {
    /// Names the options and hides their values: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("alerts_topic", &self.alerts_topic)
            .field("dead_letter_topic", &self.dead_letter_topic)
            .field("options", &self.options.keys())
            .field("message_max", &self.message_max)
            .field("flush_timeout", &self.flush_timeout)
            .finish()
    }
}

impl Settings {
    /// Whether a producer could be made of these, without making one.
    ///
    /// # Errors
    /// [`SinkError::Settings`] with what to correct; values of options are not shown.
    pub fn check(&self) -> Result<(), SinkError> {
        let wrong = |what: String| Err(SinkError::Settings(what));
        if self.brokers.trim().is_empty() {
            return wrong(
                "no Kafka brokers for the sink; set brokers, such as \"localhost:9092\"".to_owned(),
            );
        }
        for topic in [Some(&self.alerts_topic), self.dead_letter_topic.as_ref()].into_iter().flatten() {
            self::topic(topic).map_err(SinkError::Settings)?;
        }
        if self.message_max < wire::alert::BODY_MIN || self.message_max > 900_000_000 {
            return wrong(format!("message size {}; set between 16 KiB and 900 MB", self.message_max));
        }
        client::config(self).map(|_| ())
    }
}

/// Whether a Kafka topic can have this name.
///
/// # Errors
/// When not, with the rule.
pub fn topic(name: &str) -> Result<(), String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 249 || !name.chars().all(known) || [".", ".."].contains(&name) {
        let rule = "use 1 to 249 letters, digits, dots, dashes and underscores";
        return Err(format!("not a Kafka topic: {name:?}; {rule}"));
    }
    Ok(())
}

/// Delivers until `outgoing` disconnects and the last report is in.
///
/// # Errors
/// For settings that cannot work, a topic that is missing or forbidden at the start, a record that a topic refuses for
/// good, and what is undelivered when the deadline passes. A broker that is down is none: the sink waits.
pub fn run(
    settings: &Settings,
    provenance: &Provenance,
    outgoing: Receiver<Outgoing>,
    acks: Acks,
    status: Arc<Status>,
) -> Result<(), SinkError> {
    settings.check()?;
    let (report_to, reports) = crossbeam_channel::bounded(HELD_MAX);
    let down = Arc::new(AtomicBool::new(false));
    let context =
        Context { reports: report_to.clone(), status: Arc::clone(&status), down: Arc::clone(&down) };
    let producer = client::producer(settings, context)?;
    let start = now();
    let courier = Courier {
        settings,
        provenance,
        acks,
        status,
        producer,
        carrier: 0,
        report_to,
        reports,
        down,
        waiting: VecDeque::new(),
        flying: 0,
        taken: 0,
        reachable: false,
        started: false,
        asked: start,
        pause: PAUSES.0,
        resume: start,
    };
    courier.run(outgoing)
}

/// An alert or a dead letter on its way.
pub(super) struct Parcel {
    outgoing: Outgoing,
    /// Place in the order in which the shards gave them.
    number: u64,
    /// Most bytes it may have.
    limit: usize,
    /// Bytes it had when it was last sent.
    size: usize,
    /// Whether a dead letter's time can be its message's time.
    timed: bool,
    /// Number of the producer that carried it last.
    carrier: u64,
}

/// Why the producer did not take a parcel.
type Refusal = (Code, Box<Parcel>);

struct Courier<'a> {
    settings: &'a Settings,
    provenance: &'a Provenance,
    acks: Acks,
    status: Arc<Status>,
    producer: Producer,
    /// Number of the producer: it is replaced after a fatal error.
    carrier: u64,
    report_to: Sender<Report>,
    reports: Receiver<Report>,
    /// Set by librdkafka when no broker can be reached.
    down: Arc<AtomicBool>,
    /// To be sent, in order.
    waiting: VecDeque<Box<Parcel>>,
    /// Sent and not yet reported.
    flying: usize,
    taken: u64,
    /// Whether the topics were there at the last look, and nothing has failed since.
    reachable: bool,
    /// Whether they ever were.
    started: bool,
    /// Since when a cluster that answers has been asked for its topics.
    asked: Instant,
    /// Length of the next pause.
    pause: Duration,
    /// When the present one ends.
    resume: Instant,
}

impl Courier<'_> {
    fn run(mut self, outgoing: Receiver<Outgoing>) -> Result<(), SinkError> {
        let mut outgoing = Some(outgoing);
        let mut deadline = None;
        let never = crossbeam_channel::never();
        loop {
            self.look()?;
            self.send()?;
            self.status.set_waiting(self.held());
            if deadline.is_some() && self.held() == 0 {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                let seconds = self.settings.flush_timeout.as_secs();
                return Err(SinkError::Unflushed { count: self.held(), seconds });
            }
            let open = outgoing.as_ref().filter(|_| self.held() < HELD_MAX).unwrap_or(&never);
            let idle = self.idle(deadline);
            select! {
                recv(open) -> given => {
                    if let Ok(given) = given {
                        self.take(given);
                    } else {
                        outgoing = None;
                        deadline = Some(now() + self.settings.flush_timeout);
                    }
                }
                recv(self.reports) -> report => {
                    if let Ok(report) = report {
                        self.settle(report)?;
                    }
                }
                default(idle) => {}
            }
        }
    }

    fn held(&self) -> usize {
        self.flying + self.waiting.len()
    }

    /// How long nothing need be done.
    fn idle(&self, deadline: Option<Instant>) -> Duration {
        let mut until = now() + Duration::from_secs(1);
        if !self.reachable || !self.waiting.is_empty() {
            until = until.min(self.resume);
        }
        until.min(deadline.unwrap_or(until)).saturating_duration_since(now())
    }

    fn take(&mut self, outgoing: Outgoing) {
        if let Outgoing::Reject { shard, ticket, .. } = &outgoing
            && self.settings.dead_letter_topic.is_none()
        {
            self.status.count(&outgoing);
            self.acks.published(*shard, ticket.clone());
            return;
        }
        let (number, limit) = (self.taken, self.settings.message_max);
        self.taken += 1;
        self.waiting.push_back(Box::new(Parcel {
            outgoing,
            number,
            limit,
            size: 0,
            timed: true,
            carrier: self.carrier,
        }));
    }

    /// Makes sure that the topics are there, when that is in doubt and it is time to look.
    fn look(&mut self) -> Result<(), SinkError> {
        if self.down.swap(false, Ordering::Relaxed) {
            self.reachable = false;
        }
        if self.reachable || now() < self.resume {
            return Ok(());
        }
        let topics = [Some(&self.settings.alerts_topic), self.settings.dead_letter_topic.as_ref()];
        for topic in topics.into_iter().flatten().cloned().collect::<Vec<_>>() {
            let trouble = match client::look(&self.producer, &topic, LOOK) {
                Sight::Present => continue,
                Sight::Forbidden if !self.started => return Err(SinkError::Forbidden { topic }),
                Sight::Missing if !self.started && now() >= self.asked + PATIENCE => {
                    return Err(SinkError::MissingTopic { topic });
                }
                Sight::Forbidden => format!("not allowed to write topic {topic}"),
                Sight::Missing => format!("topic {topic} missing"),
                Sight::Unknown(why) => {
                    // Patience is with a cluster that answers; it begins anew when none does.
                    self.asked = now();
                    why
                }
            };
            self.trouble(&trouble);
            return Ok(());
        }
        (self.reachable, self.started) = (true, true);
        self.down.store(false, Ordering::Relaxed);
        if self.waiting.is_empty() {
            self.pause = PAUSES.0;
        }
        // After a failed delivery only a delivery shows that all is well.
        if self.pause == PAUSES.0 {
            self.status.recovered();
        }
        Ok(())
    }

    /// Sends what waits, in order, unless it is not the time.
    fn send(&mut self) -> Result<(), SinkError> {
        while self.reachable && now() >= self.resume {
            let Some(parcel) = self.waiting.pop_front() else { break };
            match self.transmit(parcel) {
                Ok(()) => self.flying += 1,
                Err((Code::QueueFull, parcel)) => {
                    self.waiting.push_front(parcel);
                    self.resume = now() + PAUSES.0;
                }
                Err((code, parcel)) => self.again(code, parcel)?,
            }
        }
        Ok(())
    }

    fn transmit(&self, mut parcel: Box<Parcel>) -> Result<(), Refusal> {
        parcel.carrier = self.carrier;
        match &parcel.outgoing {
            Outgoing::Alert { alert, .. } => {
                let message = wire::alert::message(alert, self.provenance, parcel.limit);
                let headers: Vec<_> = message
                    .headers
                    .iter()
                    .map(|(name, value)| (*name, Some(value.as_bytes().to_vec())))
                    .collect();
                let topic = self.settings.alerts_topic.as_str();
                self.hand_over(parcel, topic, Some(&message.key), Some(&message.body), &headers, None)
            }
            Outgoing::Reject { shard, record, rejection, .. } => {
                let (shard, origin, rejection) = (*shard, record.origin.clone(), rejection.clone());
                let record = Arc::clone(&record.value);
                let (provenance, limit) = (self.provenance, parcel.limit);
                let mut letter =
                    wire::reject::dead_letter(&record, &origin, &rejection, provenance, shard, limit);
                if !parcel.timed {
                    letter.timestamp = None;
                    letter
                        .headers
                        .push((wire::reject::TIMESTAMP, Some(origin.time.0.to_string().into_bytes())));
                }
                let topic = self.settings.dead_letter_topic.as_deref().unwrap_or_default();
                self.hand_over(parcel, topic, letter.key, letter.payload, &letter.headers, letter.timestamp)
            }
        }
    }

    fn hand_over(
        &self,
        mut parcel: Box<Parcel>,
        topic: &str,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: &[(&str, Option<Vec<u8>>)],
        timestamp: Option<i64>,
    ) -> Result<(), Refusal> {
        let mut kept = OwnedHeaders::new_with_capacity(headers.len());
        parcel.size = key.map_or(0, <[u8]>::len) + payload.map_or(0, <[u8]>::len);
        for (name, value) in headers {
            parcel.size += name.len() + value.as_ref().map_or(0, Vec::len);
            // A name with a NUL in it would end there, or end us.
            let name = name.replace('\0', "\u{fffd}");
            kept = kept.insert(Header { key: &name, value: value.as_deref() });
        }
        let record = BaseRecord {
            topic,
            partition: None,
            payload,
            key,
            timestamp,
            headers: Some(kept),
            delivery_opaque: parcel,
        };
        self.producer.send(record).map_err(|(error, record)| {
            let code = match error {
                KafkaError::MessageProduction(code) => code,
                _ => Code::InvalidArgument,
            };
            (code, record.delivery_opaque)
        })
    }

    fn settle(&mut self, report: Report) -> Result<(), SinkError> {
        self.flying -= 1;
        let Some(code) = report.error else {
            self.status.count(&report.parcel.outgoing);
            let (Outgoing::Alert { shard, ticket, .. } | Outgoing::Reject { shard, ticket, .. }) =
                report.parcel.outgoing;
            self.acks.published(shard, ticket);
            self.pause = PAUSES.0;
            if self.reachable && !self.status.ready() {
                self.status.recovered();
            }
            return Ok(());
        };
        self.again(code, report.parcel)
    }

    /// Puts a parcel that was not delivered back into its place, changed where it would fail again.
    fn again(&mut self, code: Code, mut parcel: Box<Parcel>) -> Result<(), SinkError> {
        match code {
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                parcel.limit = parcel.limit.min(parcel.size) / 2;
                if parcel.limit < SMALLEST {
                    return Err(self.refused(&parcel, code));
                }
            }
            Code::InvalidTimestamp if parcel.timed && matches!(parcel.outgoing, Outgoing::Reject { .. }) => {
                parcel.timed = false;
            }
            Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::UnsupportedForMessageFormat
            | Code::InvalidTopic => {
                return Err(self.refused(&parcel, code));
            }
            Code::Fatal if parcel.carrier == self.carrier => {
                self.trouble("fatal producer error; starting a new producer");
                self.replace()?;
            }
            Code::Fatal | Code::PurgeQueue | Code::PurgeInflight | Code::InvalidDifferentRecord => {}
            code => self.trouble(&format!("not delivered: {code}")),
        }
        let place = self.waiting.partition_point(|other| other.number < parcel.number);
        self.waiting.insert(place, parcel);
        Ok(())
    }

    fn refused(&self, parcel: &Parcel, code: Code) -> SinkError {
        let topic = match &parcel.outgoing {
            Outgoing::Alert { .. } => Some(&self.settings.alerts_topic),
            Outgoing::Reject { .. } => self.settings.dead_letter_topic.as_ref(),
        };
        SinkError::Refused { topic: topic.cloned().unwrap_or_default(), reason: code.to_string() }
    }

    /// A new producer for one that can do no more. The old one reports all that it held as purged.
    fn replace(&mut self) -> Result<(), SinkError> {
        let context = Context {
            reports: self.report_to.clone(),
            status: Arc::clone(&self.status),
            down: Arc::clone(&self.down),
        };
        self.producer = client::producer(self.settings, context)?;
        self.carrier += 1;
        Ok(())
    }

    /// Notes a failure and begins a pause, longer than the last; what fails during a pause does not prolong it.
    fn trouble(&mut self, what: &str) {
        self.reachable = false;
        self.status.troubled(what);
        let now = now();
        if now >= self.resume {
            self.resume = now + self.pause;
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge that waits for brokers")]
fn now() -> Instant {
    Instant::now()
}
