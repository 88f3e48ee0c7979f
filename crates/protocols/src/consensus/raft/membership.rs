//! Who takes part in a group, in which role: a part of the log like everything else (thesis §4).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use quorate_core::{NodeId, quorum};

use super::log::Index;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It votes, and its copy of an entry counts.
    Voter,
    /// It is sent everything, and counts for nothing (thesis §4.2.1).
    Learner,
    /// A learner that lost its memory when it was a voter, and votes again, by itself, once it has caught up.
    Recovering,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// What it may do.
    pub standing: Standing,
    /// Which life of its memory the group has taken in. A member that lost its disk begins another life, and speaks
    /// for nothing until the group has taken that in; 0 is the life that a group begins with.
    pub life: u64,
    /// What the application keeps about it: its name and addresses. Raft never looks inside.
    pub context: Bytes,
}

/// Who takes part, from one entry of the log on.
///
/// While a change is under way that moves more than one vote, there are two majorities to win: that of the voters and
/// that of the `outgoing` ones (joint consensus, thesis §4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// All members.
    pub members: BTreeMap<NodeId, Member>,
    /// The voters before the change under way; empty if there is none.
    pub outgoing: BTreeMap<NodeId, Member>,
}

impl Hash for Membership {
    /// Every state of a group is full of memberships. That they are sorted by names must not keep two states apart that
    /// are the same but for those.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Membership { members, outgoing } = self;
        NodeId::hash_each(members, state);
        NodeId::hash_each(outgoing, state);
    }
}

impl Membership {
    /// The membership that a group begins with: everyone votes.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let voter = Member { standing: Standing::Voter, life: 0, context: Bytes::new() };
        let members = voters.into_iter().map(|node| (node, voter.clone())).collect();
        Membership { members, outgoing: BTreeMap::new() }
    }

    /// Whether a change is under way that must win two majorities.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What is said of a node; of one that is on its way out, what was said last.
    pub fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node).or_else(|| self.outgoing.get(&node))
    }

    /// Everybody who is sent the log, in order.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.members.keys().chain(self.outgoing.keys()).copied().collect()
    }

    /// Everybody whose vote is asked for, in order: it counts in one majority at least.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        voters_of(&self.members).chain(self.outgoing.keys().copied()).collect()
    }

    /// Whether a node's vote counts.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.outgoing.contains_key(&node)
            || self.members.get(&node).is_some_and(|member| member.standing == Standing::Voter)
    }

    /// Whether those that have something are a majority; while there are two majorities to win, of both. All counting
    /// goes through here and [`Membership::reached_by_majority`].
    pub fn has_majority(&self, has: impl Fn(NodeId) -> bool) -> bool {
        self.reached_by_majority(has)
    }

    /// The largest value that a majority has reached; while there are two majorities to win, both. Of nobody, nothing.
    pub fn reached_by_majority<T: Ord + Copy + Default>(&self, reached: impl Fn(NodeId) -> T) -> T {
        let by_majority_of = |voters: &mut dyn Iterator<Item = NodeId>| {
            let mut values: Vec<T> = voters.map(&reached).collect();
            if values.is_empty() { T::default() } else { quorum::reached_by_majority(&mut values) }
        };
        let now = by_majority_of(&mut voters_of(&self.members));
        if self.is_joint() {
            now.min(by_majority_of(&mut self.outgoing.keys().copied()))
        } else {
            now
        }
    }
}

pub(super) fn voters_of(members: &BTreeMap<NodeId, Member>) -> impl Iterator<Item = NodeId> + '_ {
    let votes = |member: &Member| member.standing == Standing::Voter;
    members.iter().filter(move |(_, member)| votes(member)).map(|(node, _)| *node)
}

/// The memberships of a log that may still be in force: the newest committed one, and those behind it.
///
/// The one in force is the newest, committed or not (thesis §4.1): it holds from the moment it is in the log. A log
/// that is cut back falls back to the one before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Memberships {
    /// Each with the index of its entry, oldest first; never empty.
    stack: Vec<(Index, Arc<Membership>)>,
}

impl Memberships {
    /// Those of a log that begins after `index`, with the membership in force there.
    pub(super) fn beginning(index: Index, membership: Arc<Membership>) -> Self {
        Memberships { stack: vec![(index, membership)] }
    }

    /// The one in force.
    pub(super) fn newest(&self) -> &Arc<Membership> {
        &self.last().1
    }

    /// Where the one in force stands in the log.
    pub(super) fn newest_index(&self) -> Index {
        self.last().0
    }

    fn last(&self) -> &(Index, Arc<Membership>) {
        self.stack.last().expect("a log has a membership from its beginning")
    }

    /// The newest of those at or before `commit`, as far as they are remembered.
    pub(super) fn committed(&self, commit: Index) -> &Arc<Membership> {
        let at = self.stack.partition_point(|(index, _)| *index <= commit);
        &self.stack[at.saturating_sub(1)].1
    }

    /// An entry with a membership is in the log.
    pub(super) fn push(&mut self, index: Index, membership: Arc<Membership>) {
        self.stack.push((index, membership));
    }

    /// The entries behind `index` are gone.
    pub(super) fn truncate_after(&mut self, index: Index) {
        let kept = self.stack.partition_point(|(at, _)| *at <= index).max(1);
        self.stack.truncate(kept);
    }

    /// What is before the newest of those up to `commit` never comes back.
    pub(super) fn settle(&mut self, commit: Index) {
        let at = self.stack.partition_point(|(index, _)| *index <= commit);
        self.stack.drain(..at.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(nodes: &[u64]) -> BTreeMap<NodeId, Member> {
        Membership::of_voters(nodes.iter().copied().map(NodeId)).members
    }

    fn among(nodes: &[u64]) -> impl Fn(NodeId) -> bool + '_ {
        |node| nodes.contains(&node.0)
    }

    #[test]
    fn a_joint_membership_needs_both_majorities() {
        let joint = Membership { members: voters(&[3, 4, 5]), outgoing: voters(&[1, 2, 3]) };
        assert!(joint.has_majority(among(&[1, 3, 4])));
        assert!(!joint.has_majority(among(&[3, 4, 5])), "the old ones have a say");
        assert!(!joint.has_majority(among(&[1, 2, 3])), "the new ones have a say");
        assert_eq!(joint.reached_by_majority(|node| node.0), 2);
    }

    #[test]
    fn learners_and_strangers_never_count() {
        let mut membership = Membership { members: voters(&[1, 2, 3]), ..Default::default() };
        for node in [4, 5, 6] {
            let learner = Member { standing: Standing::Learner, life: 0, context: Bytes::new() };
            membership.members.insert(NodeId(node), learner);
        }
        assert!(!membership.has_majority(among(&[1, 4, 5, 6, 7, 8, 9])));
        assert!(membership.has_majority(among(&[1, 2])));
    }

    #[test]
    fn nobody_is_no_majority() {
        assert!(!Membership::default().has_majority(|_| true));
    }
}
