//! The alert as it is read back. Lenient in what may be missing, since large alerts are cut and versions differ; strict
//! in whether it is an alert at all.

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alert {
    pub(super) message: String,
    pub(super) event: Event,
    pub(super) outlierd: Detail,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) action: String,
    pub(super) start: String,
    pub(super) risk_score_norm: f64,
    pub(super) original: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    pub(super) incident: Incident,
    pub(super) surprise: f64,
    pub(super) threshold: f64,
    pub(super) budget: String,
    pub(super) channels: Vec<Found>,
    pub(super) reasons: Vec<Reason>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) source: Source,
    pub(super) seen: u64,
    pub(super) service: String,
    pub(super) config: String,
    pub(super) embedder: String,
    pub(super) version: String,
    pub(super) truncated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) count: u64,
    pub(super) first_offset: i64,
    pub(super) last_offset: i64,
    pub(super) last_time: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Found {
    pub(super) channel: String,
    pub(super) field: String,
    pub(super) surprise: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reason {
    pub(super) channel: String,
    pub(super) field: String,
    pub(super) value: String,
    pub(super) expected: String,
    pub(super) context: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Neighbour {
    pub(super) channel: String,
    pub(super) field: String,
    pub(super) text: String,
    pub(super) distance: f64,
    pub(super) offset: i64,
    pub(super) count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    /// Empty in alerts of earlier versions.
    pub(super) kind: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<String>,
}

/// The alert in a JSON value: its own object, or the `data` of a structured `CloudEvents` envelope.
///
/// # Errors
/// Why it is none.
pub(super) fn read(value: Value) -> Result<Alert, String> {
    let value = match value {
        Value::Object(mut object) if object.contains_key("specversion") && object.contains_key("data") => {
            object.remove("data").unwrap_or_default()
        }
        other => other,
    };
    let Value::Object(object) = &value else {
        return Err(format!("not an alert of outlierd: a JSON {}", kind(&value)));
    };
    if !object.get("outlierd").is_some_and(Value::is_object) {
        let names: Vec<String> = object.keys().take(6).map(|name| format!("{name:?}")).collect();
        return Err(format!(
            "not an alert of outlierd: no object \"outlierd\", but {}",
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        ));
    }
    if value.pointer("/event/kind").and_then(Value::as_str) != Some("alert") {
        return Err("not an alert of outlierd: event.kind is not \"alert\"".to_owned());
    }
    serde_json::from_value(value).map_err(|error| format!("not an alert as this version writes it: {error}"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "truth value",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_alerts_are_alerts() {
        for (value, why) in [
            (json!(null), "a JSON null"),
            (json!([1]), "a JSON list"),
            (json!({}), "but nothing"),
            (json!({"level": "info", "message": "x"}), "\"level\", \"message\""),
            (json!({"outlierd": {}, "event": {"kind": "metric"}}), "event.kind"),
            (
                json!({"outlierd": {"surprise": "much"}, "event": {"kind": "alert"}}),
                "as this version writes it",
            ),
        ] {
            let said = read(value).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn what_was_cut_away_is_no_reason_to_refuse_and_an_envelope_is_opened() {
        let least = json!({"outlierd": {}, "event": {"kind": "alert"}});
        assert!(read(least.clone()).unwrap().outlierd.reasons.is_empty());
        assert!(
            read(json!({"specversion": "1.0", "type": "io.outlierd.incident.opened", "data": least})).is_ok()
        );
    }
}
