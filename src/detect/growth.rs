//! Fields that join a detector: they learn for a warm-up of their own, unheard, and then count like any other.
//!
//! A channel takes new fields in behind those it has, so that what it knows of these stays (habits of keys take long to
//! learn), and their scores go to new places between the old ones. A channel that cannot learn of a field alone (joint,
//! nearest: old events are no measure of combinations with it) is doubled: a new one learns beside it and takes its place. The
//! warm-up is as long as that of a lane, and at least [`SILENT_MIN`]: no channel may come back knowing nothing.
//!
//! Until a field is heard no verdict may differ by a bit from one without it, with one exception: where more numbers
//! leave a table of series less room, those not used for longest are forgotten. Fields that join in that time are heard
//! together with it.

use std::sync::Arc;

use super::channel::Unit;
use super::{Detector, Watch, channels, gated};
use crate::flow::Schema;

/// Events that fields learn for, unheard, at least: twice as many as it takes joint to say anything.
const SILENT_MIN: u64 = 500;

impl Detector {
    /// From now on points are of that schema, which begins as the one before, kind by kind.
    pub fn grow(&mut self, schema: &Arc<Schema>) {
        if Arc::ptr_eq(&self.schema, schema) || self.schema == *schema {
            return;
        }
        if self.seen == 0 {
            *self = Self::new(self.settings, Arc::clone(schema));
            return;
        }
        let fresh = channels(&self.settings, schema);
        let names: Vec<&str> = fresh.iter().map(|channel| channel.name()).collect();
        let mut known = std::mem::take(&mut self.channels).into_iter().peekable();
        let mut places = Places::default();
        for channel in fresh {
            let name = channel.name();
            let mut stays = false;
            while let Some(watch) = known.next_if(|watch| {
                let other = watch.channel.name();
                other == name || !names.contains(&other)
            }) {
                stays |= self.keep(watch, schema, &mut places);
            }
            if !stays {
                let watch = Watch::new(channel);
                places.all.extend(watch.fields.iter().map(|_| (watch.channel.unit(), None, true)));
                self.channels.push(watch);
            }
        }
        known.for_each(|watch| _ = self.keep(watch, schema, &mut places));
        self.fusion.arrange(&places.all);
        self.gated = gated(&self.channels, &mut self.fusion);
        self.schema = Arc::clone(schema);
        self.silent_until = self.seen.saturating_add(self.settings.warmup_events.max(SILENT_MIN));
    }

    /// Takes a channel over with its places; whether it stays for good.
    fn keep(&mut self, mut watch: Watch, schema: &Schema, places: &mut Places) -> bool {
        let before = places.next..places.next + watch.fields.len();
        places.next = before.end;
        let stays = watch.channel.grow(&self.settings, schema);
        // One that is not heard yet, and whose fields have changed again, has learned in vain.
        if stays || self.fusion.is_heard(before.start) {
            (watch.leaving, watch.fields) = (!stays, watch.channel.fields());
            let unit = watch.channel.unit();
            let place = |at| Some(before.start + at).filter(|at| before.contains(at));
            places.all.extend((0..watch.fields.len()).map(|at| (unit, place(at), stays)));
            self.channels.push(watch);
        }
        stays
    }

    /// The fields that verdicts are about.
    pub fn heard(&self) -> &Arc<Schema> {
        &self.heard
    }

    /// Lets all fields count.
    pub(super) fn hear(&mut self) {
        self.channels.retain(|watch| !watch.leaving);
        self.channels.iter_mut().for_each(|watch| watch.channel.hear());
        self.fusion.hear();
        self.gated = gated(&self.channels, &mut self.fusion);
        self.heard = Arc::clone(&self.schema);
        self.silent_until = u64::MAX;
    }
}

/// Where the scores of all fields go: their unit, where they went before, and whether they stay.
#[derive(Default)]
struct Places {
    all: Vec<(Unit, Option<usize>, bool)>,
    /// The first place that is not taken over yet.
    next: usize,
}
