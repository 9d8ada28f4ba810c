//! Brokers that are away, go and come back, and signals: the daemon waits, says so, loses nothing and can be stopped.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::broker::Broker;
use crate::client::{self, Daemon};

/// Head and body of the answer to a GET; nothing while the server is not there.
pub(crate) fn get(port: u16, path: &str) -> Option<(String, String)> {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n"))
}

/// Head and body of the answer to a request whose last header is still to come.
pub(crate) fn ask(port: u16, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "{request}Connection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_said_to_be_away() {
    let admin = client::free_port();
    let broker = format!("127.0.0.1:{}", client::free_port());
    let listen = format!("127.0.0.1:{admin}");
    let mut arguments = client::run_arguments(&broker, "group", "topic", &[]);
    arguments.extend(["--set".to_owned(), format!("admin.listen={listen}")]);
    let mut daemon = Daemon::start(&arguments);
    let (status, body) = client::wait_for("the readiness to say why", || {
        get(admin, "/readyz?verbose").filter(|(_, body)| body.contains(&broker))
    });
    assert!(
        status.contains("503") && body.contains("[-] source") && body.contains("[+] model"),
        "{status} {body}"
    );
    assert!(get(admin, "/livez").unwrap().0.contains("200"), "alive all the same");
    let metrics = get(admin, "/metrics").unwrap().1;
    assert!(
        metrics.contains("outlierd_build_info{") && metrics.contains("outlierd_ready{part=\"source\"} 0"),
        "{metrics}"
    );
    assert!(daemon.stop().success(), "SIGTERM ends it well with the broker away");
}

fn record(partition: i32, number: usize) -> (i32, String, Vec<u8>) {
    let took = 10 + number * 7 % 40;
    let text = match number {
        n if n % 150 == 149 => {
            format!("segfault {} in module {}", n * 7_919, ["libc", "libm", "zlib", "gtk"][n % 4])
        }
        n if n % 2 == 0 => format!("GET /index took {took} ms"),
        _ => format!("user {} signed in", number % 61),
    };
    (partition, "host".to_owned(), format!(r#"{{"message":{text:?},"took":{took}}}"#).into_bytes())
}

#[test]
fn a_broker_that_dies_and_comes_back_costs_nothing() {
    if std::env::var_os("KAFKA_BROKERS").is_some() {
        println!("skipped: it kills its broker, and KAFKA_BROKERS names somebody's");
        return;
    }
    let mut broker = Broker::start();
    broker.create_topic("input", 2);
    broker.create_topic("alerts", 1);
    broker.create_topic("dead", 1);
    let sets = [
        ("sink.topic", "alerts"),
        ("sink.dead_letter_topic", "dead"),
        ("detect.warmup", "300"),
        ("alert.budget", "1 in 50"),
        ("kafka.commit_interval", "100ms"),
    ];
    let arguments = client::run_arguments(broker.bootstrap(), "group", "input", &sets);
    let mut daemon = Daemon::start(&arguments);
    let write = |broker: &Broker, from: usize, to: usize| {
        let records: Vec<_> = (from..to).map(|number| record(i32::from(number % 4 > 1), number)).collect();
        client::produce(broker.bootstrap(), "input", &records);
    };
    let done = |broker: &Broker| {
        let committed = client::committed(broker.bootstrap(), "group", "input", 2);
        committed.values().map(|(offset, _)| *offset).sum::<i64>()
    };
    write(&broker, 0, 3_000);
    client::wait_for("some commits", || (done(&broker) > 1_000).then_some(()));
    broker.kill();
    std::thread::sleep(std::time::Duration::from_secs(2));
    broker.restart();
    write(&broker, 3_000, 6_000);
    client::wait_for("all commits", || (done(&broker) == 6_000).then_some(()));
    assert!(daemon.stop().success());

    let alerts = client::read_until(broker.bootstrap(), "alerts", |got| !got.is_empty());
    let opened = alerts.iter().filter(|alert| alert.headers["ce_type"].ends_with("opened"));
    let ids: BTreeSet<_> = opened.map(|alert| alert.headers["ce_id"].clone()).collect();
    // The reference: the same records, judged without a hitch by one that starts anew.
    broker.create_topic("alerts-again", 1);
    let mut sets = sets;
    sets[0] = ("sink.topic", "alerts-again");
    let mut again = Daemon::start(&client::run_arguments(broker.bootstrap(), "again", "input", &sets));
    client::wait_for("the reference to be done", || {
        let committed = client::committed(broker.bootstrap(), "again", "input", 2);
        (committed.values().map(|(offset, _)| *offset).sum::<i64>() == 6_000).then_some(())
    });
    assert!(again.stop().success());
    let alerts = client::read_until(broker.bootstrap(), "alerts-again", |got| !got.is_empty());
    let opened = alerts.iter().filter(|alert| alert.headers["ce_type"].ends_with("opened"));
    let expected: BTreeSet<_> = opened.map(|alert| alert.headers["ce_id"].clone()).collect();
    assert!(expected.len() > 5);
    assert_eq!(ids, expected);
}

#[test]
fn a_second_signal_forces() {
    if std::env::var_os("KAFKA_BROKERS").is_some() {
        println!("skipped: it kills its broker, and KAFKA_BROKERS names somebody's");
        return;
    }
    let mut broker = Broker::start();
    broker.create_topic("input", 1);
    broker.create_topic("alerts", 1);
    broker.create_topic("dead", 1);
    let sets =
        [("sink.topic", "alerts"), ("sink.dead_letter_topic", "dead"), ("kafka.shutdown_timeout", "10m")];
    let arguments = client::run_arguments(broker.bootstrap(), "group", "input", &sets);
    let mut daemon = Daemon::start(&arguments);
    client::wait_for("an assignment", || daemon.log().contains("\"message\":\"assigned\"").then_some(()));
    // Something that cannot be acknowledged any more: a dead letter whose broker has gone.
    let broken: Vec<_> = (0..200).map(|_| (0, "key".to_owned(), b"{".to_vec())).collect();
    broker.kill();
    daemon.signal("STOP");
    broker.restart();
    client::produce(broker.bootstrap(), "input", &broken);
    broker.kill();
    daemon.signal("CONT");
    daemon.signal("TERM");
    client::wait_for("the drain", || daemon.log().contains("draining").then_some(()));
    daemon.signal("TERM");
    assert_eq!(daemon.ended().code(), Some(143));
}
