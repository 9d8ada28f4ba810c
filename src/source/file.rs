//! Files as lanes: each file is one lane, each line one record, its number the offset.
//!
//! Many files are read in turns, a piece each, so that no shard waits for another's file; only a few are open
//! at once. With `follow` a file never ends: it is read on as it grows, and from its beginning when it was
//! truncated or replaced, with line numbers that go on rising. Offsets start from 0 at each run: there is
//! nobody to commit them to, so it must never pretend to resume.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::lines::record;
use super::{Inlets, LaneReport, SourceError, Status, Unseen, finish, send_read};
use crate::flow::{Lane, Time};
use crate::pipeline::{Action, Commit};

mod input;
mod whole;

use input::{Input, Piece};

pub use whole::Whole;

/// What to read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files, plain or gzip; each becomes a lane of that name. A name given twice counts once.
    pub paths: Vec<PathBuf>,
    /// Whether to go on as they grow. Plain files only.
    pub follow: bool,
    /// Bytes of a line above which it is cut, so that it is refused as too large.
    pub line_max: usize,
    /// How long to wait for the shards once told to stop.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (line_max, drain) = (16 << 20, Duration::from_secs(20));
        Self { paths: Vec::new(), follow: false, line_max, drain }
    }
}

/// Files open at once, unless they are followed: the usual limit of a process is 1024.
const OPEN_MAX: usize = 64;

/// How long to rest when no file had anything new; bounds the delay of a followed line.
const REST: Duration = Duration::from_millis(50);

const GENERATION: u64 = 1;

/// Reads all files to their end, or until `stop` is set, then takes `commits` until every shard has hung up.
///
/// # Errors
/// At once when a file is missing; at the end, with everything readable delivered, when one could not be read
/// to its end.
pub fn run(
    settings: &Settings,
    mut inlets: Inlets,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    status: &Status,
) -> Result<(), SourceError> {
    let outcome = check(settings).and_then(|()| {
        status.connected();
        read_all(settings, &mut inlets, commits, stop, status)
    });
    if let Err(error) = &outcome {
        status.error(error.to_string());
    }
    finish(inlets, Unseen::Forget, commits, stop, settings.drain, status);
    outcome
}

/// Gives out the lines of one file, plain or gzip, blank ones left out, until it ends or `more` says no; after that
/// it may still give out what was read already.
///
/// # Errors
/// When the file cannot be opened or read to where it stopped.
pub fn lines(path: &Path, line_max: usize, mut more: impl FnMut(Vec<u8>) -> bool) -> Result<(), SourceError> {
    let mut input = Input::new(path.to_owned(), false, line_max);
    let mut wanted = true;
    while wanted {
        match input.read(|_, line| wanted &= more(line))? {
            Piece::Some => {}
            Piece::NothingYet | Piece::End => break,
        }
    }
    Ok(())
}

/// A file being read.
struct Reading {
    lane: Lane,
    shard: usize,
    input: Input,
}

fn check(settings: &Settings) -> Result<(), SourceError> {
    for path in &settings.paths {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let error = std::io::ErrorKind::IsADirectory.into();
                return Err(SourceError::Open { path: path.clone(), error });
            }
            Err(error) if !settings.follow => return Err(SourceError::Open { path: path.clone(), error }),
            _ => {}
        }
    }
    Ok(())
}

fn read_all(
    settings: &Settings,
    inlets: &mut Inlets,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    status: &Status,
) -> Result<(), SourceError> {
    let mut waiting: VecDeque<PathBuf> = VecDeque::new();
    for path in &settings.paths {
        if !waiting.contains(path) {
            waiting.push_back(path.clone());
        }
    }
    let open_max = if settings.follow { usize::MAX } else { OPEN_MAX };
    let mut reading: Vec<Reading> = Vec::new();
    let mut first_error = None;
    while !stop.load(Ordering::Relaxed) {
        while reading.len() < open_max
            && let Some(path) = waiting.pop_front()
        {
            reading.push(begin(path, settings, inlets, status));
        }
        if reading.is_empty() && inlets.is_clear() {
            break;
        }
        let mut progress = false;
        let mut still = Vec::with_capacity(reading.len());
        for mut file in reading {
            if !inlets.is_shard_clear(file.shard) {
                still.push(file);
                continue;
            }
            let ended = match step(&mut file, inlets, status) {
                Ok(Step::Read) => (progress = true, None).1,
                Ok(Step::Nothing) => None,
                Ok(Step::Ended) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            };
            match ended {
                None => still.push(file),
                Some(result) => {
                    progress = true;
                    inlets
                        .push(file.shard, Action::Ended { lane: file.lane.clone(), generation: GENERATION });
                    inlets.leave(file.shard);
                    if let Err(error) = result {
                        tracing::error!(%error, "file ended early");
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        reading = still;
        // The next one first: of files that share a busy shard, the first would be the only one read.
        if !reading.is_empty() {
            reading.rotate_left(1);
        }
        while let Ok(commit) = commits.try_recv() {
            status.committed(&commit.lane, commit.offset);
        }
        rest(inlets, progress, status)?;
    }
    first_error.map_or(Ok(()), Err)
}

/// Waits for whom there is to wait for: a full shard, or the files.
fn rest(inlets: &mut Inlets, progress: bool, status: &Status) -> Result<(), SourceError> {
    inlets.pump()?;
    if progress {
        return Ok(());
    }
    if inlets.is_clear() {
        std::thread::sleep(REST);
        return Ok(());
    }
    status.paused(true);
    inlets.pump_for(REST)?;
    status.paused(false);
    Ok(())
}

fn begin(path: PathBuf, settings: &Settings, inlets: &mut Inlets, status: &Status) -> Reading {
    let lane = Lane { topic: Arc::from(path.to_string_lossy().as_ref()), partition: 0 };
    let shard = inlets.seat();
    inlets.push(
        shard,
        Action::Assigned { lane: lane.clone(), generation: GENERATION, live_from: 0, reading: None },
    );
    status.assigned(lane.clone(), LaneReport { generation: GENERATION, ..LaneReport::default() });
    Reading { lane, shard, input: Input::new(path, settings.follow, settings.line_max) }
}

enum Step {
    Read,
    Nothing,
    Ended,
}

fn step(file: &mut Reading, inlets: &mut Inlets, status: &Status) -> Result<Step, SourceError> {
    let mut records = Vec::new();
    let mut bytes = 0;
    let piece = file.input.read(|number, line| {
        bytes += line.len() as u64;
        // No clock: the same file gives the same alerts.
        records.push(record(&file.lane, number, Time(0), line));
    });
    status.read(&file.lane, file.input.number(), records.len() as u64, bytes);
    send_read(inlets, file.shard, &file.lane, GENERATION, records);
    Ok(match piece? {
        Piece::Some => Step::Read,
        Piece::NothingYet => Step::Nothing,
        Piece::End => Step::Ended,
    })
}
