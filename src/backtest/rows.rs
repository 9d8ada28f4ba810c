//! One row an event as Arrow IPC files, for whoever wants to look closer.
//!
//! Rows are written in batches, so that memory does not grow with the stream. The columns of a file are those of its first
//! verdict; where a lane has others, the next file begins. A file that was not finished has no footer and cannot be read:
//! better than half a file that looks whole.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::TimestampMillisecondBuilder;
use arrow_array::builder::{BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};

use crate::flow::{Traced, Verdict};

/// Rows of a batch.
const BATCH: usize = 8_192;

/// The files of one backtest.
pub(super) struct Rows {
    folder: PathBuf,
    files: usize,
    open: Option<Open>,
}

/// A file being written.
struct Open {
    writer: FileWriter<BufWriter<File>>,
    schema: Arc<Schema>,
    columns: Vec<(&'static str, Arc<str>)>,
    batch: Batch,
}

/// Rows not yet written.
#[derive(Default)]
struct Batch {
    rows: usize,
    lane: StringBuilder,
    partition: Int32Builder,
    offset: Int64Builder,
    time: TimestampMillisecondBuilder,
    surprise: Float64Builder,
    threshold: Float64Builder,
    warm: BooleanBuilder,
    alerted: BooleanBuilder,
    opened: BooleanBuilder,
    admitted: BooleanBuilder,
    label: BooleanBuilder,
    channels: Vec<Float64Builder>,
}

impl Rows {
    /// Files in that folder, which is there: `events.arrow`, then `events-2.arrow` and so on.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: 0, open: None }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// What went wrong, with the file's name.
    pub(super) fn add(
        &mut self,
        judged: &Traced<Verdict>,
        opened: bool,
        label: Option<bool>,
    ) -> Result<(), String> {
        let entries = &judged.value.channels;
        let fits = |open: &Open| {
            open.columns.len() == entries.len()
                && open
                    .columns
                    .iter()
                    .zip(entries)
                    .all(|((channel, field), entry)| *channel == entry.channel && *field == entry.field)
        };
        if !self.open.as_ref().is_some_and(fits) {
            self.end()?;
            self.begin(&judged.value)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.batch.add(judged, opened, label);
        if open.batch.rows >= BATCH {
            open.write()
                .map_err(|error| format!("cannot write {}: {error}", name(&self.folder, self.files)))?;
        }
        Ok(())
    }

    /// Ends the file that is open.
    ///
    /// # Errors
    /// What went wrong, with the file's name.
    pub(super) fn end(&mut self) -> Result<(), String> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.write()
            .and_then(|()| open.writer.finish())
            .map_err(|error| format!("cannot write {}: {error}", name(&self.folder, self.files)))
    }

    fn begin(&mut self, verdict: &Verdict) -> Result<(), String> {
        self.files += 1;
        let name = name(&self.folder, self.files);
        let columns: Vec<_> =
            verdict.channels.iter().map(|entry| (entry.channel, Arc::clone(&entry.field))).collect();
        let schema = Arc::new(schema(&columns));
        let opened = File::create(&name).map_err(ArrowError::from);
        let writer = opened.and_then(|file| FileWriter::try_new(BufWriter::new(file), &schema));
        let writer = writer.map_err(|error| format!("cannot write {name}: {error}"))?;
        let channels = columns.iter().map(|_| Float64Builder::new()).collect();
        self.open = Some(Open { writer, schema, columns, batch: Batch { channels, ..Batch::default() } });
        Ok(())
    }
}

impl Open {
    fn write(&mut self) -> Result<(), ArrowError> {
        if self.batch.rows == 0 {
            return Ok(());
        }
        let columns = self.batch.take();
        self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Batch {
    fn add(&mut self, judged: &Traced<Verdict>, opened: bool, label: Option<bool>) {
        let Traced { origin, value: verdict } = judged;
        self.rows += 1;
        self.lane.append_value(&origin.lane.topic);
        self.partition.append_value(origin.lane.partition);
        self.offset.append_value(origin.offset);
        self.time.append_value(origin.time.0);
        self.surprise.append_value(verdict.surprise);
        self.threshold.append_value(verdict.threshold);
        self.warm.append_value(verdict.warm);
        self.alerted.append_value(verdict.is_anomaly());
        self.opened.append_value(opened);
        self.admitted.append_value(verdict.admitted);
        self.label.append_option(label);
        for (column, entry) in self.channels.iter_mut().zip(&verdict.channels) {
            column.append_value(entry.surprise);
        }
    }

    /// The columns in the order of [`schema`]; nothing is left.
    fn take(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        let time = self.time.finish().with_timezone(UTC);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.lane.finish()),
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(time),
            Arc::new(self.surprise.finish()),
            Arc::new(self.threshold.finish()),
            Arc::new(self.warm.finish()),
            Arc::new(self.alerted.finish()),
            Arc::new(self.opened.finish()),
            Arc::new(self.admitted.finish()),
            Arc::new(self.label.finish()),
        ];
        columns.extend(self.channels.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns
    }
}

const UTC: &str = "UTC";

/// Columns of a file; those of channels are named `channel:pointer` and hold nats.
fn schema(columns: &[(&'static str, Arc<str>)]) -> Schema {
    let field = |name: &str, kind: DataType| Field::new(name, kind, false);
    let mut fields = vec![
        field("lane", DataType::Utf8),
        field("partition", DataType::Int32),
        field("offset", DataType::Int64),
        field("time", DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into()))),
        field("surprise", DataType::Float64),
        field("threshold", DataType::Float64),
        field("warm", DataType::Boolean),
        field("alerted", DataType::Boolean),
        field("opened", DataType::Boolean),
        field("admitted", DataType::Boolean),
        Field::new("label", DataType::Boolean, true),
    ];
    fields.extend(
        columns.iter().map(|(channel, pointer)| field(&format!("{channel}:{pointer}"), DataType::Float64)),
    );
    Schema::new(fields)
}

fn name(folder: &Path, number: usize) -> String {
    let name = if number < 2 { "events.arrow".to_owned() } else { format!("events-{number}.arrow") };
    folder.join(name).display().to_string()
}
