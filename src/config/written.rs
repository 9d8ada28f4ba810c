//! A value as somebody wrote it, with its place, whatever way it came.
//!
//! A file says whether `7` is a number or a text. The environment and the command line cannot: what they give is loose,
//! and read as its key wants it.

use figment::value::{Num, Value as Parsed};

use super::fault::Place;

/// Longest value that is shown in a message, in characters.
const SHOWN_MAX: usize = 60;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// Text whose kind follows from its key.
    Loose(String),
    Flag(bool),
    Whole(i64),
    Number(f64),
    Date(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// A fault was said of it already.
    Broken,
}

impl Value {
    /// What it is, for a message: `text "abc"`, `7`, `a list`.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {}", shown(text)),
            Self::Loose(text) => shown(text),
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Date(date) => format!("the date {date}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Broken => "not readable".to_owned(),
        }
    }

    /// The same without what it says: of what may be a secret.
    pub(super) fn described_hidden(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "a text",
            Self::Flag(_) => "true or false",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Broken => "not readable",
        }
    }
}

/// A text in quotes, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_MAX).collect();
    format!("{:?}", format!("{start}…"))
}

/// A list or a table given as text, such as `["a", b]` or `{ a = 1 }`; a text stays loose.
pub(super) fn structured(text: &str, place: &Place) -> Value {
    let Ok(parsed) = text.parse::<Parsed>();
    match parsed {
        Parsed::Array(..) | Parsed::Dict(..) => node(parsed, place).value,
        _ => Value::Loose(text.to_owned()),
    }
}

/// A text given on the command line or by the environment: without the blanks around it, and without quotes, which
/// keep blanks.
pub(super) fn bare(text: &str) -> String {
    let trimmed = text.trim();
    match trimmed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(_) => {
            let Ok(parsed) = trimmed.parse::<Parsed>();
            parsed.into_string().unwrap_or_else(|| trimmed.to_owned())
        }
        None => trimmed.to_owned(),
    }
}

fn node(parsed: Parsed, place: &Place) -> Node {
    let value = match parsed {
        Parsed::String(_, text) => Value::Text(text),
        Parsed::Char(_, letter) => Value::Text(letter.to_string()),
        Parsed::Bool(_, flag) => Value::Flag(flag),
        Parsed::Num(_, number) => match whole(number) {
            Some(whole) => Value::Whole(whole),
            None => Value::Number(number.to_f64().unwrap_or(f64::NAN)),
        },
        Parsed::Empty(..) => Value::Text(String::new()),
        Parsed::Array(_, items) => Value::List(items.into_iter().map(|item| node(item, place)).collect()),
        Parsed::Dict(_, entries) => {
            Value::Table(entries.into_iter().map(|(key, value)| (key, node(value, place))).collect())
        }
    };
    Node { place: place.clone(), value }
}

fn whole(number: Num) -> Option<i64> {
    let unsigned = number.to_u128().and_then(|number| i64::try_from(number).ok());
    unsigned.or_else(|| number.to_i128().and_then(|number| i64::try_from(number).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(bare(" a b "), "a b");
        assert_eq!(bare("\"query: \""), "query: ");
        assert_eq!(bare("\""), "\"");
    }

    #[test]
    fn a_long_value_is_cut_and_a_control_character_written_out() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert_eq!(shown(&"é".repeat(70)).chars().count(), 63);
    }

    #[test]
    fn lists_and_tables_are_read_and_texts_stay() {
        let Value::List(items) = structured("[1, two, \"3\"]", &Place::CommandLine) else {
            panic!("no list")
        };
        let described: Vec<String> = items.iter().map(|item| item.value.described()).collect();
        assert_eq!(described, ["1", "the text \"two\"", "the text \"3\""]);
        let Value::Table(entries) = structured("{\"a.b\" = 20}", &Place::CommandLine) else {
            panic!("no table")
        };
        assert_eq!((entries[0].0.as_str(), entries[0].1.value.described()), ("a.b", "20".to_owned()));
        assert!(matches!(structured("[broken", &Place::CommandLine), Value::Loose(_)));
    }
}
