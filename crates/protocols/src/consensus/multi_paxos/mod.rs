//! Multi-Paxos: replicas perform the same commands in the same order, for each slot of which leaders have one command chosen.
//!
//! Source: van Renesse and Altinbuken, "Paxos made moderately complex", 2015, sections 2 to 4.
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n = 2f + 1.
//! Safety: one command per slot; slots are performed in order, with no gap; a command that was asked for twice is performed
//! once.
//! Liveness: every command that a client waits for is performed, and every replica performs it. Needs: a majority that is up,
//! messages that arrive, and in the end one leader that is left alone; random waits see to that (section 3). Ballots have no
//! end, so explorations have one node lead.
//! Departures: a node is replica, leader and acceptor in one (section 4); a leader that another has overtaken waits for a
//! while in the place of pinging the other, and then begins only if it has something to have chosen; acceptors keep the newest
//! proposal of each slot alone (section 4); links are not first in, first out, so that an acceptor takes part in a later
//! ballot of which it hears in phase 2 first; who is not answered says it again, and replicas ask for decisions that they
//! missed.
//! Omitted: reconfiguration; leases and reads without a slot; forgetting what all replicas have performed.
//! Cost: 5 message delays and 6(n − 1) messages for the first command; after it, phase 1 being done for all slots, 3 delays and
//! 4(n − 1) messages for each that is asked of the leader's node.
//! Read next: `leader::Leader::on_adopted`, then the trace `a_new_leader_finishes_what_the_old_began`.

mod acceptor;
mod leader;
mod replica;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

pub use super::paxos::Ballot;
use acceptor::Acceptor;
use leader::Leader;
pub use replica::{Replica, Ticket};

/// A command, by the name that its client gave it. A client that has no answer asks again under the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Command(pub u64);

/// A place in the order of commands; the first is 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u64);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// For each slot the newest ballot in which a command was accepted, and the command: the pvalues of the paper.
pub type Accepted = BTreeMap<Slot, (Ballot, Command)>;

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included: the acceptors and the replicas.
    pub nodes: Vec<NodeId>,
    /// Those of them that may lead.
    pub leaders: Vec<NodeId>,
    /// How many slots a replica proposes for beyond those that it has performed: WINDOW.
    pub window: u64,
    /// How long a leader waits for a majority to answer, and before it tries again once another has overtaken it.
    pub patience: Range<Duration>,
    /// After how long a replica says again what it proposes, and asks for what it missed.
    pub curiosity: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What replicas, leaders and acceptors send each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A replica to the leaders: have this command chosen for this slot.
    Propose(Slot, Command),
    /// A scout to the acceptors: adopt this ballot.
    P1a(Ballot),
    /// An acceptor to a scout: the ballot that it has adopted, and what it has accepted.
    P1b(Ballot, Accepted),
    /// A commander to the acceptors: accept this.
    P2a(Ballot, Slot, Command),
    /// An acceptor to a commander: the ballot that it has adopted; if it is the commander's, it has accepted.
    P2b(Ballot, Slot),
    /// To the replicas: this command is chosen for this slot.
    Decision(Slot, Command),
    /// A replica to the others: which commands are chosen, from this slot on?
    Learn(Slot),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A leader has something that is not chosen yet.
    Lead,
    /// A replica says again what it proposes.
    Ask,
}

/// What must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The acceptor has adopted a ballot.
    Adopted(Ballot),
    /// The acceptor has accepted.
    Accepted(Ballot, Slot, Command),
    /// The replica has learnt what is chosen.
    Decided(Slot, Command),
}

/// What a node knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    acceptor: Acceptor,
    decisions: BTreeMap<Slot, Command>,
}

/// A node: a replica, a leader and an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MultiPaxos {
    replica: Replica,
    leader: Leader,
    acceptor: Acceptor,
}

/// What the roles of a node have to say, to others and to each other, in order. A node is the first of its own addressees: what
/// it tells others waits for the disk with what it told its own acceptor before, which so never takes back a vote of its own.
type Mail = VecDeque<(NodeId, Message)>;

/// All nodes, this one first.
fn everybody(config: &Config) -> impl Iterator<Item = NodeId> + '_ {
    let others = config.nodes.iter().copied().filter(|node| *node != config.me);
    std::iter::once(config.me).chain(others)
}

impl MultiPaxos {
    /// The replica of this node.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The ballot in which this node leads, if a majority has adopted it.
    pub fn leads(&self) -> Option<Ballot> {
        self.leader.leads()
    }

    /// Has every message of its own taken in, and sends the others.
    fn post(&mut self, config: &Config, mut mail: Mail, out: &mut Out<'_, Self>) {
        while let Some((to, message)) = mail.pop_front() {
            if to == config.me {
                self.take(config, config.me, message, &mut mail, out);
            } else {
                out.send(to, message);
            }
        }
    }

    fn take(
        &mut self,
        config: &Config,
        from: NodeId,
        message: Message,
        mail: &mut Mail,
        out: &mut Out<'_, Self>,
    ) {
        match message {
            Message::Propose(slot, command) => self.on_propose(config, from, slot, command, mail),
            Message::P1a(ballot) => {
                let answer = self.acceptor.on_p1a(ballot, out);
                mail.push_back((from, answer));
            }
            Message::P1b(ballot, accepted) => {
                self.leader.on_p1b(config, from, ballot, accepted, self.replica.decisions(), mail)
            }
            Message::P2a(ballot, slot, command) => {
                let answer = self.acceptor.on_p2a(ballot, slot, command, out);
                mail.push_back((from, answer));
            }
            Message::P2b(ballot, slot) => {
                self.leader.on_p2b(config, from, ballot, slot, mail);
            }
            Message::Decision(slot, command) => {
                self.leader.forget(slot);
                self.replica.on_decision(config, slot, command, mail, out);
            }
            Message::Learn(from_slot) => {
                let newer = self.replica.decisions().range(from_slot..);
                mail.extend(
                    newer.map(|(slot, command)| (from, Message::Decision(*slot, *command))),
                );
            }
        }
    }

    /// A replica proposes.
    fn on_propose(
        &mut self,
        config: &Config,
        from: NodeId,
        slot: Slot,
        command: Command,
        mail: &mut Mail,
    ) {
        // A leader has forgotten what is chosen, and must not have another command chosen for the slot in its ballot.
        if let Some(chosen) = self.replica.decisions().get(&slot) {
            mail.push_back((from, Message::Decision(slot, *chosen)));
            return;
        }
        if !config.leaders.contains(&config.me) {
            return;
        }
        let nobody_else_leads =
            self.acceptor.ballot().is_none_or(|adopted| adopted.of == config.me);
        self.leader.on_propose(config, slot, command, mail);
        if from == config.me && nobody_else_leads {
            self.leader.begin(config, mail);
        }
    }
}

impl Protocol for MultiPaxos {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Command;
    /// The command's place among all that were performed.
    type Response = Ticket;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Adopted(ballot) => durable.acceptor.adopt(ballot),
            Record::Accepted(ballot, slot, command) => {
                durable.acceptor.accept(ballot, slot, command)
            }
            Record::Decided(slot, command) => {
                durable.decisions.insert(slot, command);
            }
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let Durable { acceptor, decisions } = durable;
        out.arm(Timer::Ask, config.curiosity.clone());
        let leader = Leader::new(config, acceptor.ballot());
        MultiPaxos { replica: Replica::new(config, decisions), leader, acceptor }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let mut mail = Mail::new();
        let was_idle = self.leader.is_idle() || matches!(input, Input::Fire(Timer::Lead));
        match input {
            Input::Deliver { from, message } => self.take(config, from, message, &mut mail, out),
            Input::Ask { id, request } => {
                self.replica.on_request(config, id, request, &mut mail, out)
            }
            Input::Fire(Timer::Lead) => self.leader.on_timer(config, &mut mail),
            Input::Fire(Timer::Ask) => {
                self.replica.say_again(config, &mut mail);
                out.arm(Timer::Ask, config.curiosity.clone());
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
        self.post(config, mail, out);
        if was_idle && !self.leader.is_idle() {
            out.arm(Timer::Lead, config.patience.clone());
        }
    }

    fn view(&self) -> String {
        let mut words = vec![self.leader.view()];
        words.extend(self.acceptor.ballot().map(|ballot| format!("bound to {ballot:?}")));
        words.extend(self.replica.view());
        words.retain(|word| !word.is_empty());
        if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
    }
}
