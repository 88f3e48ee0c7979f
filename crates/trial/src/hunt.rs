//! The hunt: in some runs, leaders are struck where it hurts, at the very moment when it does.
//!
//! Most faults strike at random. The mistakes that figure 8 is about (Raft, §5.4.2) need a chain that chance hardly
//! ever makes. A leader leaves an entry with a minority; another leader does so behind its back; the first comes back
//! and brings its entry to a majority; and it is lost before it brings anything of its new term. The hunt looks at the
//! members' states, which no fault of the schedule can, and makes the links of that chain, one after the other. What
//! it strikes with, whom beside the leader, and for how long are drawn.
//!
//! It knows no bug: it strikes the same whether the database is healthy or not. What it draws comes from a stream of
//! its own, so that a hunt depends on its seed and on what the members do.

use std::ops::Range;
use std::time::Duration;

use quorate_core::{GroupId, NodeId, quorum};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::{Index, Raft, Term};
use quorate_sim::{Clients, Cluster, Fault, Ppm, Rng};

/// Sets the hunt's chance apart from that of all else which the seed decides.
const PURPOSE: u64 = 0x68_75_6e_74;

/// What the hunt lies in wait for. Each leader of a new term is looked at anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// A leader that has just appended a proposal.
    ForProposal,
    /// A leader in place of the one that was cut off with its proposal.
    ForRival,
    /// The leader in place of the rival.
    ForReturn,
    /// The moment at which that one has brought its entries of earlier terms to a majority.
    ForOldTail,
    /// The leader after that.
    ForHeir,
}

/// A hunt for the leaders of one group.
pub(crate) struct Hunt {
    group: GroupId,
    rng: Rng,
    election_timeout: Duration,
    wait: Wait,
    /// The newest term that had a leader, and who it was.
    term: Term,
    leader: Option<NodeId>,
}

impl Hunt {
    /// The hunt of a seed, with blows that last about as long as elections do.
    pub(crate) fn new(seed: u64, group: GroupId, election_timeout: Duration) -> Self {
        let rng = Rng::for_purpose(seed, PURPOSE);
        Hunt { group, rng, election_timeout, wait: Wait::ForProposal, term: Term(0), leader: None }
    }

    /// Looks at what a step has led to, and strikes.
    pub(crate) fn stepped(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        if let Some(fault) = self.blow(node, &clients.cluster()) {
            clients.inflict(fault);
        }
    }

    fn blow(&mut self, node: NodeId, cluster: &Cluster<'_, Node>) -> Option<Fault> {
        let raft = self.raft(node, cluster)?;
        let is_new = raft.is_leader() && raft.term() > self.term;
        if is_new {
            self.term = raft.term();
            self.leader = Some(node);
        }
        let leader = self.leader?;
        let nodes = cluster.nodes().count();
        match self.wait {
            Wait::ForProposal if self.has_fresh_proposal(leader, cluster) => {
                self.wait = Wait::ForRival;
                Some(Fault::Partition { side: self.side(leader, nodes), lasts: self.lasts(2..5) })
            }
            Wait::ForRival if is_new => {
                self.wait = Wait::ForReturn;
                Some(Fault::Partition { side: vec![node], lasts: self.lasts(4..12) })
            }
            Wait::ForReturn if is_new => {
                let has_tail = raft.commit() < self.old_tail(raft);
                let is_late = self.has_brought_old_tail(leader, cluster);
                self.wait =
                    if has_tail && !is_late { Wait::ForOldTail } else { Wait::ForProposal };
                None
            }
            Wait::ForOldTail if is_new => {
                self.wait = Wait::ForProposal;
                None
            }
            Wait::ForOldTail if self.has_brought_old_tail(leader, cluster) => {
                self.wait = Wait::ForHeir;
                Some(Fault::OneWay { unheard: self.side(leader, nodes), lasts: self.lasts(4..12) })
            }
            Wait::ForHeir if is_new => {
                self.wait = Wait::ForProposal;
                None
            }
            _ => None,
        }
    }

    /// The leader, alone or with a companion.
    fn side(&mut self, leader: NodeId, nodes: usize) -> Vec<NodeId> {
        let mut side = vec![leader];
        if self.rng.happens(Ppm::percent(50)) {
            let distance = self.rng.within(1..nodes as u64);
            side.push(NodeId((leader.0 - 1 + distance) % nodes as u64 + 1));
            side.sort_unstable();
        }
        side
    }

    /// Whether the leader's last entry is a proposal of its own term that no majority holds yet.
    fn has_fresh_proposal(&self, leader: NodeId, cluster: &Cluster<'_, Node>) -> bool {
        let Some(raft) = self.raft(leader, cluster).filter(|raft| raft.is_leader()) else {
            return false;
        };
        let last = raft.log().last_index();
        let is_proposal = raft.log().get(last).is_some_and(|entry| entry.origin.is_some());
        is_proposal && !self.is_held_by_majority(raft, last, cluster)
    }

    /// Whether the leader has entries of earlier terms that it doesn't know to be committed, and a majority has them by
    /// now, and nothing of its own term.
    fn has_brought_old_tail(&self, leader: NodeId, cluster: &Cluster<'_, Node>) -> bool {
        let Some(raft) = self.raft(leader, cluster).filter(|raft| raft.is_leader()) else {
            return false;
        };
        let tail = self.old_tail(raft);
        self.is_held_by_majority(raft, tail, cluster)
            && !self.is_held_by_majority(raft, tail.next(), cluster)
    }

    /// The last entry before a leader's own term.
    fn old_tail(&self, leader: &Raft) -> Index {
        leader.log().last_index_up_to_term(Term(leader.term().0.saturating_sub(1)))
    }

    /// Whether a majority has come into the leader's term and holds its entry.
    fn is_held_by_majority(&self, leader: &Raft, index: Index, cluster: &Cluster<'_, Node>) -> bool {
        let Some(term) = leader.log().term_at(index) else { return false };
        let members = cluster.nodes().filter_map(|node| self.raft(node, cluster));
        let holders = members.filter(|member| {
            member.term() == leader.term() && member.log().term_at(index) == Some(term)
        });
        holders.count() >= quorum::majority(cluster.nodes().count())
    }

    fn raft<'a>(&self, node: NodeId, cluster: &Cluster<'a, Node>) -> Option<&'a Raft> {
        Some(cluster.state(node)?.shard(self.group)?.raft())
    }

    /// A time of so many election timeouts.
    fn lasts(&mut self, timeouts: Range<u32>) -> Duration {
        let timeout = self.election_timeout;
        self.rng.duration(&(timeout * timeouts.start..timeout * timeouts.end))
    }
}
