//! The disks of one simulated node: the write-ahead log of production, and beside it what its stores lie in.
//!
//! A node whose log is found out to be damaged is told that it has lost its memory. Of a log that is whole and too old
//! nothing can be seen, and what becomes of it depends on what Raft promises (`raft::memory`):
//!
//! - A disk that was wiped is found out by whoever has heard of the node, however often it crashes before it is told. So
//!   nobody says anything, unless the judges see that somebody has not heard of it ([`Word`]).
//! - A disk that was replaced by an older copy of itself, and one that never wrote what it said it had, need somebody
//!   who says so: the copy may be of the very run that was the last, and then its peers know of no later one. Raft
//!   promises nothing for a loss that nobody can know of, so here somebody always says so.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use quorate_core::{GroupId, NodeId};
use quorate_engine::{MemoryDisk, MemoryEngine};
use quorate_kv::node::{self, Node, Record};
use quorate_sim::disk::{Damage, DiskFault, Loss, Recovery, Ruin, SimDisk, SyncEnd};
use quorate_sim::log_disk::LogDiskError;
use quorate_sim::{LogDisk, Rng, Version};
use quorate_storage::log::LogOptions;

use crate::versions::{NodeRecords, Versions, Writer};

/// What a node's stores lie in, by shard. It is a handle: clones are of the same disks.
#[derive(Clone)]
pub(crate) struct EngineDisks(Vec<(GroupId, MemoryDisk)>);

impl EngineDisks {
    pub(crate) fn new(groups: &[GroupId]) -> Self {
        EngineDisks(groups.iter().map(|group| (*group, MemoryDisk::new())).collect())
    }

    pub(crate) fn of(&self, group: GroupId) -> Option<&MemoryDisk> {
        self.0.iter().find(|(of, _)| *of == group).map(|(_, disk)| disk)
    }

    fn copy(&self) -> Self {
        EngineDisks(self.0.iter().map(|(group, disk)| (*group, disk.copy())).collect())
    }

    fn replace_with(&self, other: &EngineDisks) {
        for ((_, disk), (_, other)) in self.0.iter().zip(&other.0) {
            disk.replace_with(other);
        }
    }

    /// What a node knows whose log is empty.
    fn base(&self) -> node::Durable {
        let open =
            |(group, disk): &(GroupId, MemoryDisk)| (*group, MemoryEngine::open(disk.clone()));
        node::Durable::new(self.0.iter().map(open).collect())
    }

    fn groups(&self) -> Vec<GroupId> {
        self.0.iter().map(|(group, _)| *group).collect()
    }
}

/// The nodes that somebody has to tell that their disk is not what it was.
#[derive(Clone, Default)]
pub(crate) struct Word(Rc<RefCell<BTreeSet<NodeId>>>);

impl Word {
    /// At its next boot the node is told.
    pub(crate) fn leave_for(&self, node: NodeId) {
        self.0.borrow_mut().insert(node);
    }

    fn take_for(&self, node: NodeId) -> bool {
        self.0.borrow_mut().remove(&node)
    }
}

/// All that a node has durably.
pub(crate) struct NodeDisk {
    node: NodeId,
    log: LogDisk<Node, NodeRecords>,
    writer: Writer,
    engines: EngineDisks,
    /// What takes the place of the engines at the next crash.
    engines_to_be: Option<EngineDisks>,
    /// What ruined the log last.
    ruin: Option<Ruin>,
    /// Whether the data directory bears the mark that memory is lost.
    is_marked: bool,
    word: Word,
    /// Whether the node was told, and has yet to write that it knows.
    is_told: bool,
}

impl NodeDisk {
    pub(crate) fn new(
        node: NodeId,
        options: LogOptions,
        engines: EngineDisks,
        word: Word,
        versions: Versions,
    ) -> Self {
        let found = engines.clone();
        let writer = Writer::default();
        let records = writer.records(versions);
        let log = LogDisk::with_options(records, options, move || found.base());
        NodeDisk {
            node,
            log,
            writer,
            engines,
            engines_to_be: None,
            ruin: None,
            is_marked: false,
            word,
            is_told: false,
        }
    }

    /// A node boots and finds this loss. Whether it is told of one that it cannot know by itself.
    fn is_to_be_told(&mut self, loss: Option<Loss>) -> bool {
        let has_word = self.word.take_for(self.node);
        match loss {
            // The log says so itself.
            Some(Loss::Known) => self.is_marked = true,
            Some(Loss::Unknown) => self.is_told |= has_word || self.ruin != Some(Ruin::Wiped),
            None => self.is_told |= has_word,
        }
        self.is_told
    }
}

impl SimDisk<Node> for NodeDisk {
    type Error = LogDiskError;

    fn persist(&mut self, record: Record) -> Result<(), LogDiskError> {
        self.log.persist(record)
    }

    fn begin_sync(&mut self) -> Result<(), LogDiskError> {
        self.log.begin_sync()
    }

    fn end_sync(&mut self) -> Result<SyncEnd, LogDiskError> {
        let end = self.log.end_sync()?;
        // What a node writes first, and so with any sync, is that it lives another life.
        self.is_told &= !matches!(end, SyncEnd::Durable);
        Ok(end)
    }

    fn crash(&mut self, rng: &mut Rng) -> Damage {
        // The log opens again at once, and the engines with it.
        if let Some(engines) = self.engines_to_be.take() {
            self.engines.replace_with(&engines);
        }
        self.log.crash(rng)
    }

    fn release(&mut self, before: u64) -> Result<(), LogDiskError> {
        self.log.release(before)
    }

    fn recover(&mut self) -> Result<Recovery<Node>, LogDiskError> {
        let mut recovery = self.log.recover()?;
        if let Recovery::Found { durable, loss, .. } = &mut recovery {
            let is_to_be_told = self.is_to_be_told(*loss);
            if self.is_marked {
                durable.lose_memory(&self.engines.groups());
            }
            if is_to_be_told {
                // Its records don't show it: they are older than the loss. One may say that it knows of an earlier one.
                for group in self.engines.groups() {
                    durable.groups.entry(group).or_default().memory_lost = true;
                }
            }
        }
        Ok(recovery)
    }

    fn write_as(&mut self, version: Version) {
        self.writer.be(version);
    }

    fn afflict(&mut self, fault: DiskFault, rng: &mut Rng) {
        if let DiskFault::Ruin(ruin) = fault {
            self.ruin = Some(ruin);
            // Log and stores may share a disk, or not.
            let is_shared = rng.below(2) == 0;
            self.engines_to_be = match ruin {
                Ruin::OldCopy if is_shared => Some(self.engines.copy()),
                Ruin::Wiped if is_shared => Some(EngineDisks::new(&self.engines.groups())),
                _ => None,
            };
        }
        self.log.afflict(fault, rng);
    }

    fn heal(&mut self) {
        self.engines_to_be = None;
        self.log.heal();
    }

    fn regain(&mut self) -> Result<bool, LogDiskError> {
        let is_regained = self.log.regain()?;
        self.is_marked &= !is_regained;
        Ok(is_regained)
    }
}
