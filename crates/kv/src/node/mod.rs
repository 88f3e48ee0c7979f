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

mod alarms;
mod leases;
pub mod members;
mod onlookers;
mod outbox;
mod shard;
mod transfers;
mod upkeep;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_core::{Effect, GroupId, Input, Mutants, NodeId, Out, Protocol, RequestId};
use quorate_engine::{Engine, MemoryEngine};
use quorate_protocols::consensus::raft::{self, Raft};

use crate::error::Error;
use crate::request::TXN_OPERATIONS_MAX;
use crate::service::{NodeRequest, NodeResponse, Status};
use crate::store::applied_in;

use outbox::Outbox;
pub use shard::Shard;

/// The names of all deliberate bugs that [`Config::raft`]'s mutants can switch on in this crate's own code.
pub const MUTANTS: &[&str] = &[
    "applies_twice_after_restart",
    "reads_without_waiting",
    "deaf_to_newer",
    "skips_unknown_command",
];

/// The shard that holds the keyspace `default`, which the etcd face speaks to.
pub const DEFAULT_GROUP: GroupId = GroupId(1);

/// The pause between two steps of removing what compactions have put out of reach.
const COLLECT_INTERVAL: Duration = Duration::from_millis(1);

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The shards that this node hosts a replica of.
    pub groups: Vec<GroupId>,
    /// How each of them replicates.
    pub raft: raft::Config,
    /// How often stores are looked after.
    pub upkeep_interval: Duration,
    /// After how many entries a store is made durable, however little they changed.
    pub flush_entries: u64,
    /// How many bytes may be in a store and not durable until it is made so.
    pub flush_bytes: u64,
    /// How large a store may be, in bytes, until no more writes are taken; none for as large as its disk.
    pub quota_bytes: Option<u64>,
    /// The shortest time to live of a lease; one that is granted for less lives as long as this.
    pub lease_ttl_seconds_min: i64,
    /// How many operations one block of a transaction may have.
    pub operations_max: usize,
}

impl Config {
    /// The usual settings.
    pub fn new(groups: Vec<GroupId>, raft: raft::Config) -> Self {
        Config {
            groups,
            raft,
            upkeep_interval: Duration::from_millis(100),
            flush_entries: 1_000_000,
            flush_bytes: 64 << 20,
            quota_bytes: None,
            lease_ttl_seconds_min: 2,
            operations_max: TXN_OPERATIONS_MAX,
        }
    }

    fn mutants(&self) -> Mutants {
        self.raft.mutants
    }
}

/// What one node says to another in one go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// In order, each with the group it belongs to.
    pub messages: Vec<(GroupId, raft::Message)>,
    /// How many more there were that this version can't read. They are lost, as any message may be.
    pub unread: u32,
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
    /// Stores go on to remove what compactions have put out of reach.
    Collect,
    /// Stores are looked after.
    Upkeep,
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
#[derive(Debug)]
pub struct Durable<E = MemoryEngine> {
    /// By group.
    pub groups: BTreeMap<GroupId, raft::Durable>,
    /// What each group's store is kept in, opened.
    pub engines: BTreeMap<GroupId, E>,
}

impl<E> Durable<E> {
    /// Nothing but engines, for a log to be folded onto.
    pub fn new(engines: BTreeMap<GroupId, E>) -> Self {
        Durable { groups: BTreeMap::new(), engines }
    }
}

impl<E> Durable<E> {
    /// Says that what these groups' members promised is forgotten, as far as their records don't show that they know it
    /// already. Returns whether there is any such member. To be called after the log is folded.
    pub fn lose_memory(&mut self, groups: &[GroupId]) -> bool {
        let mut is_lost = false;
        for group in groups {
            let durable = self.groups.entry(*group).or_default();
            durable.memory_lost |= durable.boot == 0;
            is_lost |= durable.memory_lost;
        }
        is_lost
    }
}

impl Durable {
    /// Nothing, with empty engines in memory.
    pub fn in_memory(groups: &[GroupId]) -> Self {
        Durable::new(groups.iter().map(|group| (*group, MemoryEngine::default())).collect())
    }
}

/// Who took part in a shard when its state was last made durable in this engine; none if there is no such state, or it
/// can't be read.
pub fn membership_in(engine: &impl Engine) -> Option<Arc<raft::Membership>> {
    Some(wire::decode_snapshot(applied_in(engine)?).ok()?.membership)
}

/// One node of the database.
pub struct Node<E: Engine = MemoryEngine> {
    shards: BTreeMap<GroupId, Shard<E>>,
    /// The groups whose leader is here and waits for the shared heartbeat.
    heartbeats: BTreeSet<GroupId>,
    /// The groups that wait for the end of the batch.
    flushes: BTreeSet<GroupId>,
    outbox: Outbox,
    is_overdue_armed: bool,
    is_collect_armed: bool,
    releases: Releases,
    /// What came for groups that are not here.
    strays: u64,
    /// What this version could not read.
    unread: u64,
}

impl<E: Engine> Node<E> {
    /// The replica of a group.
    pub fn shard(&self, group: GroupId) -> Option<&Shard<E>> {
        self.shards.get(&group)
    }

    /// All replicas, by group.
    pub fn shards(&self) -> impl Iterator<Item = (GroupId, &Shard<E>)> {
        self.shards.iter().map(|(group, shard)| (*group, shard))
    }

    /// Why this node can never serve one of its shards: its state is damaged or missing, and there is no other replica
    /// to have it from.
    pub fn why_unservable(&self, config: &Config) -> Option<String> {
        self.shards.iter().find_map(|(group, shard)| {
            Some(format!("shard {group}: {}", shard.why_unservable(config)?))
        })
    }

    /// Why this node must stop: it is of a version that can't apply what the cluster has agreed upon.
    pub fn why_halted(&self) -> Option<String> {
        self.shards.iter().find_map(|(group, shard)| {
            let (index, error) = shard.halted()?;
            Some(format!("entry {index} of shard {group} can't be applied: {error}"))
        })
    }

    /// What the stores lie in, of a node that has stopped.
    pub fn into_engines(self) -> impl Iterator<Item = (GroupId, E)> {
        self.shards.into_iter().map(|(group, shard)| (group, shard.into_engine()))
    }

    /// Counts up whenever who takes part, or where they are reached, changes; 0 while nobody does.
    pub fn peers_version(&self) -> u64 {
        self.shards.values().map(|shard| shard.register().version()).sum()
    }

    /// Everybody who takes part in a shard that is here, and where their peers reach them.
    pub fn peer_urls(&self) -> BTreeMap<NodeId, Vec<String>> {
        self.shards.values().flat_map(|shard| shard.register().peer_urls()).collect()
    }

    /// The number of messages that made no sense, or came for groups that are not here.
    pub fn nonsense(&self) -> u64 {
        self.strays + self.shards.values().map(|shard| shard.raft().nonsense()).sum::<u64>()
    }

    /// The number of messages that were of a kind which this version doesn't know.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn ask(
        &mut self,
        config: &Config,
        id: RequestId,
        request: NodeRequest,
        out: &mut Out<'_, Self>,
    ) {
        let group = request.group();
        let Some(shard) = self.shards.get_mut(&group) else {
            let refusal = Error::Unsupported("this node has no replica of that shard");
            out.reply(id, NodeResponse::Done { term: 0, outcome: Err(refusal) });
            return;
        };
        match shard.admit(config, id, request) {
            shard::Admitted::Answer(NodeResponse::Status(status)) => {
                let (messages_unread, messages_nonsense) = (self.unread, self.nonsense());
                let status = Status { messages_unread, messages_nonsense, ..status };
                out.reply(id, NodeResponse::Status(status));
            }
            shard::Admitted::Answer(response) => out.reply(id, response),
            shard::Admitted::Settled => shard.finish_members(out),
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
        let stepped = self.with_shard(group, |shard, lift| {
            shard.step(config, input, lift, out);
            (shard.has_waiting_queries(), shard.store().has_garbage())
        });
        let Some((is_waiting, has_garbage)) = stepped else {
            self.strays += 1;
            return;
        };
        if is_waiting {
            self.arm_overdue(config, out);
        }
        if has_garbage {
            self.arm_collect(out);
        }
    }

    fn arm_collect(&mut self, out: &mut Out<'_, Self>) {
        if !self.is_collect_armed {
            self.is_collect_armed = true;
            out.arm(Timer::Collect, COLLECT_INTERVAL..COLLECT_INTERVAL);
        }
    }

    fn collect_garbage(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_collect_armed = false;
        let mut has_more = false;
        for group in config.groups.iter().copied() {
            self.with_shard(group, |shard, lift| {
                has_more |= shard.collect_garbage(config, lift, out);
            });
        }
        if has_more {
            self.arm_collect(out);
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

    fn keep_up(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        for group in config.groups.iter().copied() {
            self.with_shard(group, |shard, lift| shard.keep_up(config, lift, out));
        }
        out.arm(Timer::Upkeep, config.upkeep_interval..config.upkeep_interval);
    }

    fn with_shard<T>(
        &mut self,
        group: GroupId,
        run: impl FnOnce(&mut Shard<E>, &mut Lift<'_>) -> T,
    ) -> Option<T> {
        let shard = self.shards.get_mut(&group)?;
        let mut lift = Lift {
            group,
            heartbeats: &mut self.heartbeats,
            flushes: &mut self.flushes,
            outbox: &mut self.outbox,
            releases: &mut self.releases,
        };
        Some(run(shard, &mut lift))
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

/// From which record on each replica needs the log, which they share.
#[derive(Debug, Default)]
struct Releases {
    /// None for those that need all of it.
    needed: BTreeMap<GroupId, u64>,
    released: u64,
}

impl Releases {
    /// The first record that any replica needs, if that has moved.
    fn advance(&mut self, config: &Config) -> Option<u64> {
        let needed = |group| self.needed.get(group).copied().unwrap_or(0);
        let before = config.groups.iter().map(needed).min()?;
        (before > self.released).then(|| {
            self.released = before;
            before
        })
    }
}

/// Turns the effects of one replica's Raft into the node's.
struct Lift<'a> {
    group: GroupId,
    heartbeats: &'a mut BTreeSet<GroupId>,
    flushes: &'a mut BTreeSet<GroupId>,
    outbox: &'a mut Outbox,
    releases: &'a mut Releases,
}

impl Lift<'_> {
    /// Carries out every effect but answers, which it gives back.
    fn effect<E: Engine>(
        &mut self,
        config: &Config,
        effect: Effect<Raft>,
        out: &mut Out<'_, Node<E>>,
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
            Effect::Release { before } => {
                self.releases.needed.insert(group, before);
                if let Some(before) = self.releases.advance(config) {
                    out.release(before);
                }
            }
        }
        None
    }
}

impl<E: Engine> Protocol for Node<E> {
    type Config = Config;
    type Message = Envelope;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable<E>;
    type Request = NodeRequest;
    type Response = NodeResponse;

    fn fold(durable: &mut Durable<E>, number: u64, record: Record) {
        Raft::fold(durable.groups.entry(record.group).or_default(), number, record.record);
    }

    fn recover(config: &Config, mut durable: Durable<E>, out: &mut Out<'_, Self>) -> Self {
        let mut node = Node {
            shards: BTreeMap::new(),
            heartbeats: BTreeSet::new(),
            flushes: BTreeSet::new(),
            outbox: Outbox::default(),
            is_overdue_armed: false,
            is_collect_armed: false,
            releases: Releases::default(),
            strays: 0,
            unread: 0,
        };
        for &group in &config.groups {
            let engine = durable.engines.remove(&group).expect("a shard was given no engine");
            let durable = durable.groups.remove(&group).unwrap_or_default();
            let mut lift = Lift {
                group,
                heartbeats: &mut node.heartbeats,
                flushes: &mut node.flushes,
                outbox: &mut node.outbox,
                releases: &mut node.releases,
            };
            let shard = Shard::recover(config, durable, engine, &mut lift, out);
            let has_garbage = shard.store().has_garbage();
            node.shards.insert(group, shard);
            if has_garbage {
                node.arm_collect(out);
            }
        }
        out.arm(Timer::Upkeep, config.upkeep_interval..config.upkeep_interval);
        node.outbox.send(out);
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Deliver { from, message: Envelope { messages, unread } } => {
                self.unread += u64::from(unread);
                let is_deaf = unread > 0 && config.mutants().has("deaf_to_newer");
                for (group, message) in messages.into_iter().filter(|_| !is_deaf) {
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
            Input::Fire(Timer::Collect) => self.collect_garbage(config, out),
            Input::Fire(Timer::Upkeep) => self.keep_up(config, out),
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
        // With one shard there is nothing to tell apart.
        if let (1, Some(shard)) = (self.shards.len(), self.shards.values().next()) {
            return shard.view();
        }
        let shards: Vec<String> =
            self.shards.iter().map(|(group, shard)| format!("{group} {}", shard.view())).collect();
        shards.join("; ")
    }
}
