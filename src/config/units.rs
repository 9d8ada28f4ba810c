//! Durations, sizes, budgets, devices and addresses as a person writes them.
//!
//! Each parser says what it wanted: the message stands behind the key's name in an error.

use std::net::SocketAddr;
use std::time::Duration;

use crate::detect::Budget;
use crate::embed::onnx::Device;

/// Reads `5ms`, `1.5s`, `10m`, `1h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is not a duration such as \"5ms\", \"20s\", \"10m\", \"1h\" or \"1d\"");
    let (number, unit) = split(text).ok_or_else(wanted)?;
    let seconds = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(wanted()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_out_of_range| wanted())
}

/// Reads `900`, `64KiB`, `16MiB`, `1GiB`, `10kB`, `1MB`; bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let wanted = || format!("{text:?} is not a size such as \"64KiB\", \"16MiB\" or a number of bytes");
    let (number, unit) = split(text).ok_or_else(wanted)?;
    let factor = match unit {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wanted()),
    };
    let bytes = number * factor;
    if !(0.0..=1e15).contains(&bytes) {
        return Err(wanted());
    }
    #[expect(clippy::cast_sign_loss, reason = "checked to lie between 0 and 1e15")]
    Ok(bytes as usize)
}

/// Bytes as a person writes them: `64KiB` for 65536.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)];
    let whole = units.into_iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    let few = || format!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" });
    whole.map_or_else(few, |(unit, size)| format!("{}{unit}", bytes / size))
}

/// Reads `auto`, `cpu`, `cuda`, `cuda:1`.
pub(super) fn device(text: &str) -> Result<Device, String> {
    match (text, text.strip_prefix("cuda:").map(str::parse::<u16>)) {
        ("auto", _) => Ok(Device::Auto),
        ("cpu", _) => Ok(Device::Cpu),
        ("cuda", _) => Ok(Device::Cuda { id: 0 }),
        (_, Some(Ok(id))) => Ok(Device::Cuda { id: i32::from(id) }),
        (other, _) => Err(format!("{other:?} is not \"auto\", \"cpu\", \"cuda\" or \"cuda:1\"")),
    }
}

/// Reads `127.0.0.1:9464` or `[::1]:9464`; nothing for none.
pub(super) fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_unclear| {
        format!(
            "{text:?} is not an address such as \"127.0.0.1:9464\": numbers, no names, and a port up to 65535"
        )
    })
}

/// Reads `1 in 10000`, `20 per hour`, `20 per day`.
pub(super) fn budget(text: &str) -> Result<Budget, String> {
    let wanted =
        || format!("{text:?} is not a budget such as \"1 in 10000\", \"20 per hour\" or \"20 per day\"");
    let words: Vec<&str> = text.split_whitespace().collect();
    let [count, how, whole] = words.as_slice() else { return Err(wanted()) };
    let positive = |text: &str| {
        let number: Option<f64> = text.replace(['_', ','], "").parse().ok();
        number.filter(|number| number.is_finite() && *number > 0.0).ok_or_else(wanted)
    };
    let count = positive(count)?;
    match (*how, *whole) {
        ("in", events) => {
            let events = positive(events)? / count;
            if !(10.0..=1e7).contains(&events) {
                return Err(format!("{text:?} should ask for one in 10 to 10 000 000 events"));
            }
            Ok(Budget::Events(events))
        }
        ("per", "minute") => Ok(Budget::Rate { count, span_ms: 60_000.0 }),
        ("per", "hour") => Ok(Budget::Rate { count, span_ms: 3_600_000.0 }),
        ("per", "day") => Ok(Budget::Rate { count, span_ms: 86_400_000.0 }),
        ("per", "week") => Ok(Budget::Rate { count, span_ms: 7.0 * 86_400_000.0 }),
        _ => Err(wanted()),
    }
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("1.5 h"), Ok(Duration::from_secs(5_400)));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("900000"), Ok(900_000));
        assert_eq!(budget("1 in 10_000"), Ok(Budget::Events(10_000.0)));
        assert_eq!(budget("20 per day"), Ok(Budget::Rate { count: 20.0, span_ms: 86_400_000.0 }));
    }

    #[test]
    fn writes_what_it_reads() {
        for (number, text) in
            [(100 << 20, "100MiB"), (16, "16 bytes"), (1_025, "1025 bytes"), (1 << 40, "1024GiB")]
        {
            assert_eq!(bytes(number), text);
            let read = size(text.trim_end_matches(" bytes")).map(|bytes| bytes as u64);
            assert_eq!(read, Ok(number), "{text}");
        }
    }

    #[test]
    fn devices_and_addresses() {
        assert_eq!(device("cuda:1"), Ok(Device::Cuda { id: 1 }));
        for bad in ["gpu", "cuda:", "cuda:-1", "cuda:99999", ""] {
            assert!(device(bad).is_err(), "{bad}");
        }
        assert_eq!(address(""), Ok(None));
        assert!(address("[::1]:0").is_ok_and(|address| address.is_some()));
        for bad in ["localhost:9464", "127.0.0.1", "127.0.0.1:70000", ":9464"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn says_what_it_wanted() {
        for bad in ["", "5", "5 parsecs", "-5s", "1e400d", "99999999999999999999999d"] {
            assert!(duration(bad).unwrap_err().contains("not a duration"), "{bad}");
        }
        for bad in ["", "x", "1 TiB", "9999999999999999 GiB"] {
            assert!(size(bad).unwrap_err().contains("not a size"), "{bad}");
        }
        for bad in [
            "",
            "10",
            "1 in x",
            "0 per day",
            "1 per fortnight",
            "1 in 9",
            "1 in 20000000",
            "-1 in 10",
            "nan in 10",
        ] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
