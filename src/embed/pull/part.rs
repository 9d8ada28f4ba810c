//! A file that is not whole yet, and the note beside it that says what it is a part of.
//!
//! It may be gone on with only when the note is of the same address and has the server's own mark of the version (a
//! strong `ETag`): bytes of two versions put together would be neither. The address itself is not in it: it may carry a
//! token.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::address::mark;
use super::staging::make_parent;
use super::{PullError, disk, hex};

/// What is known of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The digest of the address asked for.
    pub(super) address: String,
    pub(super) etag: Option<String>,
    pub(super) total: Option<u64>,
}

/// The part, open for appending.
pub(super) struct Part {
    path: PathBuf,
    note_path: PathBuf,
    file: File,
    hash: Sha256,
    pub(super) bytes: u64,
    pub(super) note: Note,
}

impl Part {
    /// Opens what an earlier try left of `name`, if it can be gone on with; else begins with nothing.
    pub(super) fn open(folder: &Path, name: &str, url: &str) -> Result<Self, PullError> {
        let path = folder.join(format!("{name}.part"));
        let note_path = folder.join(format!("{name}.part.json"));
        make_parent(&path)?;
        let address = mark(url);
        let note = fs::read(&note_path).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        let note = note.filter(|note| note.address == address && note.etag.is_some());
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = opened.map_err(|error| disk("cannot open", &path, error))?;
        let fresh = Note { address, ..Note::default() };
        let mut part = Self { path, note_path, file, hash: Sha256::new(), bytes: 0, note: fresh };
        match note {
            Some(note) => {
                part.bytes = read_through(&part.path, |bytes| part.hash.update(bytes))
                    .map_err(|error| disk("cannot read", &part.path, error))?;
                part.note = note;
                if part.note.total.is_some_and(|total| part.bytes > total) {
                    part.begin(None, None)?;
                }
            }
            None => part.begin(None, None)?,
        }
        Ok(part)
    }

    /// Throws away what came and begins anew, with what a server says of the whole.
    pub(super) fn begin(&mut self, etag: Option<String>, total: Option<u64>) -> Result<(), PullError> {
        self.file.set_len(0).map_err(|error| disk("cannot empty", &self.path, error))?;
        self.hash = Sha256::new();
        self.bytes = 0;
        self.note = Note { etag, total, ..self.note.clone() };
        let text = serde_json::to_string(&self.note).unwrap_or_default();
        write_private(&self.note_path, text.as_bytes())
            .map_err(|error| disk("cannot write", &self.note_path, error))
    }

    /// Takes in what came next.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.file.write_all(bytes).map_err(|error| disk("cannot write", &self.path, error))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Its digest so far.
    pub(super) fn sha256(&self) -> String {
        hex(self.hash.clone())
    }

    /// It is whole and right: gives it its name.
    pub(super) fn finish(self, name: &Path) -> Result<(), PullError> {
        fs::rename(&self.path, name).map_err(|error| disk("cannot rename", &self.path, error))?;
        fs::remove_file(&self.note_path).map_err(|error| disk("cannot remove", &self.note_path, error))
    }
}

/// A file's digest and size.
///
/// # Errors
/// When it cannot be read.
pub(in crate::embed) fn digest(path: &Path) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let bytes = read_through(path, |bytes| hash.update(bytes))?;
    Ok((hex(hash), bytes))
}

/// The first bytes of a file; returns how many there are.
///
/// # Errors
/// When it cannot be read.
pub(super) fn head(path: &Path, buffer: &mut [u8]) -> io::Result<usize> {
    let mut file = File::open(path)?;
    let mut read = 0;
    loop {
        match file.read(buffer.get_mut(read..).unwrap_or_default())? {
            0 => return Ok(read),
            more => read += more,
        }
    }
}

/// Writes a file that nobody else may read.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    // It may have been there.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(text)
}

fn read_through(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => {
                each(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}
