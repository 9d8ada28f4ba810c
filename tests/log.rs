//! The log: text for who sits before a terminal, JSON for who does not, and few lines however many records go wrong.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::{Folder, outlierd, text};

/// Runs its arguments with a terminal for standard error, and prints what came there.
const TERMINAL: &str = "import os, pty, subprocess, sys
ours, theirs = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
os.close(theirs)
while True:
    try:
        said = os.read(ours, 65536)
    except OSError:
        break
    if not said:
        break
    sys.stdout.buffer.write(said)
sys.exit(child.wait())";

const RUN: [&str; 6] = ["run", "--source", "stdin", "--sink", "stdout", "--set"];

#[test]
fn a_terminal_gets_text_and_anything_else_json() {
    let output = outlierd(&[RUN.as_slice(), &["admin.listen="]].concat());
    assert!(output.status.success());
    let said = text(&output.stderr);
    for line in said.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            entry["level"].is_string() && entry["message"].is_string() && entry["timestamp"].is_string(),
            "{line}"
        );
    }
    assert!(said.contains("\"message\":\"sink ready\""), "{said}");

    let python = |more: &[&str]| {
        let mut command = Command::new("python3");
        command
            .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_outlierd")])
            .args(RUN)
            .arg("admin.listen=")
            .args(more);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let said = python(&[]);
    assert!(said.contains("sink ready") && !said.contains('{'), "{said}");
    // Unless told.
    let said = python(&["--set", "log.format=json"]);
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
}

#[test]
fn a_hundred_thousand_bad_records_are_a_few_lines() {
    let folder = Folder::new();
    let good = r#"{"message":"user signed in","took":4}"#;
    let lines: String = (0..100_000)
        .map(|n| if n % 2 == 0 { "{\"message\": \n".to_owned() } else { format!("{good}\n") })
        .collect();
    let path = folder.file("bad.jsonl", lines.as_bytes());
    let arguments =
        ["run", "--source", "file", "--sink", "stdout", "--input", &path, "--set", "admin.listen="];
    let output = outlierd(&arguments);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("records that cannot be read were put aside") && said.contains("50000"), "{said}");
    assert!(said.lines().count() < 40, "{said}");
}
