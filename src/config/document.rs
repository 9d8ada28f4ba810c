//! A configuration file read into values that know their lines.
//!
//! A file that is no TOML has one fault, with its line: what follows cannot be understood. Reading is bounded, since
//! `-c` may name anything.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml_edit::{ImDocument, Item, TableLike, Value as Toml};

use super::fault::{Fault, Place};
use super::interpolate::{Lookup, interpolate, needed};
use super::written::{Node, Value};

/// Largest configuration file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// The text of a file.
///
/// # Errors
/// When there is none to read, with what to do.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let name = path.display().to_string();
    let fault = |line, what: String| Fault {
        place: Place::File { path: name.clone(), line },
        key: String::new(),
        what,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| fault(0, format!("cannot read the configuration: {error}; see -c")))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(fault(0, "is larger than 1 MiB: no configuration; see -c".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        fault(line_at(before), "is not UTF-8; save the file as UTF-8".to_owned())
    })
}

/// The document's root table; `path` is the file's name, none for the defaults.
///
/// # Errors
/// When the text is no TOML. What is wrong with a value is added to `faults` instead.
pub(super) fn parse(
    text: &str,
    path: Option<&Path>,
    lookup: Lookup<'_>,
    faults: &mut Vec<Fault>,
) -> Result<Node, Fault> {
    let lines = Lines::of(text, path.map(|path| path.display().to_string()));
    let document = ImDocument::parse(text).map_err(|error| {
        let what = error.message().trim().replace('\n', ", ");
        let at = error.span().map(|span| span.start);
        let (key, advice) = around(text, at.unwrap_or(0));
        Fault { place: lines.place(at), key, what: format!("is not TOML: {what}; {advice}") }
    })?;
    let mut reader = Reader { lines, lookup, faults };
    let place = reader.lines.place(None);
    Ok(Node { place, value: reader.table("", document.as_table()) })
}

/// The line, from 1, that follows these bytes.
fn line_at(before: &[u8]) -> usize {
    before.split(|byte| *byte == b'\n').count()
}

/// The key in whose line a byte stands, and what to do about a line that is no TOML. Of its value nothing is shown: it may be
/// a secret.
fn around(text: &str, at: usize) -> (String, &'static str) {
    let at = text.floor_char_boundary(at);
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let Some((key, value)) = line.split_once('=') else {
        return (String::new(), "correct this line first");
    };
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-.\"".contains(c);
    let key = Some(key.trim()).filter(|key| key.chars().all(bare)).unwrap_or_default();
    let value = value.trim_start();
    let word = value.split([' ', '#', ',']).next().unwrap_or_default();
    let flag = ["true", "false"].iter().any(|flag| word.eq_ignore_ascii_case(flag));
    let begins = word.starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '$');
    let advice = match word.contains(|c: char| c.is_alphabetic() || c == '/') && begins {
        _ if flag => "true and false are written in small letters, and nothing behind them",
        true => "write texts, durations and sizes in quotes",
        false => "correct this line first",
    };
    (key.to_owned(), advice)
}

/// Finds lines.
struct Lines {
    /// Where each begins.
    starts: Vec<usize>,
    path: Option<String>,
}

impl Lines {
    fn of(text: &str, path: Option<String>) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(ends).collect(), path }
    }

    /// The place of a byte; of the file as a whole for none.
    fn place(&self, at: Option<usize>) -> Place {
        let Some(path) = &self.path else { return Place::Default };
        let line = at.map_or(0, |at| self.starts.partition_point(|start| *start <= at));
        Place::File { path: path.clone(), line }
    }
}

struct Reader<'a> {
    lines: Lines,
    lookup: Lookup<'a>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn table(&mut self, name: &str, table: &dyn TableLike) -> Value {
        let mut entries = Vec::new();
        for (key, item) in table.iter() {
            let at = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            let place = self.lines.place(at.map(|span| span.start));
            let full = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
            let value = self.item(&full, item, &place);
            entries.push((key.to_owned(), Node { place, value }));
        }
        Value::Table(entries)
    }

    fn item(&mut self, name: &str, item: &Item, place: &Place) -> Value {
        match item {
            Item::None => Value::Broken,
            Item::Value(value) => self.value(name, value, place),
            Item::Table(table) => self.table(name, table),
            Item::ArrayOfTables(tables) => {
                let mut items = Vec::new();
                for (index, table) in tables.iter().enumerate() {
                    let place = self.lines.place(table.span().map(|span| span.start));
                    let value = self.table(&format!("{name}[{index}]"), table);
                    items.push(Node { place, value });
                }
                Value::List(items)
            }
        }
    }

    fn value(&mut self, name: &str, value: &Toml, place: &Place) -> Value {
        match value {
            Toml::String(text) => self.text(name, text.value(), place),
            Toml::Integer(number) => Value::Whole(*number.value()),
            Toml::Float(number) => Value::Number(*number.value()),
            Toml::Boolean(flag) => Value::Flag(*flag.value()),
            Toml::Datetime(date) => Value::Date(date.value().to_string()),
            Toml::InlineTable(table) => self.table(name, table),
            Toml::Array(array) => {
                let mut items = Vec::new();
                for (index, item) in array.iter().enumerate() {
                    let place = self.lines.place(item.span().map(|span| span.start));
                    let value = self.value(&format!("{name}[{index}]"), item, &place);
                    items.push(Node { place, value });
                }
                Value::List(items)
            }
        }
    }

    fn text(&mut self, name: &str, text: &str, place: &Place) -> Value {
        if !needed(text) {
            return Value::Text(text.to_owned());
        }
        match interpolate(text, self.lookup) {
            // A variable may hold a number: its kind follows from the key.
            Ok(text) => Value::Loose(text),
            Err(what) => {
                let fault = |what| Fault { place: place.clone(), key: name.to_owned(), what };
                self.faults.extend(what.into_iter().map(fault));
                Value::Broken
            }
        }
    }
}
