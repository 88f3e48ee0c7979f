//! Evidence from a history's answers about where its writes of unknown outcome can have gone.
//!
//! It only ever turns away a step that could not be part of any order: every answer in a history
//! has to be placed sooner or later, so what an answer proves about a revision holds in every
//! order, before the answer is placed as well as after. Without it the search would find out only
//! when it comes to that answer, perhaps a thousand operations later, and once for each way in
//! which the unknown writes could have been mixed until then.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{KvHistory, KvState, Revision, sightings};

/// What the answers of one history prove.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// The revisions of acknowledged writes.
    acknowledged: HashSet<Revision>,
    /// By revision: the keys it put, with their values where someone saw them.
    put: HashMap<Revision, HashMap<Vec<u8>, Option<Vec<u8>>>>,
    /// By key and revision that put it: until when it certainly stayed.
    stayed: HashMap<Vec<u8>, BTreeMap<Revision, Revision>>,
}

impl Witness {
    pub(super) fn of(history: &KvHistory) -> Self {
        let mut witness = Self::default();
        for (_, operation) in history.operations() {
            let Some(output) = operation.output() else { continue };
            if output.is_write() {
                witness.acknowledged.insert(output.revision);
            }
            for sighting in sightings(output) {
                let entry = sighting.entry;
                let made = witness.put.entry(entry.create_revision).or_default();
                made.entry(entry.key.clone()).or_insert(None);
                let put = witness.put.entry(entry.mod_revision).or_default();
                put.insert(entry.key.clone(), Some(entry.value.clone()));
                let stayed = witness.stayed.entry(entry.key.clone()).or_default();
                let until = stayed.entry(entry.mod_revision).or_default();
                *until = sighting.until.max(*until);
            }
        }
        witness
    }

    /// Whether a write of unknown outcome can have this revision at all.
    pub(super) fn leaves_open(&self, revision: Revision) -> bool {
        !self.acknowledged.contains(&revision)
    }

    /// Whether the write that led from `earlier` to `next` did what was seen of its revision.
    pub(super) fn allows(&self, earlier: &KvState, next: &KvState) -> bool {
        let revision = next.revision;
        let did_what_was_seen = self.put.get(&revision).is_none_or(|put| {
            put.iter().all(|(key, value)| {
                next.held.get(key.as_slice()).is_some_and(|held| {
                    held.mod_revision == revision
                        && value.as_ref().is_none_or(|value| *held.value == **value)
                })
            })
        });
        did_what_was_seen
            && self.stayed.iter().all(|(key, stayed)| {
                let last_put = stayed.range(..revision).next_back();
                last_put.is_none_or(|(_, until)| *until < revision)
                    || !next.differs_at(key, earlier)
            })
    }
}
