//! Completions in a real bash, and manual pages through roff where it is there.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::command::{Folder, outlierd, text};

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    let script = folder.file("outlierd.bash", &outlierd(&["completions", "bash"]).stdout);
    let list = words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ");
    // The function that `complete` names for the command, called as bash calls it.
    let ask = format!(
        "source {script}\n\
         COMP_WORDS=({list}); COMP_CWORD={}\n\
         how=$(complete -p outlierd); how=${{how##*-F }}; how=${{how%% *}}\n\
         \"$how\" outlierd \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.len() - 1
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_and_values() {
    assert_eq!(offered(&["outlierd", "doc"]), ["doctor"]);
    assert_eq!(offered(&["outlierd", "model", "in"]), ["inspect"]);
    assert!(offered(&["outlierd", "run", "--so"]).contains(&"--source".to_owned()));
    let sources = offered(&["outlierd", "run", "--source", ""]);
    assert_eq!(sources, ["kafka", "file", "stdin"]);
}

#[test]
fn every_shell_has_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = outlierd(&["completions", shell]);
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("backtest") && said.contains("doctor"), "{shell}");
    }
}

/// A page as a reader sees it, where this machine can set it.
fn set(page: &str) -> Option<String> {
    let mut child = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-P-cbou"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "", "groff warns of nothing");
    Some(text(&output.stdout))
}

#[test]
fn each_verb_has_a_page_of_its_own_with_examples_to_copy() {
    let folder = Folder::new();
    let to = folder.0.join("man").display().to_string();
    assert!(outlierd(&["man", "--to", &to]).status.success());
    let main = text(&outlierd(&["man"]).stdout);
    assert_eq!(fs::read_to_string(folder.0.join("man/outlierd.1")).unwrap(), main);
    for name in ["run", "backtest", "doctor", "explain", "model-pull", "config-infer"] {
        let page = fs::read_to_string(folder.0.join(format!("man/outlierd-{name}.1"))).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLES\n.nf\n"] {
            assert!(page.contains(part), "{name}: {part}\n{page}");
        }
        let command = format!("outlierd {}", name.replace('-', " "));
        assert!(page.replace("\\-", "-").contains(&format!("\\&  {command}")), "{page}");
        // A line that begins with a full stop is a request: none of ours may be taken for one.
        let requests = page.lines().filter(|line| line.starts_with(['.', '\'']));
        let known =
            [".TH", ".SH", ".nf", ".fi", ".TP", ".br", ".BR", ".RS", ".RE", ".ie", ".el", ".PP", ".IP"];
        for request in requests {
            assert!(known.iter().any(|known| request.starts_with(known)), "{name}: {request}");
        }
    }
    let run = fs::read_to_string(folder.0.join("man/outlierd-run.1")).unwrap();
    if let Some(seen) = set(&run) {
        assert!(
            seen.contains("tail -n +1 -f app.log | outlierd run --source stdin --sink stdout\n"),
            "{seen}"
        );
        assert!(seen.contains("--set 'source.topics=[\"logs\"]'"), "{seen}");
    }
}
