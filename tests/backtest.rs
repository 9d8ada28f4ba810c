//! `outlierd backtest`: what it says of a stream with planted anomalies, that it says it again, and that it is the daemon
//! that it speaks of.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::FileReader;
use flate2::Compression;
use flate2::write::GzEncoder;
use outlierd::backtest::{self, Labels, Settings};
use rdkafka::mocking::MockCluster;
use serde_json::Value;

use crate::client;
use crate::command::{Folder, outlierd, refused, text};

const EVENTS: usize = 1_500;
const SMALL: [&str; 4] = ["--set", "detect.warmup=300", "--budget", "1 in 100"];

fn is_planted(number: usize) -> bool {
    number > 400 && number % 60 == 17
}

/// Orders as a shop logs them; some are planted. `label` writes an event's label, as a member of the object or not at all.
fn stream(label: impl Fn(usize, bool) -> String) -> String {
    let mut out = String::new();
    for number in 0..EVENTS {
        let planted = is_planted(number);
        let (user, cents) = (number * 7 % 41, 900 + number * 131 % 700);
        let (what, cents) = if planted {
            (format!("refund number {} forced by an operator", number * 37 % 1_000), cents * 40)
        } else {
            (format!("order of user {user} was placed"), cents)
        };
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let label = label(number, planted);
        writeln!(out, "{{\"message\":\"{what}\",\"amount\":{amount},\"user\":\"u{user}\"{label}}}").unwrap();
    }
    out
}

fn numbered(_: usize, planted: bool) -> String {
    format!(",\"label\":{}", u8::from(planted))
}

fn arguments<'a>(path: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["backtest", "--json", "--input", path], more, SMALL.as_slice()].concat()
}

/// What it printed last, without what differs from run to run.
fn report(arguments: &[&str]) -> Value {
    let output = outlierd(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut report: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    timeless(&mut report);
    report
}

fn timeless(report: &mut Value) {
    let report = report.as_object_mut().unwrap();
    assert!(report.remove("events_per_second").unwrap().as_f64().unwrap() > 0.0);
    assert!(report.remove("seconds").unwrap()["pipeline"].as_f64().unwrap() > 0.0);
    report.remove("schema");
}

fn figure(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"))
}

#[test]
fn planted_anomalies_are_found_and_the_figures_hang_together() {
    let folder = Folder::new();
    let path = folder.file("orders.jsonl", stream(numbered).as_bytes());
    let graded = report(&arguments(&path, &["--label", "label", "--skip", "0.2"]));
    let planted = (300..EVENTS).filter(|number| is_planted(*number)).count();
    assert_eq!((figure(&graded, "events"), figure(&graded, "graded")), (1_500.0, 1_200.0));
    assert!((figure(&graded, "anomalies") - planted as f64).abs() < 1e-9);
    assert!(figure(&graded, "auroc") > 0.95 && figure(&graded, "average_precision") > 0.6, "{graded}");
    assert!((figure(&graded, "budget") - 0.01).abs() < 1e-9);
    let realised = figure(&graded, "incidents") / 1_200.0;
    assert!((figure(&graded, "realised_alert_rate") - realised).abs() < 1e-5, "{graded}");
    let opened = figure(&graded, "incidents_true") + figure(&graded, "incidents_false");
    assert!((opened - figure(&graded, "incidents")).abs() < 1e-9);
    assert!(figure(&graded, "precision") > 0.3 && figure(&graded, "recall") > 0.1, "{graded}");
    assert!(figure(&graded, "precision_at_budget") > 0.5, "{graded}");
    for channel in ["density", "text", "joint"] {
        assert!(figure(&graded["channels"][channel], "auroc") > 0.5, "{channel}: {graded}");
    }
    assert!(graded["channels"]["text"]["fields"]["/message"]["auroc"].as_f64().unwrap() > 0.9, "{graded}");

    let table = arguments(&path, &["--label", "label"]);
    let table: Vec<&str> = table.into_iter().filter(|word| *word != "--json").collect();
    let table = text(&outlierd(&table).stdout);
    for line in ["AUROC", "average precision", "incidents", "rate of incidents", "events a second", "/amount"]
    {
        assert!(table.contains(line), "{line}: {table}");
    }
}

#[test]
fn a_label_grades_and_does_nothing_else_however_it_is_written() {
    let folder = Folder::new();
    let files = [
        ("numbers", stream(numbered)),
        ("truths", stream(|_, planted| format!(",\"label\":{planted}"))),
        ("words", stream(|_, planted| format!(",\"label\":\"{}\"", if planted { "1" } else { "0" }))),
        ("nested", stream(|_, planted| format!(",\"label\":{{\"is\":\"{planted}\"}}"))),
    ];
    let mut reports = Vec::new();
    for (name, lines) in &files {
        let path = folder.file(name, lines.as_bytes());
        let label = if *name == "nested" { "/label/is" } else { "label" };
        reports.push(report(&arguments(&path, &["--label", label])));
    }
    assert!(reports.iter().all(|other| *other == reports[0]), "{reports:#?}");

    // Without a label there is nothing to grade by, and the alerts are the same.
    let path = folder.file("bare", stream(|_, _| String::new()).as_bytes());
    let bare = report(&arguments(&path, &[]));
    for same in ["events", "alerts", "incidents", "realised_alert_rate"] {
        assert_eq!(bare[same], reports[0][same], "{same}");
    }
    assert!(bare["auroc"].is_null() && bare["graded"] == 0, "{bare}");

    // Some labels missing, some null: not graded, and counted.
    let some = stream(|number, planted| match number % 5 {
        0 => String::new(),
        1 => ",\"label\":null".to_owned(),
        _ => numbered(number, planted),
    });
    let some = report(&arguments(&folder.file("some", some.as_bytes()), &["--label", "label"]));
    assert_eq!((some["graded"].as_u64(), some["unlabelled"].as_u64()), (Some(900), Some(600)));
    assert_eq!(some["alerts"], reports[0]["alerts"]);
}

#[test]
fn neither_the_run_nor_the_size_of_batches_changes_a_byte() {
    let folder = Folder::new();
    let path = folder.file("orders.jsonl", stream(numbered).as_bytes());
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(stream(numbered).as_bytes()).unwrap();
    let gzipped = folder.file("orders.jsonl.gz", &packed.finish().unwrap());
    let told = |input: &str, batch: usize, out: &str| {
        let out = folder.0.join(out);
        let settings = Settings {
            inputs: vec![input.to_owned(), input.to_owned()],
            labels: Some(Labels { field: "label".to_owned(), ..Labels::default() }),
            out: Some(out.clone()),
            batch,
            ..Settings::default()
        };
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let sets = [set("detect.warmup", "300"), set("alert.budget", "1 in 100")];
        let config = backtest::configure(None, &sets, &settings).unwrap();
        let mut report = serde_json::to_value(backtest::run(&config, &settings).unwrap()).unwrap();
        timeless(&mut report);
        (report, fs::read(out.join("events.arrow")).unwrap(), fs::read(out.join("alerts.jsonl")).unwrap())
    };
    let first = told(&path, 512, "first");
    assert_eq!(first.0["events"], EVENTS);
    for batch in [1, 7, 100_000, 512] {
        assert!(told(&path, batch, "again") == first, "batches of {batch}");
    }
    // The lane's name differs, nothing else.
    let gzipped = told(&gzipped, 512, "gzipped").0;
    assert_eq!(gzipped, first.0);
}

#[test]
fn what_it_alerts_on_is_what_the_daemon_alerts_on() {
    let folder = Folder::new();
    let path = folder.file("orders.jsonl", stream(numbered).as_bytes());
    let (out, alerts) = (folder.0.join("out"), folder.0.join("alerts.jsonl"));
    report(&arguments(&path, &["--label", "label", "--out", out.to_str().unwrap()]));
    let sink = format!("sink.path={}", alerts.display());
    let daemon: [&[&str]; 3] = [
        &["run", "--source", "file", "--sink", "file", "--input", &path, "--set", &sink],
        &["--set", "render.ignore=[\"label\"]", "--set", "admin.listen=", "--set", "detect.warmup=300"],
        &["--set", "alert.budget=1 in 100"],
    ];
    let output = outlierd(&daemon.concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (by_daemon, by_backtest) =
        (fs::read_to_string(alerts).unwrap(), fs::read_to_string(out.join("alerts.jsonl")).unwrap());
    assert!(by_daemon.lines().count() > 5, "{by_daemon}");
    assert_eq!(by_backtest, by_daemon);
}

fn rows(path: &Path) -> Vec<RecordBatch> {
    let reader = FileReader::try_new(fs::File::open(path).unwrap(), None).unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn rows_can_be_read_back() {
    let folder = Folder::new();
    let lines = stream(|number, planted| match number {
        0..10 => String::new(),
        _ => numbered(number, planted),
    });
    let path = folder.file("orders.jsonl", format!("{lines}not a record\n").replace("not", "{").as_bytes());
    let out = folder.0.join("rows");
    let graded = report(&arguments(&path, &["--label", "label", "--out", out.to_str().unwrap()]));
    assert_eq!(graded["rejected"]["malformed"], 1);
    let batches = rows(&out.join("events.arrow"));
    let [batch] = batches.as_slice() else { panic!("{} batches", batches.len()) };
    assert_eq!(batch.num_rows(), EVENTS);
    let column =
        |name: &str| batch.column_by_name(name).unwrap_or_else(|| panic!("{name}: {:?}", batch.schema()));
    let offsets = column("offset").as_primitive::<Int64Type>();
    assert!(offsets.values().iter().copied().eq(0..i64::try_from(EVENTS).unwrap()));
    let labels = column("label").as_boolean();
    assert_eq!(labels.null_count(), 10);
    assert!((10..EVENTS).all(|row| labels.value(row) == is_planted(row)));
    assert_eq!(column("lane").as_string::<i32>().value(7), path);
    let opened = column("opened").as_boolean().iter().filter(|opened| *opened == Some(true)).count();
    assert_eq!(Some(opened as u64), graded["incidents"].as_u64());
    let alerted = column("alerted").as_boolean();
    let (surprise, threshold) =
        (column("surprise").as_primitive::<Float64Type>(), column("threshold").as_primitive::<Float64Type>());
    for row in 300..EVENTS {
        assert_eq!(alerted.value(row), surprise.value(row) > threshold.value(row), "row {row}");
    }
    let joint = column("joint:").as_primitive::<Float64Type>();
    let mean = |planted: bool| {
        let rows: Vec<f64> =
            (300..EVENTS).filter(|row| is_planted(*row) == planted).map(|row| joint.value(row)).collect();
        rows.iter().sum::<f64>() / rows.len() as f64
    };
    assert!(mean(true) > mean(false) + 1.0, "{} {}", mean(true), mean(false));
}

#[test]
fn labels_of_series_are_graded_as_windows() {
    let folder = Folder::new();
    let mut lines = String::new();
    for number in 0..3_000_u32 {
        let (series, place) = (number % 3, number / 3);
        // Two windows in the first series, one in the second; an early one is not graded.
        let label = matches!((series, place), (0, 400..410 | 800..810 | 20..30) | (1, 600..610));
        let value = 10 + (number * 37) % 11 + if label { 500 } else { 0 };
        writeln!(lines, "{{\"series\":\"s{series}\",\"value\":{value}.5,\"label\":{}}}", u8::from(label))
            .unwrap();
    }
    let path = folder.file("metrics.jsonl", lines.as_bytes());
    let graded = report(&arguments(&path, &["--label", "label", "--windows", "series", "--skip", "0.15"]));
    let windows = &graded["windows"];
    assert_eq!(windows["windows"], 3, "{graded}");
    assert_eq!((windows["found"].as_u64(), windows["found_twice"].as_u64()), (Some(3), Some(3)), "{graded}");
    assert_eq!(graded["graded"], 3 * 850);
    assert_eq!(graded["channels"]["series"]["windows_found"], 3, "{graded}");
}

#[test]
fn an_ablation_has_a_cell_for_each_channel_that_has_fields() {
    let folder = Folder::new();
    let path = folder.file("orders.jsonl", stream(numbered).as_bytes());
    let words = ["backtest", "--input", &path, "--label", "label", "--ablate", "--skip", "0.2"];
    let words = [words.as_slice(), &SMALL].concat();
    let output = outlierd(&[words.as_slice(), &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    let stream = &table["streams"][0];
    let whole = report(&arguments(&path, &["--label", "label", "--skip", "0.2"]));
    assert_eq!((&stream["stream"], &stream["all"]["auroc"]), (&Value::from("orders"), &whole["auroc"]));
    for channel in ["density", "text", "numeric"] {
        let alone = report(&arguments(
            &path,
            &["--label", "label", "--skip", "0.2", "--set", &format!("detect.channels=[{channel:?}]")],
        ));
        assert_eq!(stream["alone"][channel]["auroc"], alone["auroc"], "{channel}");
        assert_eq!(alone["channels"].as_object().unwrap().keys().collect::<Vec<_>>(), [channel]);
        assert!(stream["without"][channel]["auroc"].is_number(), "{channel}");
    }
    let markdown = text(&outlierd(&words).stdout);
    assert!(markdown.starts_with("| stream | all | density alone | without |"), "{markdown}");
    assert!(markdown.lines().nth(2).unwrap().starts_with("| orders | "), "{markdown}");
}

#[test]
fn a_topic_between_two_offsets_is_judged_as_a_file_of_the_same_lines() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("orders", 2, 1).unwrap();
    let lines = stream(numbered);
    let records: Vec<(i32, String, Vec<u8>)> =
        lines.lines().map(|line| (1, "k".to_owned(), line.as_bytes().to_vec())).collect();
    let bootstrap = cluster.bootstrap_servers();
    client::produce(&bootstrap, "orders", &records);
    let brokers = format!("kafka.brokers={bootstrap}");
    let topic = |more: &[&str]| {
        let words = ["backtest", "--json", "--topic", "orders", "--label", "label", "--set", &brokers];
        report(&[words.as_slice(), more, &SMALL].concat())
    };
    let folder = Folder::new();
    let file = |lines: &str| {
        report(&arguments(&folder.file("orders.jsonl", lines.as_bytes()), &["--label", "label"]))
    };
    // Only partition 1 holds anything.
    assert_eq!(topic(&[]), file(&lines));
    let part: String = lines.split_inclusive('\n').skip(100).take(1_100).collect();
    assert_eq!(topic(&["--partition", "1", "--from", "100", "--to", "1200"]), file(&part));

    let wrong = |more: &[&str]| {
        let words = ["backtest", "--topic", "orders", "--set", &brokers];
        refused(78, &[words.as_slice(), more].concat())
    };
    assert!(wrong(&["--partition", "7"]).contains("has 2 partitions, none of number 7"));
    assert!(wrong(&["--from", "5"]).contains("--partition"));
    let said = wrong(&["--partition", "1", "--from", "5000"]);
    assert!(said.contains("orders[1] holds offsets 0 up to, not including, 1500"), "{said}");
    assert!(wrong(&["--partition", "1", "--from", "9", "--to", "9"]).contains("nothing lies between"));
    let said = refused(69, &["backtest", "--topic", "no-such-topic", "--set", &brokers]);
    assert!(said.contains("no-such-topic"), "{said}");
    let said = refused(65, &["backtest", "--topic", "orders", "--partition", "0", "--set", &brokers]);
    assert!(said.contains("no record"), "{said}");
}

#[test]
fn what_cannot_be_judged_or_graded_is_said() {
    let folder = Folder::new();
    let lines = stream(numbered);
    let good = folder.file("good.jsonl", lines.as_bytes());
    let refuse = |code: i32, path: &str, more: &[&str]| refused(code, &arguments(path, more));
    assert!(refuse(69, "no-such.jsonl", &[]).contains("no-such.jsonl"));
    assert!(refuse(69, folder.0.to_str().unwrap(), &[]).contains("directory"));
    assert!(refuse(65, &folder.file("empty", b""), &[]).contains("no record"));
    assert!(refuse(65, &folder.file("odd", b"{\n{\n"), &[]).contains("malformed 2"));
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(lines.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let cut = folder.file("cut.gz", &packed[..packed.len() / 2]);
    assert!(refuse(69, &cut, &[]).contains("truncated"));
    let odd = lines.replacen("\"label\":0", "\"label\":\"KERNDTLB\"", 3);
    let odd = folder.file("odd.jsonl", odd.as_bytes());
    let said = refuse(65, &odd, &["--label", "label"]);
    assert!(
        said.contains("odd.jsonl, line 1") && said.contains("KERNDTLB") && said.contains("--positive"),
        "{said}"
    );
    assert_eq!(report(&arguments(&odd, &["--label", "label", "--normal", "0"]))["graded"], EVENTS);

    for wrong in [["--skip", "1"], ["--skip", "-0.1"], ["--skip", "NaN"], ["--windows", "user"]] {
        refuse(64, &good, &wrong);
    }
    refused(64, &["backtest", "--label", "label"]);
    refused(64, &["backtest", "--input", &good, "--topic", "orders"]);
    refused(64, &["backtest", "--input", "-", "--label", "label", "--ablate"]);
    let said = refused(78, &["backtest", "--input", &good, "--budget", "often"]);
    assert!(said.contains("alert.budget"), "{said}");
    let said = refused(78, &["backtest", "--input", &good, "--set", "detect.channels=[\"txt\"]"]);
    assert!(said.contains("did you mean \"text\"?"), "{said}");
    let blocked = format!("{good}/rows");
    assert!(refuse(69, &good, &["--out", &blocked]).contains("cannot write"));

    let one_class = folder.file("calm.jsonl", stream(|_, _| ",\"label\":0".to_owned()).as_bytes());
    for (path, label, said) in
        [(&one_class, "label", "nothing to rank"), (&good, "lable", "has a label lable")]
    {
        let output = outlierd(&arguments(path, &["--label", label]));
        assert!(output.status.success() && text(&output.stderr).contains(said), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["auroc"].is_null() && report["average_precision"].is_null(), "{report}");
    }
}

#[test]
fn strange_streams_give_a_result_and_no_panic() {
    let folder = Folder::new();
    let lines =
        |line: &dyn Fn(usize) -> String| (0..700).map(|number| line(number) + "\n").collect::<String>();
    let streams = [
        ("equal", lines(&|_| "{\"a\":1,\"label\":0}".to_owned())),
        ("last", lines(&|number| format!("{{\"a\":{},\"label\":{}}}", 1 + number / 699, number / 699))),
        (
            "huge",
            lines(&|number| {
                format!(
                    "{{\"a\":{}e{},\"label\":{}}}",
                    number,
                    number.cast_signed() * 37 % 600 - 300,
                    number % 2
                )
            }),
        ),
        (
            "mixed",
            lines(&|number| match number % 4 {
                0 => "{\"a\":1,\"label\":1}".to_owned(),
                1 => "{\"a\":\"x\",\"label\":\"0\"}".to_owned(),
                2 => "{\"a\":[true,{}],\"label\":false}".to_owned(),
                _ => "plain words".to_owned(),
            }),
        ),
        (
            "keys",
            lines(&|number| {
                format!("{{\"k\":\"key{}\",\"v\":{},\"label\":0}}", number * 7_919 % 700, number * 31 % 53)
            }),
        ),
        ("empty", lines(&|number| format!("{{\"m\":\"\",\"n\":{},\"label\":{}}}", number % 7, number % 2))),
    ];
    for (name, lines) in &streams {
        let path = folder.file(name, lines.as_bytes());
        let graded = report(&arguments(&path, &["--label", "label", "--windows", "k"]));
        assert!(graded["events"].as_u64().unwrap() > 100, "{name}: {graded}");
    }
}
