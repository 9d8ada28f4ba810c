//! `outlierd doctor` against real parts: a healthy machine, and each thing that can be missing.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::Value;

use crate::broker::{Broker, Operation, Resource, part};
use crate::client::{Daemon, committed, free_port, produce, run_arguments, unique, wait_for};
use crate::command::{Folder, outlierd, text};

/// Each check's status, what was found and what to do, by its name.
type Checks = BTreeMap<String, (String, String, String)>;

/// The exit code, and each check's status and words by its name.
fn examined(sets: &[(&str, &str)]) -> (Option<i32>, Checks) {
    let mut arguments = vec!["doctor".to_owned(), "--json".to_owned()];
    for (key, value) in sets {
        arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = outlierd(&arguments);
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 1, "{said} {}", text(&output.stderr));
    let report: Value = serde_json::from_str(&said).unwrap();
    let mut checks = BTreeMap::new();
    for check in report["checks"].as_array().unwrap() {
        let word = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
        checks.insert(word("name"), (word("status"), word("found"), word("remedy")));
        let bad = ["fail", "warn"].contains(&check["status"].as_str().unwrap());
        assert_eq!(check["remedy"].is_string(), bad, "what is wrong has a remedy: {check}");
    }
    let failed = checks.values().any(|(status, ..)| status == "fail");
    assert_eq!(report["healthy"], !failed);
    assert_eq!(output.status.success(), !failed);
    (output.status.code(), checks)
}

fn status<'a>(checks: &'a Checks, name: &str) -> &'a str {
    &checks.get(name).unwrap_or_else(|| panic!("no check {name}: {checks:#?}")).0
}

fn topics(broker: &Broker) -> [String; 3] {
    let topics = ["doctor", "alerts", "letters"].map(unique);
    for (topic, partitions) in topics.iter().zip([3, 1, 1]) {
        broker.create_topic(topic, partitions);
    }
    topics
}

#[test]
fn a_healthy_daemon_is_found_healthy_and_its_lag_counted() {
    let broker = Broker::shared();
    let [topic, alerts, letters] = topics(broker);
    let group = unique("group");
    let records = |partition: i32, count: usize| -> Vec<(i32, String, Vec<u8>)> {
        let line = |number| format!("user {} signed in after {} ms", number % 7, number % 40).into_bytes();
        (0..count).map(|number| (partition, "k".to_owned(), line(number))).collect()
    };
    produce(broker.bootstrap(), &topic, &records(0, 30));
    let sets = [
        ("sink.topic", alerts.as_str()),
        ("sink.dead_letter_topic", letters.as_str()),
        ("detect.warmup", "20"),
        ("render.infer_events", "20"),
    ];
    let named = format!("[{topic:?}]");
    let mut all = vec![
        ("kafka.brokers", broker.bootstrap()),
        ("kafka.group", &group),
        ("source.topics", &named),
        ("admin.listen", ""),
    ];
    all.extend(sets);
    let (code, checks) = examined(&all);
    assert_eq!(code, Some(0), "{checks:#?}");
    let about = format!("consumer group {group}");
    assert_eq!(checks[&about].1, "has never committed; begins with the oldest record");
    assert_eq!(checks[&format!("topic {topic}")].1, "3 partitions");
    assert!(checks[&format!("read {topic}")].1.starts_with("one record of partition 0, written 20"));
    for name in ["configuration", "broker", "clock", "memory", "file descriptors", "model", "test embedding"]
    {
        assert_eq!(status(&checks, name), "ok", "{checks:#?}");
    }
    for name in ["join the group", &format!("write {alerts}"), &format!("write {letters}")] {
        assert_eq!(status(&checks, name), "ok", "{checks:#?}");
    }
    assert_eq!(status(&checks, "transactional id"), "unneeded");
    assert!(committed(broker.bootstrap(), &group, &topic, 3).is_empty(), "it leaves no trace");

    let mut daemon = Daemon::start(&run_arguments(broker.bootstrap(), &group, &topic, &sets));
    wait_for("a commit", || {
        committed(broker.bootstrap(), &group, &topic, 3).get(&0).filter(|at| at.0 == 30).map(drop)
    });
    assert!(daemon.stop().success());
    produce(broker.bootstrap(), &topic, &records(0, 12));
    let (code, checks) = examined(&all);
    assert_eq!(code, Some(0), "{checks:#?}");
    let found = &checks[&about].1;
    assert!(found.starts_with(&format!("12 records behind, most on {topic}[0]: 12")), "{found}");
}

#[test]
fn a_missing_topic_and_a_broker_that_is_down_are_told_with_what_to_do() {
    let broker = Broker::shared();
    let [topic, alerts, _] = topics(broker);
    let missing = unique("nowhere");
    let named = format!("[{topic:?}, {missing:?}, \"^audit.*\"]");
    let mut sets = vec![
        ("kafka.brokers", broker.bootstrap()),
        ("source.topics", &named),
        ("sink.topic", &alerts),
        ("sink.dead_letter_topic", ""),
        ("admin.listen", ""),
    ];
    let (code, checks) = examined(&sets);
    assert_eq!(code, Some(69));
    let (state, found, remedy) = &checks[&format!("topic {missing}")];
    assert_eq!((state.as_str(), found.as_str()), ("fail", "is not there"));
    assert!(remedy.contains(&format!("kafka-topics.sh --create --topic {missing}")), "{remedy}");
    assert_eq!(status(&checks, &format!("topic {topic}")), "ok");
    assert_eq!(status(&checks, "topic ^audit.*"), "warn");
    assert_eq!(checks[&format!("read {topic}")].1, "allowed; no record is there");

    let nobody = format!("127.0.0.1:{}", free_port());
    sets[0].1 = &nobody;
    let (code, checks) = examined(&sets);
    assert_eq!(code, Some(69));
    let (state, found, remedy) = &checks["broker"];
    assert_eq!(state, "fail");
    assert!(found.contains(&nobody) && found.contains("Connection refused"), "{found}");
    assert!(remedy.contains("start the broker, or correct [kafka] brokers"), "{remedy}");
    assert_eq!(status(&checks, "topics"), "skipped");
}

#[test]
fn what_is_not_allowed_is_told_before_the_daemon_meets_it() {
    let broker = Broker::start_with(
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         allow.everyone.if.no.acl.found=true\n",
    );
    let [topic, alerts, _] = topics(&broker);
    let (hidden, group) = (unique("hidden"), unique("group"));
    broker.create_topic(&hidden, 1);
    produce(broker.bootstrap(), &topic, &[(0, "k".to_owned(), b"one line".to_vec())]);
    broker.allow("User:ANONYMOUS", Operation::Describe, Resource::Topic(&topic));
    broker.allow("User:somebody", Operation::Read, Resource::Topic(&hidden));
    broker.allow("User:somebody", Operation::Read, Resource::Group(&group));
    let named = format!("[{topic:?}, {hidden:?}]");
    let (code, checks) = examined(&[
        ("kafka.brokers", broker.bootstrap()),
        ("kafka.group", &group),
        ("source.topics", &named),
        ("sink.topic", &alerts),
        ("sink.dead_letter_topic", ""),
        ("admin.listen", ""),
    ]);
    assert_eq!(code, Some(69));
    for (name, words) in [
        (format!("read {topic}"), "grant READ on the topic"),
        (format!("topic {hidden}"), "grant DESCRIBE"),
        (format!("consumer group {group}"), "grant READ and DESCRIBE on the group"),
    ] {
        let (state, found, remedy) = &checks[&name];
        assert!(state == "fail" && remedy.contains(words), "{name}: {found} {remedy}");
    }
    assert_eq!(status(&checks, &format!("topic {topic}")), "ok");
    assert_eq!(status(&checks, &format!("topic {alerts}")), "ok");
}

/// Settings of a daemon without Kafka.
const PIPES: [(&str, &str); 3] = [("source.kind", "stdin"), ("sink.kind", "stdout"), ("admin.listen", "")];

fn with<'a>(sets: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    PIPES.iter().chain(sets).copied().collect()
}

#[test]
fn a_transformer_is_loaded_and_asked_for_a_vector() {
    let library = part("onnxruntime/libonnxruntime.so").display().to_string();
    let folder = part("minilm").display().to_string();
    let onnx = [("model.kind", "onnx"), ("model.device", "cpu"), ("model.library", library.as_str())];
    let all = |path: &str| -> (Option<i32>, Checks) {
        let mut sets = with(&onnx);
        sets.push(("model.path", path));
        examined(&sets)
    };
    let (code, checks) = all(&folder);
    assert_eq!(code, Some(0), "{checks:#?}");
    assert_eq!(checks["onnx runtime"].1, format!("{library} ([model] library): loaded"));
    assert!(checks["model"].1.starts_with("384 dimensions, onnx-1/"), "{}", checks["model"].1);
    assert_eq!(checks["provider"].1, "cpu ([model] device is \"cpu\")");
    assert!(checks["test embedding"].1.contains("ms for one text"));
    assert!(checks["model files"].1.contains("sha256"));
    assert_eq!(status(&checks, "broker"), "unneeded");

    let (code, checks) = all(&part("minilm-dynamic-quantised").display().to_string());
    assert_eq!((code, status(&checks, "quantisation")), (Some(69), "fail"));

    // A file that breaks off, as a copy does that was not finished.
    let broken = Folder::new();
    let bytes = std::fs::read(part("minilm/model.onnx")).unwrap();
    broken.file("model.onnx", &bytes[..bytes.len() / 2]);
    broken.file("tokenizer.json", &std::fs::read(part("minilm/tokenizer.json")).unwrap());
    let (code, checks) = all(&broken.0.display().to_string());
    assert_eq!((code, status(&checks, "model")), (Some(69), "fail"), "{checks:#?}");
    assert_eq!(status(&checks, "onnx runtime"), "ok");

    let (code, checks) = all("/nowhere");
    assert_eq!((code, status(&checks, "model files")), (Some(69), "fail"));
    assert!(checks["model files"].2.contains("outlierd model pull"));
}

#[test]
fn without_a_library_every_place_that_was_looked_at_is_named() {
    let folder = part("minilm").display().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_outlierd"))
        .args(["doctor", "--set", "model.kind=onnx", "--set", &format!("model.path={folder}")])
        .args(PIPES.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]))
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("FAIL  onnx runtime"), "{said}");
    assert!(said.contains("/nowhere/libonnxruntime.so (ORT_DYLIB_PATH): no such file"), "{said}");
    assert!(said.contains("do: pip install onnxruntime"), "{said}");
    assert!(said.contains("it cannot run: 1 failed, 0 to look at"), "{said}");
}

#[test]
fn files_folders_and_the_port_are_tried() {
    let folder = Folder::new();
    let alerts = folder.0.join("alerts.jsonl").display().to_string();
    let input = folder.file("app.log", b"one line\n");
    let good = format!("[{input:?}]");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sets = |paths, path, letters| {
        examined(&[
            ("source.kind", "file"),
            ("source.paths", paths),
            ("sink.kind", "file"),
            ("sink.path", path),
            ("sink.dead_letter_path", letters),
            ("admin.listen", &address),
        ])
    };
    let (code, checks) = sets(&good, &alerts, "");
    assert_eq!(code, Some(0), "{checks:#?}");
    assert_eq!(status(&checks, "admin address"), "warn", "that alone is no failure");
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "nothing was left behind");
    // Nobody, not even root, makes a file in /proc.
    let (code, checks) = sets("[\"/nowhere.log\"]", "/proc/alerts.jsonl", "/nowhere/letters.jsonl");
    assert_eq!(code, Some(69));
    for name in ["input /nowhere.log", "alerts", "dead letters"] {
        assert_eq!(status(&checks, name), "fail", "{checks:#?}");
    }
    assert!(checks["alerts"].2.contains("correct sink.path"));
}

#[test]
fn nothing_waits_for_a_pipe() {
    let folder = Folder::new();
    let pipe = folder.0.join("pipe").display().to_string();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (paths, letters) = (format!("[{pipe:?}]"), folder.0.join("letters").display().to_string());
    let sets = [
        ("source.kind", "file"),
        ("source.paths", paths.as_str()),
        ("sink.kind", "stdout"),
        ("sink.dead_letter_path", letters.as_str()),
        ("admin.listen", ""),
    ];
    let (code, checks) = examined(&sets);
    assert_eq!((code, status(&checks, &format!("input {pipe}"))), (Some(0), "skipped"));
    let mut arguments = vec!["validate".to_owned()];
    for (key, value) in sets {
        arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert!(outlierd(&arguments).status.success());
    let said = crate::command::refused(
        78,
        &[
            "validate",
            "--set",
            "source.topics=[\"a\"]",
            "--set",
            "kafka.options.security.protocol=sasl_ssl",
            "--set",
            &format!("kafka.options.sasl.password_file={pipe}"),
        ],
    );
    assert!(
        said.contains(&format!("sasl.password_file: {pipe} is not a file; write the secret into a file")),
        "{said}"
    );
}

#[test]
fn a_configuration_that_is_not_valid_is_its_own_matter() {
    let said = crate::command::refused(78, &["doctor", "--set", "kafka.brokrs=x"]);
    assert!(said.contains("did you mean \"brokers\""), "{said}");
    let output = outlierd(&["doctor", "--json", "--set", "kafka.brokrs=x"]);
    assert_eq!(output.status.code(), Some(78));
    let report: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(
        (&report["healthy"], &report["checks"][0]["status"]),
        (&Value::Bool(false), &Value::from("fail"))
    );
}
