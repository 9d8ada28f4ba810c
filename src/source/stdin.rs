//! Standard input as one lane, a line a record.
//!
//! A thread of its own sits in the blocking read and hands pieces over a bounded queue, so that the source stops
//! promptly even while nobody writes. That thread is left behind then: nothing can wake it, and it holds
//! nothing. It must never be joined.
//!
//! A pipe cannot be read again, so what was taken from it before the stop is passed on, a started line too.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::lines::{Lines, record};
use super::{Inlets, LaneReport, SourceError, Status, Unseen, finish, send_read};
use crate::flow::{Lane, Time};
use crate::pipeline::{Action, Commit};

/// How to read it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of a line above which it is cut, so that it is refused as too large.
    pub line_max: usize,
    /// How long to wait for the shards once told to stop.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { line_max: 16 << 20, drain: Duration::from_secs(20) }
    }
}

/// Milliseconds since 1970 by this machine's clock.
#[expect(clippy::disallowed_methods, reason = "a pipe is live: its lines happen when they come")]
fn wall_clock() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

const GENERATION: u64 = 1;

/// Bytes a piece, and pieces between the reading thread and the source.
const PIECE: usize = 64 << 10;
const PIECES: usize = 4;

/// How often the source looks whether it should stop.
const LOOK: Duration = Duration::from_millis(50);

/// Reads standard input to its end, or until `stop` is set, then takes `commits` until every shard has hung up.
///
/// # Errors
/// When reading fails; what came before was delivered.
pub fn run(
    settings: &Settings,
    inlets: Inlets,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    status: &Status,
) -> Result<(), SourceError> {
    read_from(std::io::stdin(), settings, inlets, commits, stop, status)
}

/// As [`run`], from any stream; the lane's topic is `stdin` all the same.
///
/// # Errors
/// As [`run`].
pub fn read_from(
    reader: impl Read + Send + 'static,
    settings: &Settings,
    mut inlets: Inlets,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    status: &Status,
) -> Result<(), SourceError> {
    let outcome = start(reader).and_then(|pipe| {
        status.connected();
        read_all(&pipe, settings, &mut inlets, commits, stop, status)
    });
    if let Err(error) = &outcome {
        status.error(error.to_string());
    }
    finish(inlets, Unseen::Keep, commits, stop, settings.drain, status);
    outcome
}

type Piece = std::io::Result<Vec<u8>>;

/// The source's end of the reading thread.
struct Pipe {
    pieces: Receiver<Piece>,
    /// Tells the thread to take no more.
    closed: Arc<AtomicBool>,
}

fn start(reader: impl Read + Send + 'static) -> Result<Pipe, SourceError> {
    let (sender, pieces) = crossbeam_channel::bounded(PIECES);
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || hand_over(reader, &sender, &seen))
        .map_err(SourceError::Thread)?;
    Ok(Pipe { pieces, closed })
}

fn hand_over(mut reader: impl Read, sender: &Sender<Piece>, closed: &AtomicBool) {
    let mut buffer = vec![0; PIECE];
    while !closed.load(Ordering::Relaxed) {
        let piece = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(buffer.get(..count).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if sender.send(piece).is_err() || failed {
            return;
        }
    }
}

fn read_all(
    pipe: &Pipe,
    settings: &Settings,
    inlets: &mut Inlets,
    commits: &Receiver<Commit>,
    stop: &AtomicBool,
    status: &Status,
) -> Result<(), SourceError> {
    let lane = Lane { topic: Arc::from("stdin"), partition: 0 };
    let shard = inlets.seat();
    inlets.push(
        shard,
        Action::Assigned { lane: lane.clone(), generation: GENERATION, live_from: 0, reading: None },
    );
    status.assigned(lane.clone(), LaneReport { generation: GENERATION, ..LaneReport::default() });
    let mut lines = Lines::new(settings.line_max);
    let (mut total, mut outcome, mut ended) = (0, Ok(()), false);
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        while let Ok(commit) = commits.try_recv() {
            status.committed(&commit.lane, commit.offset);
        }
        if stopping {
            // What the thread has at hand is still taken, without waiting for the shards.
            pipe.closed.store(true, Ordering::Relaxed);
        } else {
            inlets.pump()?;
            if !inlets.is_clear() {
                status.paused(true);
                inlets.pump_for(LOOK)?;
                continue;
            }
        }
        status.paused(false);
        if ended {
            break;
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        // Within a look of when it comes: near enough for a line that does not say when it happened.
        let time = wall_clock();
        let mut emit = |number, line: Vec<u8>| {
            bytes += line.len() as u64;
            records.push(record(&lane, number, time, line));
        };
        match pipe.pieces.recv_timeout(LOOK) {
            Ok(Ok(piece)) => {
                total += piece.len() as u64;
                lines.feed(&piece, &mut emit);
            }
            Ok(Err(error)) => {
                outcome = Err(SourceError::Read { path: "stdin".into(), position: total, error });
                ended = true;
            }
            Err(RecvTimeoutError::Timeout) if !stopping => {}
            Err(_) => {
                lines.finish(&mut emit);
                ended = true;
            }
        }
        status.read(&lane, lines.number(), records.len() as u64, bytes);
        send_read(inlets, shard, &lane, GENERATION, records);
        if ended {
            inlets.push(shard, Action::Ended { lane: lane.clone(), generation: GENERATION });
        }
    }
    outcome
}
