//! Environment variables inside the texts of a configuration file.
//!
//! `${VAR}` is the variable's value and `${VAR:-other}` another text where it is unset or empty; `${VAR:?message}` says
//! what is missing. `$${` stands for a literal `${`; any other `$` is itself, as patterns of topics end in one. What
//! was put in is not looked at again: a value can never reach another variable.

/// Finds the value of a variable.
///
/// # Errors
/// Why it cannot be used, for a variable that is set.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<String>, String>;

/// Whether a text has anything to put in or to unescape.
pub(super) fn needed(text: &str) -> bool {
    text.contains("${")
}

/// The text with its variables put in.
///
/// # Errors
/// Everything that is wrong, one message each.
pub(super) fn interpolate(text: &str, lookup: Lookup<'_>) -> Result<String, Vec<String>> {
    let (mut out, mut faults) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            faults.push("has a ${ without its }; close it, or write $${ for a literal ${".to_owned());
            rest = "";
            break;
        };
        match value(&after[..end], lookup) {
            Ok(value) => out.push_str(&value),
            Err(fault) => faults.push(fault),
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    if faults.is_empty() { Ok(out) } else { Err(faults) }
}

fn value(inside: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = inside.find(|c| !letters(c)).unwrap_or(inside.len());
    let (name, form) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("${{{inside}}} names no variable; write ${{NAME}}, or $${{ for a literal ${{"));
    }
    let found = lookup(name).map_err(|why| format!("the environment variable {name} {why}"))?;
    if let Some(other) = form.strip_prefix(":-") {
        return Ok(found.filter(|value| !value.is_empty()).unwrap_or_else(|| other.to_owned()));
    }
    if let Some(message) = form.strip_prefix(":?") {
        let why = if message.is_empty() { "set it" } else { message };
        return found
            .filter(|value| !value.is_empty())
            .ok_or_else(|| format!("the environment variable {name} is not set or empty: {why}"));
    }
    if !form.is_empty() {
        return Err(format!(
            "${{{inside}}} is none of ${{{name}}}, ${{{name}:-default}} and ${{{name}:?message}}"
        ));
    }
    found.ok_or_else(|| {
        format!("the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Result<String, Vec<String>> {
        interpolate(text, &|name| match name {
            "HOST" => Ok(Some("broker".to_owned())),
            "EMPTY" => Ok(Some(String::new())),
            "SELF" => Ok(Some("${HOST}".to_owned())),
            "BAD" => Err("is not UTF-8".to_owned()),
            _ => Ok(None),
        })
    }

    #[test]
    fn the_three_forms_and_the_escape() {
        let same = |text: &str| Ok(text.to_owned());
        assert_eq!(put("${HOST}:9092"), same("broker:9092"));
        assert_eq!(put("${EMPTY}"), same(""));
        assert_eq!(put("${NONE:-a:-b}${EMPTY:-c}${HOST:-d}"), same("a:-bcbroker"));
        assert_eq!(put("${HOST:?no host}"), same("broker"));
        assert_eq!(put("$${HOST} ^a$ $$ ${SELF}"), same("${HOST} ^a$ $$ ${HOST}"));
    }

    #[test]
    fn each_fault_is_said() {
        let faults = put("${NONE} ${EMPTY:?name a host} ${1A} ${} ${HOST:+x} ${BAD} ${open").unwrap_err();
        let starts = [
            "the environment variable NONE is not set; set it, or write ${NONE:-default}",
            "the environment variable EMPTY is not set or empty: name a host",
            "${1A} names no variable",
            "${} names no variable",
            "${HOST:+x} is none of ${HOST}, ${HOST:-default} and ${HOST:?message}",
            "the environment variable BAD is not UTF-8",
            "has a ${ without its }",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }
}
