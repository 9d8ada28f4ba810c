//! What a person is shown of an alert: the sinks' own bytes, the binary's own page.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use outlierd::flow::{
    Alert, ChannelSurprise, Evidence, Lane, Neighbour, Origin, Phase, Reason, Record, Schema, Time, Verdict,
};
use outlierd::sink::{Provenance, wire};

use crate::command::{Folder, refused, text};

fn alert(value: &str) -> Alert {
    let channel = |channel, field: &str, surprise| ChannelSurprise {
        channel,
        field: field.into(),
        score: 2.5,
        surprise,
    };
    let reason = |channel, field: &str, value: &str, expected: &str, context: Option<&str>| Reason {
        channel,
        field: field.into(),
        value: value.to_owned(),
        expected: expected.to_owned(),
        context: context.map(str::to_owned),
    };
    let time = Time(1_709_210_096_789);
    Alert {
        origin: Origin { lane: Lane { topic: "pay ments".into(), partition: 2 }, offset: 34_940, time },
        phase: Phase::Opened,
        count: 1,
        last_offset: 34_940,
        last_time: time,
        verdict: Verdict {
            surprise: 9.3,
            threshold: 6.9,
            channels: vec![channel("numeric", "/amount", 9.2), channel("text", "/note", 0.1)],
            admitted: false,
            seen: 34_000,
            warm: true,
            evidence: Some(Evidence {
                reasons: vec![
                    reason("numeric", "/amount", "441.34", "3.08 to 87.58", Some("/customer=c0058")),
                    reason("text", "/note", value, "never seen before", None),
                ],
                neighbours: vec![Neighbour {
                    channel: "density",
                    field: "/note".into(),
                    text: "monthly rent".into(),
                    distance: 0.62,
                    offset: 12_001,
                    count: 40,
                }],
            }),
        },
        record: Arc::new(Record {
            key: Some(b"c0058".to_vec()),
            payload: Some(format!("{{\"amount\":441.34,\"note\":{value:?}}}").into_bytes()),
            headers: Vec::new(),
        }),
        schema: Arc::new(Schema::default()),
    }
}

fn provenance() -> Provenance {
    Provenance {
        service: "fraud".to_owned(),
        version: "0.1.0".to_owned(),
        model: "hashed".to_owned(),
        config: "0123456789abcdef".to_owned(),
        embedder: "hashed".to_owned(),
        budget: "1 in 1000".to_owned(),
        source: "kafka",
    }
}

/// The page of these bytes, from standard input; lines joined, blanks made one.
fn page(bytes: &[u8]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outlierd"))
        .args(["explain", "-", "--width", "100"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn joined(page: &str) -> String {
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn an_alert_is_told_in_full() {
    let page = page(&wire::alert::line(&alert("gift"), &provenance(), 900_000));
    let all = joined(&page);
    for part in [
        "amount 441.34 where 3.08 to 87.58 is usual for customer=c0058",
        "when 2024-02-29T12:34:56.789Z",
        "pay ments[2] at offset 34940, key c0058",
        "numeric, amount 441.34; usual: 3.08 to 87.58; held against events of customer=c0058",
        "text, note \"gift\"; never seen before",
        "numeric, amount 9.2 nats: about 1 event in 9 900 has a number so far from what is usual",
        "and 1 that found nothing out of the ordinary",
        "0.62 in letters \"monthly rent\" (note), seen 40 times lately, last at offset 12001",
        "surprise 9.3 nats: about 1 event in 11 000 is as strange",
        "threshold 6.9 nats then (about 1 event in 990): what is stranger raises an alert",
        "budget 1 in 1000 for each partition",
        "a field that says nothing is left out by render.ignore = [\"/amount\"]",
        "learned from 34 000 events of this partition",
        "id pay ments-2-34940",
        "--topic 'pay ments' --partition 2 --offset 34940 --max-messages 1",
        "outlierd backtest -c CONFIG --topic 'pay ments' --partition 2 --from 14940 --to 34941 --out again",
        "outlierd 0.1.0 as fraud, configuration 0123456789abcdef",
        "{\"amount\":441.34,\"note\":\"gift\"}",
    ] {
        assert!(all.contains(part), "{part}\n{page}");
    }
    assert!(!page.contains('\u{1b}'), "no colour but on a terminal");
}

#[test]
fn a_message_of_kafkas_and_an_incident_that_ended_are_told_too() {
    let mut ended = alert("gift");
    ended.phase = Phase::Closed;
    ended.count = 1_234;
    ended.last_offset = 50_000;
    let body = wire::alert::message(&ended, &provenance(), 900_000).body;
    let all = joined(&page(&body));
    assert!(all.contains("incident ended after 1234 events"), "{all}");
    assert!(
        all.contains("1 234, from offset 34940 to offset 50000, the last at 2024-02-29T12:34:56.789Z"),
        "{all}"
    );
    // Several, one after the other; and one that was cut to the least that fits.
    let least = wire::alert::line(&alert(&"long ".repeat(50_000)), &provenance(), wire::alert::BODY_MIN);
    let both = [body, b"\n".to_vec(), least].concat();
    assert_eq!(page(&both).matches("How rare").count(), 2);
}

#[test]
fn the_source_is_what_the_alert_says_it_is() {
    const GIVEN: i64 = 1_709_210_096_789;
    let told = |topic: &str, source: &'static str, time: i64| {
        let mut alert = alert("gift");
        (alert.phase, alert.count, alert.last_offset) = (Phase::Closed, 2, 34_950);
        alert.origin.lane = Lane { topic: topic.into(), partition: 0 };
        (alert.origin.time, alert.last_time) = (Time(time), Time(time));
        let page = page(&wire::alert::line(&alert, &Provenance { source, ..provenance() }, 900_000));
        assert!(!page.contains("1970"), "{page}");
        joined(&page)
    };
    let file = told("file.log", "file", 0);
    for part in [
        "where line 34941 of file.log",
        "last at line 12002",
        "2, from line 34941 to line 34951 Find",
        "cat file.log | sed -n 34941p",
        "outlierd backtest -c CONFIG --input file.log --out again",
        "not known: neither the event nor its record has a time",
    ] {
        assert!(file.replace(" What next", " Find").contains(part), "{part}\n{file}");
    }
    assert!(!file.contains("kafka"), "{file}");
    assert!(told("-odd name.gz", "file", GIVEN).contains("zcat './-odd name.gz' | sed -n 34941p"));
    let pipe = told("stdin", "stdin", 0);
    assert!(pipe.contains("it was line 34941 of standard input") && !pipe.contains("kafka"), "{pipe}");
    assert!(
        told("stdin", "kafka", GIVEN).contains("--topic stdin --partition 0 --offset 34940 --max-messages 1")
    );
    // Alerts of earlier versions do not say: a slash is what no topic has.
    assert!(told("/var/log/a.log", "", GIVEN).contains("cat /var/log/a.log | sed -n 34941p"));
    assert!(told("file.log", "", GIVEN).contains("--topic file.log"));
    assert!(told("stdin", "", GIVEN).contains("it was line 34941"));
}

#[test]
fn nothing_of_an_event_reaches_the_terminal_as_a_command() {
    let wild = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n\u{202e}evil\u{9b}31m";
    let mut alert = alert(wild);
    alert.origin.lane.topic = "\u{1b}[31m; rm -rf ~".into();
    let mut value: serde_json::Value =
        serde_json::from_slice(&wire::alert::line(&alert, &provenance(), 900_000)).unwrap();
    // Not even where somebody else wrote the alert.
    for pointer in
        ["/message", "/event/start", "/outlierd/budget", "/outlierd/version", "/outlierd/incident/id"]
    {
        *value.pointer_mut(pointer).unwrap() = wild.into();
    }
    value["outlierd"]["channels"][0]["channel"] = wild.into();
    let page = page(value.to_string().as_bytes());
    let bad = |c: &char| c.is_control() && *c != '\n' || *c == '\u{202e}';
    assert_eq!(page.chars().find(bad), None, "{page}");
    assert!(page.contains("\\u{1b}]0;owned"), "{page}");
    assert!(page.contains("--topic '\\u{1b}[31m; rm -rf ~'"), "{page}");
}

#[test]
fn what_is_no_alert_is_refused_with_the_reason() {
    let folder = Folder::new();
    let good = text(&wire::alert::line(&alert("gift"), &provenance(), 900_000));
    for (contents, why) in [
        ("", "holds no alert"),
        ("not json", "record 1: not JSON"),
        ("{\"level\":\"info\"}", "record 1: not an alert of outlierd: no object \"outlierd\", but \"level\""),
        ("[]", "a JSON list"),
        (&good[..good.len() / 2], "record 1: not JSON"),
        (&format!("{good}{{\"a\":1}}"), "record 2: not an alert"),
    ] {
        let path = folder.file("alert.json", contents.as_bytes());
        let said = refused(65, &["explain", &path]);
        assert!(said.contains(why), "{said}");
    }
    assert!(refused(69, &["explain", "/nowhere"]).contains("cannot open /nowhere"));
    // Deep nesting is JSON that nobody meant.
    let deep = folder.file("deep.json", "[".repeat(100_000).as_bytes());
    assert!(refused(65, &["explain", &deep]).contains("not JSON"));
}

#[test]
fn what_the_daemon_writes_can_be_explained() {
    let folder = Folder::new();
    let mut lines: Vec<String> = (0..1_500)
        .map(|number| format!("user {} signed in after {} ms\n", number % 40, number % 30))
        .collect();
    lines.push("kernel panic: not syncing, attempted to kill init\n".to_owned());
    folder.file("app.log", lines.concat().as_bytes());
    let run = |verb: &[&str]| {
        let small = ["--set", "detect.warmup=300", "--set", "alert.budget=1 in 300"];
        // A bare name, as a person gives it who stands in the folder.
        let output = Command::new(env!("CARGO_BIN_EXE_outlierd"))
            .args([verb, if verb[0] == "explain" { &[] } else { &small[..] }].concat())
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let sink = ["--sink", "file", "--set", "sink.path=alerts.jsonl", "--set", "admin.listen="];
    run(&[&["run", "--source", "file", "--input", "app.log"], &sink[..]].concat());
    let page = run(&["explain", "alerts.jsonl"]);
    assert!(page.contains("not known: neither the event"), "{page}");
    assert!(page.contains("kernel panic") && page.contains("cat app.log | sed -n 1501p"), "{page}");
    // What it tells to type makes the very same alerts again.
    assert!(page.contains("outlierd backtest -c CONFIG --input app.log --out again"), "{page}");
    run(&["backtest", "--input", "app.log", "--out", "again"]);
    let alerts = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap();
    assert_eq!(alerts("alerts.jsonl"), alerts("again/alerts.jsonl"));
    assert!(
        alerts("alerts.jsonl").contains("\"kind\":\"file\"")
            && !alerts("alerts.jsonl").contains("@timestamp")
    );
}
