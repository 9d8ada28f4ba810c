//! What the command says of configurations that are right: what is in effect, and a schema that a validator which knows
//! nothing of outlierd takes; and that documents name settings that exist.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{NO_KAFKA, faults, outlierd};
use crate::broker::part;
use crate::command::{Folder, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_in_effect_is_shown_with_its_source_and_without_secrets() {
    let folder = Folder::new();
    let secret = folder.file("password", b"hunter22");
    let toml = format!(
        "[kafka]\ngroup = \"${{GROUP:-fallback}}\"\nbrokers = \"a:1\"\n[kafka.options]\n\"security.protocol\" = \"sasl_ssl\"\n\
         sasl.username = \"u\"\n\"sasl.password_file\" = {secret:?}\n\"ssl.key.password\" = \"hunter33\"\n\
         [[field]]\npointer = \"/a\"\nkind = \"key\"\n"
    );
    let file = folder.file("outlierd.toml", toml.as_bytes());
    let environment = [
        ("OUTLIERD_KAFKA__BROKERS", "b:2"),
        ("OUTLIERD_KAFKA__OPTIONS__SASL_PASSWORD", "hunter44"),
        ("OUTLIERD_DETECT__WINDOW", "500"),
    ];
    let sets = ["detect.window=600", "source.topics=[a, \"7\"]", "alert.similarity=1"];
    let mut arguments = vec!["config", "show", "-c", &file];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let output = outlierd(&environment, &arguments);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (line, place) in [
        ("brokers = \"b:2\"", "environment OUTLIERD_KAFKA__BROKERS".to_owned()),
        ("group = \"fallback\"", format!("{file}:2")),
        ("window = 600", "command line".to_owned()),
        ("topics = [\"a\", \"7\"]", "command line".to_owned()),
        ("fetch_memory = \"32MiB\"", "default".to_owned()),
        ("similarity = 1.0", "command line".to_owned()),
        ("\"sasl.username\" = \"u\"", format!("{file}:6")),
        (
            "\"sasl.password\" = \"[redacted]\"",
            "environment OUTLIERD_KAFKA__OPTIONS__SASL_PASSWORD".to_owned(),
        ),
        ("\"ssl.key.password\" = \"[redacted]\"", format!("{file}:8")),
        ("[[field]]", format!("{file}:9")),
    ] {
        let found = shown.lines().any(|shown| {
            shown.split_once("  # ").is_some_and(|(left, right)| left.trim_end() == line && right == place)
        });
        assert!(found, "{line} # {place}\n{shown}");
    }
    let output = outlierd(&environment, &[arguments.as_slice(), &["--json"]].concat());
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["detect.window"]["value"], 600);
    assert_eq!(object["detect.window"]["source"], "command line");
    assert_eq!(object["kafka.group"]["line"], 2);
    assert_eq!(object["kafka.group"]["file"], file.as_str());
    assert_eq!(object["kafka.options.sasl.password"]["value"], "[redacted]");
    assert_eq!(object["kafka.options.sasl.password_file"]["value"], secret.as_str());
    assert_eq!(object["kafka.brokers"]["variable"], "OUTLIERD_KAFKA__BROKERS");
    assert_eq!(object["field"]["value"][0]["kind"], "key");
    assert!(!(shown + &text(&output.stdout)).contains("hunter"));

    // What is shown is a configuration that means the same.
    let output = outlierd(&[], &["config", "show"]);
    let again = folder.file("again.toml", &output.stdout);
    let output =
        outlierd(&[], &["validate", "--no-environment", "-c", &again, "--set", "source.topics=[\"a\"]"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let wrong = folder.file("wrong.toml", b"[detect]\nwindow = 5\n");
    let output = outlierd(&[], &["config", "show", "-c", &wrong]);
    assert_eq!(
        faults(&output, &wrong),
        ["FILE:2: detect.window: is 5, should be a whole number between 10 and 100000000"]
    );
}

/// Every key with its default.
fn keys() -> BTreeMap<String, Value> {
    let output = outlierd(&[], &["config", "show", "--json"]);
    let object: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(object.len() > 50, "{object:?}");
    object.into_iter().map(|(key, shown)| (key, shown["value"].clone())).collect()
}

#[test]
fn the_schema_holds_every_key_with_its_default_and_meaning() {
    let output = outlierd(&[], &["config", "schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut named = 0;
    for (section, table) in schema["properties"].as_object().unwrap() {
        let table = if section == "field" { &table["items"] } else { table };
        assert_eq!(table["additionalProperties"], false, "{section}");
        for (name, key) in table["properties"].as_object().unwrap() {
            let meaning = key["description"].as_str().unwrap_or_default();
            assert!(meaning.len() > 8 && !meaning.contains('#'), "{section}.{name}: {meaning:?}");
            if section != "field" && name != "options" {
                assert_eq!(key["default"], keys()[&format!("{section}.{name}")], "{section}.{name}");
                named += 1;
            }
        }
    }
    assert_eq!(named, keys().len());
    let options = &schema["properties"]["kafka"]["properties"]["options"];
    assert!(
        options["properties"]["sasl.password_file"].is_object() && options["properties"]["acks"].is_null()
    );
}

/// Reads schemas and configurations as an editor does: a validator of JSON Schema that knows nothing of outlierd.
const VALIDATOR: &str = "
import json, sys, tomllib
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    faults = sorted(validator.iter_errors(tomllib.load(open(path, 'rb'))), key=lambda fault: list(fault.path))
    print(path, '|', '; '.join('.'.join(map(str, fault.absolute_path)) + ': ' + fault.message for fault in faults))
";

#[test]
fn an_independent_validator_takes_the_schema_and_refuses_what_is_wrong() {
    let folder = Folder::new();
    let schema = folder.file("schema.json", &outlierd(&[], &["config", "schema"]).stdout);
    let judge = |paths: &[String]| -> Vec<String> {
        let mut python = Command::new(part("venv/bin/python"));
        let output = python.args(["-c", VALIDATOR, &schema]).args(paths).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let said: Vec<String> =
            said.lines().map(|line| line.split_once(" | ").unwrap().1.to_owned()).collect();
        assert_eq!(said.len(), paths.len());
        said
    };
    let mut good: Vec<String> =
        ["config/default.toml", "deploy/outlierd.toml", "deploy/kubernetes/outlierd.toml"]
            .map(path_of)
            .to_vec();
    good.extend(
        ["logs", "transactions", "web-access"].map(|name| path_of(&format!("config/examples/{name}.toml"))),
    );
    let forms = "[kafka]\nfetch_memory = 33554432\ncommit_interval = \"${EVERY:-1s}\"\n[kafka.options]\n\
                 \"sasl.password_file\" = \"/x\"\n\"socket.timeout.ms\" = 9000\n[detect]\nwindow = \"${W:-500}\"\n\
                 meaning_matters = true\nchannels = [\"text\"]\n[alert]\nbudget = \"20 per day\"\n";
    good.push(folder.file("forms.toml", forms.as_bytes()));
    assert_eq!(judge(&good), vec![""; good.len()]);
    let forms =
        outlierd(&[], &["validate", "--no-environment", "-c", &good[6], "--set", "source.topics=[\"a\"]"]);
    assert_eq!(faults(&forms, &good[6]).len(), 1, "SASL without its protocol");

    // What the schema refuses the command refuses, and each at that key.
    let wrong = [
        ("[source]\ntopicz = [\"a\"]\n", "source: ", "topicz"),
        ("[kafak]\n", ": ", "kafak"),
        ("[detect]\nwindow = \"many\"\n", "detect.window: ", "many"),
        ("[detect]\nwindow = 5\n", "detect.window: ", "5"),
        ("[detect]\nchannels = [\"txt\"]\n", "detect.channels", "txt"),
        ("[alert]\nbudget = \"often\"\n", "alert.budget: ", "often"),
        ("[alert]\ngap = \"5\"\n", "alert.gap: ", "5"),
        ("[source]\nkind = \"kafak\"\n", "source.kind: ", "kafak"),
        ("[kafka.options]\n\"sasl.pasword\" = \"x\"\n", "kafka.options: ", "sasl.pasword"),
        ("[decode]\nsize_max = \"1 TiB\"\n", "decode.size_max: ", "1 TiB"),
        ("[[field]]\npointer = \"/a\"\n", "field.0: ", "kind"),
        ("[admin]\nlisten = \"localhost\"\n", "admin.listen: ", "localhost"),
    ];
    let files: Vec<String> = wrong
        .iter()
        .enumerate()
        .map(|(number, (toml, _, _))| folder.file(&format!("wrong-{number}.toml"), toml.as_bytes()))
        .collect();
    for ((said, file), (toml, key, word)) in judge(&files).iter().zip(&files).zip(wrong) {
        assert!(said.starts_with(key) && said.contains(word), "{toml}{said}");
        let output = outlierd(&[], &[&["validate", "-c", file], NO_KAFKA.as_slice()].concat());
        assert_eq!(faults(&output, file).len(), 1, "{toml}");
    }
}

fn path_of(name: &str) -> String {
    root().join(name).to_string_lossy().into_owned()
}

#[test]
fn documents_name_settings_that_exist() {
    let keys = keys();
    let sections: Vec<&str> = keys.keys().filter_map(|key| key.split('.').next()).collect();
    let mut named = 0;
    for name in ["README.md", "deploy/README.md", "config/default.toml", "deploy/outlierd.toml"] {
        let document = fs::read_to_string(root().join(name)).unwrap();
        for word in document.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c))) {
            let word = word.trim_end_matches('.');
            let Some((section, key)) = word.split_once('.') else { continue };
            let file =
                [".toml", ".rs", ".jsonl", ".log", ".onnx", ".json", ".so", ".dead", ".alerts", ".options"];
            if sections.contains(&section) && !file.iter().any(|end| word.contains(end)) {
                assert!(keys.contains_key(word), "{name} names {section}.{key}");
                named += 1;
            }
        }
    }
    assert!(named >= 8, "{named}");
}
