//! The rules of the layout, checked: data flows one way, the core touches nothing, files and functions stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the core outwards; each may use only those in rows above its own. Peers do not know each other.
const LAYERS: &[&[&str]] = &[
    &["flow"],
    &["decode", "render", "batch", "detect", "alert", "offsets"],
    &["pipeline"],
    &["metrics"],
    &["source", "embed", "sink", "admin"],
    &["config"],
    &["daemon"],
    &["backtest", "demo", "doctor", "explain"],
    &["cli"],
];

/// Rows of `LAYERS` that are pure.
const PURE_ROWS: usize = 3;

/// What pure code may not name.
const WORLD: &[&str] = &[
    "tokio",
    "rdkafka",
    "ort::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "println!",
    "tracing::",
    "metrics::",
    "async fn",
];

/// Libraries that a single file or folder alone may name.
const OWNED: &[(&str, &[&str])] = &[
    ("rdkafka::", &["src/source/kafka", "src/sink/kafka", "src/demo"]),
    ("ort::", &["src/embed/onnx"]),
    ("tokenizers::", &["src/embed/tokens"]),
    ("ureq::", &["src/embed/pull/transfer"]),
    ("axum::", &["src/admin"]),
    ("figment::", &["src/config"]),
    ("toml_edit::", &["src/config"]),
    ("clap::", &["src/cli"]),
    ("clap_complete::", &["src/cli/completions"]),
    ("clap_mangen::", &["src/cli/completions"]),
    ("arrow_array::", &["src/backtest/rows"]),
    ("arrow_ipc::", &["src/backtest/rows"]),
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn row_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The part of a line that is code.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Modules named after `crate::` in a line of code.
fn names(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        let list = after.strip_prefix('{').map_or_else(|| vec![after], |list| list.split(',').collect());
        for name in list {
            found.push(name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn uses_point_inwards_and_the_core_is_pure() {
    let mut faults = Vec::new();
    for path in files(&root().join("src")) {
        let module = module_of(&path);
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(row) = row_of(&module) else {
            faults.push(format!("{}: not in LAYERS", path.display()));
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        // Tests stand at the end of a file, or in one of their own: they may use the clock.
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
        for (number, line) in lines.enumerate().filter(|_| !path.ends_with("tests.rs")) {
            let code = code(line);
            let at = format!("{}:{}", path.display(), number + 1);
            for name in names(code) {
                let fine = name == module || row_of(&name).is_none_or(|other| other < row);
                if !fine {
                    faults.push(format!("{at}: {module} may not use {name}"));
                }
            }
            if row < PURE_ROWS {
                for word in WORLD.iter().filter(|word| code.contains(**word)) {
                    faults.push(format!("{at}: {module} is pure and may not name {word}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn each_library_has_one_owner() {
    let mut faults = Vec::new();
    for path in files(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let inside = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        for (library, owners) in OWNED {
            let mentions = text.lines().any(|line| {
                let code = code(line);
                code.match_indices(library).any(|(at, _)| {
                    !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before))
                })
            });
            if mentions && !owners.iter().any(|owner| inside.starts_with(owner)) {
                faults.push(format!("{inside}: only {owners:?} may name {library}"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn files_and_functions_stay_small_and_say_what_they_are() {
    let mut faults = Vec::new();
    let folders = ["src", "tests", "benches"];
    for path in folders.iter().flat_map(|folder| files(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            faults.push(format!("{}: {} lines", path.display(), lines.len()));
        }
        if !lines.first().is_some_and(|line| line.starts_with("//!")) {
            faults.push(format!("{}: does not open with //!", path.display()));
        }
        // rustfmt closes a function on a line of its own at the indent of its first line.
        let mut open: Option<(usize, usize, &str)> = None;
        for (number, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start().trim_start_matches("pub").trim_start();
            let head =
                head.strip_prefix("(crate) ").or_else(|| head.strip_prefix("(super) ")).unwrap_or(head);
            if open.is_none()
                && (head.starts_with("fn ") || head.starts_with("async fn "))
                && !line.ends_with('}')
            {
                open = Some((number, indent, line.trim()));
            } else if let Some((start, at, name)) = open
                && indent == at
                && (line.trim() == "}" || line.trim_end().ends_with(';'))
            {
                if number - start + 1 > FUNCTION_LINES_MAX {
                    faults.push(format!(
                        "{}:{}: {} lines: {name}",
                        path.display(),
                        start + 1,
                        number - start + 1
                    ));
                }
                open = None;
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn there_is_no_mod_rs_and_no_stray_name() {
    let banned = ["mod", "util", "utils", "helper", "helpers", "common", "misc", "manager"];
    let stray: Vec<PathBuf> = files(&root().join("src"))
        .into_iter()
        .filter(|path| banned.contains(&path.file_stem().unwrap().to_string_lossy().as_ref()))
        .collect();
    assert!(stray.is_empty(), "{stray:?}");
}
