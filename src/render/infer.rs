//! What each field is, from the first events of a lane, and why.
//!
//! Values decide. A field's name is asked only where the values of a whole number fit a quantity as well as a code
//! or an identifier. What is dropped here is lost to every channel, so doubtful fields are kept: a useless key costs
//! a table, a lost one the context of all others. It must give the same answer for the same events, always.

mod column;
mod tally;

use std::collections::HashMap;

use super::{Kind, categories, words};
use crate::flow::{Event, Value};
use column::Column;
use tally::Tally;

/// What was found of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Its JSON pointer.
    pub pointer: String,
    /// What it is read as.
    pub kind: Kind,
    /// Why.
    pub why: Why,
    /// Events looked at.
    pub events: usize,
    /// How many of them held it, nulls aside.
    pub seen: usize,
    /// Different values.
    pub distinct: usize,
    /// The value seen most often, cut to 64 bytes, and how often.
    pub most: Option<(String, usize)>,
    /// Least and largest number, if they are numbers.
    pub range: Option<(f64, f64)>,
}

/// Why a field is read as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Too few events hold it.
    Rare,
    /// Other fields are in more events, and there are too many to read.
    Crowded,
    /// Times that go with the stream: the event's own.
    Clock,
    /// One more such time; an event has one.
    OtherClock,
    /// Times that do not go with the stream.
    Date,
    /// Times of a day or without a year, which have no place in the stream.
    Unplaced,
    /// Words to be read.
    Words,
    /// One value so far.
    Constant,
    /// Rises from event to event.
    Counter,
    /// Numbers that are nearly always 0.
    Count,
    /// Few numbers, or ones that are called a code.
    Codes,
    /// Numbers that measure.
    Quantity,
    /// Few names.
    Names,
    /// Names of many things.
    Things,
    /// Comes back only at once: of a request or a session.
    Passing,
    /// Never comes back.
    Identifier,
}

/// Fields of a schema at most; those present in most events are kept.
pub(super) const FIELDS_MAX: usize = 128;
/// Distinct pointers followed at most: names that are data themselves would grow without end.
const COLUMNS_MAX: usize = 4_096;
/// Longest example of a value, in bytes.
const EXAMPLE_BYTES: usize = 64;

/// Distinct values above which a field is a key, as in the measured prototype; or one in so many events.
const CATEGORY_DISTINCT_MAX: usize = 64;
const KEY_DISTINCT_ONE_IN: usize = 5;
/// Values that come so evenly as if they were more than this many equally likely ones are things that events are
/// about, rather than kinds of event: none of them is rare, each may have habits of its own.
const CATEGORY_EVEN_MAX: f64 = 32.0;
/// With few events a share says little: this many distinct values are still a category.
const CATEGORY_DISTINCT_SURE: usize = 12;
/// Whole numbers of so few values are codes rather than quantities, as in the measured prototype.
const CODE_DISTINCT_MAX: usize = 16;
/// Below so many events, a value that has not come back yet may still do so, unless it is a random one by its look.
const EVENTS_TO_TELL_IDENTIFIERS: usize = 100;

/// Every field, in the order in which they first appear, those not worth reading with [`Kind::Ignore`].
pub(super) fn findings(first: &[Event]) -> Vec<Finding> {
    let columns = columns(first);
    let typed = columns.iter().any(Column::holds_numbers);
    let least = least(first.len());
    let mut findings: Vec<_> =
        columns.iter().map(|column| finding(column, first.len(), least, typed)).collect();
    keep_something(&mut findings);
    keep_one_time(&mut findings);
    keep_the_frequent(&mut findings, FIELDS_MAX);
    findings
}

/// The same of fields that have joined a stream later, from events that hold these alone, beside others that are
/// `typed`. They have to be in as many events as if there were `usual` ones. No time is found, and no more fields than
/// there is room for.
pub(super) fn late(events: &[Event], usual: usize, typed: bool, room: usize) -> Vec<Finding> {
    let least = least(usual.max(events.len()));
    let columns = columns(events);
    let mut findings: Vec<_> =
        columns.iter().map(|column| finding(column, events.len(), least, typed)).collect();
    for finding in findings.iter_mut().filter(|finding| finding.kind == Kind::Time) {
        (finding.kind, finding.why) = (Kind::Ignore, Why::OtherClock);
    }
    keep_the_frequent(&mut findings, room);
    findings
}

/// How many of so many events a field has to be in.
fn least(events: usize) -> usize {
    (events / 50).clamp(2, 20).min(events)
}

fn finding(column: &Column<'_>, events: usize, least: usize, typed: bool) -> Finding {
    let tally = Tally::of(&column.values);
    let rare = column.values.len() < least;
    let (kind, why) = if rare { (Kind::Ignore, Why::Rare) } else { kind(column, &tally, typed) };
    let most = tally.most.and_then(|(place, count)| Some((column.values.get(place)?, count)));
    let example = |value| categories::exact(value).unwrap_or_default();
    Finding {
        pointer: column.pointer.to_owned(),
        kind,
        why,
        events,
        seen: column.values.len(),
        distinct: tally.distinct,
        most: most.map(|(value, count)| (words::cut(&example(value), EXAMPLE_BYTES).to_owned(), count)),
        range: column.numbers().and_then(|numbers| column::bounds(&numbers)),
    }
}

/// Events must have something to be judged by: where nothing else is there, what counts up is a number after all, and a
/// key a category.
fn keep_something(findings: &mut [Finding]) {
    let judged = |kind: Kind| matches!(kind, Kind::Text | Kind::Number | Kind::Category);
    if findings.iter().any(|finding| judged(finding.kind)) {
        return;
    }
    let counters = findings.iter().any(|finding| finding.why == Why::Counter);
    for finding in findings.iter_mut() {
        match (finding.why, finding.kind) {
            (Why::Counter, _) => finding.kind = Kind::Number,
            (_, Kind::Key) if !counters => finding.kind = Kind::Category,
            _ => {}
        }
    }
}

/// An event has one time: the first field of those that tell it finely. Days give way to hours and seconds.
fn keep_one_time(findings: &mut [Finding]) {
    let finest = findings.iter().filter(|finding| finding.kind == Kind::Time).map(|f| f.distinct).max();
    let Some(finest) = finest else { return };
    let mut found = false;
    for finding in findings.iter_mut().filter(|finding| finding.kind == Kind::Time) {
        if found || finding.distinct * 2 < finest {
            (finding.kind, finding.why) = (Kind::Ignore, Why::OtherClock);
        } else {
            found = true;
        }
    }
}

fn keep_the_frequent(findings: &mut [Finding], room: usize) {
    let mut read: Vec<_> = findings.iter_mut().filter(|finding| finding.kind != Kind::Ignore).collect();
    // The sort is stable: of fields equally frequent the earlier ones stay.
    read.sort_by_key(|finding| std::cmp::Reverse(finding.seen));
    for finding in read.into_iter().skip(room) {
        (finding.kind, finding.why) = (Kind::Ignore, Why::Crowded);
    }
}

/// The values of each field, nulls aside.
fn columns(first: &[Event]) -> Vec<Column<'_>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut columns: Vec<Column<'_>> = Vec::new();
    for (pointer, value) in first.iter().flat_map(|event| &event.fields) {
        if *value == Value::Null {
            continue;
        }
        let known = places.get(pointer.as_str()).copied();
        let place = known.unwrap_or(columns.len());
        if known.is_none() {
            if columns.len() == COLUMNS_MAX {
                continue;
            }
            places.insert(pointer, place);
            columns.push(Column { pointer, values: Vec::new() });
        }
        columns[place].values.push(value);
    }
    columns
}

/// What a field is. `typed`: some field holds numbers that are not strings, so that strings of digits are strings
/// because somebody wanted them to be.
fn kind(column: &Column<'_>, tally: &Tally, typed: bool) -> (Kind, Why) {
    if let Some(times) = column.times() {
        // A field that holds times is the event's own time if it goes with the stream, and of no use otherwise.
        let own = column::goes_with_the_stream(&times);
        return if own { (Kind::Time, Why::Clock) } else { (Kind::Ignore, Why::Date) };
    }
    if column.shows_clocks() {
        return (Kind::Ignore, Why::Unplaced);
    }
    if column.is_written_to_be_read() && !column.is_scrambled() {
        return (Kind::Text, Why::Words);
    }
    if tally.distinct < 2 {
        // Nothing to tell events apart by, until the day it changes.
        return (if column.holds_numbers() { Kind::Number } else { Kind::Category }, Why::Constant);
    }
    match column.numbers() {
        Some(numbers) => number(column, &numbers, tally, typed),
        None => name(column, tally),
    }
}

/// A field of numbers, or of strings that spell them.
fn number(column: &Column<'_>, numbers: &[f64], tally: &Tally, typed: bool) -> (Kind, Why) {
    let count = numbers.len();
    // A counter. One step back is let pass: counters start again, and events overtake each other.
    let steps_back = column::falls(numbers, 1);
    if count >= 10 && steps_back <= (count / 50).max(1) && tally.distinct * 10 > count * 3 {
        return (Kind::Ignore, Why::Counter);
    }
    let whole = numbers.iter().all(|number| number.fract() == 0.0);
    let stringed = !column.holds_numbers();
    let code = whole && (column.is_named_as_code() || column.is_zero_padded());
    if whole && !code && column::is_nearly_always_zero(numbers, tally.distinct) {
        return (Kind::Number, Why::Count);
    }
    let few = tally.expected() <= CODE_DISTINCT_MAX.min((count / 4).max(2));
    if few && (whole || stringed) && (code || !column::is_a_stretch(numbers, tally.distinct)) {
        return (Kind::Category, Why::Codes);
    }
    if code || (whole && is_identifying(column, numbers, stringed, typed)) {
        name(column, tally)
    } else {
        (Kind::Number, Why::Quantity)
    }
}

/// Whether whole numbers name things rather than measure them.
///
/// Identifiers are handed out: they fill their range evenly, or are long, or are called so. Quantities come from
/// something that happens: they crowd somewhere.
fn is_identifying(column: &Column<'_>, numbers: &[f64], stringed: bool, typed: bool) -> bool {
    let count = numbers.len() as f64;
    let size = numbers.iter().map(|number| number.abs()).sum::<f64>() / count;
    if (stringed && size >= 1e9) || column.is_named_as_identifier() {
        return true;
    }
    // The distance that even numbers keep to the even distribution by chance, plus what is let pass.
    let chance = 0.6 / count.sqrt();
    let even = |leeway: f64| column::unevenness(numbers) < leeway + chance;
    match (stringed, typed) {
        (true, true) => even(0.15),
        (true, false) => even(0.1),
        // Memory and money reach thousands of millions too; numbers of cards and of sharded databases are longer.
        (false, _) => even(0.1) && size >= 1e12,
    }
}

/// A field whose values are names: of a few things, of many, or of the event itself.
fn name(column: &Column<'_>, tally: &Tally) -> (Kind, Why) {
    let (count, distinct) = (column.values.len(), tally.distinct);
    // One in two hundred may be an event sent twice.
    let returns = count - distinct > count / 200;
    let may_tell = count >= EVENTS_TO_TELL_IDENTIFIERS || column.is_random_by_its_look();
    if !returns && may_tell && !column.must_return_soon() && !column.is_named_as_code() {
        return (Kind::Ignore, Why::Identifier);
    }
    if (distinct > CATEGORY_DISTINCT_MAX || column.is_random_by_its_look()) && tally.comes_back_only_at_once()
    {
        return (Kind::Ignore, Why::Passing);
    }
    let share = count / KEY_DISTINCT_ONE_IN;
    let many = distinct > CATEGORY_DISTINCT_MAX || distinct > share.max(CATEGORY_DISTINCT_SURE);
    if many || tally.perplexity() > CATEGORY_EVEN_MAX {
        (Kind::Key, Why::Things)
    } else {
        (Kind::Category, Why::Names)
    }
}

#[cfg(test)]
mod tests;
