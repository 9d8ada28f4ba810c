//! The cluster: brokers, topics, what we may do there, how far behind the group is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Check;
use crate::config::{Config, SinkConfig, SourceConfig};
use crate::flow::Lane;
use crate::sink;
use crate::sink::kafka::rights::{self, Write};
use crate::source::kafka::cluster::{Position, Probe, Read, Sight, lane};
use crate::source::kafka::{Settings, Start, Suspect, pattern};

/// How long all questions may take together.
const ALL: Duration = Duration::from_secs(18);
/// How long the first one may take: a connection and its handshakes.
const FIRST: Duration = Duration::from_secs(8);
/// How long any other may take.
const EACH: Duration = Duration::from_secs(3);
/// Partitions whose lag is asked, at most.
const LANES_MAX: usize = 200;
/// Topics of a pattern that are looked at, at most.
const MATCHING_MAX: usize = 10;

/// What the cluster was found to be.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) checks: Vec<Check>,
    /// Partitions of the topics that are read, where they could be counted.
    pub(super) partitions: Option<usize>,
    /// Time of the newest record read, in milliseconds since 1970.
    pub(super) newest: Option<i64>,
}

pub(super) fn look(config: &Config) -> Cluster {
    let (source, sink) = match (&config.source, &config.sink) {
        (SourceConfig::Kafka(source), SinkConfig::Kafka(sink)) => (Some(source), Some(sink)),
        (SourceConfig::Kafka(source), _) => (Some(source), None),
        (_, SinkConfig::Kafka(sink)) => (None, Some(sink)),
        _ => {
            let checks = vec![Check::unneeded("broker", "not needed: neither source nor sink is Kafka")];
            return Cluster { checks, ..Cluster::default() };
        }
    };
    let mut cluster = Cluster::default();
    if let Some(error) = sink.and_then(|sink| sink.check().err()) {
        cluster.checks.push(Check::fail("producer options", error.to_string(), "correct [kafka.options]"));
    }
    let settings = source.cloned().unwrap_or_else(|| as_source(config, sink));
    match Probe::open(&settings) {
        Ok(probe) => {
            let own =
                sink.iter().flat_map(|sink| [Some(&sink.alerts_topic), sink.dead_letter_topic.as_ref()]);
            let own = own.flatten().cloned().collect();
            Look { probe, own, deadline: now() + ALL, cluster: &mut cluster }.all(&settings, source, sink);
        }
        Err(error) => cluster.checks.push(Check::fail("broker", error.to_string(), "correct [kafka]")),
    }
    cluster
}

/// The same cluster for a daemon that only writes there.
fn as_source(config: &Config, sink: Option<&sink::kafka::Settings>) -> Settings {
    let sink = sink.cloned();
    Settings {
        brokers: sink.as_ref().map_or_else(String::new, |sink| sink.brokers.clone()),
        group: config.service.clone(),
        topics: sink.iter().map(|sink| sink.alerts_topic.clone()).collect(),
        options: sink.map_or_else(Vec::new, |sink| sink.options.into_iter().collect()),
        start: Start::Latest,
        ..Settings::default()
    }
}

struct Look<'a> {
    probe: Probe,
    /// What the daemon writes itself: no pattern means these.
    own: Vec<String>,
    deadline: Instant,
    cluster: &'a mut Cluster,
}

impl Look<'_> {
    fn all(mut self, settings: &Settings, source: Option<&Settings>, sink: Option<&sink::kafka::Settings>) {
        let first = settings.topics.iter().find(|topic| !pattern::is_pattern(topic));
        let first = first.or(sink.map(|sink| &sink.alerts_topic)).map_or("outlierd", String::as_str);
        match self.probe.topic(first, FIRST) {
            Ok((brokers, _)) => self.say(Check::ok("broker", brokers.join(", "))),
            Err(why) => {
                let found = format!("no answer from {}: {why}", settings.brokers);
                self.say(Check::fail("broker", found, Suspect::of(&why).remedy()));
                self.say(Check::skipped("topics", "no broker answers"));
                self.say(Check::skipped("consumer group", "no broker answers"));
                return;
            }
        }
        if let Some(source) = source {
            self.source(source);
        }
        if let Some(sink) = sink {
            self.sink(sink);
        }
    }

    fn source(&mut self, source: &Settings) {
        let (mut names, mut lanes, mut unknown) = (Vec::new(), Vec::new(), 0);
        for topic in &source.topics {
            if pattern::is_pattern(topic) {
                unknown += self.pattern(topic, &mut names);
            } else {
                names.push(topic.clone());
            }
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        for topic in &names {
            let create = "correct [source] topics, or create it: kafka-topics.sh --create --topic";
            if let Some(partitions) = self.topic(topic, create) {
                self.readable(topic, &partitions);
                lanes.extend(partitions.into_iter().map(|partition| lane(topic, partition)));
            }
        }
        if lanes.len() + unknown > 0 {
            self.cluster.partitions = Some(lanes.len() + unknown);
        }
        self.group(source, &lanes);
    }

    /// Adds the topics that a pattern means now, the first of many; counts the partitions of the rest.
    fn pattern(&mut self, pattern: &str, names: &mut Vec<String>) -> usize {
        let name = format!("topic {pattern}");
        let Some(left) = self.left() else {
            self.say(Check::skipped(&name, "no time left"));
            return 0;
        };
        let topics = match self.probe.topics(left) {
            Ok(topics) => topics,
            Err(why) => {
                self.say(Check::fail(&name, why, "ask again: outlierd doctor"));
                return 0;
            }
        };
        let Some(mut matching) = pattern::matching(pattern, topics.keys()) else {
            self.say(Check::skipped(&name, "a pattern that only librdkafka reads"));
            return 0;
        };
        matching.retain(|topic| !self.own.iter().any(|own| own == topic));
        let Some((first, rest)) = matching.split_at_checked(matching.len().min(MATCHING_MAX)) else {
            return 0;
        };
        names.extend(first.iter().map(|topic| (*topic).to_owned()));
        self.say(if matching.is_empty() {
            let found = "matches no topic that this user may see";
            let remedy =
                "correct [source] topics, or grant DESCRIBE on the topics; new ones are seen within a minute";
            Check::warn(&name, found, remedy)
        } else if rest.is_empty() {
            Check::ok(&name, format!("matches {}", first.join(", ")))
        } else {
            Check::ok(&name, format!("matches {} topics; looked at: {}", matching.len(), first.join(", ")))
        });
        rest.iter().filter_map(|topic| topics.get(*topic)).sum()
    }

    /// Looks for a topic; its partitions, if it is there.
    fn topic(&mut self, topic: &str, create: &str) -> Option<Vec<i32>> {
        let name = format!("topic {topic}");
        let Some(left) = self.left() else {
            self.say(Check::skipped(&name, "no time left"));
            return None;
        };
        let (check, partitions) = match self.probe.topic(topic, left) {
            Err(why) => (Check::fail(&name, why, "ask again: outlierd doctor"), None),
            Ok((_, Sight::Missing)) => {
                (Check::fail(&name, "is not there", format!("{create} {topic}")), None)
            }
            Ok((_, Sight::Forbidden)) => {
                (Check::fail(&name, "may not be seen", "grant DESCRIBE on it to this user"), None)
            }
            Ok((_, Sight::Present { partitions, leaderless })) if !leaderless.is_empty() => (
                Check::fail(
                    &name,
                    format!("{} of {} partitions have no leader", leaderless.len(), partitions.len()),
                    "see why their brokers are away; the daemon waits for them",
                ),
                Some(partitions),
            ),
            Ok((_, Sight::Present { partitions, .. })) => {
                let found = match partitions.len() {
                    1 => "1 partition".to_owned(),
                    count => format!("{count} partitions"),
                };
                (Check::ok(&name, found), Some(partitions))
            }
        };
        self.say(check);
        partitions
    }

    /// Reads a record, of the first partition that holds one.
    fn readable(&mut self, topic: &str, partitions: &[i32]) {
        let name = format!("read {topic}");
        for partition in partitions {
            let Some(left) = self.left() else {
                return self.say(Check::skipped(&name, "no time left"));
            };
            match self.probe.read(&lane(topic, *partition), left) {
                Ok(Read::Record(time)) => {
                    self.cluster.newest = self.cluster.newest.max(time);
                    let when = time.map_or_else(String::new, |time| {
                        format!(", written {}", sink::wire::rfc3339(crate::flow::Time(time)))
                    });
                    return self.say(Check::ok(&name, format!("one record of partition {partition}{when}")));
                }
                Ok(Read::Nothing) => {}
                Ok(Read::Forbidden) => {
                    return self.say(Check::fail(
                        &name,
                        "not allowed",
                        "grant READ on the topic to this user",
                    ));
                }
                Err(why) => {
                    return self.say(Check::warn(
                        &name,
                        why,
                        "see the broker's log; ask again: outlierd doctor",
                    ));
                }
            }
        }
        let (Some(left), Some(first)) = (self.left(), partitions.first()) else {
            return self.say(Check::skipped(&name, "no record is there to read"));
        };
        self.say(match self.probe.may_read(&lane(topic, *first), left) {
            Ok(true) => Check::ok(&name, "allowed; no record is there"),
            Ok(false) => Check::fail(&name, "not allowed", "grant READ on the topic to this user"),
            Err(why) => {
                Check::skipped(&name, format!("no record is there to read, and asking brought: {why}"))
            }
        });
    }

    fn group(&mut self, source: &Settings, lanes: &[Lane]) {
        let name = format!("consumer group {}", source.group);
        let asked = &lanes[..lanes.len().min(LANES_MAX)];
        if asked.is_empty() {
            return self.say(Check::skipped(&name, "no topic to ask about"));
        }
        let Some(left) = self.left() else { return self.say(Check::skipped(&name, "no time left")) };
        match self.probe.positions(asked, left) {
            Ok(positions) => self.say(group(&name, source.start, &positions, lanes.len())),
            Err(why) => {
                let remedy = if why.contains("uthorization") {
                    "grant READ and DESCRIBE on the group to this user"
                } else {
                    "ask again: outlierd doctor; see the broker's log"
                };
                self.say(Check::fail(&name, why, remedy));
            }
        }
        self.join();
    }

    fn join(&mut self) {
        let name = "join the group";
        let Some(left) = self.left() else { return self.say(Check::skipped(name, "no time left")) };
        self.say(match self.probe.may_join(left) {
            Ok(true) => {
                Check::ok(name, "allowed; not joined, which would take partitions from those that run")
            }
            Ok(false) => Check::fail(name, "not allowed", "grant READ on the group to this user"),
            Err(why) => Check::warn(name, why, "see the broker's log; ask again: outlierd doctor"),
        });
    }

    fn sink(&mut self, sink: &sink::kafka::Settings) {
        for topic in [Some(&sink.alerts_topic), sink.dead_letter_topic.as_ref()].into_iter().flatten() {
            let create = "correct [sink], or create it: kafka-topics.sh --create --topic";
            if let Some(partitions) = self.topic(topic, create) {
                self.writable(sink, topic, &partitions);
            }
        }
        self.say(Check::unneeded(
            "transactional id",
            "not needed: alerts are written idempotently, not in transactions",
        ));
    }

    fn writable(&mut self, sink: &sink::kafka::Settings, topic: &str, partitions: &[i32]) {
        let name = format!("write {topic}");
        let (Some(left), Some(partition)) = (self.left(), partitions.first()) else {
            return self.say(Check::skipped(&name, "no time left"));
        };
        self.say(match rights::ask(sink, topic, *partition, left) {
            Ok(Write::Allowed) => Check::ok(&name, "allowed; nothing was written"),
            Ok(Write::Written) => Check::warn(
                &name,
                "allowed, and the empty record that asked was kept, which Kafka would have refused",
                "tell readers of the topic to pass over records without a value",
            ),
            Ok(Write::Forbidden) => Check::fail(
                &name,
                "not allowed",
                "grant WRITE on the topic to this user (before Kafka 3.0 also IDEMPOTENT_WRITE on the cluster)",
            ),
            Err(why) => Check::warn(&name, why, "see the broker's log; ask again: outlierd doctor"),
        });
    }

    fn say(&mut self, check: Check) {
        self.cluster.checks.push(check);
    }

    /// How long the next question may take.
    fn left(&self) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(now()).min(EACH);
        (!left.is_zero()).then_some(left)
    }
}

/// Where the group stands.
fn group(name: &str, start: Start, positions: &[Position], lanes: usize) -> Check {
    let mut lags: BTreeMap<&Lane, i64> = BTreeMap::new();
    let (mut fresh, mut gone) = (0, Vec::new());
    for position in positions {
        match position.committed {
            None => fresh += 1,
            Some(committed) => {
                if committed < position.low {
                    gone.push(format!("{} ({} records)", position.lane, position.low - committed));
                }
                lags.insert(&position.lane, (position.high - committed).max(0));
            }
        }
    }
    let total: i64 = lags.values().sum();
    let mut found = if fresh == positions.len() {
        let from = if start == Start::Earliest { "the oldest record" } else { "what comes then" };
        format!("has never committed; begins with {from}")
    } else {
        let mut found = format!("{total} records behind");
        if let Some((lane, lag)) = lags.iter().max_by_key(|(_, lag)| **lag).filter(|(_, lag)| **lag > 0) {
            found = format!("{found}, most on {lane}: {lag}");
        }
        if fresh > 0 {
            found = format!("{found}; {fresh} partitions without a commit");
        }
        found
    };
    if positions.len() < lanes {
        found = format!("{found} ({} of {lanes} partitions asked)", positions.len());
    }
    if gone.is_empty() {
        return Check::ok(name, found);
    }
    Check::warn(
        name,
        format!("{found}; deleted before they were read: {}", gone.join(", ")),
        "lengthen the topic's retention, or let the daemon run more often",
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "questions to a broker need a deadline; no verdict sees the time"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn at(partition: i32, low: i64, high: i64, committed: Option<i64>) -> Position {
        Position { lane: lane("logs", partition), low, high, committed }
    }

    #[test]
    fn lag_is_summed_and_the_worst_named() {
        let positions = [at(0, 0, 100, Some(90)), at(1, 0, 500, Some(100)), at(2, 0, 5, None)];
        let check = group("g", Start::Earliest, &positions, 3);
        assert_eq!(check.status, Status::Ok);
        assert_eq!(check.found, "410 records behind, most on logs[1]: 400; 1 partitions without a commit");
    }

    #[test]
    fn records_deleted_before_they_were_read_are_told() {
        let check = group("g", Start::Earliest, &[at(0, 50, 100, Some(20))], 1);
        assert_eq!(check.status, Status::Warn);
        assert!(check.found.contains("deleted before they were read"), "{}", check.found);
    }

    #[test]
    fn a_new_group_says_where_it_begins() {
        let check = group("g", Start::Latest, &[at(0, 0, 9, None)], 1);
        assert_eq!(check.found, "has never committed; begins with what comes then");
    }
}
