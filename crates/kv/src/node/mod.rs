//! One node of the database: the shards it hosts, each a Raft group with a store, as one state machine.
//!
//! *Follow one write.* A face asks; [`Node`] checks the command, encodes it and puts it to the shard's Raft, which
//! carries it to the leader, into the logs of a majority, and back as a committed entry. Every replica applies the
//! entry to its store; the one that was asked answers.
//!
//! All shards share what is scarce. Their timers for heartbeats and for the end of a batch are one each, so that what
//! they have to say to one peer leaves in one [`Envelope`]; their records go into one log, and one sync serves them
//! all.
//!
//! Invariants: `applied <= commit` in every shard; a store is a function of the applied entries and of nothing else; a
//! query is answered from a store that holds everything acknowledged before it was asked.

mod outbox;
mod shard;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Effect, GroupId, Input, Mutants, Out, Protocol, RequestId};
use quorate_protocols::consensus::raft::{self, Raft};

use crate::error::Error;
use crate::service::{NodeRequest, NodeResponse};

use outbox::Outbox;
pub use shard::Shard;

/// The names of all deliberate bugs that [`Config::raft`]'s mutants can switch on in this crate's own code.
pub const MUTANTS: &[&str] = &["applies_twice_after_restart", "reads_without_waiting"];

/// The shard that holds the keyspace `default`, which the etcd face speaks to.
pub const DEFAULT_GROUP: GroupId = GroupId(1);

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The shards that this node hosts a replica of.
    pub groups: Vec<GroupId>,
    /// How each of them replicates.
    pub raft: raft::Config,
}

impl Config {
    fn mutants(&self) -> Mutants {
        self.raft.mutants
    }
}

/// What one node says to another in one go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// In order, each with the group it belongs to.
    pub messages: Vec<(GroupId, raft::Message)>,
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// All leaders among the replicas speak.
    Heartbeat,
    /// All replicas that gathered something send it.
    Flush,
    /// Queries that have waited too long for a store to catch up are given up.
    Overdue,
    /// A timer of one replica.
    Group(GroupId, raft::Timer),
}

/// A durable write of one replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// The group.
    pub group: GroupId,
    /// What is written.
    pub record: raft::Record,
}

/// What a node knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// By group.
    pub groups: BTreeMap<GroupId, raft::Durable>,
}

/// One node of the database.
pub struct Node {
    shards: BTreeMap<GroupId, Shard>,
    /// The groups whose leader is here and waits for the shared heartbeat.
    heartbeats: BTreeSet<GroupId>,
    /// The groups that wait for the end of the batch.
    flushes: BTreeSet<GroupId>,
    outbox: Outbox,
    is_overdue_armed: bool,
    /// What came for groups that are not here.
    strays: u64,
}

impl Node {
    /// The replica of a group.
    pub fn shard(&self, group: GroupId) -> Option<&Shard> {
        self.shards.get(&group)
    }

    /// All replicas, by group.
    pub fn shards(&self) -> impl Iterator<Item = (GroupId, &Shard)> {
        self.shards.iter().map(|(group, shard)| (*group, shard))
    }

    /// The number of messages that made no sense, or came for groups that are not here.
    pub fn nonsense(&self) -> u64 {
        self.strays + self.shards.values().map(|shard| shard.raft().nonsense()).sum::<u64>()
    }

    fn ask(
        &mut self,
        config: &Config,
        id: RequestId,
        request: NodeRequest,
        out: &mut Out<'_, Self>,
    ) {
        let group = match &request {
            NodeRequest::Command { group, .. }
            | NodeRequest::Query { group, .. }
            | NodeRequest::Status { group }
            | NodeRequest::TransferLeadership { group, .. } => *group,
        };
        let Some(shard) = self.shards.get_mut(&group) else {
            let refusal = Error::Unsupported("this node has no replica of that shard");
            out.reply(id, NodeResponse::Done { term: 0, outcome: Err(refusal) });
            return;
        };
        match shard.admit(config, id, request) {
            shard::Admitted::Answer(response) => out.reply(id, response),
            shard::Admitted::Ask(request) => {
                self.step_group(config, group, Input::Ask { id, request }, out);
            }
        }
    }

    /// Gives one replica an input, carries out its effects, and applies what it has committed since.
    fn step_group(
        &mut self,
        config: &Config,
        group: GroupId,
        input: Input<Raft>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(shard) = self.shards.get_mut(&group) else {
            self.strays += 1;
            return;
        };
        let mut lift = Lift {
            group,
            heartbeats: &mut self.heartbeats,
            flushes: &mut self.flushes,
            outbox: &mut self.outbox,
        };
        shard.step(config, input, &mut lift, out);
        if shard.has_waiting_queries() {
            self.arm_overdue(config, out);
        }
    }

    fn arm_overdue(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if !self.is_overdue_armed {
            self.is_overdue_armed = true;
            out.arm(Timer::Overdue, config.raft.request_timeout..config.raft.request_timeout);
        }
    }

    fn give_up_overdue(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_overdue_armed = false;
        let mut is_waiting = false;
        for shard in self.shards.values_mut() {
            shard.give_up_overdue(out);
            is_waiting |= shard.has_waiting_queries();
        }
        if is_waiting {
            self.arm_overdue(config, out);
        }
    }

    fn step_groups(
        &mut self,
        config: &Config,
        groups: BTreeSet<GroupId>,
        timer: raft::Timer,
        out: &mut Out<'_, Self>,
    ) {
        for group in groups {
            self.step_group(config, group, Input::Fire(timer), out);
        }
    }
}

/// Turns the effects of one replica's Raft into the node's.
struct Lift<'a> {
    group: GroupId,
    heartbeats: &'a mut BTreeSet<GroupId>,
    flushes: &'a mut BTreeSet<GroupId>,
    outbox: &'a mut Outbox,
}

impl Lift<'_> {
    /// Carries out every effect but answers, which it gives back.
    fn effect(
        &mut self,
        config: &Config,
        effect: Effect<Raft>,
        out: &mut Out<'_, Node>,
    ) -> Option<(RequestId, raft::Response)> {
        let group = self.group;
        match effect {
            Effect::Persist(record) => {
                out.persist(Record { group, record });
            }
            Effect::Send { to, message, gate } => self.outbox.push(to, gate, group, message),
            Effect::Reply { id, response } => return Some((id, response)),
            Effect::Arm { timer: raft::Timer::Heartbeat, .. } => {
                if self.heartbeats.is_empty() {
                    let interval = config.raft.heartbeat_interval;
                    out.arm(Timer::Heartbeat, interval..interval);
                }
                self.heartbeats.insert(group);
            }
            Effect::Arm { timer: raft::Timer::Flush, .. } => {
                if self.flushes.is_empty() {
                    out.arm_now(Timer::Flush);
                }
                self.flushes.insert(group);
            }
            Effect::Arm { timer, after } => out.arm(Timer::Group(group, timer), after),
            Effect::Disarm(raft::Timer::Heartbeat) => {
                self.heartbeats.remove(&group);
            }
            Effect::Disarm(raft::Timer::Flush) => {
                self.flushes.remove(&group);
            }
            Effect::Disarm(timer) => out.disarm(Timer::Group(group, timer)),
            Effect::Release { .. } => {}
        }
        None
    }
}

impl Protocol for Node {
    type Config = Config;
    type Message = Envelope;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = NodeRequest;
    type Response = NodeResponse;

    fn fold(durable: &mut Durable, number: u64, record: Record) {
        Raft::fold(durable.groups.entry(record.group).or_default(), number, record.record);
    }

    fn recover(config: &Config, mut durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let mut node = Node {
            shards: BTreeMap::new(),
            heartbeats: BTreeSet::new(),
            flushes: BTreeSet::new(),
            outbox: Outbox::default(),
            is_overdue_armed: false,
            strays: 0,
        };
        for &group in &config.groups {
            let durable = durable.groups.remove(&group).unwrap_or_default();
            let mut lift = Lift {
                group,
                heartbeats: &mut node.heartbeats,
                flushes: &mut node.flushes,
                outbox: &mut node.outbox,
            };
            let shard = Shard::recover(config, durable, &mut lift, out);
            node.shards.insert(group, shard);
        }
        node.outbox.send(out);
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Deliver { from, message: Envelope { messages } } => {
                for (group, message) in messages {
                    self.step_group(config, group, Input::Deliver { from, message }, out);
                }
            }
            Input::Fire(Timer::Heartbeat) => {
                let groups = std::mem::take(&mut self.heartbeats);
                self.step_groups(config, groups, raft::Timer::Heartbeat, out);
            }
            Input::Fire(Timer::Flush) => {
                let groups = std::mem::take(&mut self.flushes);
                self.step_groups(config, groups, raft::Timer::Flush, out);
            }
            Input::Fire(Timer::Overdue) => self.give_up_overdue(config, out),
            Input::Fire(Timer::Group(group, timer)) => {
                self.step_group(config, group, Input::Fire(timer), out);
            }
            Input::Ask { id, request } => self.ask(config, id, request, out),
            Input::Synced { upto } => {
                for group in config.groups.iter().copied() {
                    self.step_group(config, group, Input::Synced { upto }, out);
                }
            }
            Input::Lost { peer } => {
                for group in config.groups.iter().copied() {
                    self.step_group(config, group, Input::Lost { peer }, out);
                }
            }
        }
        self.outbox.send(out);
    }

    fn view(&self) -> String {
        let shards: Vec<String> =
            self.shards.iter().map(|(group, shard)| format!("{group} {}", shard.view())).collect();
        shards.join("; ")
    }
}
