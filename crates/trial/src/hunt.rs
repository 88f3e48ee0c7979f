//! The hunt: in some runs, faults strike where it hurts, at the very moment when it does.
//!
//! The faults of the schedule strike at random, and some mistakes need a chain of events that chance hardly ever makes.
//! A hunt looks at the members' states, which no fault of the schedule can, and makes the links of such a chain, one
//! after the other: [`Leaders`] and [`Voters`] say which. How long it strikes, and whom beside its prey, is drawn.
//!
//! It knows no bug: it strikes the same whether the database is healthy or not. What it draws comes from a stream of
//! its own, so that a hunt depends on its seed and on what the members do. A replay of a run is hunted as the run was;
//! only the faults of the schedule can be taken away.

mod leaders;
mod voters;

use std::ops::Range;
use std::time::Duration;

use quorate_core::{GroupId, NodeId};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::Raft;
use quorate_sim::{Clients, Cluster, Rng};

pub(crate) use leaders::Leaders;
pub(crate) use voters::Voters;

/// Sets the hunt's chance apart from that of all else which the seed decides.
const PURPOSE: u64 = 0x68_75_6e_74;

/// Whom a hunt is for.
pub(crate) enum Quarry {
    /// Those who lead.
    Leaders(Leaders),
    /// Those who vote.
    Voters(Voters),
}

/// A hunt for members of one group.
pub(crate) struct Hunt {
    quarry: Quarry,
    means: Means,
}

/// What each hunt has at hand.
struct Means {
    group: GroupId,
    rng: Rng,
    election_timeout: Duration,
}

impl Hunt {
    /// The hunt of a seed, with blows that last about as long as elections do.
    pub(crate) fn new(
        seed: u64,
        quarry: Quarry,
        group: GroupId,
        election_timeout: Duration,
    ) -> Self {
        let rng = Rng::for_purpose(seed, PURPOSE);
        Hunt { quarry, means: Means { group, rng, election_timeout } }
    }

    /// Looks at what a node's step has led to, and strikes.
    pub(crate) fn stepped(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        let cluster = clients.cluster();
        let faults = match &mut self.quarry {
            Quarry::Leaders(leaders) => leaders.strike(node, &cluster, &mut self.means),
            Quarry::Voters(voters) => voters.strike(node, &cluster, &mut self.means),
        };
        for fault in faults {
            clients.inflict(fault);
        }
    }
}

impl Means {
    /// The member of the group on a node, unless the node is down.
    fn member<'a>(&self, node: NodeId, cluster: &Cluster<'a, Node>) -> Option<&'a Raft> {
        Some(cluster.state(node)?.shard(self.group)?.raft())
    }

    /// A time of so many election timeouts.
    fn timeouts(&mut self, range: Range<u32>) -> Duration {
        let timeout = self.election_timeout;
        self.rng.duration(&(timeout * range.start..timeout * range.end))
    }

    /// A node, alone or with a companion.
    fn side(&mut self, node: NodeId, cluster: &Cluster<'_, Node>) -> Vec<NodeId> {
        let mut side = vec![node];
        if self.rng.below(2) == 0 {
            let others: Vec<NodeId> = cluster.nodes().filter(|other| *other != node).collect();
            side.push(*self.rng.pick(&others));
            side.sort_unstable();
        }
        side
    }
}
