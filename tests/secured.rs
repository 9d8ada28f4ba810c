//! A broker that asks who we are, over TLS, and allows only what was granted: what doctor says before and after, and
//! the daemon at work there with no right more than it needs.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::broker::{Broker, Operation, Resource};
use crate::client::{Daemon, committed, free_port, produce, read_until, unique, wait_for};
use crate::command::{Folder, outlierd, text};

const USER: &str = "User:watcher";

/// A broker with a listener that wants a password over TLS beside the tests' own, which may do all.
struct Secured {
    broker: Broker,
    address: String,
    folder: Folder,
}

impl Secured {
    fn start() -> Self {
        let folder = Folder::new();
        let keys = folder.0.join("broker.p12");
        certificate(&keys, &folder.0.join("ca.pem"));
        certificate(&folder.0.join("other.p12"), &folder.0.join("other.pem"));
        let port = free_port();
        let mut settings = String::new();
        writeln!(
            settings,
            "listeners=PLAINTEXT://127.0.0.1:@port@,CONTROLLER://127.0.0.1:@controller@,SASL_SSL://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
             required user_watcher=\"right password\";\n\
             ssl.keystore.type=PKCS12\nssl.keystore.location={}\nssl.keystore.password=changeit\n\
             ssl.key.password=changeit\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS",
            keys.display()
        )
        .unwrap();
        Self { broker: Broker::start_with(&settings), address: format!("127.0.0.1:{port}"), folder }
    }

    /// A configuration for it, and the path of its file.
    fn configuration(&self, [topic, alerts, letters]: &[String; 3], group: &str, pattern: &str) -> String {
        let (password, ca) =
            (self.folder.file("password", b"right password\n"), self.folder.0.join("ca.pem"));
        let contents = format!(
            "[source]\ntopics = [{topic:?}, {pattern:?}]\n[kafka]\nbrokers = {:?}\ngroup = {group:?}\n[kafka.options]\n\
             \"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"watcher\"\n\
             \"sasl.password_file\" = {password:?}\n\"ssl.ca.location\" = \"{}\"\n[sink]\ntopic = {alerts:?}\n\
             dead_letter_topic = {letters:?}\n[admin]\nlisten = \"\"\n[detect]\nwarmup = 100\n[render]\ninfer_events = 50\n\
             [alert]\nbudget = \"1 in 20\"\n",
            self.address,
            ca.display()
        );
        self.folder.file("outlierd.toml", contents.as_bytes())
    }
}

/// A key and a certificate that it signs itself, by the tool that comes with Java.
fn certificate(keys: &Path, ca: &Path) {
    let common = ["-alias", "broker", "-storetype", "PKCS12", "-storepass", "changeit", "-keystore"];
    let keytool = |verb: &str, more: &[&str]| {
        let output = Command::new("keytool").arg(verb).args(common).arg(keys).args(more).output().unwrap();
        assert!(output.status.success(), "{} {}", text(&output.stdout), text(&output.stderr));
    };
    let about = ["-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1", "-validity", "30"];
    keytool("-genkeypair", &about);
    keytool("-exportcert", &["-rfc", "-file", ca.to_str().unwrap()]);
}

/// The exit code of doctor, and status, find and remedy of each check as a line.
fn examined(arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let output = outlierd(&[&["doctor", "--json"], arguments].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{} {}", text(&output.stdout), text(&output.stderr));
    });
    let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let line = |check: &Value| {
        format!(
            "{}: {}: {}; {}",
            word(check, "name"),
            word(check, "status"),
            word(check, "found"),
            word(check, "remedy")
        )
    };
    (output.status.code(), report["checks"].as_array().unwrap().iter().map(line).collect())
}

fn has(checks: &[String], beginning: &str, words: &str) {
    assert!(
        checks.iter().any(|check| check.starts_with(beginning) && check.contains(words)),
        "no {beginning:?} with {words:?} in {checks:#?}"
    );
}

#[test]
fn a_daemon_works_with_exactly_the_rights_that_doctor_asks_for() {
    let secured = Secured::start();
    let broker = &secured.broker;
    let topics = ["secured", "alerts", "letters"].map(unique);
    let [topic, alerts, letters] = &topics;
    let (group, audit) = (unique("group"), unique("audit"));
    for name in topics.iter().chain([&audit]) {
        broker.create_topic(name, 1);
    }
    let file = secured.configuration(&topics, &group, "^audit-[0-9]+-[0-9]+$");

    let (code, checks) = examined(&["-c", &file]);
    assert_eq!(code, Some(69));
    has(&checks, "broker: ok", &secured.address);
    for topic in &topics {
        has(&checks, &format!("topic {topic}: fail"), "grant DESCRIBE");
    }
    has(&checks, "topic ^audit-[0-9]+-[0-9]+$: warn", "matches no topic that this user may see");

    for resource in
        [Resource::Topic(topic), Resource::Topic(alerts), Resource::Topic(letters), Resource::Group(&group)]
    {
        broker.allow(USER, Operation::Describe, resource);
    }
    let (code, checks) = examined(&["-c", &file]);
    assert_eq!(code, Some(69));
    has(&checks, &format!("read {topic}: fail"), "grant READ on the topic");
    has(&checks, &format!("write {alerts}: fail"), "grant WRITE on the topic");
    has(&checks, &format!("write {letters}: fail"), "grant WRITE on the topic");
    has(&checks, "join the group: fail", "grant READ on the group");

    for (operation, resource) in [
        (Operation::Read, Resource::Topic(topic)),
        (Operation::Read, Resource::Topic(&audit)),
        (Operation::Read, Resource::Group(&group)),
        (Operation::Write, Resource::Topic(alerts)),
        (Operation::Write, Resource::Topic(letters)),
    ] {
        broker.allow(USER, operation, resource);
    }
    let (code, checks) = examined(&["-c", &file]);
    assert_eq!(code, Some(0), "{checks:#?}");
    has(&checks, &format!("read {topic}: ok"), "allowed; no record is there");
    has(&checks, "topic ^audit-[0-9]+-[0-9]+$: ok", &format!("matches {audit}"));
    has(&checks, &format!("read {audit}: ok"), "allowed");
    has(&checks, &format!("write {alerts}: ok"), "allowed; nothing was written");
    has(&checks, "join the group: ok", "allowed");
    let told = text(&outlierd(&["doctor", "-c", &file]).stdout);
    assert!(told.ends_with("\nall is well\n"), "{told}");
    assert!(committed(broker.bootstrap(), &group, topic, 1).is_empty(), "it leaves no commit");
    assert!(outlierd(&["validate", "-c", &file]).status.success());

    let mut daemon = Daemon::start(&["run".to_owned(), "-c".to_owned(), file]);
    let line = |number| format!("user {} signed in after {} ms", number % 7, number % 40).into_bytes();
    let mut records: Vec<_> = (0..400).map(|number| (0, "k".to_owned(), line(number))).collect();
    records.push((
        0,
        "k".to_owned(),
        b"kernel panic: cannot mount the root of /dev/sdb1, giving up".to_vec(),
    ));
    produce(broker.bootstrap(), topic, &records);
    let got = read_until(broker.bootstrap(), alerts, |got| {
        got.iter().any(|alert| alert.json().to_string().contains("kernel panic"))
    });
    assert!(got.iter().all(|alert| !alert.payload.is_empty()), "doctor has written nothing");
    wait_for("the commit", || {
        committed(broker.bootstrap(), &group, topic, 1).get(&0).filter(|at| at.0 == 401).map(drop)
    });
    assert!(daemon.stop().success());
}

#[test]
fn a_wrong_password_and_a_wrong_certificate_are_told_apart() {
    let secured = Secured::start();
    let topics = ["secured", "alerts", "letters"].map(unique);
    let file = secured.configuration(&topics, "group", "^audit");
    let set = |option: &str, path: &str| format!("kafka.options.{option}={path}");
    let wrong = secured.folder.file("wrong", b"wrong password\n");
    let password = set("sasl.password_file", &wrong);
    let other = set("ssl.ca.location", secured.folder.0.join("other.pem").to_str().unwrap());
    for (change, key, words) in [
        (&password, "kafka.options.sasl.mechanism", "check sasl.mechanism, user and password"),
        (&other, "kafka.options.security.protocol", "check security.protocol and the certificates"),
    ] {
        let (code, checks) = examined(&["-c", &file, "--set", change]);
        assert_eq!(code, Some(69));
        has(&checks, "broker: fail", words);
        let said = crate::command::refused(78, &["validate", "-c", &file, "--set", change]);
        assert!(said.contains(&format!("{key}: ")) && said.contains(words), "{said}");
        assert!(!said.contains("wrong password"), "{said}");
    }
}
