//! Records as systems write them, and what each of their fields should be read as.

use super::super::super::{Kind, Settings, schema};
use super::{LINES, Random, place, text, whole};
use crate::flow::{Event, Value};

type Fields = Vec<(&'static str, Value)>;

/// Checks the kind of each field, from a thousand events and from two hundred of them.
#[track_caller]
fn reads(make: fn(&mut Random, u64) -> Fields, expected: &[(&str, Kind)]) {
    let mut random = Random(11);
    let events: Vec<_> = (0..1_000)
        .map(|n| {
            let fields = make(&mut random, n).into_iter();
            Event { fields: fields.map(|(pointer, value)| (pointer.to_owned(), value)).collect() }
        })
        .collect();
    let settings = Settings { fields: Vec::new(), infer_events: 1_000, text_max: 1_000, ignore: Vec::new() };
    for count in [1_000, 200] {
        let schema = schema(&settings, &events[..count]);
        let wrong: Vec<_> =
            expected.iter().filter(|(pointer, kind)| place(&schema, pointer) != *kind).collect();
        assert!(wrong.is_empty(), "of {count} events {wrong:?} are not in {schema:#?}");
        let all = schema.texts.iter().chain(&schema.numbers).chain(&schema.categories).chain(&schema.keys);
        let unknown: Vec<_> =
            all.filter(|read| !expected.iter().any(|(pointer, _)| **pointer == ***read)).collect();
        assert!(unknown.is_empty(), "of {count} events {unknown:?} are read too");
    }
}

fn hexadecimal(random: &mut Random, digits: usize) -> String {
    (0..digits).map(|_| char::from_digit(random.below(16) as u32, 16).unwrap_or('0')).collect()
}

fn uuid(random: &mut Random) -> Value {
    let lengths = [8, 4, 4, 4, 12];
    text(&lengths.map(|digits| hexadecimal(random, digits)).join("-"))
}

fn address(random: &mut Random, hosts: u64) -> Value {
    let host = random.below(hosts) * 2_654_435_761 % 65_521;
    text(&format!("10.4.{}.{}", host / 256, host % 256))
}

fn stamp(n: u64) -> String {
    format!(
        "2024-03-0{}T{:02}:{:02}:{:02}.{:03}Z",
        1 + n / 40_000,
        n / 1_800 % 24,
        n / 30 % 60,
        n * 2 % 60,
        n * 37 % 1_000
    )
}

/// One of several, the first by far the most often.
fn mostly(random: &mut Random, texts: &[&str]) -> Value {
    let at = random.counted(0.6).min(texts.len() as u64 - 1);
    text(texts[at as usize])
}

fn number_of(random: &mut Random, numbers: &[u64]) -> Value {
    whole(numbers[random.below(numbers.len() as u64) as usize])
}

#[test]
fn nested_logs_of_a_service() {
    let make = |random: &mut Random, n| {
        let mut fields = vec![
            ("/@timestamp", text(&stamp(n))),
            ("/log/level", mostly(random, &["INFO", "WARN", "ERROR", "DEBUG"])),
            ("/message", random.one_of(&LINES)),
            ("/host/name", text(&format!("web-{}", random.below(12)))),
            ("/host/ip", address(random, 12)),
            ("/kubernetes/pod", text(&format!("api-7d4b9c-{:05x}", random.below(90) * 7_919))),
            ("/process/pid", whole(1_000 + random.below(80) * 331)),
            ("/trace/id", text(&hexadecimal(&mut Random(n / 4 + 1), 32))),
            ("/span/id", text(&hexadecimal(random, 16))),
            ("/http/response/status_code", number_of(random, &[200, 200, 200, 200, 204, 304, 404, 500])),
            ("/http/request/method", mostly(random, &["GET", "POST", "PUT", "DELETE"])),
            ("/url/path", text(&format!("/api/v1/users/{}/orders", random.below(500)))),
            ("/latency_ms", Value::Number(random.skewed(35.0))),
            ("/user/id", whole(random.counted(400.0))),
            ("/retries", whole(random.counted(0.3))),
            ("/sampled", Value::Bool(random.below(10) == 0)),
            ("/service/version", text("2.14.1")),
            ("/token", text(&token(random))),
        ];
        if n % 6 == 2 {
            fields.push(("/error/type", mostly(random, &["java.io.IOException", "com.shop.cart.EmptyCart"])));
            fields.push(("/error/message", random.one_of(&LINES)));
        }
        fields
    };
    reads(
        make,
        &[
            ("/@timestamp", Kind::Time),
            ("/log/level", Kind::Category),
            ("/message", Kind::Text),
            ("/host/name", Kind::Category),
            ("/host/ip", Kind::Category),
            ("/kubernetes/pod", Kind::Key),
            ("/process/pid", Kind::Key),
            ("/trace/id", Kind::Ignore),
            ("/span/id", Kind::Ignore),
            ("/http/response/status_code", Kind::Category),
            ("/http/request/method", Kind::Category),
            ("/url/path", Kind::Text),
            ("/latency_ms", Kind::Number),
            ("/user/id", Kind::Key),
            ("/retries", Kind::Number),
            ("/sampled", Kind::Category),
            ("/service/version", Kind::Category),
            ("/token", Kind::Ignore),
            ("/error/type", Kind::Category),
            ("/error/message", Kind::Text),
        ],
    );
}

/// Random characters of base 64.
fn token(random: &mut Random) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..88).map(|_| char::from(DIGITS[random.below(64) as usize])).collect()
}

#[test]
fn payments() {
    let make = |random: &mut Random, n| {
        vec![
            ("/id", uuid(random)),
            ("/created", whole(1_700_000_000_000 + n * 1_700 + random.below(900))),
            ("/amount", Value::Number((random.skewed(60.0) * 100.0).round() / 100.0)),
            ("/currency", mostly(random, &["EUR", "USD", "GBP", "CHF"])),
            ("/card/hash", text(&hexadecimal(&mut Random(random.below(400) + 1), 40))),
            ("/card/last4", text(&format!("{:04}", random.below(10_000)))),
            ("/card/country", mostly(random, &["DE", "FR", "US", "NL", "IT"])),
            ("/merchant/id", whole(700_000 + random.below(150) * 77)),
            ("/merchant/mcc", whole(4_000 + random.counted(9.0) * 113)),
            ("/merchant/name", text(&format!("Shop {}", random.below(150)))),
            ("/billing/zip", whole(10_000 + random.counted(20_000.0))),
            ("/billing/postal_code", text(&format!("{:05}", random.counted(9_000.0)))),
            ("/latitude", Value::Number(48.0 + random.unit() * 4.0)),
            ("/installments", number_of(random, &[1, 1, 1, 1, 3, 6, 12])),
            ("/sequence", whole(88_000 + n)),
            ("/3ds", Value::Bool(random.below(3) == 0)),
            (
                "/customer/born",
                text(&format!("19{}-0{}-1{}", 40 + random.below(60), 1 + random.below(9), random.below(9))),
            ),
        ]
    };
    reads(
        make,
        &[
            ("/id", Kind::Ignore),
            ("/created", Kind::Time),
            ("/amount", Kind::Number),
            ("/currency", Kind::Category),
            ("/card/hash", Kind::Key),
            ("/card/last4", Kind::Key),
            ("/card/country", Kind::Category),
            ("/merchant/id", Kind::Key),
            ("/merchant/mcc", Kind::Category),
            ("/merchant/name", Kind::Key),
            ("/billing/zip", Kind::Key),
            ("/billing/postal_code", Kind::Key),
            ("/latitude", Kind::Number),
            ("/installments", Kind::Category),
            ("/sequence", Kind::Ignore),
            ("/3ds", Kind::Category),
            ("/customer/born", Kind::Ignore),
        ],
    );
}

#[test]
fn lines_of_a_web_server() {
    let make = |random: &mut Random, n| {
        let line = format!(
            "10.0.0.{} - - [17/May/2015:{:02}:{:02}:03 +0000] \"GET /shop/{} HTTP/1.1\" 200 {}",
            random.below(90),
            n / 3_600 % 24,
            n / 60 % 60,
            random.below(300),
            random.counted(5_000.0)
        );
        vec![("/message", text(&line))]
    };
    reads(make, &[("/message", Kind::Text)]);
}

#[test]
fn syslog_as_an_agent_forwards_it() {
    let make = |random: &mut Random, n| {
        vec![
            (
                "/timestamp",
                text(&format!("Nov {:2} {:02}:{:02}:{:02}", 3 + n / 500, n / 60 % 24, n % 60, n * 7 % 60)),
            ),
            ("/received", Value::Number(1.7e9 + n as f64 * 1.5)),
            ("/host", mostly(random, &["gate", "mail", "db"])),
            ("/facility", number_of(random, &[0, 3, 3, 3, 4, 4, 10])),
            ("/severity", number_of(random, &[6, 6, 6, 6, 5, 4, 3])),
            ("/program", mostly(random, &["sshd", "cron", "kernel", "systemd"])),
            ("/pid", text(&(300 + random.below(40) * 211).to_string())),
            ("/msg", random.one_of(&LINES)),
            ("/tz", mostly(random, &["America/New_York", "Europe/Berlin"])),
        ]
    };
    reads(
        make,
        &[
            ("/timestamp", Kind::Ignore),
            ("/received", Kind::Time),
            ("/host", Kind::Category),
            ("/facility", Kind::Category),
            ("/severity", Kind::Category),
            ("/program", Kind::Category),
            ("/pid", Kind::Key),
            ("/msg", Kind::Text),
            ("/tz", Kind::Category),
        ],
    );
}

#[test]
fn metrics_of_machines() {
    let make = |random: &mut Random, n| {
        vec![
            ("/ts", whole(1_700_000_000 + n / 20 * 15)),
            ("/instance", text(&format!("node-{:02}", n % 20))),
            ("/cpu", Value::Number(random.unit() * 100.0)),
            ("/load1", Value::Number((random.skewed(2.0) * 100.0).round() / 100.0)),
            ("/memory_bytes", whole(2_000_000_000 + random.below(1 << 30))),
            ("/connections", whole(40 + random.counted(20.0))),
            ("/disk_used", Value::Number(0.5 + (n % 20) as f64 / 100.0 + n as f64 / 1e5)),
            ("/errors", whole(if random.below(60) == 0 { 1 + random.below(9) } else { 0 })),
            ("/oom_kills", whole(0)),
            ("/ready", whole(u64::from(random.below(3) > 0))),
            ("/packets_total", whole(n * 1_000_000 + random.below(900))),
        ]
    };
    reads(
        make,
        &[
            ("/ts", Kind::Time),
            ("/instance", Kind::Category),
            ("/cpu", Kind::Number),
            ("/load1", Kind::Number),
            ("/memory_bytes", Kind::Number),
            ("/connections", Kind::Number),
            ("/disk_used", Kind::Number),
            ("/errors", Kind::Number),
            ("/oom_kills", Kind::Number),
            ("/ready", Kind::Category),
            ("/packets_total", Kind::Ignore),
        ],
    );
}

#[test]
fn audit_records_of_a_cloud() {
    let make = |random: &mut Random, n| {
        let user = ["ann", "bob", "deploy", "backup"][random.below(4) as usize];
        vec![
            ("/eventVersion", text("1.08")),
            ("/userIdentity/type", mostly(random, &["AssumedRole", "IAMUser", "Root"])),
            ("/userIdentity/arn", text(&format!("arn:aws:sts::123456789012:assumed-role/{user}/session"))),
            ("/userIdentity/accountId", text("123456789012")),
            (
                "/eventTime",
                text(&format!("2024-03-01T{:02}:{:02}:{:02}Z", n / 180 % 24, n / 3 % 60, n * 20 % 60)),
            ),
            ("/eventSource", mostly(random, &["s3.amazonaws.com", "ec2.amazonaws.com", "iam.amazonaws.com"])),
            (
                "/eventName",
                text(["GetObject", "PutObject", "ListBuckets", "RunInstances"][random.below(4) as usize]),
            ),
            ("/awsRegion", mostly(random, &["eu-central-1", "us-east-1"])),
            ("/sourceIPAddress", address(random, 200)),
            (
                "/userAgent",
                random.one_of(&["aws-cli/2.15 Python/3.11 Linux/6.1", "Boto3/1.34 md/Botocore ua/2.0"]),
            ),
            (
                "/requestParameters/bucketName",
                if n % 3 == 0 { text(&format!("logs-{}", random.below(9))) } else { Value::Null },
            ),
            ("/requestID", text(&hexadecimal(random, 16).to_uppercase())),
            ("/eventID", uuid(random)),
            ("/readOnly", Value::Bool(random.below(4) > 0)),
            ("/additionalEventData/bytesTransferredOut", whole(random.counted(9_000.0))),
        ]
    };
    reads(
        make,
        &[
            ("/eventVersion", Kind::Category),
            ("/userIdentity/type", Kind::Category),
            ("/userIdentity/arn", Kind::Category),
            ("/userIdentity/accountId", Kind::Category),
            ("/eventTime", Kind::Time),
            ("/eventSource", Kind::Category),
            ("/eventName", Kind::Category),
            ("/awsRegion", Kind::Category),
            ("/sourceIPAddress", Kind::Key),
            ("/userAgent", Kind::Text),
            ("/requestParameters/bucketName", Kind::Category),
            ("/requestID", Kind::Ignore),
            ("/eventID", Kind::Ignore),
            ("/readOnly", Kind::Category),
            ("/additionalEventData/bytesTransferredOut", Kind::Number),
        ],
    );
}

#[test]
fn flows_of_a_network() {
    let make = |random: &mut Random, n| {
        let port = [443, 443, 443, 80, 53, 53, 22, 25, 8_443, 3_306][random.below(10) as usize];
        let far = if random.below(10) < 3 { 1_024 + random.below(60_000) } else { port };
        vec![
            ("/start", whole(1_700_000_000_000 + n * 40)),
            ("/end", whole(1_700_000_000_000 + n * 40 + random.counted(3_000.0))),
            ("/src_ip", address(random, 250)),
            ("/dst_ip", address(random, 900)),
            ("/src_port", whole(32_768 + random.below(28_232))),
            ("/dst_port", whole(far)),
            ("/proto", number_of(random, &[6, 6, 6, 17, 1])),
            ("/tcp_flags", number_of(random, &[2, 16, 18, 24, 25, 27, 31])),
            ("/packets", whole(1 + random.counted(30.0))),
            ("/bytes", whole(64 + random.counted(20_000.0))),
            ("/duration", Value::Number(if random.below(3) == 0 { random.skewed(9.0) } else { 0.0 })),
            ("/tos", whole(0)),
            ("/asn", whole(2_000 + random.counted(60.0) * 137)),
        ]
    };
    reads(
        make,
        &[
            ("/start", Kind::Time),
            ("/end", Kind::Ignore),
            ("/src_ip", Kind::Key),
            ("/dst_ip", Kind::Key),
            ("/src_port", Kind::Key),
            ("/dst_port", Kind::Key),
            ("/proto", Kind::Category),
            ("/tcp_flags", Kind::Category),
            ("/packets", Kind::Number),
            ("/bytes", Kind::Number),
            ("/duration", Kind::Number),
            ("/tos", Kind::Number),
            ("/asn", Kind::Key),
        ],
    );
}

#[test]
fn things_that_report() {
    let make = |random: &mut Random, n| {
        let device = random.below(60);
        vec![
            ("/device", text(&format!("sensor-{:04}", device * 37))),
            ("/date", text(if n < 900 { "2024-03-01" } else { "2024-03-02" })),
            ("/at", text(&format!("2024-03-0{}T{:02}:{:02}:11Z", 1 + n / 900, n / 38 % 24, n % 60))),
            ("/temperature", Value::Number(((20.0 + random.skewed(2.0)) * 10.0).round() / 10.0)),
            ("/humidity", Value::Number((30.0 + random.unit() * 40.0).round())),
            ("/battery", whole(86 + random.below(14))),
            ("/rssi", Value::Integer(-70 + random.below(15).cast_signed())),
            ("/firmware", mostly(random, &["1.4.2", "1.4.1", "1.3.9"])),
            ("/uptime", whole(device * 100_000 + n)),
            ("/status", number_of(random, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2])),
            (
                "/upstream_ms",
                if random.below(3) == 0 { text("-") } else { text(&format!("{:.3}", random.skewed(0.2))) },
            ),
        ]
    };
    reads(
        make,
        &[
            ("/device", Kind::Key),
            ("/date", Kind::Ignore),
            ("/at", Kind::Time),
            ("/temperature", Kind::Number),
            ("/humidity", Kind::Number),
            ("/battery", Kind::Number),
            ("/rssi", Kind::Number),
            ("/firmware", Kind::Category),
            ("/uptime", Kind::Number),
            ("/status", Kind::Category),
            ("/upstream_ms", Kind::Number),
        ],
    );
}

#[test]
fn a_field_that_begins_late_among_the_first_events_is_read() {
    let make = |random: &mut Random, n| {
        let mut fields = vec![("/message", random.one_of(&LINES))];
        if n >= 120 {
            fields.push(("/shard/took", Value::Number(random.skewed(4.0))));
            fields.push(("/shard/zone", random.one_of(&["a", "b", "c"])));
        }
        fields
    };
    reads(make, &[("/message", Kind::Text), ("/shard/took", Kind::Number), ("/shard/zone", Kind::Category)]);
}
