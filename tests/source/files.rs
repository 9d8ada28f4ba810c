//! Files and standard input.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use flate2::Compression;
use flate2::write::GzEncoder;
use outlierd::flow::Lane;
use outlierd::pipeline::Action;
use outlierd::source::{SourceError, file, stdin};

use super::{LONG, Rig, Seen};

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outlierd-source-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ignored = fs::remove_dir_all(&self.0);
    }
}

fn lane(path: &Path) -> Lane {
    Lane { topic: path.to_string_lossy().into(), partition: 0 }
}

fn start(shards: usize, settings: file::Settings) -> Rig {
    Rig::start(shards, 2, move |inlets, commits, stop, status| {
        file::run(&settings, inlets, commits, stop, status)
    })
}

fn read(paths: &[&PathBuf]) -> (Rig, Seen) {
    let paths: Vec<PathBuf> = paths.iter().map(|path| (*path).clone()).collect();
    let count = paths.len();
    let rig = start(1, file::Settings { paths, ..file::Settings::default() });
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.ended.len() == count);
    (rig, seen)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn numbered(from: i64, count: i64) -> Vec<(i64, String)> {
    (from..from + count).map(|number| (number, format!("line {number}"))).collect()
}

fn text(lines: &[(i64, String)]) -> String {
    lines.iter().flat_map(|(_, line)| [line, "\n"]).collect()
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn plain_and_gzip_files_give_the_same_lines() {
    let folder = Folder::new();
    let lines = numbered(0, 50_000);
    let (head, tail) = lines.split_at(20_000);
    let plain = folder.file("plain", text(&lines).as_bytes());
    let members = folder.file("members", &[gzip(&text(head)), gzip(&text(tail))].concat());
    let (rig, seen) = read(&[&plain, &members]);
    rig.join().unwrap();
    assert_eq!(seen.lines(&lane(&plain)), lines);
    assert_eq!(seen.lines(&lane(&members)), lines);
}

#[test]
fn an_empty_file_ends_and_a_last_line_needs_no_end() {
    let folder = Folder::new();
    let (empty, open) = (folder.file("empty", b""), folder.file("open", b"a\n\nb"));
    let (rig, seen) = read(&[&empty, &open]);
    rig.join().unwrap();
    assert_eq!(seen.lines(&lane(&empty)), []);
    assert_eq!(seen.lines(&lane(&open)), [(0, "a".to_owned()), (2, "b".to_owned())]);
}

#[test]
fn a_truncated_gzip_file_gives_its_complete_lines_and_an_error() {
    let folder = Folder::new();
    let lines = numbered(0, 10_000);
    let mut bytes = gzip(&text(&lines));
    bytes.truncate(bytes.len() / 2);
    let broken = folder.file("broken.gz", &bytes);
    let whole = folder.file("whole", b"x\n");
    let (rig, seen) = read(&[&broken, &whole]);
    let got = seen.lines(&lane(&broken));
    assert!(got.len() > 1_000, "{} lines", got.len());
    assert_eq!(got, lines[..got.len()], "no line is cut");
    assert_eq!(seen.lines(&lane(&whole)).len(), 1, "other files are read all the same");
    match rig.join() {
        Err(SourceError::Truncated { path, position, .. }) => {
            assert_eq!((path, position), (broken, bytes.len() as u64));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_gzip_file_is_an_error_too() {
    let folder = Folder::new();
    let mut bytes = gzip(&text(&numbered(0, 10_000)));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    let broken = folder.file("broken.gz", &bytes);
    let (rig, _) = read(&[&broken]);
    assert!(matches!(rig.join(), Err(SourceError::Truncated { .. })));
}

#[test]
fn a_missing_file_is_an_error_at_once() {
    let folder = Folder::new();
    for path in [folder.0.join("missing"), folder.0.clone()] {
        let rig = start(1, file::Settings { paths: vec![path.clone()], ..file::Settings::default() });
        match rig.join() {
            Err(SourceError::Open { path: named, .. }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_line_over_the_limit_is_cut_just_above_it() {
    let folder = Folder::new();
    let long = folder.file("long", format!("a\n{}\nb\n", "x".repeat(1 << 20)).as_bytes());
    let settings = file::Settings { paths: vec![long.clone()], line_max: 1_000, ..file::Settings::default() };
    let rig = start(1, settings);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.ended.len() == 1);
    rig.join().unwrap();
    let lengths: Vec<usize> = seen.lines(&lane(&long)).iter().map(|(_, line)| line.len()).collect();
    assert_eq!(lengths, [1, 1_001, 1]);
}

#[test]
fn files_that_share_a_busy_shard_are_read_in_turns() {
    let folder = Folder::new();
    let long = text(&numbered(0, 200_000));
    let paths: Vec<PathBuf> = ["a", "b", "c"].map(|name| folder.file(name, long.as_bytes())).to_vec();
    let rig = start(1, file::Settings { paths, ..file::Settings::default() });
    let mut seen = Seen::default();
    // Each is longer than so many pieces of any.
    for _ in 0..30 {
        // Slower than the source: its queue is full when it looks.
        std::thread::sleep(Duration::from_millis(10));
        seen.take(rig.next());
    }
    assert!(seen.ended.is_empty());
    assert_eq!(seen.records.len(), 3, "none waits for another's end");
    rig.finish().unwrap();
}

#[test]
fn many_files_are_spread_over_the_shards() {
    let folder = Folder::new();
    let paths: Vec<PathBuf> = (0..200).map(|n| folder.file(&format!("f{n:03}"), b"a\nb\n")).collect();
    let rig = start(4, file::Settings { paths, ..file::Settings::default() });
    let mut seen: Vec<Seen> = (0..4).map(|_| Seen::default()).collect();
    let mut stopped = 0;
    while stopped < 4 {
        for (shard, seen) in rig.shards.iter().zip(&mut seen) {
            while let Ok(arrival) = shard.try_recv() {
                match arrival.action {
                    Action::Stop => stopped += 1,
                    action => seen.take(action),
                }
            }
        }
        std::thread::yield_now();
    }
    drop(rig.commits);
    rig.thread.join().unwrap().unwrap();
    assert_eq!(seen.iter().map(|seen| seen.ended.len()).sum::<usize>(), 200);
    assert_eq!(seen.iter().map(Seen::count).sum::<usize>(), 400);
    assert!(seen.iter().all(|seen| seen.count() > 0));
}

#[test]
fn a_followed_file_is_read_on_through_growth_truncation_and_replacement() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    let rig =
        start(1, file::Settings { paths: vec![path.clone()], follow: true, ..file::Settings::default() });
    let mut seen = Seen::default();
    let lane = lane(&path);
    seen.until(&rig, |seen| seen.assigned.len() == 1);

    folder.file("log", b"one\nhal");
    seen.until(&rig, |seen| seen.count() == 1);
    append(&path, "f\n");
    seen.until(&rig, |seen| seen.count() == 2);

    File::create(&path).unwrap().write_all(b"x\n").unwrap();
    seen.until(&rig, |seen| seen.count() == 3);

    fs::rename(&path, folder.0.join("log.1")).unwrap();
    append(&folder.0.join("log.1"), "late\n");
    seen.until(&rig, |seen| seen.count() == 4);
    folder.file("log", b"new\n");
    seen.until(&rig, |seen| seen.count() == 5);

    let lines: Vec<String> = seen.lines(&lane).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["one", "half", "x", "late", "new"]);
    assert_eq!(seen.offsets(&lane), [0, 1, 2, 3, 4]);
    assert_eq!(seen.ended, []);
    rig.finish().unwrap();
}

#[test]
fn a_gzip_file_cannot_be_followed() {
    let folder = Folder::new();
    let path = folder.file("log.gz", &gzip("a\n"));
    let rig = start(1, file::Settings { paths: vec![path], follow: true, ..file::Settings::default() });
    assert!(matches!(rig.join(), Err(SourceError::Settings(_))));
}

fn start_stdin(reader: impl Read + Send + 'static) -> Rig {
    Rig::start(1, 2, move |inlets, commits, stop, status| {
        stdin::read_from(reader, &stdin::Settings::default(), inlets, commits, stop, status)
    })
}

/// Gives its bytes and then waits for more, for ever.
struct Blocking(&'static [u8]);

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(buffer)? {
                0 => std::thread::park(),
                count => return Ok(count),
            }
        }
    }
}

/// Gives its pieces one by one, says so, and then waits for more, for ever.
struct Pieces(std::vec::IntoIter<&'static str>, Sender<()>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(piece) = self.0.next() else {
            self.1.send(()).unwrap();
            return Blocking(b"").read(buffer);
        };
        piece.as_bytes().read(buffer)
    }
}

/// Gives its bytes and then fails.
struct Failing(&'static [u8]);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::other("cable pulled")),
            count => Ok(count),
        }
    }
}

#[test]
fn standard_input_is_a_lane_that_ends() {
    let lines = numbered(0, 50_000);
    let rig = start_stdin(std::io::Cursor::new(text(&lines)));
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.ended.len() == 1);
    let lane = Lane { topic: "stdin".into(), partition: 0 };
    assert_eq!(seen.lines(&lane), lines);
    let report = rig.status.report();
    assert_eq!((report.records, report.lanes[&lane].position), (50_000, 50_000));
    rig.join().unwrap();
}

#[test]
fn standard_input_stops_while_nobody_writes() {
    let rig = start_stdin(Blocking(b"one\n"));
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.count() == 1);
    rig.finish().unwrap();
}

#[test]
fn standard_input_passes_on_what_it_took_before_the_stop() {
    let (given, all_given) = bounded(1);
    // Two fill the shard's queue and the outbox, four the queue of the reading thread.
    let pieces = vec!["line 0\n", "line 1\n", "line 2\n", "line 3\nli", "ne 4\nli", "ne 5"];
    let rig = start_stdin(Pieces(pieces.into_iter(), given));
    all_given.recv_timeout(LONG).unwrap();
    rig.wait_for(|report| report.paused);
    rig.stop.store(true, Ordering::Relaxed);
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.ended.len() == 1);
    assert_eq!(seen.lines(&Lane { topic: "stdin".into(), partition: 0 }), numbered(0, 6));
    rig.finish().unwrap();
}

#[test]
fn standard_input_that_fails_is_an_error_after_what_it_gave() {
    let rig = start_stdin(Failing(b"one\ntw"));
    let mut seen = Seen::default();
    seen.until(&rig, |seen| seen.ended.len() == 1);
    assert_eq!(seen.count(), 1);
    match rig.join() {
        Err(SourceError::Read { position: 6, .. }) => {}
        other => panic!("{other:?}"),
    }
}
