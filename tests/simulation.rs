//! The pipeline under seeded disorder: whatever the batch sizes, delays, crashes and rebalances, the same alerts come
//! out, nothing is lost, and no offset is committed before its event is judged and its alerts are acknowledged.
//!
//! The pipeline knows no ticks: nothing in it waits for time. What is due by time is the embedding worker's (its tests).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use outlierd::embed::{Embedder, hashed::Hashed};
use outlierd::flow::{Lane, Origin, Phase, Record, Time, Traced};
use outlierd::pipeline::{Action, Commit, Effect, EmbedRequest, Pipeline, Settings, Ticket};
use outlierd::{alert, decode, detect, render};

const SCHEDULES: u64 = 2_000;
const EVENTS: i64 = 260;
/// The same for a log in which fields appear late; they are heard from about event 730 on.
const SCHEDULES_LATE: u64 = 120;
const EVENTS_LATE: i64 = 1_000;

/// A small generator (a linear congruential one), so that a seed is the whole story of a run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }
}

fn settings(dice: &mut Dice) -> Settings {
    Settings {
        decode: decode::Settings {
            format: decode::Format::Auto,
            size_max: 10_000,
            depth_max: 8,
            fields_max: 50,
        },
        render: render::Settings {
            fields: Vec::new(),
            ignore: Vec::new(),
            infer_events: 30,
            text_max: 1_000,
        },
        detect: detect::Settings {
            window_events: 150,
            window_texts: 60,
            neighbours: 5.0,
            warmup_events: 80,
            calibration_events: 200,
            half_life_events: 100.0,
            guard: 0.02,
            fusion_power: 3.0,
            keys_max: 10,
            budget: detect::Budget::Events(40.0),
            channels: detect::Selection::ALL,
            meaning: None,
        },
        alert: alert::Settings {
            similarity: 0.8,
            gap_ms: 5_000,
            span_ms: 60_000,
            open_max: 4,
            closing: true,
        },
        in_flight_max: 1 + dice.below(100),
        unacknowledged_max: 1 + dice.below(8),
        bytes_max: 1_000_000,
        replay_events: 1_000_000,
        trace: false,
    }
}

/// The same, and fields join every hundred offsets.
fn settings_late(dice: &mut Dice) -> Settings {
    let mut settings = settings(dice);
    settings.render.infer_events = 10;
    settings
}

/// Offsets and payloads of one partition.
type Log = Vec<(i64, Option<Vec<u8>>)>;

/// The log itself: what a broker would hold. Offsets have gaps; some records cannot be read, some are tombstones, one
/// text cannot be embedded, some events do not say when they happened and one lies about it.
fn log(lane: u64) -> Log {
    let mut dice = Dice(77 + lane);
    let hosts = ["web-1", "web-2", "db-1"];
    let mut offset = 5;
    (0..EVENTS)
        .map(|number| {
            offset += 1 + i64::from(dice.below(10) == 0);
            let host = hosts[dice.below(hosts.len())];
            let took = 20 + dice.below(50);
            let time = match number {
                150 => r#","time":4102444800000"#.to_owned(),
                number if number % 17 == 3 => String::new(),
                _ => format!(r#","time":{}"#, 1_700_000_000_000 + offset * 100),
            };
            let (message, took) = match (number, dice.below(25)) {
                (40..=45, 0..6) => return (offset, Some(b"{\"message\": broken".to_vec())),
                (50..=60, 0..6) => return (offset, None),
                (70, _) => (UNEMBEDDABLE.to_owned(), took),
                (100.., 0) => (format!("segfault at 0x{:x} in libssl.so", dice.below(900_000)), took),
                (100.., 1) => (format!("GET /cart took {took} ms"), took * 900),
                (_, 2..10) => (format!("user {} signed in", dice.below(90)), took),
                _ => (format!("GET /cart took {took} ms"), took),
            };
            (offset, Some(event(host, took, &message, &time)))
        })
        .collect()
}

/// Fields join three times, the last of them unheard to the end; and the first of them vanishes and comes back; what is strange later is strange in them.
fn log_late(lane: u64) -> Log {
    let mut dice = Dice(177 + lane);
    let mut offset = 5;
    (0..EVENTS_LATE)
        .map(|number| {
            offset += 1 + i64::from(dice.below(10) == 0);
            let host = ["web-1", "web-2", "db-1"][dice.below(3)];
            let took = 20 + dice.below(50);
            let mut late = Vec::new();
            if !(210..260).contains(&number) && number >= 40 {
                let size = if number > 740 && dice.below(30) == 0 { 90_000 } else { 300 + dice.below(200) };
                late.push(format!(r#""size":{size}"#));
            }
            if number >= 120 {
                let odd = number > 740 && dice.below(30) == 0;
                let region = if odd { "mars" } else { ["eu", "us"][dice.below(2)] };
                let note = ["checked by the night shift", "closed by the day shift"][dice.below(2)];
                let id = format!("a{:015x}b{number:06}", dice.below(1 << 40));
                late.push(format!(r#""where":{{"region":"{region}","note":"{note}"}},"id":"{id}""#));
            }
            if number >= 830 {
                late.push(format!(r#""tenant":"t{}""#, dice.below(3)));
            }
            match dice.below(40) {
                0 => return (offset, Some(b"{\"message\": broken".to_vec())),
                1 => return (offset, None),
                // Nothing else is there: it is put aside until that is read.
                2 => return (offset, Some(format!("{{{}}}", late.join(",")).into_bytes())),
                _ => {}
            }
            let message = if number == 101 { UNEMBEDDABLE } else { "GET /cart took a while" };
            let late: String = late.iter().flat_map(|field| [",", field]).collect();
            (offset, Some(event(host, took, message, &late)))
        })
        .collect()
}

const UNEMBEDDABLE: &str = "a text on which the model fails";

fn event(host: &str, took: usize, message: &str, time: &str) -> Vec<u8> {
    format!(r#"{{"host":"{host}","took":{took},"message":"{message}"{time}}}"#).into_bytes()
}

/// What must not depend on the schedule: each alert by its identity, with all that it says.
type Alerts = BTreeMap<(Lane, i64, bool), String>;

/// One of them.
type Said = ((Lane, i64, bool), String);

/// The world around a pipeline: a broker with its log, commits and alert topic, and an embedding worker.
struct World {
    dice: Dice,
    logs: BTreeMap<Lane, Log>,
    committed: BTreeMap<Lane, Commit>,
    alerts: Alerts,
    rejected: BTreeSet<(Lane, i64)>,
    pipeline: Pipeline,
    /// Generation and index into the log of what is assigned.
    assigned: BTreeMap<Lane, (u64, usize)>,
    generation: u64,
    worker: VecDeque<EmbedRequest>,
    /// Tickets of what the broker has but has not yet acknowledged, and of what is still on its way to it.
    acknowledgements: VecDeque<Ticket>,
    on_the_way: VecDeque<(Ticket, Option<Said>)>,
    embedder: Hashed,
    stopped: bool,
    settings: fn(&mut Dice) -> Settings,
    /// Fields that have joined, as often as that was found.
    joined: BTreeSet<(Lane, Vec<Arc<str>>)>,
}

impl World {
    fn new(seed: u64, settings: fn(&mut Dice) -> Settings, log: fn(u64) -> Log) -> Self {
        let mut dice = Dice(seed);
        let pipeline = Pipeline::new(settings(&mut dice));
        let topic: Arc<str> = Arc::from("logs");
        let lanes =
            (0..2_u8).map(|partition| Lane { topic: Arc::clone(&topic), partition: i32::from(partition) });
        let logs = lanes.map(|lane| (lane.clone(), log(u64::from(lane.partition.unsigned_abs())))).collect();
        Self {
            dice,
            logs,
            committed: BTreeMap::new(),
            alerts: Alerts::new(),
            rejected: BTreeSet::new(),
            pipeline,
            assigned: BTreeMap::new(),
            generation: 0,
            worker: VecDeque::new(),
            acknowledgements: VecDeque::new(),
            on_the_way: VecDeque::new(),
            embedder: Hashed::default(),
            stopped: false,
            settings,
            joined: BTreeSet::new(),
        }
    }

    fn apply(&mut self, action: Action) {
        let mut effects = Vec::new();
        self.pipeline.apply(action, &mut effects);
        for effect in effects {
            match effect {
                Effect::Embed(request) => self.worker.push_back(request),
                Effect::Publish { ticket, alert } => {
                    let opened = alert.phase == Phase::Opened;
                    let identity = (alert.origin.lane.clone(), alert.origin.offset, opened);
                    let says = format!("{} {} {:?}", alert.count, alert.last_offset, alert.verdict);
                    self.on_the_way.push_back((ticket, Some((identity, says))));
                }
                Effect::Reject { ticket, record, .. } => {
                    self.rejected.insert((record.origin.lane, record.origin.offset));
                    self.on_the_way.push_back((ticket, None));
                }
                Effect::Commit(commit) => {
                    let current =
                        self.assigned.get(&commit.lane).is_some_and(|(g, _)| *g == commit.generation);
                    assert!(current, "a commit of an assignment that has ended");
                    let unacknowledged = self.on_the_way.iter().map(|(ticket, _)| ticket);
                    for ticket in unacknowledged.chain(&self.acknowledgements) {
                        let same = ticket.lane == commit.lane && ticket.generation == commit.generation;
                        assert!(
                            !same || ticket.offset >= commit.offset,
                            "committed over an unacknowledged alert"
                        );
                    }
                    let offset = commit.offset;
                    let last = self.committed.insert(commit.lane.clone(), commit);
                    assert!(last.is_none_or(|last| last.offset <= offset), "a commit went back");
                }
                Effect::Settled { lane, joined, .. } => {
                    let fields = joined.map(|joined| joined.lists().into_iter().flatten().cloned().collect());
                    self.joined.extend(fields.map(|fields| (lane, fields)));
                }
                Effect::Judged { .. } => {}
                Effect::Stopped => self.stopped = true,
            }
        }
    }

    fn assign(&mut self, lane: Lane) {
        self.generation += 1;
        let committed = self.committed.get(&lane);
        let (live_from, replay_from) = committed.map_or((0, 0), |commit| (commit.offset, commit.replay_from));
        let reading = committed.and_then(|commit| commit.reading.clone());
        let at = self.logs[&lane].partition_point(|(offset, _)| *offset < replay_from);
        self.assigned.insert(lane.clone(), (self.generation, at));
        self.apply(Action::Assigned { lane, generation: self.generation, live_from, reading });
    }

    fn revoke(&mut self, lane: Lane) {
        if let Some((generation, _)) = self.assigned.remove(&lane) {
            self.apply(Action::Revoked { lane, generation });
        }
    }

    /// The process dies: what is in flight is gone, what the broker has stays.
    fn crash(&mut self) {
        let settings = (self.settings)(&mut self.dice);
        self.pipeline = Pipeline::new(settings);
        self.assigned.clear();
        self.worker.clear();
        self.acknowledgements.clear();
        self.on_the_way.clear();
    }

    fn read(&mut self, lane: Lane) {
        let Some((generation, at)) = self.assigned.get(&lane).copied() else { return };
        if !self.pipeline.accepts() {
            return;
        }
        let log = &self.logs[&lane];
        let count = self.dice.below(60).min(log.len() - at);
        let records = log[at..at + count].iter().map(|(offset, payload)| Traced {
            origin: Origin { lane: lane.clone(), offset: *offset, time: Time(offset * 100) },
            value: Record { payload: payload.clone(), ..Record::default() },
        });
        let records = records.collect();
        self.assigned.insert(lane.clone(), (generation, at + count));
        self.apply(Action::Read { lane, generation, records });
    }

    /// The worker answers one of the requests it has, not always the oldest.
    fn embed(&mut self) {
        let depth = self.worker.len().min(4);
        if depth > 0
            && let Some(request) = self.worker.remove(self.dice.below(depth))
        {
            let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
            let mut embeddings = self.embedder.embed(&texts).unwrap();
            for (text, embedding) in texts.iter().zip(&mut embeddings) {
                embedding.take_if(|_| *text == UNEMBEDDABLE);
            }
            self.apply(Action::Embedded { id: request.id, embeddings });
        }
    }

    /// The broker takes what is on its way, and acknowledges later.
    fn deliver(&mut self) {
        if let Some((ticket, alert)) = self.on_the_way.pop_front() {
            if let Some((identity, says)) = alert {
                let before = self.alerts.insert(identity.clone(), says.clone());
                assert!(
                    before.is_none_or(|before| before == says),
                    "an alert was doubled with another content: {identity:?}"
                );
            }
            self.acknowledgements.push_back(ticket);
        } else if let Some(ticket) = self.acknowledgements.pop_front() {
            self.apply(Action::Published(ticket));
        }
    }

    fn step(&mut self, calm: bool) {
        let lanes: Vec<Lane> = self.logs.keys().cloned().collect();
        let lane = lanes[self.dice.below(lanes.len())].clone();
        match self.dice.below(if calm { 12 } else { 100 }) {
            12 => self.crash(),
            13 => self.revoke(lane),
            14..24 | 0 if !self.assigned.contains_key(&lane) => self.assign(lane),
            1..4 | 24..50 => self.read(lane),
            4..8 | 50..75 => self.embed(),
            _ => self.deliver(),
        }
    }

    fn done(&self) -> bool {
        self.logs.iter().all(|(lane, log)| {
            self.committed.get(lane).is_some_and(|commit| commit.offset > log[log.len() - 1].0)
        })
    }
}

/// Alerts, rejections, and the fields that joined.
type Story = (Alerts, BTreeSet<(Lane, i64)>, BTreeSet<(Lane, Vec<Arc<str>>)>);

fn run(seed: u64, calm: bool) -> Story {
    play(World::new(seed, settings, log), seed, calm)
}

fn play(mut world: World, seed: u64, calm: bool) -> Story {
    for step in 0_u32.. {
        // After a while the storm has to end, or it would never get through.
        world.step(calm || step > 600);
        if world.done() {
            break;
        }
        assert!(step < 100_000, "seed {seed}: it never gets done");
    }
    world.apply(Action::Stop);
    for _ in 0..10_000 {
        world.embed();
        world.deliver();
    }
    assert!(world.stopped, "seed {seed}: all is done, yet it does not stop");
    (world.alerts, world.rejected, world.joined)
}

#[test]
fn no_schedule_changes_the_alerts() {
    let expected = run(0, true);
    assert!(expected.0.keys().filter(|(_, _, opened)| *opened).count() >= 4, "{:?}", expected.0.keys());
    assert!(!expected.1.is_empty());
    for seed in 1..SCHEDULES {
        let got = run(seed, seed % 4 == 0);
        assert_eq!(got.0, expected.0, "seed {seed}");
        assert_eq!(got.1, expected.1, "seed {seed}");
    }
}

#[test]
fn no_schedule_changes_which_fields_join_nor_the_alerts_about_them() {
    let story = |seed, calm| play(World::new(seed, settings_late, log_late), seed, calm);
    let expected = story(0, true);
    let joined: Vec<_> = expected
        .2
        .iter()
        .map(|(_, fields)| fields.iter().map(AsRef::as_ref).collect::<Vec<&str>>())
        .collect();
    let each = [vec!["/size"], vec!["/tenant"], vec!["/where/note", "/where/region"]];
    assert_eq!(joined, [each.clone(), each].concat());
    for field in ["/size", "/where/region"] {
        assert!(
            expected.0.values().any(|says| says.contains(&format!("joint\", field: \"{field}\""))),
            "{field}: {:?}",
            expected.0
        );
    }
    for seed in 1..SCHEDULES_LATE {
        let got = story(seed, seed % 4 == 0);
        assert_eq!(got, expected, "seed {seed}");
    }
}

#[test]
fn a_restart_that_replays_only_a_part_keeps_what_the_fields_are() {
    let mut settings = settings(&mut Dice(1));
    (settings.replay_events, settings.in_flight_max) = (100, 10_000);
    let lane = Lane { topic: "logs".into(), partition: 0 };
    let mut embedder = Hashed::default();
    let mut life = |assigned: Action, numbers: std::ops::Range<i64>| {
        let mut pipeline = Pipeline::new(settings.clone());
        let (mut effects, mut schemas, mut last) = (Vec::new(), Vec::new(), None);
        pipeline.apply(assigned, &mut effects);
        // In its first hundred events the host changes; later it is always the same, and messages never repeat.
        let records = numbers.map(|number| Traced {
            origin: Origin { lane: lane.clone(), offset: number, time: Time(number) },
            value: Record {
                payload: Some(match number {
                    0..100 => event(&format!("web-{}", number % 3), 20, "user signed in", ""),
                    _ => event("db-1", 20, &format!("{number:x}{number:x}f"), ""),
                }),
                ..Record::default()
            },
        });
        let read = Action::Read { lane: lane.clone(), generation: 1, records: records.collect() };
        pipeline.apply(read, &mut effects);
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Embed(request) => {
                    let texts: Vec<&str> = request.texts.iter().map(AsRef::as_ref).collect();
                    let embeddings = embedder.embed(&texts).unwrap();
                    pipeline.apply(Action::Embedded { id: request.id, embeddings }, &mut effects);
                }
                Effect::Publish { ticket, .. } | Effect::Reject { ticket, .. } => {
                    pipeline.apply(Action::Published(ticket), &mut effects);
                }
                Effect::Settled { schema, .. } => schemas.push(schema),
                Effect::Commit(commit) => {
                    last = last.max(Some((commit.offset, commit.replay_from, commit.reading)));
                }
                Effect::Judged { .. } | Effect::Stopped => {}
            }
        }
        (schemas, last.unwrap())
    };
    let assigned =
        |live_from, reading| Action::Assigned { lane: lane.clone(), generation: 1, live_from, reading };
    let (schemas, (offset, replay_from, reading)) = life(assigned(0, None), 0..600);
    assert_eq!((offset, schemas.len()), (600, 1));
    assert!(replay_from > 400, "{replay_from}");
    let (schemas, (offset, _, kept)) = life(assigned(offset, reading.clone()), replay_from..700);
    assert_eq!((schemas.len(), offset), (0, 700), "nothing is inferred again");
    let (reading, kept) = (reading.unwrap(), kept.unwrap());
    assert_eq!((&kept.epochs, &kept.passed), (&reading.epochs, &reading.passed));
}

/// How many events a lane gathers before it settles on its fields.
fn gathered(settings: Settings, padding: usize) -> i64 {
    let mut pipeline = Pipeline::new(settings);
    let lane = Lane { topic: "logs".into(), partition: 0 };
    let mut effects = Vec::new();
    let assigned = Action::Assigned { lane: lane.clone(), generation: 1, live_from: 0, reading: None };
    pipeline.apply(assigned, &mut effects);
    for offset in 0..5_000 {
        let payload = Some(event("web-1", 20, &"padding ".repeat(padding), ""));
        let origin = Origin { lane: lane.clone(), offset, time: Time(offset) };
        let records = vec![Traced { origin, value: Record { payload, ..Record::default() } }];
        pipeline.apply(Action::Read { lane: lane.clone(), generation: 1, records }, &mut effects);
        if effects.iter().any(|effect| matches!(effect, Effect::Settled { .. })) {
            return offset + 1;
        }
    }
    panic!("it never settles");
}

#[test]
fn fields_are_inferred_before_the_first_alert_could_be_due_and_within_a_bound_of_memory() {
    let mut settings = settings(&mut Dice(1));
    (settings.render.infer_events, settings.detect.warmup_events) = (1_000, 2_000);
    assert_eq!(gathered(settings.clone(), 1), 1_000);
    // Records of 8 kB: 1 MiB of them.
    assert_eq!(gathered(settings.clone(), 1_000), (1 << 20) / 8_040 + 1);
    settings.detect.warmup_events = 80;
    assert_eq!(gathered(settings, 1), 80);
}
