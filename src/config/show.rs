//! The settings in effect, each with where it came from.
//!
//! As TOML it can be given back as a configuration, but for secrets, which are never shown, whether they came as they
//! are or by a file.

use std::fmt::Write as _;

use figment::value::{Dict, Num, Value};
use serde_json::{Map, json};

use super::fault::Place;
use super::keys::{FIELD, FIELD_KEYS, KEYS, Key, OPTIONS};
use super::load::Loaded;
use super::options;
use super::secret::REDACTED;
use crate::sink::wire::printable;

/// A setting: its key, its value, its place.
struct Setting {
    section: &'static str,
    /// As TOML writes it.
    name: String,
    value: serde_json::Value,
    place: Place,
}

/// All settings, as TOML with a comment each.
pub(super) fn toml(loaded: &Loaded) -> String {
    let (mut out, mut section) = (String::new(), "");
    let settings = settings(loaded);
    let width =
        settings.iter().map(|setting| width(&line(setting))).filter(|width| *width <= 60).max().unwrap_or(0);
    for setting in &settings {
        if setting.section != section {
            section = setting.section;
            let gap = if out.is_empty() { "" } else { "\n" };
            let _never_fails = writeln!(out, "{gap}[{section}]");
        }
        let line = line(setting);
        let blanks = " ".repeat(width.saturating_sub(self::width(&line)));
        let _never_fails = writeln!(out, "{line}{blanks}  # {}", commented(&setting.place));
    }
    for (index, field) in fields(loaded).iter().enumerate() {
        let place = loaded.places.set_at(&format!("{FIELD}[{index}]"));
        let _never_fails = writeln!(out, "\n[[{FIELD}]]  # {}", commented(&place));
        for Key { name, .. } in FIELD_KEYS {
            let value = field.get(*name).map(json).unwrap_or_default();
            let _never_fails = writeln!(out, "{name} = {}", written(&value));
        }
    }
    out
}

/// All settings as one object: by key, the value and where it came from.
pub(super) fn json_object(loaded: &Loaded) -> serde_json::Value {
    let mut all = Map::new();
    for Setting { section, name, value, place } in settings(loaded) {
        let name = name.trim_matches('"');
        all.insert(format!("{section}.{name}"), sourced(&value, &place));
    }
    let fields: Vec<_> = fields(loaded).iter().map(|field| json(&Value::from(field.clone()))).collect();
    if !fields.is_empty() {
        all.insert(FIELD.to_owned(), sourced(&fields.into(), &loaded.places.set_at(FIELD)));
    }
    all.into()
}

fn sourced(value: &serde_json::Value, place: &Place) -> serde_json::Value {
    match place {
        Place::File { path, line } => json!({"value": value, "source": "file", "file": path, "line": line}),
        Place::Variable(name) => json!({"value": value, "source": "environment", "variable": name}),
        Place::CommandLine => json!({"value": value, "source": "command line"}),
        Place::Default => json!({"value": value, "source": "default"}),
    }
}

fn settings(loaded: &Loaded) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for key in KEYS {
        let (section, name) = key.parts();
        if settings.last().is_some_and(|last| last.section == "kafka") && section != "kafka" {
            settings.extend(options(loaded));
        }
        if let Ok(value) = loaded.layers.find_value(key.name) {
            let place = loaded.places.set_at(key.name);
            settings.push(Setting { section, name: name.to_owned(), value: json(&value), place });
        }
    }
    settings
}

fn options(loaded: &Loaded) -> Vec<Setting> {
    let options = loaded.layers.find_value(OPTIONS).ok().and_then(Value::into_dict).unwrap_or_default();
    let setting = |(name, value): (&String, &Value)| Setting {
        section: OPTIONS,
        name: format!("\"{name}\""),
        value: if options::is_secret(name) { REDACTED.into() } else { json(value) },
        place: loaded.places.set_at(&format!("{OPTIONS}.{name}")),
    };
    options.iter().map(setting).collect()
}

fn fields(loaded: &Loaded) -> Vec<Dict> {
    let fields = loaded.layers.find_value(FIELD).ok().and_then(Value::into_array).unwrap_or_default();
    fields.into_iter().filter_map(Value::into_dict).collect()
}

fn line(setting: &Setting) -> String {
    format!("{} = {}", setting.name, written(&setting.value))
}

fn width(line: &str) -> usize {
    line.chars().count()
}

/// A place as a comment: a path may hold anything.
fn commented(place: &Place) -> String {
    printable(&place.to_string())
}

/// A value as TOML has it. JSON's is the same, for texts, numbers and lists of them, but for one character.
fn written(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().replace('\u{7f}', "\\u007f"),
    }
}

pub(super) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(_, text) => text.as_str().into(),
        Value::Char(_, letter) => letter.to_string().into(),
        Value::Bool(_, flag) => (*flag).into(),
        Value::Num(_, number @ (Num::F32(_) | Num::F64(_))) => number.to_f64().into(),
        Value::Num(_, number) => number.to_u128().and_then(|number| u64::try_from(number).ok()).into(),
        Value::Empty(..) => serde_json::Value::Null,
        Value::Array(_, items) => items.iter().map(json).collect::<Vec<_>>().into(),
        Value::Dict(_, dict) => {
            dict.iter().map(|(key, value)| (key.clone(), json(value))).collect::<Map<_, _>>().into()
        }
    }
}
