//! Whether a value is what its key takes: type, range, spelling.
//!
//! All that can be said of a value by itself is said here, with its place; what keys mean to each other is `resolve`'s.
//! A value that does not fit is left out, so that the rest is checked against a default that does.

use figment::value::{Dict, Value as Checked};

use super::fault::{Fault, Place, advice, nearest};
use super::keys::{FIELD, FIELD_KEYS, Key, Kind};
use super::units;
use super::written::{Node, Value, bare, shown, structured};

/// Entries of `[[field]]`, at most.
const FIELDS_MAX: usize = 5_000;

/// Levels of the log, as a filter names them.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The value, if it fits; else its faults are added.
pub(super) fn fit(name: &str, kind: &Kind, node: &Node, faults: &mut Vec<Fault>) -> Option<Checked> {
    if let Kind::Names | Kind::Picks(_) = kind {
        return list(name, kind, node, faults);
    }
    if let Value::Broken = node.value {
        return None;
    }
    match scalar(kind, node) {
        Ok(value) => Some(value),
        Err(what) => {
            faults.push(Fault { place: node.place.clone(), key: name.to_owned(), what });
            None
        }
    }
}

/// What stands for an entry of a list that does not fit, so that the others keep their numbers.
const PLACEHOLDER: &str = "";

/// The entries of `[[field]]`; one that does not fit is ignored.
pub(super) fn fields(node: &Node, faults: &mut Vec<Fault>) -> Option<Checked> {
    let node = &loosened(node);
    let say = |place: &Place, what: String| Fault { place: place.clone(), key: FIELD.to_owned(), what };
    let Value::List(items) = &node.value else {
        let what =
            format!("is {}, should be a list: write [[field]] above each entry", node.value.described());
        faults.push(say(&node.place, what));
        return None;
    };
    if items.len() > FIELDS_MAX {
        let what =
            format!("has {} entries, should have at most {FIELDS_MAX}; name what is to be read", items.len());
        faults.push(say(&node.place, what));
        return None;
    }
    let mut fit_all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if let Value::Table(entries) = &item.value {
            fit_all.push(field(index, &item.place, entries, faults));
        } else {
            let what = format!("is {}, should have pointer and kind", item.value.described());
            let key = format!("{FIELD}[{index}]");
            faults.push(Fault { place: item.place.clone(), key, what });
            fit_all.push(Checked::from(ignored()));
        }
    }
    Some(Checked::from(fit_all))
}

/// An entry of `[[field]]` that names nothing.
fn ignored() -> Dict {
    ["pointer", "kind"]
        .into_iter()
        .zip([PLACEHOLDER, "ignore"])
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

fn field(index: usize, place: &Place, entries: &[(String, Node)], faults: &mut Vec<Fault>) -> Checked {
    let mut dict = ignored();
    for (key, node) in entries {
        let name = format!("{FIELD}[{index}].{key}");
        if let Some(Key { kind, .. }) = FIELD_KEYS.iter().find(|known| known.name == key) {
            dict.extend(fit(&name, kind, node, faults).map(|value| (key.clone(), value)));
        } else {
            let advice = advice(key, FIELD_KEYS.iter().map(|known| known.name));
            let what = format!("unknown key {key:?} in [[{FIELD}]]; {advice}");
            faults.push(Fault { place: node.place.clone(), key: String::new(), what });
        }
    }
    for known in FIELD_KEYS {
        if !entries.iter().any(|(key, _)| key == known.name) {
            let what = format!("has no {}; every [[field]] has pointer and kind", known.name);
            faults.push(Fault { place: place.clone(), key: format!("{FIELD}[{index}]"), what });
        }
    }
    Checked::from(dict)
}

/// A list given as text, as the environment does, read as one.
fn loosened(node: &Node) -> Node {
    let value = match &node.value {
        Value::Loose(text) => structured(text, &node.place),
        other => other.clone(),
    };
    Node { place: node.place.clone(), value }
}

fn list(name: &str, kind: &Kind, node: &Node, faults: &mut Vec<Fault>) -> Option<Checked> {
    let (loose, node) = (matches!(node.value, Value::Loose(_)), &loosened(node));
    let say = |place: &Place, key: String, what: String| Fault { place: place.clone(), key, what };
    let items = match &node.value {
        Value::Broken => return None,
        Value::List(items) => items,
        other => {
            let example = if let Kind::Picks(words) = kind { words.first().unwrap_or(&"") } else { &"a" };
            let what = format!("is {}, should be a list such as [\"{example}\"]", other.described());
            faults.push(say(&node.place, name.to_owned(), what));
            return None;
        }
    };
    let mut names = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let key = format!("{name}[{index}]");
        let text = match &item.value {
            Value::Broken => PLACEHOLDER.to_owned(),
            Value::Text(text) | Value::Loose(text) => text.clone(),
            // The lists are lists of names: a name may look like a number.
            Value::Whole(_) | Value::Number(_) | Value::Flag(_) if loose => item.value.described(),
            other => {
                faults.push(say(&item.place, key, format!("is {}, should be a text", other.described())));
                names.push(PLACEHOLDER.to_owned());
                continue;
            }
        };
        let broken = matches!(item.value, Value::Broken);
        match word(kind, &text) {
            Err(what) if !broken => {
                faults.push(say(&item.place, key, what));
                names.push(PLACEHOLDER.to_owned());
            }
            _ => names.push(text),
        }
    }
    if let (Kind::Picks(words), true) = (kind, items.is_empty()) {
        let what = format!("is empty; known are: {}", words.join(", "));
        faults.push(say(&node.place, name.to_owned(), what));
        return None;
    }
    Some(Checked::from(names))
}

fn word(kind: &Kind, text: &str) -> Result<(), String> {
    if let Kind::Picks(words) = kind
        && !words.contains(&text)
    {
        return Err(format!("{} is unknown; {}", shown(text), advice(text, words.iter().copied())));
    }
    if text.trim().is_empty() {
        return Err("is empty; name something or leave it out".to_owned());
    }
    clean(text)
}

/// No C library takes a NUL within a text.
fn clean(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("holds a NUL character; remove it".to_owned()) } else { Ok(()) }
}

fn scalar(kind: &Kind, node: &Node) -> Result<Checked, String> {
    match kind {
        Kind::Flag => flag(&node.value).map(Checked::from).ok_or_else(|| wanted(node, "true or false")),
        Kind::FlagOrAuto => match (flag(&node.value), text(node)) {
            (Some(flag), _) => Ok(Checked::from(flag)),
            (None, Some(word)) if word == "auto" => Ok(Checked::from(word)),
            _ => Err(wanted(node, "\"auto\", true or false")),
        },
        Kind::Whole(range) => {
            if let Value::Number(number) = node.value
                && number.fract() == 0.0
                && number.abs() < 1e15
            {
                return Err(format!(
                    "is written with a point or an exponent, should be a whole number: {number}"
                ));
            }
            let number = whole(&node.value).and_then(|number| u64::try_from(number).ok());
            number.filter(|number| range.contains(number)).map(Checked::from).ok_or_else(|| {
                wanted(node, &format!("a whole number between {} and {}", range.start(), range.end()))
            })
        }
        Kind::Number(range) => number(&node.value)
            .filter(|number| range.contains(number))
            .map(Checked::from)
            .ok_or_else(|| wanted(node, &format!("a number between {} and {}", range.start(), range.end()))),
        Kind::Size(range) => {
            let bytes = match (whole(&node.value), text(node)) {
                (Some(bytes), _) => u64::try_from(bytes).map_err(|_negative| String::new()),
                (None, Some(text)) => units::size(&text).map(|bytes| bytes as u64),
                _ => Err(String::new()),
            };
            let (least, most) = (units::bytes(*range.start()), units::bytes(*range.end()));
            match bytes {
                // As it was written, for whoever asks what is set.
                Ok(bytes) if range.contains(&bytes) => Ok(text(node)
                    .filter(|_| whole(&node.value).is_none())
                    .map_or(Checked::from(bytes), Checked::from)),
                Ok(_) => Err(wanted(node, &format!("between {least} and {most}"))),
                Err(what) if !what.is_empty() => Err(what),
                Err(_) => Err(wanted(node, &format!("a size between {least} and {most}, such as \"64KiB\""))),
            }
        }
        _ => {
            let text = text(node).ok_or_else(|| wanted(node, example(kind)))?;
            clean(&text)?;
            textual(kind, &text)?;
            Ok(Checked::from(text))
        }
    }
}

/// What a key of text wants, where it got something else.
fn example(kind: &Kind) -> &'static str {
    match kind {
        Kind::Duration(..) => "a duration in quotes, such as \"5ms\", \"20s\" or \"10m\"",
        Kind::Budget => "a budget in quotes, such as \"1 in 10000\" or \"20 per day\"",
        _ => "a text in quotes",
    }
}

fn textual(kind: &Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Duration(least, most) => {
            let duration = units::duration(text)?;
            let fits = units::duration(least).is_ok_and(|least| least <= duration)
                && units::duration(most).is_ok_and(|most| duration <= most);
            if fits { Ok(()) } else { Err(format!("is {text:?}, should be between {least} and {most}")) }
        }
        Kind::Choice(words) if !words.contains(&text) => {
            let near = nearest(text, words.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            Err(format!("{} is not one of: {}{near}", shown(text), words.join(", ")))
        }
        Kind::Budget => units::budget(text).map(|_| ()),
        Kind::Device => units::device(text).map(|_| ()),
        Kind::Address => units::address(text).map(|_| ()),
        Kind::Filter => filter(text),
        _ => Ok(()),
    }
}

/// A misspelt level would be taken for the name of a module, and all of the log be lost.
fn filter(text: &str) -> Result<(), String> {
    let bad = format!("{} is not a filter such as \"info\" or \"info,outlierd::source=debug\"", shown(text));
    for part in text.split(',').map(str::trim) {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        let named = part.contains('=') || !(part.contains("::") || part.contains('['));
        let lower = level.to_lowercase();
        if named && !LEVELS.contains(&lower.as_str()) {
            if let Some(near) = nearest(level, LEVELS) {
                return Err(format!("{bad}; did you mean {near:?}?"));
            }
            if part.contains('=') {
                return Err(bad);
            }
        }
    }
    tracing_subscriber::EnvFilter::try_new(text).map(|_| ()).map_err(|_unclear| bad)
}

fn wanted(node: &Node, what: &str) -> String {
    format!("is {}, should be {what}", node.value.described())
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Flag(flag) => Some(*flag),
        Value::Loose(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Whole(number) => Some(*number),
        Value::Loose(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Whole(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::Loose(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        // In a file the quotes are gone already.
        Value::Loose(text) if matches!(node.place, Place::File { .. }) => Some(text.clone()),
        Value::Loose(text) => Some(bare(text)),
        _ => None,
    }
}
