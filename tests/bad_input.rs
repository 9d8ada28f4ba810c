//! Bad input from the outside: every payload becomes a rejection or a sample, never a panic.

use std::sync::Arc;

use outlierd::decode::{self, Decoded, Format, decode};
use outlierd::flow::{Event, Fault, Record, Rejection, Sample, Value};
use outlierd::render::{self, Field, Kind, Renderer};

const LIMITS: decode::Settings =
    decode::Settings { format: Format::Auto, size_max: 1 << 20, depth_max: 32, fields_max: 256 };

fn record(payload: impl Into<Vec<u8>>) -> Record {
    Record { payload: Some(payload.into()), ..Record::default() }
}

fn event(payload: &str) -> Event {
    match decode(&LIMITS, &record(payload)) {
        Ok(Decoded::Event(event)) => event,
        other => panic!("{payload}: {other:?}"),
    }
}

fn refused(format: Format, payload: impl Into<Vec<u8>>) -> Rejection {
    let rejection = decode(&decode::Settings { format, ..LIMITS }, &record(payload)).expect_err("bad input");
    assert_eq!(rejection.stage, "decode");
    assert!(rejection.message.len() < 300, "{}", rejection.message);
    rejection
}

fn fault(payload: impl Into<Vec<u8>>) -> Fault {
    refused(Format::Json, payload).fault
}

fn renderer() -> Renderer {
    let kinds = [
        ("/message", Kind::Text),
        ("/amount", Kind::Number),
        ("/level", Kind::Category),
        ("/user/id", Kind::Key),
        ("/time", Kind::Time),
    ];
    let fields = kinds.map(|(pointer, kind)| Field { pointer: pointer.to_owned(), kind });
    let settings =
        render::Settings { fields: fields.to_vec(), ignore: Vec::new(), infer_events: 100, text_max: 64 };
    Renderer::new(&settings, Arc::new(render::schema(&settings, &[])))
}

fn sample(payload: &str) -> Sample {
    renderer().render(&event(payload))
}

#[test]
fn a_record_of_fifty_megabytes_is_refused_by_its_size() {
    for byte in [b'[', b'{', b' ', 0xff] {
        let rejection = refused(Format::Auto, vec![byte; 50_000_000]);
        assert_eq!(rejection.fault, Fault::TooLarge);
        assert!(rejection.message.contains("50000000"), "{}", rejection.message);
    }
}

#[test]
fn a_hundred_thousand_levels_are_refused_before_parsing() {
    let depth = 100_000;
    assert_eq!(fault("[".repeat(depth)), Fault::TooDeep);
    assert_eq!(fault("{\"a\":".repeat(depth)), Fault::TooDeep);
    assert_eq!(fault(format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth))), Fault::TooDeep);
    // As deep, but within a string: nothing is nested.
    assert_eq!(event(&format!("{{\"a\":\"{}\"}}", "[{".repeat(depth))).fields.len(), 1);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for format in [Format::Auto, Format::Json, Format::Text] {
        for bytes in [&b"\xff\xfe\x00"[..], b"{\"a\":\"\xc3\"}", b"\xed\xa0\x80", b"\xc0\xaf", b"ok \x80"] {
            assert_eq!(refused(format, bytes).fault, Fault::NotUtf8, "{bytes:?}");
        }
    }
}

#[test]
fn nothing_is_empty_and_no_payload_a_tombstone() {
    assert_eq!(decode(&LIMITS, &Record::default()), Ok(Decoded::Tombstone));
    for payload in ["", " ", "\r\n\t", "\u{feff}", "\u{feff}  "] {
        assert_eq!(fault(payload), Fault::Empty, "{payload:?}");
    }
}

#[test]
fn numbers_that_are_none_are_refused_and_huge_ones_are_read() {
    for number in ["NaN", "-Infinity", "1e999", "-1e999", "1e99999999999999999999", "--1", "0x1f", ".5"] {
        assert_eq!(fault(format!("{{\"amount\":{number}}}")), Fault::Malformed, "{number}");
    }
    let digits = "9".repeat(300);
    for (number, expected) in [("18446744073709551616", 1.844_674_407_370_955_2e19), (digits.as_str(), 1e300)]
    {
        let read = sample(&format!("{{\"amount\":{number}}}")).numbers[0].expect("a number");
        assert!((read / expected - 1.0).abs() < 1e-12, "{number}");
    }
    assert_eq!(fault(format!("{{\"amount\":{}}}", "9".repeat(400))), Fault::Malformed);
    for text in ["NaN", "inf", "1e999"] {
        let sample = sample(&format!("{{\"amount\":\"{text}\"}}"));
        assert_eq!((sample.numbers[0], sample.mistyped), (None, 1), "{text}");
    }
    let exact = sample("{\"user\":{\"id\":9223372036854775807}}");
    assert_eq!(exact.keys[0].as_deref(), Some("9223372036854775807"));
}

#[test]
fn surrogates_alone_are_refused_and_pairs_are_read() {
    for text in ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\ud800x", "\\u12", "\\x41", "\u{1}"] {
        assert_eq!(fault(format!("{{\"message\":\"{text}\"}}")), Fault::Malformed, "{text}");
        assert_eq!(fault(format!("{{\"{text}\":1}}")), Fault::Malformed, "{text}");
    }
    assert_eq!(sample("{\"message\":\"\\ud83e\\udd80\"}").texts[0].as_deref(), Some("🦀"));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(event("\u{feff}{\"level\":\"INFO\"}"), event("{\"level\":\"INFO\"}"));
    assert_eq!(event("\u{feff}disk full"), event("disk full"));
}

#[test]
fn of_a_repeated_name_the_last_counts() {
    let sample = sample("{\"amount\":1,\"user\":{\"id\":1},\"amount\":2,\"user\":{\"id\":\"b\"}}");
    assert_eq!((sample.numbers[0], sample.keys[0].as_deref()), (Some(2.0), Some("b")));
}

#[test]
fn a_missing_field_is_missing_and_one_that_changes_its_type_is_counted() {
    let missing = sample("{\"other\":1}");
    assert_eq!((missing.numbers, missing.texts, missing.keys), (vec![None], vec![None], vec![None]));
    assert_eq!((missing.mistyped, missing.time), (0, None));
    assert_eq!(sample("{\"amount\":null,\"time\":null,\"level\":null}").mistyped, 0);
    for (amount, number, mistyped) in [
        ("1", Some(1.0), 0),
        ("\"1\"", Some(1.0), 0),
        ("\"one\"", None, 1),
        ("true", None, 1),
        ("{\"x\":1}", None, 0),
    ] {
        let sample = sample(&format!("{{\"amount\":{amount}}}"));
        assert_eq!((sample.numbers[0], sample.mistyped), (number, mistyped), "{amount}");
    }
    let odd = sample("{\"level\":3,\"message\":false,\"time\":\"soon\",\"user\":7}");
    assert_eq!((odd.categories[0].as_deref(), odd.texts[0].as_deref()), (Some("3"), Some("false")));
    assert_eq!((odd.mistyped, odd.keys[0].as_deref()), (1, None));
}

#[test]
fn what_is_not_one_object_is_refused() {
    for (payload, expected) in [
        ("[]", Fault::NotAnObject),
        ("[1,2]", Fault::NotAnObject),
        ("7", Fault::NotAnObject),
        ("\"a\"", Fault::NotAnObject),
        ("null", Fault::NotAnObject),
        ("{}", Fault::NoFields),
        ("{\"a\":[]}", Fault::NoFields),
        ("{\"a\":1", Fault::Malformed),
        ("{\"a\":1}{\"a\":2}", Fault::Malformed),
        ("{\"a\":1,}", Fault::Malformed),
        ("plain", Fault::Malformed),
    ] {
        assert_eq!(fault(payload), expected, "{payload}");
    }
}

#[test]
fn a_flood_of_fields_is_refused_while_it_is_read() {
    assert_eq!(fault(format!("{{\"a\":[{}1]}}", "1,".repeat(400_000))), Fault::TooLarge);
    let names: Vec<_> = (0..60_000).map(|n| format!("\"n{n}\":{n}")).collect();
    assert_eq!(fault(format!("{{{}}}", names.join(","))), Fault::TooLarge);
    assert_eq!(fault(format!("{{{}\"a\":1}}", "\"a\":1,".repeat(100_000))), Fault::TooLarge);
}

/// Numbers that look random and are the same on every machine (splitmix64: Steele, Lea & Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }

    fn mutate(&mut self, payload: &mut Vec<u8>) {
        const BYTES: &[u8] = b"{}[]\",:\\/~-+.eE019tfn \n\x00\x1f\x7f\x80\xc3\xed\xef\xff";
        const PARTS: [&[u8]; 8] = [
            b"\\ud800",
            b"1e999",
            b"null",
            b"{\"a\":{}}",
            b"9223372036854775808",
            b"\xef\xbb\xbf",
            b"~1",
            b"[[[[",
        ];
        let at = self.below(payload.len() + 1);
        let end = (at + 1 + self.below(8)).min(payload.len());
        match self.below(6) {
            0 => payload.insert(at, BYTES[self.below(BYTES.len())]),
            1 => drop(payload.drain(at..end)),
            2 => payload.splice(at..at, PARTS[self.below(PARTS.len())].iter().copied()).for_each(drop),
            3 => payload.truncate(at),
            4 => payload.extend_from_within(at..end),
            _ if at < payload.len() => payload[at] = BYTES[self.below(BYTES.len())],
            _ => payload.push(b'}'),
        }
    }
}

const SEEDS: [&str; 5] = [
    r#"{"time":"2024-01-01T00:00:11Z","level":"INFO","message":"request served","amount":12.5,"user":{"id":42}}"#,
    r#"{"time":1431857103,"level":null,"message":"caf\u00e9 \ud83e\udd80","amount":"1e3","user":{"id":"a/b~c"},"l":[1,[2]]}"#,
    r#"{"time":"17/May/2015:10:05:03 +0000","amount":9223372036854775807,"level":true,"message":""}"#,
    r#"{"message":{"message":{"message":[{"message":1}]}},"amount":-0.0,"amount":18446744073709551615}"#,
    "2024-01-01 00:00:11,123 ERROR disk /dev/sda1 full\r\n",
];

#[test]
fn twenty_thousand_mutated_payloads_make_samples_or_rejections() {
    let mut random = Random(4);
    let renderer = renderer();
    let (mut events, mut rejected) = (Vec::new(), 0);
    for n in 0..20_000 {
        let mut payload = SEEDS[n % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            random.mutate(&mut payload);
        }
        let format = [Format::Auto, Format::Json, Format::Text][random.below(3)];
        match decode(&decode::Settings { format, ..LIMITS }, &record(payload)) {
            Ok(Decoded::Event(event)) => {
                check(&event, &renderer.render(&event));
                events.push(event);
            }
            Ok(Decoded::Tombstone) => panic!("there was a payload"),
            Err(_) => rejected += 1,
        }
    }
    assert!(events.len() > 5_000 && rejected > 5_000, "{} events, {rejected} rejected", events.len());
    for some in events.chunks(500) {
        let settings =
            render::Settings { fields: Vec::new(), ignore: Vec::new(), infer_events: 500, text_max: 64 };
        let renderer = Renderer::new(&settings, Arc::new(render::schema(&settings, some)));
        for event in some {
            check(event, &renderer.render(event));
        }
    }
}

fn check(event: &Event, sample: &Sample) {
    assert!(!event.fields.is_empty());
    let mut pointers: Vec<_> = event.fields.iter().map(|(pointer, _)| pointer).collect();
    pointers.sort_unstable();
    assert!(pointers.windows(2).all(|pair| pair[0] != pair[1]), "{pointers:?}");
    assert!(pointers.iter().all(|pointer| pointer.starts_with('/')));
    let finite = |value: &Value| !matches!(value, Value::Number(number) if !number.is_finite());
    assert!(event.fields.iter().all(|(_, value)| finite(value)));
    assert!(sample.numbers.iter().flatten().all(|number| number.is_finite()));
    let texts = sample.texts.iter().chain(&sample.categories).chain(&sample.keys);
    assert!(texts.flatten().all(|text| text.len() <= 64));
}
