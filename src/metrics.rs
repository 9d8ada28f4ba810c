//! Every metric that outlierd exports, one function each.
//!
//! Names and units follow Prometheus' conventions. Totals are taken over as absolute values from the parts that count
//! them, so nothing is counted twice and the hot path holds no metric.
#![expect(clippy::disallowed_macros, reason = "the one place where metrics are made")]

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::pipeline::Counts;

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
    for (fault, total) in &counts.rejected {
        let labels = [("shard", shard.clone()), ("reason", fault.name().to_owned())];
        counter!("outlierd_dead_letters_total", &labels).absolute(*total);
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
    describe_counter!("outlierd_records_stale_total", "records of an assignment that had ended, dropped");
    describe_counter!("outlierd_tombstones_total", "tombstones skipped");
    describe_counter!("outlierd_events_judged_total", "events judged, replayed ones included");
    describe_counter!("outlierd_events_replayed_total", "events that only taught, after a restart");
    describe_counter!("outlierd_events_withheld_total", "events too strange to teach");
    describe_counter!("outlierd_fields_mistyped_total", "fields whose type did not fit");
    describe_counter!("outlierd_fields_joined_total", "fields that appeared late and are read since");
    describe_counter!("outlierd_anomalies_total", "events over the threshold");
    describe_counter!("outlierd_incidents_total", "incidents opened");
    describe_counter!("outlierd_alerts_total", "alerts asked to be published");
    describe_counter!("outlierd_dead_letters_total", "records put aside, by reason");
    describe_counter!("outlierd_alerts_acknowledged_total", "alerts acknowledged by the sink");
    describe_counter!("outlierd_dead_letters_acknowledged_total", "records put aside and acknowledged");
    describe_gauge!("outlierd_warmup_ratio", "share of its warm-up that a partition has seen, 0 to 1");
    describe_gauge!("outlierd_threshold_nats", "line that a fused surprise must cross");
    describe_gauge!(
        "outlierd_incidents_budgeted",
        "incidents that the budget allowed for since the partition is warm"
    );
    describe_gauge!("outlierd_incidents_realised", "incidents opened since the partition is warm");
    describe_gauge!("outlierd_events_waiting", "events of a partition taken in and not yet judged");
    describe_gauge!(
        "outlierd_meaning_weight",
        "what the transformer's view of a text field counts for, 0 to 1"
    );
    describe_gauge!(
        "outlierd_meaning_correlation",
        "correlation of that view's cosines with those of letters"
    );
    describe_gauge!(
        "outlierd_meaning_lift",
        "how often that view and the text channel are loud at once, over chance"
    );
    describe_gauge!("outlierd_consumer_lag_records", "records behind the end of the partition");
    describe_gauge!("outlierd_ready", "1 when the part is ready");
    describe_gauge!("outlierd_sink_waiting", "alerts and dead letters not yet acknowledged");
    describe_gauge!("outlierd_build_info", "1, with the version, the model and the active provider");
}
