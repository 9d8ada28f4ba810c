//! Every metric that outlierd exports, one function each.
//!
//! Names and units follow Prometheus' conventions and stand in one table, [`catalogue`]. Totals are taken over as absolute
//! values from the parts that count them, so nothing is counted twice and the hot path holds no metric. Durations are
//! observed once a batch. Nothing here may be called once an event.
#![expect(clippy::disallowed_macros, reason = "the one place where metrics are made")]

pub mod catalogue;

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use crate::flow::Fault;
use crate::pipeline::Counts;
use catalogue::{Kind, Metric};

/// A gauge that nobody sets for so long is of a partition that has gone.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// What `/metrics` shows.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.0.render()
    }

    /// Sorts observations into their buckets: until then they are kept one by one, so it has to be called every second or
    /// so, whether or not anybody asks for the text.
    pub fn settle(&self) {
        self.0.run_upkeep();
    }
}

/// Installs the recorder of this process; later calls get one that records nothing.
pub fn install() -> Exposition {
    let mut builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(FORGOTTEN));
    for metric in catalogue::ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            // Refused are no bounds at all, and the table has none such.
            builder = builder.set_buckets_for_metric(name, bounds).unwrap_or_default();
        }
    }
    let recorder = builder.build_recorder();
    let exposition = Exposition(recorder.handle());
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
    }
    exposition
}

/// What a shard's pipeline has counted.
pub fn shard(shard: usize, counts: &Counts) {
    let shard = shard.to_string();
    let set = |name: &'static str, value: u64| counter!(name, "shard" => shard.clone()).absolute(value);
    set("outlierd_records_read_total", counts.read);
    set("outlierd_record_bytes_total", counts.bytes);
    set("outlierd_records_stale_total", counts.stale);
    set("outlierd_tombstones_total", counts.tombstones);
    set("outlierd_events_judged_total", counts.judged);
    set("outlierd_events_replayed_total", counts.replayed);
    set("outlierd_events_withheld_total", counts.withheld);
    set("outlierd_fields_mistyped_total", counts.mistyped);
    set("outlierd_fields_joined_total", counts.joined);
    set("outlierd_anomalies_total", counts.anomalies);
    set("outlierd_incidents_total", counts.incidents);
    set("outlierd_alerts_total", counts.alerts);
    // Those that never came too: of a series that begins at 1 801, nobody can tell the increase.
    for fault in Fault::ALL {
        let labels = [("shard", shard.clone()), ("reason", fault.name().to_owned())];
        let total = counts.rejected.get(&fault).copied().unwrap_or_default();
        counter!("outlierd_dead_letters_total", &labels).absolute(total);
    }
}

/// One lane: warm-up progress (0 to 1), threshold in nats, events waiting.
pub fn lane(topic: &str, partition: i32, progress: f64, threshold: f64, waiting: usize) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    gauge!("outlierd_warmup_ratio", &labels).set(progress);
    gauge!("outlierd_threshold_nats", &labels).set(threshold);
    gauge!("outlierd_events_waiting", &labels).set(waiting as f64);
}

/// One lane since it is warm: incidents that its budget allowed for, and those opened.
pub fn budget(topic: &str, partition: i32, budgeted: f64, realised: f64) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    gauge!("outlierd_incidents_budgeted", &labels).set(budgeted);
    gauge!("outlierd_incidents_realised", &labels).set(realised);
}

/// What a transformer's view of one text field counts for (0 to 1), and, where known, what that hangs on: the correlation
/// of its cosines with those of letters, and how often it is loud together with the text channel, over chance.
pub fn gate(topic: &str, partition: i32, field: &str, [correlation, lift]: [Option<f64>; 2], weight: f64) {
    let labels =
        [("topic", topic.to_owned()), ("partition", partition.to_string()), ("field", field.to_owned())];
    gauge!("outlierd_meaning_weight", &labels).set(weight);
    if let Some(correlation) = correlation {
        gauge!("outlierd_meaning_correlation", &labels).set(correlation);
    }
    if let Some(lift) = lift {
        gauge!("outlierd_meaning_lift", &labels).set(lift);
    }
}

/// How far one lane is behind: records not yet read, where known, and the age of what is not done, where it has a time.
pub fn lag(topic: &str, partition: i32, records: Option<i64>, seconds: Option<f64>) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    if let Some(records) = records {
        gauge!("outlierd_consumer_lag_records", &labels).set(records as f64);
    }
    if let Some(seconds) = seconds {
        gauge!("outlierd_consumer_lag_seconds", &labels).set(seconds);
    }
}

/// Whether a part is ready: `source`, `model`, `sink`.
pub fn ready(part: &'static str, ready: bool) {
    gauge!("outlierd_ready", "part" => part).set(f64::from(ready));
}

/// What the source has done: commits, failed ones, partitions that came or went; whether it waits.
pub fn source([commits, failures, rebalances]: [u64; 3], paused: bool) {
    counter!("outlierd_commits_total").absolute(commits);
    counter!("outlierd_commit_failures_total").absolute(failures);
    counter!("outlierd_rebalances_total").absolute(rebalances);
    gauge!("outlierd_source_paused").set(f64::from(paused));
}

/// What the sink has had acknowledged, and what it waits for.
pub fn sink(published: u64, rejected: u64, waiting: u64) {
    counter!("outlierd_alerts_acknowledged_total").absolute(published);
    counter!("outlierd_dead_letters_acknowledged_total").absolute(rejected);
    gauge!("outlierd_sink_waiting").set(waiting as f64);
}

/// A batch of one lane has left the source's queue: its records, and how long it was in there.
pub fn taken(records: usize, waited: Duration) {
    histogram!("outlierd_read_batch_records").record(records as f64);
    histogram!("outlierd_queue_wait_seconds", "queue" => "shard").record(waited.as_secs_f64());
}

/// A stage is done with a batch: `decode`, `embed`, `detect`, `publish`.
pub fn stage(stage: &'static str, took: Duration) {
    histogram!("outlierd_stage_duration_seconds", "stage" => stage).record(took.as_secs_f64());
}

/// All of a batch is judged and its alerts are acknowledged, so long after it was read.
pub fn done(took: Duration) {
    histogram!("outlierd_end_to_end_seconds").record(took.as_secs_f64());
}

/// The embedder was run over so many texts, in so long.
pub fn embedded(texts: usize, took: Duration) {
    histogram!("outlierd_embed_batch_texts").record(texts as f64);
    stage("embed", took);
}

/// A transformer is about to run a batch of so many tokens, padding included, whose first text waited so long.
pub fn batched(tokens: usize, waited: Duration) {
    histogram!("outlierd_embed_batch_tokens").record(tokens as f64);
    histogram!("outlierd_queue_wait_seconds", "queue" => "embed").record(waited.as_secs_f64());
}

/// What a transformer has done: texts asked for, known already, failed; tokens without and with padding.
pub fn transformer([texts, cached, failed]: [u64; 3], [tokens, padded]: [u64; 2]) {
    counter!("outlierd_embed_texts_total").absolute(texts);
    counter!("outlierd_embed_texts_cached_total").absolute(cached);
    counter!("outlierd_embed_texts_failed_total").absolute(failed);
    counter!("outlierd_embed_tokens_total").absolute(tokens);
    counter!("outlierd_embed_tokens_padded_total").absolute(padded);
}

/// Version, model and the provider that is really active; when it started, in seconds since the Unix epoch.
pub fn about(version: &'static str, model: &str, provider: &str, started: f64) {
    let (model, provider) = (model.to_owned(), provider.to_owned());
    gauge!("outlierd_provider_info", "provider" => provider.clone()).set(1.0);
    gauge!("outlierd_build_info", "version" => version, "model" => model, "provider" => provider).set(1.0);
    gauge!("outlierd_start_time_seconds").set(started);
}

fn describe() {
    for Metric { name, kind, help, .. } in catalogue::ALL {
        match kind {
            Kind::Counter => describe_counter!(*name, *help),
            Kind::Gauge => describe_gauge!(*name, *help),
            Kind::Histogram(_) => describe_histogram!(*name, *help),
        }
    }
}
