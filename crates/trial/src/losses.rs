//! Nodes that lose their memory: when each is whole again, and whether anybody could tell it.
//!
//! The simulator ruins one disk at a time, and no other before it is told that the node is whole. A node is whole once
//! every replica of it lives another life than before, is named under that life, or not at all, in every member's log, and
//! has caught up with the rest: from then on, whatever is committed is held by a majority that has forgotten nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{GroupId, NodeId};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::{Raft, Standing};
use quorate_sim::{Clients, Cluster, Fault};

use crate::disk::Word;
use crate::members;

/// What the judges know of losses.
pub(crate) struct Losses {
    groups: Vec<GroupId>,
    word: Word,
    /// Who has lost its memory, and the life of each replica that is over.
    lost: Option<(NodeId, BTreeMap<GroupId, u64>)>,
    /// Nodes that lost their memory, were not told, and found it out with the help of others.
    pub(crate) found_out: u64,
    /// Nodes that were told because nobody else could have known.
    pub(crate) told: u64,
    is_in_the_dark: bool,
}

impl Losses {
    pub(crate) fn new(groups: Vec<GroupId>, word: Word) -> Self {
        Losses { groups, word, lost: None, found_out: 0, told: 0, is_in_the_dark: false }
    }

    /// A node has booted and has lost its memory.
    pub(crate) fn note(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        let cluster = clients.cluster();
        let over = self.groups.iter().map(|group| {
            let named = members::committed(*group, &cluster).and_then(|m| Some(m.get(node)?.life));
            (*group, named.unwrap_or_default())
        });
        self.lost = Some((node, over.collect()));
        let of_node = |group: &GroupId| members::raft(*group, node, &cluster);
        self.is_in_the_dark = self.groups.iter().filter_map(of_node).any(|raft| raft.life() == 0);
        // Raft promises to find a loss out only if a run before it was heard of by those who count on the node. Who is
        // down may not have heard of any.
        let has_met = |other: NodeId, group: &GroupId| {
            members::raft(*group, other, &cluster).is_some_and(|raft| raft.met(node) > 0)
        };
        let is_known = cluster
            .nodes()
            .filter(|other| *other != node)
            .all(|other| self.groups.iter().all(|group| has_met(other, group)));
        if self.is_in_the_dark && !is_known {
            self.is_in_the_dark = false;
            self.told += 1;
            self.word.leave_for(node);
            // Nothing that it says leaves before its first sync.
            let down = Duration::from_millis(1);
            clients.inflict(Fault::Crash { node, down, mid_write: false });
        }
    }

    /// Looks whether the node that is damaged is whole again.
    pub(crate) fn stepped(&mut self, clients: &mut Clients<'_, Node>) {
        let Some(node) = clients.damaged() else { return };
        if self.is_whole(node, &clients.cluster()) {
            self.found_out += u64::from(std::mem::take(&mut self.is_in_the_dark));
            self.lost = None;
            clients.mark_whole(node);
        }
    }

    /// Why a member is still not whole, if so. Where it takes no part, nobody has to tell it anything.
    pub(crate) fn unsettled(&self, cluster: &Cluster<'_, Node>) -> Option<String> {
        let (node, over) = self.lost.as_ref()?;
        let is_waiting = |(group, life): (&GroupId, &u64)| {
            members::is_member(*node, *group, cluster) && !is_whole(*node, *life, *group, cluster)
        };
        over.iter()
            .any(is_waiting)
            .then(|| format!("{node} has lost its memory and was not taken in again"))
    }

    fn is_whole(&self, node: NodeId, cluster: &Cluster<'_, Node>) -> bool {
        let Some((lost, over)) = &self.lost else { return false };
        *lost == node && over.iter().all(|(group, life)| is_whole(node, *life, *group, cluster))
    }
}

/// Whether all members are up, count on the node as it is or don't count on it, and the node has caught up. `over` is
/// the life that it lived before. What those think who take no part doesn't matter: they may never hear of anything.
fn is_whole(node: NodeId, over: u64, group: GroupId, cluster: &Cluster<'_, Node>) -> bool {
    let Some(raft) = members::raft(group, node, cluster) else { return false };
    let life = raft.life();
    if life == 0 || life == over || raft.needs_snapshot() {
        return false;
    }
    let agrees = |other: &Raft| {
        let named = other.membership().get(node);
        let is_whole = named.is_none_or(|m| m.life == life && m.standing != Standing::Recovering);
        is_whole && (named.is_none() || other.commit() <= raft.commit())
    };
    members::committed(group, cluster).is_some_and(|membership| {
        let mut others = membership.nodes().into_iter();
        others.all(|other| members::raft(group, other, cluster).is_some_and(agrees))
    })
}
