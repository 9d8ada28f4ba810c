//! The folder beside the target in which files come together, and the one step that puts it into place.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{PullError, Pulled, SUMS, disk, hex};

/// How often to look again when the folder went away between two looks.
const LOOKS: u32 = 5;

/// The folder, while it is ours.
pub(super) struct Staging {
    path: PathBuf,
    /// The folder itself, locked; freed with the process, whatever ends it.
    _lock: File,
    finished: bool,
}

impl Staging {
    /// Makes the folder beside `target` and locks it.
    ///
    /// # Errors
    /// When another pull has it, or it cannot be made.
    pub(super) fn open(target: &Path) -> Result<Self, PullError> {
        let name = target.file_name().ok_or_else(|| {
            PullError::Asked(format!("{} names no folder; give --to DIR", target.display()))
        })?;
        let mut name = name.to_owned();
        name.push(".part");
        let path = target.with_file_name(name);
        for _ in 0..LOOKS {
            fs::create_dir_all(&path).map_err(|error| disk("cannot make", &path, error))?;
            let lock = File::open(&path).map_err(|error| disk("cannot open", &path, error))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(PullError::Unavailable(format!(
                        "another pull to {} is running; wait for it",
                        target.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(disk("cannot lock", &path, error)),
            }
            // It may have been renamed away between opening and locking it.
            let same = |a: fs::Metadata, b: fs::Metadata| a.dev() == b.dev() && a.ino() == b.ino();
            if let (Ok(ours), Ok(there)) = (lock.metadata(), fs::metadata(&path))
                && same(ours, there)
            {
                return Ok(Self { path, _lock: lock, finished: false });
            }
        }
        Err(PullError::Unavailable(format!("{} comes and goes; is another pull running?", path.display())))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that no server sends.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<Pulled, PullError> {
        let path = self.path.join(name);
        make_parent(&path)?;
        fs::write(&path, bytes).map_err(|error| disk("cannot write", &path, error))?;
        let mut hash = Sha256::new();
        hash.update(bytes);
        Ok(Pulled { name: name.to_owned(), sha256: hex(hash), bytes: bytes.len() as u64 })
    }

    /// Puts exactly these files into place, as one step; what else lies in the folder goes.
    pub(super) fn finish(mut self, target: &Path, files: &[Pulled]) -> Result<(), PullError> {
        let ready = self.path.join("ready");
        remove(&ready)?;
        fs::create_dir(&ready).map_err(|error| disk("cannot make", &ready, error))?;
        for file in files {
            let to = ready.join(&file.name);
            make_parent(&to)?;
            fs::rename(self.path.join(&file.name), &to).map_err(|error| disk("cannot move", &to, error))?;
        }
        let sums: Vec<String> =
            files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
        let path = ready.join(SUMS);
        fs::write(&path, sums.concat()).map_err(|error| disk("cannot write", &path, error))?;
        for file in files.iter().map(|file| file.name.as_str()).chain([SUMS]) {
            let path = ready.join(file);
            sync(&path)?;
            path.parent().map_or(Ok(()), sync)?;
        }
        fs::rename(&ready, target).map_err(|error| disk("cannot rename into place", target, error))?;
        let above = target.parent().filter(|above| !above.as_os_str().is_empty());
        sync(above.unwrap_or(Path::new(".")))?;
        // Whoever makes it anew has it from here on.
        self.finished = true;
        remove(&self.path)
    }
}

/// What has nothing in it is not kept for a next time.
impl Drop for Staging {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "part")
                && entry.metadata().is_ok_and(|about| about.len() == 0)
            {
                let mut note = path.clone().into_os_string();
                note.push(".json");
                let _left_behind = fs::remove_file(&path).and_then(|()| fs::remove_file(note));
            }
        }
        let _not_empty = fs::remove_dir(&self.path);
    }
}

/// Makes the folder that a file lies in.
pub(super) fn make_parent(path: &Path) -> Result<(), PullError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|error| disk("cannot make", parent, error))
}

fn sync(path: &Path) -> Result<(), PullError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| disk("cannot write to the disk", path, error))
}

fn remove(folder: &Path) -> Result<(), PullError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(disk("cannot remove", folder, error))
        }
        _ => Ok(()),
    }
}
