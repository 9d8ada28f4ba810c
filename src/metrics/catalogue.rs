//! Every metric there is: its name, kind, unit, labels and meaning, in one table.
//!
//! Descriptions are registered from it, `deploy/METRICS.md` is printed from it, and tests hold what a running daemon
//! exposes, the dashboard and the alert rules against it. It must never name a label whose values have no bound: shards,
//! partitions that are ours, text fields and fixed words are all there are.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by upper bound, in the metric's unit.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As Prometheus names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, unit included where it has one.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels, help }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn histogram(
    name: &'static str,
    (unit, bounds): (&'static str, &'static [f64]),
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), unit, labels, help }
}

const SHARD: &[&str] = &["shard"];
const LANE: &[&str] = &["topic", "partition"];
const FIELD: &[&str] = &["topic", "partition", "field"];

/// From a tenth of a millisecond, less than a batch takes, to a minute, after which the watchdog would act.
const SECONDS: (&str, &[f64]) = (
    "seconds",
    &[
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0, 30.0, 60.0,
    ],
);
const RECORDS: (&str, &[f64]) = ("records", &[1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0]);
const TEXTS: (&str, &[f64]) = ("texts", &[1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0]);
const TOKENS: (&str, &[f64]) = ("tokens", &[16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0]);

/// All of them, in the order of the stream.
#[rustfmt::skip]
pub const ALL: &[Metric] = &[
    gauge("outlierd_build_info", "", &["version", "model", "provider"], "1, with the version, the digest of the model and the active provider"),
    gauge("outlierd_provider_info", "", &["provider"], "1 for the execution provider that is really active, such as cpu or cuda"),
    gauge("outlierd_start_time_seconds", "seconds", &[], "when the daemon started, since the Unix epoch"),
    gauge("outlierd_ready", "", &["part"], "1 when the part (source, model, sink) is ready, else 0"),

    counter("outlierd_records_read_total", "records", SHARD, "records taken in, replayed ones included"),
    counter("outlierd_record_bytes_total", "bytes", SHARD, "bytes of the payloads taken in"),
    counter("outlierd_records_stale_total", "records", SHARD, "records of an assignment that had ended, dropped: another reads them"),
    counter("outlierd_tombstones_total", "records", SHARD, "tombstones skipped"),
    counter("outlierd_dead_letters_total", "records", &["shard", "reason"], "records put aside, by reason"),
    gauge("outlierd_consumer_lag_records", "records", LANE, "records behind the end of the partition, not yet read"),
    gauge("outlierd_consumer_lag_seconds", "seconds", LANE, "age of the oldest record that is read and not done (judged, its alert acknowledged), by the record's time; where only unread ones wait, age of the last read; 0 when all is done"),
    gauge("outlierd_source_paused", "", &[], "1 while the source waits for the shards, else 0"),
    counter("outlierd_commits_total", "commits", &[], "commits of a partition's offset that were acknowledged"),
    counter("outlierd_commit_failures_total", "commits", &[], "commits that failed; each is tried again while the partition is ours"),
    counter("outlierd_rebalances_total", "partitions", &[], "partitions assigned or taken away"),

    histogram("outlierd_read_batch_records", RECORDS, &[], "records of one partition handed over by the source at once"),
    histogram("outlierd_queue_wait_seconds", SECONDS, &["queue"], "wait of a batch in a queue: shard (read, not yet decoded), embed (its longest waiting text, until the model runs)"),
    histogram("outlierd_stage_duration_seconds", SECONDS, &["stage"], "time that a batch takes in a stage: decode (bytes to fields, texts, numbers, categories), embed (one run of the embedder), detect (verdicts and incidents), publish (one alert or dead letter, until acknowledged)"),
    histogram("outlierd_end_to_end_seconds", SECONDS, &[], "time from a batch's read until all its events are judged and their alerts acknowledged; replay not counted"),

    histogram("outlierd_embed_batch_texts", TEXTS, &[], "texts in one run of the embedder"),
    histogram("outlierd_embed_batch_tokens", TOKENS, &[], "tokens in one run of a transformer, padding included"),
    counter("outlierd_embed_texts_total", "texts", &[], "texts that a transformer was asked for"),
    counter("outlierd_embed_texts_cached_total", "texts", &[], "of these, known already or on their way for another event"),
    counter("outlierd_embed_texts_failed_total", "texts", &[], "of these, without an embedding"),
    counter("outlierd_embed_tokens_total", "tokens", &[], "tokens that a transformer ran, without padding"),
    counter("outlierd_embed_tokens_padded_total", "tokens", &[], "tokens that a transformer ran, padding included"),

    counter("outlierd_events_judged_total", "events", SHARD, "events judged, replayed ones included"),
    counter("outlierd_events_replayed_total", "events", SHARD, "events that only taught, after a restart"),
    counter("outlierd_events_withheld_total", "events", SHARD, "events too strange to teach"),
    counter("outlierd_fields_mistyped_total", "fields", SHARD, "fields whose type did not fit"),
    counter("outlierd_fields_joined_total", "fields", SHARD, "fields that appeared late and are read since"),
    counter("outlierd_anomalies_total", "events", SHARD, "events over the threshold"),
    counter("outlierd_incidents_total", "incidents", SHARD, "incidents opened"),
    gauge("outlierd_events_waiting", "events", LANE, "events taken in and not yet judged"),
    gauge("outlierd_warmup_ratio", "ratio", LANE, "share of its warm-up that a partition has seen, 0 to 1; it alerts from 1 on"),
    gauge("outlierd_threshold_nats", "nats", LANE, "line that a fused surprise must cross"),
    gauge("outlierd_incidents_budgeted", "incidents", LANE, "incidents that the budget allowed for since the partition is warm"),
    gauge("outlierd_incidents_realised", "incidents", LANE, "incidents opened since the partition is warm"),
    gauge("outlierd_meaning_weight", "ratio", FIELD, "what a transformer's view of a text field counts for, 0 to 1"),
    gauge("outlierd_meaning_correlation", "ratio", FIELD, "correlation of that view's cosines with those of letters, -1 to 1"),
    gauge("outlierd_meaning_lift", "ratio", FIELD, "how often that view and the text channel are loud at once, over chance"),

    counter("outlierd_alerts_total", "alerts", SHARD, "alerts asked to be published"),
    counter("outlierd_alerts_acknowledged_total", "alerts", &[], "alerts that the sink's other side holds"),
    counter("outlierd_dead_letters_acknowledged_total", "records", &[], "records put aside that the sink's other side holds"),
    gauge("outlierd_sink_waiting", "alerts and records", &[], "alerts and dead letters not yet acknowledged"),
];

const INTRODUCTION: &str = "\
# Metrics

Every metric of `/metrics`, as `outlierd metrics` prints this page: do not edit it, print it again.

Counters begin at 0 with the process. A gauge of a partition that is no longer ours goes away after a minute. A histogram
appears with its first observation; one observation is made a batch, never one an event. `/metrics` is served on
`[admin] listen`, 127.0.0.1:9464 unless told.

| label | its values |
|---|---|
| `shard` | number of the thread, from 0 |
| `topic`, `partition` | partitions that are ours; a file is a topic of its name, standard input is `stdin` |
| `field` | JSON pointer of a text field |
| `part` | `source`, `model`, `sink` |
| `reason` | `empty`, `too_large`, `too_deep`, `not_utf8`, `malformed`, `not_an_object`, `no_fields`, `not_embedded` |
| `stage` | `decode`, `embed`, `detect`, `publish` |
| `queue` | `shard`, `embed` |

| metric | kind | unit | labels | what it says |
|---|---|---|---|---|
";

/// All of them as a page in Markdown.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut bounds: Vec<(&str, &[f64])> = Vec::new();
    for Metric { name, kind, unit, labels, help } in ALL {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _to_memory =
            writeln!(page, "| `{name}` | {} | {unit} | {} | {help} |", kind.name(), labels.join(", "));
        if let Kind::Histogram(of) = *kind
            && !bounds.iter().any(|(other, _)| other == unit)
        {
            bounds.push((unit, of));
        }
    }
    page.push_str("\nUpper bounds of the histograms' buckets, `+Inf` besides:\n\n");
    for (unit, of) in bounds {
        let of: Vec<String> = of.iter().map(f64::to_string).collect();
        let _to_memory = writeln!(page, "- {unit}: {}", of.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for (at, Metric { name, kind, unit, labels, help }) in ALL.iter().enumerate() {
            assert!(name.starts_with("outlierd_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(ALL[..at].iter().all(|other| other.name != *name), "{name} twice");
            if ["seconds", "nats"].contains(unit) {
                assert!(name.ends_with(unit), "{name} ends with its unit");
            }
            let lower = help.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(lower && !help.ends_with('.') && !help.contains('|'), "{name}: {help}");
            assert!(
                labels.iter().all(|label| INTRODUCTION.contains(&format!("`{label}`")) || at < 2),
                "{name}"
            );
            if let Kind::Histogram(bounds) = kind {
                assert!(bounds.is_sorted() && bounds[0] > 0.0, "{name}");
            }
        }
    }
}
