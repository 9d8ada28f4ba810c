//! What a record's label says, for grading alone.
//!
//! Labels come as numbers, truths or words. What is not one of the usual is an error rather than a guess: a label taken the
//! wrong way round would turn every figure over. A label must never reach the pipeline.

use crate::flow::{Event, Value};

/// Words for a normal event, and for an anomaly, in lower case.
const NORMAL: &[&str] = &["0", "false", "no", "-", "", "normal", "negative", "benign", "ok"];
const ANOMALOUS: &[&str] = &["1", "true", "yes", "anomaly", "anomalous", "abnormal", "positive"];

/// Where labels stand and what they mean.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// JSON pointer of the label; a bare name is a field at the top.
    pub field: String,
    /// Values that mean an anomaly; when there are any, every other value means a normal event.
    pub positive: Vec<String>,
    /// Values that mean a normal event; when there are any, every other value means an anomaly.
    pub normal: Vec<String>,
}

impl Labels {
    /// Whether the event is an anomaly; none where it has no label.
    ///
    /// # Errors
    /// When the label is none that is known: what it is and what it should be.
    pub(super) fn read(&self, pointer: &str, event: &Event) -> Result<Option<bool>, String> {
        let Some(value) = field(event, pointer) else { return Ok(None) };
        let said = match value {
            Value::Null => return Ok(None),
            Value::Bool(truth) => truth.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.trim().to_owned(),
        };
        let among = |values: &[String]| values.contains(&said);
        if !self.positive.is_empty() {
            return Ok(Some(among(&self.positive)));
        }
        if !self.normal.is_empty() {
            return Ok(Some(!among(&self.normal)));
        }
        let word = said.to_lowercase();
        if NORMAL.contains(&word.as_str()) {
            Ok(Some(false))
        } else if ANOMALOUS.contains(&word.as_str()) {
            Ok(Some(true))
        } else {
            let said: String = said.chars().take(40).collect();
            Err(format!(
                "label {pointer} is {said:?}, neither normal (0, false, \"normal\", \"-\") nor an anomaly (1, true, \
                 \"anomaly\"); say which values mean an anomaly with --positive, or which are normal with --normal"
            ))
        }
    }
}

/// A field's value; of a repeated name the last.
pub(super) fn field<'a>(event: &'a Event, pointer: &str) -> Option<&'a Value> {
    event.fields.iter().rev().find(|(name, _)| name == pointer).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &Labels, value: Value) -> Result<Option<bool>, String> {
        labels.read("/label", &Event { fields: vec![("/label".to_owned(), value)] })
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    #[test]
    fn numbers_truths_and_words_are_labels() {
        let labels = Labels::default();
        for (value, expected) in [
            (Value::Integer(1), true),
            (Value::Integer(0), false),
            (Value::Number(1.0), true),
            (Value::Bool(true), true),
            (Value::Bool(false), false),
            (text("1"), true),
            (text(" True "), true),
            (text("Anomaly"), true),
            (text("normal"), false),
            (text("-"), false),
        ] {
            assert_eq!(read(&labels, value.clone()), Ok(Some(expected)), "{value:?}");
        }
        assert_eq!(read(&labels, Value::Null), Ok(None));
        assert_eq!(labels.read("/other", &Event::default()), Ok(None));
    }

    #[test]
    fn a_label_that_is_not_known_is_no_guess_unless_the_operator_says_what_it_means() {
        let labels = Labels::default();
        for odd in [text("KERNDTLB"), Value::Integer(2), Value::Integer(-1), Value::Number(0.5)] {
            assert!(read(&labels, odd).is_err_and(|what| what.contains("--positive")));
        }
        let normal = Labels { normal: vec!["-".to_owned()], ..Labels::default() };
        assert_eq!(read(&normal, text("KERNDTLB")), Ok(Some(true)));
        assert_eq!(read(&normal, text("-")), Ok(Some(false)));
        let positive = Labels { positive: vec!["-1".to_owned()], ..Labels::default() };
        assert_eq!(read(&positive, Value::Integer(-1)), Ok(Some(true)));
        assert_eq!(read(&positive, Value::Integer(1)), Ok(Some(false)));
    }
}
