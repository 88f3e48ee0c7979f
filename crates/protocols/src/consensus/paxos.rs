//! Paxos of a single decree: nodes agree on one value, once and for all.
//!
//! Source: Lamport, "Paxos made simple", 2001, section 2.
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n = 2f + 1.
//! Safety: agreement, no two nodes decide differently; validity, what is decided was proposed.
//! Liveness: once something was proposed, every node decides. Needs: a majority that is up, messages that arrive, and in the
//! end one proposer that is left alone for four message delays; random waits see to that.
//! Departures: every node is proposer, acceptor and learner; whoever decides tells all; who was not told asks; a proposer that
//! is not answered says the same again, and takes a new ballot only once another has overtaken it, of which an acceptor tells
//! whom it refuses.
//! Omitted: a sequence of decisions, which is Multi-Paxos.
//! Cost: 5 message delays until all know, 5(n − 1) messages, with one proposer and no faults.
//! Boundary: proposers that don't wait preempt each other for ever (the trace `duelling_proposers`); where rounds begin anew,
//! as an exploration needs it, that is a circle, and no wait helps against who chooses how long it lasts.
//! Read next: `Paxos::on_promise`, then the trace `two_proposers_one_value`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

use super::flexible_paxos::Quorums;

/// What is agreed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub u64);

/// The number of an attempt, of which no two proposers have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Its round.
    pub round: u64,
    /// Whose it is.
    pub of: NodeId,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.of)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// Whose promises, and whose acceptance, are enough: a majority's, or what Flexible Paxos puts in its place.
    pub quorums: Quorums,
    /// How long a proposer waits for answers, and before it tries again once another has overtaken it. None if it doesn't
    /// wait when overtaken.
    pub backoff: Option<Range<Duration>>,
    /// How long a proposer waits for a quorum to answer.
    pub patience: Range<Duration>,
    /// After how long a node that knows no decision asks for it.
    pub curiosity: Range<Duration>,
    /// How many rounds there are before they begin anew: explorations of endless runs need an end. None if there is none, as
    /// agreement has it: with an end, a message that is older than half of them is taken for a new one.
    pub rounds: Option<u64>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    /// Whether one round comes after another.
    fn is_after(&self, one: u64, other: u64) -> bool {
        match self.rounds {
            None => one > other,
            Some(rounds) => (1..=(rounds - 1) / 2).contains(&((one + rounds - other) % rounds)),
        }
    }

    fn is_newer(&self, one: Ballot, other: Ballot) -> bool {
        self.is_after(one.round, other.round) || one.round == other.round && one.of > other.of
    }

    fn next(&self, round: u64) -> u64 {
        self.rounds.map_or(round + 1, |rounds| (round + 1) % rounds)
    }
}

/// What nodes send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Phase 1a: promise to take no part in earlier ballots.
    Prepare(Ballot),
    /// Phase 1b: promised; and the newest that was accepted before.
    Promise(Ballot, Option<(Ballot, Value)>),
    /// Phase 2a: accept this.
    Accept(Ballot, Value),
    /// Phase 2b: accepted.
    Accepted(Ballot),
    /// Neither, for this newer ballot was promised.
    Refused(Ballot),
    /// This is decided.
    Decided(Value),
    /// What is decided?
    Ask,
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A proposer tries again.
    Retry,
    /// Who knows no decision asks for it.
    Ask,
}

/// What must survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// What the acceptor has promised and accepted.
    Acceptor(Acceptor),
    /// What this node proposes.
    Proposal(Value),
    /// What is decided.
    Decided(Value),
}

/// The memory of an acceptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acceptor {
    /// The newest ballot that it has promised.
    pub promised: Option<Ballot>,
    /// The newest proposal that it has accepted.
    pub accepted: Option<(Ballot, Value)>,
}

/// What a node knows after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    acceptor: Acceptor,
    proposal: Option<Value>,
    decided: Option<Value>,
}

/// An attempt to have a value decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    ballot: Ballot,
    promises: BTreeMap<NodeId, Option<(Ballot, Value)>>,
    /// What is proposed in phase 2, once there.
    value: Option<Value>,
    accepted: BTreeSet<NodeId>,
}

/// A node of Paxos.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Paxos {
    durable: Durable,
    attempt: Option<Attempt>,
    /// The newest round that it has heard of.
    newest_round: u64,
    waiting: Vec<RequestId>,
}

impl Paxos {
    /// What this node knows to be decided.
    pub fn decided(&self) -> Option<Value> {
        self.durable.decided
    }

    /// What this node proposes.
    pub fn proposal(&self) -> Option<Value> {
        self.durable.proposal
    }

    /// Phase 1a.
    fn prepare(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.durable.proposal.is_none() || self.durable.decided.is_some() {
            return;
        }
        self.newest_round = config.next(self.newest_round);
        let ballot = Ballot { round: self.newest_round, of: config.me };
        let promises = BTreeMap::from([(config.me, self.durable.acceptor.accepted)]);
        self.attempt = Some(Attempt { ballot, promises, value: None, accepted: BTreeSet::new() });
        self.durable.acceptor.promised = Some(ballot);
        out.persist(Record::Acceptor(self.durable.acceptor));
        broadcast(config, Message::Prepare(ballot), out);
        out.arm(Timer::Retry, config.patience.clone());
        self.on_quorum_of_promises(config, out);
    }

    /// Says once more what was not answered; or begins a new attempt, if the last was overtaken.
    fn try_again(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if config.mutants.has("tries_once") {
            return;
        }
        let Some(attempt) = &self.attempt else { return self.prepare(config, out) };
        let (ballot, value) = (attempt.ballot, attempt.value);
        let said = value.map_or(Message::Prepare(ballot), |value| Message::Accept(ballot, value));
        broadcast(config, said, out);
        out.arm(Timer::Retry, config.patience.clone());
    }

    /// Whether an acceptor has promised a newer ballot. Whoever proposed that may be dead, and who asks would ask for ever, so
    /// it is told; but for a proposer's own ballot, which it goes on to tell of anyway.
    fn refuses(
        &self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        out: &mut Out<'_, Self>,
    ) -> bool {
        let promised = self.durable.acceptor.promised;
        let newer = promised.filter(|promised| config.is_newer(*promised, ballot));
        if let (Some(newer), None) = (newer, &self.attempt) {
            out.send(from, Message::Refused(newer));
        }
        newer.is_some()
    }

    /// Phase 1b, at an acceptor.
    fn on_prepare(
        &mut self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        out: &mut Out<'_, Self>,
    ) {
        if self.refuses(config, from, ballot, out) {
            return;
        }
        self.durable.acceptor.promised = Some(ballot);
        let promise = Message::Promise(ballot, self.durable.acceptor.accepted);
        if config.mutants.has("promises_before_durable") {
            out.send_early(from, promise);
            out.persist(Record::Acceptor(self.durable.acceptor));
        } else {
            out.persist(Record::Acceptor(self.durable.acceptor));
            out.send(from, promise);
        }
        self.overtaken_by(config, ballot, out);
    }

    /// A proposer that has promised a later ballot to another has lost its own.
    fn overtaken_by(&mut self, config: &Config, ballot: Ballot, out: &mut Out<'_, Self>) {
        if config.is_after(ballot.round, self.newest_round) {
            self.newest_round = ballot.round;
        }
        let attempt = self.attempt.as_ref();
        if attempt.is_none_or(|attempt| !config.is_newer(ballot, attempt.ballot)) {
            return;
        }
        self.attempt = None;
        match &config.backoff {
            Some(backoff) => out.arm(Timer::Retry, backoff.clone()),
            None => self.prepare(config, out),
        }
    }

    /// Phase 1b, at the proposer.
    fn on_promise(
        &mut self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        accepted: Option<(Ballot, Value)>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else {
            return;
        };
        if attempt.value.is_none() {
            attempt.promises.insert(from, accepted);
            self.on_quorum_of_promises(config, out);
        }
    }

    /// Phase 2a.
    fn on_quorum_of_promises(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let (Some(attempt), Some(own)) = (&mut self.attempt, self.durable.proposal) else { return };
        if !config.quorums.phase_1.is_met(&config.nodes, |node| attempt.promises.contains_key(node))
        {
            return;
        }
        // P2c: the value of the newest ballot that any of a quorum has accepted, if there is one; it may be decided.
        let newest = attempt.promises.values().flatten().max_by_key(|(ballot, _)| *ballot);
        let bound = newest
            .map(|(_, value)| *value)
            .filter(|_| !config.mutants.has("ignores_what_was_accepted"));
        let own = if config.mutants.has("forgets_its_proposal") { Value(0) } else { own };
        let value = bound.unwrap_or(own);
        attempt.value = Some(value);
        let ballot = attempt.ballot;
        self.durable.acceptor.accepted = Some((ballot, value));
        out.persist(Record::Acceptor(self.durable.acceptor));
        broadcast(config, Message::Accept(ballot, value), out);
        out.arm(Timer::Retry, config.patience.clone());
        self.on_accepted(config, config.me, ballot, out);
    }

    /// Phase 2b, at an acceptor.
    fn on_accept(
        &mut self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        value: Value,
        out: &mut Out<'_, Self>,
    ) {
        if self.refuses(config, from, ballot, out) {
            return;
        }
        self.durable.acceptor =
            Acceptor { promised: Some(ballot), accepted: Some((ballot, value)) };
        out.persist(Record::Acceptor(self.durable.acceptor));
        out.send(from, Message::Accepted(ballot));
        self.overtaken_by(config, ballot, out);
    }

    /// Phase 2b, at the proposer.
    fn on_accepted(
        &mut self,
        config: &Config,
        from: NodeId,
        ballot: Ballot,
        out: &mut Out<'_, Self>,
    ) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else {
            return;
        };
        attempt.accepted.insert(from);
        let accepted = &attempt.accepted;
        let is_chosen =
            config.quorums.phase_2.is_met(&config.nodes, |node| accepted.contains(node));
        let Some(value) = attempt.value.filter(|_| is_chosen) else { return };
        self.decide(value, out);
        broadcast(config, Message::Decided(value), out);
    }

    fn decide(&mut self, value: Value, out: &mut Out<'_, Self>) {
        if self.durable.decided.is_some() {
            return;
        }
        self.durable.decided = Some(value);
        out.persist(Record::Decided(value));
        self.attempt = None;
        out.disarm(Timer::Retry);
        out.disarm(Timer::Ask);
        for id in self.waiting.drain(..) {
            out.reply(id, value);
        }
    }

    fn on_request(
        &mut self,
        config: &Config,
        id: RequestId,
        value: Value,
        out: &mut Out<'_, Self>,
    ) {
        if let Some(decided) = self.durable.decided {
            return out.reply(id, decided);
        }
        self.waiting.push(id);
        if self.durable.proposal.is_none() {
            self.durable.proposal = Some(value);
            out.persist(Record::Proposal(value));
            self.prepare(config, out);
        }
    }
}

impl Protocol for Paxos {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Value;
    type Response = Value;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Acceptor(acceptor) => durable.acceptor = acceptor,
            Record::Proposal(value) => durable.proposal = Some(value),
            Record::Decided(value) => durable.decided = Some(value),
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let newest_round = durable.acceptor.promised.map_or(0, |ballot| ballot.round);
        if durable.decided.is_none() {
            out.arm(Timer::Ask, config.curiosity.clone());
            if durable.proposal.is_some() {
                out.arm(Timer::Retry, config.patience.clone());
            }
        }
        Paxos { durable, attempt: None, newest_round, waiting: Vec::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_request(config, id, request, out),
            Input::Fire(Timer::Retry) => self.try_again(config, out),
            Input::Fire(Timer::Ask) => {
                broadcast(config, Message::Ask, out);
                out.arm(Timer::Ask, config.curiosity.clone());
            }
            Input::Deliver { from, message } => match message {
                Message::Prepare(ballot) => self.on_prepare(config, from, ballot, out),
                Message::Promise(ballot, accepted) => {
                    self.on_promise(config, from, ballot, accepted, out)
                }
                Message::Accept(ballot, value) => self.on_accept(config, from, ballot, value, out),
                Message::Accepted(ballot) => self.on_accepted(config, from, ballot, out),
                Message::Refused(newer) => self.overtaken_by(config, newer, out),
                Message::Decided(value) => self.decide(value, out),
                Message::Ask => {
                    if let Some(value) = self.durable.decided {
                        out.send(from, Message::Decided(value));
                    }
                }
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let Acceptor { promised, accepted } = self.durable.acceptor;
        let mut words = Vec::new();
        words.extend(promised.map(|ballot| format!("promised {ballot:?}")));
        words.extend(accepted.map(|(ballot, value)| format!("accepted {value:?} in {ballot:?}")));
        words.extend(self.attempt.as_ref().map(|attempt| format!("tries {:?}", attempt.ballot)));
        words.extend(self.durable.decided.map(|value| format!("decided {}", value.0)));
        if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
    }
}

fn broadcast(config: &Config, message: Message, out: &mut Out<'_, Paxos>) {
    for to in config.nodes.iter().filter(|node| **node != config.me) {
        out.send(*to, message);
    }
}
