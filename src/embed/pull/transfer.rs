//! One file over HTTP: asked for again, and gone on with, until it is whole or the server is given up. The only code
//! that knows ureq.
//!
//! Nothing that a server says is believed for long: lengths are counted, what a server sends from the middle must say
//! that it is the middle asked for, and in the end the digest decides. A server that brings next to nothing counts as
//! one that is silent.

mod ask;

use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use ureq::Body;
use ureq::http::{HeaderMap, header};

use self::ask::{Answer, Asker, text};
use super::address::shown;
use super::part::{self, Part};
use super::{PullError, Settings, Want, Watch};

/// Progress after which tries are counted anew: a line that breaks now and then must not end a long transfer, one that
/// brings a few bytes at a time must.
const PROGRESS: u64 = 1 << 20;
/// Bytes a second that a server has to bring, over the time that it may be silent.
const RATE_MIN: u64 = 1 << 10;
/// Bytes read at once, and pieces of that size that may wait to be written.
const PIECE: usize = 64 * 1024;
const WAITING: usize = 4;
/// The longest pause between tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What became of a file.
pub(super) enum Got {
    /// It is in the folder, whole, and has the digest asked for.
    File { sha256: String, bytes: u64 },
    /// No address has it.
    Missing(String),
}

/// Why a try ended.
enum Fault {
    /// Another may go better.
    Again(String),
    /// None will.
    Final(PullError),
}

impl From<PullError> for Fault {
    fn from(error: PullError) -> Self {
        Self::Final(error)
    }
}

/// How a try ended well.
enum Outcome {
    Whole,
    /// It is not at that address; with what was said instead, where that was not "not found".
    Missing(Option<PullError>),
}

/// Fetches files by one set of settings.
pub(super) struct Transfer<'a> {
    settings: &'a Settings,
    asker: Asker,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(settings: &'a Settings, watch: &mut dyn Watch) -> Self {
        let asker = Asker::new(settings);
        if let Some(warning) = asker.warning() {
            watch.trouble(&warning);
        }
        Self { settings, asker }
    }

    /// Fetches a file into `folder`, from the first of its addresses that has it.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or sends something else.
    pub(super) fn get(&self, want: &Want, folder: &Path, watch: &mut dyn Watch) -> Result<Got, PullError> {
        let place = folder.join(&want.name);
        if let Some(asked) = &want.sha256
            && let Ok((sha256, bytes)) = part::digest(&place)
            && sha256 == *asked
        {
            return Ok(Got::File { sha256, bytes });
        }
        let mut refusal = None;
        for url in &want.urls {
            let mut anew = false;
            loop {
                let part = match self.whole(want, folder, url, watch)? {
                    Ok(part) => part,
                    Err(said) => {
                        refusal = refusal.or(said);
                        break;
                    }
                };
                let (sha256, bytes) = (part.sha256(), part.bytes);
                match &want.sha256 {
                    Some(asked) if *asked != sha256 => {
                        let mut part = part;
                        part.begin(None, None)?;
                        if !anew {
                            // Perhaps two versions were put together: once more, from the first byte.
                            anew = true;
                            watch.trouble(&format!("{} has another digest; fetching it anew", want.name));
                            continue;
                        }
                        return Err(PullError::Wrong(format!(
                            "{} is not what was asked for: sha256 {sha256} where {asked} should be; nothing of it was \
                             kept",
                            want.name
                        )));
                    }
                    _ => part.finish(&place)?,
                }
                return Ok(Got::File { sha256, bytes });
            }
        }
        let looked: Vec<String> = want.urls.iter().map(|url| shown(url)).collect();
        match refusal {
            Some(refusal) if !want.optional => return Err(refusal),
            Some(refusal) => watch.trouble(&format!("{refusal}; it is optional and counts as missing")),
            None => {}
        }
        Ok(Got::Missing(format!("{} is not there: {}", want.name, looked.join(", "))))
    }

    /// Tries until the file is whole; or says why it is not at that address.
    fn whole(
        &self,
        want: &Want,
        folder: &Path,
        url: &str,
        watch: &mut dyn Watch,
    ) -> Result<Result<Part, Option<PullError>>, PullError> {
        let mut failures = 0;
        loop {
            let mut part = Part::open(folder, &want.name, url)?;
            let before = part.bytes;
            let why = match self.attempt(want, url, &mut part, watch) {
                Ok(Outcome::Whole) => return Ok(Ok(part)),
                Ok(Outcome::Missing(said)) => return Ok(Err(said)),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again(why)) => why,
            };
            if part.bytes >= before.saturating_add(PROGRESS) {
                failures = 0;
            }
            failures += 1;
            if failures >= self.settings.tries {
                let on = if part.bytes > 0 && part.note.etag.is_some() {
                    "what came is kept: run the same command again to go on"
                } else {
                    "run the same command again"
                };
                let what = format!("{} could not be fetched: {why}; {on}", want.name);
                return Err(PullError::Unavailable(what));
            }
            let pause = self.settings.pause.saturating_mul(1 << (failures - 1).min(16)).min(PAUSE_MAX);
            watch.trouble(&format!("{why}; trying again in {pause:?}"));
            thread::sleep(pause);
        }
    }

    /// One request, from where the part ends.
    fn attempt(
        &self,
        want: &Want,
        url: &str,
        part: &mut Part,
        watch: &mut dyn Watch,
    ) -> Result<Outcome, Fault> {
        if part.bytes > 0 && part.note.total == Some(part.bytes) {
            return Ok(Outcome::Whole);
        }
        let Answer { head, body, through } = self.asker.ask(url, part)?;
        let seen = format!("{}{through}", shown(url));
        match head.status.as_u16() {
            200 => {
                let total = number(&head.headers, header::CONTENT_LENGTH.as_str());
                part.begin(strong(&head.headers), total)?;
            }
            206 => {
                if let Err(why) = fits(&head.headers, part) {
                    part.begin(None, None)?;
                    return Err(Fault::Again(why));
                }
            }
            416 => {
                part.begin(None, None)?;
                return Err(Fault::Again("the server has no such part of the file".to_owned()));
            }
            404 | 410 => return Ok(Outcome::Missing(None)),
            // Many stores answer so for what they do not have.
            status @ (401 | 403) => {
                let what = format!("{} is refused ({status}): {seen}; is it open to everybody?", want.name);
                return Ok(Outcome::Missing(Some(PullError::Unavailable(what))));
            }
            status @ (408 | 425 | 429 | 500..=599) => {
                return Err(Fault::Again(format!("status {status} from {seen}")));
            }
            status => {
                let what = format!("{} cannot be had: status {status} from {seen}", want.name);
                return Err(Fault::Final(PullError::Unavailable(what)));
            }
        }
        let kind = text(&head.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        if kind.starts_with("text/html") {
            part.begin(None, None)?;
            let what =
                format!("{seen} is a web page, not {}; take the address of the file itself", want.name);
            return Ok(Outcome::Missing(Some(PullError::Wrong(what))));
        }
        if part.note.total.is_none() && want.sha256.is_none() {
            let what = format!(
                "the server does not say how long {} is, and without a digest nobody can tell whether it came whole; \
                 give --sha256 {}=DIGEST",
                want.name, want.name
            );
            return Err(Fault::Final(PullError::Unavailable(what)));
        }
        watch.begin(&want.name, part.bytes, part.note.total);
        match self.receive(want, part, body, watch) {
            Err(Fault::Again(why)) => Err(Fault::Again(format!("{why}{through}"))),
            received => received.map(|()| Outcome::Whole),
        }
    }

    /// Takes in the body, as long as something comes.
    fn receive(&self, want: &Want, part: &mut Part, body: Body, watch: &mut dyn Watch) -> Result<(), Fault> {
        let pieces = pieces(body.into_reader()).map_err(|error| Fault::Again(error.to_string()))?;
        let size_max = part.note.total.unwrap_or(u64::MAX).min(self.settings.size_max);
        if part.note.total.is_some_and(|total| total > self.settings.size_max) {
            return Err(too_large(want, self.settings.size_max));
        }
        let mut pace = Pace { since: now(), bytes: part.bytes, window: self.settings.stall };
        loop {
            match pieces.recv_timeout(self.settings.stall) {
                Ok(Ok(piece)) => {
                    if part.bytes + piece.len() as u64 > size_max {
                        part.begin(None, None)?;
                        return Err(too_large(want, size_max));
                    }
                    part.append(&piece)?;
                    watch.progress(part.bytes);
                    if let Some(why) = pace.too_slow(part.bytes, now())
                        && part.note.total != Some(part.bytes)
                    {
                        return Err(Fault::Again(cut(want, part, &why)));
                    }
                }
                Ok(Err(error)) => return Err(Fault::Again(cut(want, part, &error.to_string()))),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let silence = format!("nothing came for {:?}", self.settings.stall);
                    return Err(Fault::Again(cut(want, part, &silence)));
                }
            }
        }
        match part.note.total {
            Some(total) if total != part.bytes => Err(Fault::Again(cut(want, part, "the connection ended"))),
            _ => Ok(()),
        }
    }
}

/// How much comes in a window of time; the next begins when one ends.
struct Pace {
    since: Instant,
    bytes: u64,
    window: Duration,
}

impl Pace {
    /// Why what came in the window that has ended by `now` is too little.
    fn too_slow(&mut self, bytes: u64, now: Instant) -> Option<String> {
        let spent = now.saturating_duration_since(self.since);
        if spent < self.window {
            return None;
        }
        let rate = bytes.saturating_sub(self.bytes) as f64 / spent.as_secs_f64();
        (self.since, self.bytes) = (now, bytes);
        (rate < RATE_MIN as f64).then(|| {
            format!("only {rate:.0} bytes a second came for {:?} (at least {RATE_MIN} should)", self.window)
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "whether a server still brings anything is a matter of time")]
fn now() -> Instant {
    Instant::now()
}

fn wrong(what: String) -> Fault {
    Fault::Final(PullError::Wrong(what))
}

fn too_large(want: &Want, size: u64) -> Fault {
    wrong(format!("{} is larger than {size} bytes; nothing of it was kept", want.name))
}

fn cut(want: &Want, part: &Part, why: &str) -> String {
    let total = part.note.total.map_or_else(String::new, |total| format!(" of {total}"));
    format!("{why} after {}{total} bytes of {}", part.bytes, want.name)
}

/// Reads on a thread of its own: a read has no time limit of its own, and a server that falls silent must not keep us.
/// At most one such thread is left behind a try; it ends with its connection.
fn pieces(mut reader: impl Read + Send + 'static) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (send, pieces) = bounded(WAITING);
    thread::Builder::new().name("download".to_owned()).spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = reader.read(&mut piece);
            let over = matches!(read, Ok(0) | Err(_));
            let piece = match read {
                Ok(0) => return,
                Ok(read) => {
                    piece.truncate(read);
                    Ok(piece)
                }
                Err(error) => Err(error),
            };
            if send.send(piece).is_err() || over {
                return;
            }
        }
    })?;
    Ok(pieces)
}

/// Whether a partial answer is the part that was asked for.
fn fits(headers: &HeaderMap, part: &Part) -> Result<(), String> {
    let other = || "the server answered with another part than was asked for".to_owned();
    let range = text(headers, header::CONTENT_RANGE.as_str()).ok_or_else(other)?;
    let range = range.strip_prefix("bytes ").ok_or_else(other)?;
    let (range, total) = range.split_once('/').ok_or_else(other)?;
    let (first, last) = range.split_once('-').ok_or_else(other)?;
    let numbers = (first.parse::<u64>(), last.parse::<u64>(), total.parse::<u64>());
    let (Ok(first), Ok(last), Ok(total)) = numbers else { return Err(other()) };
    if first != part.bytes || last.checked_add(1) != Some(total) {
        return Err(other());
    }
    let changed = part.note.total.is_some_and(|before| before != total)
        || strong(headers).is_some_and(|etag| part.note.etag.as_ref() != Some(&etag));
    if changed { Err("the file has changed since the last try".to_owned()) } else { Ok(()) }
}

/// The server's mark of this version, if equal marks mean equal bytes (RFC 9110, section 8.8.3).
fn strong(headers: &HeaderMap) -> Option<String> {
    text(headers, header::ETAG.as_str()).filter(|etag| etag.starts_with('"') && etag.len() < 1_000)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_taken_over_whole_windows() {
        let (begun, second) = (now(), Duration::from_secs(1));
        let mut pace = Pace { since: begun, bytes: 100, window: second * 30 };
        assert_eq!(pace.too_slow(101, begun + second * 29), None, "the window is not over");
        let why = pace.too_slow(160, begun + second * 30).unwrap();
        assert_eq!(why, "only 2 bytes a second came for 30s (at least 1024 should)");
        assert_eq!(pace.too_slow(160 + 30 * 1024, begun + second * 60), None);
        assert_eq!(pace.too_slow(160 + 30 * 1024, begun + second * 61), None, "another has begun");
    }
}
