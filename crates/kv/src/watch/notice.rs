//! What a hub is asked, and what it tells.

use std::sync::Arc;

use quorate_core::Mutants;

use super::History;
use crate::auth::{Asker, Denial};
use crate::request::{Event, KeyRange, Revision};

/// What a notice takes beside its events, about, in bytes.
const NOTICE_BYTES: usize = 64;

/// A stream of notices to one client, with any number of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// The keys.
    pub range: KeyRange,
    /// The first revision to be told of; all that are not positive stand for the one after the newest.
    pub start: Revision,
    /// Leave out writes.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// Tell what the key held before.
    pub prev_kv: bool,
    /// Tell from time to time how far it has come, if there was nothing else to tell.
    pub progress_notify: bool,
    /// Whoever sends its notices may part them.
    pub fragment: bool,
    /// Who watches.
    pub asker: Option<Asker>,
}

impl Watch {
    /// Why whoever watches may not, by who may read what as of then.
    pub(super) fn denial(&self, history: &History, mutants: Mutants) -> Option<Denial> {
        history.auth.require_read(self.asker.as_ref(), &self.range, mutants).err()
    }

    pub(super) fn wants(&self, event: &Event, mutants: Mutants) -> bool {
        let is_filtered = if event.is_deletion { self.no_delete } else { self.no_put };
        !is_filtered || mutants.has("watch_ignores_its_filter")
    }
}

/// Why a watch is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The range holds no key, by its bounds alone.
    EmptyRange,
    /// The stream has a watch of this id.
    DuplicateId,
    /// The stream has as many watches as it may.
    TooMany,
    /// Whoever asks may not read all of the range.
    Denied(Denial),
}

/// What a stream is told. Revisions are of this node's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A watch is created.
    Created {
        /// Its id, unique in the stream.
        watch: i64,
        /// The store's revision.
        revision: Revision,
    },
    /// A watch is not created.
    Refused {
        /// Why.
        why: Refusal,
        /// The store's revision.
        revision: Revision,
    },
    /// Something was changed.
    Events {
        /// The watch.
        watch: i64,
        /// In order, and of each revision all.
        events: Vec<Arc<Event>>,
        /// The watch has been told of all up to this one.
        revision: Revision,
        /// What the watch wants: the events may hold more.
        prev_kv: bool,
        /// May be parted.
        fragment: bool,
    },
    /// Nothing more was changed: a watch, or each of the stream, has been told of all up to a revision.
    Progress {
        /// The watch; none for all.
        watch: Option<i64>,
        /// The revision.
        revision: Revision,
    },
    /// A watch is over.
    Canceled {
        /// The watch.
        watch: i64,
        /// Set if it would have to be told of what a compaction has dropped: the oldest revision that is still known.
        compacted: Option<Revision>,
        /// The store's revision.
        revision: Revision,
    },
    /// A watch is over: whoever watches may no longer read all of its range. Of what was changed since then, nothing was
    /// told.
    Denied {
        /// The watch.
        watch: i64,
        /// Why.
        why: Denial,
        /// The store's revision.
        revision: Revision,
    },
}

impl Notice {
    /// What it takes in memory, about, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Notice::Events { events, .. } => {
                let of_event = |event: &Arc<Event>| event.bytes() + NOTICE_BYTES;
                NOTICE_BYTES + events.iter().map(of_event).sum::<usize>()
            }
            _ => NOTICE_BYTES,
        }
    }
}
