//! An alert's wire form: `CloudEvents` 1.0 attributes around a JSON body with Elastic Common Schema names.
//!
//! The id is made of topic, partition, offset and phase, and the body of the alert and of the configuration that made
//! it, so an alert raised twice for one record is the same bytes twice and a reader can drop the second. What nobody gave
//! a time has none here either: no clock may stand in for it, and 1970 would be a lie. The size has a bound, because a broker refuses what is too large and the offset behind it could never be committed: the payload
//! goes first, then neighbours, then reasons, and `outlierd.truncated` says so.

use std::cell::Cell;

use serde::Serialize;

use super::{base64, cut, field_name, finite, sentence, stamp};
use crate::flow::{Alert, Lane, Phase};
use crate::sink::Provenance;

/// Smallest bound on a body that any alert can keep.
pub const BODY_MIN: usize = 16 * 1024;

/// Version of the Elastic Common Schema whose names the body uses.
const ECS: &str = "8.17.0";

/// Surprise, in nats, at which `event.risk_score_norm` has come 63 % of its way from 0 to 100.
const RISK_SCALE: f64 = 10.0;

/// Keys up to this length name the alert's subject; others, and keys that are not text, leave it to the offset.
const SUBJECT_MAX: usize = 256;

/// A key longer than this is not an alert's key: the lane's name is.
const KEY_MAX: usize = 32 * 1024;

/// An alert as a message: what a broker is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Equal for every copy of this alert, and for no other.
    pub id: String,
    /// The source record's key, or `topic-partition` where there is none.
    pub key: Vec<u8>,
    /// `CloudEvents` attributes in binary mode: names and values.
    pub headers: Vec<(&'static str, String)>,
    /// One JSON object.
    pub body: Vec<u8>,
}

/// The alert as a Kafka message in the binary mode of `CloudEvents`, its body no longer than `max` bytes (as far as
/// `max` is at least [`BODY_MIN`]).
pub fn message(alert: &Alert, provenance: &Provenance, max: usize) -> Message {
    let attributes = Attributes::of(alert);
    let body = fitted(alert, provenance, &attributes, false, max);
    let mut headers = vec![
        ("ce_specversion", attributes.specversion.to_owned()),
        ("ce_id", attributes.id.clone()),
        ("ce_type", attributes.kind.to_owned()),
        ("ce_source", attributes.source),
    ];
    headers.extend(attributes.time.map(|time| ("ce_time", time)));
    headers.extend([("ce_subject", attributes.subject), ("content-type", "application/json".to_owned())]);
    let lane = &alert.origin.lane;
    let key = match &alert.record.key {
        Some(key) if key.len() <= KEY_MAX => key.clone(),
        _ => format!("{}-{}", lane.topic, lane.partition).into_bytes(),
    };
    Message { id: attributes.id, key, headers, body }
}

/// The alert as one line of JSON: the body of [`message`] with the attributes of its headers in a top-level object
/// named `cloudevent`, and a line feed.
pub fn line(alert: &Alert, provenance: &Provenance, max: usize) -> Vec<u8> {
    let mut line = fitted(alert, provenance, &Attributes::of(alert), true, max.saturating_sub(1));
    line.push(b'\n');
    line
}

/// `event.risk_score_norm` of a surprise in nats: 100 (1 - e^(-surprise / 10)), to one decimal. It rises with the
/// surprise and with nothing else: one event in a thousand reaches 50, one in ten thousand 60, one in 10^10 90.
pub fn risk_norm(surprise: f64) -> f64 {
    let risk = 100.0 * -(-finite(surprise).max(0.0) / RISK_SCALE).exp_m1();
    (risk * 10.0).round() / 10.0
}

/// The attributes of `CloudEvents` 1.0.
#[derive(Serialize)]
struct Attributes {
    specversion: &'static str,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    subject: String,
    datacontenttype: &'static str,
}

impl Attributes {
    fn of(alert: &Alert) -> Self {
        let lane = &alert.origin.lane;
        let opened = format!("{}-{}-{}", lane.topic, lane.partition, alert.origin.offset);
        let (id, kind, time) = match alert.phase {
            Phase::Opened => (opened, "io.outlierd.incident.opened", alert.origin.time),
            Phase::Closed => (format!("{opened}-closed"), "io.outlierd.incident.closed", alert.last_time),
        };
        let key = alert.record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let subject = match key {
            Some(key) if !key.is_empty() && key.len() <= SUBJECT_MAX && !key.contains(char::is_control) => {
                key.to_owned()
            }
            _ => alert.origin.offset.to_string(),
        };
        let source = source(lane);
        Self {
            specversion: "1.0",
            id,
            kind,
            source,
            time: stamp(time),
            subject,
            datacontenttype: "application/json",
        }
    }
}

/// The lane as a URI reference (RFC 3986): what a path may not hold is percent-encoded.
fn source(lane: &Lane) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut path = String::new();
    for byte in lane.topic.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let digits = [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
            path.extend(['%', digits[0], digits[1]]);
        }
    }
    format!("/outlierd/{path}/{}", lane.partition)
}

/// How much of an alert is told.
#[derive(Clone, Copy)]
struct Allowance {
    /// Bytes of the payload.
    original: usize,
    neighbours: usize,
    reasons: usize,
    channels: usize,
    /// Bytes of any other text.
    text: usize,
}

/// From the whole to the least, tried in order until the body fits.
const ALLOWANCES: [Allowance; 9] = [
    Allowance { original: 65_536, neighbours: 16, reasons: 16, channels: 256, text: 4_096 },
    Allowance { original: 16_384, neighbours: 16, reasons: 16, channels: 256, text: 4_096 },
    Allowance { original: 4_096, neighbours: 16, reasons: 16, channels: 256, text: 4_096 },
    Allowance { original: 1_024, neighbours: 16, reasons: 16, channels: 256, text: 1_024 },
    Allowance { original: 0, neighbours: 16, reasons: 16, channels: 256, text: 1_024 },
    Allowance { original: 0, neighbours: 3, reasons: 16, channels: 64, text: 512 },
    Allowance { original: 0, neighbours: 0, reasons: 8, channels: 64, text: 512 },
    Allowance { original: 0, neighbours: 0, reasons: 1, channels: 8, text: 128 },
    Allowance { original: 0, neighbours: 0, reasons: 0, channels: 0, text: 64 },
];

fn fitted(
    alert: &Alert,
    provenance: &Provenance,
    attributes: &Attributes,
    inside: bool,
    max: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for allowance in ALLOWANCES {
        let cutter = Cutter { allowance, cut: Cell::new(false) };
        let mut body = cutter.body(alert, provenance, attributes);
        body.cloudevent = inside.then_some(attributes);
        body.outlierd.truncated = cutter.cut.get();
        // Texts, numbers and lists of them: nothing in a body can fail to be JSON.
        bytes = serde_json::to_vec(&body).unwrap_or_default();
        if bytes.len() <= max {
            break;
        }
    }
    bytes
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "@timestamp", skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    message: String,
    ecs: Ecs,
    event: EventPart<'a>,
    rule: Rule,
    outlierd: Detail<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloudevent: Option<&'a Attributes>,
}

#[derive(Serialize)]
struct Ecs {
    version: &'static str,
}

#[derive(Serialize)]
struct EventPart<'a> {
    kind: &'static str,
    action: &'static str,
    id: &'a str,
    module: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    risk_score: f64,
    risk_score_norm: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    original: Option<&'a str>,
}

#[derive(Serialize)]
struct Rule {
    name: String,
    description: &'static str,
}

#[derive(Serialize)]
struct Detail<'a> {
    incident: Incident,
    surprise: f64,
    threshold: f64,
    budget: &'a str,
    channels: Vec<ChannelPart<'a>>,
    reasons: Vec<ReasonPart<'a>>,
    neighbours: Vec<NeighbourPart<'a>>,
    source: Source<'a>,
    seen: u64,
    service: &'a str,
    model: &'a str,
    config: &'a str,
    embedder: &'a str,
    version: &'a str,
    truncated: bool,
}

#[derive(Serialize)]
struct Incident {
    id: String,
    count: u64,
    first_offset: i64,
    last_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_time: Option<String>,
}

#[derive(Serialize)]
struct ChannelPart<'a> {
    channel: &'static str,
    field: &'a str,
    score: f64,
    surprise: f64,
}

#[derive(Serialize)]
struct ReasonPart<'a> {
    channel: &'static str,
    field: &'a str,
    value: &'a str,
    expected: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
}

#[derive(Serialize)]
struct NeighbourPart<'a> {
    channel: &'static str,
    field: &'a str,
    text: &'a str,
    distance: f64,
    offset: i64,
    count: u64,
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    payload_bytes: usize,
}

/// Makes bodies within an allowance, and remembers whether it had to cut.
struct Cutter {
    allowance: Allowance,
    cut: Cell<bool>,
}

impl Cutter {
    fn body<'a>(&self, alert: &'a Alert, provenance: &'a Provenance, attributes: &'a Attributes) -> Body<'a> {
        let verdict = &alert.verdict;
        let payload = alert.record.payload.as_deref().unwrap_or_default();
        let original =
            std::str::from_utf8(payload).ok().map(|text| self.shorten(text, self.allowance.original));
        let closed = alert.phase == Phase::Closed;
        let message = sentence(alert);
        Body {
            timestamp: attributes.time.as_deref(),
            message: self.text(&message).to_owned(),
            ecs: Ecs { version: ECS },
            event: EventPart {
                kind: "alert",
                action: if closed { "incident-closed" } else { "incident-opened" },
                id: &attributes.id,
                module: "outlierd",
                start: stamp(alert.origin.time),
                end: closed.then(|| stamp(alert.last_time)).flatten(),
                risk_score: finite(verdict.surprise),
                risk_score_norm: risk_norm(verdict.surprise),
                original: original.filter(|text| !text.is_empty()),
            },
            rule: self.rule(alert),
            outlierd: self.detail(alert, provenance),
            cloudevent: None,
        }
    }

    fn detail<'a>(&self, alert: &'a Alert, provenance: &'a Provenance) -> Detail<'a> {
        let verdict = &alert.verdict;
        let (reasons, neighbours) = self.evidence(alert);
        Detail {
            incident: Incident {
                id: format!(
                    "{}-{}-{}",
                    alert.origin.lane.topic, alert.origin.lane.partition, alert.origin.offset
                ),
                count: alert.count,
                first_offset: alert.origin.offset,
                last_offset: alert.last_offset,
                last_time: stamp(alert.last_time),
            },
            surprise: finite(verdict.surprise),
            threshold: finite(verdict.threshold),
            budget: self.text(&provenance.budget),
            channels: self.channels(alert),
            reasons,
            neighbours,
            source: self.source(alert, provenance),
            seen: verdict.seen,
            service: self.text(&provenance.service),
            model: self.text(&provenance.model),
            config: self.text(&provenance.config),
            embedder: self.text(&provenance.embedder),
            version: self.text(&provenance.version),
            truncated: false,
        }
    }

    /// The way of being strange that weighs most, as a rule's name that many alerts share.
    fn rule(&self, alert: &Alert) -> Rule {
        let verdict = &alert.verdict;
        let reason = verdict.evidence.as_ref().and_then(|evidence| evidence.reasons.first());
        let strongest = verdict.channels.iter().max_by(|a, b| a.surprise.total_cmp(&b.surprise));
        let (channel, field) = reason
            .map(|reason| (reason.channel, &reason.field))
            .or(strongest.map(|channel| (channel.channel, &channel.field)))
            .map_or(("surprise", ""), |(channel, field)| (channel, &**field));
        // A text with a near twin is seldom, not far.
        let near = verdict.evidence.as_ref().zip(reason).is_some_and(|(evidence, reason)| {
            sentence::nearest(reason, evidence).is_some_and(|near| near.distance < sentence::DISTANCE_SHOWN)
        });
        let name =
            if field.is_empty() { channel.to_owned() } else { format!("{channel}: {}", field_name(field)) };
        Rule { name: self.text(&name).to_owned(), description: description(channel, near) }
    }

    /// Strongest first, so that what is cut is what says least.
    fn channels<'a>(&self, alert: &'a Alert) -> Vec<ChannelPart<'a>> {
        let mut channels: Vec<_> = alert.verdict.channels.iter().collect();
        channels.sort_by(|a, b| b.surprise.total_cmp(&a.surprise));
        self.first(&channels, self.allowance.channels)
            .iter()
            .map(|channel| ChannelPart {
                channel: channel.channel,
                field: self.text(&channel.field),
                score: finite(channel.score),
                surprise: finite(channel.surprise),
            })
            .collect()
    }

    fn evidence<'a>(&self, alert: &'a Alert) -> (Vec<ReasonPart<'a>>, Vec<NeighbourPart<'a>>) {
        let Some(evidence) = &alert.verdict.evidence else { return (Vec::new(), Vec::new()) };
        let reasons = self.first(&evidence.reasons, self.allowance.reasons).iter().map(|reason| ReasonPart {
            channel: reason.channel,
            field: self.text(&reason.field),
            value: self.text(&reason.value),
            expected: self.text(&reason.expected),
            context: reason.context.as_deref().map(|context| self.text(context)),
        });
        let neighbours =
            self.first(&evidence.neighbours, self.allowance.neighbours).iter().map(|near| NeighbourPart {
                channel: near.channel,
                field: self.text(&near.field),
                text: self.text(&near.text),
                distance: finite(near.distance),
                offset: near.offset,
                count: near.count,
            });
        (reasons.collect(), neighbours.collect())
    }

    fn source<'a>(&self, alert: &'a Alert, provenance: &'a Provenance) -> Source<'a> {
        let key = alert.record.key.as_deref();
        let text = key.and_then(|key| std::str::from_utf8(key).ok());
        let bytes = key.filter(|_| text.is_none());
        Source {
            kind: provenance.source,
            topic: &alert.origin.lane.topic,
            partition: alert.origin.lane.partition,
            offset: alert.origin.offset,
            key: text.map(|key| self.text(key)),
            key_base64: bytes.map(|key| base64(self.first(key, self.allowance.text))),
            payload_bytes: alert.record.payload.as_ref().map_or(0, Vec::len),
        }
    }

    fn text<'a>(&self, text: &'a str) -> &'a str {
        self.shorten(text, self.allowance.text)
    }

    fn shorten<'a>(&self, text: &'a str, bytes: usize) -> &'a str {
        let short = cut(text, bytes);
        self.cut.set(self.cut.get() || short.len() < text.len());
        short
    }

    fn first<'a, T>(&self, list: &'a [T], count: usize) -> &'a [T] {
        self.cut.set(self.cut.get() || count < list.len());
        &list[..count.min(list.len())]
    }
}

fn description(channel: &str, near: bool) -> &'static str {
    match channel {
        "density" if near => "the text is seldom seen lately",
        "density" => "the text lies far from every text seen lately",
        "text" => "the text is made of words and characters seldom seen lately",
        "meaning" => "the text is about something else than every text seen lately",
        "numeric" => "the number does not belong to its key",
        "categorical" => "the value does not belong to its context",
        "joint" => "these values are seldom seen together",
        "nearest" => "its numbers lie far from those of every event seen lately",
        "series" => "the number departs from its own recent course",
        _ => "the event is stranger than the alert budget allows",
    }
}

#[cfg(test)]
pub(crate) mod tests;
