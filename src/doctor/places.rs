//! Files and folders that are read and written, and the port that is listened on.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::Check;
use crate::config::{Config, SinkConfig, SourceConfig};

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    if let SourceConfig::File(settings) = &config.source {
        checks.extend(settings.paths.iter().map(|path| readable(path)));
    }
    match &config.sink {
        SinkConfig::File(settings) => {
            checks.push(writable("alerts", &settings.path, "sink.path"));
            checks.extend(dead_letters(settings.dead_letters.as_deref()));
        }
        SinkConfig::Stdout(settings) => checks.extend(dead_letters(settings.dead_letters.as_deref())),
        SinkConfig::Kafka(_) => {}
    }
    checks.extend(config.admin.map(listens));
    checks
}

fn readable(path: &Path) -> Check {
    let name = format!("input {}", path.display());
    let about = fs::metadata(path);
    if about.as_ref().is_ok_and(|about| !about.is_dir() && !about.is_file()) {
        return Check::skipped(&name, "a pipe or a device: opening it would wait, or take from it");
    }
    match about.and_then(|_| File::open(path)?.metadata()) {
        Ok(about) if about.is_dir() => Check::fail(&name, "is a folder", "name files in [source] paths"),
        Ok(about) => Check::ok(&name, format!("{} bytes", about.len())),
        Err(error) => {
            Check::fail(&name, error.to_string(), "correct [source] paths, or let this user read it")
        }
    }
}

fn dead_letters(path: Option<&Path>) -> Option<Check> {
    path.map(|path| writable("dead letters", path, "sink.dead_letter_path"))
}

/// Whether a file can be appended to, or made where it is not there; nothing is left behind.
fn writable(name: &str, path: &Path, key: &str) -> Check {
    let remedy = format!("make the folder and let this user write there, or correct {key}");
    let there = fs::metadata(path);
    if there.as_ref().is_ok_and(|about| !about.is_dir() && !about.is_file()) {
        return Check::skipped(
            name,
            format!("{} is a pipe or a device: opening it would wait", path.display()),
        );
    }
    let there = there.is_ok();
    let target = if there { path.to_owned() } else { trial(path) };
    let opened = OpenOptions::new().append(true).create(!there).open(&target);
    if !there && opened.is_ok() {
        let _gone_already = fs::remove_file(&target);
    }
    match opened {
        Ok(_) => Check::ok(name, format!("{} can be written to", path.display())),
        Err(error) => Check::fail(name, format!("{} cannot be written to: {error}", path.display()), remedy),
    }
}

/// A name beside the file that nobody uses.
fn trial(path: &Path) -> std::path::PathBuf {
    path.with_file_name(format!(".outlierd-doctor-{}", std::process::id()))
}

fn listens(address: SocketAddr) -> Check {
    let name = "admin address";
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Check::warn(
            name,
            format!("{address} is taken"),
            "well if outlierd runs already (outlierd health asks it); else set [admin] listen to another",
        ),
        Err(error) => Check::fail(name, format!("{address}: {error}"), "correct [admin] listen"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_trial_leaves_nothing_and_a_file_there_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("outlierd-places-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("alerts.jsonl");
        assert_eq!(writable("alerts", &path, "sink.path").status, Status::Ok);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::write(&path, "kept").unwrap();
        assert_eq!(writable("alerts", &path, "sink.path").status, Status::Ok);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let missing = writable("alerts", &folder.join("none/alerts.jsonl"), "sink.path");
        assert_eq!(missing.status, Status::Fail);
        assert!(missing.remedy.unwrap().contains("sink.path"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_taken_address_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listens(taken.local_addr().unwrap()).status, Status::Warn);
    }
}
