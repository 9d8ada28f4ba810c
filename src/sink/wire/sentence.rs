//! An alert in one sentence that a person can read.
//!
//! It is made of the detector's reasons and nothing else, so it says what was measured. Texts in it come from the
//! stream and are therefore untrusted: what a terminal could obey is escaped, what is long is cut.

use super::{cut, field_name, printable};
use crate::flow::{Alert, Evidence, Neighbour, Phase, Reason};

/// Bytes of a value or a text that a sentence shows.
const SHOWN: usize = 160;
/// A distance below this would be written as 0.00, and "far" be wrong.
pub(super) const DISTANCE_SHOWN: f64 = 0.005;

/// Why the event is strange, such as `never seen before: "segfault at 0x0" (message); nearest normal text at cosine
/// distance 0.62` or `amount 912.5 where 12.1 to 80.3 is usual for customer=596`.
///
/// It names the strongest reason, and the next one where that looks at another field. Without reasons it names the
/// strongest channel.
pub fn sentence(alert: &Alert) -> String {
    let mut text = match alert.verdict.evidence.as_ref() {
        Some(evidence) if !evidence.reasons.is_empty() => reasons(evidence),
        _ => figures(alert),
    };
    if alert.phase == Phase::Closed {
        let events = if alert.count == 1 { "event" } else { "events" };
        text = format!("incident ended after {} {events}; it began with: {text}", alert.count);
    }
    text
}

fn reasons(evidence: &Evidence) -> String {
    let Some(first) = evidence.reasons.first() else { return String::new() };
    let mut text = clause(first, evidence);
    if matches!(first.channel, "text" | "density") {
        match nearest(first, evidence) {
            Some(near) if near.distance >= DISTANCE_SHOWN => {
                text = format!("{text}; nearest normal text at cosine distance {:.2}", near.distance);
            }
            // The density channel has seen both texts whole, and knows whether they are the same.
            _ => {
                let mut same = evidence.reasons.iter().filter(|reason| reason.field == first.field);
                let density = same.find(|reason| reason.channel == "density" && !reason.expected.is_empty());
                if let Some(density) = density {
                    text = format!("{text}; {}", shown(&density.expected));
                }
            }
        }
    }
    if let Some(second) = evidence.reasons.iter().skip(1).find(|reason| reason.field != first.field) {
        text = format!("{text}; also {}", clause(second, evidence));
    }
    text
}

/// The normal text nearest, by its letters, to the one that a reason is about.
pub(super) fn nearest<'a>(reason: &Reason, evidence: &'a Evidence) -> Option<&'a Neighbour> {
    evidence.neighbours.iter().find(|near| near.field == reason.field && near.channel == "density")
}

/// One reason. Numbers expect a range, texts and categories say how rare they are.
fn clause(reason: &Reason, evidence: &Evidence) -> String {
    let (expected, context) = in_context(&reason.expected, reason.context.as_deref());
    let (field, value, expected) =
        (shown(&field_name(&reason.field)), shown(&reason.value), shown(&expected));
    let mut text = match reason.channel {
        "text" if expected.is_empty() => format!("unusual text: \"{value}\" ({field})"),
        "text" => format!("{expected}: \"{value}\" ({field})"),
        "density" if nearest(reason, evidence).is_some_and(|near| near.distance < DISTANCE_SHOWN) => {
            format!("seldom seen lately: \"{value}\" ({field})")
        }
        "density" => format!("far from every recent text: \"{value}\" ({field})"),
        "meaning" if expected.is_empty() => format!("about something else: \"{value}\" ({field})"),
        "meaning" => format!("about something else than recent texts: \"{value}\" ({field}); {expected}"),
        "numeric" | "series" if expected.is_empty() => format!("{field} {value} is unusual"),
        "numeric" | "series" if expected.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) => {
            format!("{field} {value} where {expected} is usual")
        }
        "numeric" | "series" => format!("{field} {value} where {expected}"),
        "nearest" if expected.is_empty() => format!("far from every recent event, most in {field} {value}"),
        "nearest" => format!("far from every recent event, most in {field} {value}; {expected}"),
        "joint" if expected.starts_with("had ") => format!("{field} \"{value}\" where it {expected}"),
        "joint" if expected.is_empty() => format!("unusual combination: {value}"),
        "joint" => format!("unusual combination: {value}; {expected}"),
        _ if expected.is_empty() => format!("{field} \"{value}\" is unusual"),
        _ => format!("{field} \"{value}\" {expected}"),
    };
    if let Some(context) = context {
        text = format!("{text} for {}", shown(&context));
    }
    text
}

/// What was expected, its context by the name that a person knows it by; and that context, where it is not told by then.
pub(crate) fn in_context(expected: &str, context: Option<&str>) -> (String, Option<String>) {
    let Some(context) = context else { return (expected.to_owned(), None) };
    let name = field_name(context);
    if !context.is_empty() && expected.contains(context) {
        (expected.replacen(context, &name, 1), None)
    } else {
        (expected.to_owned(), Some(name))
    }
}

fn figures(alert: &Alert) -> String {
    let verdict = &alert.verdict;
    let mut text = format!("surprise {:.1} nats where {:.1} is allowed", verdict.surprise, verdict.threshold);
    if let Some(channel) = verdict.channels.iter().max_by(|a, b| a.surprise.total_cmp(&b.surprise)) {
        text = format!("{text}, most of it in {} ({})", shown(&field_name(&channel.field)), channel.channel);
    }
    text
}

fn shown(text: &str) -> String {
    let short = cut(text, SHOWN);
    let end = if short.len() < text.len() { "…" } else { "" };
    format!("{}{end}", printable(short))
}

#[cfg(test)]
mod tests {
    use super::super::alert::tests::example;
    use super::*;

    fn because(reasons: Vec<Reason>) -> Alert {
        let mut alert = example();
        if let Some(evidence) = &mut alert.verdict.evidence {
            evidence.reasons = reasons;
        }
        alert
    }

    fn reason(
        channel: &'static str,
        field: &str,
        value: &str,
        expected: &str,
        context: Option<&str>,
    ) -> Reason {
        Reason {
            channel,
            field: field.into(),
            value: value.into(),
            expected: expected.into(),
            context: context.map(Into::into),
        }
    }

    #[test]
    fn a_text_is_quoted_beside_its_nearest() {
        let text = reason("text", "/message", "segfault at 0x0 in libssl", "never seen before", None);
        assert_eq!(
            sentence(&because(vec![text])),
            "never seen before: \"segfault at 0x0 in libssl\" (message); nearest normal text at cosine distance 0.62"
        );
    }

    #[test]
    fn a_text_with_a_near_twin_is_seldom_and_not_far() {
        let density = |expected| reason("density", "/message", "disk 7 failed", expected, None);
        let at = |distance: f64, reasons: Vec<Reason>| {
            let mut alert = because(reasons);
            if let Some(evidence) = &mut alert.verdict.evidence {
                evidence.neighbours[0].distance = distance;
            }
            sentence(&alert)
        };
        assert_eq!(
            at(0.3, vec![density("nearest normal text at cosine distance 0.30")]),
            "far from every recent text: \"disk 7 failed\" (message); nearest normal text at cosine distance 0.30"
        );
        let twin = "the same but for numbers and case was seen once lately";
        assert_eq!(
            at(0.0, vec![density(twin)]),
            format!("seldom seen lately: \"disk 7 failed\" (message); {twin}")
        );
        let text = reason("text", "/message", "disk 7 failed", "never seen before", None);
        assert_eq!(
            at(0.004, vec![text, density(twin)]),
            format!("never seen before: \"disk 7 failed\" (message); {twin}")
        );
    }

    #[test]
    fn another_topic_stands_beside_what_is_nearest_in_meaning_and_no_distance_of_letters() {
        let expected = "nearest in meaning: \"where is my parcel\", at cosine distance 0.71";
        let text = sentence(&because(vec![reason("meaning", "/message", "he scored late", expected, None)]));
        assert_eq!(
            text,
            format!("about something else than recent texts: \"he scored late\" (message); {expected}")
        );
        let mut alert =
            because(vec![reason("text", "/message", "he scored late", "never seen before", None)]);
        if let Some(evidence) = &mut alert.verdict.evidence {
            evidence.neighbours[0].channel = "meaning";
        }
        assert_eq!(sentence(&alert), "never seen before: \"he scored late\" (message)");
    }

    #[test]
    fn a_number_stands_beside_its_range_and_key() {
        let number = reason("numeric", "/amount", "912.5", "12.1 to 80.3", Some("/customer=596"));
        assert_eq!(
            sentence(&because(vec![number])),
            "amount 912.5 where 12.1 to 80.3 is usual for customer=596"
        );
    }

    #[test]
    fn a_context_is_told_once_and_by_its_name() {
        let told = |channel, field, value, expected, context| {
            sentence(&because(vec![reason(channel, field, value, expected, Some(context))]))
        };
        assert_eq!(
            told("numeric", "/amount", "9", "1 to 2 (90 % of events of /a/b=7)", "/a/b=7"),
            "amount 9 where 1 to 2 (90 % of events of a/b=7) is usual"
        );
        assert_eq!(
            told("categorical", "/currency", "GBP", "never with /country=DE (1 228 events)", "/country=DE"),
            "currency \"GBP\" never with country=DE (1 228 events)"
        );
    }

    #[test]
    fn a_series_is_told_how_near_it_stayed() {
        let expected = "it stayed within 0.31 of the value before, 2.4, in 1200 events";
        let series = reason("series", "/value", "7.9", expected, Some("/series=exchange-2"));
        assert_eq!(
            sentence(&because(vec![series])),
            "value 7.9 where it stayed within 0.31 of the value before, 2.4, in 1200 events for series=exchange-2"
        );
    }

    #[test]
    fn a_constant_that_changes_is_told_as_such() {
        let joint = reason("joint", "/land", "1", "had one other value in all 4000 events before", None);
        assert_eq!(
            sentence(&because(vec![joint])),
            "land \"1\" where it had one other value in all 4000 events before"
        );
    }

    #[test]
    fn a_combination_is_told_with_how_often_it_came() {
        let expected =
            "together in 0 of the last 2000 normal events, amount 671 to 1420 in 36, category=grocery in 240";
        let joint = reason("joint", "/amount", "amount=977.5, category=grocery", expected, None);
        assert_eq!(
            sentence(&because(vec![joint])),
            format!("unusual combination: amount=977.5, category=grocery; {expected}")
        );
    }

    #[test]
    fn a_second_field_is_named_and_a_second_look_at_the_first_is_not() {
        let category = reason("categorical", "/country", "KP", "seen 0 times in 1000 events", None);
        let again = reason("numeric", "/country", "1", "2 to 3", None);
        let number = reason("numeric", "/request/bytes", "9", "1 to 2", None);
        assert_eq!(
            sentence(&because(vec![category, again, number])),
            "country \"KP\" seen 0 times in 1000 events; also request/bytes 9 where 1 to 2 is usual"
        );
    }

    #[test]
    fn without_reasons_the_figures_speak() {
        let mut alert = example();
        alert.verdict.evidence = None;
        alert.phase = Phase::Closed;
        alert.count = 3;
        assert_eq!(
            sentence(&alert),
            "incident ended after 3 events; it began with: surprise 14.2 nats where 9.1 is allowed, most of it in \
             message (text)"
        );
    }

    #[test]
    fn long_and_wild_texts_are_tamed() {
        let wild = "\u{1b}]0;x\u{7}".repeat(1_000);
        let text = sentence(&because(vec![reason("text", "/m", &wild, "never seen before", None)]));
        assert!(text.len() < 2_000 && !text.contains('\u{1b}') && text.contains('…'), "{text}");
    }
}
