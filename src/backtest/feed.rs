//! What a backtest reads: files, standard input, or partitions of a topic between two offsets.

use crate::flow::{Lane, Origin, Record, Traced};
use crate::source::SourceError;
use crate::source::file::Whole;
use crate::source::kafka::range::Range;

/// One lane's records, pulled.
pub(super) enum Feed {
    File(Box<Whole>),
    Topic(Range),
}

impl Feed {
    pub(super) fn lane(&self) -> &Lane {
        match self {
            Self::File(file) => file.lane(),
            Self::Topic(range) => range.lane(),
        }
    }

    /// The first offset that it may give.
    pub(super) fn first(&self) -> i64 {
        match self {
            Self::File(_) => 0,
            Self::Topic(range) => range.first(),
        }
    }

    /// Appends the next records; false when there will be no more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&mut self, records: &mut Vec<Traced<Record>>) -> Result<bool, SourceError> {
        match self {
            Self::File(file) => file.read(records),
            Self::Topic(range) => range.read(records),
        }
    }

    /// How much was read, 0 to 1, where that is known.
    pub(super) fn share(&self) -> Option<f64> {
        match self {
            Self::File(file) => file.share(),
            Self::Topic(range) => Some(range.share()),
        }
    }

    /// Where one of its records stands, for a person.
    pub(super) fn place(&self, origin: &Origin) -> String {
        match self {
            Self::File(_) => format!("{}, line {}", origin.lane.topic, origin.offset + 1),
            Self::Topic(_) => format!("{}, offset {}", origin.lane, origin.offset),
        }
    }
}
