//! Whether what settings point at is there: files, folders, the port, the model, the broker.
//!
//! It looks and touches nothing: nothing is started, written or created, and each question has a limit in time. What
//! it says is true only now, so `run` finds out again.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::keys::OPTIONS;
use super::options;
use super::resolve::Faults;
use super::{Config, ModelConfig, SinkConfig, SourceConfig};
use crate::embed::onnx;
use crate::source::kafka::pattern::is_pattern;
use crate::source::kafka::{Suspect, Unanswered};
use crate::{admin, source};

/// How long a broker may take to answer.
const BROKER: Duration = Duration::from_secs(5);

/// How long whoever holds the port may take for each part of an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Largest file of certificates or keys, and largest answer, in bytes.
const READ_MAX: u64 = 16 << 20;

/// Adds everything that is not there.
pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    // A configuration is changed while the daemon that it is for still runs.
    if let Some(address) = config.admin
        && let Err(error) = admin::Listener::bind(address)
        && !is_ours(address)
    {
        faults.say("admin.listen", error);
    }
    if let SourceConfig::File(settings) = &config.source {
        for (index, path) in settings.paths.iter().enumerate() {
            let key = format!("source.paths[{index}]");
            match readable(path) {
                Err(what) => faults.say(&key, format!("{what}; correct the path")),
                Ok(()) if settings.follow && is_gzip(path) => faults.say(
                    &key,
                    format!(
                        "{} is compressed, which cannot be followed; set source.follow = false",
                        path.display()
                    ),
                ),
                Ok(()) => {}
            }
        }
    }
    sink(&config.sink, faults);
    if let ModelConfig::Onnx { model, .. } = &config.model {
        match onnx::look(model) {
            Ok(()) => {}
            Err(onnx::Missing::Model(what)) => faults.say("model.path", what),
            Err(onnx::Missing::Library(what)) => {
                // It names each place on a line of its own; here a fault is a line.
                let places: Vec<&str> = what.lines().map(str::trim).collect();
                faults.say("model.library", places.join("; ").replace(":; ", ": "));
            }
        }
    }
    kafka(config, faults);
}

/// Whether a file, which can be read, is a gzip file.
fn is_gzip(path: &Path) -> bool {
    let mut start = [0; 2];
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    is_file
        && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == [0x1f, 0x8b]
}

/// Whether a daemon like this one serves its metrics there.
fn is_ours(address: SocketAddr) -> bool {
    let asked = TcpStream::connect_timeout(&address, ANSWER).and_then(|mut stream| {
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(READ_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    });
    asked.is_ok_and(|answer| String::from_utf8_lossy(&answer).contains("outlierd_build_info"))
}

fn sink(sink: &SinkConfig, faults: &mut Faults<'_>) {
    let (alerts, dead_letters) = match sink {
        SinkConfig::Kafka(_) => (None, None),
        SinkConfig::Stdout(settings) => (None, settings.dead_letters.as_deref()),
        SinkConfig::File(settings) => (Some(settings.path.as_path()), settings.dead_letters.as_deref()),
    };
    for (key, path) in [("sink.path", alerts), ("sink.dead_letter_path", dead_letters)] {
        if let Some(Err(what)) = path.map(writable) {
            faults.say(key, what);
        }
    }
}

fn readable(path: &Path) -> Result<(), String> {
    let name = path.display();
    let cannot = |error| format!("cannot read {name}: {error}");
    let about = fs::metadata(path).map_err(cannot)?;
    if about.is_dir() {
        return Err(format!("{name} is a folder, not a file"));
    }
    // Opening a pipe waits for who writes into it.
    if about.is_file() { File::open(path).map(drop).map_err(cannot) } else { Ok(()) }
}

/// A file that can be appended to, or a folder in which it could be made.
fn writable(path: &Path) -> Result<(), String> {
    let name = path.display();
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => return Err(format!("{name} is a folder; name a file")),
        // Opening a pipe waits for who reads from it.
        Ok(about) if !about.is_file() => return Ok(()),
        Ok(_) => {
            let opened = fs::OpenOptions::new().append(true).open(path);
            return opened
                .map(drop)
                .map_err(|error| format!("cannot write to {name}: {error}; name another file"));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(format!("cannot write to {name}: {error}; name another file"));
        }
        Err(_) => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => {
            Err(format!("{} is no folder; name another file", folder.display()))
        }
        Ok(metadata) if User::of_process().is_some_and(|user| !user.may_write(&metadata)) => {
            Err(format!("the folder {} cannot be written to; name another file", folder.display()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot write to {name}: its folder: {error}; create the folder")),
    }
}

/// Whom the kernel takes us for. Lists of access rights that a file may have besides are not looked at.
#[derive(Debug, PartialEq, Eq)]
struct User {
    id: u32,
    groups: Vec<u32>,
}

impl User {
    fn of_process() -> Option<Self> {
        Self::of(&fs::read_to_string("/proc/self/status").ok()?)
    }

    /// The effective ones, of what `/proc/PID/status` says.
    fn of(status: &str) -> Option<Self> {
        let numbers = |name: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
        };
        let mut groups = numbers("Groups:").unwrap_or_default();
        groups.push(*numbers("Gid:")?.get(1)?);
        Some(Self { id: *numbers("Uid:")?.get(1)?, groups })
    }

    fn may_write(&self, about: &impl MetadataExt) -> bool {
        let bit = match () {
            () if self.id == 0 => return true,
            () if about.uid() == self.id => 0o200,
            () if self.groups.contains(&about.gid()) => 0o020,
            () => 0o002,
        };
        about.mode() & bit != 0
    }
}

fn kafka(config: &Config, faults: &mut Faults<'_>) {
    let (mut brokers, mut options, mut topics) = (None, Vec::new(), Vec::new());
    if let SourceConfig::Kafka(settings) = &config.source {
        brokers = Some(settings.brokers.clone());
        options.clone_from(&settings.options);
        let named = settings.topics.iter().enumerate().filter(|(_, topic)| !is_pattern(topic));
        let named = named.map(|(index, topic)| (format!("source.topics[{index}]"), topic.clone()));
        topics.extend(named.filter(|(key, _)| !faults.places.is_broken(key)));
    }
    if let SinkConfig::Kafka(settings) = &config.sink {
        brokers = Some(settings.brokers.clone());
        options = settings.options.clone().into_iter().collect();
        topics.push(("sink.topic".to_owned(), settings.alerts_topic.clone()));
        let dead_letters = settings.dead_letter_topic.clone();
        topics.extend(dead_letters.map(|topic| ("sink.dead_letter_topic".to_owned(), topic)));
    }
    let Some(brokers) = brokers else { return };
    // It may not be Kafka that is meant at all.
    if ["source.kind", "sink.kind", "kafka.brokers"].iter().any(|key| faults.places.is_broken(key)) {
        return;
    }
    let before = faults.found.len();
    for (name, value) in &options {
        if let Some((_, label)) = options::FILES.iter().find(|(file, _)| file == name)
            && let Err(what) = pem(Path::new(value), *label, name.contains(".ca."))
        {
            faults.say(&format!("{OPTIONS}.{name}"), what);
        }
    }
    // With settings that are known to be wrong, what the broker says of them is no news.
    let about_kafka = |key: &str| key.starts_with("kafka.");
    if faults.found.len() > before || faults.found.iter().any(|fault| about_kafka(&fault.key)) {
        return;
    }
    let names: Vec<String> = topics.iter().map(|(_, topic)| topic.clone()).collect();
    match source::kafka::probe(&brokers, &options, &names, BROKER) {
        Ok(wrong) => {
            for (key, topic) in &topics {
                if let Some(what) = wrong.get(topic) {
                    faults.say(key, what);
                }
            }
        }
        Err(Unanswered { what, suspect }) => {
            let option = match suspect {
                Suspect::Tls => Some("security.protocol"),
                Suspect::Login => Some("sasl.mechanism"),
                Suspect::Names | Suspect::Brokers => None,
            };
            // Either name of the mechanism will do.
            let set = option.and_then(|option| options.iter().find(|(name, _)| name.starts_with(option)));
            let key = set.map_or_else(|| "kafka.brokers".to_owned(), |(name, _)| format!("{OPTIONS}.{name}"));
            faults.say(&key, format!("{what}; {}", suspect.remedy()));
        }
    }
}

/// Whether a file is there and, with a label, holds a PEM block of it; `folders`: a folder of certificates may stand in.
fn pem(path: &Path, label: Option<&str>, folders: bool) -> Result<(), String> {
    let name = path.display();
    if folders && (path.as_os_str() == "probe" || path.is_dir()) {
        return Ok(());
    }
    let mut bytes = Vec::new();
    if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(format!("{name} is not a file; name the right one"));
    }
    File::open(path)
        .and_then(|file| file.take(READ_MAX).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read {name}: {error}; name a file that outlierd's user may read"))?;
    let Some(label) = label else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes);
    let mut others = Vec::new();
    for start in text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")) {
        let Some(found) = start.strip_suffix("-----") else { continue };
        if !found.ends_with(label) {
            others.push(found);
        } else if text.contains(&format!("-----END {found}-----")) {
            return Ok(());
        } else {
            return Err(format!("{name} is cut off: its {found} has no end; copy it again"));
        }
    }
    let article = if label.starts_with("X509") { "an" } else { "a" };
    Err(match others.first() {
        Some(other) => format!("{name} holds a {other}, not {article} {label}; name the right file"),
        None => {
            format!("{name} is not a PEM file with {article} {label}; convert it, or name the right file")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn looked_at(contents: &str, label: &str) -> Result<(), String> {
        let path =
            std::env::temp_dir().join(format!("outlierd-pem-{}-{}", std::process::id(), contents.len()));
        fs::write(&path, contents).expect("a folder to write to");
        let looked = pem(&path, Some(label), false);
        fs::remove_file(&path).expect("it was written");
        looked.map_err(|what| what.replace(&path.display().to_string(), "x.pem"))
    }

    #[test]
    fn a_folder_is_written_to_by_its_owner_its_group_or_all() {
        let user =
            User::of("Name:\tx\nUid:\t7\t1000\t7\t7\nGid:\t8\t100\t8\t8\nGroups:\t27 44\n").expect("read");
        assert_eq!(user, User { id: 1000, groups: vec![27, 44, 100] });
        let path = std::env::temp_dir().join(format!("outlierd-access-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder to write to");
        let may = |mode, user: &User| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            user.may_write(&fs::metadata(&path).expect("it is there"))
        };
        let about = fs::metadata(&path).expect("it is there");
        let owner = User { id: about.uid(), groups: Vec::new() };
        let member = User { id: u32::MAX, groups: vec![about.gid()] };
        let other = User { id: u32::MAX, groups: vec![u32::MAX] };
        assert!(about.uid() == 0 || !may(0o577, &owner), "the owner's bit alone counts for the owner");
        assert!(may(0o770, &member) && !may(0o757, &member));
        assert!(may(0o702, &other) && !may(0o770, &other));
        assert!(may(0o500, &User { id: 0, groups: Vec::new() }));
        fs::remove_dir(&path).expect("it is ours");
    }

    #[test]
    fn a_pem_file_is_told_from_others() {
        let block = |label: &str| format!("words\n-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(looked_at(&block("RSA PRIVATE KEY"), "PRIVATE KEY"), Ok(()));
        assert_eq!(looked_at(&(block("PRIVATE KEY") + &block("CERTIFICATE")), "CERTIFICATE"), Ok(()));
        let says = |contents: &str, words: &str| {
            let what = looked_at(contents, "CERTIFICATE").expect_err("it is none");
            assert!(what.contains(words), "{what}");
        };
        says("no PEM at all", "x.pem is not a PEM file with a CERTIFICATE");
        says(&block("PRIVATE KEY"), "x.pem holds a PRIVATE KEY, not a CERTIFICATE");
        says("-----BEGIN CERTIFICATE-----\nAAAA\n", "x.pem is cut off");
    }
}
