//! The machine: clock, memory, file descriptors.

use std::fs;
use std::time::SystemTime;

use super::Check;
use crate::config::{Config, ModelConfig, SourceConfig};

/// 2025-01-01, in milliseconds since 1970: no clock that is right is before this program.
const WRITTEN: i64 = 1_735_689_600_000;
/// 2100-01-01.
const FAR: i64 = 4_102_444_800_000;
/// Records that are ahead of our clock by less say nothing.
const AHEAD_MAX: i64 = 60_000;
/// Bytes of the program itself, threads and libraries.
const PROGRAM: u64 = 60 << 20;
/// Bytes that a text of the window takes beside its vector.
const TEXT: u64 = 256;
/// Bytes of an event of the windows: its numbers, sixteen of them, and which texts it had.
const EVENT: u64 = 16 * 4 + 2 * 4;
/// Bytes of an entry of the tables of keys and values.
const ENTRY: u64 = 200;
/// Descriptors for files, the admin server and brokers' connections.
const DESCRIPTORS: u64 = 256;

pub(super) fn checks(config: &Config, partitions: Option<usize>, newest: Option<i64>) -> Vec<Check> {
    vec![clock(now(), newest), memory(config, partitions), descriptors()]
}

fn clock(now: i64, newest: Option<i64>) -> Check {
    let remedy = "set the clock, and keep it by NTP (timedatectl set-ntp true)";
    if !(WRITTEN..FAR).contains(&now) {
        return Check::fail(
            "clock",
            format!("{} cannot be", crate::sink::wire::rfc3339(crate::flow::Time(now))),
            remedy,
        );
    }
    let time = crate::sink::wire::rfc3339(crate::flow::Time(now));
    match newest {
        Some(newest) if newest > now + AHEAD_MAX => Check::warn(
            "clock",
            format!("{time}; the newest record of the topics is {} s ahead of it", (newest - now) / 1_000),
            format!("{remedy}, here or where records are written"),
        ),
        _ => Check::ok("clock", time),
    }
}

/// Bytes that may be needed at most, about: what has a bound, at its bound, for two text fields.
fn needed(config: &Config, partitions: usize) -> u64 {
    let detect = &config.pipeline.detect;
    let dimensions: u64 = 512;
    let lane = detect.window_texts as u64 * 2 * (dimensions * 2 + TEXT)
        + detect.window_events as u64 * EVENT
        + detect.keys_max as u64 * 3 * ENTRY
        + detect.calibration_events as u64 * 16 * 8;
    let model = match &config.model {
        ModelConfig::Hashed { cache_texts } => *cache_texts as u64 * TEXT,
        ModelConfig::Onnx { model, worker } => {
            let graph = fs::metadata(model.folder.join("model.onnx")).map_or(0, |about| about.len());
            graph * 2 + worker.cache_entries as u64 * (dimensions * 4 + TEXT)
        }
    };
    let fetched = match &config.source {
        SourceConfig::Kafka(settings) => u64::from(settings.queued_kbytes) << 10,
        SourceConfig::File(_) | SourceConfig::Stdin(_) => 0,
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { cores() } else { config.shards };
    // A shard without a partition holds nothing.
    let held = shards.min(partitions) as u64 * config.pipeline.bytes_max as u64;
    PROGRAM + lane * partitions as u64 + model + fetched + held
}

fn memory(config: &Config, partitions: Option<usize>) -> Check {
    let need = needed(config, partitions.unwrap_or(1));
    let megabytes = |bytes: u64| format!("{} MB", bytes / 1_000_000);
    let lanes = partitions.map_or_else(|| "a partition".to_owned(), |count| format!("{count} partitions"));
    let about = format!("up to about {} for {lanes}", megabytes(need));
    match available() {
        None => Check::skipped("memory", format!("{about}; how much is free is not known here")),
        Some(free) if free < need => Check::warn(
            "memory",
            format!("{about}, of which {} are free", megabytes(free)),
            "lower pipeline.bytes_max, detect.window_texts or detect.keys_max, spread partitions over more instances, or give \
             it more",
        ),
        Some(free) => Check::ok("memory", format!("{about}; {} are free", megabytes(free))),
    }
}

/// What the kernel could give without swapping, and the control group allows.
fn available() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let free = kilobytes(&meminfo, "MemAvailable:")? * 1_024;
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    // Of a container, whose own group is the root that it sees.
    let group = number("memory.max").map(|max| max.saturating_sub(number("memory.current").unwrap_or(0)));
    Some(group.map_or(free, |group| group.min(free)))
}

fn kilobytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn descriptors() -> Check {
    let limits = fs::read_to_string("/proc/self/limits").ok();
    match limits.as_deref().and_then(soft_limit) {
        None => Check::skipped("file descriptors", "their limit is not known here"),
        Some(limit) if limit < DESCRIPTORS => Check::warn(
            "file descriptors",
            format!("{limit} allowed, about {DESCRIPTORS} may be needed"),
            "ulimit -n 1024, or LimitNOFILE= in the unit",
        ),
        Some(u64::MAX) => Check::ok("file descriptors", "no limit"),
        Some(limit) => Check::ok("file descriptors", format!("{limit} allowed")),
    }
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[expect(clippy::disallowed_methods, reason = "whether the clock is right is what is asked")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_clock_at_its_epoch_is_wrong_and_one_behind_its_records_suspect() {
        assert_eq!(clock(0, None).status, Status::Fail);
        let now = WRITTEN + 1_000_000;
        assert_eq!(clock(now, Some(now + 10_000)).status, Status::Ok);
        let late = clock(now, Some(now + 3_600_000));
        assert_eq!(late.status, Status::Warn);
        assert!(late.found.contains("3600 s ahead"), "{}", late.found);
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(kilobytes("MemTotal:  9 kB\nMemAvailable:   1234 kB\n", "MemAvailable:"), Some(1_234));
        assert_eq!(
            soft_limit("Max open files            1024                 524288               files"),
            Some(1_024)
        );
        assert_eq!(soft_limit("Max open files            unlimited  unlimited files"), Some(u64::MAX));
        assert_eq!(soft_limit(""), None);
        assert!(available().is_some_and(|bytes| bytes > 0), "this machine has memory");
    }
}
