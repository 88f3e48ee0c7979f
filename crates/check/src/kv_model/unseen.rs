//! What writes of unknown outcome come to, as far as any answer can tell.
//!
//! Clients write values that nobody else writes, so hardly two of their operations are equal. But
//! a value that no answer shows might as well be another: only the conditions of transactions look
//! at it, and where all of them find the same in two such values of a key, nothing tells the two
//! apart. The same goes for spans that hold the same keys, and for what is asked back by an
//! operation whose answer never came. [`Unseen`] puts one of them in the place of all.
//!
//! So with the revisions of a key. One that no answer shows can only be told by the conditions that
//! look at it, and lies between two that some answer or condition names: it might as well be the
//! first there. And if no answer shows the life of a key, from its creation to its end, its version
//! matters no more once it is beyond all that conditions ask for: every later one is, too.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Action, Compare, Contents, KvHistory, KvInput, KvState, Relation, Reply, Revision, Span, Target,
};

/// What stands for what.
#[derive(Clone, Debug, Default)]
pub(super) struct Unseen {
    /// By key: for values that nobody saw, the one that stands for them.
    values: HashMap<Vec<u8>, HashMap<Vec<u8>, Vec<u8>>>,
    /// For spans, the one that stands for them.
    spans: HashMap<Span, Span>,
    /// By key.
    named: HashMap<Vec<u8>, Named>,
}

/// What answers show and conditions ask for, of one key.
#[derive(Clone, Debug, Default)]
struct Named {
    mod_revisions: BTreeSet<Revision>,
    create_revisions: BTreeSet<Revision>,
    /// Those that answers show.
    shown_lives: BTreeSet<Revision>,
    /// The highest version that a condition asks for.
    version_max: u64,
}

/// The first revision that lies as this one does to all that are named.
fn first_like(revision: Revision, named: &BTreeSet<Revision>) -> Revision {
    match named.range(..=revision).next_back() {
        Some(last) if *last == revision => revision,
        Some(last) => last.next(),
        None => Revision(0),
    }
}

impl Unseen {
    pub(super) fn of(start: &Contents, history: &KvHistory) -> Self {
        let mut unseen = Self::default();
        let mut keys: BTreeSet<&[u8]> =
            start.entries.iter().map(|entry| entry.key.as_slice()).collect();
        let mut shown: BTreeSet<(&[u8], &[u8])> = BTreeSet::new();
        let mut conditions: BTreeMap<&[u8], Vec<(Relation, &[u8])>> = BTreeMap::new();
        for (_, operation) in history.operations() {
            for action in operation.input.all_actions() {
                if let Action::Put { key, .. } = action {
                    keys.insert(key);
                }
            }
            for Compare { key, relation, target } in operation.input.compares() {
                if let Target::Value(value) = target {
                    conditions.entry(key).or_default().push((*relation, value));
                }
                let named = unseen.named.entry(key.clone()).or_default();
                match target {
                    Target::Value(_) => {}
                    Target::Version(version) => {
                        named.version_max = named.version_max.max(*version);
                    }
                    Target::CreateRevision(revision) => {
                        named.create_revisions.insert(*revision);
                    }
                    Target::ModRevision(revision) => {
                        named.mod_revisions.insert(*revision);
                    }
                }
            }
            for reply in operation.output().into_iter().flat_map(|output| output.replies()) {
                let entries = match reply {
                    Reply::Put { previous } => previous.as_slice(),
                    Reply::Range { entries } => entries,
                    Reply::Delete { previous, .. } => previous,
                };
                for entry in entries {
                    shown.insert((&entry.key, &entry.value));
                    let named = unseen.named.entry(entry.key.clone()).or_default();
                    named.mod_revisions.insert(entry.mod_revision);
                    named.create_revisions.insert(entry.create_revision);
                    named.shown_lives.insert(entry.create_revision);
                }
            }
        }
        let mut values: HashMap<(&[u8], Vec<bool>), &[u8]> = HashMap::new();
        let mut spans: HashMap<Vec<&[u8]>, &Span> = HashMap::new();
        let unknown = history.operations().filter(|(_, operation)| operation.output().is_none());
        for action in unknown.flat_map(|(_, operation)| operation.input.all_actions()) {
            match action {
                Action::Range { .. } => {}
                Action::Put { key, value, .. } => {
                    if shown.contains(&(key, value)) {
                        continue;
                    }
                    let conditions = conditions.get(&key[..]).map_or(&[][..], Vec::as_slice);
                    let met = conditions
                        .iter()
                        .map(|(relation, with)| relation.holds(value.as_slice().cmp(with)));
                    let one = *values.entry((key, met.collect())).or_insert(value);
                    let stands_for = unseen.values.entry(key.clone()).or_default();
                    stands_for.insert(value.clone(), one.to_vec());
                }
                Action::Delete { span, .. } => {
                    let held = keys.iter().copied().filter(|key| span.contains(key)).collect();
                    let one = *spans.entry(held).or_insert(span);
                    unseen.spans.insert(span.clone(), one.clone());
                }
            }
        }
        unseen
    }

    /// What stands for `input` where nobody saw its answer.
    pub(super) fn stand_in<'i>(&self, input: &'i KvInput) -> Cow<'i, KvInput> {
        let branch =
            |actions: &[Action]| actions.iter().filter_map(|one| self.action(one)).collect();
        Cow::Owned(match input {
            KvInput::One(action) => match self.action(action) {
                Some(action) => KvInput::One(action),
                None => return Cow::Borrowed(input),
            },
            KvInput::Txn { compares, success, failure } => KvInput::Txn {
                compares: compares.clone(),
                success: branch(success),
                failure: branch(failure),
            },
        })
    }

    /// What stands for a state.
    pub(super) fn essence(&self, state: &KvState) -> KvState {
        let nothing = Named::default();
        let mut essence = state.clone();
        for (key, held) in &mut essence.held {
            let named = self.named.get(&key[..]).unwrap_or(&nothing);
            if !named.shown_lives.contains(&held.create_revision) {
                held.version = held.version.min(named.version_max + 1);
            }
            held.create_revision = first_like(held.create_revision, &named.create_revisions);
            held.mod_revision = first_like(held.mod_revision, &named.mod_revisions);
        }
        essence
    }

    /// What stands for an action; none for one that changes nothing.
    fn action(&self, action: &Action) -> Option<Action> {
        let wants_previous = false;
        match action {
            Action::Range { .. } => None,
            Action::Put { key, value, .. } => {
                let one = self.values.get(key).and_then(|values| values.get(value));
                let (key, value) = (key.clone(), one.unwrap_or(value).clone());
                Some(Action::Put { key, value, wants_previous })
            }
            Action::Delete { span, .. } => {
                let span = self.spans.get(span).unwrap_or(span).clone();
                Some(Action::Delete { span, wants_previous })
            }
        }
    }
}
