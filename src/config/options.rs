//! `[kafka.options]`: which options of librdkafka an operator may set, and how they go together.
//!
//! An operator needs security, timeouts and how much is fetched or batched at once. Options on which delivery, order,
//! offsets or memory rest are outlierd's own; the rest is left out until somebody needs it. Which values an option takes
//! is asked of librdkafka itself. Values of secret options must not appear anywhere.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::Value as Checked;

use super::fault::{Fault, Place, nearest};
use super::keys::OPTIONS;
use super::secret::Secret;
use super::written::{Node, Value, bare};
use crate::source::kafka;

/// What ends the name of an option whose value lies in a file.
pub(super) const FILE: &str = "_file";

/// Options whose values are secrets; each may be given as a file instead, with `_file` behind its name.
pub(super) const SECRET: &[&str] =
    &["sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password"];

/// Other options that pass through.
pub(super) const ALLOWED: &[&str] = &[
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.metrics.push",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "linger.ms",
    "log.connection.close",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.sigalgs.list",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Options that are outlierd's own, and why or what to set instead.
const OWNED: &[(&str, &str)] = &[
    ("acks", "an alert counts as written when all replicas have it"),
    ("allow.auto.create.topics", "a misspelt topic would be made instead of being reported; create it"),
    ("auto.commit.interval.ms", "set [kafka] commit_interval"),
    ("auto.offset.reset", "set [source] start"),
    ("bootstrap.servers", "set [kafka] brokers"),
    ("delivery.report.only.error", "offsets are committed once alerts are acknowledged"),
    ("enable.auto.commit", "offsets are committed once alerts are acknowledged"),
    ("enable.auto.offset.store", "offsets are committed once alerts are acknowledged"),
    ("enable.gapless.guarantee", "a record that is refused is reported instead"),
    ("enable.idempotence", "alerts are written idempotently"),
    ("enable.partition.eof", "a partition that is read to its end has no end"),
    ("enabled_events", "outlierd serves librdkafka's events"),
    ("group.id", "set [kafka] group"),
    ("group.instance.id", "set [kafka] instance"),
    ("interceptors", "no foreign code is loaded"),
    ("internal.termination.signal", "outlierd handles signals"),
    ("isolation.level", "only committed records are read, or an aborted transaction could raise an alert"),
    ("log.queue", "outlierd takes librdkafka's log"),
    ("log_level", "set [log] level, or the option debug"),
    ("message.max.bytes", "set [sink] message_max"),
    ("message.send.max.retries", "an alert is sent again until it is acknowledged"),
    ("metadata.broker.list", "set [kafka] brokers"),
    ("offset.store.method", "offsets are committed to the broker"),
    ("plugin.library.paths", "no foreign code is loaded"),
    ("queued.max.messages.kbytes", "set [kafka] fetch_memory"),
    ("request.required.acks", "an alert counts as written when all replicas have it"),
    ("retries", "an alert is sent again until it is acknowledged"),
    ("ssl.engine.location", "no foreign code is loaded"),
    ("ssl.providers", "no foreign code is loaded"),
    ("statistics.interval.ms", "the metrics rest on it"),
    ("transaction.timeout.ms", "there are no transactions"),
    ("transactional.id", "there are no transactions"),
];

/// Beginnings of options of what is not built in, and why.
const ABSENT: &[(&str, &str)] =
    &[("https.", NO_OAUTH), ("sasl.kerberos.", NO_KERBEROS), ("sasl.oauthbearer.", NO_OAUTH)];

const NO_KERBEROS: &str = "this build has no Kerberos; use SCRAM, or TLS with a certificate of one's own";
const NO_OAUTH: &str = "this build has no OAUTHBEARER, for which librdkafka would need libcurl; use SCRAM, or TLS with a \
                        certificate of one's own";

/// Options that name a file, and whether it should be PEM, and of what.
pub(super) const FILES: &[(&str, Option<&str>)] = &[
    ("ssl.ca.location", Some("CERTIFICATE")),
    ("ssl.certificate.location", Some("CERTIFICATE")),
    ("ssl.crl.location", Some("X509 CRL")),
    ("ssl.key.location", Some("PRIVATE KEY")),
    ("ssl.keystore.location", None),
];

/// Ways to prove who one is that librdkafka was built with.
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Whether an option's value must not be seen.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.contains(&name)
}

/// The secret option whose file this option names.
pub(super) fn of_file(name: &str) -> Option<&str> {
    name.strip_suffix(FILE).filter(|name| is_secret(name))
}

/// An option's name as a variable of the environment has it, which takes neither dots nor small letters.
pub(super) fn from_variable(name: &str) -> String {
    match name.strip_suffix(FILE) {
        Some(name) => format!("{}{FILE}", name.replace('_', ".")),
        None => name.replace('_', "."),
    }
}

/// The option's value as librdkafka takes it, if it does; else its fault is added.
pub(super) fn fit(name: &str, node: &Node, faults: &mut Vec<Fault>) -> Option<Checked> {
    match checked(name, node) {
        Ok(text) => text.map(Checked::from),
        Err(what) => {
            faults.push(Fault { place: node.place.clone(), key: format!("{OPTIONS}.{name}"), what });
            None
        }
    }
}

fn checked(name: &str, node: &Node) -> Result<Option<String>, String> {
    if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Err(format!("cannot be set here: {why}"));
    }
    if let Some((_, why)) = ABSENT.iter().find(|(beginning, _)| name.starts_with(beginning)) {
        return Err(format!("has no effect: {why}"));
    }
    let file = of_file(name).is_some();
    if !(file || is_secret(name) || ALLOWED.contains(&name)) {
        return Err(unknown(name));
    }
    let secret = is_secret(name);
    let text = match &node.value {
        Value::Broken => return Ok(None),
        Value::Text(text) => text.clone(),
        // Blanks and quotes may be part of a secret.
        Value::Loose(text) if secret || matches!(node.place, Place::File { .. }) => text.clone(),
        Value::Loose(text) => bare(text),
        Value::Flag(flag) if !file => flag.to_string(),
        Value::Whole(number) if !file => number.to_string(),
        Value::Number(number) if !file => number.to_string(),
        other => return Err(format!("is {}, should be a text in quotes", other.described_hidden())),
    };
    if text.contains('\0') {
        return Err("holds a NUL character; remove it".to_owned());
    }
    if text.is_empty() && (secret || file) {
        return Err("is empty; give it a value or leave it out".to_owned());
    }
    if !file {
        kafka::accepts(name, &text).map_err(|why| {
            let why = if secret {
                "its value must not be shown, see librdkafka's CONFIGURATION.md".to_owned()
            } else {
                why
            };
            format!("is refused by librdkafka: {why}")
        })?;
        if is_misread(name, &text) {
            let what = "is not a whole number that librdkafka could read; write milliseconds or bytes, without a unit";
            return Err(what.to_owned());
        }
    }
    Ok(Some(text))
}

/// Whether librdkafka would take another number than was meant: it reads the digits at the beginning ("60s" as 60 ms), and
/// of those what fits into 32 bits.
fn is_misread(name: &str, text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit());
    digits && text.parse::<i32>().is_err() && kafka::accepts(name, "x").is_err()
}

fn unknown(name: &str) -> String {
    let all = SECRET.iter().chain(ALLOWED).chain(OWNED.iter().map(|(name, _)| name)).copied();
    let base = name.strip_suffix(FILE).unwrap_or(name);
    if name != base && ALLOWED.contains(&base) {
        return format!("is no option: only secrets can lie in a file; set {base}");
    }
    match nearest(base, all) {
        Some(near) => format!("is no option of librdkafka that passes through; did you mean {near:?}?"),
        None => "is no option of librdkafka that passes through; see [kafka.options] in the reference: outlierd defaults"
            .to_owned(),
    }
}

/// Options and where they stand.
pub(super) type Given<'a> = BTreeMap<&'a str, (&'a Secret, Place)>;

/// The options for librdkafka: secrets are read from their files, if `read` says so.
pub(super) fn resolved(given: &Given<'_>, read: bool, faults: &mut Vec<Fault>) -> Vec<(String, String)> {
    let mut options = Vec::new();
    for (name, (value, place)) in given {
        let Some(secret) = of_file(name) else {
            options.push(((*name).to_owned(), value.reveal().to_owned()));
            continue;
        };
        let fault = |what| Fault { place: place.clone(), key: format!("{OPTIONS}.{name}"), what };
        if let Some((_, other)) = given.get(secret) {
            faults.push(fault(format!("is set beside {secret} ({other}); remove one of them")));
        } else if read {
            match Secret::read(Path::new(value.reveal())) {
                Ok(text) => options.push((secret.to_owned(), text.reveal().to_owned())),
                Err(what) => faults.push(fault(what)),
            }
        }
    }
    together(given, faults);
    options
}

/// What options mean to each other: librdkafka would ignore what is not for the chosen protocol, without a word.
fn together(given: &Given<'_>, faults: &mut Vec<Fault>) {
    let mut say = |name: &str, what: String| {
        let place = given.get(name).map(|(_, place)| place.clone()).unwrap_or_default();
        faults.push(Fault { place, key: format!("{OPTIONS}.{name}"), what });
    };
    let value = |name: &str| given.get(name).map(|(value, _)| value.reveal());
    let has = |name: &str| given.contains_key(name) || given.contains_key(format!("{name}{FILE}").as_str());
    let protocol = value("security.protocol").unwrap_or("plaintext").to_lowercase();
    let (tls, sasl) = (protocol.ends_with("ssl"), protocol.starts_with("sasl"));
    for name in given.keys() {
        let unused = match () {
            () if name.starts_with("ssl.") && !tls => "\"ssl\" or \"sasl_ssl\"",
            () if name.starts_with("sasl.") && !sasl => "\"sasl_ssl\" or \"sasl_plaintext\"",
            () => continue,
        };
        let what = format!("has no effect while security.protocol is {protocol:?}; set that to {unused}");
        say(name, what);
    }
    let mechanism =
        ["sasl.mechanism", "sasl.mechanisms"].into_iter().find_map(|name| Some((name, value(name)?)));
    match mechanism.filter(|_| sasl) {
        Some((name, word)) if !MECHANISMS.contains(&word) => {
            let why = match word {
                "OAUTHBEARER" => NO_OAUTH,
                "GSSAPI" => NO_KERBEROS,
                _ => "",
            };
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            say(name, format!("{word:?} is not one of: {}{why}", MECHANISMS.join(", ")));
        }
        Some((name, word)) => {
            for needed in ["sasl.username", "sasl.password"].into_iter().filter(|needed| !has(needed)) {
                say(name, format!("is {word:?}, which needs {needed}; set it"));
            }
        }
        None if sasl => {
            say(
                "security.protocol",
                format!(
                    "is {protocol:?}, which needs sasl.mechanism; set it to one of: {}",
                    MECHANISMS.join(", ")
                ),
            );
        }
        _ => {}
    }
    let pairs = [
        ("ssl.certificate.location", "ssl.key.location", "ssl.key.pem"),
        ("ssl.certificate.pem", "ssl.key.location", "ssl.key.pem"),
        ("ssl.key.location", "ssl.certificate.location", "ssl.certificate.pem"),
        ("ssl.key.pem", "ssl.certificate.location", "ssl.certificate.pem"),
        ("ssl.keystore.password", "ssl.keystore.location", "ssl.keystore.location"),
    ];
    for (name, needed, or) in pairs {
        if has(name) && !has(needed) && !has(or) {
            let name = if given.contains_key(name) { name.to_owned() } else { format!("{name}{FILE}") };
            say(&name, format!("needs {needed} beside it; set that too"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::kafka::Settings;

    #[test]
    fn librdkafka_knows_every_option_and_the_sink_owns_none_that_passes() {
        for name in SECRET.iter().chain(ALLOWED) {
            assert!(!OWNED.iter().any(|(owned, _)| owned == name), "{name} is both");
            let why = kafka::accepts(name, "\u{1}").err().unwrap_or_default();
            assert!(!why.contains("No such configuration property"), "{name}: {why}");
            let settings = Settings {
                brokers: "a:1".to_owned(),
                alerts_topic: "a".to_owned(),
                dead_letter_topic: None,
                options: BTreeMap::from([((*name).to_owned(), "\u{1}".to_owned())]),
                message_max: 1 << 20,
                flush_timeout: std::time::Duration::ZERO,
            };
            let why = settings.check().err().map_or_else(String::new, |error| error.to_string());
            assert!(!why.contains("set by outlierd"), "{name}: {why}");
        }
        for (name, _) in OWNED {
            let why = kafka::accepts(name, "\u{1}").err().unwrap_or_default();
            assert!(!why.contains("No such configuration property"), "{name}: {why}");
        }
        // Of Kerberos librdkafka keeps the options even where it was built without.
        for (name, value) in [("sasl.oauthbearer.method", "oidc"), ("https.ca.pem", "a")] {
            assert!(kafka::accepts(name, value).is_err(), "{name} is built in after all");
        }
        for (name, _) in FILES {
            assert!(ALLOWED.contains(name), "{name}");
        }
    }

    #[test]
    fn variables_name_options() {
        assert_eq!(from_variable("socket_timeout_ms"), "socket.timeout.ms");
        assert_eq!(from_variable("ssl_key_password_file"), "ssl.key.password_file");
        assert_eq!(from_variable("sasl.password"), "sasl.password");
        assert_eq!(of_file("ssl.key.password_file"), Some("ssl.key.password"));
        assert_eq!(of_file("client.id_file"), None);
    }
}
