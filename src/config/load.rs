//! Layers of configuration put together: defaults, file, environment, command line; later ones win.
//!
//! Each layer is checked key by key before it is laid over the others, so that every fault is found and none hides
//! another. What does not fit is left out and said; the types of `raw` then take what is left.

use std::path::Path;

use figment::error::Error;
use figment::value::{Dict, Map, Value as Checked};
use figment::{Figment, Metadata, Profile, Provider};

use super::fault::{Fault, Place, advice, nearest};
use super::keys::{self, FIELD, KEYS, OPTIONS};
use super::places::Places;
use super::raw::Raw;
use super::written::{Node, Value, structured};
use super::{document, options, shape};

/// A setting given on the command line: key and value.
pub type Set = (String, String);

/// What begins the name of a variable that is a setting.
const PREFIX: &str = "OUTLIERD_";

/// A variable of the environment: its name, and its value unless that is not UTF-8.
pub(super) type Variable = (String, Option<String>);

/// What was found in all layers.
pub(super) struct Loaded {
    /// All settings, checked.
    pub(super) layers: Figment,
    pub(super) places: Places,
    pub(super) faults: Vec<Fault>,
    /// Whether the file could be read at all: if not, nothing can be said of what it might have held.
    pub(super) complete: bool,
}

impl Loaded {
    /// The settings by their types.
    pub(super) fn raw(&self) -> Result<Raw, Vec<Fault>> {
        // Every value has been checked, so this fails only where the table of keys and the types differ: see the tests.
        self.layers.extract().map_err(|errors| {
            let fault = |error: Error| {
                let key = error.path.join(".");
                Fault { place: self.places.near(&key), key, what: error.kind.to_string() }
            };
            errors.into_iter().map(fault).collect()
        })
    }
}

/// The variables of the process that are settings.
pub(super) fn environment() -> Vec<Variable> {
    let mut found: Vec<Variable> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.into_string().ok()))
        .filter(|(name, _)| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)))
        .collect();
    found.sort();
    found
}

/// The value of a variable, for a text in a file.
fn variable(name: &str) -> Result<Option<String>, String> {
    std::env::var_os(name)
        .map(|value| value.into_string().map_err(|_hidden| "is not UTF-8".to_owned()))
        .transpose()
}

/// All layers, and what is wrong with them.
pub(super) fn layered(defaults: &str, file: Option<&Path>, environment: &[Variable], sets: &[Set]) -> Loaded {
    let mut all =
        Loaded { layers: Figment::new(), places: Places::default(), faults: Vec::new(), complete: true };
    all.document("defaults", defaults, None);
    if let Some(path) = file {
        all.places.file(path.display().to_string());
        match document::read(path) {
            Ok(text) => all.document("file", &text, Some(path)),
            Err(fault) => {
                all.complete = false;
                all.faults.push(fault);
            }
        }
    }
    all.layer("environment", |layer| {
        for (name, text) in environment {
            layer.variable(name, text.as_deref());
        }
    });
    all.layer("command line", |layer| {
        for (key, text) in sets {
            layer.at(&unquoted(key), loose(text, Place::CommandLine));
        }
    });
    all
}

/// `kafka.options."sasl.username"` as people who know TOML write it.
fn unquoted(key: &str) -> String {
    key.replace('"', "")
}

fn loose(text: &str, place: Place) -> Node {
    Node { place, value: Value::Loose(text.to_owned()) }
}

impl Loaded {
    fn document(&mut self, name: &'static str, text: &str, path: Option<&Path>) {
        match document::parse(text, path, &variable, &mut self.faults) {
            Ok(root) => self.layer(name, |layer| {
                if let Value::Table(entries) = root.value {
                    for (key, node) in entries {
                        layer.at(&key, node);
                    }
                }
            }),
            Err(fault) => {
                self.complete = false;
                self.faults.push(fault);
            }
        }
    }

    fn layer(&mut self, name: &'static str, fill: impl FnOnce(&mut Layer<'_>)) {
        for fault in &self.faults {
            self.places.broken(&fault.key);
        }
        let (sections, options) = (Map::new(), Dict::new());
        let (places, faults) = (&mut self.places, &mut self.faults);
        let mut layer = Layer { sections, options, field: None, places, faults };
        fill(&mut layer);
        let checked = Settings { name, dict: layer.dict() };
        for fault in &self.faults {
            self.places.broken(&fault.key);
        }
        self.layers = std::mem::take(&mut self.layers).merge(checked);
    }
}

/// The settings of one layer, as figment takes them.
struct Settings {
    name: &'static str,
    dict: Dict,
}

impl Provider for Settings {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// A layer while it is checked.
struct Layer<'a> {
    sections: Map<&'static str, Dict>,
    options: Dict,
    field: Option<Checked>,
    places: &'a mut Places,
    faults: &'a mut Vec<Fault>,
}

impl Layer<'_> {
    /// All of it, as tables within tables.
    fn dict(self) -> Dict {
        let mut sections = self.sections;
        if !self.options.is_empty() {
            sections.entry("kafka").or_default().insert("options".to_owned(), Checked::from(self.options));
        }
        let sections = sections.into_iter().map(|(name, dict)| (name.to_owned(), Checked::from(dict)));
        sections.chain(self.field.map(|field| (FIELD.to_owned(), field))).collect()
    }

    fn variable(&mut self, name: &str, text: Option<&str>) {
        let place = Place::Variable(name.to_owned());
        let rest = name.get(PREFIX.len()..).unwrap_or_default();
        let Some((section, _)) = rest.split_once("__") else {
            if let Some(meant) = with_sections(&rest.to_lowercase()) {
                self.say(place, "", format!("sets nothing; did you mean {PREFIX}{meant}?"));
            }
            return;
        };
        let Some(text) = text else {
            self.say(place, "", "is not UTF-8; correct its value".to_owned());
            return;
        };
        let parts: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        let path = match parts.as_slice() {
            [kafka, options, name @ ..] if kafka == "kafka" && options == "options" && !name.is_empty() => {
                format!("{OPTIONS}.{}", options::from_variable(&name.join("__")))
            }
            _ if section.is_empty() => {
                self.say(place, "", format!("names no section; write it as in {PREFIX}KAFKA__BROKERS"));
                return;
            }
            parts => parts.join("."),
        };
        self.at(&path, loose(text, place));
    }

    /// Whatever stands at a path: a section, a key, an option.
    fn at(&mut self, path: &str, node: Node) {
        if path == FIELD {
            self.fields(&node);
        } else if path == OPTIONS {
            self.section(path, node);
        } else if let Some(name) = path.strip_prefix(OPTIONS).and_then(|rest| rest.strip_prefix('.')) {
            self.option(name, node);
        } else if let Some(key) = keys::find(path) {
            if let Some(value) = shape::fit(path, &key.kind, &node, self.faults) {
                self.note(path, &node);
                let (section, name) = key.parts();
                self.sections.entry(section).or_default().insert(name.to_owned(), value);
            }
        } else if keys::sections().contains(&path) {
            self.section(path, node);
        } else {
            self.unknown(path, &node);
        }
    }

    fn section(&mut self, path: &str, node: Node) {
        let value = match node.value {
            Value::Loose(text) => structured(&text, &node.place),
            other => other,
        };
        match value {
            Value::Table(entries) => {
                self.places.note(path.to_owned(), node.place);
                for (key, node) in entries {
                    self.at(&format!("{path}.{key}"), node);
                }
            }
            Value::Broken => {}
            Value::List(_) => {
                self.say(node.place, path, format!("is a list, should be a section: write [{path}], once"));
            }
            other => {
                let what = format!(
                    "is {}, should be a section: write [{path}] and its keys below",
                    other.described_hidden()
                );
                self.say(node.place, path, what);
            }
        }
    }

    /// An option, or several whose names begin alike: without quotes around it TOML takes a name with dots for tables.
    fn option(&mut self, name: &str, node: Node) {
        if let Value::Table(entries) = node.value {
            for (key, node) in entries {
                self.option(&format!("{name}.{key}"), node);
            }
            return;
        }
        let key = format!("{OPTIONS}.{name}");
        if let Some(value) = options::fit(name, &node, self.faults) {
            self.places.set(&key, node.place);
            self.options.insert(name.to_owned(), value);
        }
    }

    fn fields(&mut self, node: &Node) {
        if let Value::List(items) = &node.value {
            for (index, item) in items.iter().enumerate() {
                self.places.note(format!("{FIELD}[{index}]"), item.place.clone());
                if let Value::Table(entries) = &item.value {
                    for (key, node) in entries {
                        self.places.note(format!("{FIELD}[{index}].{key}"), node.place.clone());
                    }
                }
            }
        }
        if let Some(value) = shape::fields(node, self.faults) {
            self.places.note(FIELD.to_owned(), node.place.clone());
            self.field = Some(value);
        }
    }

    /// Where a key was set, and each entry of its list.
    fn note(&mut self, key: &str, node: &Node) {
        self.places.set(key, node.place.clone());
        if let Value::List(items) = &node.value {
            for (index, item) in items.iter().enumerate() {
                self.places.note(format!("{key}[{index}]"), item.place.clone());
            }
        }
    }

    fn unknown(&mut self, path: &str, node: &Node) {
        let sections = keys::sections();
        let Some((section, name)) = path.split_once('.') else {
            let what = match owner(path) {
                _ if matches!(node.value, Value::Table(_) | Value::List(_)) => {
                    format!("unknown section [{path}]; {}", section_advice(path))
                }
                Some(section) => {
                    format!("unknown key {path:?} outside of a section; it belongs in [{section}]")
                }
                None => format!(
                    "unknown key {path:?} outside of a section; sections are: {}",
                    sections.join(", ")
                ),
            };
            self.say(node.place.clone(), "", what);
            return;
        };
        if !sections.contains(&section) {
            self.say(
                node.place.clone(),
                "",
                format!("unknown section [{section}]; {}", section_advice(section)),
            );
            return;
        }
        let outer = path.rsplit_once('.').map_or("", |(outer, _)| outer);
        if keys::find(outer).is_some() {
            self.say(node.place.clone(), outer, "is a key, not a section; give it its value".to_owned());
            return;
        }
        let known = keys::of(section);
        if let Some(near) = nearest(name, known.iter().copied()) {
            // Whoever misspelt it did set it.
            self.places.broken(&format!("{section}.{near}"));
        }
        let advice = match owner(name).filter(|_| nearest(name, known.iter().copied()).is_none()) {
            Some(owner) => format!("it belongs in [{owner}]"),
            None if section == "kafka" && name.contains('.') => {
                "options of librdkafka belong in [kafka.options]".to_owned()
            }
            None => advice(name, known),
        };
        self.say(node.place.clone(), "", format!("unknown key {name:?} in [{section}]; {advice}"));
    }

    fn say(&mut self, place: Place, key: &str, what: String) {
        self.faults.push(Fault { place, key: key.to_owned(), what });
    }
}

/// What a variable may have been meant for that has one line where two belong, if it begins with a section. Others
/// (`OUTLIERD_HOME`, what orchestrators say of a service of this name) are somebody else's.
fn with_sections(lower: &str) -> Option<String> {
    if let Some(option) = lower.strip_prefix("kafka_options_").or_else(|| lower.strip_prefix("kafka_option_"))
    {
        return Some(format!("KAFKA__OPTIONS__{}", option.to_uppercase()));
    }
    let section = keys::sections().into_iter().find(|section| lower.starts_with(&format!("{section}_")))?;
    let name = lower.get(section.len() + 1..)?;
    let near = nearest(name, keys::of(section))?;
    Some(format!("{section}__{near}").to_uppercase())
}

/// The section that has a key of this name.
fn owner(name: &str) -> Option<&'static str> {
    KEYS.iter().map(keys::Key::parts).find(|(_, key)| *key == name).map(|(section, _)| section)
}

fn section_advice(name: &str) -> String {
    let sections = keys::sections();
    match nearest(name, sections.iter().copied()) {
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("known are: {}", sections.join(", ")),
    }
}
