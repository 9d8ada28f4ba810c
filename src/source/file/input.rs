//! One file, read piece by piece: plain or gzip by its first bytes, followed or not.
//!
//! It must never read more than a piece at a time, nor give out the last line of a damaged file, which may be
//! cut.

use std::fs::{File, Metadata};
use std::io::{BufReader, Chain, Cursor, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;

use crate::source::SourceError;
use crate::source::lines::Lines;

/// Bytes a piece. Large enough that a system call a piece does not matter, small enough for a shard's queue.
const PIECE: usize = 64 << 10;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// What a piece brought.
pub(super) enum Piece {
    /// Bytes, if perhaps no whole line.
    Some,
    /// A followed file has not grown.
    NothingYet,
    /// Nothing will come any more.
    End,
}

/// One file.
pub(super) struct Input {
    path: PathBuf,
    /// Open already.
    given: Option<File>,
    follow: bool,
    lines: Lines,
    stream: Option<Stream>,
    buffer: Vec<u8>,
}

enum Stream {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<BufReader<Counted>>>),
}

/// A file and how many bytes of it were read.
struct Counted {
    file: Chain<Cursor<Vec<u8>>, File>,
    count: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl Input {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf, follow: bool, line_max: usize) -> Self {
        let lines = Lines::new(line_max);
        Self { path, given: None, follow, lines, stream: None, buffer: vec![0; PIECE] }
    }

    /// What is open already, read once; `path` is what messages call it.
    pub(super) fn opened(file: File, path: PathBuf, line_max: usize) -> Self {
        Self { given: Some(file), ..Self::new(path, false, line_max) }
    }

    /// Bytes taken from the file so far, compressed ones where it is compressed.
    pub(super) fn position(&self) -> u64 {
        match &self.stream {
            Some(Stream::Plain(file)) => file.count,
            Some(Stream::Gzip(decoder)) => decoder.get_ref().get_ref().count,
            None => 0,
        }
    }

    /// The number of the next line.
    pub(super) fn number(&self) -> i64 {
        self.lines.number()
    }

    /// Reads the next piece and gives out the lines that it ends.
    ///
    /// # Errors
    /// When the file cannot be opened or read, or is damaged: it is at its end then.
    pub(super) fn read(&mut self, mut emit: impl FnMut(i64, Vec<u8>)) -> Result<Piece, SourceError> {
        if self.stream.is_none() && !self.open()? {
            return Ok(Piece::NothingYet);
        }
        let Some(stream) = &mut self.stream else { return Ok(Piece::NothingYet) };
        let read = loop {
            let result = match stream {
                Stream::Plain(file) => file.read(&mut self.buffer),
                Stream::Gzip(decoder) => decoder.read(&mut self.buffer),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(0) if self.follow => Ok(self.follow_on(emit)),
            Ok(0) => {
                self.lines.finish(emit);
                Ok(Piece::End)
            }
            Ok(count) => {
                self.lines.feed(self.buffer.get(..count).unwrap_or_default(), &mut emit);
                Ok(Piece::Some)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// At the end of a followed file: whether it is still the one of that name, and has not shrunk.
    fn follow_on(&mut self, emit: impl FnMut(i64, Vec<u8>)) -> Piece {
        let Some(Stream::Plain(file)) = &self.stream else { return Piece::NothingYet };
        let (Ok(named), Ok(held)) = (std::fs::metadata(&self.path), file.file.get_ref().1.metadata()) else {
            // Moved away and not yet made anew: the old one may still grow.
            return Piece::NothingYet;
        };
        let other = identity(&named) != identity(&held);
        if other && held.len() > file.count {
            // The writer has written to the old one after we read to its end: that comes first.
            return Piece::Some;
        }
        if other || held.len() < file.count {
            tracing::info!(path = %self.path.display(), replaced = other, "file begins anew");
            self.lines.finish(emit);
            self.stream = None;
            return Piece::Some;
        }
        Piece::NothingYet
    }

    /// Whether there is a file to read. A followed file may come later.
    fn open(&mut self) -> Result<bool, SourceError> {
        let mut file = match self.given.take().map_or_else(|| File::open(&self.path), Ok) {
            Ok(file) => file,
            Err(error) if self.follow && error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(SourceError::Open { path: self.path.clone(), error }),
        };
        let mut start = Vec::new();
        // Not by seeking back: a named pipe is a file too.
        if let Err(error) = (&mut file).take(GZIP_MAGIC.len() as u64).read_to_end(&mut start) {
            return Err(SourceError::Read { path: self.path.clone(), position: 0, error });
        }
        let gzip = start == GZIP_MAGIC;
        let counted = Counted { file: Cursor::new(start).chain(file), count: 0 };
        if gzip && self.follow {
            let path = self.path.display();
            return Err(SourceError::Settings(format!("cannot follow a gzip file: {path}; read it once")));
        }
        self.stream = Some(if gzip {
            Stream::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, counted))))
        } else {
            Stream::Plain(counted)
        });
        Ok(true)
    }

    fn failed(&self, error: std::io::Error) -> SourceError {
        let path = self.path.clone();
        match &self.stream {
            Some(Stream::Gzip(decoder)) => {
                let reader = decoder.get_ref();
                let position = reader.get_ref().count - reader.buffer().len() as u64;
                match error.kind() {
                    ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                        SourceError::Truncated { path, position, error }
                    }
                    _ => SourceError::Read { path, position, error },
                }
            }
            Some(Stream::Plain(file)) => SourceError::Read { path, position: file.count, error },
            None => SourceError::Read { path, position: 0, error },
        }
    }
}

/// What tells one file from another of the same name. An open file keeps its number, so it cannot be reused.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
