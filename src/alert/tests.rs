//! Incidents from the outside: verdicts in, alerts out.

use super::*;
use crate::flow::Time;
use crate::flow::{ChannelSurprise, Embedding, Lane, Origin, Sample};

const SETTINGS: Settings =
    Settings { similarity: 0.9, gap_ms: 1_000, span_ms: 60_000, open_max: 4, closing: true };

/// A lane whose events come one by one, offsets rising.
struct Stream {
    incidents: Incidents,
    offset: i64,
    record: Arc<Record>,
    schema: Arc<Schema>,
}

/// An anomaly found by its words: one text, a direction in the plane.
fn words(degrees: f64) -> (&'static str, &'static str, Point) {
    let vector: Arc<[f32]> =
        Arc::from([degrees.to_radians().cos() as f32, degrees.to_radians().sin() as f32]);
    let embedding = Embedding { fingerprint: degrees.to_bits(), vector, meaning: None };
    ("text", "/message", Point { sample: Sample::default(), embeddings: vec![Some(embedding)] })
}

/// An anomaly found by a number, of a key.
fn number(field: &'static str, key: &str) -> (&'static str, &'static str, Point) {
    let sample = Sample { keys: vec![Some(key.into())], ..Sample::default() };
    // Every event has a text of its own, which must not matter here.
    let (_, _, point) = words(key.len() as f64 * 90.0);
    ("numeric", field, Point { sample, ..point })
}

impl Stream {
    fn new(settings: Settings) -> Self {
        let record = Arc::new(Record { payload: Some(b"x".to_vec()), ..Record::default() });
        Self { incidents: Incidents::new(settings), offset: 0, record, schema: Arc::default() }
    }

    fn event(&mut self, time: i64, surprise: f64, of: (&'static str, &'static str, Point)) -> Outcome {
        let (channel, field, point) = of;
        let weak =
            ChannelSurprise { channel: "categorical", field: "/level".into(), score: 0.0, surprise: 1.0 };
        let strong = ChannelSurprise { channel, field: field.into(), score: 0.0, surprise };
        self.entries(time, surprise, vec![weak, strong], &point)
    }

    fn entries(
        &mut self,
        time: i64,
        surprise: f64,
        channels: Vec<ChannelSurprise>,
        point: &Point,
    ) -> Outcome {
        let verdict = Verdict {
            surprise,
            threshold: 5.0,
            channels,
            admitted: false,
            seen: 0,
            warm: true,
            evidence: None,
        };
        let lane = Lane { topic: "t".into(), partition: 0 };
        let origin = Origin { lane, offset: self.offset, time: Time(time) };
        self.offset += 1;
        self.incidents.take(&Traced { origin, value: verdict }, point, &self.record, &self.schema)
    }

    /// An anomaly; what was told, as phase, offset of the first event, count, offset and time of the last.
    fn odd(
        &mut self,
        time: i64,
        of: (&'static str, &'static str, Point),
    ) -> Vec<(Phase, i64, u64, i64, i64)> {
        told(&self.event(time, 10.0, of))
    }

    fn normal(&mut self, time: i64) -> Vec<(Phase, i64, u64, i64, i64)> {
        let outcome = self.event(time, 4.0, words(0.0));
        assert!(!outcome.opened);
        told(&outcome)
    }
}

fn told(outcome: &Outcome) -> Vec<(Phase, i64, u64, i64, i64)> {
    let opened = outcome.alerts.iter().filter(|alert| alert.phase == Phase::Opened).count();
    assert_eq!(usize::from(outcome.opened), opened);
    let alerts = outcome.alerts.iter();
    alerts.map(|a| (a.phase, a.origin.offset, a.count, a.last_offset, a.last_time.0)).collect()
}

use Phase::{Closed, Opened};

#[test]
fn normal_events_tell_nothing_and_an_anomaly_carries_its_event() {
    let mut stream = Stream::new(SETTINGS);
    assert_eq!(stream.normal(0), []);
    let outcome = stream.event(5, 10.0, words(0.0));
    assert_eq!(told(&outcome), [(Opened, 1, 1, 1, 5)]);
    assert!(Arc::ptr_eq(&outcome.alerts[0].record, &stream.record));
    assert!(Arc::ptr_eq(&outcome.alerts[0].schema, &stream.schema));
    assert!((outcome.alerts[0].verdict.surprise - 10.0).abs() < 1e-9);
}

#[test]
fn ten_thousand_similar_lines_are_told_twice() {
    let mut stream = Stream::new(SETTINGS);
    let told: Vec<_> = (0..10_000).flat_map(|n| stream.odd(n, words(f64::from(n as i32 % 20)))).collect();
    assert_eq!(told, [(Opened, 0, 1, 0, 0)]);
    assert_eq!(stream.incidents.open.len(), 1);
    assert_eq!(stream.normal(10_999), []);
    assert_eq!(stream.normal(11_000), [(Closed, 0, 10_000, 9_999, 9_999)]);
    assert_eq!(stream.normal(99_999), []);
}

#[test]
fn other_words_open_another_incident_and_each_joins_the_nearest() {
    let mut stream = Stream::new(SETTINGS);
    assert_eq!(stream.odd(0, words(0.0)).len(), 1);
    assert_eq!(stream.odd(0, words(40.0)), [(Opened, 1, 1, 1, 0)]);
    // 18 degrees from the first and 22 from the second, both near enough.
    assert_eq!(stream.odd(1, words(18.0)), []);
    assert_eq!(stream.odd(2, words(22.0)), []);
    assert_eq!(stream.odd(3, words(39.0)), []);
    assert_eq!(stream.normal(5_000), [(Closed, 0, 2, 2, 1), (Closed, 1, 3, 4, 3)]);
}

#[test]
fn only_the_strange_text_is_compared() {
    let request = ("text", "/request");
    let two = |of: (&'static str, &'static str), request: Option<f64>, agent: Option<f64>| {
        let texts = [request, agent].map(|degrees| degrees.and_then(|at| words(at).2.embeddings.remove(0)));
        let point = Point { sample: Sample::default(), embeddings: texts.to_vec() };
        (of, point)
    };
    let mut stream = Stream::new(Settings { open_max: 9, ..SETTINGS });
    let mut opens = |(of, point): ((&'static str, &'static str), Point)| {
        let entries = ["density", "text"].into_iter().flat_map(|channel| {
            ["/request", "/agent"].map(|field| ChannelSurprise {
                channel,
                field: field.into(),
                score: 0.0,
                surprise: if (channel, field) == of { 9.0 } else { 6.0 },
            })
        });
        stream.entries(0, 10.0, entries.collect(), &point).opened
    };
    assert!(opens(two(request, Some(0.0), Some(0.0))));
    assert!(opens(two(request, Some(90.0), Some(0.0))), "one client's other request is not alike");
    assert!(!opens(two(request, Some(0.0), Some(90.0))), "another client's same request is");
    assert!(!opens(two(("density", "/request"), Some(0.0), None)), "both channels look at the same words");
    assert!(opens(two(("density", "/agent"), Some(0.0), Some(0.0))), "another field is another matter");
    assert!(!opens(two(("text", "/agent"), Some(45.0), Some(0.0))), "and is compared by its own words");
    assert!(opens(two(request, None, Some(0.0))), "without the text the field is compared");
    assert!(!opens(two(request, None, Some(90.0))));
}

#[test]
fn numbers_and_categories_are_folded_by_channel_field_and_first_key() {
    let mut stream = Stream::new(Settings { open_max: 9, ..SETTINGS });
    assert_eq!(stream.odd(0, number("/amount", "a")).len(), 1);
    assert_eq!(stream.odd(0, number("/amount", "a")).len(), 0);
    assert_eq!(stream.odd(0, number("/amount", "bb")).len(), 1);
    assert_eq!(stream.odd(0, number("/bytes", "a")).len(), 1);
    let (_, field, point) = number("/amount", "a");
    assert_eq!(stream.odd(0, ("categorical", field, point)).len(), 1);
    assert_eq!(stream.odd(0, words(90.0)).len(), 1, "words are not compared with numbers");
    let (_, _, point) = words(0.0);
    assert_eq!(stream.odd(0, ("numeric", "/amount", point.clone())).len(), 1, "no key is a key of its own");
    assert_eq!(stream.odd(0, ("numeric", "/amount", point)).len(), 0);
}

#[test]
fn an_incident_ends_after_the_gap_and_the_next_one_is_new() {
    let mut stream = Stream::new(SETTINGS);
    stream.odd(0, words(0.0));
    assert_eq!(stream.odd(1_000, words(0.0)), []);
    assert_eq!(stream.odd(2_001, words(0.0)), [(Closed, 0, 2, 1, 1_000), (Opened, 2, 1, 2, 2_001)]);
    assert_eq!(stream.odd(9_000, words(0.0)), [(Opened, 3, 1, 3, 9_000)], "one event needs no summing up");
}

#[test]
fn an_incident_that_never_rests_is_summed_up_after_its_span() {
    let mut stream = Stream::new(SETTINGS);
    let told: Vec<_> = (0..=130).flat_map(|n| stream.odd(n * 1_000, words(0.0))).collect();
    let first = [(Opened, 0, 1, 0, 0), (Closed, 0, 61, 60, 60_000), (Opened, 61, 1, 61, 61_000)];
    let second = [(Closed, 61, 61, 121, 121_000), (Opened, 122, 1, 122, 122_000)];
    assert_eq!(told, [&first[..], &second[..]].concat());
}

#[test]
fn the_quietest_incident_makes_room() {
    let mut stream = Stream::new(SETTINGS);
    for n in 0..4 {
        stream.odd(n, words(90.0 * n as f64));
        stream.odd(n + 4, words(90.0 * n as f64));
    }
    stream.odd(50, words(0.0));
    assert_eq!(stream.odd(60, words(45.0)), [(Closed, 2, 2, 3, 5), (Opened, 9, 1, 9, 60)]);
    for n in 0..10_000 {
        stream.odd(60, number("/n", &n.to_string()));
    }
    assert_eq!(stream.incidents.open.len(), 4);
    let mut one = Stream::new(Settings { open_max: 0, ..SETTINGS });
    assert_eq!((one.odd(0, words(0.0)).len(), one.odd(0, words(90.0)).len()), (1, 1));
}

#[test]
fn late_events_do_not_turn_time_back() {
    let mut stream = Stream::new(SETTINGS);
    stream.odd(10_000, words(0.0));
    assert_eq!(stream.odd(3_000, words(0.0)), [], "late, but of the incident");
    assert_eq!(stream.normal(11_000), []);
    assert_eq!(stream.odd(i64::MIN, words(0.0)), []);
    assert_eq!(stream.normal(12_001), [(Closed, 0, 3, 3, 10_000)]);
    stream.odd(i64::MAX, words(0.0));
    assert_eq!(stream.odd(0, words(0.0)), [], "time cannot go further: nothing ends, nothing breaks");
}

#[test]
fn closing_may_be_silent() {
    let mut stream = Stream::new(Settings { closing: false, ..SETTINGS });
    stream.odd(0, words(0.0));
    stream.odd(1, words(0.0));
    assert_eq!(stream.odd(5_000, words(0.0)), [(Opened, 2, 1, 2, 5_000)]);
}

#[test]
fn a_cold_lane_opens_nothing() {
    let mut stream = Stream::new(SETTINGS);
    let (_, _, point) = words(0.0);
    let mut outcome = stream.event(0, 10.0, words(0.0));
    let mut verdict = outcome.alerts.remove(0).verdict;
    verdict.warm = false;
    let origin = Origin { lane: Lane { topic: "t".into(), partition: 0 }, offset: 9, time: Time(90_000) };
    let judged = Traced { origin, value: verdict };
    assert!(!stream.incidents.take(&judged, &point, &stream.record, &stream.schema).opened);
}
