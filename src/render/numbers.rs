//! The quantity in a scalar.
//!
//! Many producers write numbers as strings. Truth values are not quantities, and what is not finite is not there: no
//! channel may ever see a NaN.

use crate::flow::Value;

/// The finite number that a value is or spells, white space around it aside.
pub(super) fn quantity(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(integer) => Some(*integer as f64),
        Value::Number(number) => Some(*number),
        Value::Text(text) => spelled(text),
        Value::Null | Value::Bool(_) => None,
    }
    .filter(|number| number.is_finite())
}

/// The finite number that a text spells.
pub(super) fn spelled(text: &str) -> Option<f64> {
    let text = text.trim();
    // Rules out `inf`, `nan` and most words before the parser sees them.
    let digit = text.bytes().take(3).any(|byte| byte.is_ascii_digit());
    if digit { text.parse::<f64>().ok().filter(|number| number.is_finite()) } else { None }
}
