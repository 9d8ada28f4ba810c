//! One line a piece, written in batches: what standard output and files have in common.
//!
//! A batch is whatever waits, is flushed as a whole and only then acknowledged, so a busy stream pays for few flushes
//! and a quiet one for no delay. A failed write ends the sink: what was not acknowledged is written again after a
//! restart, so a line may come twice and none is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::{Acks, Outgoing, SinkError, Status, wire};
use crate::flow::Alert;

/// Pieces written before a flush.
const BATCH_MAX: usize = 256;

/// Bytes gathered before they are handed to the system.
const BUFFER: usize = 64 * 1024;

/// Where lines go.
pub(super) struct Output<W: Write> {
    name: String,
    writer: BufWriter<W>,
    sync: fn(&W) -> io::Result<()>,
}

impl<W: Write> Output<W> {
    /// An output that is as safe as it gets once it is flushed.
    pub(super) fn new(name: &str, writer: W) -> Self {
        Self { name: name.to_owned(), writer: BufWriter::with_capacity(BUFFER, writer), sync: |_| Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.writer.write_all(bytes).map_err(|source| self.failed(source))
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let flushed = self.writer.flush().and_then(|()| (self.sync)(self.writer.get_ref()));
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> SinkError {
        let name = self.name.clone();
        if source.kind() == io::ErrorKind::BrokenPipe {
            SinkError::Closed { name }
        } else {
            SinkError::Write { name, source }
        }
    }
}

impl Output<File> {
    /// A file that is appended to. A last line that a crash or a full disk cut short is ended first, so that it does
    /// not spoil the next. Its folder must be there.
    pub(super) fn append(path: &Path) -> Result<Self, SinkError> {
        let name = path.display().to_string();
        let opened = OpenOptions::new().append(true).create(true).open(path).and_then(|mut file| {
            if cut_short(path)? {
                file.write_all(b"\n")?;
            }
            Ok(file)
        });
        let file = opened.map_err(|source| SinkError::Open { path: name.clone(), source })?;
        Ok(Self { name, writer: BufWriter::with_capacity(BUFFER, file), sync })
    }
}

/// Pipes and devices cannot be synchronised and need not be.
fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
        .or_else(|error| if error.kind() == io::ErrorKind::InvalidInput { Ok(()) } else { Err(error) })
}

fn cut_short(path: &Path) -> io::Result<bool> {
    let about = path.metadata()?;
    if !about.is_file() || about.len() == 0 {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// A sink of lines.
pub(super) struct Lines<W: Write, E: Fn(&Alert) -> Vec<u8>> {
    pub(super) alerts: Output<W>,
    /// Where dead letters go; without it they are counted and acknowledged.
    pub(super) dead_letters: Option<Output<File>>,
    /// An alert as what is written for it, its line feed included.
    pub(super) encode: E,
    pub(super) outgoing: Receiver<Outgoing>,
    pub(super) acks: Acks,
    pub(super) status: Arc<Status>,
}

impl<W: Write, E: Fn(&Alert) -> Vec<u8>> Lines<W, E> {
    /// Writes until the shards have gone.
    pub(super) fn run(mut self) -> Result<(), SinkError> {
        self.status.recovered();
        while let Ok(first) = self.outgoing.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = self.outgoing.try_recv()
            {
                batch.push(next);
            }
            self.status.set_waiting(batch.len());
            if let Err(error) = self.write(&batch) {
                if matches!(error, SinkError::Closed { .. }) {
                    self.status.ended(&error.to_string());
                } else {
                    self.status.troubled(&error.to_string());
                }
                return Err(error);
            }
            for outgoing in batch {
                self.status.count(&outgoing);
                let (Outgoing::Alert { shard, ticket, .. } | Outgoing::Reject { shard, ticket, .. }) =
                    outgoing;
                self.acks.published(shard, ticket);
            }
            self.status.set_waiting(0);
        }
        Ok(())
    }

    fn write(&mut self, batch: &[Outgoing]) -> Result<(), SinkError> {
        let (mut alerts, mut rejects) = (false, false);
        for outgoing in batch {
            match outgoing {
                Outgoing::Alert { alert, .. } => {
                    self.alerts.write(&(self.encode)(alert))?;
                    alerts = true;
                }
                Outgoing::Reject { record, rejection, .. } => {
                    if let Some(output) = &mut self.dead_letters {
                        output.write(&wire::reject::line(&record.value, &record.origin, rejection))?;
                        rejects = true;
                    }
                }
            }
        }
        if alerts {
            self.alerts.flush()?;
        }
        match &mut self.dead_letters {
            Some(output) if rejects => output.flush(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for good after so many bytes.
    struct Pipe(usize, io::ErrorKind);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(self.1.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run(pipe: Pipe) -> (Result<(), SinkError>, usize, Arc<Status>) {
        let (send, outgoing) = crossbeam_channel::bounded(4);
        let (ack, acked) = crossbeam_channel::bounded(4);
        let alert = Box::new(wire::alert::tests::example());
        let ticket =
            |offset| crate::pipeline::Ticket { lane: alert.origin.lane.clone(), generation: 1, offset };
        for offset in [1, 2] {
            send.send(Outgoing::Alert { shard: 0, ticket: ticket(offset), alert: alert.clone() })
                .expect("room");
        }
        drop(send);
        let status = Arc::new(Status::default());
        let lines = Lines {
            alerts: Output::new("standard output", pipe),
            dead_letters: None,
            encode: |_: &Alert| b"0123456789\n".to_vec(),
            outgoing,
            acks: Acks::new(vec![ack]),
            status: Arc::clone(&status),
        };
        (lines.run(), acked.len(), status)
    }

    #[test]
    fn what_is_flushed_is_acknowledged() {
        let (result, acked, status) = run(Pipe(100, io::ErrorKind::BrokenPipe));
        assert!(result.is_ok());
        assert_eq!((acked, status.published(), status.waiting()), (2, 2, 0));
        assert!(status.ready());
    }

    #[test]
    fn a_reader_that_left_and_a_full_disk_end_the_sink_without_an_acknowledgement() {
        let (result, acked, status) = run(Pipe(15, io::ErrorKind::BrokenPipe));
        assert!(matches!(result, Err(SinkError::Closed { .. })), "{result:?}");
        assert_eq!((acked, status.published()), (0, 0));
        assert!(!status.ready() && status.trouble().is_some());
        let (result, acked, _) = run(Pipe(15, io::ErrorKind::StorageFull));
        let Err(error @ SinkError::Write { .. }) = result else { panic!("{result:?}") };
        assert!(error.to_string().starts_with("cannot write standard output: "), "{error}");
        assert_eq!(acked, 0);
    }
}
