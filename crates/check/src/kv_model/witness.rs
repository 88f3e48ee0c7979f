//! Evidence from a history's answers about where its writes of unknown outcome can have gone.
//!
//! It only ever turns away a step that could not be part of any order: every answer in a history
//! has to be placed sooner or later, so what an answer proves about a revision holds in every
//! order, before the answer is placed as well as after. Without it the search would find out only
//! when it comes to that answer, perhaps a thousand operations later, and once for each way in
//! which the unknown writes could have been mixed until then.
//!
//! A key that was seen at a revision tells of more than that: since its create revision it was
//! always there, and its version counts the puts since then. Of those the acknowledged ones are
//! known, so it is known how many puts of unknown outcome there were, and where there was none.

use std::collections::BTreeMap;

use super::{Action, Held, KvHistory, KvInput, KvState, Revision, actions, sightings};

/// What the answers of one history prove.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    /// The revisions of acknowledged writes, in order, each once.
    acknowledged: Vec<Revision>,
    /// The highest revision in any answer.
    last: Revision,
    /// The most puts of one key that one operation of unknown outcome can do.
    puts_at_once_max: u64,
    keys: BTreeMap<Vec<u8>, Evidence>,
}

/// What is known of one key.
#[derive(Clone, Debug, Default)]
struct Evidence {
    /// By the revision that put it last, as it was seen.
    seen: BTreeMap<Revision, Seen>,
    /// The revisions of its acknowledged puts, in order, one for each put.
    puts: Vec<Revision>,
}

/// A key as it was seen.
#[derive(Clone, Debug)]
struct Seen {
    value: Vec<u8>,
    create_revision: Revision,
    version: u64,
    /// Until when it certainly stayed so.
    until: Revision,
}

impl Witness {
    pub(super) fn of(history: &KvHistory) -> Self {
        let mut witness = Self::default();
        for (_, operation) in history.operations() {
            let Some(output) = operation.output() else {
                witness.note_unknown(&operation.input);
                continue;
            };
            witness.last = witness.last.max(output.revision);
            if output.is_write() {
                witness.acknowledged.push(output.revision);
                for (action, _) in actions(&operation.input, output) {
                    if let Action::Put { key, .. } = action {
                        witness.evidence(key).puts.push(output.revision);
                    }
                }
            }
            for sighting in sightings(output) {
                let entry = sighting.entry;
                let seen = &mut witness.evidence(&entry.key).seen;
                let seen = seen.entry(entry.mod_revision).or_insert_with(|| Seen {
                    value: entry.value.clone(),
                    create_revision: entry.create_revision,
                    version: entry.version,
                    until: entry.mod_revision,
                });
                seen.until = sighting.until.max(seen.until);
            }
        }
        witness.acknowledged.sort_unstable();
        witness.acknowledged.dedup();
        witness.keys.values_mut().for_each(|evidence| evidence.puts.sort_unstable());
        witness
    }

    fn evidence(&mut self, key: &[u8]) -> &mut Evidence {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_vec(), Evidence::default());
        }
        self.keys.get_mut(key).expect("it was put there")
    }

    fn note_unknown(&mut self, input: &KvInput) {
        let mut puts: BTreeMap<&[u8], u64> = BTreeMap::new();
        for action in input.all_actions() {
            if let Action::Put { key, .. } = action {
                *puts.entry(key).or_default() += 1;
            }
        }
        self.puts_at_once_max = puts.into_values().fold(self.puts_at_once_max, u64::max);
    }

    /// Whether a write of unknown outcome can have this revision at all, and be of use: nothing that
    /// was answered can follow one beyond all answers.
    pub(super) fn leaves_open(&self, revision: Revision) -> bool {
        revision <= self.last && self.acknowledged.binary_search(&revision).is_err()
    }

    /// How many revisions after `earlier`, up to `until`, no acknowledged write has.
    fn gaps(&self, earlier: Revision, until: Revision) -> u64 {
        let upto = |last| self.acknowledged.partition_point(|revision| *revision <= last);
        let taken = upto(until).saturating_sub(upto(earlier)) as u64;
        until.0.saturating_sub(earlier.0).saturating_sub(taken)
    }

    /// How many writes of unknown outcome there must have been after `revision` for all answers to
    /// be given. More there may have been, but nobody saw a trace of them.
    pub(super) fn gaps_after(&self, revision: Revision) -> u64 {
        self.gaps(revision, self.last)
    }

    /// Whether a write of unknown outcome can have led to `next`.
    pub(super) fn allows(&self, next: &KvState) -> bool {
        self.keys.iter().all(|(key, evidence)| {
            self.fits(evidence, next.held.get(key.as_slice()), next.revision)
        })
    }

    /// Whether a key can be as it is in `held` at `revision`.
    fn fits(&self, evidence: &Evidence, held: Option<&Held>, revision: Revision) -> bool {
        let earlier = evidence.seen.range(..revision).next_back();
        if let Some((put, _)) = earlier.filter(|(_, seen)| revision <= seen.until) {
            return held.is_some_and(|held| held.mod_revision == *put);
        }
        let Some((put, seen)) = evidence.seen.range(revision..).next() else { return true };
        if revision < seen.create_revision {
            return true;
        }
        let Some(held) = held.filter(|held| held.create_revision == seen.create_revision) else {
            return false;
        };
        if *put == revision {
            return held.mod_revision == revision
                && held.version == seen.version
                && *held.value == *seen.value;
        }
        let upto = |last| evidence.puts.partition_point(|put| *put <= last);
        let known = (upto(*put) - upto(revision)) as u64;
        let unknown_max = self.gaps(revision, *put).saturating_mul(self.puts_at_once_max);
        let least = held.version.saturating_add(known);
        least <= seen.version && seen.version <= least.saturating_add(unknown_max)
    }
}
