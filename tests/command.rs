//! The binary as a person meets it: files and pipes in, alerts out, and a clear word with the right exit code when
//! something is wrong.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::broker::{Broker, part};
use crate::client::{self, Daemon};

/// A folder for one test's files, gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(client::unique("outlierd-test"));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn outlierd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outlierd")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it, expects that exit code, returns what it said on standard error.
pub(crate) fn refused(code: i32, arguments: &[&str]) -> String {
    let output = outlierd(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Lines as an application logs them, with one strange one; 0-based number of that line.
fn log(lines: usize) -> (String, usize) {
    let strange = lines - 40;
    let mut log = String::new();
    for number in 0..lines {
        let (user, took) = (number * 7 % 89, 3 + number * 31 % 40);
        let line = match number * 7 % 5 {
            _ if number == strange => "kernel panic: not syncing, attempted to kill init".to_owned(),
            0 => format!("user {user} signed in after {took} ms"),
            1 => format!("GET /cart/{user} answered in {took} ms"),
            2 => format!("order {user} was placed with {took} items"),
            3 => format!("cache refreshed in {took} ms"),
            _ => format!("mail to user {user} was sent"),
        };
        log.push_str(&line);
        log.push('\n');
    }
    (log, strange)
}

const SMALL: [&str; 6] =
    ["--set", "detect.warmup=300", "--set", "alert.budget=1 in 300", "--set", "admin.listen="];

fn offsets(output: &str) -> Vec<i64> {
    let alerts = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    alerts.map(|alert| alert["outlierd"]["source"]["offset"].as_i64().unwrap()).collect()
}

#[test]
fn files_plain_and_gzipped_give_the_same_alerts() {
    let folder = Folder::new();
    let (log, strange) = log(2_000);
    let plain = folder.file("app.log", log.as_bytes());
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(log.as_bytes()).unwrap();
    let packed = folder.file("app.log.gz", &packed.finish().unwrap());
    let judge = |path: &str| {
        let mut arguments = vec!["run", "--source", "file", "--sink", "stdout", "--input", path];
        arguments.extend(SMALL);
        let output = outlierd(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        offsets(&text(&output.stdout))
    };
    let found = judge(&plain);
    assert!(found.contains(&i64::try_from(strange).unwrap()), "{found:?}");
    assert_eq!(judge(&packed), found);
}

#[test]
fn an_outage_at_the_end_of_a_file_is_one_incident_and_summed_up() {
    let folder = Folder::new();
    let (mut log, _) = log(2_000);
    log.extend((0..150).map(|number| format!("connection to replica {number} refused by peer\n")));
    let path = folder.file("app.log", log.as_bytes());
    let mut arguments = vec!["run", "--source", "file", "--sink", "stdout", "--input", &path];
    arguments.extend(SMALL);
    let output = outlierd(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let alerts = text(&output.stdout);
    let alerts = alerts.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let outage: Vec<_> = alerts.filter(|alert| alert.to_string().contains("replica")).collect();
    let actions: Vec<_> = outage.iter().map(|alert| alert["event"]["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["incident-opened", "incident-closed"]);
    assert_eq!(outage[0]["outlierd"]["incident"]["count"], 1);
    assert!(outage[1]["outlierd"]["incident"]["count"].as_u64().unwrap() > 100, "{}", outage[1]);
}

#[test]
fn a_truncated_gzip_file_is_judged_as_far_as_it_goes_and_said_to_be_truncated() {
    let folder = Folder::new();
    let (log, strange) = log(2_000);
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(log.as_bytes()).unwrap();
    let mut packed = packed.finish().unwrap();
    packed.truncate(packed.len() - 400);
    let path = folder.file("app.log.gz", &packed);
    let mut arguments = vec!["run", "--source", "file", "--sink", "stdout", "--input", &path];
    arguments.extend(SMALL);
    let output = outlierd(&arguments);
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("truncated or damaged at byte"), "{}", text(&output.stderr));
    assert!(offsets(&text(&output.stdout)).contains(&i64::try_from(strange).unwrap()));
}

#[test]
fn a_pipe_gives_alerts_while_it_is_open_and_bad_lines_go_aside() {
    let folder = Folder::new();
    let dead = folder.0.join("dead.jsonl");
    let dead_letters = format!("sink.dead_letter_path={}", dead.display());
    let mut arguments: Vec<String> =
        ["run", "--source", "stdin", "--sink", "stdout", "--set", &dead_letters].map(str::to_owned).to_vec();
    arguments.extend(SMALL.map(str::to_owned));
    let mut daemon = Daemon::start_with(&arguments, Stdio::piped(), Stdio::piped());
    let mut pipe = daemon.child().stdin.take().unwrap();
    let mut lines = daemon.lines();
    let (log, strange) = log(1_000);
    pipe.write_all(log.as_bytes()).unwrap();
    pipe.flush().unwrap();
    // The pipe is still open: the alert must not wait for its end.
    let alert = lines.find(|line| offsets(line) == [i64::try_from(strange).unwrap()]);
    assert!(alert.unwrap().contains("kernel panic"));
    pipe.write_all(b"{\"message\": \nnext\n").unwrap();
    drop(pipe);
    assert!(daemon.ended().success());
    let letter: Value = serde_json::from_str(fs::read_to_string(&dead).unwrap().trim()).unwrap();
    assert!(letter.to_string().contains("malformed"), "{letter}");
}

#[test]
fn a_transformer_judges_through_the_real_runtime() {
    let folder = Folder::new();
    let (log, strange) = log(700);
    let path = folder.file("app.log", log.as_bytes());
    let model = format!("model.path={}", part("minilm").display());
    let library = format!("model.library={}", part("onnxruntime/libonnxruntime.so").display());
    let mut arguments = vec!["run", "--source", "file", "--sink", "stdout", "--input", &path];
    arguments.extend([
        "--set",
        "model.kind=onnx",
        "--set",
        &model,
        "--set",
        &library,
        "--set",
        "model.device=cpu",
    ]);
    arguments.extend(SMALL);
    let output = outlierd(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (said, found) = (text(&output.stderr), text(&output.stdout));
    assert!(said.contains("\"provider\":\"cpu\""), "{said}");
    assert!(offsets(&found).contains(&i64::try_from(strange).unwrap()), "{found}");
}

#[test]
fn what_cannot_work_is_said_with_its_exit_code() {
    let folder = Folder::new();
    let said = refused(64, &["run", "--no-such-flag"]);
    assert!(said.contains("--no-such-flag"), "{said}");

    let wrong = folder.file("wrong.toml", b"[source]\ntopicz = [\"a\"]\n");
    let said = refused(78, &["run", "-c", &wrong]);
    assert!(
        said.contains("wrong.toml") && said.contains("topicz") && said.contains("did you mean \"topics\"?"),
        "{said}"
    );
    let said = refused(78, &["run", "-c", "no-such-file.toml"]);
    assert!(said.contains("no-such-file.toml"), "{said}");
    let several =
        ["run", "--set", "alert.budget=often", "--set", "alert.gap=soon", "--set", "detect.guard=7"];
    let said = refused(78, &several);
    for key in ["alert.budget", "alert.gap", "detect.guard", "source.topics"] {
        assert!(said.contains(key), "all faults are said at once: {said}");
    }
    let said = refused(78, &["run", "--source", "file", "--set", "source.paths=7"]);
    assert!(said.contains("source.paths"), "{said}");

    let missing =
        ["--source", "file", "--sink", "stdout", "--input", "no-such.log", "--set", "admin.listen="];
    let said = refused(69, &[&["run"], missing.as_slice()].concat());
    assert!(said.contains("no-such.log"), "{said}");

    let onnx = [
        "run",
        "--source",
        "stdin",
        "--sink",
        "stdout",
        "--set",
        "admin.listen=",
        "--set",
        "model.kind=onnx",
    ];
    let empty = format!("model.path={}", folder.0.display());
    let said = refused(69, &[onnx.as_slice(), &["--set", &empty]].concat());
    assert!(said.contains("model file missing") && said.contains("model.onnx"), "{said}");
    let model = format!("model.path={}", part("minilm").display());
    let library = format!("model.library={}", folder.file("libonnxruntime.so", b"not a library"));
    let said = refused(69, &[onnx.as_slice(), &["--set", &model, "--set", &library]].concat());
    assert!(said.contains("libonnxruntime.so"), "{said}");
}

#[test]
fn a_line_of_a_file_has_the_time_that_it_begins_with() {
    let folder = Folder::new();
    // A line a second.
    let line = |n: u32| {
        let time = format!("{}:{:02}:{:02}", 10 + n / 3_600, n / 60 % 60, n % 60);
        format!("2015-05-17 {time},250 INFO user {} signed in after {} ms\n", n % 40, n % 30)
    };
    let lines: Vec<String> = (0..2_000).map(line).collect();
    let mut log = lines.concat();
    log.push_str(
        "2015-05-17 11:00:00,250 ERROR kernel panic: not syncing\n    at attempted_to_kill_init(main.c:17)\n",
    );
    let input = folder.file("app.log", log.as_bytes());
    let alerts = |verb: &[&str]| {
        let sets = ["--set", "detect.warmup=300", "--set", "alert.budget=1 in 300"];
        let output = outlierd(&[verb, &sets[..]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let path = folder.0.join("alerts.jsonl").display().to_string();
    let sink = format!("sink.path={path}");
    alerts(&[
        "run",
        "--source",
        "file",
        "--input",
        &input,
        "--sink",
        "file",
        "--set",
        &sink,
        "--set",
        "admin.listen=",
    ]);
    let again = folder.0.join("again").display().to_string();
    alerts(&["backtest", "--input", &input, "--out", &again]);
    let run = fs::read_to_string(&path).unwrap();
    assert_eq!(run, fs::read_to_string(folder.0.join("again/alerts.jsonl")).unwrap());
    let all: Vec<serde_json::Value> = run.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // What goes on from a line has its time.
    for (part, offset) in [("kernel", 2_000), ("attempted", 2_001)] {
        let alert = all.iter().find(|alert| alert["message"].as_str().unwrap().contains(part)).unwrap();
        assert_eq!(alert["outlierd"]["source"]["offset"], offset);
        assert_eq!(alert["@timestamp"], "2015-05-17T11:00:00.250Z");
    }
}

/// Every verb that prints, with what it needs to have something to print.
fn printing(folder: &Folder) -> Vec<Vec<String>> {
    let (log, _) = log(2_000);
    let input = folder.file("app.log", log.as_bytes());
    let alerts = folder.file("alerts.jsonl", &br#"{"event":{"kind":"alert"},"outlierd":{}}"#.repeat(3));
    let models = folder.0.join("models");
    fs::create_dir(&models).unwrap();
    [
        "--help",
        "--version",
        "run --help",
        "defaults",
        "metrics",
        "man",
        "completions bash",
        "config show",
        "config schema",
        "config infer --input INPUT",
        "validate --no-environment --set source.topics=[\"a\"]",
        "doctor --set source.kind=stdin --set sink.kind=stdout --set admin.listen=",
        "doctor --json --set source.kind=stdin --set sink.kind=stdout --set admin.listen=",
        "model list MODELS",
        "explain ALERTS",
        "backtest --input INPUT",
        "backtest --input INPUT --json",
        "demo --events 10000",
    ]
    .iter()
    .map(|line| {
        let word = |word: &str| match word {
            "INPUT" => input.clone(),
            "ALERTS" => alerts.clone(),
            "MODELS" => models.display().to_string(),
            word => word.to_owned(),
        };
        line.split(' ').map(word).collect()
    })
    .collect()
}

#[test]
fn what_cannot_be_printed_is_a_fault_and_a_reader_that_has_gone_is_none() {
    let folder = Folder::new();
    for arguments in printing(&folder) {
        let into = |stdout: Stdio, stderr: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
            command.args(&arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap()
        };
        let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        let output = into(full(), Stdio::piped()).wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{arguments:?}: {said}");
        assert!(said.contains("outlierd: cannot write to standard output: No space left"), "{said}");
        // Where not even that can be said, the exit code says it.
        assert_eq!(into(full(), full()).wait().unwrap().code(), Some(74), "{arguments:?}");
        let mut child = into(Stdio::piped(), Stdio::piped());
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{arguments:?}: {said}");
        assert!(!said.contains("standard output"), "{arguments:?}: {said}");
    }
}

#[test]
fn explaining_ends_when_nobody_reads_on() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outlierd"))
        .args(["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // Alerts without end, as of a daemon: the writer hears that its reader has gone.
    let mut pipe = child.stdin.take().unwrap();
    while pipe.write_all(b"{\"event\":{\"kind\":\"alert\"},\"outlierd\":{}}\n").is_ok() {}
    assert!(child.wait().unwrap().success());
}

/// A library that answers as an ONNX Runtime too old for us: it has no such version of its interface.
const OLD_LIBRARY: &str = r#"
static const void *get_api(unsigned version) { (void)version; return 0; }
static const char *get_version(void) { return "1.17.3"; }
static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { get_api, get_version };
const void *OrtGetApiBase(void) { return &base; }
"#;

#[test]
fn an_old_library_is_named_with_the_versions_that_fit() {
    let folder = Folder::new();
    let source = folder.file("old.c", OLD_LIBRARY.as_bytes());
    let library = folder.0.join("libonnxruntime.so").to_string_lossy().into_owned();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o", &library, &source]).status();
    assert!(built.unwrap().success());
    let (model, library) =
        (format!("model.path={}", part("minilm").display()), format!("model.library={library}"));
    let onnx = [
        "run",
        "--source",
        "stdin",
        "--sink",
        "stdout",
        "--set",
        "admin.listen=",
        "--set",
        "model.kind=onnx",
    ];
    let said = refused(69, &[onnx.as_slice(), &["--set", &model, "--set", &library]].concat());
    assert!(said.contains("1.17.3") && said.contains("1.24"), "{said}");
}

#[test]
fn a_missing_topic_is_named() {
    let broker = Broker::shared();
    let (topic, group) = (client::unique("nowhere"), client::unique("group"));
    let mut arguments = client::run_arguments(broker.bootstrap(), &group, &topic, &[("sink.kind", "stdout")]);
    let mut daemon = Daemon::start(&arguments);
    assert_eq!(daemon.ended().code(), Some(69));
    assert!(daemon.log().contains(&topic), "{}", daemon.log());

    // The same for the topic of alerts.
    broker.create_topic(&topic, 1);
    let alerts = client::unique("no-alerts");
    arguments = client::run_arguments(broker.bootstrap(), &group, &topic, &[("sink.topic", &alerts)]);
    let mut daemon = Daemon::start(&arguments);
    assert_eq!(daemon.ended().code(), Some(69));
    assert!(daemon.log().contains(&alerts), "{}", daemon.log());
}

#[test]
fn the_examples_and_the_defaults_are_valid() {
    for name in ["logs", "transactions", "web-access"] {
        let path = format!("{}/config/examples/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let output = outlierd(&["validate", "--no-environment", "-c", &path]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    let output = outlierd(&["defaults"]);
    let folder = Folder::new();
    let defaults = folder.file("defaults.toml", &output.stdout);
    assert!(
        outlierd(&["validate", "--no-environment", "-c", &defaults, "--set", "source.topics=[\"a\"]"])
            .status
            .success()
    );
}

#[test]
fn the_demo_ends_with_one_json_object() {
    let output = outlierd(&["demo", "--events", "30000", "--seed", "3", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let number = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(number("events"), 30_000);
    assert_eq!(number("found") + number("missed"), number("planted"));
    assert!(number("planted") >= 10 && number("found") * 3 >= number("planted"), "{summary}");
    assert!(number("false_alerts") <= 30_000 / 200, "{summary}");
    assert!(summary["events_per_second"].as_f64().unwrap() > 0.0 && summary["by_kind"]["burst"].is_object());
    assert!(said.contains("warming up") && said.contains("ALERT"), "{said}");
}
