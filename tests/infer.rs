//! `config infer` as a person meets it: a file in, a configuration out that says why, and gives the same fields.

use std::io::Write as _;
use std::path::Path;
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use outlierd::config::Config;
use outlierd::decode::{Decoded, decode};
use outlierd::flow::{Event, Record};
use outlierd::render;

use crate::command::{Folder, outlierd};

fn infer(arguments: &[&str]) -> Output {
    outlierd(&[["config", "infer"].as_slice(), arguments].concat())
}

fn printed(arguments: &[&str]) -> String {
    let output = infer(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(code: i32, arguments: &[&str]) -> String {
    let output = infer(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A multiplier that mixes well.
const M: u64 = 6_364_136_223_846_793_005;

/// Every kind of field, and every reason, with names that need escaping.
fn records(count: u64) -> String {
    let mut lines = String::new();
    for n in 0..count {
        let mix = |salt: u64| (n * 31 + salt).wrapping_mul(M).rotate_left(29).wrapping_mul(M) >> 33;
        let level = ["INFO", "INFO", "INFO", "WARN", "ERROR"][(mix(1) % 5) as usize];
        let message =
            ["user signed in again", "disk of node is full", "job ended with errors"][(mix(2) % 3) as usize];
        let late = if n % 400 == 7 { ",\"rare\":1" } else { "" };
        let line = format!(
            r#"{{"at":{},"then":{},"born":"19{:02}-01-02","clock":"{:02}:{:02}:09","level":"{level}","text":{{"message":"{message}"}},"took":{}.5,"status":{},"errors":{},"host":"node-{}","request":"{:016x}-{:08x}","trace":"t-{}","sequence":{},"app":"shop","build":7,"say \"so\"\\\u007f":"{level}"{late}}}"#,
            1_700_000_000 + n,
            1_700_000_500 + n,
            mix(3) % 90 + 10,
            n / 60 % 24,
            n % 60,
            mix(4) % 900,
            [200, 200, 404, 500][(mix(5) % 4) as usize],
            if mix(6) % 40 == 0 { mix(7) % 9 } else { 0 },
            mix(8) % 120,
            mix(9) * 77,
            mix(10),
            n / 6,
            n + 12,
        );
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

fn load(path: Option<&Path>) -> Config {
    let sets = [("source.topics".to_owned(), "[\"a\"]".to_owned())];
    Config::load(path, &sets).unwrap()
}

fn events(lines: &str, config: &Config) -> Vec<Event> {
    let decoded = lines.lines().map(|line| {
        let record = Record { payload: Some(line.as_bytes().to_vec()), ..Record::default() };
        let Ok(Decoded::Event(event)) = decode(&config.pipeline.decode, &record) else { panic!("{line}") };
        event
    });
    decoded.collect()
}

#[test]
fn what_is_printed_gives_back_the_schema_that_is_inferred() {
    let folder = Folder::new();
    let lines = records(1_500);
    let toml = printed(&["--input", &folder.file("all.jsonl", lines.as_bytes())]);
    let inferred = load(None);
    let first = &events(&lines, &inferred)[..1_000];
    let expected = render::schema(&inferred.pipeline.render, first);
    for list in [&expected.texts, &expected.numbers, &expected.categories, &expected.keys] {
        assert!(!list.is_empty(), "{expected:?}");
    }
    assert!(expected.time.is_some(), "{expected:?}");
    let named = load(Some(Path::new(&folder.file("fields.toml", toml.as_bytes()))));
    // Whatever events come: the named fields are the schema.
    assert_eq!(render::schema(&named.pipeline.render, &[]), expected, "{toml}");
    for field in &named.pipeline.render.fields {
        let read = [&expected.texts, &expected.numbers, &expected.categories, &expected.keys];
        let mut all = read.into_iter().flatten().chain(&expected.time);
        assert_eq!(
            all.any(|known| **known == *field.pointer),
            field.kind != render::Kind::Ignore,
            "{field:?}"
        );
    }
}

#[test]
fn each_choice_is_told_with_what_was_seen() {
    let folder = Folder::new();
    let toml = printed(&["--input", &folder.file("all.jsonl", records(1_500).as_bytes())]);
    for (pointer, kind, said) in [
        ("/at", "time", "the event's own"),
        ("/then", "ignore", "of which an event has one; not read"),
        ("/born", "ignore", "times that do not go with the stream; not read"),
        ("/clock", "ignore", "clocks without a date"),
        ("/level", "category", "3 distinct in 1 000 events, most often \"INFO\" ("),
        ("/text/message", "text", "words to be read: 3 distinct in 1 000 events"),
        ("/took", "number", "a quantity"),
        ("/status", "category", "most often \"200\" ("),
        ("/errors", "number", "counts something rare"),
        ("/host", "key", "120 distinct in 1 000 events"),
        ("/request", "ignore", "identifier: 1 000 of 1 000 distinct; not read"),
        ("/trace", "ignore", "167 distinct in 1 000 events, none of which comes back later"),
        ("/sequence", "ignore", "12 to 1011, rising: a counter; not read"),
        ("/app", "category", "one value, \"shop\": constant, watched for change"),
        ("/build", "number", "one value, \"7\": constant, watched for change"),
        ("/rare", "ignore", "in 3 of 1 000 events; too few to tell; not read"),
    ] {
        let entry = format!("\n[[field]]\npointer = \"{pointer}\"\nkind = \"{kind}\"\n");
        let Some((before, _)) = toml.split_once(&entry) else { panic!("{entry} is not in {toml}") };
        let comment = before.lines().last().unwrap();
        assert!(comment.starts_with("# ") && comment.contains(said), "{pointer}: {comment}");
    }
}

#[test]
fn gzip_other_formats_and_fewer_events_are_read_and_bad_lines_counted() {
    let folder = Folder::new();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"{\"broken\": \n").unwrap();
    packed.write_all(records(60).as_bytes()).unwrap();
    let packed = folder.file("all.jsonl.gz", &packed.finish().unwrap());
    let toml = printed(&["--input", &packed, "--events", "50"]);
    assert!(
        toml.starts_with("# Inferred from the first 50 events of \"all.jsonl.gz\"; 1 line could"),
        "{toml}"
    );
    let toml = printed(&["--input", &packed, "--format", "text"]);
    assert!(toml.contains("61 events") && toml.contains("pointer = \"/message\"\nkind = \"text\""), "{toml}");
    assert_eq!(toml.matches("[[field]]").count(), 1, "{toml}");
}

#[test]
fn what_cannot_be_inferred_from_is_said_with_its_exit_code() {
    let folder = Folder::new();
    let said = refused(69, &["--input", "no-such.log"]);
    assert!(said.contains("no-such.log"), "{said}");
    let said = refused(69, &["--input", &folder.file("empty.log", b"\n\n")]);
    assert!(said.contains("empty.log") && said.contains("no lines"), "{said}");
    let said = refused(69, &["--format", "json", "--input", &folder.file("plain.log", b"one\ntwo\n")]);
    assert!(said.contains("none of the first 2 lines") && said.contains("--format"), "{said}");
    let said = refused(69, &["--input", &folder.0.to_string_lossy()]);
    assert!(said.contains("directory"), "{said}");
    refused(64, &["--events", "0", "--input", "a.log"]);
    refused(64, &[]);
    let wrong = folder.file("wrong.toml", b"[render]\ninfer_events = \"few\"\n");
    let said = refused(78, &["-c", &wrong, "--input", "a.log"]);
    assert!(said.contains("render.infer_events"), "{said}");
}
