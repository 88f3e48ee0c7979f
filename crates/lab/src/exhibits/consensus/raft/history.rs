//! What the claims about Raft need to remember, and the judges.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use quorate_core::{NodeId, RequestId};
use quorate_explore::raft as model;
use quorate_protocols::consensus::raft::{Index, Raft, Response, Term};

use crate::exhibit::{Broken, Members};

/// What members may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    of_raft: model::History,
    /// Who leads, in which term, and the terms along its log.
    leading: BTreeMap<NodeId, (Term, Vec<Term>)>,
    /// Whether anybody has ever led.
    was_led: bool,
    /// The newest index that an answer has named.
    known: Index,
    /// The newest that a read was answered with.
    read: Index,
    /// The requests that are not answered, each with what was known when it was put.
    open: BTreeMap<(NodeId, RequestId), Index>,
}

impl Hash for History {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let History { of_raft, leading, was_led, known, read, open } = self;
        of_raft.hash(state);
        NodeId::hash_each(leading, state);
        (was_led, known, read).hash(state);
        NodeId::hash_each(open, state);
    }
}

impl History {
    /// Judges a member that has just moved.
    pub(crate) fn observe(
        &mut self,
        members: &Members<'_, Raft>,
        moved: NodeId,
    ) -> Result<(), Broken> {
        let Some(raft) = members.state(moved) else { return Ok(()) };
        self.leader_append_only(moved, raft)?;
        let others = members.live().filter(|(node, _)| *node != moved).map(|(_, raft)| raft);
        let judged = model::judge(moved, raft, others, &self.of_raft);
        let changed = judged.map_err(|broken| {
            let (promise, what) = broken.split_once(": ").unwrap_or(("progress", &broken));
            Broken::new(&promise.replace(' ', "_"), what)
        })?;
        if let Some(changed) = changed {
            self.of_raft = changed;
        }
        Ok(())
    }

    fn leader_append_only(&mut self, node: NodeId, raft: &Raft) -> Result<(), Broken> {
        if !raft.is_leader() {
            self.leading.remove(&node);
            return Ok(());
        }
        self.was_led = true;
        let (term, log) = (raft.term(), raft.log());
        let terms = (1..=log.last_index().0).filter_map(|at| log.term_at(Index(at))).collect();
        let Some((led, before)) = self.leading.insert(node, (term, terms)) else { return Ok(()) };
        let terms = &self.leading[&node].1;
        if led == term && !terms.starts_with(&before) {
            let what =
                format!("{node} leads term {term}, and its log is {terms:?} after {before:?}");
            return Err(Broken::new("leader_append_only", what));
        }
        Ok(())
    }

    pub(crate) fn asked(&mut self, node: NodeId, id: RequestId) {
        self.open.insert((node, id), self.known);
    }

    /// A read must see all that any client knew of when it was put.
    pub(crate) fn answered(
        &mut self,
        node: NodeId,
        id: RequestId,
        response: &Response,
    ) -> Result<(), Broken> {
        let known_then = self.open.remove(&(node, id)).unwrap_or_default();
        let (Response::Committed(index) | Response::Readable(index) | Response::Changed(index)) =
            response
        else {
            return Ok(());
        };
        self.known = self.known.max(*index);
        if !matches!(response, Response::Readable(_)) {
            return Ok(());
        }
        self.read = self.read.max(*index);
        if *index < known_then {
            let what = format!(
                "{node} lets {id} read at {index}; {known_then} was answered before it came"
            );
            return Err(Broken::new("linearizable_reads", what));
        }
        Ok(())
    }

    /// A crash takes what a member was asked along.
    pub(crate) fn crashed(&mut self, node: NodeId) {
        self.open.retain(|(asked, _), _| *asked != node);
    }

    /// How many requests are not answered.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether a read was answered with that index or a later one.
    pub(crate) fn has_read(&self, index: Index) -> bool {
        self.read >= index
    }

    /// Whether anybody has ever led.
    pub(crate) fn was_led(&self) -> bool {
        self.was_led
    }
}

/// Whether all that take part have committed all that they hold, and the same.
pub(crate) fn all_know(members: &Members<'_, Raft>) -> Result<(), Broken> {
    let Some((_, newest)) = members.live().max_by_key(|(_, raft)| raft.commit()) else {
        return Err(Broken::new("progress", "nobody is up"));
    };
    let inside = newest.committed_membership().nodes();
    let is_behind = |raft: &Raft| raft.log().last_index() > newest.commit();
    for (node, raft) in members.live().filter(|(node, _)| inside.contains(node)) {
        if is_behind(raft) {
            return Err(Broken::new("progress", format!("{node} holds what is not committed")));
        }
        if raft.commit() != newest.commit() {
            return Err(Broken::new("progress", format!("{node} has committed less than others")));
        }
    }
    Ok(())
}
