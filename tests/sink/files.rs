//! The file sink against real files.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::bounded;
use outlierd::sink::{Acks, Outgoing, SinkError, file};

use super::{alert, provenance, reject};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outlierd-sink-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn to_file(settings: &file::Settings, all: Vec<Outgoing>) -> (Result<(), SinkError>, usize) {
    let (give, outgoing) = bounded(64);
    let (ack, acked) = bounded(64);
    for one in all {
        give.send(one).expect("room");
    }
    drop(give);
    (file::run(settings, &provenance(), outgoing, Acks::new(vec![ack]), Arc::default()), acked.len())
}

#[test]
fn files_get_a_line_each_and_a_torn_line_is_ended() {
    let folder = Folder::new("lines");
    let (path, dead) = (folder.0.join("alerts.jsonl"), folder.0.join("dead.jsonl"));
    std::fs::write(&path, "{\"torn\":").expect("written");
    let settings =
        file::Settings { path: path.clone(), dead_letters: Some(dead.clone()), message_max: 900_000 };
    let all = vec![alert(0, 1, None, b"x"), reject(2, b"\xff{".to_vec()), alert(0, 3, None, b"y")];
    let (result, acked) = to_file(&settings, all);
    result.expect("written");
    assert_eq!(acked, 3);
    let text = std::fs::read_to_string(&path).expect("there");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], text.ends_with('\n')), (3, "{\"torn\":", true));
    let ids = lines[1..].iter().map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
        json["cloudevent"]["id"].as_str().expect("id").to_owned()
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["logs-0-1", "logs-0-3"]);
    let letter: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&dead).expect("there")).expect("one line");
    assert_eq!((&letter["payload_base64"], &letter["offset"]), (&"/3s=".into(), &2.into()));
}

#[test]
fn a_folder_that_is_not_there_and_a_full_disk_are_errors_with_the_path() {
    let folder = Folder::new("errors");
    let path = folder.0.join("no/such/alerts.jsonl");
    let settings = |path| file::Settings { path, dead_letters: None, message_max: 900_000 };
    let (result, acked) = to_file(&settings(path.clone()), vec![alert(0, 1, None, b"x")]);
    let Err(error @ SinkError::Open { .. }) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert_eq!(acked, 0);
    let full = PathBuf::from("/dev/full");
    if full.exists() {
        let (result, acked) = to_file(&settings(full), vec![alert(0, 1, None, b"x")]);
        let Err(error @ SinkError::Write { .. }) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("/dev/full"), "{error}");
        assert_eq!(acked, 0);
    }
}
