//! What `config/default.toml` says of each key: its comments, read by a program.
//!
//! So one text is the reference for people, for editors and for the command; it must stay as plain as it is: a comment
//! stands right above its key, and `[[field]]`, which has no default, is written out as a comment.

use std::collections::BTreeMap;

/// The comment above each key and section, on one line; keys with their section, `[[field]]`'s as `field.pointer`.
pub(super) fn comments(defaults: &str) -> BTreeMap<String, String> {
    let (mut comments, mut section, mut above) = (BTreeMap::new(), String::new(), Vec::new());
    // Within the entry that is commented out.
    let mut entry = false;
    for line in defaults.lines().map(str::trim) {
        let line = if entry { line.strip_prefix("# ").unwrap_or(line) } else { line };
        if line.is_empty() {
            above.clear();
            entry = false;
        } else if let Some(name) = header(line.trim_start_matches("# ")) {
            entry = line.starts_with('#');
            name.clone_into(&mut section);
            note(&mut comments, section.clone(), &mut above);
        } else if let Some(text) = line.strip_prefix('#') {
            above.push(text.trim());
        } else if let Some((key, _)) = line.split_once('=') {
            note(&mut comments, format!("{section}.{}", key.trim()), &mut above);
        }
    }
    comments
}

fn note(comments: &mut BTreeMap<String, String>, name: String, above: &mut Vec<&str>) {
    let text = above.join(" ");
    above.clear();
    if !text.is_empty() {
        comments.insert(name, text);
    }
}

fn header(line: &str) -> Option<&str> {
    let inside = line.strip_prefix('[')?.strip_suffix(']')?;
    let inside = inside.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')).unwrap_or(inside);
    inside.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_').then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_what_stands_below_it() {
        let text = "# About the file.\n\n# A section,\n# on two lines.\n[a]\n# One.\nb = 1\nc = \"#\"\n\n# Lost.\n\n# Two.\n\
                    # [[field]]\n# # The pointer.\n# pointer = \"/x\"\n\n[d]\n# Three.\ne = []\n";
        let comments = comments(text);
        let found: Vec<(&str, &str)> =
            comments.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let expected = [
            ("a", "A section, on two lines."),
            ("a.b", "One."),
            ("d.e", "Three."),
            ("field", "Two."),
            ("field.pointer", "The pointer."),
        ];
        assert_eq!(found, expected);
    }
}
