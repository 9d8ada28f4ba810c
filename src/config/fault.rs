//! What is wrong with a setting, and where it was written.
//!
//! Every message has one form, `place: key: what is wrong; what to do`, so that an editor can jump to the line and a
//! person need not know how settings are read. It must never hold a value that may be a secret.

use std::fmt;

use crate::sink::wire::printable;

/// Faults that are said at once, at most: nobody reads more.
const LINES_MAX: usize = 200;

/// Where a setting was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A line of the configuration file, from 1; 0 for the file as a whole.
    File { path: String, line: usize },
    /// An environment variable.
    Variable(String),
    /// `--set` and other flags.
    CommandLine,
    /// Nowhere: it is the default.
    #[default]
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => f.write_str(path),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("command line"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    pub(super) place: Place,
    /// Empty where `what` names it.
    pub(super) key: String,
    /// What is wrong, and what to do.
    pub(super) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names in a file may hold anything.
        if self.place != Place::Default {
            write!(f, "{}: ", printable(&self.place.to_string()))?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", printable(&self.key))?;
        }
        f.write_str(&printable(&self.what))
    }
}

/// The faults as lines, those of the file first and in its order.
pub(super) fn lines(mut faults: Vec<Fault>) -> Vec<String> {
    faults.sort();
    faults.dedup();
    let mut lines: Vec<String> = faults.iter().take(LINES_MAX).map(Fault::to_string).collect();
    if let Some(more @ 1..) = faults.len().checked_sub(LINES_MAX) {
        lines.push(format!("and {more} more like these"));
    }
    lines
}

/// The known name that a misspelt one is nearest to, if any is near.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let scored = known.into_iter().map(|candidate| (strsim::jaro_winkler(&lower, candidate), candidate));
    scored.filter(|(likeness, _)| *likeness > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// The same as advice: the near name, or all that are known.
pub(super) fn advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    nearest(name, known.clone()).map_or_else(
        || format!("known are: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean {near:?}?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_the_order_of_the_file() {
        let fault = |place, key: &str| Fault { place, key: key.to_owned(), what: "is odd".to_owned() };
        let at = |line| Place::File { path: "a.toml".to_owned(), line };
        let faults = vec![
            fault(Place::Default, "a.b"),
            fault(Place::CommandLine, "a.c"),
            fault(at(10), "a.d"),
            fault(at(9), ""),
            fault(at(9), ""),
            fault(Place::Variable("OUTLIERD_A__E".to_owned()), "a.e"),
        ];
        let expected = [
            "a.toml:9: is odd",
            "a.toml:10: a.d: is odd",
            "environment OUTLIERD_A__E: a.e: is odd",
            "command line: a.c: is odd",
            "a.b: is odd",
        ];
        assert_eq!(lines(faults), expected);
    }

    #[test]
    fn advice_names_the_near_or_all() {
        assert_eq!(advice("topicz", ["kind", "topics"]), "did you mean \"topics\"?");
        assert_eq!(advice("zzz", ["kind", "topics"]), "known are: kind, topics");
    }
}
