//! Egalitarian Paxos: every replica leads its own commands, and only those that interfere are ordered.
//!
//! Source: Moraru, Andersen and Kaminsky, "There is more consensus in egalitarian parliaments", SOSP 2013, section 4.3 (the
//! basic protocol) with figures 2 and 3; Sutra, "On the correctness of Egalitarian Paxos", 2019, for the two ballots.
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n = 2f + 1.
//! Safety: agreement, one command with one set of dependencies per instance; consistency, all replicas execute interfering
//! commands in one order.
//! Liveness: termination, every command that a live replica was asked is executed by all. Needs: a majority that is up,
//! messages that arrive, and in the end one replica at a time that recovers an instance; two overtake each other in ballots
//! that have no end, so explorations have one do it.
//! Departures: the variant is the basic one: a fast quorum is the leader and the 2f − 1 that follow it in the ring, a fixed
//! set, and only they are sent a pre-accept of the first ballot; if they don't all answer, the leader recovers its own
//! instance as anybody may. Dependencies are all interfering instances that a replica knows. The ballot that a replica has
//! promised is kept apart from that in which it voted (Sutra). An empty command interferes with nothing, and is accepted
//! without being pre-accepted. What was committed is told again to whoever says from time to time that it lacks it.
//! Omitted: the smaller fast quorum of section 4.4 (f + ⌊(f + 1)/2⌋), one dependency per replica, changes of membership, and
//! forgetting what all have executed.
//! Cost: 3 message delays until all have executed a command with which nothing interferes, of which the first 2, one round
//! trip, commit it at its leader; 2(n − 2) + (n − 1) messages. One round trip more if the fast quorum disagrees.
//! Read next: `EPaxos::on_pre_accept`, then `on_majority_of_prepared`, then the trace `two_clients_interfere`.

mod execution;
mod recovery;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use quorate_core::quorum::majority;
use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// A command. Those of one key interfere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command {
    /// What it is about.
    pub key: u64,
    /// Which it is.
    pub number: u64,
}

/// The name of an instance: whose it is, and which of that replica's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// The replica that leads it unless it is recovered.
    pub of: NodeId,
    /// Its number there; the first is 1.
    pub number: u64,
}

/// The number of an attempt at an instance, of which no two replicas have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// 0 for the first, which is that of the instance's own leader.
    pub round: u64,
    /// Whose it is.
    pub of: NodeId,
}

/// What an instance is to hold.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// The command; none if the instance stays empty.
    pub command: Option<Command>,
    /// Greater than that of every dependency known when it was given; it orders those that depend on each other.
    pub seq: u64,
    /// The instances with commands that interfere.
    pub deps: BTreeSet<Instance>,
}

/// How far an instance has come at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The replica has added what it knows that interferes.
    PreAccepted,
    /// Paxos is under way for just these attributes.
    Accepted,
    /// That is what the instance holds, for ever.
    Committed,
}

/// What a replica last said to an instance.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Vote {
    /// In which ballot it said so. Not the ballot that it has promised since: Sutra shows what goes wrong if the two are one.
    pub ballot: Ballot,
    /// How far that is.
    pub status: Status,
    /// To what.
    pub attributes: Attributes,
}

/// What a replica knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub me: NodeId,
    /// All replicas, this one included, in the order of the ring.
    pub nodes: Vec<NodeId>,
    /// How long a replica that knows an instance waits for its commitment before it recovers it.
    pub patience: Range<Duration>,
    /// Whether it recovers what others, or it itself, have left open.
    pub recovers: bool,
    /// How often a replica says what it knows to be committed.
    pub curiosity: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    /// f + 1.
    fn quorum(&self) -> usize {
        majority(self.nodes.len())
    }

    /// f.
    fn faults(&self) -> usize {
        self.nodes.len() - self.quorum()
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().copied().filter(|node| *node != self.me)
    }

    /// Those that with a leader make up its fast quorum: the 2f − 1 that follow it in the ring.
    fn fast_peers(&self, leader: NodeId) -> Vec<NodeId> {
        let at = self.nodes.iter().position(|node| *node == leader).unwrap_or_default();
        let ring = self.nodes.iter().cycle().skip(at + 1);
        ring.take(2 * self.faults() - 1).copied().collect()
    }
}

/// What replicas send each other, by the names of the paper.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Add what you know that interferes.
    PreAccept(Instance, Ballot, Attributes),
    /// Added.
    PreAcceptOk(Instance, Ballot, Attributes),
    /// Let the instance hold just this.
    Accept(Instance, Ballot, Attributes),
    /// Accepted.
    AcceptOk(Instance, Ballot),
    /// The instance holds this.
    Commit(Instance, Attributes),
    /// Take no part in earlier ballots, and say how you voted.
    Prepare(Instance, Ballot),
    /// Promised; and the vote.
    PrepareOk(Instance, Ballot, Option<Vote>),
    /// Refused, since a later ballot is promised.
    Refused(Instance, Ballot),
    /// What the sender knows to be committed.
    Have(BTreeSet<Instance>),
}

/// The timers of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// What is known and not committed is recovered.
    Recover,
    /// It is time to say what is known to be committed.
    Compare,
}

/// What must survive a crash: all that is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record(Instance, Slot);

/// What a replica knows of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    promised: Ballot,
    vote: Option<Vote>,
}

/// What a replica knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    slots: BTreeMap<Instance, Slot>,
}

/// What a replica that leads an instance waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Promises, with the votes of those that gave them.
    Preparing(BTreeMap<NodeId, Option<Vote>>),
    /// What others have added.
    PreAccepting(BTreeMap<NodeId, Attributes>),
    /// Acceptance of just these attributes.
    Accepting(BTreeSet<NodeId>, Attributes),
}

/// A replica's leadership of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    ballot: Ballot,
    phase: Phase,
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EPaxos {
    slots: BTreeMap<Instance, Slot>,
    attempts: BTreeMap<Instance, Attempt>,
    /// The instances that are executed.
    done: BTreeSet<Instance>,
    executed: Vec<Command>,
    waiting: BTreeMap<RequestId, Command>,
    /// What clients have asked here, by the instance in which it was proposed, until that is committed.
    proposed: BTreeMap<Instance, Command>,
    is_waiting_to_recover: bool,
}

impl EPaxos {
    /// What this replica has executed since it started, in order; what it had executed before, it executes again.
    pub fn executed(&self) -> &[Command] {
        &self.executed
    }

    /// What it knows to be committed.
    pub fn committed(&self) -> impl Iterator<Item = (Instance, &Attributes)> {
        let votes =
            self.slots.iter().filter_map(|(instance, slot)| Some((*instance, slot.vote.as_ref()?)));
        votes
            .filter(|(_, vote)| vote.status == Status::Committed)
            .map(|(instance, vote)| (instance, &vote.attributes))
    }

    /// The instances that it knows of and doesn't know to be committed.
    pub fn open(&self) -> BTreeSet<Instance> {
        let committed: BTreeMap<Instance, &Attributes> = self.committed().collect();
        let named = committed.values().flat_map(|attributes| &attributes.deps);
        let known = self.slots.keys().chain(named).copied();
        known.filter(|instance| !committed.contains_key(instance)).collect()
    }

    /// How many requests clients have put here that are not executed here yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn slot(&mut self, instance: Instance) -> &mut Slot {
        let first = Ballot { round: 0, of: instance.of };
        self.slots.entry(instance).or_insert(Slot { promised: first, vote: None })
    }

    /// What the instance is known to hold.
    pub fn decided(&self, instance: Instance) -> Option<&Attributes> {
        let vote = self.slots.get(&instance)?.vote.as_ref()?;
        (vote.status == Status::Committed).then_some(&vote.attributes)
    }

    /// Votes, and forgets attempts of its own that it has thereby left behind.
    fn vote(&mut self, instance: Instance, vote: Vote, out: &mut Out<'_, Self>) {
        let slot = self.slot(instance);
        slot.promised = slot.promised.max(vote.ballot);
        slot.vote = Some(vote);
        let (promised, slot) = (slot.promised, slot.clone());
        out.persist(Record(instance, slot));
        self.abandon_before(instance, promised);
    }

    fn abandon_before(&mut self, instance: Instance, ballot: Ballot) {
        if self.attempts.get(&instance).is_some_and(|attempt| attempt.ballot < ballot) {
            self.attempts.remove(&instance);
        }
    }

    /// Whether a message of that ballot is to be heeded; else its sender is told why not.
    fn heeds(
        &mut self,
        from: NodeId,
        instance: Instance,
        ballot: Ballot,
        out: &mut Out<'_, Self>,
    ) -> bool {
        if let Some(attributes) = self.decided(instance) {
            out.send(from, Message::Commit(instance, attributes.clone()));
            return false;
        }
        let promised = self.slot(instance).promised;
        if ballot < promised {
            out.send(from, Message::Refused(instance, promised));
        }
        ballot >= promised
    }

    /// Figure 2, steps 2, 3, 6 and 7: adds what is known here to interfere with the command of an instance.
    fn with_what_interferes(&self, instance: Instance, mut attributes: Attributes) -> Attributes {
        let Some(command) = attributes.command else { return attributes };
        for (other, slot) in self.slots.iter().filter(|(other, _)| **other != instance) {
            let Some(vote) = &slot.vote else { continue };
            if vote.attributes.command.is_some_and(|it| it.key == command.key) {
                attributes.seq = attributes.seq.max(vote.attributes.seq + 1);
                attributes.deps.insert(*other);
            }
        }
        attributes
    }

    /// Phase 1 of an own command, steps 1 to 5.
    fn propose(&mut self, config: &Config, command: Command, out: &mut Out<'_, Self>) {
        let own = self.slots.keys().filter(|instance| instance.of == config.me);
        let number = own.map(|instance| instance.number).max().unwrap_or(0) + 1;
        let instance = Instance { of: config.me, number };
        let ballot = Ballot { round: 0, of: config.me };
        self.proposed.insert(instance, command);
        self.pre_accept(config, instance, ballot, command, out);
    }

    /// Phase 1 in any ballot: of the first only the fast quorum hears.
    fn pre_accept(
        &mut self,
        config: &Config,
        instance: Instance,
        ballot: Ballot,
        command: Command,
        out: &mut Out<'_, Self>,
    ) {
        let bare = Attributes { command: Some(command), seq: 1, deps: BTreeSet::new() };
        let attributes = self.with_what_interferes(instance, bare);
        let vote = Vote { ballot, status: Status::PreAccepted, attributes: attributes.clone() };
        self.vote(instance, vote, out);
        let phase = Phase::PreAccepting(BTreeMap::new());
        self.attempts.insert(instance, Attempt { ballot, phase });
        let peers =
            if ballot.round == 0 { config.fast_peers(config.me) } else { config.nodes.clone() };
        for peer in peers.into_iter().filter(|peer| *peer != config.me) {
            out.send(peer, Message::PreAccept(instance, ballot, attributes.clone()));
        }
    }

    /// Steps 6 to 9.
    fn on_pre_accept(
        &mut self,
        from: NodeId,
        (instance, ballot): (Instance, Ballot),
        attributes: Attributes,
        out: &mut Out<'_, Self>,
    ) {
        if !self.heeds(from, instance, ballot, out) {
            return;
        }
        // A repeated message gets the answer of the first. Were dependencies looked up anew, what is stored here would not
        // be what the leader may have committed on, and a recovery would find it.
        let voted = self.slot(instance).vote.clone().filter(|vote| vote.ballot == ballot);
        let answer = match voted {
            Some(vote) if vote.status == Status::PreAccepted => vote.attributes,
            Some(_) => return,
            None => {
                let attributes = self.with_what_interferes(instance, attributes);
                let status = Status::PreAccepted;
                self.vote(instance, Vote { ballot, status, attributes: attributes.clone() }, out);
                attributes
            }
        };
        out.send(from, Message::PreAcceptOk(instance, ballot, answer));
    }

    /// Steps 10 to 14.
    fn on_pre_accept_ok(
        &mut self,
        config: &Config,
        from: NodeId,
        (instance, ballot): (Instance, Ballot),
        attributes: Attributes,
        out: &mut Out<'_, Self>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&instance) else { return };
        let Phase::PreAccepting(added) = &mut attempt.phase else { return };
        if attempt.ballot != ballot {
            return;
        }
        added.insert(from, attributes.clone());
        let is_fast = ballot.round == 0;
        let is_small = config.mutants.has("fast_quorum_too_small");
        let needed = match is_fast {
            true if is_small => (2 * config.faults() - 2).max(1),
            true => 2 * config.faults() - 1,
            false => config.quorum() - 1,
        };
        if added.len() < needed {
            return;
        }
        if is_fast && added.values().all(|it| *it == attributes) {
            return self.commit(config, instance, attributes, out);
        }
        let mut union = attributes;
        for more in added.values() {
            union.seq = union.seq.max(more.seq);
            union.deps.extend(&more.deps);
        }
        let own = self.slots.get(&instance).and_then(|slot| slot.vote.as_ref());
        if let Some(own) = own {
            union.seq = union.seq.max(own.attributes.seq);
            union.deps.extend(&own.attributes.deps);
        }
        self.accept(config, instance, ballot, union, out);
    }

    /// Phase 2, steps 15 to 18.
    fn accept(
        &mut self,
        config: &Config,
        instance: Instance,
        ballot: Ballot,
        attributes: Attributes,
        out: &mut Out<'_, Self>,
    ) {
        let vote = Vote { ballot, status: Status::Accepted, attributes: attributes.clone() };
        self.vote(instance, vote, out);
        broadcast(config, &Message::Accept(instance, ballot, attributes.clone()), out);
        let phase = Phase::Accepting(BTreeSet::from([config.me]), attributes);
        self.attempts.insert(instance, Attempt { ballot, phase });
    }

    fn on_accept(
        &mut self,
        from: NodeId,
        (instance, ballot): (Instance, Ballot),
        attributes: Attributes,
        out: &mut Out<'_, Self>,
    ) {
        if self.heeds(from, instance, ballot, out) {
            self.vote(instance, Vote { ballot, status: Status::Accepted, attributes }, out);
            out.send(from, Message::AcceptOk(instance, ballot));
        }
    }

    /// Steps 19 and 20.
    fn on_accept_ok(
        &mut self,
        config: &Config,
        from: NodeId,
        (instance, ballot): (Instance, Ballot),
        out: &mut Out<'_, Self>,
    ) {
        let Some(attempt) = self.attempts.get_mut(&instance) else { return };
        let Phase::Accepting(accepted, attributes) = &mut attempt.phase else { return };
        if attempt.ballot != ballot {
            return;
        }
        accepted.insert(from);
        if accepted.len() >= config.quorum() {
            let attributes = attributes.clone();
            self.commit(config, instance, attributes, out);
        }
    }

    /// Steps 21 and 22.
    fn commit(
        &mut self,
        config: &Config,
        instance: Instance,
        attributes: Attributes,
        out: &mut Out<'_, Self>,
    ) {
        let commit = Message::Commit(instance, attributes.clone());
        if config.mutants.has("commits_before_durable") {
            config.others().for_each(|to| out.send_early(to, commit.clone()));
            return self.on_commit(config, instance, attributes, out);
        }
        self.on_commit(config, instance, attributes, out);
        // Only once it is durable here: a leader that had forgotten it would take part in a recovery as one that has never
        // committed, and those that it then asks may be too few of the fast quorum to find what it told others.
        broadcast(config, &commit, out);
    }

    /// Step 23.
    fn on_commit(
        &mut self,
        config: &Config,
        instance: Instance,
        attributes: Attributes,
        out: &mut Out<'_, Self>,
    ) {
        if self.decided(instance).is_some() {
            return;
        }
        let is_empty = attributes.command.is_none();
        let ballot = self.slot(instance).promised;
        self.vote(instance, Vote { ballot, status: Status::Committed, attributes }, out);
        self.attempts.remove(&instance);
        // Others found nobody who knew the command, so it will never be there, and may be tried again elsewhere.
        if let Some(command) = self.proposed.remove(&instance).filter(|_| is_empty) {
            self.propose(config, command, out);
        }
        self.execute(out);
    }

    fn on_request(
        &mut self,
        config: &Config,
        id: RequestId,
        command: Command,
        out: &mut Out<'_, Self>,
    ) {
        self.waiting.insert(id, command);
        self.propose(config, command, out);
    }

    fn on_message(
        &mut self,
        config: &Config,
        from: NodeId,
        message: Message,
        out: &mut Out<'_, Self>,
    ) {
        match message {
            Message::PreAccept(instance, ballot, attributes) => {
                self.on_pre_accept(from, (instance, ballot), attributes, out)
            }
            Message::PreAcceptOk(instance, ballot, attributes) => {
                self.on_pre_accept_ok(config, from, (instance, ballot), attributes, out)
            }
            Message::Accept(instance, ballot, attributes) => {
                self.on_accept(from, (instance, ballot), attributes, out)
            }
            Message::AcceptOk(instance, ballot) => {
                self.on_accept_ok(config, from, (instance, ballot), out)
            }
            Message::Commit(instance, attributes) => {
                self.on_commit(config, instance, attributes, out)
            }
            Message::Prepare(instance, ballot) => self.on_prepare(from, instance, ballot, out),
            Message::PrepareOk(instance, ballot, vote) => {
                self.on_prepare_ok(config, from, (instance, ballot), vote, out)
            }
            Message::Refused(instance, ballot) => self.on_refused(instance, ballot, out),
            Message::Have(instances) => {
                for (instance, attributes) in self.committed() {
                    if !instances.contains(&instance) {
                        out.send(from, Message::Commit(instance, attributes.clone()));
                    }
                }
            }
        }
    }
}

impl Protocol for EPaxos {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Command;
    /// The command, once it is executed.
    type Response = Command;

    fn fold(durable: &mut Durable, _: u64, Record(instance, slot): Record) {
        durable.slots.insert(instance, slot);
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let mut replica = EPaxos {
            slots: durable.slots,
            attempts: BTreeMap::new(),
            done: BTreeSet::new(),
            executed: Vec::new(),
            waiting: BTreeMap::new(),
            proposed: BTreeMap::new(),
            is_waiting_to_recover: false,
        };
        out.arm(Timer::Compare, config.curiosity.clone());
        replica.execute(out);
        replica.wait_to_recover(config, out);
        replica
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_request(config, id, request, out),
            Input::Fire(Timer::Recover) => self.recover_what_is_open(config, out),
            Input::Fire(Timer::Compare) => {
                let known = self.committed().map(|(instance, _)| instance).collect();
                broadcast(config, &Message::Have(known), out);
                out.arm(Timer::Compare, config.curiosity.clone());
            }
            Input::Deliver { from, message } => self.on_message(config, from, message, out),
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
        self.wait_to_recover(config, out);
    }

    fn view(&self) -> String {
        let open = self.slots.iter().filter_map(|(instance, slot)| {
            let vote = slot.vote.as_ref().filter(|vote| vote.status < Status::Committed)?;
            Some(format!("{instance:?} {:?}, ", vote.status))
        });
        format!("{}executed {:?}", open.collect::<String>(), self.executed)
    }
}

fn broadcast(config: &Config, message: &Message, out: &mut Out<'_, EPaxos>) {
    config.others().for_each(|to| out.send(to, message.clone()));
}
