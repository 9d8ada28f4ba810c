//! Layers of configuration put together, and what is wrong with them said in the operator's words.

use std::path::Path;

use figment::error::{Error, Kind};
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::Value;
use figment::{Figment, Source};

use super::raw::Raw;

/// A setting given on the command line: key and value.
pub type Set = (String, String);

/// Defaults, file, environment, command line; later layers win.
pub(super) fn raw(defaults: &str, file: Option<&Path>, sets: &[Set]) -> Result<Raw, Vec<String>> {
    let mut layers = Figment::new().merge(Toml::string(defaults));
    if let Some(path) = file {
        // figment would say only that the file is not there.
        std::fs::read_to_string(path)
            .map_err(|error| vec![format!("cannot read {}: {error}", path.display())])?;
        layers = layers.merge(Toml::file_exact(path));
    }
    // Only names with a section: OUTLIERD_HOME and the like belong to somebody else.
    let environment = Env::prefixed("OUTLIERD_").filter(|key| key.as_str().contains("__")).split("__");
    layers = layers.merge(environment);
    for (key, value) in sets {
        let Ok(value) = value.parse::<Value>();
        layers = layers.merge(Serialized::default(key, value));
    }
    layers.extract().map_err(|errors| errors.into_iter().map(|error| sentence(&error)).collect())
}

/// One error, with the key, where it was set, and what to write instead.
fn sentence(error: &Error) -> String {
    let section = error.path.join(".");
    let place = error.metadata.as_ref().and_then(|metadata| match &metadata.source {
        Some(Source::File(path)) => Some(path.display().to_string()),
        _ if metadata.name.contains("environment") => Some("environment".to_owned()),
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
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate));
    scored.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}
