//! What one key held over time.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::request::{KeyValue, LeaseId, Revision};

/// What one write of a key left behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) mod_revision: Revision,
    pub(super) create_revision: Revision,
    /// The number of writes since the creation, this one included.
    pub(super) version: i64,
    pub(super) lease: LeaseId,
    /// Nothing in a tombstone, whose other fields (but for `mod_revision`) are those of the version it ended.
    pub(super) value: Option<Bytes>,
}

impl Version {
    pub(super) fn is_live(&self) -> bool {
        self.value.is_some()
    }

    /// The tombstone that ends this version at a revision.
    pub(super) fn ended_at(&self, revision: Revision) -> Self {
        Self { mod_revision: revision, value: None, ..self.clone() }
    }

    pub(super) fn value_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }

    /// This version as an answer. The value is shared, not copied.
    pub(super) fn to_key_value(&self, key: &Bytes, keys_only: bool) -> KeyValue {
        KeyValue {
            key: key.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            value: if keys_only { Bytes::new() } else { self.value.clone().unwrap_or_default() },
            lease: self.lease,
        }
    }
}

/// The versions of one key. There is always one; most keys have no other, and then nothing is allocated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// Oldest first. Two versions share a revision where one transaction wrote the key and deleted it.
    pub(super) older: VecDeque<Version>,
    pub(super) newest: Version,
}

impl History {
    pub(super) fn new(first: Version) -> Self {
        Self { older: VecDeque::new(), newest: first }
    }

    pub(super) fn push(&mut self, version: Version) {
        self.older.push_back(std::mem::replace(&mut self.newest, version));
    }

    /// What a read at a revision finds.
    pub(super) fn live_at(&self, revision: Revision) -> Option<&Version> {
        let found = if self.newest.mod_revision <= revision {
            &self.newest
        } else {
            let later = self.older.partition_point(|version| version.mod_revision <= revision);
            &self.older[later.checked_sub(1)?]
        };
        found.is_live().then_some(found)
    }

    pub(super) fn versions(&self) -> impl DoubleEndedIterator<Item = &Version> {
        self.older.iter().chain(std::iter::once(&self.newest))
    }
}
