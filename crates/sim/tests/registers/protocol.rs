//! Write-once registers: each decided by a Paxos of its own, any node proposing.
//!
//! Source: Lamport, "Paxos made simple", 2001, section 2.2.
//! Model: asynchronous, crash and recovery, n >= 2f + 1.
//! Safety: two answers for one register are equal, and somebody proposed their value.
//! Liveness: a node that is asked answers. Needs: a majority that stays up and hears each other.
//! Cost: 4 message delays and 2 syncs at a node that is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::quorum::majority;
use quorate_core::{Input, NodeId, Out, Protocol, RequestId};

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Promises and acceptances leave before they are durable.
    PromisesEarly,
    /// A proposer ignores what others have accepted.
    OverlooksAccepted,
    /// A proposer whose ballot came to nothing gives up.
    NeverRetries,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) me: NodeId,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) bug: Option<Bug>,
}

type Register = u32;
type Value = u64;
type Ballot = (u32, NodeId);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Prepare {
        register: Register,
        ballot: Ballot,
    },
    Promise {
        register: Register,
        ballot: Ballot,
        accepted: Option<(Ballot, Value)>,
    },
    Accept {
        register: Register,
        ballot: Ballot,
        value: Value,
    },
    Accepted {
        register: Register,
        ballot: Ballot,
    },
    /// The ballot came too late for `promised`.
    Refuse {
        register: Register,
        promised: Ballot,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    Promised { register: Register, ballot: Ballot },
    Accepted { register: Register, ballot: Ballot, value: Value },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Propose {
    pub(crate) register: Register,
    pub(crate) value: Value,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acceptor {
    promised: Option<Ballot>,
    accepted: Option<(Ballot, Value)>,
}

struct Proposer {
    ballot: Ballot,
    proposed: Value,
    promises: BTreeMap<NodeId, Option<(Ballot, Value)>>,
    /// The value put to the vote, once a majority has promised.
    value: Option<Value>,
    votes: BTreeSet<NodeId>,
    waiting: Vec<RequestId>,
}

#[derive(Default)]
pub(crate) struct Registers {
    acceptors: BTreeMap<Register, Acceptor>,
    proposers: BTreeMap<Register, Proposer>,
    pub(crate) decided: BTreeMap<Register, Value>,
}

type Hands<'a, 'b> = &'a mut Out<'b, Registers>;

impl Protocol for Registers {
    type Config = Config;
    type Message = Message;
    type Timer = Register;
    type Record = Record;
    type Durable = BTreeMap<Register, Acceptor>;
    type Request = Propose;
    type Response = Value;

    fn fold(durable: &mut Self::Durable, _: u64, record: Record) {
        match record {
            Record::Promised { register, ballot } => {
                durable.entry(register).or_default().promised = Some(ballot);
            }
            Record::Accepted { register, ballot, value } => {
                let accepted = Some((ballot, value));
                *durable.entry(register).or_default() =
                    Acceptor { promised: Some(ballot), accepted };
            }
        }
    }

    fn recover(_: &Config, durable: Self::Durable, _: &mut Out<'_, Self>) -> Self {
        Registers { acceptors: durable, ..Registers::default() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_ask(config, id, request, out),
            Input::Fire(register) => self.on_fire(config, register, out),
            Input::Deliver { from, message } => self.on_message(config, from, message, out),
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        format!("{} decided, {} proposed", self.decided.len(), self.proposers.len())
    }
}

impl Registers {
    fn on_ask(&mut self, config: &Config, id: RequestId, request: Propose, out: Hands<'_, '_>) {
        let Propose { register, value } = request;
        if let Some(decided) = self.decided.get(&register) {
            out.reply(id, *decided);
        } else if let Some(proposer) = self.proposers.get_mut(&register) {
            proposer.waiting.push(id);
        } else {
            self.propose(config, register, value, vec![id], out);
        }
    }

    fn on_fire(&mut self, config: &Config, register: Register, out: Hands<'_, '_>) {
        if let Some(proposer) = self.proposers.remove(&register) {
            self.propose(config, register, proposer.proposed, proposer.waiting, out);
        }
    }

    fn propose(
        &mut self,
        config: &Config,
        register: Register,
        value: Value,
        waiting: Vec<RequestId>,
        out: Hands<'_, '_>,
    ) {
        let acceptor = self.acceptors.entry(register).or_default();
        let ballot = (acceptor.promised.map_or(1, |(round, _)| round + 1), config.me);
        acceptor.promised = Some(ballot);
        out.persist(Record::Promised { register, ballot });
        let promises = BTreeMap::from([(config.me, acceptor.accepted)]);
        let proposer = Proposer {
            ballot,
            proposed: value,
            promises,
            value: None,
            votes: BTreeSet::new(),
            waiting,
        };
        self.proposers.insert(register, proposer);
        broadcast(config, &Message::Prepare { register, ballot }, out);
        if config.bug != Some(Bug::NeverRetries) {
            out.arm(register, Duration::from_millis(60)..Duration::from_millis(400));
        }
    }

    fn on_message(&mut self, config: &Config, from: NodeId, message: Message, out: Hands<'_, '_>) {
        match message {
            Message::Prepare { register, ballot } => {
                let acceptor = self.acceptors.entry(register).or_default();
                if let Some(promised) = acceptor.promised.filter(|promised| *promised > ballot) {
                    out.send(from, Message::Refuse { register, promised });
                    return;
                }
                if acceptor.promised != Some(ballot) {
                    acceptor.promised = Some(ballot);
                    out.persist(Record::Promised { register, ballot });
                }
                let accepted = acceptor.accepted;
                vote(config, from, Message::Promise { register, ballot, accepted }, out);
            }
            Message::Accept { register, ballot, value } => {
                let acceptor = self.acceptors.entry(register).or_default();
                if let Some(promised) = acceptor.promised.filter(|promised| *promised > ballot) {
                    out.send(from, Message::Refuse { register, promised });
                    return;
                }
                *acceptor = Acceptor { promised: Some(ballot), accepted: Some((ballot, value)) };
                out.persist(Record::Accepted { register, ballot, value });
                vote(config, from, Message::Accepted { register, ballot }, out);
            }
            Message::Promise { register, ballot, accepted } => {
                self.on_promise(config, from, (register, ballot), accepted, out);
            }
            Message::Accepted { register, ballot } => {
                self.on_accepted(config, from, register, ballot, out);
            }
            Message::Refuse { register, promised } => {
                // Lets the next ballot be high enough. No vote hangs on it, so it need not be durable.
                let acceptor = self.acceptors.entry(register).or_default();
                acceptor.promised = acceptor.promised.max(Some(promised));
            }
        }
    }

    fn on_promise(
        &mut self,
        config: &Config,
        from: NodeId,
        (register, ballot): (Register, Ballot),
        accepted: Option<(Ballot, Value)>,
        out: Hands<'_, '_>,
    ) {
        let Some(proposer) = self.proposers.get_mut(&register) else { return };
        if proposer.ballot != ballot || proposer.value.is_some() {
            return;
        }
        proposer.promises.insert(from, accepted);
        if proposer.promises.len() < majority(config.nodes.len()) {
            return;
        }
        // P2c: the value of the highest ballot that any of a majority has accepted; one's own only if there is none.
        let highest = proposer.promises.values().flatten().max();
        let bound = highest.filter(|_| config.bug != Some(Bug::OverlooksAccepted));
        let value = bound.map_or(proposer.proposed, |(_, value)| *value);
        proposer.value = Some(value);
        let acceptor = self.acceptors.entry(register).or_default();
        if acceptor.promised == Some(ballot) {
            acceptor.accepted = Some((ballot, value));
            out.persist(Record::Accepted { register, ballot, value });
            proposer.votes.insert(config.me);
        }
        broadcast(config, &Message::Accept { register, ballot, value }, out);
    }

    fn on_accepted(
        &mut self,
        config: &Config,
        from: NodeId,
        register: Register,
        ballot: Ballot,
        out: Hands<'_, '_>,
    ) {
        let Some(proposer) = self.proposers.get_mut(&register) else { return };
        let Some(value) = proposer.value.filter(|_| proposer.ballot == ballot) else { return };
        proposer.votes.insert(from);
        if proposer.votes.len() < majority(config.nodes.len()) {
            return;
        }
        self.decided.insert(register, value);
        out.disarm(register);
        for id in
            self.proposers.remove(&register).map(|proposer| proposer.waiting).unwrap_or_default()
        {
            out.reply(id, value);
        }
    }
}

/// A vote must not be forgotten, so it leaves once it is durable.
fn vote(config: &Config, to: NodeId, message: Message, out: Hands<'_, '_>) {
    if config.bug == Some(Bug::PromisesEarly) {
        out.send_early(to, message);
    } else {
        out.send(to, message);
    }
}

fn broadcast(config: &Config, message: &Message, out: Hands<'_, '_>) {
    for to in config.nodes.iter().filter(|node| **node != config.me) {
        out.send(*to, message.clone());
    }
}
