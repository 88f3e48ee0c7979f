//! What was changed, in the order in which it was: for whoever watches.

use std::sync::Arc;

use bytes::Bytes;
use quorate_engine::{Engine, EngineError, View};

use super::layout::{Place, at_or_before, damaged, history_prefix, index_bounds, place_of_index};
use super::map::Map;
use super::version::{Change, Version};
use super::{AuthTable, Store};
use crate::request::{Event, KeyValue, LeaseId, Revision};

/// How much is read in one go. A revision is never parted, so one with more changes is read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The number of changes.
    pub changes: usize,
    /// The size in bytes of their keys and values.
    pub bytes: usize,
}

/// All changes of some revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// In order; those of one revision are all here, or none of them.
    pub events: Vec<Event>,
    /// The last of those revisions, whether it changed a key or not.
    pub upto: Revision,
}

/// A store's past, from its last compaction up to when it was prepared. It may go to another thread.
#[derive(Clone, Debug)]
pub struct PreparedChanges<V> {
    pub(super) view: V,
    /// The revision of the store.
    pub now: Revision,
    /// The oldest revision whose changes are here.
    pub compacted: Revision,
    /// Who may read what.
    pub auth: Arc<AuthTable>,
}

impl<E: Engine> Store<E> {
    /// The store's past as it is now. What was applied and not committed is committed.
    pub fn prepare_changes(&mut self) -> PreparedChanges<E::View> {
        self.commit();
        self.committed_changes()
    }

    /// The store's past as it is now, if all that was applied is committed.
    pub fn committed_changes(&self) -> PreparedChanges<E::View> {
        PreparedChanges {
            view: self.engine.view(),
            now: self.meta.revision,
            compacted: self.meta.compacted,
            auth: self.auth.clone(),
        }
    }
}

impl<V: View> PreparedChanges<V> {
    /// The changes from the revision `from` on, but none after `upto`: all, or as many whole revisions as the portion
    /// has room for, and at least one. `from` must not have been compacted.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn read(
        &self,
        from: Revision,
        upto: Revision,
        portion: Portion,
        prev_kv: bool,
    ) -> Result<Changes, EngineError> {
        let map = Map::new(&self.view);
        let upto = upto.min(self.now);
        let mut events: Vec<Event> = Vec::new();
        let mut bytes = 0;
        for found in map.scan(index_bounds(Place::first(from), Place::last(upto))) {
            let (raw, record) = found?;
            let place = place_of_index(&raw)?;
            if let Some(last) = events.last().map(|event| event.kv.mod_revision)
                && last < place.revision
                && (events.len() >= portion.changes || bytes >= portion.bytes)
            {
                return Ok(Changes { events, upto: Revision(place.revision.0 - 1) });
            }
            let change = Change::decode(&record, place)?;
            if place.revision == self.compacted && change.ended_within(place.revision) {
                // What it ended is garbage, and may be gone or not: nobody is told of it.
                events.retain(|event| event.kv.key != change.key);
            }
            let Some(event) = self.event(map, change, place, prev_kv)? else { continue };
            bytes += event.bytes();
            events.push(event);
        }
        Ok(Changes { events, upto })
    }

    fn event(
        &self,
        map: Map<'_, V>,
        change: Change,
        place: Place,
        prev_kv: bool,
    ) -> Result<Option<Event>, EngineError> {
        let Change { key, is_deletion, ended } = change;
        // What ended at the compacted revision itself may be gone already, so it is left out of every answer.
        let ended = ended.filter(|_| prev_kv && place.revision > self.compacted);
        let prev_kv = match ended {
            Some((before, _)) => {
                let version = version(map, &key, before)?.ok_or_else(|| no_version(&key))?;
                Some(version.into_key_value(key.clone(), false))
            }
            None => None,
        };
        let kv = if is_deletion {
            KeyValue {
                key,
                create_revision: Revision(0),
                mod_revision: place.revision,
                version: 0,
                value: Bytes::new(),
                lease: LeaseId(0),
            }
        } else {
            match version(map, &key, place)? {
                Some(version) => version.into_key_value(key, false),
                None if place.revision == self.compacted => return Ok(None),
                None => return Err(no_version(&key)),
            }
        };
        Ok(Some(Event { is_deletion, kv, prev_kv }))
    }
}

/// What a write at a place left behind: the newest version of its key, or one that was superseded since.
fn version<V: View>(
    map: Map<'_, V>,
    key: &[u8],
    at: Place,
) -> Result<Option<Version>, EngineError> {
    if let Some(newest) = map.live(key)?.filter(|newest| newest.place == at) {
        return Ok(Some(newest));
    }
    let mut prefix = Vec::new();
    history_prefix(key, &mut prefix);
    map.get(&at_or_before(&prefix, at))?.map(Version::decode).transpose()
}

fn no_version(key: &[u8]) -> EngineError {
    damaged(format!("the key {key:?}"), "the index notes a change that left no version")
}
