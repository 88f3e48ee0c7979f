//! Raft as a model: what is explored of it, and its promises in a form that needs little memory of the past.
//!
//! The promises are those of [`quorate_protocols::consensus::raft::properties`], which watches one run and remembers all
//! of it. Here the memory is part of every state, so it holds only what the members themselves may forget and the
//! promises need: who led which term, and the committed log.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::{Mutants, NodeId};
pub use quorate_protocols::consensus::raft::MUTANTS;
use quorate_protocols::consensus::raft::{
    Config, Durable, Entry, Index, Message, Raft, Request, Term, Timer,
};

use crate::model::{Bounds, Goal, Model, Snapshot, Syncs};

/// How much of Raft is explored. Each bound is for the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftBounds {
    /// The members.
    pub nodes: u64,
    /// Whether the exploration begins when the first of them leads, and not when they start.
    pub is_led: bool,
    /// States of a later term are judged, and left alone.
    pub terms: u64,
    /// How often an election timer fires. It must fire twice before a member that has heard a leader campaigns.
    pub elections: u8,
    /// How often a leader sends what its followers lack once more, or an empty message.
    pub heartbeats: u8,
    /// How often a leader looks whether a majority still answers.
    pub quorum_checks: u8,
    /// How often a member submits again what may be lost.
    pub retries: u8,
    /// Proposals that clients put to members, any of them.
    pub proposals: u8,
    /// See [`Bounds::crashes`].
    pub crashes: u8,
    /// See [`Bounds::repeats`].
    pub repeats: u8,
    /// See [`Bounds::hints`].
    pub hints: u8,
    /// Whether a member that starts again is heard when it asks what the others know of it. They tell it as well with all
    /// that they say about votes and copies, so it gets on without; with it there are some thirty times as many states.
    pub hellos: bool,
    /// When disks sync.
    pub syncs: Syncs,
}

impl RaftBounds {
    /// Three members that elect a leader once, and nothing goes wrong.
    pub const CALM: RaftBounds = RaftBounds {
        nodes: 3,
        is_led: false,
        terms: 1,
        elections: 1,
        heartbeats: 0,
        quorum_checks: 0,
        retries: 0,
        proposals: 0,
        crashes: 0,
        repeats: 0,
        hints: 0,
        hellos: false,
        syncs: Syncs::EachTurn,
    };
}

/// Raft with the deliberate bug of that name. None if there is no such bug, or this was built without them (feature
/// `mutants`).
pub fn mutant(name: &str) -> Option<Mutants> {
    #[cfg(feature = "mutants")]
    return MUTANTS.iter().find(|known| **known == name).map(|known| Mutants::only(known));
    #[cfg(not(feature = "mutants"))]
    {
        let _ = name;
        None
    }
}

/// Raft within bounds.
pub struct RaftModel {
    bounds: RaftBounds,
    nodes: Vec<(NodeId, Config)>,
    timers: [(Timer, u8); 4],
}

/// What the members of a cluster may forget: part of every state, and of what [`judge`] goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    leaders: BTreeMap<Term, NodeId>,
    /// What some member knew to be committed, each with the term of the member that was first to know.
    committed: Vec<(Entry, Term)>,
}

impl RaftModel {
    /// A cluster that has never started. The bounds must have at least one node.
    pub fn new(bounds: RaftBounds, mutants: Mutants) -> Self {
        assert!(bounds.nodes > 0, "a cluster of nobody");
        let ids: Vec<NodeId> = (1..=bounds.nodes).map(NodeId).collect();
        let member = |me: &NodeId| (*me, Config { mutants, ..Config::new(*me, ids.clone()) });
        RaftModel {
            bounds,
            nodes: ids.iter().map(member).collect(),
            timers: [
                (Timer::Election, bounds.elections),
                (Timer::Heartbeat, bounds.heartbeats),
                (Timer::Quorum, bounds.quorum_checks),
                (Timer::Retry, bounds.retries),
            ],
        }
    }
}

/// What is proposed: one letter each, in the order in which clients come.
const PAYLOADS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

impl Model for RaftModel {
    type Protocol = Raft;
    type History = History;

    fn nodes(&self) -> &[(NodeId, Config)] {
        &self.nodes
    }

    fn blank(&self) -> Durable {
        Durable::default()
    }

    fn bounds(&self) -> Bounds {
        let RaftBounds { proposals, crashes, repeats, hints, .. } = self.bounds;
        Bounds { crashes, repeats, requests: proposals, hints }
    }

    fn syncs(&self) -> Syncs {
        self.bounds.syncs
    }

    fn prelude(&self) -> &[(usize, Timer)] {
        // With a heartbeat, all followers know that the leader's first entry is committed, and are alike.
        if self.bounds.is_led { &[(0, Timer::Election), (0, Timer::Heartbeat)] } else { &[] }
    }

    fn timers(&self) -> &[(Timer, u8)] {
        &self.timers
    }

    fn requests(&self, asked: u8, _: NodeId) -> Vec<Request> {
        let at = usize::from(asked) % PAYLOADS.len();
        vec![Request::Propose(Bytes::from_static(&PAYLOADS[at..=at]))]
    }

    fn may_arrive(&self, message: &Message) -> bool {
        self.bounds.hellos || !matches!(message, Message::Hello { .. })
    }

    fn is_within(&self, cluster: &Snapshot<'_, Self>) -> bool {
        cluster.states().all(|raft| raft.term().0 <= self.bounds.terms)
    }

    fn observe(
        &self,
        cluster: &Snapshot<'_, Self>,
        moved: usize,
    ) -> Result<Option<History>, String> {
        let others = cluster.states().enumerate().filter(|(position, _)| *position != moved);
        let others = others.map(|(_, raft)| raft);
        judge(self.nodes[moved].0, cluster.state(moved), others, cluster.history())
    }

    fn goals(&self) -> &[Goal<Self>] {
        if self.bounds.proposals == 0 { &GOALS[..2] } else { GOALS }
    }
}

const GOALS: &[Goal<RaftModel>] = &[
    ("a member leads", |cluster| cluster.states().any(Raft::is_leader)),
    ("an entry is committed", |cluster| !cluster.history().committed.is_empty()),
    ("a proposal is committed", |cluster| {
        cluster.history().committed.iter().any(|(entry, _)| entry.origin.is_some())
    }),
];

/// Judges a member that has just moved, beside the others. Returns what history is from now on, if it changes; an error
/// is one sentence that begins with the name of the broken promise.
pub fn judge<'a>(
    id: NodeId,
    raft: &Raft,
    others: impl Iterator<Item = &'a Raft>,
    history: &History,
) -> Result<Option<History>, String> {
    log_matching(raft, others, id)?;
    snapshot_safety(id, raft, history)?;
    let mut changed = None;
    state_machine_safety(id, raft, history, &mut changed)?;
    election_safety(id, raft, history, &mut changed)?;
    Ok(changed)
}

/// Log matching: where two logs have an entry of one term at one index, they are the same up to there, as far as both are
/// held.
fn log_matching<'a>(
    raft: &Raft,
    others: impl Iterator<Item = &'a Raft>,
    id: NodeId,
) -> Result<(), String> {
    let log = raft.log();
    for other in others {
        let mut is_same = false;
        let first = log.first_index().max(other.log().first_index());
        let last = log.last_index().min(other.log().last_index());
        for at in (first.0..=last.0).rev() {
            let (ours, theirs) = (log.get(Index(at)), other.log().get(Index(at)));
            is_same |= log.term_at(Index(at)) == other.log().term_at(Index(at));
            if is_same && ours != theirs {
                return Err(format!("log matching: {id}'s entry {at} differs from another's"));
            }
        }
    }
    Ok(())
}

/// Snapshot safety: what stands for the beginning of a log was committed, as it is.
fn snapshot_safety(id: NodeId, raft: &Raft, history: &History) -> Result<(), String> {
    let base = raft.log().base();
    let Some(at) = base.index.0.checked_sub(1) else { return Ok(()) };
    let committed = history.committed.get(at as usize).map(|(entry, _)| entry.term);
    if committed != Some(base.term) {
        return Err(format!(
            "snapshot safety: {id}'s log begins behind {} of term {}, where the committed entry is of term {committed:?}",
            base.index, base.term
        ));
    }
    Ok(())
}

/// State machine safety: all agree on what is committed, for ever. No proposal is committed twice.
fn state_machine_safety(
    id: NodeId,
    raft: &Raft,
    history: &History,
    changed: &mut Option<History>,
) -> Result<(), String> {
    if raft.commit() > raft.log().last_index() {
        return Err(format!(
            "state machine safety: {id} committed {}, beyond its log",
            raft.commit()
        ));
    }
    for at in raft.log().first_index().0..=raft.commit().0 {
        let Some(entry) = raft.log().get(Index(at)) else { break };
        let committed = &changed.as_ref().unwrap_or(history).committed;
        match committed.get(at as usize - 1) {
            Some((known, _)) if known == entry => {}
            Some((known, _)) => {
                return Err(format!(
                    "state machine safety: {id} committed an entry of term {} at {at}, where one of term {} was \
                     committed",
                    entry.term, known.term
                ));
            }
            None => {
                let is_known = entry.origin.is_some()
                    && committed.iter().any(|(e, _)| e.origin == entry.origin);
                if is_known {
                    return Err(format!("at most once: a proposal was committed again at {at}"));
                }
                let changed = changed.get_or_insert_with(|| history.clone());
                changed.committed.push((entry.clone(), raft.term()));
            }
        }
    }
    Ok(())
}

/// Election safety: one leader a term. Leader completeness: it holds all that was committed in earlier terms.
fn election_safety(
    id: NodeId,
    raft: &Raft,
    history: &History,
    changed: &mut Option<History>,
) -> Result<(), String> {
    let term = raft.term();
    if !raft.is_leader() {
        return Ok(());
    }
    match history.leaders.get(&term) {
        Some(leader) if *leader == id => return Ok(()),
        Some(leader) => {
            return Err(format!("election safety: {leader} and {id} both led term {term}"));
        }
        None => {}
    }
    // What is before the beginning of its log was committed (`snapshot_safety`), and so is all before that.
    let base = raft.log().base().index;
    for ((entry, known_in), at) in history.committed.iter().zip(1..).skip(base.0 as usize) {
        if *known_in < term && raft.log().get(Index(at)) != Some(entry) {
            return Err(format!(
                "leader completeness: {id} leads term {term} without the entry committed at {at}"
            ));
        }
    }
    changed.get_or_insert_with(|| history.clone()).leaders.insert(term, id);
    Ok(())
}
