//! Wrong configurations, each with the exact words that the command answers.
//!
//! Every case runs the real binary. A message names the file, the line and the key, says what is wrong and what to do;
//! nothing of how the program is built may show through.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use outlierd::config::{Config, SinkConfig, SourceConfig};

use crate::broker::{Broker, part};
use crate::client::{self, Daemon};
use crate::command::{Folder, text};

mod described;
mod wrong;

pub(crate) fn outlierd(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlierd"));
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

/// What is said of a configuration that is not valid, a fault a line, the file's path as FILE.
fn faults(output: &Output, file: &str) -> Vec<String> {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("outlierd: the configuration is not valid"), "{said}");
    let faults: Vec<String> = lines.map(|line| line.trim().replace(file, "FILE")).collect();
    for fault in &faults {
        // Names of the program's own types, and words of its libraries about them.
        for inside in [
            "Some(",
            "None",
            "Err(",
            "Ok(",
            "::<",
            " { ",
            "invalid type",
            "invalid value",
            "expected a",
            "panicked",
            "Utf8Error",
            "Os {",
        ] {
            assert!(!fault.contains(inside), "debug output: {fault}");
        }
    }
    faults
}

/// Checks what is written, and nothing that it points at.
fn judged(toml: &str, more: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let output = outlierd(&[("HOST", "broker"), ("EMPTY", "")], &[&["validate", "-c", &file], more].concat());
    faults(&output, &file)
}

const NO_KAFKA: [&str; 5] = ["--no-environment", "--set", "source.kind=stdin", "--set", "sink.kind=stdout"];

#[test]
fn every_wrong_value_is_named_with_its_line() {
    for (toml, expected) in wrong::VALUES {
        assert_eq!(judged(toml, &NO_KAFKA), *expected, "\n{toml}");
    }
}

#[test]
fn every_wrong_pair_is_named_with_its_line() {
    for (toml, expected) in wrong::PAIRS {
        assert_eq!(judged(toml, &["--no-environment"]), *expected, "\n{toml}");
    }
}

#[test]
fn what_is_given_beside_a_file_is_named_by_its_own_place() {
    for (variable, value, expected) in wrong::VARIABLES {
        let output = outlierd(&[(variable, value)], &[&["validate"], NO_KAFKA.as_slice()].concat());
        assert_eq!(faults(&output, "no file"), [format!("environment {expected}")], "{variable}={value}");
    }
    for (set, expected) in wrong::SETS {
        let output = outlierd(&[], &[&["validate", "--set", set], NO_KAFKA.as_slice()].concat());
        assert_eq!(faults(&output, "no file"), [format!("command line: {expected}")], "{set}");
    }
}

#[test]
fn enough_is_tried() {
    let tried = wrong::VALUES.len() + wrong::PAIRS.len() + wrong::VARIABLES.len() + wrong::SETS.len();
    assert!(tried >= 40, "{tried}");
}

#[test]
fn all_faults_are_said_at_once_and_in_the_order_of_the_file() {
    let toml = "[source]\ntopicz = [\"a\"]\nstart = \"early\"\n[kafka]\ngroup = 7\n[kafka.options]\nacks = \"1\"\n\
                \"sasl.pasword\" = \"hunter22\"\n[detect]\nwindow = 5\nguard = \"much\"\n[alert]\ngap = \"soon\"\n\
                [[field]]\npointer = \"/a\"\n[nonsense]\nx = 1\n";
    let output = outlierd(&[("OUTLIERD_LOG__LEVEL", "inof")], &{
        let folder = Folder::new();
        let file = folder.file("outlierd.toml", toml.as_bytes());
        let output = outlierd(
            &[("OUTLIERD_LOG__LEVEL", "inof")],
            &["validate", "--no-environment", "-c", &file, "--set", "pipeline.shards=-1"],
        );
        let said = faults(&output, &file);
        let starts = [
            "FILE:2: unknown key \"topicz\" in [source]; did you mean \"topics\"?",
            "FILE:3: source.start: ",
            "FILE:5: kafka.group: ",
            "FILE:7: kafka.options.acks: cannot be set here",
            "FILE:8: kafka.options.sasl.pasword: is no option",
            "FILE:10: detect.window: ",
            "FILE:11: detect.guard: ",
            "FILE:13: alert.gap: ",
            "FILE:14: field[0]: has no kind",
            "FILE:16: unknown section [nonsense]",
            "environment OUTLIERD_LOG__LEVEL: log.level: ",
            "command line: pipeline.shards: ",
        ];
        assert_eq!(said.len(), starts.len(), "{said:#?}");
        for (fault, start) in said.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
        ["validate", "--no-environment"]
    });
    // The variable alone: `run` says the same as `validate`.
    assert!(
        faults(&output, "no file").iter().any(|fault| fault.starts_with("environment OUTLIERD_LOG__LEVEL: "))
    );
}

#[test]
fn a_file_that_cannot_be_read_is_all_that_is_said() {
    let folder = Folder::new();
    let missing = folder.0.join("outlierd.toml").to_string_lossy().into_owned();
    let said = faults(&outlierd(&[], &["validate", "-c", &missing]), &missing);
    assert_eq!(said, ["FILE: cannot read the configuration: No such file or directory (os error 2); see -c"]);
    let said =
        faults(&outlierd(&[], &["validate", "-c", &folder.0.to_string_lossy()]), &folder.0.to_string_lossy());
    assert_eq!(said, ["FILE: cannot read the configuration: Is a directory (os error 21); see -c"]);
    let said = faults(&outlierd(&[], &["validate", "-c", "/dev/zero"]), "/dev/zero");
    assert_eq!(said, ["FILE: is larger than 1 MiB: no configuration; see -c"]);
    let latin = folder.file("latin.toml", b"[kafka]\ngroup = \"caf\xe9\"\n");
    let said = faults(&outlierd(&[], &["validate", "-c", &latin]), &latin);
    assert_eq!(said, ["FILE:2: is not UTF-8; save the file as UTF-8"]);
}

#[test]
fn secrets_in_files_are_read_and_their_faults_said() {
    let folder = Folder::new();
    let judged = |secret: &str, environment: bool| {
        let toml = format!(
            "[source]\ntopics = [\"a\"]\n[admin]\nlisten = \"\"\n[kafka]\nbrokers = \"127.0.0.1:1\"\n[kafka.options]\n\
             \"security.protocol\" = \"sasl_plaintext\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"u\"\n\
             \"sasl.password_file\" = {secret:?}\n"
        );
        let file = folder.file("outlierd.toml", toml.as_bytes());
        let flags: &[&str] = if environment { &[] } else { &["--no-environment"] };
        let output = outlierd(&[], &[&["validate", "-c", &file], flags].concat());
        if output.status.success() { Vec::new() } else { faults(&output, &file) }
    };
    let missing = folder.0.join("no-secret").to_string_lossy().into_owned();
    let key = "FILE:11: kafka.options.sasl.password_file: ";
    let advice = "name a file that outlierd's user may read";
    assert_eq!(
        judged(&missing, true),
        [format!("{key}cannot read {missing}: No such file or directory (os error 2); {advice}")]
    );
    assert_eq!(judged(&missing, false), [""; 0]);
    let empty = folder.file("empty", b"\n");
    assert_eq!(judged(&empty, true), [format!("{key}{empty} is empty; write the secret into it")]);
    let large = folder.file("large", &vec![b'x'; 70_000]);
    assert!(judged(&large, true)[0].starts_with(&format!("{key}{large} is larger than 64 KiB; ")));
    let here = folder.0.to_string_lossy().into_owned();
    assert_eq!(
        judged(&here, true),
        [format!(
            "{key}{here} is not a file; write the secret into a file that only outlierd's user may read"
        )]
    );
    // Read, it leads as far as the broker, and is not shown.
    let good = folder.file("good", b"hunter22\n");
    let said = judged(&good, true);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with("FILE:6: kafka.brokers: no broker of 127.0.0.1:1 answers within 5 s: "),
        "{said:?}"
    );
    assert!(!said[0].contains("hunter22"));
}

#[test]
fn a_secret_from_a_file_reaches_the_client_and_nothing_else() {
    let folder = Folder::new();
    let toml = format!(
        "[source]\ntopics = [\"a\"]\n[kafka.options]\nsecurity.protocol = \"sasl_ssl\"\nsasl.mechanism = \"PLAIN\"\n\
         sasl.username = \"u\"\n\"sasl.password_file\" = {:?}\n",
        folder.file("password", b"hunter22\n")
    );
    let config = Config::load(Some(folder.file("outlierd.toml", toml.as_bytes()).as_ref()), &[]).unwrap();
    let SourceConfig::Kafka(source) = &config.source else { panic!("no topics") };
    let SinkConfig::Kafka(sink) = &config.sink else { panic!("no topic") };
    let password = ("sasl.password".to_owned(), "hunter22".to_owned());
    assert!(source.options.contains(&password) && sink.options[&password.0] == password.1);
    assert!(!sink.options.contains_key("sasl.password_file") && !format!("{config:?}").contains("hunter22"));
}

#[test]
fn what_settings_point_at_is_looked_at() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.join(name).to_string_lossy().into_owned();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let note = folder.file("note.txt", b"not a certificate");
    let toml = format!(
        "[source]\nkind = \"file\"\npaths = [\n  {:?},\n  {:?},\n]\n[sink]\nkind = \"file\"\npath = {:?}\n\
         [admin]\nlisten = \"{port}\"\n[model]\nkind = \"onnx\"\npath = {:?}\n",
        note,
        path("no.log"),
        path("no-folder/alerts.jsonl"),
        path("no-model"),
    );
    let file = folder.file("outlierd.toml", toml.as_bytes());
    assert!(outlierd(&[], &["validate", "--no-environment", "-c", &file]).status.success());
    let said = faults(&outlierd(&[], &["validate", "-c", &file]), &file);
    let expected = [
        format!(
            "FILE:5: source.paths[1]: cannot read {}: No such file or directory (os error 2); correct the path",
            path("no.log")
        ),
        format!(
            "FILE:9: sink.path: cannot write to {}: its folder: No such file or directory (os error 2); create the folder",
            path("no-folder/alerts.jsonl")
        ),
        format!(
            "FILE:11: admin.listen: cannot listen on {port}: Address already in use (os error 98); set [admin] listen to a \
             free address, or to \"\" for none"
        ),
        format!(
            "FILE:14: model.path: model file missing: {}; set [model] path, or run: outlierd model pull all-MiniLM-L6-v2",
            path("no-model/model.onnx")
        ),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_compressed_file_cannot_be_followed() {
    let folder = Folder::new();
    let gzip = folder.file("app.log.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00");
    let toml = format!(
        "[source]\nkind = \"file\"\npaths = [{gzip:?}]\nfollow = true\n[sink]\nkind = \"stdout\"\n[admin]\nlisten = \"\"\n"
    );
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let said = faults(&outlierd(&[], &["validate", "-c", &file]), &file);
    let expected = format!(
        "FILE:3: source.paths[0]: {gzip} is compressed, which cannot be followed; set source.follow = false"
    );
    assert_eq!(said, [expected]);
    assert!(outlierd(&[], &["validate", "-c", &file, "--set", "source.follow=false"]).status.success());
}

#[test]
fn a_library_that_is_none_is_named_where_the_model_is_there() {
    let folder = Folder::new();
    let library = folder.file("libonnxruntime.so", b"no library");
    let toml = format!(
        "[source]\nkind = \"stdin\"\n[sink]\nkind = \"stdout\"\n[admin]\nlisten = \"\"\n[model]\nkind = \"onnx\"\n\
         path = {:?}\nlibrary = {library:?}\n",
        part("minilm").to_string_lossy()
    );
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let said = faults(&outlierd(&[], &["validate", "-c", &file]), &file);
    let expected = format!(
        "FILE:10: model.library: onnx runtime library not usable, tried: {library} ([model] library): not a shared \
         library; set [model] library to libonnxruntime.so of ONNX Runtime 1.24 to 1.32, or run: pip install onnxruntime"
    );
    assert_eq!(said, [expected]);
    let runtime = format!("model.library={}", part("onnxruntime/libonnxruntime.so").display());
    let output = outlierd(&[], &["validate", "-c", &file, "--set", &runtime]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// What the broker would say to them is not asked.
#[test]
fn tls_files_that_are_none_are_named() {
    let folder = Folder::new();
    let note = folder.file("note.txt", b"not a certificate");
    let key = folder.file("key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let missing = folder.0.join("no.key").to_string_lossy().into_owned();
    let toml = format!(
        "[source]\ntopics = [\"a\"]\n[admin]\nlisten = \"\"\n[kafka.options]\n\"security.protocol\" = \"ssl\"\n\
         \"ssl.ca.location\" = {note:?}\n\"ssl.certificate.location\" = {key:?}\n\"ssl.key.location\" = {missing:?}\n",
    );
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let said = faults(&outlierd(&[], &["validate", "-c", &file]), &file);
    let expected = [
        format!(
            "FILE:7: kafka.options.ssl.ca.location: {note} is not a PEM file with a CERTIFICATE; convert it, or name the \
             right file"
        ),
        format!(
            "FILE:8: kafka.options.ssl.certificate.location: {key} holds a PRIVATE KEY, not a CERTIFICATE; name the right \
             file"
        ),
        format!(
            "FILE:9: kafka.options.ssl.key.location: cannot read {missing}: No such file or directory (os error 2); name a file \
             that outlierd's user may read",
        ),
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_port_that_the_running_daemon_holds_is_no_fault() {
    let address = format!("127.0.0.1:{}", client::free_port());
    let folder = Folder::new();
    let toml =
        format!("[source]\nkind = \"stdin\"\n[sink]\nkind = \"stdout\"\n[admin]\nlisten = \"{address}\"\n");
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let arguments = ["run", "-c", &file].map(str::to_owned);
    let mut daemon = Daemon::start_with(&arguments, Stdio::piped(), Stdio::null());
    client::wait_for("the daemon to listen", || {
        let health = outlierd(&[], &["health", "--live", "--address", &address]);
        health.status.success().then_some(())
    });
    let output = outlierd(&[], &["validate", "-c", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(daemon.stop().success());
}

#[test]
fn the_broker_and_its_topics_are_asked_for() {
    let (broker, folder) = (Broker::shared(), Folder::new());
    let topics = ["events", "alerts"].map(client::unique);
    for topic in &topics {
        broker.create_topic(topic, 1);
    }
    let toml = format!(
        "[source]\ntopics = [\"{}\", \"no-events\"]\n[kafka]\nbrokers = \"{}\"\n[sink]\ntopic = \"{}\"\n\
         dead_letter_topic = \"no-letters\"\n[admin]\nlisten = \"\"\n",
        topics[0],
        broker.bootstrap(),
        topics[1]
    );
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let said = faults(&outlierd(&[], &["validate", "-c", &file]), &file);
    let what = |topic: &str| format!("topic {topic} is not there; create it, or correct the name");
    let expected = [
        format!("FILE:2: source.topics[1]: {}", what("no-events")),
        format!("FILE:7: sink.dead_letter_topic: {}", what("no-letters")),
    ];
    assert_eq!(said, expected);
    let topic = format!("source.topics=[{:?}]", topics[0]);
    let output =
        outlierd(&[], &["validate", "-c", &file, "--set", &topic, "--set", "sink.dead_letter_topic="]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}
