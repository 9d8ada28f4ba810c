//! A web server for tests that does what it is told: real sockets, raw answers, and a record of what was asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// How many came before it.
    pub(crate) number: usize,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// First byte of the range that it asks for.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// The server's end of a connection.
pub(crate) struct Line {
    stream: TcpStream,
    over: Arc<AtomicBool>,
}

impl Line {
    /// Sends bytes as they are; a client that has gone is none of our business.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _gone = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// Sends a status line and headers.
    pub(crate) fn head(&mut self, status: &str, headers: &[(&str, &str)]) {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head = format!("{head}{name}: {value}\r\n");
        }
        self.send((head + "\r\n").as_bytes());
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self, status: &str, headers: &[(&str, &str)], body: &[u8]) {
        let length = body.len().to_string();
        let mut all = vec![("Content-Length", length.as_str())];
        all.extend(headers);
        self.head(status, &all);
        self.send(body);
    }

    /// The file as a good server gives it: from the byte asked for, if its mark is still the same.
    pub(crate) fn file(&mut self, request: &Request, etag: &str, body: &[u8]) {
        match request.from() {
            Some(from) if request.header("if-range") == Some(etag) && from < body.len() => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                self.answer(
                    "206 Partial Content",
                    &[("ETag", etag), ("Content-Range", &range)],
                    &body[from..],
                );
            }
            _ => self.answer("200 OK", &[("ETag", etag)], body),
        }
    }

    /// Says nothing until the test is over.
    pub(crate) fn stall(&self) {
        while !self.over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5));
        }
    }
}

/// A server on a free port of this machine; gone when dropped.
pub(crate) struct Web {
    pub(crate) url: String,
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    pub(crate) fn start(answer: impl Fn(&Request, &mut Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (answer, log, end) = (Arc::new(answer), Arc::clone(&asked), Arc::clone(&over));
        let serve = move || {
            let mut connections = Vec::new();
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (answer, log, over) = (Arc::clone(&answer), Arc::clone(&log), Arc::clone(&end));
                let connection = move || {
                    if let Some(request) = read(&stream, &log) {
                        answer(&request, &mut Line { stream, over });
                    }
                };
                connections.push(Builder::new().name("web".to_owned()).spawn(connection).unwrap());
            }
            for connection in connections {
                connection.join().unwrap();
            }
        };
        let thread = Builder::new().name("web".to_owned()).spawn(serve).unwrap();
        Self { url: format!("http://{address}"), address, asked, over, thread: Some(thread) }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the one that listens.
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server broke");
        }
    }
}

/// Reads one request; through a proxy's `CONNECT`, the one inside.
fn read(stream: &TcpStream, log: &Mutex<Vec<Request>>) -> Option<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut lines = BufReader::new(stream);
    loop {
        let mut first = String::new();
        lines.read_line(&mut first).ok()?;
        let mut words = first.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut log = log.lock().unwrap();
        let request = Request { number: log.len(), method, path, headers };
        log.push(request.clone());
        drop(log);
        if request.method != "CONNECT" {
            return Some(request);
        }
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    }
}
