//! Who takes part in a group, in which role: a part of the log like everything else (thesis §4).

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::NodeId;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It votes, and its copy of an entry counts.
    Voter,
    /// It is sent everything, and counts for nothing (thesis §4.2.1).
    Learner,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    /// All members.
    pub members: BTreeMap<NodeId, Member>,
    /// The voters before the change under way; empty if there is none.
    pub outgoing: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// The membership that a group begins with: everyone votes.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        let voter = Member { standing: Standing::Voter, life: 0, context: Bytes::new() };
        let members = voters.into_iter().map(|node| (node, voter.clone())).collect();
        Membership { members, outgoing: BTreeMap::new() }
    }
}
