//! What each field is, from the first events of a lane.
//!
//! Only values decide. A field's name is asked once, where the values of a whole number fit both a quantity and an
//! identifier. What is dropped here is lost to every channel, so doubtful fields are kept: a useless key costs a
//! table, a lost one the context of all others. It must give the same answer for the same events, always.

mod column;

use std::collections::HashMap;

use super::Kind;
use crate::flow::{Event, Value};
use column::Column;

/// Fields of a schema at most; those present in most events are kept.
const FIELDS_MAX: usize = 128;
/// Distinct pointers followed at most: names that are data themselves would grow without end.
const COLUMNS_MAX: usize = 4_096;

/// Distinct values above which a field is a key, as in the measured prototype; or one in so many events.
const CATEGORY_DISTINCT_MAX: usize = 64;
const KEY_DISTINCT_ONE_IN: usize = 5;
/// With few events a share says little: this many distinct values are still a category.
const CATEGORY_DISTINCT_SURE: usize = 12;
/// Whole numbers of so few values are codes rather than quantities, as in the measured prototype.
const CODE_DISTINCT_MAX: usize = 16;
/// Below so many events, a value that has not come back yet may still do so, unless it is a random one by its look.
const EVENTS_TO_TELL_IDENTIFIERS: usize = 100;

/// Each field with its kind, in the order in which fields first appear; those not worth reading are left out.
pub(super) fn kinds(first: &[Event]) -> Vec<(&str, Kind)> {
    let columns = columns(first);
    let least = (first.len() / 50).clamp(2, 20).min(first.len());
    let typed = columns.iter().any(Column::holds_numbers);
    let judged = columns.iter().filter(|column| column.values.len() >= least);
    let mut kinds: Vec<_> = judged.map(|column| (column, kind(column, typed))).collect();
    kinds.retain(|(_, kind)| *kind != Kind::Ignore);
    if kinds.len() > FIELDS_MAX {
        // The sort is stable: of fields equally frequent the earlier ones stay.
        let mut ranked: Vec<_> = (0..kinds.len()).collect();
        ranked.sort_by_key(|place| std::cmp::Reverse(kinds[*place].0.values.len()));
        ranked.truncate(FIELDS_MAX);
        ranked.sort_unstable();
        kinds = ranked.into_iter().map(|place| kinds[place]).collect();
    }
    kinds.into_iter().map(|(column, kind)| (column.pointer, kind)).collect()
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
fn kind(column: &Column<'_>, typed: bool) -> Kind {
    if let Some(kind) = time(column) {
        return kind;
    }
    if column.is_written_to_be_read() {
        return Kind::Text;
    }
    let distinct = column.distinct();
    if distinct < 2 {
        // Constant so far: nothing to tell events apart by, until the day it changes.
        return if column.holds_numbers() { Kind::Number } else { Kind::Category };
    }
    match column.numbers() {
        Some(numbers) => number(column, &numbers, distinct, typed),
        None => name(column, distinct),
    }
}

/// A field that holds times is the event's own time if it goes with the stream, and of no use otherwise.
fn time(column: &Column<'_>) -> Option<Kind> {
    let times = column.times()?;
    Some(if column::goes_with_the_stream(&times) { Kind::Time } else { Kind::Ignore })
}

/// A field of numbers, or of strings that spell them.
fn number(column: &Column<'_>, numbers: &[f64], distinct: usize, typed: bool) -> Kind {
    let count = numbers.len();
    // A counter. One step back is let pass: counters start again, and events overtake each other.
    let steps_back = column::falls(numbers, 1);
    if count >= 10 && steps_back <= (count / 50).max(1) && distinct * 10 > count * 3 {
        return Kind::Ignore;
    }
    let whole = numbers.iter().all(|number| number.fract() == 0.0);
    let stringed = !column.holds_numbers();
    let few = distinct <= CODE_DISTINCT_MAX.min((count / 4).max(2));
    if few && (whole || stringed) {
        return Kind::Category;
    }
    if whole && is_identifying(column, numbers, stringed, typed) {
        name(column, distinct)
    } else {
        Kind::Number
    }
}

/// Whether whole numbers name things rather than measure them.
///
/// Identifiers are handed out: they fill their range evenly, or are long, or are padded with zeros. Quantities come
/// from something that happens: they crowd somewhere.
fn is_identifying(column: &Column<'_>, numbers: &[f64], stringed: bool, typed: bool) -> bool {
    let count = numbers.len() as f64;
    let size = numbers.iter().map(|number| number.abs()).sum::<f64>() / count;
    if stringed && (column.is_zero_padded() || size >= 1e9) {
        return true;
    }
    // The distance that even numbers keep to the even distribution by chance, plus what is let pass.
    let chance = 0.6 / count.sqrt();
    let even = |leeway: f64| column::unevenness(numbers) < leeway + chance;
    match (stringed, typed) {
        (true, true) => even(0.15),
        (true, false) => even(0.1),
        (false, _) => even(0.1) && (size >= 1e9 || column.is_named_as_identifier()),
    }
}

/// A field whose values are names: of a few things, of many, or of the event itself.
fn name(column: &Column<'_>, distinct: usize) -> Kind {
    let count = column.values.len();
    // One in two hundred may be an event sent twice.
    let returns = count - distinct > count / 200;
    let may_tell = count >= EVENTS_TO_TELL_IDENTIFIERS || column.is_random_by_its_look();
    if !returns && may_tell && !column.must_return_soon() {
        return Kind::Ignore;
    }
    let share = count / KEY_DISTINCT_ONE_IN;
    let is_key = distinct > CATEGORY_DISTINCT_MAX || distinct > share.max(CATEGORY_DISTINCT_SURE);
    if is_key { Kind::Key } else { Kind::Category }
}

#[cfg(test)]
mod tests;
