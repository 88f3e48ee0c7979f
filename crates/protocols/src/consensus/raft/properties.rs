//! What Raft promises, checked from outside while a cluster runs (§5, figure 3).
//!
//! [`Properties::observe`] is called after every step with the members that are up, or
//! [`Properties::observe_member`] with the one that took the step. They look only at what has changed since the last
//! call, so a simulator can afford it: the cost is that of the new entries.
//!
//! Its memory is the history that the members themselves forget: who led which term, every entry that was ever in a
//! log, and the one committed log that all of them must agree with. So a member that has compacted its log, or begins
//! it at a snapshot, is still held to what was there.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{NodeId, RequestId};

use super::{Entry, Index, Origin, Raft, Term};

/// The history of a cluster, as far as its promises speak of it.
#[derive(Clone, Debug, Default)]
pub struct Properties {
    leaders: BTreeMap<Term, NodeId>,
    /// Every entry that was ever in a log, with the term of the one before it.
    entries: BTreeMap<(Index, Term), (Term, Entry)>,
    committed: Vec<Committed>,
    /// The proposals among them, each by its origin.
    origins: BTreeSet<(NodeId, u64, RequestId)>,
    members: BTreeMap<NodeId, Seen>,
}

#[derive(Clone, Debug)]
struct Committed {
    entry: Entry,
    /// The term of the member that was first to know.
    known_in: Term,
}

/// A member as it was when it was last observed.
#[derive(Clone, Debug, Default)]
struct Seen {
    outline: Outline,
    /// Where its log begins.
    base: Index,
    /// The terms along its log from there.
    log: Vec<Term>,
}

/// All of a member that the promises speak of, its log by its two ends: where those are the same, in one run, so is what
/// lies between them, or log matching was broken before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outline {
    boot: u64,
    term: Term,
    commit: Index,
    is_leader: bool,
    base: (Index, Term),
    last: (Index, Term),
}

impl Outline {
    fn of(raft: &Raft) -> Self {
        let log = raft.log();
        Outline {
            boot: raft.boot(),
            term: raft.term(),
            commit: raft.commit(),
            is_leader: raft.is_leader(),
            base: (log.base().index, log.base().term),
            last: (log.last_index(), log.last_term()),
        }
    }
}

impl Seen {
    fn last(&self) -> Index {
        Index(self.base.0 + self.log.len() as u64)
    }

    /// Forgets the entries up to `base`.
    fn begin_at(&mut self, base: Index) {
        let gone = base.0.saturating_sub(self.base.0).min(self.log.len() as u64);
        self.log.drain(..gone as usize);
        self.base = base;
    }
}

impl Properties {
    /// Checks the members that are up, and remembers them. An error is one sentence that names the broken promise.
    ///
    /// A member that is missing is down. Observe it missing at least once between two of its runs: a boot number is
    /// used again if the crash came before it was durable.
    pub fn observe(&mut self, members: &[(NodeId, &Raft)]) -> Result<(), String> {
        self.members.retain(|known, _| members.iter().any(|(id, _)| id == known));
        members.iter().try_for_each(|&(id, raft)| self.observe_member(id, raft))
    }

    /// Checks one member, and remembers it. What is remembered is only ever added to, and each rule is about one member
    /// and what is remembered; so to observe each member after each of its own steps, and to [forget](Self::forget) it
    /// when it goes down, finds all that it would to observe everybody after every step.
    pub fn observe_member(&mut self, id: NodeId, raft: &Raft) -> Result<(), String> {
        let outline = Outline::of(raft);
        let known = self.members.get_mut(&id);
        if known.as_ref().is_some_and(|seen| seen.outline == outline) {
            return Ok(());
        }
        // What was not durable when a run ended is gone, and what is left is looked at anew.
        let mut seen = known
            .filter(|seen| seen.outline.boot == outline.boot)
            .map(std::mem::take)
            .unwrap_or_default();
        self.terms_rise(id, raft, &seen)?;
        self.snapshot_safety(id, raft, &seen)?;
        self.follows_base(id, raft)?;
        self.log_matching(id, raft, &mut seen)?;
        self.state_machine_safety(id, raft, &seen)?;
        self.election_safety(id, raft)?;
        seen.outline = outline;
        self.members.insert(id, seen);
        Ok(())
    }

    /// Forgets how a member was last seen: it is down, and its next run is looked at anew.
    pub fn forget(&mut self, id: NodeId) {
        self.members.remove(&id);
    }

    /// The entry that is committed at an index, if any member knew that it is.
    pub fn committed(&self, index: Index) -> Option<&Entry> {
        Some(&self.committed.get(index.0.checked_sub(1)? as usize)?.entry)
    }

    /// The newest index that any member knew to be committed.
    pub fn commit(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// Whether a proposal is committed, as far as any member knew.
    pub fn is_committed(&self, origin: &Origin) -> bool {
        self.origins.contains(&name(origin))
    }

    /// The number of terms that had a leader.
    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    fn terms_rise(&self, id: NodeId, raft: &Raft, seen: &Seen) -> Result<(), String> {
        if raft.term() < seen.outline.term {
            return Err(format!("{id}'s term fell from {} to {}", seen.outline.term, raft.term()));
        }
        if raft.commit() < seen.outline.commit {
            return Err(format!(
                "{id}'s commit fell from {} to {}",
                seen.outline.commit,
                raft.commit()
            ));
        }
        if raft.commit() > raft.log().last_index() {
            return Err(format!("{id} committed {}, beyond its log", raft.commit()));
        }
        Ok(())
    }

    /// Snapshot safety: what stands for the beginning of a log was committed, as it is.
    fn snapshot_safety(&self, id: NodeId, raft: &Raft, seen: &Seen) -> Result<(), String> {
        let base = raft.log().base();
        if base.index < seen.base {
            return Err(format!("{id}'s log begins at {}, and began at {}", base.index, seen.base));
        }
        if base.index > raft.commit() {
            return Err(format!("{id} compacted {}, which it had not committed", base.index));
        }
        let term = self.committed(base.index).map(|entry| entry.term);
        if base.index > Index(0) && term != Some(base.term) {
            return Err(format!(
                "snapshot safety: {id}'s log begins at {} of term {}, where the committed entry is of term {term:?}",
                base.index, base.term
            ));
        }
        Ok(())
    }

    /// Log matching at the base: the entry that follows it is one that follows it elsewhere.
    fn follows_base(&self, id: NodeId, raft: &Raft) -> Result<(), String> {
        let (base, first) = (raft.log().base(), raft.log().first_index());
        let Some(entry) = raft.log().get(first) else { return Ok(()) };
        match self.entries.get(&(first, entry.term)) {
            Some((term_before, _)) if *term_before != base.term => Err(format!(
                "log matching: {id}'s entry {first} of term {} follows one of term {term_before}, and no base of term {}",
                entry.term, base.term
            )),
            _ => Ok(()),
        }
    }

    /// Log matching: entries of one index and term are the same, and so is all before them. Leader append-only: a
    /// leader's own log only grows.
    fn log_matching(&mut self, id: NodeId, raft: &Raft, seen: &mut Seen) -> Result<(), String> {
        let log = raft.log();
        seen.begin_at(log.base().index);
        let last = seen.last();
        seen.log.truncate((log.last_index().0 - seen.base.0) as usize);
        // Where the terms agree the entries do, or the check below would have failed before.
        while seen.log.last().is_some_and(|term| log.term_at(seen.last()) != Some(*term)) {
            seen.log.pop();
        }
        if seen.last() < last
            && seen.outline.is_leader
            && raft.is_leader()
            && seen.outline.term == raft.term()
        {
            return Err(format!(
                "leader append-only: {id} dropped entries after {} while it led term {}",
                seen.last(),
                seen.outline.term
            ));
        }
        for at in seen.last().0 + 1..=log.last_index().0 {
            let index = Index(at);
            let before = seen.log.last().copied().unwrap_or(log.base().term);
            let Some(entry) = log.get(index) else { break };
            if entry.term < before || entry.term > raft.term() {
                return Err(format!("{id}'s entry {index} of term {} is out of order", entry.term));
            }
            let (term_before, known) =
                self.entries.entry((index, entry.term)).or_insert_with(|| (before, entry.clone()));
            if *term_before != before || known != entry {
                return Err(format!(
                    "log matching: {id}'s entry {index} of term {} differs from another's",
                    entry.term
                ));
            }
            seen.log.push(entry.term);
        }
        Ok(())
    }

    /// State machine safety: all agree on what is committed, for ever. No proposal is committed twice.
    fn state_machine_safety(&mut self, id: NodeId, raft: &Raft, seen: &Seen) -> Result<(), String> {
        // The newest entry that was committed before stands for all before it, by log matching.
        for at in seen.outline.commit.max(raft.log().first_index()).0..=raft.commit().0 {
            let Some(entry) = raft.log().get(Index(at)) else { break };
            match self.committed.get(at as usize - 1) {
                Some(committed) if committed.entry == *entry => {}
                Some(committed) => {
                    return Err(format!(
                        "state machine safety: {id} committed an entry of term {} at {at}, where one of term {} was \
                         committed",
                        entry.term, committed.entry.term
                    ));
                }
                None => {
                    if let Some(origin) = entry.origin
                        && !self.origins.insert(name(&origin))
                    {
                        return Err(format!(
                            "at most once: proposal {} of {} was committed again at {at}",
                            origin.request, origin.node
                        ));
                    }
                    self.committed.push(Committed { entry: entry.clone(), known_in: raft.term() });
                }
            }
        }
        Ok(())
    }

    /// Election safety: one leader a term, a voter. Leader completeness: it holds all that was committed in earlier terms.
    fn election_safety(&mut self, id: NodeId, raft: &Raft) -> Result<(), String> {
        if !raft.is_leader() {
            return Ok(());
        }
        let term = raft.term();
        match self.leaders.get(&term) {
            Some(leader) if *leader == id => return Ok(()),
            Some(leader) => {
                return Err(format!("election safety: {leader} and {id} both led term {term}"));
            }
            None => self.leaders.insert(term, id),
        };
        // Just elected, it has had no time yet to vote itself out.
        if !raft.membership().is_voter(id) && !raft.committed_membership().is_voter(id) {
            return Err(format!("{id} leads term {term}, and is no voter"));
        }
        let earlier = self.committed.partition_point(|committed| committed.known_in < term);
        let Some(newest) = earlier.checked_sub(1) else { return Ok(()) };
        // A log that begins later holds what is committed there (`snapshot_safety`), and so all before it.
        let is_compacted = raft.log().base().index >= Index(earlier as u64);
        if !is_compacted
            && raft.log().get(Index(earlier as u64)) != Some(&self.committed[newest].entry)
        {
            return Err(format!(
                "leader completeness: {id} leads term {term} without the entry committed at {earlier}"
            ));
        }
        Ok(())
    }
}

fn name(origin: &Origin) -> (NodeId, u64, RequestId) {
    (origin.node, origin.boot, origin.request)
}
