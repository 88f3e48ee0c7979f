//! Flexible Paxos: the quorums of Paxos need not be majorities, nor those of its two phases alike.
//!
//! Source: Howard, Malkhi and Spiegelman, "Flexible Paxos: quorum intersection revisited", 2016.
//! Model: as Paxos: crash and recovery, asynchronous; messages are lost, repeated and reordered.
//! Safety: agreement and validity, as Paxos, if every quorum of phase 1 meets every quorum of phase 2; quorums of one phase need
//! not meet each other.
//! Liveness: once something was proposed, every node decides. Needs: as Paxos, but in the place of a majority a quorum of each
//! phase that is up; one of phase 2 alone for a proposer that has done phase 1.
//! Departures: the protocol is that of `paxos`, line for line; what is here is the quorums that its configuration names.
//! Omitted: a sequence of decisions, in which phase 1 is rare and small quorums of phase 2 pay; quorums that change; a proposer
//! that is a quorum of phase 2 by itself knows its decision before its own disk does, though nobody is told before that.
//! Cost: as Paxos, 5 message delays and 5(n − 1) messages, none of which is for more than a quorum to wait for.
//! Boundary: two quorums that don't meet decide differently (the trace `rows_on_either_side`), and each exploration breaks
//! agreement exactly where [`Quorums::meet`] says so; a large quorum of phase 1 is lost with few nodes (the trace
//! `too_few_for_phase_1`).
//! Read next: `Quorum::is_met`, then where `Paxos` asks it, then the trace `a_row_of_three_decides`.

use quorate_core::NodeId;
use quorate_core::quorum::majority;

/// What a set of nodes must have in it to be a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// So many nodes, whichever.
    Any(usize),
    /// With the nodes in a grid of so many columns, row by row: all of a row.
    Row(usize),
    /// In the same grid: all of a column.
    Column(usize),
}

impl Quorum {
    /// Whether those of the nodes that are in a set are a quorum.
    pub fn is_met(self, nodes: &[NodeId], has: impl Fn(&NodeId) -> bool) -> bool {
        match self {
            Quorum::Any(size) => nodes.iter().filter(|node| has(node)).count() >= size,
            Quorum::Row(columns) => nodes.chunks(columns).any(|row| row.iter().all(&has)),
            Quorum::Column(columns) => {
                (0..columns).any(|column| nodes.iter().skip(column).step_by(columns).all(&has))
            }
        }
    }
}

/// The quorums of both phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    /// Of those that promise.
    pub phase_1: Quorum,
    /// Of those that accept.
    pub phase_2: Quorum,
}

impl Quorums {
    /// The quorums of Paxos: a majority in either phase.
    pub fn majorities(nodes: &[NodeId]) -> Self {
        let majority = Quorum::Any(majority(nodes.len()));
        Quorums { phase_1: majority, phase_2: majority }
    }

    /// Whether every quorum of phase 1 meets every quorum of phase 2: all that safety asks of them. They do unless
    /// some set has a quorum of phase 1 in it, and what is left of the nodes one of phase 2. Tries all sets, so for at most
    /// twenty nodes or so.
    pub fn meet(self, nodes: &[NodeId]) -> bool {
        let is_in = |set: u32, node: &NodeId| {
            nodes.iter().position(|other| other == node).is_some_and(|at| set >> at & 1 == 1)
        };
        !(0..1u32 << nodes.len()).any(|set| {
            self.phase_1.is_met(nodes, |node| is_in(set, node))
                && self.phase_2.is_met(nodes, |node| !is_in(set, node))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u64) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    #[test]
    fn counts_meet_if_together_they_are_more_than_all() {
        for count in 1..=7 {
            let nodes = nodes(count as u64);
            assert!(Quorums::majorities(&nodes).meet(&nodes));
            for (one, two) in (1..=count).flat_map(|one| (1..=count).map(move |two| (one, two))) {
                let quorums = Quorums { phase_1: Quorum::Any(one), phase_2: Quorum::Any(two) };
                assert_eq!(quorums.meet(&nodes), one + two > count, "{quorums:?} of {count}");
            }
        }
    }

    #[test]
    fn a_row_meets_every_column_and_no_other_row() {
        let nodes = nodes(9);
        let (row, column) = (Quorum::Row(3), Quorum::Column(3));
        assert!(Quorums { phase_1: column, phase_2: row }.meet(&nodes));
        assert!(!Quorums { phase_1: row, phase_2: row }.meet(&nodes));
        assert!(!Quorums { phase_1: column, phase_2: column }.meet(&nodes));
        assert!(row.is_met(&nodes, |node| (4..=6).contains(&node.0)));
        assert!(!row.is_met(&nodes, |node| (3..=5).contains(&node.0)));
        assert!(column.is_met(&nodes, |node| node.0 % 3 == 2));
    }
}
