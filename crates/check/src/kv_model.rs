//! A whole key-value store with etcd's revisions, doing one thing at a time.
//!
//! Every answer carries the store's *revision*: the count of writes so far. A write that changes
//! something takes the next one; an answer to a read carries the one it saw. The revision belongs
//! to the whole store, so a history cannot be split by key, and need not be: the revision in a
//! write's answer says which place it has, and the one in a read's answer says which writes came
//! before it. The model turns a wrong revision away before it computes anything, which leaves the
//! search nearly nothing to choose.
//!
//! What is left to choose is where writes of *unknown* outcome went. There the history's own
//! answers are used as evidence (`witness.rs`): a revision that an acknowledged write has belongs to
//! no other, and a key that someone saw tells which write made it. And writes that no answer can
//! tell apart are taken for one and the same (`unseen.rs`).
//!
//! Omitted: leases (record an expiry as a delete of unknown outcome), reads at an old revision and
//! serializable reads (neither promises to be linearizable), nested transactions, range compares.
//!
//! Read next: [`check`], then `Model for KvModel`.

mod evidence;
mod types;
mod unseen;
mod witness;

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use evidence::{Absence, Sighting, absences, actions, sightings};
pub use types::{
    Action, Compare, Contents, KeyValue, KvInput, KvOutput, KvReply, Relation, Reply, Revision,
    Span, Target,
};

use crate::history::History;
use crate::linear::{Verdict, check_within};
use crate::model::{Model, Transition};
use unseen::Unseen;
use witness::Witness;

/// A history of a key-value store.
pub type KvHistory = History<KvInput, KvOutput>;

/// Decides whether a store that held `start` could have given the answers in `history`, or gives
/// up after `steps_max` steps of the model.
pub fn check(start: &Contents, history: &KvHistory, steps_max: u64) -> Verdict {
    check_within(&KvModel::knowing(start, history), history, steps_max)
}

/// The model of the store. [`check`] makes one that knows the evidence in the history it checks;
/// one made by [`KvModel::new`] knows none, and may be slower with operations of unknown outcome.
#[derive(Clone, Debug)]
pub struct KvModel {
    start: KvState,
    evidence: Option<(Witness, Unseen)>,
}

impl KvModel {
    /// A store that holds `start`.
    pub fn new(start: &Contents) -> Self {
        Self { start: KvState::holding(start), evidence: None }
    }

    /// A store that held `start` before `history`, with the evidence in it.
    pub(crate) fn knowing(start: &Contents, history: &KvHistory) -> Self {
        let evidence = Some((Witness::of(history), Unseen::of(start, history)));
        Self { start: KvState::holding(start), evidence }
    }
}

/// What a key holds in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    /// Of the value; first, so that comparing most different states ends here.
    fingerprint: u64,
    value: Arc<[u8]>,
    create_revision: Revision,
    mod_revision: Revision,
    version: u64,
}

/// The state of the model: the revision, and what each key holds.
#[derive(Clone, PartialEq, Eq)]
pub struct KvState {
    revision: Revision,
    held: BTreeMap<Arc<[u8]>, Held>,
}

// Writes of unknown outcome make many states with the same revisions and different values, so the
// values must tell in the hash; a fingerprint taken once, when the value is written, is enough.
impl Hash for KvState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.revision.hash(hasher);
        for held in self.held.values() {
            held.mod_revision.hash(hasher);
            held.fingerprint.hash(hasher);
        }
    }
}

impl std::fmt::Debug for KvState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.range(&Span::All);
        f.debug_struct("Store").field("revision", &self.revision).field("holds", &all).finish()
    }
}

impl KvState {
    fn holding(contents: &Contents) -> Self {
        let held = contents.entries.iter().map(|entry| {
            let held = Held {
                fingerprint: fingerprint(&entry.value),
                value: entry.value.as_slice().into(),
                create_revision: entry.create_revision,
                mod_revision: entry.mod_revision,
                version: entry.version,
            };
            (entry.key.as_slice().into(), held)
        });
        Self { revision: contents.revision, held: held.collect() }
    }

    fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.held.get(key).map(|held| key_value(key, held))
    }

    fn range(&self, span: &Span) -> Vec<KeyValue> {
        if let Span::One(key) = span {
            return self.get(key).into_iter().collect();
        }
        let inside = self.held.iter().filter(|(key, _)| span.contains(key));
        inside.map(|(key, held)| key_value(key, held)).collect()
    }

    fn holds(&self, compare: &Compare) -> bool {
        let held = self.held.get(compare.key.as_slice());
        let absent = Revision(0);
        let ordering = match &compare.target {
            // etcd has no word for the value of a key that is not there: every comparison with it
            // fails, even "not equal".
            Target::Value(value) => match held {
                Some(held) => (*held.value).cmp(value.as_slice()),
                None => return false,
            },
            Target::Version(version) => held.map_or(0, |held| held.version).cmp(version),
            Target::CreateRevision(revision) => {
                held.map_or(absent, |held| held.create_revision).cmp(revision)
            }
            Target::ModRevision(revision) => {
                held.map_or(absent, |held| held.mod_revision).cmp(revision)
            }
        };
        compare.relation.holds(ordering)
    }

    /// Does `action` as part of the write that would take `revision`, and answers. `changed` is
    /// the state with what that write has changed so far, if anything.
    fn act(&self, changed: &mut Option<Self>, revision: Revision, action: &Action) -> Reply {
        let now = changed.as_ref().unwrap_or(self);
        match action {
            Action::Range { span } => Reply::Range { entries: now.range(span) },
            Action::Put { key, value, wants_previous } => {
                let previous = if *wants_previous { now.get(key) } else { None };
                let next = changed.get_or_insert_with(|| self.clone());
                next.put(key, value, revision);
                Reply::Put { previous }
            }
            Action::Delete { span, wants_previous } => {
                let gone = now.range(span);
                if !gone.is_empty() {
                    let next = changed.get_or_insert_with(|| self.clone());
                    next.held.retain(|key, _| !span.contains(key));
                }
                let deleted = gone.len() as u64;
                Reply::Delete { deleted, previous: if *wants_previous { gone } else { Vec::new() } }
            }
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8], revision: Revision) {
        let earlier = self.held.get(key);
        let held = Held {
            fingerprint: fingerprint(value),
            value: value.into(),
            create_revision: earlier.map_or(revision, |held| held.create_revision),
            mod_revision: revision,
            version: earlier.map_or(0, |held| held.version) + 1,
        };
        self.held.insert(key.into(), held);
    }

    /// The state after `input` (`None` if it changes nothing), and the answer to it.
    fn apply(&self, input: &KvInput) -> (Option<Self>, KvOutput) {
        let mut changed = None;
        let revision = self.revision.next();
        let reply = match input {
            KvInput::One(action) => KvReply::One(self.act(&mut changed, revision, action)),
            KvInput::Txn { compares, success, failure } => {
                let succeeded = compares.iter().all(|compare| self.holds(compare));
                let branch = if succeeded { success } else { failure };
                let act = |action| self.act(&mut changed, revision, action);
                KvReply::Txn { succeeded, replies: branch.iter().map(act).collect() }
            }
        };
        if let Some(next) = &mut changed {
            next.revision = revision;
        }
        let revision = changed.as_ref().map_or(self.revision, |next| next.revision);
        (changed, KvOutput { revision, reply })
    }
}

/// FNV-1a, 64 bits: enough to spread states, and never asked to tell them apart alone.
fn fingerprint(value: &[u8]) -> u64 {
    value.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn key_value(key: &[u8], held: &Held) -> KeyValue {
    KeyValue {
        key: key.to_vec(),
        value: held.value.to_vec(),
        create_revision: held.create_revision,
        mod_revision: held.mod_revision,
        version: held.version,
    }
}

impl Model for KvModel {
    type Input = KvInput;
    type Output = KvOutput;
    type State = KvState;
    type Key = ();

    fn initial(&self) -> KvState {
        self.start.clone()
    }

    fn step(
        &self,
        state: &KvState,
        input: &KvInput,
        output: Option<&KvOutput>,
    ) -> Transition<KvState> {
        let Some(output) = output else {
            let witness = self.evidence.as_ref().map(|(witness, _)| witness);
            if witness.is_some_and(|witness| !witness.leaves_open(state.revision.next())) {
                return Transition::Impossible;
            }
            return match state.apply(input).0 {
                Some(next) if witness.is_some_and(|witness| !witness.allows(&next)) => {
                    Transition::Impossible
                }
                Some(next) => Transition::To(next),
                None => Transition::Unchanged,
            };
        };
        // The revision alone turns away nearly every operation that is not the next.
        let expected = if output.is_write() { state.revision.next() } else { state.revision };
        if output.revision != expected {
            return Transition::Impossible;
        }
        let (changed, answer) = state.apply(input);
        match changed {
            _ if answer != *output => Transition::Impossible,
            Some(next) => Transition::To(next),
            None => Transition::Unchanged,
        }
    }

    fn is_read(&self, input: &KvInput, output: Option<&KvOutput>) -> bool {
        output.map_or(!input.may_write(), |output| !output.is_write())
    }

    fn unseen<'i>(&self, input: &'i KvInput) -> Cow<'i, KvInput> {
        match &self.evidence {
            Some((_, unseen)) => unseen.stand_in(input),
            None => Cow::Borrowed(input),
        }
    }

    fn essence(&self, state: &Rc<KvState>) -> Rc<KvState> {
        match &self.evidence {
            Some((_, unseen)) => Rc::new(unseen.essence(state)),
            None => Rc::clone(state),
        }
    }

    fn unknown_changes_left(&self, state: &KvState) -> Option<u64> {
        let (witness, _) = self.evidence.as_ref()?;
        Some(witness.gaps_after(state.revision))
    }

    fn answer(&self, state: &KvState, input: &KvInput) -> Option<KvOutput> {
        Some(state.apply(input).1)
    }
}
