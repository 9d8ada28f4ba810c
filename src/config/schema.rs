//! The configuration as a JSON Schema (draft 2020-12), which editors for TOML take.
//!
//! It is made of the table of keys, for what may stand where, and of `config/default.toml`, for defaults and meanings;
//! there is nothing to keep in step by hand. It accepts all that the command accepts, but for names of options without
//! quotes around their dots. What only two settings together show, and limits of durations, it cannot say.

use serde_json::{Map, Value, json};

use super::keys::{FIELD, FIELD_KEYS, KEYS, Key, Kind, OPTIONS};
use super::load::Loaded;
use super::options;
use super::reference::comments;
use super::show::json as value;

/// A number with an optional part behind the point, as durations and sizes begin.
const AMOUNT: &str = r"([0-9]+\.?[0-9]*|\.[0-9]+)";

/// The schema; `defaults` is the first layer alone, from the text `reference`.
pub(super) fn schema(reference: &str, defaults: &Loaded) -> Value {
    let comments = comments(reference);
    let described = |mut schema: Value, name: &str| {
        if let (Some(text), Some(object)) = (comments.get(name), schema.as_object_mut()) {
            object.insert("description".to_owned(), text.as_str().into());
        }
        schema
    };
    let mut sections = Map::new();
    for key in KEYS {
        let (section, name) = key.parts();
        let mut schema = described(kind(&key.kind), key.name);
        if let (Ok(default), Some(object)) = (defaults.layers.find_value(key.name), schema.as_object_mut()) {
            object.insert("default".to_owned(), value(&default));
        }
        let table = sections.entry(section).or_insert_with(|| described(table(&Map::new(), &[]), section));
        if let Some(properties) = table["properties"].as_object_mut() {
            properties.insert(name.to_owned(), schema);
        }
    }
    if let Some(properties) = sections.get_mut("kafka").and_then(|kafka| kafka["properties"].as_object_mut())
    {
        properties.insert("options".to_owned(), described(librdkafka(), OPTIONS));
    }
    let entry =
        |key: &Key| (key.name.to_owned(), described(kind(&key.kind), &format!("{FIELD}.{}", key.name)));
    let required: Vec<&str> = FIELD_KEYS.iter().map(|key| key.name).collect();
    let fields = json!({"type": "array", "items": table(&FIELD_KEYS.iter().map(entry).collect(), &required)});
    sections.insert(FIELD.to_owned(), described(fields, FIELD));
    let mut all = table(&sections, &[]);
    all["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    all["title"] = "Configuration of outlierd".into();
    all["$defs"] = json!({"variable": {
        "type": "string",
        "pattern": r"\$\{",
        "description": "${VAR}, ${VAR:-default} or ${VAR:?message}: of the environment.",
    }});
    all
}

fn table(properties: &Map<String, Value>, required: &[&str]) -> Value {
    let mut table = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

/// Any text may hold a variable, so a number may come as one.
fn or_variable(schemas: &[Value]) -> Value {
    let variable = json!({"$ref": "#/$defs/variable"});
    let all: Vec<&Value> = schemas.iter().chain([&variable]).collect();
    json!({"anyOf": all})
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Filter => json!({"type": "string"}),
        Kind::Flag => or_variable(&[json!({"type": "boolean"})]),
        Kind::Whole(range) => {
            or_variable(&[json!({"type": "integer", "minimum": range.start(), "maximum": range.end()})])
        }
        Kind::Number(range) => {
            or_variable(&[json!({"type": "number", "minimum": range.start(), "maximum": range.end()})])
        }
        Kind::Size(range) => or_variable(&[
            json!({"type": "integer", "minimum": range.start(), "maximum": range.end()}),
            json!({"type": "string", "pattern": format!(r"^\s*{AMOUNT}\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\s*$")}),
        ]),
        Kind::Duration(..) => or_variable(&[
            json!({"type": "string", "pattern": format!(r"^\s*{AMOUNT}\s*(ms|s|m|min|h|d)\s*$")}),
        ]),
        Kind::Choice(words) => or_variable(&[json!({"enum": words})]),
        Kind::Names => or_variable(&[json!({"type": "array", "items": {"type": "string", "minLength": 1}})]),
        Kind::Picks(words) => {
            let item = or_variable(&[json!({"enum": words})]);
            or_variable(&[json!({"type": "array", "items": item, "minItems": 1})])
        }
        Kind::Budget => {
            let number = "[0-9][0-9_,.]*";
            let words = format!(r"^\s*{number}\s+(in\s+{number}|per\s+(minute|hour|day|week))\s*$");
            or_variable(&[json!({"type": "string", "pattern": words})])
        }
        Kind::Address => {
            or_variable(&[json!({"type": "string", "pattern": r"^$|^[0-9a-fA-F.:\[\]%]+:[0-9]{1,5}$"})])
        }
        Kind::Device => {
            or_variable(&[json!({"type": "string", "pattern": "^(auto|cpu|cuda|cuda:[0-9]{1,5})$"})])
        }
        Kind::FlagOrAuto => or_variable(&[json!({"enum": ["auto", true, false]})]),
    }
}

/// The options that pass through to librdkafka; which values each takes it knows itself.
fn librdkafka() -> Value {
    let any = json!({"type": ["string", "number", "boolean"]});
    let mut properties: Map<String, Value> =
        options::ALLOWED.iter().map(|name| ((*name).to_owned(), any.clone())).collect();
    for name in options::SECRET {
        properties.insert((*name).to_owned(), json!({"type": "string", "minLength": 1}));
        let file = format!("{name}{}", options::FILE);
        let description = format!("A file that holds {name} and nothing else.");
        properties.insert(file, json!({"type": "string", "minLength": 1, "description": description}));
    }
    table(&properties, &[])
}
