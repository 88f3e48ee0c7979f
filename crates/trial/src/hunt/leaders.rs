//! The hunt for leaders: the chain of figure 8 (Raft, §5.4.2).
//!
//! A leader leaves a proposal with a minority; another leader appends something else behind its back; the first comes
//! back and brings its proposal to a majority; and it falls silent before it brings anything of its new term. A
//! majority now holds an entry that the second leader may still overwrite.

use quorate_core::{NodeId, quorum};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::{Index, Raft, Term};
use quorate_sim::{Cluster, Fault};

use super::Means;

/// The next link of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Await {
    /// A leader that has just appended a proposal.
    #[default]
    Proposal,
    /// A leader in place of the one that was cut off with its proposal.
    Rival,
    /// A leader in place of the rival.
    Return,
    /// The moment at which that one has brought its entries of earlier terms to a majority.
    OldTail,
    /// The leader after that.
    Heir,
}

/// How far the chain has come.
#[derive(Default)]
pub(crate) struct Leaders {
    await_next: Await,
    /// The newest term that had a leader.
    term: Term,
    /// Who that was.
    leader: Option<NodeId>,
}

impl Leaders {
    pub(super) fn strike(
        &mut self,
        node: NodeId,
        cluster: &Cluster<'_, Node>,
        means: &mut Means,
    ) -> Vec<Fault> {
        let is_new = means
            .member(node, cluster)
            .is_some_and(|member| member.is_leader() && member.term() > self.term);
        if is_new {
            self.leader = Some(node);
        }
        let Some(leader) = self.leader else { return Vec::new() };
        let Some(member) = means.member(leader, cluster).filter(|member| member.is_leader()) else {
            return Vec::new();
        };
        self.term = self.term.max(member.term());
        let (next, blow) = match self.await_next {
            Await::Proposal if has_fresh_proposal(member, cluster, means) => {
                let side = means.side(leader, cluster);
                let lasts = means.timeouts(2..5);
                (Await::Rival, Some(Fault::Partition { side, lasts }))
            }
            Await::Rival if is_new => {
                let lasts = means.timeouts(4..12);
                (Await::Return, Some(Fault::Partition { side: vec![leader], lasts }))
            }
            Await::Return if is_new && brings_old_tail(member, cluster, means) => {
                (Await::OldTail, None)
            }
            Await::OldTail if !is_new && has_brought_old_tail(member, cluster, means) => {
                // It still hears what the others say to what it has brought.
                let unheard = means.side(leader, cluster);
                let lasts = means.timeouts(4..12);
                (Await::Heir, Some(Fault::OneWay { unheard, lasts }))
            }
            // The chain is made, or broken, and begins anew.
            Await::Return | Await::OldTail | Await::Heir if is_new => (Await::Proposal, None),
            _ => return Vec::new(),
        };
        self.await_next = next;
        blow.into_iter().collect()
    }
}

/// Whether the leader's last entry is a proposal of its own term that no majority holds yet.
fn has_fresh_proposal(leader: &Raft, cluster: &Cluster<'_, Node>, means: &Means) -> bool {
    let last = leader.log().last_index();
    let is_proposal = leader.log().get(last).is_some_and(|entry| entry.origin.is_some());
    is_proposal && !is_held_by_majority(leader, last, cluster, means)
}

/// Whether the leader has entries of earlier terms that it doesn't know to be committed, and has to bring them to others
/// for a majority to have them.
fn brings_old_tail(leader: &Raft, cluster: &Cluster<'_, Node>, means: &Means) -> bool {
    let tail = old_tail(leader);
    leader.commit() < tail && !is_held_by_majority(leader, tail, cluster, means)
}

/// Whether a majority has the leader's entries of earlier terms by now, and none of its own term.
fn has_brought_old_tail(leader: &Raft, cluster: &Cluster<'_, Node>, means: &Means) -> bool {
    let tail = old_tail(leader);
    is_held_by_majority(leader, tail, cluster, means)
        && !is_held_by_majority(leader, tail.next(), cluster, means)
}

/// The last entry before a leader's own term.
fn old_tail(leader: &Raft) -> Index {
    leader.log().last_index_up_to_term(Term(leader.term().0.saturating_sub(1)))
}

/// Whether a majority has come into the leader's term and holds its entry.
fn is_held_by_majority(
    leader: &Raft,
    index: Index,
    cluster: &Cluster<'_, Node>,
    means: &Means,
) -> bool {
    let Some(term) = leader.log().term_at(index) else { return false };
    let members = cluster.nodes().filter_map(|node| means.member(node, cluster));
    let holders = members.filter(|member| {
        member.term() == leader.term() && member.log().term_at(index) == Some(term)
    });
    holders.count() >= quorum::majority(cluster.nodes().count())
}
