//! Members that come and go while clients are at work.
//!
//! An operator takes a spare node in, gives it a vote, lets a member go, and takes it in again later: with the disk that
//! it left with, or with an empty one. It asks any node, and where it is told that this one doesn't lead, another; and
//! it asks for things that make no sense, too. Three voters at least take part all the time, so that one may be lost.
//!
//! What was acknowledged is kept book of: who was let go, and not asked for again, takes no part in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{GroupId, NodeId, RequestId};
use quorate_kv::error::Error;
use quorate_kv::node::Node;
use quorate_kv::service::{MemberChange, Members, NodeRequest};
use quorate_protocols::consensus::raft::{Membership, Raft};
use quorate_sim::{Clients, Cluster, Fault, Ppm, Ruin};

use crate::members;

/// The fewest voters that a group has.
const VOTERS_MIN: usize = 3;
/// How long the operator waits before it does something.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(5)..Duration::from_millis(800);
/// How often it looks for the leader before it asks.
const ASKS_LEADER: Ppm = Ppm::percent(80);

/// What became of changes that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChurnTally {
    /// Nodes taken in that had not been members before.
    pub added: u64,
    /// Nodes taken in again.
    pub added_again: u64,
    /// Learners given a vote.
    pub promoted: u64,
    /// Learners let go.
    pub learners_removed: u64,
    /// Voters let go.
    pub voters_removed: u64,
    /// Leaders let go, by themselves.
    pub leaders_removed: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests whose outcome nobody knows.
    pub unknown: u64,
    /// Nodes whose disk was wiped after they were let go.
    pub wiped: u64,
}

/// The operator.
pub(crate) struct Churn {
    /// Its name among those who are woken.
    token: u64,
    groups: Vec<GroupId>,
    /// The change that was asked for and is not answered, of which there is one at most.
    asked: Option<Asked>,
    /// Whether each node takes part that a change was acknowledged for, unless another was asked for since.
    agreed: BTreeMap<(GroupId, NodeId), bool>,
    /// Who took part at some time and was let go.
    left: BTreeSet<(GroupId, NodeId)>,
    pub(crate) tally: ChurnTally,
}

struct Asked {
    node: NodeId,
    id: RequestId,
    group: GroupId,
    change: MemberChange,
    /// What the change is about was a voter, and who was asked.
    was_voter: bool,
}

impl Churn {
    pub(crate) fn new(token: u64, groups: Vec<GroupId>) -> Self {
        Churn {
            token,
            groups,
            asked: None,
            agreed: BTreeMap::new(),
            left: BTreeSet::new(),
            tally: ChurnTally::default(),
        }
    }

    /// Has the operator look again after a while.
    pub(crate) fn pause(&self, clients: &mut Clients<'_, Node>) {
        let after = clients.rng().duration_by_magnitude(&PAUSE);
        clients.wake_after(after, self.token);
    }

    /// Whether the operator waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// The operator does something, unless all is well: then the members stay as they are.
    pub(crate) fn act(&mut self, clients: &mut Clients<'_, Node>) {
        if clients.is_healed() || self.asked.is_some() {
            return;
        }
        let groups = self.groups.clone();
        let group = *clients.rng().pick(&groups);
        let node = self.whom_to_ask(group, clients);
        let cluster = clients.cluster();
        let change = members::raft(group, node, &cluster)
            .map(|raft| raft.membership().clone())
            .and_then(|membership| self.draw(group, &membership, clients));
        if let Some((change, was_voter)) = change {
            if let MemberChange::Add { node, .. } = change
                && self.left.contains(&(group, node))
            {
                self.perhaps_wipe(node, clients);
            }
            let request = NodeRequest::ChangeMembers { group, change: change.clone() };
            if let Some(id) = clients.ask(node, request) {
                self.agreed.remove(&(group, subject(&change)));
                self.asked = Some(Asked { node, id, group, change, was_voter });
                return;
            }
        }
        self.pause(clients);
    }

    fn whom_to_ask(&self, group: GroupId, clients: &mut Clients<'_, Node>) -> NodeId {
        let any = clients.any_node();
        if !clients.rng().happens(ASKS_LEADER) {
            return any;
        }
        let leader = members::rafts(group, &clients.cluster())
            .into_iter()
            .filter(|(_, raft)| raft.is_leader())
            .max_by_key(|(_, raft)| raft.term());
        leader.map_or(any, |(leader, _)| leader)
    }

    /// A change, and whether it is about a voter. None if nothing can be changed now.
    fn draw(
        &self,
        group: GroupId,
        membership: &Membership,
        clients: &mut Clients<'_, Node>,
    ) -> Option<(MemberChange, bool)> {
        let voters: Vec<NodeId> = membership.voters().into_iter().collect();
        if voters.len() < VOTERS_MIN {
            return None;
        }
        let all: Vec<NodeId> = clients.cluster().nodes().collect();
        let of = |is_in: &dyn Fn(&NodeId) -> bool| -> Vec<NodeId> {
            all.iter().copied().filter(|node| is_in(node)).collect()
        };
        let strangers = of(&|node| membership.get(*node).is_none());
        let learners = of(&|node| !voters.contains(node) && membership.get(*node).is_some());
        let mut pick = |of: &[NodeId], percent: u32| {
            let is_wanted = clients.rng().happens(Ppm::percent(percent));
            (is_wanted && !of.is_empty()).then(|| *clients.rng().pick(of))
        };
        if let Some(node) = pick(&strangers, 60) {
            let (peer_urls, is_learner) = (vec![format!("http://{group}.{node}")], true);
            return Some((MemberChange::Add { node, peer_urls, is_learner }, false));
        }
        if let Some(node) = pick(&learners, 70) {
            return Some((MemberChange::Promote { node }, false));
        }
        if let Some(node) = pick(&learners, 20) {
            return Some((MemberChange::Remove { node }, false));
        }
        if voters.len() > VOTERS_MIN {
            return pick(&voters, 70).map(|node| (MemberChange::Remove { node }, true));
        }
        // What makes no sense is refused.
        pick(&all, 10).map(|node| (MemberChange::Promote { node }, false))
    }

    /// Somebody who was let go comes back with an empty disk, or with the one that it left with. No disk is lost while
    /// another that was is not made up for.
    fn perhaps_wipe(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        if clients.damaged().is_none()
            && self.has_left_everywhere(node, &clients.cluster())
            && clients.rng().happens(Ppm::percent(60))
        {
            self.tally.wiped += 1;
            let (after, down) = (Duration::ZERO, Duration::from_millis(20));
            clients.inflict(Fault::Ruin { node, ruin: Ruin::Wiped, after, down });
        }
    }

    fn has_left_everywhere(&self, node: NodeId, cluster: &Cluster<'_, Node>) -> bool {
        let is_named = |raft: &Raft| raft.membership().get(node).is_some();
        self.groups.iter().all(|group| {
            members::rafts(*group, cluster).iter().all(|(at, raft)| *at == node || !is_named(raft))
        })
    }

    /// A node has answered. Whether it was the operator whom it answered.
    pub(crate) fn reply(
        &mut self,
        node: NodeId,
        id: RequestId,
        outcome: &Result<Members, Error>,
        clients: &mut Clients<'_, Node>,
    ) -> bool {
        let is_ours = |asked: &mut Asked| (asked.node, asked.id) == (node, id);
        let Some(asked) = self.asked.take_if(is_ours) else { return false };
        match outcome {
            Ok(_) => self.note_done(&asked),
            Err(Error::TimedOut | Error::Stopped) => self.tally.unknown += 1,
            Err(_) => self.tally.refused += 1,
        }
        self.pause(clients);
        true
    }

    fn note_done(&mut self, asked: &Asked) {
        let tally = &mut self.tally;
        let Asked { node: by, group, change, was_voter, .. } = asked;
        match change {
            MemberChange::Add { node, .. } => {
                self.agreed.insert((*group, *node), true);
                let is_back = self.left.contains(&(*group, *node));
                tally.added += u64::from(!is_back);
                tally.added_again += u64::from(is_back);
            }
            MemberChange::Remove { node } => {
                self.agreed.insert((*group, *node), false);
                self.left.insert((*group, *node));
                tally.learners_removed += u64::from(!was_voter);
                tally.voters_removed += u64::from(*was_voter);
                tally.leaders_removed += u64::from(node == by);
            }
            MemberChange::Promote { node } => {
                self.agreed.insert((*group, *node), true);
                tally.promoted += 1;
            }
            _ => {}
        }
    }

    /// A node has crashed, and took with it what it had not answered.
    pub(crate) fn crashed(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        if self.asked.take_if(|asked| asked.node == node).is_some() {
            self.tally.unknown += 1;
            self.pause(clients);
        }
    }

    /// What was acknowledged and is not so in the end, if there is anything.
    pub(crate) fn broken(&self, cluster: &Cluster<'_, Node>) -> Option<String> {
        self.agreed.iter().find_map(|((group, node), takes_part)| {
            let membership = members::committed(*group, cluster)?;
            (membership.get(*node).is_some() != *takes_part).then(|| {
                let what = if *takes_part { "was taken into" } else { "was let go from" };
                format!("{node} {what} {group}, and in the end that is not so: {membership:?}")
            })
        })
    }
}

/// Whom a change is about.
fn subject(change: &MemberChange) -> NodeId {
    match change {
        MemberChange::Add { node, .. }
        | MemberChange::Remove { node }
        | MemberChange::Update { node, .. }
        | MemberChange::Promote { node }
        | MemberChange::Introduce { node, .. }
        | MemberChange::SetAlarm { node, .. } => *node,
    }
}
