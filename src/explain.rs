//! An alert for a person: what was strange, compared with what, how rare, under which budget, and where to find it.
//!
//! It reads what the sinks write and nothing else, so it works on any machine and on alerts of long ago. All text in an
//! alert comes from events, which anybody may have written: nothing of it may reach a terminal unescaped.

mod page;
mod wire;

use std::path::Path;

use page::Page;
use wire::{Alert, Incident, Neighbour, Reason};

use crate::sink::wire::{field_name, printable};

/// How the page is laid out.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns.
    pub width: usize,
    /// Whether headings are bold.
    pub bold: bool,
}

/// Rarer than one in so many is not told in numbers: no stream is that long.
const RARE_MAX: f64 = 1e12;
/// Channels told at most.
const CHANNELS: usize = 8;
/// Characters of the event shown.
const ORIGINAL: usize = 1_200;
/// Events before it that a replay reads, so that it has learned what was normal.
const REPLAY: i64 = 20_000;

/// The alert as a page of text.
///
/// # Errors
/// When it is no alert of outlierd's, in words that say why.
pub fn explain(value: serde_json::Value, style: Style) -> Result<String, String> {
    let alert = wire::read(value)?;
    let mut page = Page::new(style);
    head(&mut page, &alert);
    strange(&mut page, &alert);
    nearest(&mut page, &alert);
    rare(&mut page, &alert);
    incident(&mut page, &alert);
    find(&mut page, &alert);
    event(&mut page, &alert);
    Ok(page.done())
}

fn head(page: &mut Page, alert: &Alert) {
    page.headline(&printable(&alert.message));
    let source = &alert.outlierd.source;
    let mut place = format!("{}[{}] at offset {}", printable(&source.topic), source.partition, source.offset);
    if let Some(key) = &source.key {
        place = format!("{place}, key {}", printable(key));
    }
    let what = if alert.event.action == "incident-closed" {
        "an incident that has ended; what follows is about the event that opened it"
    } else {
        "the event that opened an incident"
    };
    // Time nought is that of an event without a time, in a file.
    let when = match alert.event.start.as_str() {
        "1970-01-01T00:00:00.000Z" => "not known: neither the event nor its record has a time".to_owned(),
        start => printable(start),
    };
    page.pair("when", &when);
    page.pair("where", &place);
    page.pair("what", what);
}

fn strange(page: &mut Page, alert: &Alert) {
    let detail = &alert.outlierd;
    if detail.reasons.is_empty() && detail.channels.is_empty() {
        return;
    }
    page.heading("What was strange, compared with what");
    for reason in &detail.reasons {
        page.pair(&label(&reason.channel, &reason.field), &told(reason));
    }
    if !detail.channels.is_empty() {
        page.heading("How strange each way of looking found it");
    }
    for channel in detail.channels.iter().take(CHANNELS) {
        let rare = rarity(channel.surprise);
        let about = if channel.surprise < 0.7 {
            "nothing out of the ordinary".to_owned()
        } else {
            format!("{:.1} nats, {rare}", channel.surprise)
        };
        page.pair(&label(&channel.channel, &channel.field), &about);
    }
    let rest = detail.channels.len().saturating_sub(CHANNELS);
    if rest > 0 {
        page.line(&format!("and {rest} that found less"));
    }
}

fn label(channel: &str, field: &str) -> String {
    let channel = printable(channel);
    if field.is_empty() { channel } else { format!("{channel}, {}", printable(&field_name(field))) }
}

fn told(reason: &Reason) -> String {
    let mut text = format!("\"{}\"", printable(&reason.value));
    if !reason.expected.is_empty() {
        text = format!("{text}; expected: {}", printable(&reason.expected));
    }
    if let Some(context) = &reason.context {
        text = format!("{text}; held against events of {}", printable(&field_name(context)));
    }
    text
}

fn nearest(page: &mut Page, alert: &Alert) {
    let neighbours = &alert.outlierd.neighbours;
    if neighbours.is_empty() {
        return;
    }
    page.heading("The nearest normal texts");
    for Neighbour { channel, field, text, distance, offset, count } in neighbours {
        let by = if channel == "meaning" { "in meaning" } else { "in letters" };
        let times = if *count == 1 { "once".to_owned() } else { format!("{} times", grouped(*count)) };
        page.pair(
            &format!("{distance:.2} {by}"),
            &format!(
                "\"{}\" ({}), seen {times} lately, last at offset {offset}",
                printable(text),
                printable(&field_name(field))
            ),
        );
    }
}

fn rare(page: &mut Page, alert: &Alert) {
    let detail = &alert.outlierd;
    page.heading("How rare");
    let mut surprise = format!("{:.1} nats: {}", detail.surprise, rarity(detail.surprise));
    if detail.surprise.exp() > detail.seen as f64 {
        surprise = format!("{surprise}; so many were not seen, it is read off the course of the rarest");
    }
    page.pair("surprise", &surprise);
    page.pair(
        "threshold",
        &format!("{:.1} nats then: {} would raise an alert", detail.threshold, rarity(detail.threshold)),
    );
    page.pair(
        "budget",
        &format!("{} for each partition; the threshold follows it", printable(&detail.budget)),
    );
    page.pair("risk", &format!("{:.0} of 100", alert.event.risk_score_norm));
    page.pair("learned from", &format!("{} events of this partition before it", grouped(detail.seen)));
}

fn incident(page: &mut Page, alert: &Alert) {
    let Incident { id, count, first_offset, last_offset, last_time } = &alert.outlierd.incident;
    page.heading("The incident");
    page.pair("id", &printable(id));
    let events = if *count == 1 {
        "1 so far: this one; when it ends with more, a second alert sums it up".to_owned()
    } else {
        format!(
            "{}, from offset {first_offset} to {last_offset}, the last at {}",
            grouped(*count),
            printable(last_time)
        )
    };
    page.pair("events", &events);
}

fn find(page: &mut Page, alert: &Alert) {
    let detail = &alert.outlierd;
    let (topic, partition, offset) =
        (quoted(&detail.source.topic), detail.source.partition, detail.source.offset);
    page.heading("Find it again");
    // No topic of Kafka's holds a slash.
    if detail.source.topic.contains('/') {
        let gzip = Path::new(&detail.source.topic).extension().is_some_and(|end| end == "gz");
        let cat = if gzip { "zcat" } else { "cat" };
        page.verbatim(&format!("{cat} {topic} | sed -n {}p", offset.saturating_add(1)));
    } else if detail.source.topic == "stdin" {
        page.line(&format!("it was line {} of standard input", offset.saturating_add(1)));
    } else {
        page.verbatim(&format!(
            "kafka-console-consumer.sh --bootstrap-server BROKER --topic {topic} --partition {partition} --offset \
             {offset} --max-messages 1"
        ));
        page.verbatim(&format!(
            "outlierd backtest --topic {topic} --partition {partition} --from {} --to {} --set kafka.brokers=BROKER",
            offset.saturating_sub(REPLAY).max(0),
            offset.saturating_add(1)
        ));
    }
    page.pair(
        "raised by",
        &format!(
            "outlierd {} as {}, configuration {}, {} embedder",
            printable(&detail.version),
            printable(&detail.service),
            printable(&detail.config),
            printable(&detail.embedder)
        ),
    );
}

fn event(page: &mut Page, alert: &Alert) {
    let Some(original) = &alert.event.original else { return };
    page.heading("The event");
    let short: String = original.chars().take(ORIGINAL).collect();
    let cut = short.len() < original.len() || alert.outlierd.truncated;
    page.line(&format!("{}{}", printable(&short), if cut { "…" } else { "" }));
}

/// A surprise as a person counts: e^nats.
fn rarity(nats: f64) -> String {
    let count = nats.exp();
    if count < 2.0 {
        "any event".to_owned()
    } else if count > RARE_MAX {
        "less than 1 event in a million million".to_owned()
    } else {
        // Two digits: more would claim what nobody knows.
        let scale = 10_f64.powf((count.log10().floor() - 1.0).max(0.0));
        format!("about 1 event in {}", threes(&((count / scale).round() * scale).to_string()))
    }
}

fn grouped(number: u64) -> String {
    threes(&number.to_string())
}

/// Digits in groups of three.
fn threes(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let name = printable(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return name;
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rarity_is_told_with_two_digits() {
        assert_eq!(rarity(0.0), "any event");
        assert_eq!(rarity(1000_f64.ln()), "about 1 event in 1 000");
        assert_eq!(rarity(9.3), "about 1 event in 11 000");
        assert_eq!(rarity(3.0), "about 1 event in 20");
        assert_eq!(rarity(1e300), "less than 1 event in a million million");
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted("logs.a-b"), "logs.a-b");
        assert_eq!(quoted("a; rm -rf 'x'"), "'a; rm -rf '\\''x'\\'''");
        assert_eq!(quoted("-x"), "'-x'");
        assert_eq!(quoted("\u{1b}[31m"), "'\\u{1b}[31m'");
    }

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([7, 123, 1_234, 1_234_567].map(grouped), ["7", "123", "1 234", "1 234 567"]);
    }
}
