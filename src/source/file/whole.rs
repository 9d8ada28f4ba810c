//! A file or standard input as one lane, pulled piece by piece by whoever wants its records.
//!
//! Lanes and offsets are those that [`super::run`] gives, so that both make the same alerts of the same file. It must never
//! ask the clock: standard input too is read here as a file that is not there any more tomorrow, not as a live stream.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::input::{Input, Piece};
use crate::flow::{Lane, Record, Time, Traced};
use crate::source::SourceError;
use crate::source::lines::record;

/// The path that stands for standard input.
const STDIN: &str = "-";

/// One file, plain or gzip, or standard input.
pub struct Whole {
    lane: Lane,
    input: Input,
    size: Option<u64>,
}

impl Whole {
    /// What the lane of standard input is called.
    pub const STDIN_LANE: &'static str = "stdin";

    /// Opens it; `-` is standard input. `line_max`: bytes of a line above which it is cut.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &str, line_max: usize) -> Result<Self, SourceError> {
        let (name, opened) = match path {
            STDIN => (Self::STDIN_LANE, std::io::stdin().as_fd().try_clone_to_owned().map(File::from)),
            path => (path, File::open(path)),
        };
        let path = PathBuf::from(name);
        let file = opened.map_err(|error| SourceError::Open { path: path.clone(), error })?;
        let about = file.metadata().map_err(|error| SourceError::Open { path: path.clone(), error })?;
        if about.is_dir() {
            let error = std::io::ErrorKind::IsADirectory.into();
            return Err(SourceError::Open { path, error });
        }
        let size = about.is_file().then_some(about.len());
        let lane = Lane { topic: Arc::from(name), partition: 0 };
        Ok(Self { lane, input: Input::opened(file, path, line_max), size })
    }

    /// Its lane.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Reads the next piece; appends the records that it ends. False at the end.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn read(&mut self, records: &mut Vec<Traced<Record>>) -> Result<bool, SourceError> {
        let lane = &self.lane;
        let piece = self.input.read(|number, line| records.push(record(lane, number, Time(0), line)))?;
        Ok(!matches!(piece, Piece::End))
    }

    /// How much of it was read, 0 to 1; none where its size is not known.
    pub fn share(&self) -> Option<f64> {
        let size = self.size.filter(|size| *size > 0)?;
        Some((self.input.position() as f64 / size as f64).min(1.0))
    }
}
