//! Which parts of a text carry its surprise, in words for an alert.
//!
//! Words first, since people read words; then runs of characters never seen together that no new word explains.
//! Only asked for alerts, so a text is taken apart again rather than kept. It must quote the text as it was
//! written, cut and escaped.

use std::ops::Range;

use super::counts::Counts;
use super::features::{Extractor, FOURS, Feature, WORDS, lowered};

/// Parts named.
const NAMED: usize = 3;
/// Characters quoted of a part.
const PART_CHARS: usize = 40;
/// What was counted less often, with decay, is new.
const NEW: f64 = 0.5;
/// Less surprise than this (one in twenty) is not worth naming; nats.
const NOTABLE: f64 = 3.0;

/// A part of a text; its characters with the start mark as number 0.
#[derive(Debug)]
struct Part {
    characters: Range<usize>,
    surprise: f64,
    count: f64,
}

/// Such as `new here: "segfault", "0xdead"; rare here: "panic" (1 in 340)`.
pub(super) fn describe(text: &str, counts: &Counts) -> String {
    let mut extractor = Extractor::default();
    extractor.read(text);
    let mut parts = words(&extractor, counts);
    let runs = new_runs(&extractor, counts);
    // Words and runs are both in the order of the text.
    let mut new_words =
        parts.iter().filter(|word| word.count < NEW).map(|word| word.characters.clone()).peekable();
    let unexplained = runs.into_iter().filter(|run| {
        while new_words.next_if(|word| word.end <= run.characters.start).is_some() {}
        new_words.peek().is_none_or(|word| word.start >= run.characters.end)
    });
    let unexplained: Vec<Part> = unexplained.collect();
    parts.extend(unexplained);
    parts.retain(|part| part.surprise >= NOTABLE);
    // Stable, so equals stay in the order of the text, words before runs.
    parts.sort_by(|a, b| b.surprise.total_cmp(&a.surprise));

    let bytes: Vec<usize> = lowered(text).map(|(at, _)| at).collect();
    let (mut new, mut rare, mut quoted) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let quote = quote(text, &bytes, &part.characters);
        if quoted.len() == NAMED || quoted.contains(&quote) {
            continue;
        }
        if part.count < NEW {
            new.push(quote.clone());
        } else {
            rare.push(format!("{quote} (1 in {:.0})", (counts.events() / part.count).max(1.0)));
        }
        quoted.push(quote);
    }
    let new = (!new.is_empty()).then(|| format!("new here: {}", new.join(", ")));
    let rare = (!rare.is_empty()).then(|| format!("rare here: {}", rare.join(", ")));
    match (new, rare) {
        (Some(new), Some(rare)) => format!("{new}; {rare}"),
        (Some(said), None) | (None, Some(said)) => said,
        (None, None) => "no part of it is rare by itself; together they are".to_owned(),
    }
}

fn words(extractor: &Extractor, counts: &Counts) -> Vec<Part> {
    let mut words = Vec::new();
    extractor.each(WORDS, |characters, feature: Feature| {
        let (surprise, count) = counts.of(feature);
        words.push(Part { characters, surprise, count });
    });
    words
}

/// Runs of 4-grams that are new.
fn new_runs(extractor: &Extractor, counts: &Counts) -> Vec<Part> {
    let mut runs: Vec<Part> = Vec::new();
    extractor.each(FOURS, |characters, feature| {
        let (surprise, count) = counts.of(feature);
        if count >= NEW {
            return;
        }
        match runs.last_mut() {
            Some(run) if run.characters.end >= characters.start => {
                run.characters.end = characters.end;
                run.surprise = run.surprise.max(surprise);
            }
            _ => runs.push(Part { characters, surprise, count }),
        }
    });
    runs
}

/// The characters as they were written, cut, in quotes, escaped.
fn quote(text: &str, bytes: &[usize], characters: &Range<usize>) -> String {
    let byte = |character: usize| bytes.get(character.saturating_sub(1)).copied().unwrap_or(text.len());
    let part = text.get(byte(characters.start)..byte(characters.end)).unwrap_or_default();
    match part.char_indices().nth(PART_CHARS) {
        Some((end, _)) => format!("{:?}", format!("{}…", &part[..end])),
        None => format!("{part:?}"),
    }
}
