//! Whether two paths are one file, however they are written.
//!
//! A file that is read and written would grow by what is found in it, without end. Files are looked up and never opened:
//! opening a pipe would wait.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a path stands for, to be compared.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// Something that is there, by device and inode.
    There(u64, u64),
    /// Something that is not there yet, by folder and name.
    New(PathBuf),
}

impl Target {
    /// None for no path.
    pub(super) fn of(path: &str) -> Option<Self> {
        if path.is_empty() {
            return None;
        }
        let path = Path::new(path);
        Some(
            fs::metadata(path).map_or_else(|_| Self::New(placed(path)), |it| Self::There(it.dev(), it.ino())),
        )
    }
}

/// A file that is not there yet, in its folder as the system knows that.
fn placed(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (whole.parent().map(fs::canonicalize), whole.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_under_all_its_names() {
        let folder = std::env::temp_dir().join(format!("outlierd-same-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner")).expect("a folder to write to");
        let path = |name: &str| folder.join(name).display().to_string();
        fs::write(path("a"), "").expect("a folder to write to");
        fs::write(path("b"), "").expect("a folder to write to");
        fs::hard_link(path("a"), path("hard")).expect("a link");
        std::os::unix::fs::symlink(path("a"), path("soft")).expect("a link");
        std::os::unix::fs::symlink(path("inner"), path("door")).expect("a link");
        for (one, other, is) in [
            ("a", "a", true),
            ("a", "inner/../a", true),
            ("a", "hard", true),
            ("a", "soft", true),
            ("a", "b", false),
            ("a", "new", false),
            ("inner/new", "door/new", true),
            ("new", "./new", true),
            ("new", "inner/new", false),
        ] {
            assert_eq!(Target::of(&path(one)) == Target::of(&path(other)), is, "{one} {other}");
        }
        assert!(Target::of("").is_none());
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
