//! A line of text: an event with one field.
//!
//! The line is kept as it is, spaces included, since indentation tells a stack trace from a message; only the line
//! end goes. It must not guess at structure: that is for whoever writes the topic.

use super::reject;
use crate::flow::{Event, Fault, Rejection, Value};

/// The line as `/message`, without its line end.
pub(super) fn read(content: &str) -> Result<Event, Rejection> {
    let line = content.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() {
        return Err(reject(Fault::Empty, format!("only white space in {} bytes", content.len())));
    }
    Ok(Event { fields: vec![("/message".to_owned(), Value::Text(line.to_owned()))] })
}
