//! Layers of configuration put together, and what is wrong with them said in the operator's words.

use std::path::Path;

use figment::error::{Error, Kind};
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::raw::{Raw, Scalar};

/// A setting given on the command line: key and value.
pub type Set = (String, String);

/// Defaults, file, environment, command line; later layers win.
pub(super) fn raw(defaults: &str, file: Option<&Path>, sets: &[Set]) -> Result<Raw, Vec<String>> {
    // Only names with a section: OUTLIERD_HOME and the like belong to somebody else.
    let environment = Env::prefixed("OUTLIERD_").filter(|key| key.as_str().contains("__")).split("__");
    let environment: Vec<Set> = environment.iter().map(|(key, text)| (key.to_string(), text)).collect();
    layered(defaults, file, &environment, sets)
}

fn layered(
    defaults: &str,
    file: Option<&Path>,
    environment: &[Set],
    sets: &[Set],
) -> Result<Raw, Vec<String>> {
    let defaults = Figment::new().merge(Toml::string(defaults));
    let mut layers = defaults.clone();
    if let Some(path) = file {
        // figment would say only that the file is not there.
        std::fs::read_to_string(path)
            .map_err(|error| vec![format!("cannot read {}: {error}", path.display())])?;
        layers = layers.merge(Toml::file_exact(path));
    }
    for (place, given) in [(ENVIRONMENT, environment), ("command line", sets)] {
        for (key, text) in given {
            layers = layers.merge(Given { place, key, value: typed(&defaults, key, text) });
        }
    }
    layers.extract().map_err(|errors| errors.into_iter().map(|error| sentence(&error)).collect())
}

/// Where a setting was given, for the operator.
const ENVIRONMENT: &str = "environment";

/// A setting given as text, and where.
struct Given<'a> {
    place: &'static str,
    key: &'a str,
    value: Value,
}

impl Provider for Given<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Serialized::default(self.key, &self.value).data()
    }
}

/// A setting given as text. What looks like a number or a truth is one only where the default is none of text: a
/// consumer group may be called `007`, a topic `true`.
fn typed(defaults: &Figment, key: &str, text: &str) -> Value {
    let Ok(value) = text.parse::<Value>();
    match (defaults.find_value(key), value) {
        (Ok(Value::String(..)), Value::Num(..) | Value::Bool(..)) => Value::from(text.trim()),
        // The lists are lists of names.
        (Ok(Value::Array(..)), Value::Array(tag, items)) => {
            let name =
                |item: Value| item.deserialize::<Scalar>().map_or(item, |name| Value::from(name.text()));
            Value::Array(tag, items.into_iter().map(name).collect())
        }
        (_, value) => value,
    }
}

/// One error, with the key, where it was set, and what to write instead.
fn sentence(error: &Error) -> String {
    let section = error.path.join(".");
    let place = error.metadata.as_ref().and_then(|metadata| match &metadata.source {
        Some(Source::File(path)) => Some(path.display().to_string()),
        _ if metadata.name == ENVIRONMENT => Some(ENVIRONMENT.to_owned()),
        _ => None,
    });
    let place = place.map_or_else(String::new, |place| format!("{place}: "));
    let what = match &error.kind {
        Kind::UnknownField(name, known) => {
            let near = nearest(name, known);
            let hint = near.map_or_else(
                || format!("known are: {}", known.join(", ")),
                |near| format!("did you mean {near:?}?"),
            );
            return format!("{place}unknown key {:?}{}; {hint}", name, within(&section, name));
        }
        Kind::UnknownVariant(name, known) => format!("{name:?} is not one of: {}", known.join(", ")),
        Kind::InvalidType(actual, wanted) | Kind::InvalidValue(actual, wanted) => {
            format!("is {actual}, should be {wanted}")
        }
        Kind::MissingField(name) => format!("{name:?} is missing"),
        other => other.to_string(),
    };
    format!("{place}{section}: {what}")
}

fn within(section: &str, name: &str) -> String {
    let section = section.strip_suffix(name).unwrap_or(section).trim_end_matches('.');
    if section.is_empty() { String::new() } else { format!(" in [{section}]") }
}

/// The known name that a misspelt one is nearest to, if any is near.
pub(super) fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate));
    scored.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, text: &str) -> Set {
        (key.to_owned(), text.to_owned())
    }

    #[test]
    fn names_made_of_digits_are_names_and_numbers_are_numbers() {
        let environment =
            [set("kafka.instance", "0"), set("kafka.group", "007"), set("detect.window", "500")];
        let sets = [
            set("sink.topic", "7"),
            set("sink.path", "2024.10"),
            set("model.prefix", "true"),
            set("kafka.fetch_memory", "1048576"),
            set("source.topics", "[2024, \"007\", logs, true]"),
            set("source.follow", "true"),
            set("alert.similarity", "0.5"),
        ];
        let raw = layered(crate::config::DEFAULTS, None, &environment, &sets).expect("all are valid");
        assert_eq!((&*raw.kafka.instance, &*raw.kafka.group, raw.detect.window), ("0", "007", 500));
        assert_eq!((&*raw.sink.topic, &*raw.sink.path, &*raw.model.prefix), ("7", "2024.10", "true"));
        assert_eq!(raw.kafka.fetch_memory.bytes(), Ok(1 << 20));
        assert_eq!(raw.source.topics, ["2024", "007", "logs", "true"]);
        assert!(raw.source.follow && (raw.alert.similarity - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        let environment = [set("detect.window", "many")];
        let errors = layered(crate::config::DEFAULTS, None, &environment, &[]).expect_err("no number");
        assert!(errors[0].starts_with("environment: detect.window: is "), "{errors:?}");
    }
}
