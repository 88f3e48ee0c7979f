//! Compaction: forgetting what only reads below some revision could see.
//!
//! A compaction marks its revision, and that is all that the command does. What has come out of reach is removed in
//! steps ([`Store::collect_garbage`]), by a walk through the index: each change says which version ended there. A step
//! is one batch, which holds how far the walk has come beside what it removed, so that a crash repeats a step or does
//! not.
//!
//! The changes of the compacted revision itself stay in the index, with their tombstones, until the next compaction
//! goes beyond: whoever watches from that revision on must still learn of them. So a walk begins where the last one
//! ended, with changes whose own garbage is gone already.

use quorate_engine::{Engine, EngineError};

use super::Store;
use super::layout::{Place, history_key, index_bounds, place_of_index};
use super::version::Change;
use crate::error::Error;
use crate::request::{CompactRequest, CompactResponse, Revision};

impl<E: Engine> Store<E> {
    pub(super) fn compact(&mut self, request: &CompactRequest) -> Result<CompactResponse, Error> {
        if request.revision <= self.meta.compacted {
            return Err(Error::Compacted);
        }
        if request.revision > self.meta.revision {
            return Err(Error::FutureRevision);
        }
        self.meta.compacted = request.revision;
        Ok(CompactResponse { revision: self.meta.revision })
    }

    /// The last compaction whose garbage is all gone.
    pub fn collected(&self) -> Revision {
        self.meta.collected
    }

    /// Whether there is garbage to collect.
    pub fn has_garbage(&self) -> bool {
        self.meta.collected < self.meta.compacted
    }

    /// Removes what the last compactions have put out of reach, but looks at no more than so many changes. Returns
    /// whether there is more. What was applied and not committed is committed with it.
    ///
    /// # Errors
    /// What the engine could not read. Then nothing was removed.
    pub fn collect_garbage(&mut self, changes_max: usize) -> Result<bool, EngineError> {
        if !self.has_garbage() {
            return Ok(false);
        }
        self.commit();
        let mut meta = self.meta;
        if meta.collecting == meta.collected {
            meta.collecting = meta.compacted;
            // The changes at this revision were kept when it was collected.
            meta.next = Place::first(meta.collected.max(Revision(0)));
        }
        let reached = self.reached(meta.collecting);
        let changes = self.map().scan(index_bounds(meta.next, Place::last(reached)));
        let changes = changes.take(changes_max).collect::<Result<Vec<_>, _>>()?;
        let is_last = changes.len() < changes_max;
        let changes = changes
            .into_iter()
            .map(|(raw, record)| {
                let place = place_of_index(&raw)?;
                Ok((raw, place, Change::decode(&record, place)?))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        for (raw, place, change) in changes {
            let is_new = place.revision > meta.collected;
            if let Some((ended, bytes)) = change.ended.filter(|_| is_new) {
                self.batch.delete(history_key(&mut self.arena, &change.key, ended));
                meta.bytes -= bytes;
            }
            if place.revision < meta.collecting {
                self.batch.delete(raw);
                if change.is_deletion {
                    self.batch.delete(history_key(&mut self.arena, &change.key, place));
                }
            }
            meta.next = Place { sub: place.sub.saturating_add(1), ..place };
        }
        if is_last {
            meta.collected = meta.collecting;
        }
        self.meta = meta;
        self.is_meta_stale = true;
        self.commit();
        Ok(self.has_garbage())
    }

    /// The last change whose garbage is to go.
    fn reached(&self, collecting: Revision) -> Revision {
        match self.mutants.has("compaction_reaches_too_far") {
            true => Revision(collecting.0 + 1),
            false => collecting,
        }
    }
}
