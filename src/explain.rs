//! An alert for a person: what was strange, compared with what, how rare, under which budget, and where to find it.
//!
//! It reads what the sinks write and nothing else, so it works on any machine and on alerts of long ago. All text in an
//! alert comes from events, which anybody may have written: nothing of it may reach a terminal unescaped.

mod find;
mod page;
mod wire;

use page::Page;
use wire::{Alert, Incident, Neighbour, Reason};

use crate::sink::wire::{field_name, in_context, printable};

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
/// How earlier versions wrote that there is no time.
const NOUGHT: &str = "1970-01-01T00:00:00.000Z";
/// Channels told at most.
const CHANNELS: usize = 8;
/// The field of a plain line, which has no other.
const MESSAGE: &str = "/message";
/// Characters of the event shown.
const ORIGINAL: usize = 1_200;
/// Fewer nats than these are nothing: about every second event has as many.
const NATS_TOLD: f64 = 0.7;

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
    next(&mut page, &alert);
    find::find(&mut page, &alert);
    event(&mut page, &alert);
    Ok(page.done())
}

fn head(page: &mut Page, alert: &Alert) {
    page.headline(&printable(&alert.message));
    let source = &alert.outlierd.source;
    let mut place = find::place(source);
    if let Some(key) = &source.key {
        place = format!("{place}, key {}", printable(key));
    }
    let what = if alert.event.action == "incident-closed" {
        "an incident that has ended; what follows is about the event that opened it"
    } else {
        "the event that opened an incident"
    };
    // Earlier versions wrote time nought where there was none.
    let when = match alert.event.start.as_str() {
        "" | NOUGHT => {
            "not known: neither the event nor its record has a time; a field that holds it can be named: \
                        [[field]] with kind = \"time\""
                .to_owned()
        }
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
    if detail.channels.is_empty() {
        return;
    }
    page.heading("How strange each way of looking found it");
    let found = detail.channels.iter().filter(|channel| channel.surprise >= NATS_TOLD);
    for channel in found.clone().take(CHANNELS) {
        let has = so(&channel.channel);
        page.pair(
            &label(&channel.channel, &channel.field),
            &format!("{:.1} nats: {}{has}", channel.surprise, rarity(channel.surprise)),
        );
    }
    let found = found.count();
    if found > CHANNELS {
        page.line(&format!("and {} that found less", found - CHANNELS));
    }
    match detail.channels.len() - found {
        0 => {}
        1 => page.line("and 1 that found nothing out of the ordinary"),
        nothing => page.line(&format!("and {nothing} that found nothing out of the ordinary")),
    }
}

/// What one event in so many has, by the channel that counted.
fn so(channel: &str) -> &'static str {
    match channel {
        "density" => " has a text so far from all others",
        "text" => " has words and letters so rare",
        "meaning" => " has a text that says something so different",
        "joint" => " has values so seldom seen together",
        "nearest" => " has numbers so far from all others",
        "numeric" => " has a number so far from what is usual",
        "categorical" => " has a value so rare in its context",
        "series" => " has a number so far off its own course",
        _ => "",
    }
}

fn label(channel: &str, field: &str) -> String {
    let channel = printable(channel);
    if field.is_empty() { channel } else { format!("{channel}, {}", printable(&field_name(field))) }
}

fn told(reason: &Reason) -> String {
    let (expected, context) = in_context(&reason.expected, reason.context.as_deref());
    let (value, expected) = (printable(&reason.value), printable(&expected));
    let number = matches!(reason.channel.as_str(), "numeric" | "series" | "nearest");
    let mut text = if number || reason.channel == "joint" { value } else { format!("\"{value}\"") };
    if number && expected.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) {
        text = format!("{text}; usual: {expected}");
    } else if expected.starts_with("had ") {
        text = format!("{text}; it {expected}");
    } else if !expected.is_empty() {
        text = format!("{text}; {expected}");
    }
    if let Some(context) = context {
        text = format!("{text}; held against events of {}", printable(&context));
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
                "\"{}\" ({}), seen {times} lately, last at {}",
                printable(text),
                printable(&field_name(field)),
                find::at(&alert.outlierd.source, *offset)
            ),
        );
    }
}

fn rare(page: &mut Page, alert: &Alert) {
    let detail = &alert.outlierd;
    page.heading("How rare");
    let mut surprise = format!("{:.1} nats: {} is as strange", detail.surprise, rarity(detail.surprise));
    if detail.surprise.exp() > detail.seen as f64 {
        surprise = format!("{surprise}; so many were not seen, it is estimated from the rarest of them");
    }
    page.pair("surprise", &surprise);
    page.pair(
        "threshold",
        &format!(
            "{:.1} nats then ({}): what is stranger raises an alert; it moves to keep to the budget",
            detail.threshold,
            rarity(detail.threshold)
        ),
    );
    page.pair("budget", &format!("{} for each partition, in incidents", printable(&detail.budget)));
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
        let source = &alert.outlierd.source;
        let span = format!(
            "{}, from {} to {}",
            grouped(*count),
            find::at(source, *first_offset),
            find::at(source, *last_offset)
        );
        match last_time.as_str() {
            "" | NOUGHT => span,
            time => format!("{span}, the last at {}", printable(time)),
        }
    };
    page.pair("events", &events);
}

/// What a person can do about alerts like this one.
fn next(page: &mut Page, alert: &Alert) {
    page.heading("What next");
    page.pair("if something is wrong", "look at the event, and at those around it, by the commands below");
    let mut normal = "what comes often is learned by itself".to_owned();
    if let Some(field) = alert
        .outlierd
        .reasons
        .iter()
        .map(|reason| &reason.field)
        .find(|field| !field.is_empty() && *field != MESSAGE)
    {
        let field = serde_json::Value::from(printable(field));
        normal = format!("{normal}; a field that says nothing is left out by render.ignore = [{field}]");
    }
    page.pair("if it is normal", &normal);
    page.pair("if there are too many", "a smaller alert.budget");
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
    fn digits_stand_in_threes() {
        assert_eq!([7, 123, 1_234, 1_234_567].map(grouped), ["7", "123", "1 234", "1 234 567"]);
    }
}
