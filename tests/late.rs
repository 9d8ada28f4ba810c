//! Fields that appear late: noticed, unheard for a warm-up, then as good as any; and never a way to change the past.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use outlierd::embed::{Embedder, hashed::Hashed};
use outlierd::flow::{Alert, Lane, Origin, Reading, Record, Schema, Time, Traced, Verdict};
use outlierd::pipeline::{Action, Effect, Pipeline, Settings};
use outlierd::{alert, decode, detect, render};

mod detector;
mod kafka;

const INFER: i64 = 50;
/// Offsets from review to review.
const PERIOD: i64 = 10 * INFER;
const WARMUP: i64 = 300;
/// Events that a field learns for before it is heard.
const SILENT: i64 = 500;

pub(crate) fn settings() -> Settings {
    Settings {
        decode: decode::Settings {
            format: decode::Format::Auto,
            size_max: 100_000,
            depth_max: 8,
            fields_max: 1_000,
        },
        render: render::Settings {
            fields: Vec::new(),
            ignore: Vec::new(),
            infer_events: INFER.unsigned_abs() as usize,
            text_max: 1_000,
        },
        detect: detect::Settings {
            window_events: 1_000,
            window_texts: 300,
            neighbours: 10.0,
            warmup_events: WARMUP.unsigned_abs(),
            calibration_events: 2_000,
            half_life_events: 500.0,
            guard: 0.02,
            fusion_power: 1.2,
            keys_max: 200,
            budget: detect::Budget::Events(200.0),
            channels: detect::Selection::ALL,
            meaning: None,
        },
        alert: alert::Settings {
            similarity: 0.7,
            gap_ms: 5_000,
            span_ms: 60_000,
            open_max: 16,
            closing: true,
        },
        in_flight_max: 10_000,
        unacknowledged_max: 10_000,
        bytes_max: 100_000_000,
        replay_events: 1_000_000,
        trace: true,
    }
}

/// Dice thrown anew for each event, so that what one holds never changes what another does.
pub(crate) fn die(event: i64, which: u64, faces: u64) -> u64 {
    let mut mixed =
        event.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    (mixed >> 33) % faces
}

/// What every event holds, as JSON without its closing brace.
pub(crate) fn plain(event: i64) -> String {
    let host = ["web-1", "web-2", "db-1"][die(event, 1, 3) as usize];
    let tenant = die(event, 2, 40);
    let took = (tenant + 3) * 100 + die(event, 3, 60);
    let message = match die(event, 4, 150) {
        0 => format!("segfault at 0x{:x} in libssl.so", die(event, 5, 900_000)),
        1..40 => format!("user {} signed in", die(event, 5, 90)),
        40..80 => format!("payment of {} accepted", die(event, 5, 400)),
        _ => format!("GET /cart took {took} ms"),
    };
    format!(r#"{{"host":"{host}","took":{took},"message":"{message}""#)
}

/// What joins: one field of each kind, one of them nested.
pub(crate) fn late(event: i64, fields: &[&str]) -> String {
    let mut text = String::new();
    for field in fields {
        let _never_fails = match *field {
            "size" => write!(text, r#","size":{}"#, 400 + die(event, 6, 250) * die(event, 7, 250) % 301),
            "region" => write!(text, r#","region":"{}""#, ["eu", "us", "ap"][die(event, 8, 3) as usize]),
            "note" => write!(
                text,
                r#","note":"{} by the night shift in hall {}""#,
                ["checked", "closed", "opened"][die(event, 9, 3) as usize],
                die(event, 10, 9)
            ),
            "tenant" => write!(text, r#","tenant":"t{}""#, die(event, 2, 40)),
            "error" => write!(
                text,
                r#","error":{{"code":"E{}","retries":{}}}"#,
                die(event, 11, 4),
                die(event, 12, 1000)
            ),
            other => panic!("{other}: no such field"),
        };
    }
    text
}

fn lane() -> Lane {
    Lane { topic: "logs".into(), partition: 0 }
}

/// What came of a stream.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) verdicts: BTreeMap<i64, Verdict>,
    pub(crate) alerts: Vec<Alert>,
    /// The offset read last and what joined.
    pub(crate) joined: Vec<Schema>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) rejected: Vec<i64>,
    /// Offset, where to replay from, and the reading, of the last commit.
    pub(crate) commit: Option<(i64, i64, Option<Arc<Reading>>)>,
    pub(crate) counted: u64,
}

impl Run {
    /// The pointers that joined, in order.
    fn names(&self) -> Vec<&str> {
        self.joined.iter().flat_map(Schema::lists).flatten().map(AsRef::as_ref).collect()
    }
}

/// Reads a stream from an offset on, as after a commit there if there was one.
pub(crate) fn go_on(
    settings: &Settings,
    from: Option<&Run>,
    events: impl Iterator<Item = (i64, String)>,
) -> Run {
    let mut pipeline = Pipeline::new(settings.clone());
    let (mut run, mut effects, mut embedder) = (Run::default(), Vec::new(), Hashed::default());
    let commit = from.and_then(|run| run.commit.clone());
    let (live_from, replay_from, reading) = commit.unwrap_or_default();
    pipeline.apply(Action::Assigned { lane: lane(), generation: 1, live_from, reading }, &mut effects);
    for (offset, payload) in events.filter(|(offset, _)| *offset >= replay_from) {
        let record = Record { payload: Some(payload.into_bytes()), ..Record::default() };
        let origin = Origin { lane: lane(), offset, time: Time(1_700_000_000_000 + offset * 1_000) };
        let records = vec![Traced { origin, value: record }];
        pipeline.apply(Action::Read { lane: lane(), generation: 1, records }, &mut effects);
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                run.take(effect, &mut pipeline, &mut embedder, &mut effects);
            }
        }
    }
    run.counted = pipeline.counts().joined;
    run
}

impl Run {
    fn take(
        &mut self,
        effect: Effect,
        pipeline: &mut Pipeline,
        embedder: &mut Hashed,
        effects: &mut Vec<Effect>,
    ) {
        match effect {
            Effect::Embed(request) => {
                let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                let embeddings = embedder.embed(&texts).unwrap();
                pipeline.apply(Action::Embedded { id: request.id, embeddings }, effects);
            }
            Effect::Publish { ticket, alert } => {
                self.alerts.push(*alert);
                pipeline.apply(Action::Published(ticket), effects);
            }
            Effect::Reject { ticket, .. } => {
                self.rejected.push(ticket.offset);
                pipeline.apply(Action::Published(ticket), effects);
            }
            Effect::Judged { verdict, .. } => {
                self.verdicts.insert(verdict.origin.offset, verdict.value);
            }
            Effect::Settled { schema, joined, .. } => {
                self.schema = schema;
                self.joined.extend(joined);
            }
            Effect::Commit(commit) => self.commit = Some((commit.offset, commit.replay_from, commit.reading)),
            Effect::Stopped => {}
        }
    }
}

fn run(settings: &Settings, events: impl Iterator<Item = (i64, String)>) -> Run {
    go_on(settings, None, events)
}

/// A stream whose events hold more fields from an offset on.
pub(crate) fn stream(
    count: i64,
    since: i64,
    fields: &'static [&'static str],
) -> impl Iterator<Item = (i64, String)> {
    (0..count).map(move |event| {
        let more = if event < since { String::new() } else { late(event, fields) };
        (event, format!("{}{more}}}", plain(event)))
    })
}

/// All that a verdict says, as far as it can be compared.
fn said(run: &Run, offset: i64) -> String {
    format!("{:?}", run.verdicts.get(&offset))
}

const ALL: &[&str] = &["size", "region", "note", "tenant", "error"];

#[test]
fn a_field_joins_at_the_review_after_it_appeared_and_says_nothing_before_it_is_warm() {
    let settings = settings();
    let (without, with) =
        (run(&settings, stream(3_000, 9_999, ALL)), run(&settings, stream(3_000, 1_210, ALL)));
    assert!(without.joined.is_empty());
    let expected = ["/note", "/size", "/error/retries", "/region", "/error/code", "/tenant"];
    assert_eq!((with.joined.len(), with.names()), (1, expected.to_vec()));
    assert_eq!(with.counted, 6);
    assert_eq!(&with.schema.texts[..], ["/message".into(), "/note".into()]);
    // It appeared at 1 210, was seen by the review at 1 500, and counts a warm-up later.
    let heard = 3 * PERIOD + SILENT;
    for offset in 0..heard {
        assert_eq!(said(&with, offset), said(&without, offset), "offset {offset}");
    }
    let tell = |alert: &Alert| {
        format!(
            "{:?} {} {} {:?} {:?}",
            alert.phase, alert.count, alert.last_offset, alert.verdict, alert.schema
        )
    };
    let early = |run: &Run| -> Vec<String> {
        run.alerts.iter().filter(|alert| alert.last_offset < heard - 10).map(tell).collect()
    };
    assert!(early(&with).len() > 3, "there is something to compare");
    assert_eq!(early(&with), early(&without));
    let fields = |offset: i64| with.verdicts[&offset].channels.iter().any(|entry| &*entry.field == "/note");
    assert!(!fields(heard - 1) && fields(heard), "it counts from then on");
    assert_eq!(with.verdicts[&heard].seen, heard.unsigned_abs(), "nothing was begun anew");
}

/// What is strange of one event of a stream with a late field, by its first reason: channel and field.
fn planted(fields: &'static [&'static str], odd: impl Fn(i64) -> String) -> (Verdict, String) {
    const AT: i64 = 4_321;
    let events = stream(AT, 1_210, fields).chain([(AT, odd(AT))]);
    let mut run = run(&settings(), events);
    let verdict = run.verdicts.remove(&AT).unwrap();
    let reasons = verdict.evidence.iter().flat_map(|evidence| &evidence.reasons);
    let told = reasons.map(|reason| {
        format!(
            "{} {} {} {} {:?}",
            reason.channel, reason.field, reason.value, reason.expected, reason.context
        )
    });
    let told = told.collect::<Vec<_>>().join("; ");
    (verdict, told)
}

/// Late fields, an event that is strange in them, and what has to be told of it.
type Case<'a> = (&'static [&'static str], &'a dyn Fn(i64) -> String, &'a str);

#[test]
fn what_is_strange_in_a_field_that_joined_is_found() {
    let with = |event: i64, more: &str| format!("{}{more}}}", plain(event));
    let of_tenant = |event: i64| {
        let took = (die(event, 2, 40) + 3) * 100;
        let odd = if took > 2_000 { 350 } else { 4_200 };
        plain(event).replace(&format!(r#""took":{}"#, took + die(event, 3, 60)), &format!(r#""took":{odd}"#))
    };
    let cases: [Case<'_>; 5] = [
        (&["size"], &|event| with(event, r#","size":90000"#), "joint /size"),
        (&["region"], &|event| with(event, r#","region":"mars""#), "joint /region"),
        (&["note"], &|event| with(event, r#","note":"kernel panic: attempted to kill init""#), "/note"),
        (&["tenant"], &|event| format!("{}{}}}", of_tenant(event), late(event, &["tenant"])), "/tenant=t"),
        (&["error"], &|event| with(event, r#","error":{"code":"E99","retries":4}"#), "/error/code"),
    ];
    for (fields, odd, expected) in cases {
        let (verdict, told) = planted(fields, odd);
        assert!(verdict.is_anomaly(), "{expected}: {verdict:?}");
        assert!(told.contains(expected), "{expected}: {told}");
        let (verdict, _) = planted(fields, |event| with(event, &late(event, fields)));
        assert!(!verdict.is_anomaly(), "{expected}: {verdict:?}");
    }
}

#[test]
fn fields_that_join_cost_no_more_alerts_than_were_asked_for() {
    for (fields, since) in
        [(ALL, 1_210), (&["size"], 2_600), (&["region", "tenant"], 700), (&["note"], 2_000)]
    {
        let run = run(&settings(), stream(9_000, since, fields));
        assert_eq!(run.joined.len(), 1);
        let heard = (since / PERIOD + 1) * PERIOD + SILENT;
        let anomalies = |range: std::ops::Range<i64>| {
            run.verdicts.range(range).filter(|(_, verdict)| verdict.is_anomaly()).count()
        };
        // One in 200 is asked for: ten in 2 000.
        println!(
            "{fields:?}: {} {} {}",
            anomalies(heard - 1_000..heard),
            anomalies(heard..heard + 500),
            anomalies(heard..heard + 2_000)
        );
        assert!(anomalies(heard..heard + 2_000) <= 20, "{fields:?}: {}", anomalies(heard..heard + 2_000));
    }
}

/// A stream to which something is added, event by event.
fn added(count: i64, more: impl Fn(i64) -> String) -> impl Iterator<Item = (i64, String)> {
    (0..count).map(move |event| (event, format!("{}{}}}", plain(event), more(event))))
}

#[test]
fn fields_join_again_and_again_and_stay_when_they_vanish() {
    let more = |event: i64| match event {
        700..1_400 => late(event, &["size"]),
        1_400..2_300 => late(event, &["region"]),
        2_900.. => late(event, &["size", "region", "tenant"]),
        _ => String::new(),
    };
    let run =
        run(&settings(), added(4_000, more).chain([(4_000, format!(r#"{},"size":90000}}"#, plain(4_000)))]));
    assert_eq!(run.names(), ["/size", "/region", "/tenant"]);
    assert_eq!((run.joined.len(), run.counted), (3, 3), "nothing joins twice");
    let (offset, _, reading) = run.commit.as_ref().unwrap();
    let reading = reading.as_ref().unwrap();
    assert_eq!(*offset, 4_001);
    let epochs: Vec<_> = reading.epochs.iter().map(|epoch| (epoch.from, epoch.schema.len())).collect();
    assert_eq!(epochs, [(0, 3), (1_000, 4), (1_500, 5), (3_000, 6)]);
    assert_eq!((reading.epochs[3].schema.clone(), reading.reviewed), (run.schema.clone(), 4_000));
    assert!(run.verdicts[&4_000].is_anomaly(), "{:?}", run.verdicts[&4_000]);
}

#[test]
fn what_is_not_worth_reading_does_not_join_and_what_is_rare_may_later() {
    let more = |event: i64| {
        let mut text = format!(
            r#","number":{event},"id":"{:08x}-{:08x}-4b1d","when":{}"#,
            die(event, 20, 1 << 32),
            die(event, 21, 1 << 32),
            1_700_000_000 + event
        );
        if event < 60 {
            // Rare among the first events, and no longer rare from the thousandth on.
            text = if event == 20 { r#","seldom":7"#.to_owned() } else { String::new() };
        } else if event >= 950 && event % 9 == 0 {
            text += r#","seldom":true"#;
        }
        text
    };
    let run = run(&settings(), added(2_200, more));
    assert_eq!(run.names(), ["/seldom"]);
    let reading = run.commit.unwrap().2.unwrap();
    assert_eq!(reading.passed.len(), 3, "a counter, an identifier, a time");
    assert_eq!(run.schema.time, None);
}

#[test]
fn names_that_are_data_do_not_join_and_take_no_room() {
    let more = |event: i64| {
        let pairs = (0..60)
            .map(|at| format!(r#""u{}":{}"#, die(event, 100 + at, 1 << 40), die(event, 200 + at, 100)));
        format!(r#","by_user":{{{}}},"size":{}"#, pairs.collect::<Vec<_>>().join(","), 1 + die(event, 6, 900))
    };
    let events = (0..2_600).map(|event| {
        (event, format!("{}{}}}", plain(event), if event < 100 { String::new() } else { more(event) }))
    });
    let run = run(&settings(), events);
    assert_eq!(run.names(), ["/size"]);
    let reading = run.commit.unwrap().2.unwrap();
    assert!(reading.passed.is_empty() && reading.epochs.len() == 2);
}

#[test]
fn ever_more_fields_end_where_a_schema_is_full_or_a_commit_would_be() {
    // From review to review twenty more fields, with names short or long.
    for (length, most) in [(1, 128), (60, 60)] {
        let more = |event: i64| {
            let fields = (0..20 * event / PERIOD).map(|at| {
                format!(r#","{}{at}":{}"#, "x".repeat(length), die(event, 300 + at.unsigned_abs(), 999))
            });
            fields.collect::<String>()
        };
        let mut settings = settings();
        settings.detect.channels = detect::Selection::only("joint").unwrap();
        let run = run(&settings, added(5_300, more));
        assert!((most - 20..=most).contains(&run.schema.len()), "{}", run.schema.len());
        let reading = run.commit.unwrap().2.unwrap();
        let names = run.schema.lists().into_iter().flatten().map(|name| name.len() + 3).sum::<usize>();
        assert!(names + 8 * reading.passed.len() <= 3_400, "{names} {}", reading.passed.len());
    }
}

#[test]
fn what_is_ignored_never_joins_nor_anything_where_fields_are_named() {
    let mut ignoring = settings();
    ignoring.render.ignore = vec!["/error".to_owned(), "/size".to_owned()];
    assert_eq!(run(&ignoring, stream(1_500, 600, ALL)).names(), ["/note", "/region", "/tenant"]);
    let mut named = settings();
    named.render.fields = vec![render::Field { pointer: "/message".to_owned(), kind: render::Kind::Text }];
    let run = run(&named, stream(1_500, 600, ALL));
    assert!(run.joined.is_empty() && run.counted == 0 && run.verdicts.len() == 1_500);
    assert_eq!(run.commit.unwrap().2, None);
}

#[test]
fn an_event_of_late_fields_alone_is_put_aside_only_until_they_are_read() {
    let events = added(1_200, |event| if event < 600 { String::new() } else { late(event, &["size"]) });
    let alone = [(1_200, r#"{"size":420}"#.to_owned()), (1_201, r#"{"region":"eu"}"#.to_owned())];
    let early = [(700, r#"{"size":420}"#.to_owned())];
    let events = events.filter(|(offset, _)| *offset != 700).chain(alone).chain(early);
    let mut events: Vec<_> = events.collect();
    events.sort();
    let run = run(&settings(), events.into_iter());
    assert_eq!(run.rejected, [700, 1_201]);
    assert!(run.verdicts.contains_key(&1_200));
}

#[test]
fn who_begins_again_anywhere_finds_the_same_fields_at_the_same_offsets() {
    let more = |event: i64| match event {
        // In the stretch before 1 000, but only in its beginning.
        952..960 => format!(r#"{},"brief":"b{}""#, late(event, &["size", "note"]), event % 2),
        600..1_500 => late(event, &["size", "note"]),
        1_500.. => late(event, &["size", "region", "tenant"]),
        _ => String::new(),
    };
    let whole = run(&settings(), added(2_500, more));
    assert_eq!(whole.names(), ["/note", "/size", "/brief", "/region", "/tenant"]);
    let last = whole.commit.as_ref().unwrap().2.clone().unwrap();
    // Within a stretch that is reviewed, at its ends, between, and while a field is silent.
    for cut in [300, 951, 975, 1_001, 1_200, 1_970, 2_250] {
        for replay_events in [1_000_000, 10] {
            let settings = Settings { replay_events, ..settings() };
            let first = run(&settings, added(cut, more));
            let second = go_on(&settings, Some(&first), added(2_500, more));
            let names = [first.names(), second.names()].concat();
            assert_eq!(
                names,
                whole.names(),
                "{cut} {replay_events}: nothing is found twice, nothing forgotten"
            );
            let kept = second.commit.as_ref().unwrap().2.clone().unwrap();
            assert_eq!((&kept.passed, kept.reviewed), (&last.passed, last.reviewed));
            for epoch in &kept.epochs[1..] {
                assert!(last.epochs.contains(epoch), "{cut} {replay_events}: {epoch:?}");
            }
            assert_eq!(
                kept.epochs.last().map(|epoch| &epoch.schema),
                last.epochs.last().map(|epoch| &epoch.schema)
            );
            if replay_events == 1_000_000 {
                assert_eq!(kept, last);
                for offset in cut..2_500 {
                    assert_eq!(said(&second, offset), said(&whole, offset), "cut at {cut}, offset {offset}");
                }
            }
        }
    }
}
