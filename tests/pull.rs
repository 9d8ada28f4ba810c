//! Fetching a model from a server that cuts, stalls and lies: what is wrong never gets a name, what was cut goes on.

mod answers;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use outlierd::embed::pull::{self, PullError, Pulled, Settings, Want, Watch};
use sha2::{Digest as _, Sha256};

use crate::command::Folder;
use crate::web::{Line, Request, Web};

pub(crate) const ETAG: &str = "\"first\"";
pub(crate) const TOKENIZER: &[u8] = br#"{"model":{"type":"WordLevel"}}"#;

/// A graph's first byte, and 300 000 more that no two of are alike for long.
pub(crate) fn model(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = vec![8];
    while bytes.len() < 300_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend(state.to_be_bytes());
    }
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Remembers what it is told.
#[derive(Default)]
struct Told(Vec<String>);

impl Watch for Told {
    fn begin(&mut self, name: &str, there: u64, total: Option<u64>) {
        self.0.push(format!("{name} from {there} of {total:?}"));
    }

    fn progress(&mut self, _: u64) {}

    fn trouble(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
}

fn want(web: &Web, name: &str, bytes: &[u8]) -> Want {
    Want {
        name: name.to_owned(),
        urls: vec![format!("{}/{name}", web.url)],
        sha256: Some(sha256(bytes)),
        optional: false,
    }
}

fn settings(folder: &Folder, files: Vec<Want>) -> Settings {
    Settings {
        folder: folder.0.join("minilm"),
        files,
        proxies: false,
        stall: Duration::from_millis(400),
        tries: 4,
        pause: Duration::from_millis(1),
        ..Settings::default()
    }
}

/// Fetches model.onnx, whose right bytes are `model(1)`.
fn fetch(web: &Web, folder: &Folder) -> (Result<Vec<Pulled>, PullError>, Vec<String>) {
    let mut told = Told::default();
    let settings = settings(folder, vec![want(web, "model.onnx", &model(1))]);
    (pull::pull(&settings, &mut told), told.0)
}

/// It is in place, right, and nothing else is left.
fn in_place(folder: &Folder) {
    let found = fs::read(folder.0.join("minilm/model.onnx")).unwrap();
    assert_eq!(sha256(&found), sha256(&model(1)));
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["minilm"]);
    let sums = fs::read_to_string(folder.0.join("minilm/SHA256SUMS")).unwrap();
    assert_eq!(sums, format!("{}  model.onnx\n", sha256(&model(1))));
}

/// Nothing has its name.
fn not_there(folder: &Folder) {
    assert!(!folder.0.join("minilm").exists());
    assert!(!folder.0.join("minilm.part/model.onnx").exists());
}

fn wrong(outcome: Result<Vec<Pulled>, PullError>) -> String {
    match outcome {
        Err(PullError::Wrong(why)) => why,
        other => panic!("should be wrong: {other:?}"),
    }
}

fn unavailable(outcome: Result<Vec<Pulled>, PullError>) -> String {
    match outcome {
        Err(PullError::Unavailable(why)) => why,
        other => panic!("should be unavailable: {other:?}"),
    }
}

fn asked(outcome: Result<Vec<Pulled>, PullError>) -> String {
    match outcome {
        Err(PullError::Asked(why)) => why,
        other => panic!("should be asked for wrongly: {other:?}"),
    }
}

/// Sends the head for all of the body, and less of it.
pub(crate) fn cut(line: &mut Line, body: &[u8], sent: usize) {
    line.head("200 OK", &[("Content-Length", &body.len().to_string()), ("ETag", ETAG)]);
    line.send(&body[..sent]);
}

#[test]
fn a_transfer_that_is_cut_goes_on_where_it_ended() {
    let body = model(1);
    let web = Web::start(move |request, line| match request.number {
        0 => cut(line, &body, 70_000),
        1 => {
            let range = format!("bytes 70000-{}/{}", body.len() - 1, body.len());
            line.head(
                "206 Partial Content",
                &[
                    ("ETag", ETAG),
                    ("Content-Range", &range),
                    ("Content-Length", &(body.len() - 70_000).to_string()),
                ],
            );
            line.send(&body[70_000..200_000]);
        }
        _ => line.file(request, ETAG, &body),
    });
    let folder = Folder::new();
    let (outcome, told) = fetch(&web, &folder);
    assert_eq!(outcome.unwrap()[0].bytes, model(1).len() as u64, "{told:?}");
    let asked = web.asked();
    assert_eq!(asked.iter().map(Request::from).collect::<Vec<_>>(), [None, Some(70_000), Some(200_000)]);
    assert_eq!(asked[1].header("if-range"), Some(ETAG));
    in_place(&folder);
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let body = model(1);
    let web = Web::start(move |request, line| match request.number {
        0 => line.stall(),
        1 => {
            cut(line, &body, 100_000);
            line.stall();
        }
        _ => line.file(request, ETAG, &body),
    });
    let folder = Folder::new();
    let (outcome, told) = fetch(&web, &folder);
    outcome.unwrap();
    assert!(told.iter().any(|what| what.starts_with("nothing came for 400ms after")), "{told:?}");
    assert_eq!(web.asked()[2].from(), Some(100_000));
    in_place(&folder);
}

#[test]
fn a_slow_server_is_waited_for() {
    let body = model(1);
    let web = Web::start(move |_, line| {
        line.head("200 OK", &[("Content-Length", &body.len().to_string())]);
        for piece in body.chunks(10_000) {
            line.send(piece);
            sleep(Duration::from_millis(5));
        }
    });
    let folder = Folder::new();
    fetch(&web, &folder).0.unwrap();
    assert_eq!(web.asked().len(), 1);
    in_place(&folder);
}

#[test]
fn a_server_that_begins_anew_is_followed() {
    // It does not know ranges; the file has changed; it has no such part; it sends another part than was asked for.
    let liars: [fn(&Request, &mut Line, &[u8]); 4] = [
        |_, line, body| line.answer("200 OK", &[("ETag", ETAG)], body),
        |_, line, body| line.answer("200 OK", &[("ETag", "\"second\"")], body),
        |_, line, _| line.answer("416 Range Not Satisfiable", &[("Content-Range", "bytes */5")], b""),
        |_, line, body| {
            let range = format!("bytes 0-{}/{}", body.len() - 1, body.len());
            line.answer("206 Partial Content", &[("ETag", ETAG), ("Content-Range", &range)], body);
        },
    ];
    for (number, liar) in liars.into_iter().enumerate() {
        let (old, new) = (model(2), model(1));
        let web = Web::start(move |request, line| match request.number {
            0 => cut(line, &old, 123_456),
            1 => liar(request, line, &new),
            _ => line.file(request, ETAG, &new),
        });
        let folder = Folder::new();
        let (outcome, told) = fetch(&web, &folder);
        assert!(outcome.is_ok(), "{number}: {outcome:?} {told:?}");
        assert_eq!(web.asked()[1].from(), Some(123_456), "{number}");
        in_place(&folder);
    }
}

#[test]
fn two_versions_put_together_are_found_out_and_fetched_anew() {
    let (old, new) = (model(2), model(1));
    // The mark is the same although the bytes are not.
    let web = Web::start(move |request, line| match request.number {
        0 => cut(line, &old, 50_000),
        _ => line.file(request, ETAG, &new),
    });
    let folder = Folder::new();
    let (outcome, told) = fetch(&web, &folder);
    outcome.unwrap();
    assert!(told.iter().any(|what| what.contains("another digest")), "{told:?}");
    assert_eq!(web.asked().iter().map(Request::from).collect::<Vec<_>>(), [None, Some(50_000), None]);
    in_place(&folder);
}

#[test]
fn wrong_bytes_are_never_kept() {
    let web = Web::start(|request, line| line.file(request, ETAG, &model(3)));
    let folder = Folder::new();
    let why = wrong(fetch(&web, &folder).0);
    assert!(why.contains("is not what was asked for") && why.contains(&sha256(&model(3))), "{why}");
    assert_eq!(web.asked().len(), 2, "once more from the first byte, and no more");
    not_there(&folder);
}

#[test]
fn a_file_shorter_than_was_said_is_given_up_and_gone_on_with_later() {
    let body = model(1);
    let patient = AtomicUsize::new(0);
    let web = Web::start(move |request, line| {
        if patient.fetch_add(1, Ordering::Relaxed) < 4 {
            match request.from() {
                // Says more than it sends, each time.
                Some(from) => {
                    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                    let length = (body.len() - from).to_string();
                    line.head(
                        "206 Partial Content",
                        &[("ETag", ETAG), ("Content-Range", &range), ("Content-Length", &length)],
                    );
                }
                None => cut(line, &body, 1_000),
            }
        } else {
            line.file(request, ETAG, &body);
        }
    });
    let folder = Folder::new();
    let why = unavailable(fetch(&web, &folder).0);
    assert!(why.contains("run the same command again to go on"), "{why}");
    not_there(&folder);
    fetch(&web, &folder).0.unwrap();
    assert_eq!(web.asked()[4].from(), Some(1_000));
    in_place(&folder);
}

#[test]
fn troubles_of_the_server_pass_and_refusals_do_not() {
    let body = model(1);
    let web = Web::start(move |request, line| match request.number {
        0 => line.answer("503 Service Unavailable", &[], b"later"),
        1 => line.answer("429 Too Many Requests", &[], b"later"),
        // No answer at all.
        2 => {}
        _ => line.file(request, ETAG, &body),
    });
    let folder = Folder::new();
    fetch(&web, &folder).0.unwrap();
    in_place(&folder);
    for (status, why) in [("404 Not Found", "is not there"), ("403 Forbidden", "is refused (403)")] {
        let web = Web::start(move |_, line| line.answer(status, &[], b"no"));
        let folder = Folder::new();
        let said = unavailable(fetch(&web, &folder).0);
        assert!(said.contains(why), "{said}");
        assert_eq!(web.asked().len(), 1);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing came, nothing is left");
    }
}

#[test]
fn redirects_are_followed_while_they_lead_somewhere() {
    let body = model(1);
    let web = Web::start(move |request, line| match request.path.as_str() {
        "/model.onnx" => line.answer("302 Found", &[("Location", "/cache/1?signed=yes")], b""),
        "/cache/1?signed=yes" => line.answer("307 Temporary Redirect", &[("Location", "blob")], b""),
        _ => line.file(request, ETAG, &body),
    });
    let folder = Folder::new();
    fetch(&web, &folder).0.unwrap();
    let paths: Vec<String> = web.asked().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/model.onnx", "/cache/1?signed=yes", "/cache/blob"]);
    in_place(&folder);

    let web = Web::start(|_, line| line.answer("302 Found", &[("Location", "/model.onnx")], b""));
    let folder = Folder::new();
    assert!(wrong(fetch(&web, &folder).0).contains("redirects more than 8 times"));
    assert_eq!(web.asked().len(), 9);
    not_there(&folder);

    let web = Web::start(|_, line| {
        line.answer("302 Found", &[("Location", "http://models.invalid/model.onnx")], b"");
    });
    let outcome = fetch(&web, &Folder::new()).0;
    let why = asked(outcome);
    assert!(why.contains("redirects to plain http: http://models.invalid/model.onnx"), "{why}");
    assert!(why.contains("allow it with --insecure-http"), "{why}");
}

#[test]
fn what_is_no_model_is_refused_even_on_trust() {
    let answers: [(&str, &[u8], &str); 4] = [
        ("text/html; charset=utf-8", b"<!DOCTYPE html><p>Log in", "is a web page"),
        ("application/octet-stream", b"<html>Log in</html>", "is a web page"),
        ("text/plain", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "pointer of Git LFS"),
        ("application/octet-stream", b"", "is empty"),
    ];
    for (kind, body, why) in answers {
        let web = Web::start(move |_, line| line.answer("200 OK", &[("Content-Type", kind)], body));
        let folder = Folder::new();
        let files = vec![Want { sha256: None, ..want(&web, "model.onnx", b"") }];
        let settings = Settings { trust: true, ..settings(&folder, files) };
        let said = wrong(pull::pull(&settings, &mut Told::default()));
        assert!(said.contains(why), "{said}");
        not_there(&folder);
    }
}

#[test]
fn sizes_have_a_bound_and_trust_needs_a_length() {
    let endless = |said: bool| {
        Web::start(move |_, line: &mut Line| {
            let length: &[(&str, &str)] = if said { &[("Content-Length", "900000")] } else { &[] };
            line.head("200 OK", length);
            for _ in 0..9 {
                line.send(&vec![8; 100_000]);
            }
        })
    };
    for said in [true, false] {
        let web = endless(said);
        let folder = Folder::new();
        let files = vec![want(&web, "model.onnx", &model(1))];
        let settings = Settings { size_max: 500_000, ..settings(&folder, files) };
        let why = wrong(pull::pull(&settings, &mut Told::default()));
        assert!(why.contains("larger than 500000 bytes"), "{why}");
        not_there(&folder);
    }
    let web = endless(false);
    let folder = Folder::new();
    let files = vec![Want { sha256: None, ..want(&web, "model.onnx", b"") }];
    let trusting = Settings { trust: true, ..settings(&folder, files) };
    let why = unavailable(pull::pull(&trusting, &mut Told::default()));
    assert!(why.contains("does not say how long"), "{why}");
    not_there(&folder);
}

#[test]
fn a_folder_appears_only_when_all_of_its_files_are_right() {
    let right = AtomicUsize::new(0);
    let web = Web::start(move |request, line| match request.path.as_str() {
        "/model.onnx" => line.file(request, ETAG, &model(1)),
        _ if right.fetch_add(1, Ordering::Relaxed) < 2 => line.file(request, ETAG, b"{\"model\":0}"),
        _ => line.file(request, ETAG, TOKENIZER),
    });
    let folder = Folder::new();
    let files = vec![want(&web, "model.onnx", &model(1)), want(&web, "tokenizer.json", TOKENIZER)];
    let settings =
        Settings { pooling: Some(outlierd::embed::pooling::Pooling::Cls), ..settings(&folder, files) };
    assert!(wrong(pull::pull(&settings, &mut Told::default())).contains("tokenizer.json is not what"));
    assert!(!folder.0.join("minilm").exists());
    let files = pull::pull(&settings, &mut Told::default()).unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["model.onnx", "tokenizer.json", "1_Pooling/config.json"]);
    let fetched = web.asked().iter().filter(|request| request.path == "/model.onnx").count();
    assert_eq!(fetched, 1, "what is right is not fetched again");
    let opened = outlierd::embed::models::Folder::open(&settings.folder).unwrap();
    assert_eq!(opened.pooling, Some(outlierd::embed::pooling::Pooling::Cls));

    // Again: nothing is fetched. Another model there: it is left alone.
    let before = web.asked().len();
    pull::pull(&settings, &mut Told::default()).unwrap();
    assert_eq!(web.asked().len(), before);
    fs::write(settings.folder.join("model.onnx"), b"mine").unwrap();
    assert!(asked(pull::pull(&settings, &mut Told::default())).contains("is not this model"));
    assert_eq!(fs::read(settings.folder.join("model.onnx")).unwrap(), b"mine");
}

#[test]
fn two_pulls_at_once_do_not_mix() {
    let refused = Arc::new(AtomicBool::new(false));
    let (body, go_on) = (model(1), Arc::clone(&refused));
    let web = Web::start(move |_, line| {
        cut(line, &body, 1_000);
        // Until the other pull has been refused, this one is on its way.
        while !go_on.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(1));
        }
        line.send(&body[1_000..]);
    });
    let folder = Folder::new();
    let files = vec![want(&web, "model.onnx", &model(1))];
    let settings = Settings { stall: Duration::from_secs(60), ..settings(&folder, files) };
    let outcomes = std::thread::scope(|scope| {
        let first = scope.spawn(|| pull::pull(&settings, &mut Told::default()));
        while web.asked().is_empty() {
            sleep(Duration::from_millis(1));
        }
        let second = pull::pull(&settings, &mut Told::default());
        refused.store(true, Ordering::Relaxed);
        [first.join().unwrap(), second]
    });
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    let [_, second] = outcomes;
    assert!(unavailable(second).contains("another pull"));
    in_place(&folder);
}
