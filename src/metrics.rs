//! Every metric that outlierd exports, one function each.
//!
//! Names and units follow Prometheus' conventions. Totals are taken over as absolute values from the parts that count
//! them, so nothing is counted twice and the hot path holds no metric.
#![expect(clippy::disallowed_macros, reason = "the one place where metrics are made")]

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// What `/metrics` shows.
#[derive(Clone)]
pub struct Exposition(PrometheusHandle);

impl Exposition {
    /// The metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        self.0.render()
    }
}

/// Installs the recorder of this process; later calls get one that records nothing.
pub fn install() -> Exposition {
    let recorder = PrometheusBuilder::new().build_recorder();
    let exposition = Exposition(recorder.handle());
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
    }
    exposition
}

/// What a shard's pipeline has counted, in the order of the stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Records taken in.
    pub read: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Tombstones skipped.
    pub tombstones: u64,
    /// Events judged.
    pub judged: u64,
    /// Events that only taught, after a restart.
    pub replayed: u64,
    /// Events that the guard kept from teaching.
    pub withheld: u64,
    /// Fields whose type did not fit.
    pub mistyped: u64,
    /// Events over the threshold.
    pub anomalies: u64,
    /// Incidents opened.
    pub incidents: u64,
    /// Alerts asked to be published.
    pub alerts: u64,
}

/// Totals of one shard.
pub fn shard(shard: usize, totals: &Totals) {
    let shard = shard.to_string();
    let set = |name: &'static str, value: u64| counter!(name, "shard" => shard.clone()).absolute(value);
    set("outlierd_records_read_total", totals.read);
    set("outlierd_record_bytes_total", totals.bytes);
    set("outlierd_tombstones_total", totals.tombstones);
    set("outlierd_events_judged_total", totals.judged);
    set("outlierd_events_replayed_total", totals.replayed);
    set("outlierd_events_withheld_total", totals.withheld);
    set("outlierd_fields_mistyped_total", totals.mistyped);
    set("outlierd_anomalies_total", totals.anomalies);
    set("outlierd_incidents_total", totals.incidents);
    set("outlierd_alerts_total", totals.alerts);
}

/// Records put aside by one shard, for one reason.
pub fn rejected(shard: usize, reason: &'static str, total: u64) {
    counter!("outlierd_dead_letters_total", "shard" => shard.to_string(), "reason" => reason).absolute(total);
}

/// One lane: warm-up progress (0 to 1), threshold in nats, events waiting.
pub fn lane(topic: &str, partition: i32, progress: f64, threshold: f64, waiting: usize) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    gauge!("outlierd_warmup_ratio", &labels).set(progress);
    gauge!("outlierd_threshold_nats", &labels).set(threshold);
    gauge!("outlierd_events_waiting", &labels).set(waiting as f64);
}

/// How many records one lane is behind the end of its partition.
pub fn lag(topic: &str, partition: i32, records: i64) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    gauge!("outlierd_consumer_lag_records", &labels).set(records as f64);
}

/// Whether a part is ready: `source`, `model`, `sink`.
pub fn ready(part: &'static str, ready: bool) {
    gauge!("outlierd_ready", "part" => part).set(if ready { 1.0 } else { 0.0 });
}

/// What the sink has had acknowledged, and what it waits for.
pub fn sink(published: u64, rejected: u64, waiting: u64) {
    counter!("outlierd_alerts_acknowledged_total").absolute(published);
    counter!("outlierd_dead_letters_acknowledged_total").absolute(rejected);
    gauge!("outlierd_sink_waiting").set(waiting as f64);
}

/// Version, embedder and the provider that is really active.
pub fn build_info(version: &'static str, model: String, provider: String) {
    gauge!("outlierd_build_info", "version" => version, "model" => model, "provider" => provider).set(1.0);
}

fn describe() {
    describe_counter!("outlierd_records_read_total", "records taken in, replayed ones included");
    describe_counter!("outlierd_record_bytes_total", "bytes of the payloads taken in");
    describe_counter!("outlierd_tombstones_total", "tombstones skipped");
    describe_counter!("outlierd_events_judged_total", "events judged, replayed ones included");
    describe_counter!("outlierd_events_replayed_total", "events that only taught, after a restart");
    describe_counter!("outlierd_events_withheld_total", "events too strange to teach");
    describe_counter!("outlierd_fields_mistyped_total", "fields whose type did not fit");
    describe_counter!("outlierd_anomalies_total", "events over the threshold");
    describe_counter!("outlierd_incidents_total", "incidents opened");
    describe_counter!("outlierd_alerts_total", "alerts asked to be published");
    describe_counter!("outlierd_dead_letters_total", "records put aside, by reason");
    describe_counter!("outlierd_alerts_acknowledged_total", "alerts acknowledged by the sink");
    describe_counter!("outlierd_dead_letters_acknowledged_total", "records put aside and acknowledged");
    describe_gauge!("outlierd_warmup_ratio", "share of its warm-up that a partition has seen, 0 to 1");
    describe_gauge!("outlierd_threshold_nats", "line that a fused surprise must cross");
    describe_gauge!("outlierd_events_waiting", "events of a partition taken in and not yet judged");
    describe_gauge!("outlierd_consumer_lag_records", "records behind the end of the partition");
    describe_gauge!("outlierd_ready", "1 when the part is ready");
    describe_gauge!("outlierd_sink_waiting", "alerts and dead letters not yet acknowledged");
    describe_gauge!("outlierd_build_info", "1, with the version, the model and the active provider");
}
