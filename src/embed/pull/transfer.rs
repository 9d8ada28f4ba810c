//! One file over HTTP: asked for again, and gone on with, until it is whole or the server is given up. The only code
//! that knows ureq.
//!
//! Nothing that a server says is believed for long: lengths are counted, what a server sends from the middle must say
//! that it is the middle asked for, and in the end the digest decides. Redirects are followed here, one at a time,
//! because each of them has to be allowed: never from https to http, never on for ever.

use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use ureq::http::{HeaderMap, Uri, header};
use ureq::{Agent, Body, http};

use super::part::{self, Part};
use super::{PullError, Settings, Want, Watch};

/// Progress after which tries are counted anew: a line that breaks now and then must not end a long transfer, one that
/// brings a few bytes at a time must.
const PROGRESS: u64 = 1 << 20;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(15);
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
    Missing,
}

/// Fetches files by one set of settings.
pub(super) struct Transfer<'a> {
    settings: &'a Settings,
    agent: Agent,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("outlierd/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(settings.stall));
        #[cfg(feature = "tls")]
        let config = config.tls_config(
            ureq::tls::TlsConfig::builder()
                .provider(ureq::tls::TlsProvider::NativeTls)
                .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                .build(),
        );
        let config = if settings.proxies { config } else { config.proxy(None) };
        Self { settings, agent: config.build().into() }
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
        for url in &want.urls {
            let mut anew = false;
            loop {
                let Some(part) = self.whole(want, folder, url, watch)? else { break };
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
        Ok(Got::Missing(format!("{} is not there: {}", want.name, want.urls.join(", "))))
    }

    /// Tries until the file is whole; `None` when it is not at that address.
    fn whole(
        &self,
        want: &Want,
        folder: &Path,
        url: &str,
        watch: &mut dyn Watch,
    ) -> Result<Option<Part>, PullError> {
        let mut failures = 0;
        loop {
            let mut part = Part::open(folder, &want.name, url)?;
            let before = part.bytes;
            let why = match self.attempt(want, &mut part, watch) {
                Ok(Outcome::Whole) => return Ok(Some(part)),
                Ok(Outcome::Missing) => return Ok(None),
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
    fn attempt(&self, want: &Want, part: &mut Part, watch: &mut dyn Watch) -> Result<Outcome, Fault> {
        if part.bytes > 0 && part.note.total == Some(part.bytes) {
            return Ok(Outcome::Whole);
        }
        let url = part.note.url.clone();
        let response = self.ask(&url, part)?;
        let (head, body) = response.into_parts();
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
            404 | 410 => return Ok(Outcome::Missing),
            status @ (401 | 403) => {
                let what = format!("{} is refused ({status}): {url}; is it open to everybody?", want.name);
                return Err(Fault::Final(PullError::Unavailable(what)));
            }
            status @ (408 | 425 | 429 | 500..=599) => {
                return Err(Fault::Again(format!("the server answered with status {status}")));
            }
            status => {
                let what = format!("{} cannot be had: status {status} from {url}", want.name);
                return Err(Fault::Final(PullError::Unavailable(what)));
            }
        }
        let kind = text(&head.headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        if kind.starts_with("text/html") {
            part.begin(None, None)?;
            let what = format!("{url} is a web page, not {}; take the address of the file itself", want.name);
            return Err(Fault::Final(PullError::Wrong(what)));
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
        self.receive(want, part, body, watch)?;
        Ok(Outcome::Whole)
    }

    /// Takes in the body, as long as something comes.
    fn receive(&self, want: &Want, part: &mut Part, body: Body, watch: &mut dyn Watch) -> Result<(), Fault> {
        let pieces = pieces(body.into_reader()).map_err(|error| Fault::Again(error.to_string()))?;
        let size_max = part.note.total.unwrap_or(u64::MAX).min(self.settings.size_max);
        if part.note.total.is_some_and(|total| total > self.settings.size_max) {
            return Err(too_large(want, self.settings.size_max));
        }
        loop {
            match pieces.recv_timeout(self.settings.stall) {
                Ok(Ok(piece)) => {
                    if part.bytes + piece.len() as u64 > size_max {
                        part.begin(None, None)?;
                        return Err(too_large(want, size_max));
                    }
                    part.append(&piece)?;
                    watch.progress(part.bytes);
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

    /// Asks for the rest of the file, through redirects.
    fn ask(&self, url: &str, part: &Part) -> Result<http::Response<Body>, Fault> {
        let mut at = self.allowed(url, None)?;
        for _ in 0..=self.settings.redirects_max {
            let mut request = self.agent.get(at.clone()).header(header::ACCEPT_ENCODING, "identity");
            if let Some(etag) = part.note.etag.as_ref().filter(|_| part.bytes > 0) {
                request = request
                    .header(header::RANGE, format!("bytes={}-", part.bytes))
                    .header(header::IF_RANGE, etag);
            }
            let response = request.call().map_err(|error| refused(&at, &error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = text(response.headers(), header::LOCATION.as_str())
                .ok_or_else(|| wrong(format!("{at} redirects without saying where to")))?;
            at = self.allowed(&join(&at, &location), Some(&at))?;
        }
        Err(wrong(format!("{url} redirects more than {} times", self.settings.redirects_max)))
    }

    /// The address, if it may be asked.
    fn allowed(&self, url: &str, from: Option<&Uri>) -> Result<Uri, Fault> {
        let asked = |what: String| Fault::Final(PullError::Asked(what));
        let uri: Uri = url.parse().map_err(|error| asked(format!("not a web address: {url}: {error}")))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(asked(format!("not a web address: {url}; begin it with https://")));
        };
        if authority.as_str().contains('@') {
            return Err(asked("an address must not carry a user or password".to_owned()));
        }
        match scheme {
            "https" => Ok(uri),
            "http" if from.is_some_and(|from| from.scheme_str() == Some("https")) => {
                Err(wrong(format!("a redirect leads from https to {url}")))
            }
            "http" if self.settings.insecure_http || is_loopback(authority.host()) => Ok(uri),
            "http" => Err(asked(format!("{url} is not encrypted; use https, or --insecure-http"))),
            other => Err(asked(format!("{other} is not supported: {url}; use https"))),
        }
    }
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

/// Why no answer came, and whether another try may bring one.
fn refused(at: &Uri, error: &ureq::Error) -> Fault {
    let host = at.host().unwrap_or_default();
    let what = format!("cannot ask {host}: {error}");
    let certificate = what.to_ascii_lowercase().contains("certificate");
    let unknown = matches!(error, ureq::Error::HostNotFound)
        || what.contains("lookup address information") && !what.contains("Temporary failure");
    match error {
        _ if unknown => Fault::Final(PullError::Unavailable(format!(
            "{what}; where only a proxy leads out, set HTTPS_PROXY"
        ))),
        _ if certificate => Fault::Final(PullError::Unavailable(format!(
            "{what}; where a proxy has a certificate of its own, name its file in SSL_CERT_FILE"
        ))),
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_)
        | ureq::Error::ConnectProxyFailed(_) => Fault::Again(what),
        _ => Fault::Final(PullError::Unavailable(what)),
    }
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

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name).and_then(|text| text.parse().ok())
}

/// Where a redirect leads (RFC 3986, section 5.2, as far as servers use it).
fn join(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("https");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    if location.contains("://") && !location.starts_with(['/', '?']) {
        return location.to_owned();
    }
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{authority}{folder}/{location}")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, from: Option<&str>) -> Result<(), String> {
        let settings = Settings::default();
        let from = from.map(|from| from.parse().unwrap());
        match Transfer::new(&settings).allowed(url, from.as_ref()) {
            Ok(_) => Ok(()),
            Err(Fault::Final(error)) => Err(error.to_string()),
            Err(Fault::Again(why)) => panic!("{why}"),
        }
    }

    #[test]
    fn only_what_is_encrypted_or_stays_here_is_asked() {
        assert_eq!(checked("https://host/a", None), Ok(()));
        for here in ["http://localhost:1/a", "http://127.0.0.9/a", "http://[::1]:2/a"] {
            assert_eq!(checked(here, None), Ok(()), "{here}");
        }
        for (url, why) in [
            ("http://host/a", "not encrypted"),
            ("http://127.0.0.1.example/a", "not encrypted"),
            ("ftp://host/a", "not supported"),
            ("https://user:word@host/a", "must not carry"),
            ("host/a", "not a web address"),
            ("", "not a web address"),
        ] {
            let said = checked(url, None).unwrap_err();
            assert!(said.contains(why), "{url}: {said}");
        }
        assert!(checked("http://127.0.0.1/a", Some("https://host/b")).unwrap_err().contains("from https"));
    }

    #[test]
    fn redirects_lead_where_servers_mean() {
        let base: Uri = "https://host:8/a/b?c=d".parse().unwrap();
        for (location, url) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "https://other/x"),
            ("/x?y=https://z", "https://host:8/x?y=https://z"),
            ("x", "https://host:8/a/x"),
        ] {
            assert_eq!(join(&base, location), url);
        }
    }
}
