//! Patterns of topic names: whether librdkafka takes one, and which topics it means.
//!
//! librdkafka hands a pattern to the C library, as a POSIX extended regular expression. What Perl's dialect has besides
//! either fails there or, worse, means something else (`\d` is the letter d), so it is refused here; what is left means
//! the same to both. A pattern is found anywhere in a name but for its `^`.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use regex::Regex;

/// What POSIX does not have: how it is written, and what to write.
const PERL: &[(&str, &str)] = &[
    (r"\d", "[0-9]"),
    (r"\D", "[^0-9]"),
    (r"\w", "[A-Za-z0-9_]"),
    (r"\W", "[^A-Za-z0-9_]"),
    (r"\s", "nothing: no topic has a space"),
    (r"\S", "."),
    (r"\b", "the characters that may stand there"),
    (r"\B", "the characters that may stand there"),
    ("(?", "("),
    ("*?", "*"),
    ("+?", "+"),
    ("??", "?"),
    ("}?", "}"),
    ("*+", "*"),
    ("++", "+"),
];

/// Says nothing: no broker is asked.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}

/// Whether a topic of the settings is a pattern.
pub fn is_pattern(topic: &str) -> bool {
    topic.starts_with('^')
}

/// Whether librdkafka takes a pattern, and takes it as a person means it.
///
/// # Errors
/// Why not, and what to write.
pub fn check(pattern: &str) -> Result<(), String> {
    for (perl, instead) in PERL {
        if unescaped(pattern).contains(perl) {
            return Err(format!(
                "pattern {pattern:?} has {perl:?}, which POSIX extended regular expressions do not have; write {instead}"
            ));
        }
    }
    let refused = || format!("pattern {pattern:?} is not a POSIX extended regular expression; correct it");
    if pattern.contains('\0') {
        return Err(refused());
    }
    let mut config = ClientConfig::new();
    config.set("group.id", "nobody").set("bootstrap.servers", "").set("log.connection.close", "false");
    // Only subscribing compiles it; without a broker to ask, that is all it does.
    let consumer: BaseConsumer<Silent> =
        config.create_with_context(Silent).map_err(|error| format!("pattern {pattern:?}: {error}"))?;
    consumer.subscribe(&[pattern]).map_err(|_its_code_says_no_more| refused())
}

/// The pattern without backslashes that stand for themselves, so that what follows one is not taken for escaped.
fn unescaped(pattern: &str) -> String {
    pattern.replace(r"\\", "")
}

/// Those of the names that a pattern means; nothing if this cannot be told here.
pub fn matching<'a>(pattern: &str, names: impl IntoIterator<Item = &'a String>) -> Option<Vec<&'a str>> {
    let pattern = Regex::new(pattern).ok()?;
    Some(names.into_iter().map(String::as_str).filter(|name| pattern.is_match(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_c_library_refuses_is_refused_with_a_reason() {
        for pattern in ["^(", "^a[b", "^a{2,1}", "^a\0"] {
            let what = check(pattern).expect_err(pattern);
            assert!(what.contains("is not a POSIX extended regular expression"), "{what}");
        }
        for pattern in ["^", "^logs-[0-9]+$", "^(audit|pay)[.].*", r"^pay\.in\\d", "^a{1,3}", "^[[:digit:]]"]
        {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_it_would_take_for_something_else_is_refused() {
        for (pattern, instead) in [
            (r"^logs-\d+", "write [0-9]"),
            ("^a.*?b", "write *"),
            (r"^\w", "write [A-Za-z0-9_]"),
            ("^(?i)a", "write ("),
        ] {
            let what = check(pattern).expect_err(pattern);
            assert!(what.ends_with(instead), "{what}");
        }
    }

    #[test]
    fn a_pattern_means_what_it_is_found_in() {
        let names: Vec<String> = ["audit.eu", "audits", "pay", "logs-12"].map(str::to_owned).to_vec();
        assert_eq!(matching("^audit[.]", &names), Some(vec!["audit.eu"]));
        assert_eq!(matching("^[[:alpha:]]+-[0-9]{2}$", &names), Some(vec!["logs-12"]));
        assert_eq!(matching("^(", &names), None);
    }
}
