//! Changes that are visible to the store's own reads, and not in the engine yet.
//!
//! A shard applies many entries in a turn and writes them as one batch. Until then their changes are here, over what the
//! engine holds. An entry that cannot be carried out to its end is taken back alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use bytes::Bytes;
use quorate_engine::Batch;

use super::layout::Bounds;

/// The changes of the commands since the last batch.
#[derive(Debug, Default)]
pub(super) struct Pending {
    changes: BTreeMap<Bytes, Pended>,
    /// New records of the index. No command reads them, so that they need no order of their own.
    index: Vec<(Bytes, Bytes)>,
    /// What the command that is being carried out has overwritten of those before it.
    overwritten: Vec<(Bytes, Pended)>,
    /// The number of that command, and where its records of the index begin.
    command: u64,
    index_before: usize,
}

#[derive(Debug)]
struct Pended {
    /// The command that it is of.
    command: u64,
    /// The new value, or none if the key is to go.
    value: Option<Bytes>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.index.is_empty()
    }

    /// Begins a command. What those before it did can no longer be taken back.
    pub(super) fn begin(&mut self) {
        self.overwritten.clear();
        self.command += 1;
        self.index_before = self.index.len();
    }

    /// Takes back all that was done since the last [`Pending::begin`].
    pub(super) fn roll_back(&mut self) {
        let command = self.command;
        self.changes.retain(|_, pended| pended.command != command);
        self.changes.extend(self.overwritten.drain(..));
        self.index.truncate(self.index_before);
    }

    /// Sets a key of the map, or removes it.
    pub(super) fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let pended = Pended { command: self.command, value };
        match self.changes.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(pended);
            }
            Entry::Occupied(mut entry) => {
                let before = entry.insert(pended);
                if before.command != self.command {
                    self.overwritten.push((entry.key().clone(), before));
                }
            }
        }
    }

    /// Adds a record to the index.
    pub(super) fn note(&mut self, key: Bytes, record: Bytes) {
        self.index.push((key, record));
    }

    /// What becomes of a key, if anything does.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.changes.get(key).map(|pended| &pended.value)
    }

    /// What becomes of a range of the map, but for the index. The range must not be empty by its bounds alone.
    pub(super) fn range<'a>(
        &'a self,
        (start, end): &Bounds,
    ) -> impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> + use<'a> {
        fn of(bound: &Bound<Bytes>) -> Bound<&[u8]> {
            bound.as_ref().map(|key| &key[..])
        }
        self.changes
            .range::<[u8], _>((of(start), of(end)))
            .map(|(key, pended)| (key, &pended.value))
    }

    /// Moves everything to a batch.
    pub(super) fn drain_into(&mut self, batch: &mut Batch) {
        for (key, pended) in std::mem::take(&mut self.changes) {
            match pended.value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        for (key, record) in self.index.drain(..) {
            batch.put(key, record);
        }
        self.begin();
    }
}
