//! What stores lie in goes bad: an engine rots, or has no space left, at one node at a time.
//!
//! A replica whose engine can't be read helps the others to agree, and serves again once it has another's state. One
//! whose engine is full refuses what takes up space, and takes it again as soon as there is some.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{GroupId, NodeId};
use quorate_kv::node::Node;
use quorate_sim::{Clients, Cluster};

use crate::disk::EngineDisks;

/// How long nothing happens to an engine.
const PEACE: Range<Duration> = Duration::from_millis(20)..Duration::from_secs(2);
/// How long an engine is full.
const FULL: Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);
/// How often a rotten engine is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What happened to engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineTally {
    /// Engines that rotted.
    pub rotten: u64,
    /// Those of them that a replica's state was put in the place of.
    pub restored: u64,
    /// Spells in which an engine was full.
    pub full: u64,
    /// Requests that were refused because of it.
    pub refused: u64,
}

/// What is done to engines.
pub(crate) struct Engines {
    /// Its name among those who are woken.
    token: u64,
    groups: Vec<GroupId>,
    disks: BTreeMap<NodeId, EngineDisks>,
    ill: Option<(NodeId, GroupId, Illness)>,
    pub(crate) tally: EngineTally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Illness {
    Rotten,
    Full,
}

impl Engines {
    pub(crate) fn new(
        token: u64,
        groups: Vec<GroupId>,
        disks: BTreeMap<NodeId, EngineDisks>,
    ) -> Self {
        Engines { token, groups, disks, ill: None, tally: EngineTally::default() }
    }

    pub(crate) fn pause(&self, clients: &mut Clients<'_, Node>) {
        let after = clients.rng().duration_by_magnitude(&PEACE);
        clients.wake_after(after, self.token);
    }

    pub(crate) fn act(&mut self, clients: &mut Clients<'_, Node>) {
        if clients.is_healed() {
            return;
        }
        match self.ill {
            None => self.strike(clients),
            Some((node, group, Illness::Rotten)) => {
                if self.is_restored(node, group, &clients.cluster()) {
                    self.tally.restored += 1;
                    self.ill = None;
                    self.pause(clients);
                } else {
                    clients.wake_after(LOOK, self.token);
                }
            }
            Some((_, _, Illness::Full)) => {
                self.make_room();
                self.pause(clients);
            }
        }
    }

    fn strike(&mut self, clients: &mut Clients<'_, Node>) {
        let (node, groups) = (clients.any_node(), self.groups.clone());
        let group = *clients.rng().pick(&groups);
        let Some(disk) = self.disks.get(&node).and_then(|disks| disks.of(group)) else { return };
        if clients.rng().below(2) == 0 {
            self.tally.rotten += 1;
            disk.rot();
            self.ill = Some((node, group, Illness::Rotten));
            clients.wake_after(LOOK, self.token);
        } else {
            self.tally.full += 1;
            disk.set_full(true);
            self.ill = Some((node, group, Illness::Full));
            let after = clients.rng().duration_by_magnitude(&FULL);
            clients.wake_after(after, self.token);
        }
    }

    fn make_room(&mut self) {
        if let Some((node, group, _)) = self.ill.take_if(|(_, _, ill)| *ill == Illness::Full)
            && let Some(disk) = self.disks.get(&node).and_then(|disks| disks.of(group))
        {
            disk.set_full(false);
        }
    }

    fn is_restored(&self, node: NodeId, group: GroupId, cluster: &Cluster<'_, Node>) -> bool {
        let is_rotten = self
            .disks
            .get(&node)
            .and_then(|disks| disks.of(group))
            .is_some_and(|disk| disk.is_rotten());
        let shard = cluster.state(node).and_then(|node| node.shard(group));
        !is_rotten && shard.is_some_and(|s| s.failure().is_none() && !s.raft().needs_snapshot())
    }

    /// Everything is well from here on. What is rotten stays so until there is another's state to take its place.
    pub(crate) fn healed(&mut self) {
        self.make_room();
    }

    /// The end of the run: what was rotten was restored by then, if its replica takes part.
    pub(crate) fn settle(&mut self, cluster: &Cluster<'_, Node>) {
        if let Some((node, group, Illness::Rotten)) = self.ill {
            self.tally.restored += u64::from(self.is_restored(node, group, cluster));
        }
    }
}
