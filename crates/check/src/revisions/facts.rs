//! What the acknowledged and the unknown operations of a history say about the store, indexed so
//! that each question of the audit costs a logarithm.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::history::OpId;
use crate::kv_model::{
    Action, Contents, KeyValue, KvHistory, KvInput, KvOutput, Reply, Revision, Span, actions,
    sightings,
};

/// An acknowledged write changed a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'h> {
    pub(super) op: OpId,
    /// What it put; `None` if it deleted the key.
    pub(super) value: Option<&'h Vec<u8>>,
}

/// A delete, or a transaction with one, whose outcome is unknown.
struct UnknownDelete<'h> {
    span: &'h Span,
    invoked_ns: u64,
}

/// Everything that the audit looks up.
pub(super) struct Facts<'h> {
    /// The revision before the history.
    pub(super) start_revision: Revision,
    /// What the store held then.
    pub(super) start_entries: HashMap<&'h [u8], &'h KeyValue>,
    /// The acknowledged writes.
    pub(super) acknowledged: BTreeMap<Revision, OpId>,
    /// Their revisions, in order.
    revisions: Vec<Revision>,
    /// Revisions that two acknowledged writes have.
    pub(super) shared: Vec<(Revision, OpId, OpId)>,
    /// What acknowledged writes did to each key that was ever heard of.
    changes: BTreeMap<&'h [u8], BTreeMap<Revision, Change<'h>>>,
    /// What operations of unknown outcome may have put, and when that was first asked for.
    pub(super) unknown_puts: HashMap<(&'h Vec<u8>, &'h Vec<u8>), u64>,
    unknown_deletes: Vec<UnknownDelete<'h>>,
    /// How many operations of unknown outcome may have written.
    pub(super) unknown_writes: usize,
}

impl<'h> Facts<'h> {
    pub(super) fn gather(start: &'h Contents, history: &'h KvHistory) -> Self {
        let mut facts = Self {
            start_revision: start.revision,
            start_entries: start.entries.iter().map(|entry| (&entry.key[..], entry)).collect(),
            acknowledged: BTreeMap::new(),
            revisions: Vec::new(),
            shared: Vec::new(),
            changes: start.entries.iter().map(|entry| (&entry.key[..], BTreeMap::new())).collect(),
            unknown_puts: HashMap::new(),
            unknown_deletes: Vec::new(),
            unknown_writes: 0,
        };
        // Every key has to be known before a delete of many can be spread over them.
        for (_, operation) in history.operations() {
            for action in operation.input.all_actions() {
                if let Action::Put { key, .. } = action {
                    facts.changes.entry(key).or_default();
                }
            }
            for sighting in operation.output().into_iter().flat_map(sightings) {
                facts.changes.entry(&sighting.entry.key).or_default();
            }
        }
        for (op, operation) in history.operations() {
            match operation.output() {
                None => facts.note_unknown(&operation.input, operation.invoked_ns),
                Some(output) if output.is_write() => {
                    facts.note_acknowledged(op, &operation.input, output);
                }
                Some(_) => {}
            }
        }
        facts.revisions = facts.acknowledged.keys().copied().collect();
        facts
    }

    fn note_acknowledged(&mut self, op: OpId, input: &'h KvInput, output: &'h KvOutput) {
        let revision = output.revision;
        match self.acknowledged.entry(revision) {
            Entry::Vacant(free) => _ = free.insert(op),
            Entry::Occupied(first) => self.shared.push((revision, *first.get(), op)),
        }
        // In their order, since a later action of a transaction hides what an earlier one did.
        for (action, reply) in actions(input, output) {
            match (action, reply) {
                (Action::Put { key, value, .. }, _) => {
                    self.note(key, revision, Change { op, value: Some(value) });
                }
                (Action::Delete { span, .. }, Reply::Delete { deleted: 1.., .. }) => {
                    let keys: Vec<&'h [u8]> = self.keys_in(span).collect();
                    for key in keys {
                        self.note(key, revision, Change { op, value: None });
                    }
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, key: &'h [u8], revision: Revision, change: Change<'h>) {
        self.changes.entry(key).or_default().insert(revision, change);
    }

    fn note_unknown(&mut self, input: &'h KvInput, invoked_ns: u64) {
        let mut may_write = false;
        for action in input.all_actions() {
            match action {
                Action::Range { .. } => continue,
                Action::Put { key, value, .. } => {
                    let first = self.unknown_puts.entry((key, value)).or_insert(invoked_ns);
                    *first = invoked_ns.min(*first);
                }
                Action::Delete { span, .. } => {
                    self.unknown_deletes.push(UnknownDelete { span, invoked_ns });
                }
            }
            may_write = true;
        }
        self.unknown_writes += usize::from(may_write);
    }

    /// Every key of `span` that the history has heard of.
    pub(super) fn keys_in(&self, span: &Span) -> impl Iterator<Item = &'h [u8]> {
        let from: &[u8] = match span {
            Span::One(key) | Span::Between(key, _) | Span::From(key) => key,
            Span::All => &[],
        };
        let keys = self
            .changes
            .range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded));
        keys.map(|(key, _)| *key).take_while(|key| span.contains(key))
    }

    /// What an acknowledged write did to `key` at exactly `revision`.
    pub(super) fn change_at(&self, key: &[u8], revision: Revision) -> Option<Change<'h>> {
        self.changes.get(key)?.get(&revision).copied()
    }

    /// The last acknowledged change of `key` from `first` to `last`, both included.
    pub(super) fn last_change(
        &self,
        key: &[u8],
        first: Revision,
        last: Revision,
    ) -> Option<(Revision, Change<'h>)> {
        if first > last {
            return None;
        }
        let (revision, change) = self.changes.get(key)?.range(first..=last).next_back()?;
        Some((*revision, *change))
    }

    /// The put that `key` was last known to have at `at`: its revision, and who put it (`None`:
    /// the start). `None` if it was never known to be there, or known to be deleted.
    pub(super) fn last_put(
        &self,
        key: &[u8],
        at: Revision,
    ) -> Option<(Revision, Option<Change<'h>>)> {
        match self.last_change(key, Revision(0), at) {
            Some((revision, change)) => change.value.map(|_| (revision, Some(change))),
            None => self.start_entries.contains_key(key).then_some((self.start_revision, None)),
        }
    }

    /// Whether an operation of unknown outcome, invoked by `by_ns`, may have deleted `key` after
    /// `put_at` and no later than `until`.
    pub(super) fn may_have_been_deleted(
        &self,
        key: &[u8],
        put_at: Revision,
        until: Revision,
        by_ns: u64,
    ) -> bool {
        let upto = |last: Revision| self.revisions.partition_point(|revision| *revision <= last);
        let taken = (upto(until) - upto(put_at)) as u64;
        let has_free_revision = taken < until.0.saturating_sub(put_at.0);
        has_free_revision
            && self
                .unknown_deletes
                .iter()
                .any(|delete| delete.invoked_ns <= by_ns && delete.span.contains(key))
    }
}
