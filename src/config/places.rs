//! Which layer a setting comes from, and on which line it stands.

use std::collections::{BTreeMap, BTreeSet};

use super::fault::Place;

/// The place of every key that is set, and of every section and list entry that is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    of: BTreeMap<String, Place>,
    /// The file, where there is one.
    file: Option<String>,
    /// Keys of which it is known that what was written does not count.
    broken: BTreeSet<String>,
}

impl Places {
    /// What a key that stands nowhere might have been added to.
    pub(super) fn file(&mut self, path: String) {
        self.file = Some(path);
    }

    /// A key is set, by a later layer than before.
    pub(super) fn set(&mut self, key: &str, place: Place) {
        let entry = format!("{key}[");
        self.of.retain(|other, _| !other.starts_with(&entry));
        self.of.insert(key.to_owned(), place);
    }

    /// An entry of a list, or a section.
    pub(super) fn note(&mut self, key: String, place: Place) {
        self.of.insert(key, place);
    }

    /// Where a key was set; the default where it was not.
    pub(super) fn set_at(&self, key: &str) -> Place {
        self.of.get(key).cloned().unwrap_or_default()
    }

    /// Where to look for a key: where it was set, or else its section or the file, where it could be.
    pub(super) fn near(&self, key: &str) -> Place {
        let list = key.split('[').next().unwrap_or(key);
        let section = key.split('.').next().unwrap_or(key);
        let mut known = [key, list, section].into_iter().filter_map(|name| self.of.get(name));
        known.find(|place| **place != Place::Default).cloned().unwrap_or_else(|| match &self.file {
            Some(path) => Place::File { path: path.clone(), line: 0 },
            None => Place::Default,
        })
    }

    /// What was written at this key does not count: nothing more should be said of it.
    pub(super) fn broken(&mut self, key: &str) {
        self.broken.insert(key.to_owned());
    }

    /// Whether a fault of this key, of its entry of a list or of the whole list was said already.
    pub(super) fn is_broken(&self, key: &str) -> bool {
        let list = key.split_once('[').map_or(key, |(list, _)| list);
        let entry = key.split_once(']').map_or(key.len(), |(entry, _)| entry.len() + 1);
        [key, list, &key[..entry]].into_iter().any(|key| self.broken.contains(key))
    }
}
