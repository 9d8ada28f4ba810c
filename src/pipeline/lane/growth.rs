//! How a lane's events are read, and how that grows: fields that appear late join.
//!
//! At every offset that is a multiple of a *period* there is a *review*: the events of the last offsets before it, as many
//! as a first inference takes, are asked for fields that are not read yet. What is found joins the schema for all records
//! from that offset on. Offsets, not counts of events: so a review is a function of the log alone, and one who begins to
//! read anywhere before the stretch that it looks at finds the same. What is settled goes into the commit ([`Reading`]),
//! and a record that is read once more is read by the schema it was read by before.
//!
//! It must never look at more than the log's records in their order, nor let a lane grow beyond what a commit can carry:
//! a growth that a restart forgot would change alerts.

use std::sync::Arc;

use crate::flow::{Epoch, Event, Reading, Sample, Schema};
use crate::render::{self, Finding, Kind, Renderer, Settings, late};

/// What reads the events of one lane.
#[derive(Debug)]
pub(super) struct Reader {
    settings: Settings,
    renderer: Renderer,
    reading: Reading,
    /// The epoch by which it reads.
    epoch: usize,
    /// Whether fields may join: they are inferred, and there is room.
    grows: bool,
    /// What is new since the stretch began, and the offset at which that is reviewed.
    watch: Option<(i64, late::Watch)>,
    /// The first offset met.
    first: Option<i64>,
    /// What the last commit carried.
    said: Option<Arc<Reading>>,
}

/// Offsets from review to review, in events of an inference.
const PERIOD: i64 = 10;
/// Bytes, as written, of pointers read and hashes passed over. A broker keeps 4 096 bytes with an offset, and the rest is
/// taken by what stands around them. What is read already at the first inference may be more, and then does not grow.
const WRITTEN_MAX: usize = 3_400;
/// Bytes of a hash, as written.
const HASH: usize = 8;

impl Reader {
    /// Reads the fields that the operator has named; none ever joins.
    pub(super) fn named(settings: &Settings) -> Self {
        Self::new(settings, Reading::from(render::schema(settings, &[])))
    }

    /// Reads what the first events of a lane show.
    pub(super) fn inferred(settings: &Settings, first: &[Event]) -> Self {
        let findings = render::findings(settings, first);
        let mut reading = Reading::from(render::of(&findings));
        reading.passed.extend(findings.iter().filter_map(late::refused));
        Self::new(settings, reading)
    }

    /// Goes on reading as in an earlier life; nothing if that read nothing.
    pub(super) fn known(settings: &Settings, reading: &Reading) -> Option<Self> {
        (!reading.epochs.is_empty()).then(|| Self::new(settings, reading.clone()))
    }

    fn new(settings: &Settings, reading: Reading) -> Self {
        let schema = reading.epochs.first().map(|epoch| Arc::clone(&epoch.schema)).unwrap_or_default();
        let renderer = Renderer::new(settings, schema);
        let (settings, watch, said) = (settings.clone(), None, None);
        let mut reader =
            Self { settings, renderer, reading, epoch: 0, grows: false, watch, first: None, said };
        reader.fit();
        reader
    }

    /// The schema it reads by now.
    pub(super) fn schema(&self) -> &Arc<Schema> {
        self.renderer.schema()
    }

    /// The next event, before it is rendered: the schema may change with it. What joined, if that was only found now.
    pub(super) fn meet(&mut self, offset: i64, event: &Event) -> Option<Schema> {
        self.first.get_or_insert(offset);
        let joined = self.watch.take_if(|(due, _)| offset >= *due).and_then(|(due, watch)| {
            let findings = watch.findings(&self.settings, late::room(self.last()));
            self.review(due, &findings)
        });
        while let Some(next) = self.reading.epochs.get(self.epoch + 1).filter(|next| next.from <= offset) {
            self.renderer = Renderer::new(&self.settings, Arc::clone(&next.schema));
            self.epoch += 1;
        }
        let due = offset.div_euclid(self.period()).saturating_add(1).saturating_mul(self.period());
        let reviewed = due - self.period();
        if reviewed > self.reading.reviewed {
            (self.reading.reviewed, self.said) = (reviewed, None);
        }
        if self.grows && offset >= due - self.stretch() && due > self.reading.reviewed {
            let (_, watch) = self.watch.get_or_insert_with(|| (due, late::Watch::default()));
            watch.see(event, &self.renderer, &self.reading.passed);
        }
        joined
    }

    /// The sample of the event last met.
    pub(super) fn render(&self, event: &Event) -> Sample {
        self.renderer.render(event)
    }

    /// What a commit has to carry, and where one who begins from it has to start reading: `enough` rebuilds the state, but
    /// a stretch that was not reviewed yet has to be read whole. Nothing where fields are named.
    pub(super) fn kept(&mut self, enough: i64) -> (i64, Option<Arc<Reading>>) {
        if !self.settings.fields.is_empty() {
            return (enough, None);
        }
        let mut from = enough;
        if let Some(first) = self.first.filter(|_| self.grows) {
            let stretch = self.reading.reviewed.saturating_add(self.period() - self.stretch());
            from = from.min(stretch.max(first));
        }
        let later = |epoch: &Epoch| epoch.from <= from;
        let base = self.reading.epochs.iter().rposition(later).unwrap_or(0);
        let epochs = &self.reading.epochs[base..];
        if self.said.as_ref().is_none_or(|said| said.epochs.len() != epochs.len()) {
            let Reading { passed, reviewed, .. } = &self.reading;
            let (epochs, passed) = (epochs.to_vec(), passed.clone());
            self.said = Some(Arc::new(Reading { epochs, passed, reviewed: *reviewed }));
        }
        (from, self.said.clone())
    }

    /// Lets what was found worth reading join from an offset on.
    fn review(&mut self, from: i64, findings: &[Finding]) -> Option<Schema> {
        self.reading.passed.extend(findings.iter().filter_map(late::refused));
        let mut written = written(self.last());
        let fits = |finding: &&Finding| {
            let more = field(&finding.pointer);
            let fits = finding.kind != Kind::Ignore && written + more <= WRITTEN_MAX;
            written += if fits { more } else { 0 };
            fits
        };
        let joined = render::of(findings.iter().filter(fits));
        if !joined.is_empty() {
            let schema = Arc::new(self.last().and(&joined));
            self.reading.epochs.push(Epoch { from, schema });
        }
        self.fit();
        self.said = None;
        (!joined.is_empty()).then_some(joined)
    }

    /// Forgets the oldest of what was passed over, as far as there is no room for it.
    fn fit(&mut self) {
        let schema = self.last();
        let room = WRITTEN_MAX.saturating_sub(written(schema));
        self.grows = self.settings.fields.is_empty() && late::room(schema) > 0 && room > HASH;
        let passed = &mut self.reading.passed;
        passed.drain(..passed.len().saturating_sub(room / HASH));
    }

    /// The schema that has grown most.
    fn last(&self) -> &Schema {
        self.reading.epochs.last().map_or(self.renderer.schema(), |epoch| &epoch.schema)
    }

    /// Offsets that a review looks back on.
    fn stretch(&self) -> i64 {
        i64::try_from(self.settings.infer_events).unwrap_or(i64::MAX).clamp(1, i64::MAX / PERIOD)
    }

    fn period(&self) -> i64 {
        self.stretch() * PERIOD
    }
}

impl From<Schema> for Reading {
    fn from(schema: Schema) -> Self {
        let epochs = vec![Epoch { from: 0, schema: Arc::new(schema) }];
        Self { epochs, passed: Vec::new(), reviewed: i64::MIN }
    }
}

fn written(schema: &Schema) -> usize {
    schema.lists().into_iter().flatten().chain(&schema.time).map(|pointer| field(pointer)).sum()
}

/// Bytes of a pointer in JSON, with quotes and a comma.
fn field(pointer: &str) -> usize {
    let bytes = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    3 + pointer.bytes().map(bytes).sum::<usize>()
}
