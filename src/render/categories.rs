//! The text of a scalar: what a category or a key is known by.
//!
//! Two values are the same category when their texts are the same, so the text must be exact (keys of 64 bits do not
//! survive a detour through floating point) and the same on every machine.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use super::words::cut;
use crate::flow::Value;

/// The text of a value, `None` for null.
pub(super) fn exact(value: &Value) -> Option<Cow<'_, str>> {
    let mut written = String::new();
    let done = match value {
        Value::Null => return None,
        Value::Text(text) => return Some(Cow::Borrowed(text)),
        Value::Bool(truth) => return Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Integer(integer) => write!(written, "{integer}"),
        // The shortest digits that read back as the same number; far from 1 with an exponent, since they would
        // be followed by up to 300 zeros.
        Value::Number(number) if *number == 0.0 || (1e-5..1e16).contains(&number.abs()) => {
            write!(written, "{number}")
        }
        Value::Number(number) => write!(written, "{number:e}"),
    };
    done.ok().map(|()| Cow::Owned(written))
}

/// The text of a value, cut to so many bytes.
pub(super) fn written(value: &Value, bytes_max: usize) -> Option<Arc<str>> {
    exact(value).map(|text| Arc::from(cut(&text, bytes_max)))
}
