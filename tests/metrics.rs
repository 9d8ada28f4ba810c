//! The metrics that a running daemon exposes, held against the one table of them and the page that is printed from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use outlierd::flow::Fault;
use outlierd::metrics::catalogue::{ALL, Kind, Metric};

use crate::broker::{Broker, part};
use crate::client::{self, Daemon};
use crate::command::{outlierd, text};
use crate::shutdown::get;

/// Samples by the metric's name, and what each metric is said to be.
#[derive(Default)]
struct Scrape {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    /// Labels and value of each sample, by the name it stands under.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Scrape {
    /// Reads Prometheus' text format, as far as it is used: no label value of a test has a quote or a comma in it.
    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let twice = scrape.kinds.insert(name.to_owned(), kind.to_owned());
                assert!(twice.is_none(), "{name} stands in two places");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                scrape.helps.insert(name.to_owned(), help.to_owned());
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
                let labels = labels.map(|label| {
                    let (name, value) = label.split_once('=').unwrap();
                    (name.to_owned(), value.trim_matches('"').to_owned())
                });
                scrape.samples.push((name.to_owned(), labels.collect(), value.parse().unwrap()));
            }
        }
        scrape
    }

    /// The sum of a metric's samples; nothing when there are none.
    fn sum(&self, name: &str) -> Option<f64> {
        let of = self.samples.iter().filter(|(other, ..)| other == name).map(|(.., value)| *value);
        of.reduce(|a, b| a + b)
    }
}

/// The metric that a sample is of, and the labels it has to have.
fn metric_of(name: &str) -> Option<(&'static Metric, BTreeSet<&'static str>)> {
    ALL.iter().find_map(|metric| {
        let mut labels: BTreeSet<&str> = metric.labels.iter().copied().collect();
        let rest = name.strip_prefix(metric.name)?;
        match (rest, metric.kind) {
            ("", Kind::Counter | Kind::Gauge) | ("_sum" | "_count", Kind::Histogram(_)) => {}
            ("_bucket", Kind::Histogram(_)) => _ = labels.insert("le"),
            _ => return None,
        }
        Some((metric, labels))
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_of_metrics_is_the_one_that_is_printed() {
    let output = outlierd(&["metrics"]);
    assert!(output.status.success());
    let page = fs::read_to_string(root().join("deploy/METRICS.md")).unwrap();
    assert!(page == text(&output.stdout), "print it again: outlierd metrics > deploy/METRICS.md");
}

#[test]
fn every_metric_of_the_table_is_set_somewhere_and_no_other() {
    let source = fs::read_to_string(root().join("src/metrics.rs")).unwrap();
    let literals = source.split('"').skip(1).step_by(2).filter(|text| text.starts_with("outlierd_"));
    let set: BTreeSet<&str> = literals.collect();
    let table: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(set, table);
}

/// A daemon with a transformer that has judged 600 records of a topic, told of some and put one aside, and what it exposes
/// then.
fn busy() -> (Daemon, Scrape) {
    let broker = Broker::shared();
    let (topic, group) = (client::unique("metrics"), client::unique("group"));
    let (alerts, dead) = (client::unique("alerts"), client::unique("dead"));
    for name in [&topic, &alerts, &dead] {
        broker.create_topic(name, 1);
    }
    let admin = client::free_port();
    let [model, library] =
        ["minilm", "onnxruntime/libonnxruntime.so"].map(|path| part(path).display().to_string());
    let listen = format!("127.0.0.1:{admin}");
    let sets = [
        ("sink.topic", alerts.as_str()),
        ("sink.dead_letter_topic", &dead),
        ("detect.warmup", "200"),
        ("alert.budget", "1 in 50"),
        ("model.kind", "onnx"),
        ("model.path", &model),
        ("model.library", &library),
        ("model.device", "cpu"),
        ("admin.listen", &listen),
    ];
    let daemon = Daemon::start(&client::run_arguments(broker.bootstrap(), &group, &topic, &sets));
    let mut records: Vec<_> = (0..600)
        .map(|number| {
            let text = match number % 150 {
                149 => format!("segfault {} in module libm", number * 7_919),
                _ => format!("user {} signed in", number % 61),
            };
            (0, "host".to_owned(), format!(r#"{{"message":{text:?},"took":{}}}"#, number % 40).into_bytes())
        })
        .collect();
    records.push((0, "host".to_owned(), b"{\"message\": ".to_vec()));
    client::produce(broker.bootstrap(), &topic, &records);
    let scrape = client::wait_for("all to be judged, told and committed", || {
        let scrape = Scrape::parse(&get(admin, "/metrics")?.1);
        let done = scrape.sum("outlierd_events_judged_total")? >= 600.0
            && scrape.sum("outlierd_dead_letters_acknowledged_total")? >= 1.0
            && scrape.sum("outlierd_alerts_acknowledged_total") == scrape.sum("outlierd_alerts_total")
            && scrape.sum("outlierd_consumer_lag_records")? == 0.0
            && scrape.sum("outlierd_consumer_lag_seconds")? == 0.0
            && scrape.sum("outlierd_commits_total")? >= 1.0
            && scrape.sum("outlierd_embed_texts_total")? >= 600.0;
        done.then_some(scrape)
    });
    (daemon, scrape)
}

#[test]
fn what_a_daemon_exposes_is_in_the_table_with_its_kind_and_labels() {
    let (mut daemon, scrape) = busy();
    let mut seen = BTreeSet::new();
    for (name, labels, value) in &scrape.samples {
        let (metric, expected) = metric_of(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(scrape.kinds[metric.name], metric.kind.name(), "{name}");
        assert_eq!(scrape.helps[metric.name], metric.help, "{name}");
        assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{name}");
        assert!(value.is_finite(), "{name} {value}");
        seen.insert(metric.name);
    }
    // Whether that view proves itself is not for this test.
    let maybe = ["outlierd_meaning_correlation", "outlierd_meaning_lift"];
    let missing: Vec<_> = ALL.iter().map(|metric| metric.name).filter(|name| !seen.contains(name)).collect();
    assert!(missing.iter().all(|name| maybe.contains(name)), "never exposed: {missing:?}");

    let labelled = |name: &str, label: &str| -> BTreeSet<String> {
        let of = scrape.samples.iter().filter(|(other, ..)| other == name);
        of.map(|(_, labels, _)| labels[label].clone()).collect()
    };
    let stages = labelled("outlierd_stage_duration_seconds_count", "stage");
    assert_eq!(stages, ["decode", "detect", "embed", "publish"].map(str::to_owned).into());
    let queues = labelled("outlierd_queue_wait_seconds_count", "queue");
    assert_eq!(queues, ["embed", "shard"].map(str::to_owned).into());
    assert_eq!(labelled("outlierd_provider_info", "provider"), ["cpu".to_owned()].into());
    // Every reason stands there from the beginning, or the first burst of one would be no increase.
    assert_eq!(
        labelled("outlierd_dead_letters_total", "reason"),
        Fault::ALL.map(|fault| fault.name().to_owned()).into()
    );
    assert_eq!(scrape.sum("outlierd_dead_letters_total"), Some(1.0));
    assert_eq!(scrape.sum("outlierd_read_batch_records_sum"), Some(601.0));
    assert_eq!(scrape.sum("outlierd_embed_texts_total"), Some(600.0));
    assert_eq!(scrape.sum("outlierd_warmup_ratio"), Some(1.0));
    assert!(scrape.sum("outlierd_end_to_end_seconds_count").unwrap() >= 1.0);
    // The buckets of a histogram rise to its count.
    let buckets = scrape.samples.iter().filter(|(name, ..)| name == "outlierd_embed_batch_texts_bucket");
    let counts: Vec<f64> = buckets.map(|(.., value)| *value).collect();
    assert!(counts.is_sorted(), "{counts:?}");
    assert_eq!(counts.last().copied(), scrape.sum("outlierd_embed_batch_texts_count"));
    assert!(daemon.stop().success());
}
