//! A value that must not be seen, and reading one from a file.
//!
//! Orchestrators hand secrets over as files: no command line, environment or configuration then holds them. Nothing here
//! may print what it holds, not even its length.

use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Largest secret, in bytes: enough for a chain of certificates with its key.
const SECRET_MAX: u64 = 64 << 10;

/// A value that only its user sees.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    /// The value, for the library that needs it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Reads a file that holds nothing else; one line end at its end is not part of it.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let mut bytes = Vec::new();
        if path.as_os_str().is_empty() {
            return Err("is empty; name the file that holds the secret".to_owned());
        }
        // Opening a pipe waits for who writes into it, and a second reading would find it empty.
        if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return Err(format!(
                "{name} is not a file; write the secret into a file that only outlierd's user may read"
            ));
        }
        File::open(path).and_then(|file| file.take(SECRET_MAX + 1).read_to_end(&mut bytes)).map_err(
            |error| format!("cannot read {name}: {error}; name a file that outlierd's user may read"),
        )?;
        if bytes.len() as u64 > SECRET_MAX {
            return Err(format!(
                "{name} is larger than 64 KiB; name the file that holds the secret and nothing else"
            ));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_hidden| format!("{name} is not UTF-8; it should hold a text"))?;
        let text =
            text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        if text.trim().is_empty() {
            return Err(format!("{name} is empty; write the secret into it"));
        }
        if text.contains('\0') {
            return Err(format!("{name} holds a NUL character; it should hold a text"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_it() {
        let secret = Secret::from("hunter22".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {:?}", Some(&secret)),
            "[redacted] [redacted] Some([redacted])"
        );
        assert_eq!(secret.reveal(), "hunter22");
    }

    #[test]
    fn one_line_end_is_cut_and_no_more() {
        let path = std::env::temp_dir().join(format!("outlierd-secret-{}", std::process::id()));
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a folder to write to");
            Secret::read(&path).map(|secret| secret.0)
        };
        assert_eq!(read(b" p w \n").as_deref(), Ok(" p w "));
        assert_eq!(read(b"pw\r\n").as_deref(), Ok("pw"));
        assert_eq!(read(b"pw\n\n").as_deref(), Ok("pw\n"));
        for (bytes, what) in [
            (&b"\n"[..], "is empty"),
            (b"\xff\xfe", "is not UTF-8"),
            (b"a\0b", "holds a NUL"),
            (&vec![b'a'; 70_000], "is larger than 64 KiB"),
        ] {
            let said = read(bytes).expect_err(what);
            assert!(said.contains(what), "{said}");
        }
        std::fs::remove_file(&path).expect("it was written");
        let said = Secret::read(&std::env::temp_dir()).expect_err("a folder");
        assert!(said.contains("is not a file"), "{said}");
        assert!(Secret::read(&path).expect_err("it is gone").contains("cannot read"));
    }
}
