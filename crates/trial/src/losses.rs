//! Nodes that lose their memory: when each is whole again, and whether anybody could tell it.
//!
//! The simulator ruins one disk at a time, and no other before it is told that the node is whole. A node is whole once
//! every replica of it lives another life than before, is named under that life, or not at all, in every member's log, and
//! has caught up with the rest: from then on, whatever is committed is held by a majority that has forgotten nothing.
//!
//! Runs are counted, and a node that was wiped counts anew. It must be found out even if it has come to count more runs
//! than it has forgotten, which chance hardly ever brings about: so some of its first runs are cut short, once the disk
//! knows of them and before anybody can have told the node anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{GroupId, NodeId};
use quorate_kv::node::Node;
use quorate_protocols::consensus::raft::{Raft, Standing};
use quorate_sim::{Clients, Cluster, Fault, Rng};

use crate::disk::Word;
use crate::members;

/// Sets what is drawn here apart from all else that the seed decides.
const PURPOSE: u64 = 0x6c_6f_73_73;

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
    /// Runs of such nodes that were cut short before.
    pub(crate) cut_short: u64,
    is_in_the_dark: bool,
    /// Who has ever lost its memory.
    ever_lost: BTreeSet<NodeId>,
    /// Who began another life and never had.
    reborn_for_nothing: Option<NodeId>,
    /// How many runs of the node that lost its memory are yet to be cut short.
    to_cut_short: u64,
    rng: Rng,
}

impl Losses {
    pub(crate) fn new(seed: u64, groups: Vec<GroupId>, word: Word) -> Self {
        Losses {
            groups,
            word,
            lost: None,
            found_out: 0,
            told: 0,
            cut_short: 0,
            is_in_the_dark: false,
            ever_lost: BTreeSet::new(),
            reborn_for_nothing: None,
            to_cut_short: 0,
            rng: Rng::for_purpose(seed, PURPOSE),
        }
    }

    /// A node has booted and has lost its memory.
    pub(crate) fn note(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        let cluster = clients.cluster();
        let over = self.groups.iter().map(|group| {
            let named = members::committed(*group, &cluster).and_then(|m| Some(m.get(node)?.life));
            (*group, named.unwrap_or_default())
        });
        self.lost = Some((node, over.collect()));
        self.is_in_the_dark = !self.knows(node, &cluster);
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
        let is_spared = !self.is_in_the_dark || self.rng.below(2) == 0;
        self.to_cut_short = if is_spared { 0 } else { self.rng.within(1..16) };
    }

    /// Whether all replicas of a node know that they have lost their memory.
    fn knows(&self, node: NodeId, cluster: &Cluster<'_, Node>) -> bool {
        let of_node = |group: &GroupId| members::raft(*group, node, cluster);
        self.groups.iter().filter_map(of_node).all(|raft| raft.life() != 0)
    }

    /// Looks whether the node that is damaged is whole again, or its run is to be cut short.
    pub(crate) fn stepped(&mut self, stepped: NodeId, clients: &mut Clients<'_, Node>) {
        self.look_at_life(stepped, clients);
        let Some(node) = clients.damaged() else { return };
        if node == stepped && self.to_cut_short > 0 {
            self.cut_short(node, clients);
        }
        if self.is_whole(node, &clients.cluster()) {
            self.found_out += u64::from(std::mem::take(&mut self.is_in_the_dark));
            self.lost = None;
            clients.mark_whole(node);
        }
    }

    fn look_at_life(&mut self, node: NodeId, clients: &Clients<'_, Node>) {
        // One that lost it more than once may be told late what it knew before the first loss, and then begins anew once
        // more.
        if clients.damaged() == Some(node) {
            self.ever_lost.insert(node);
        }
        let cluster = clients.cluster();
        let has_new_life =
            |group: &GroupId| members::raft(*group, node, &cluster).is_some_and(|r| r.life() != 0);
        if !self.ever_lost.contains(&node) && self.groups.iter().any(has_new_life) {
            self.reborn_for_nothing = Some(node);
        }
    }

    /// Who has forgotten nothing goes on under its first life: one that begins another counts for nothing for a while.
    pub(crate) fn invariant(&self) -> Result<(), String> {
        match self.reborn_for_nothing {
            Some(node) => Err(format!("{node} has never lost its memory, and began another life")),
            None => Ok(()),
        }
    }

    /// Ends the run of a node as soon as it is on the disk.
    fn cut_short(&mut self, node: NodeId, clients: &mut Clients<'_, Node>) {
        let cluster = clients.cluster();
        let is_on_disk = cluster.host(node).is_some_and(|host| host.durable() == host.persisted());
        let is_over = clients.is_healed() || self.knows(node, &cluster);
        if is_over {
            self.to_cut_short = 0;
        } else if is_on_disk {
            self.to_cut_short -= 1;
            self.cut_short += 1;
            let down = self.rng.duration(&(Duration::from_micros(100)..Duration::from_millis(5)));
            clients.inflict(Fault::Crash { node, down, mid_write: false });
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
