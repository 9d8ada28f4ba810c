//! Streams of dense numbers without keys, where an event is strange only as a whole: what lies between clusters, and a host's
//! load beside what its memory and disk tell of which host it is. Graded with and without the channel that is for them.

use std::fmt::Write as _;

use outlierd::backtest::{self, Labels, Report};

/// Draws that are the same on every machine (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: the sum of twelve draws.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    #[expect(clippy::cast_sign_loss, reason = "a draw is not below 0")]
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[((all.len() as f64 * self.unit()) as usize).min(all.len() - 1)]
    }

    fn one_in(&mut self, events: f64) -> bool {
        self.unit() * events < 1.0
    }
}

/// Three clusters in eight dimensions; an anomaly takes each of its numbers from any of them.
fn clusters(events: u32) -> String {
    let (mut dice, mut lines) = (Dice(7), String::new());
    let centres: Vec<[f64; 8]> = (0..3).map(|_| std::array::from_fn(|_| 4.0 * dice.bell())).collect();
    for _ in 0..events {
        let odd = dice.one_in(200.0);
        let mut own = dice.one_of(&centres);
        lines.push('{');
        for at in 0..own.len() {
            own = if odd { dice.one_of(&centres) } else { own };
            write!(lines, "\"x{at}\":{:.4},", own[at] + 0.7 * dice.bell()).unwrap();
        }
        writeln!(lines, "\"label\":{}}}", u8::from(odd)).unwrap();
    }
    lines
}

/// Load, memory and disk of 20 hosts, a line a minute each; now and then the load of one is too high for a while.
fn hosts(minutes: u32) -> String {
    let (mut dice, mut lines) = (Dice(9), String::new());
    let mut hosts: Vec<[f64; 4]> = (0..20)
        .map(|_| [10.0 + 50.0 * dice.unit(), 20.0 + 50.0 * dice.unit(), 20.0 + 40.0 * dice.unit(), 0.0])
        .collect();
    for minute in 0..minutes {
        for (host, [level, memory, disk, left]) in hosts.iter_mut().enumerate() {
            *left = if *left <= 0.0 && minute > 150 && dice.one_in(1_500.0) { 20.0 } else { *left - 1.0 };
            *memory = (*memory + 0.3 * dice.bell()).clamp(5.0, 95.0);
            *disk = (*disk + 0.002).min(99.0);
            let odd = *left > 0.0;
            let load = *level + 2.0 * dice.bell() + if odd { 25.0 } else { 0.0 };
            let time = 1_740_787_200 + 60 * minute;
            writeln!(
                lines,
                r#"{{"time":{time},"host":"web-{host}","load":{load:.2},"memory":{memory:.2},"disk":{disk:.3},"label":{}}}"#,
                u8::from(odd)
            )
            .unwrap();
        }
    }
    lines
}

/// What a backtest of lines of JSON with a label finds, by the configuration's settings; two fifths are not graded.
pub(crate) fn graded(name: &str, lines: &str, sets: &[(&str, &str)]) -> Report {
    let path = std::env::temp_dir().join(format!("outlierd-graded-{name}-{}.jsonl", std::process::id()));
    std::fs::write(&path, lines).unwrap();
    let settings = backtest::Settings {
        inputs: vec![path.display().to_string()],
        labels: Some(Labels { field: "label".to_owned(), positive: Vec::new(), normal: Vec::new() }),
        skip: 0.4,
        quiet: true,
        ..backtest::Settings::default()
    };
    let sets: Vec<_> = sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let config = backtest::configure(None, &sets, &settings).unwrap();
    let report = backtest::run(&config, &settings);
    std::fs::remove_file(&path).unwrap();
    report.unwrap()
}

const WITHOUT: (&str, &str) =
    ("detect.channels", r#"["density", "text", "meaning", "joint", "numeric", "categorical", "series"]"#);

#[test]
fn what_is_strange_only_as_a_whole_is_found() {
    for (name, lines) in [("clusters", clusters(8_000)), ("hosts", hosts(400))] {
        let (with, without) =
            (graded(name, &lines, &[]), graded(&format!("{name}-without"), &lines, &[WITHOUT]));
        let figures = |report: &Report| (report.auroc.unwrap(), report.average_precision.unwrap());
        println!("{name}: {:?}, without {:?}", figures(&with), figures(&without));
        assert!(with.channels.contains_key("nearest") && !without.channels.contains_key("nearest"));
        assert!(figures(&with).0 > 0.98, "{name}: {:?}", figures(&with));
        assert!(figures(&with).1 > figures(&without).1 + 0.2, "{name}: {:?}", figures(&without));
    }
}
