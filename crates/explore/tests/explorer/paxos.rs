//! A Paxos of one decree, small enough to be explored to the end; and one that forgets a promise, and is found out.
//!
//! Source: Lamport, "Paxos made simple", 2001, section 2.2. Ballots are ordered by the names of nodes, so that nodes
//! are not alike, and symmetry is off.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::quorum::majority;
use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_explore::{Bounds, Goal, Model, Options, Report, Snapshot, Syncs, explore};

type Value = u8;
type Ballot = (u32, NodeId);

pub(crate) struct Config {
    me: NodeId,
    is_promise_early: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    Prepare(Ballot),
    Promise(Ballot, Option<(Ballot, Value)>),
    Accept(Ballot, Value),
    Accepted(Ballot),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acceptor {
    promised: Option<Ballot>,
    accepted: Option<(Ballot, Value)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Proposer {
    ballot: Ballot,
    value: Value,
    promises: BTreeMap<NodeId, Option<(Ballot, Value)>>,
    votes: BTreeSet<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Paxos {
    acceptor: Acceptor,
    proposer: Option<Proposer>,
    decided: Option<Value>,
}

const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

impl Protocol for Paxos {
    type Config = Config;
    type Message = Message;
    type Timer = ();
    type Record = Acceptor;
    type Durable = Acceptor;
    type Request = Value;
    type Response = ();

    fn fold(durable: &mut Acceptor, _: u64, record: Acceptor) {
        *durable = record;
    }

    fn recover(_: &Config, acceptor: Acceptor, _: &mut Out<'_, Self>) -> Self {
        Paxos { acceptor, proposer: None, decided: None }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let me = config.me;
        match input {
            Input::Ask { request, .. } if self.proposer.is_none() => {
                let ballot = (self.acceptor.promised.map_or(1, |(round, _)| round + 1), me);
                let promises = BTreeMap::from([(me, self.acceptor.accepted)]);
                let votes = BTreeSet::new();
                self.proposer = Some(Proposer { ballot, value: request, promises, votes });
                self.acceptor.promised = Some(ballot);
                out.persist(self.acceptor);
                broadcast(me, &Message::Prepare(ballot), out);
            }
            Input::Deliver { from, message: Message::Prepare(ballot) }
                if self.acceptor.promised <= Some(ballot) =>
            {
                self.acceptor.promised = Some(ballot);
                out.persist(self.acceptor);
                let promise = Message::Promise(ballot, self.acceptor.accepted);
                if config.is_promise_early {
                    out.send_early(from, promise);
                } else {
                    out.send(from, promise);
                }
            }
            Input::Deliver { from, message: Message::Accept(ballot, value) }
                if self.acceptor.promised <= Some(ballot) =>
            {
                self.acceptor =
                    Acceptor { promised: Some(ballot), accepted: Some((ballot, value)) };
                out.persist(self.acceptor);
                out.send(from, Message::Accepted(ballot));
            }
            Input::Deliver { from, message: Message::Promise(ballot, accepted) } => {
                self.on_promise(me, from, ballot, accepted, out);
            }
            Input::Deliver { from, message: Message::Accepted(ballot) } => {
                if let Some(proposer) = self.proposer.as_mut().filter(|p| p.ballot == ballot) {
                    proposer.votes.insert(from);
                    if proposer.votes.len() >= majority(NODES.len()) {
                        self.decided = Some(proposer.value);
                    }
                }
            }
            _ => {}
        }
    }

    fn view(&self) -> String {
        format!("{:?} decided={:?}", self.acceptor, self.decided)
    }
}

impl Paxos {
    fn on_promise(
        &mut self,
        me: NodeId,
        from: NodeId,
        ballot: Ballot,
        accepted: Option<(Ballot, Value)>,
        out: &mut Out<'_, Self>,
    ) {
        let Some(proposer) = self.proposer.as_mut().filter(|p| p.ballot == ballot) else { return };
        let is_late = proposer.promises.len() >= majority(NODES.len());
        if is_late || self.acceptor.promised != Some(ballot) {
            return;
        }
        proposer.promises.insert(from, accepted);
        if proposer.promises.len() >= majority(NODES.len()) {
            // P2c: the value of the highest ballot that any of a majority has accepted, if there is one.
            let bound = proposer.promises.values().flatten().max();
            proposer.value = bound.map_or(proposer.value, |(_, value)| *value);
            proposer.votes.insert(me);
            self.acceptor.accepted = Some((ballot, proposer.value));
            out.persist(self.acceptor);
            broadcast(me, &Message::Accept(ballot, proposer.value), out);
        }
    }
}

fn broadcast(me: NodeId, message: &Message, out: &mut Out<'_, Paxos>) {
    for to in NODES.into_iter().filter(|node| *node != me) {
        out.send(to, message.clone());
    }
}

pub(crate) struct PaxosModel {
    nodes: Vec<(NodeId, Config)>,
    pub(crate) syncs: Syncs,
    pub(crate) crashes: u8,
    pub(crate) repeats: u8,
}

impl PaxosModel {
    pub(crate) fn new(is_promise_early: bool) -> Self {
        let nodes = NODES.map(|me| (me, Config { me, is_promise_early }));
        PaxosModel { nodes: nodes.into(), syncs: Syncs::EachTurn, crashes: 1, repeats: 0 }
    }
}

const GOALS: &[Goal<PaxosModel>] = &[
    ("the first value is decided", |cluster| *cluster.history() == Some(0)),
    ("the second value is decided", |cluster| *cluster.history() == Some(1)),
    ("two nodes know the decision", |cluster| {
        cluster.states().filter(|paxos| paxos.decided.is_some()).count() == 2
    }),
];

impl Model for PaxosModel {
    type Protocol = Paxos;
    /// What was decided.
    type History = Option<Value>;

    fn nodes(&self) -> &[(NodeId, Config)] {
        &self.nodes
    }

    fn blank(&self) -> Acceptor {
        Acceptor::default()
    }

    fn bounds(&self) -> Bounds {
        Bounds { crashes: self.crashes, repeats: self.repeats, requests: 2, hints: 0 }
    }

    fn syncs(&self) -> Syncs {
        self.syncs
    }

    fn timers(&self) -> &[((), u8)] {
        &[]
    }

    fn requests(&self, asked: u8, node: NodeId) -> Vec<Value> {
        if node == NodeId(2) { vec![] } else { vec![asked] }
    }

    fn observe(
        &self,
        cluster: &Snapshot<'_, Self>,
        moved: usize,
    ) -> Result<Option<Option<Value>>, String> {
        match (cluster.state(moved).decided, *cluster.history()) {
            (Some(now), Some(before)) if now != before => {
                Err(format!("agreement: {now} was decided, and {before} before"))
            }
            (Some(now), None) => Ok(Some(Some(now))),
            _ => Ok(None),
        }
    }

    fn goals(&self) -> &[Goal<Self>] {
        GOALS
    }
}

pub(crate) const OPTIONS: Options =
    Options { threads: 2, is_symmetric: false, depth_max: None, states_max: None };

fn explored(model: &PaxosModel) -> Report<Paxos> {
    let report = explore(model, &OPTIONS, |_| true);
    println!("Paxos, {:?}: {report}", model.syncs);
    report
}

#[test]
fn a_correct_paxos_agrees_in_every_state() {
    let report = explored(&PaxosModel::new(false));
    assert!(report.is_exhausted(), "{report}");
    assert_eq!(report.missed(), [""; 0]);
}

#[test]
fn a_promise_that_leaves_before_it_is_durable_ends_in_disagreement_by_a_shortest_run() {
    let report = explored(&PaxosModel::new(true));
    let counterexample = report.counterexample().expect("it is found");
    println!("{counterexample}");
    // Two proposals, two promises and two acceptances of a second node, with what asks for them: none can be spared.
    assert_eq!(counterexample.steps.len(), 10);
    assert!(counterexample.broken.starts_with("agreement"), "{counterexample}");
    let crashes = counterexample.steps.iter().filter(|step| step.interruption.is_some());
    assert_eq!(crashes.count(), 1, "{counterexample}");
}

#[test]
fn it_takes_a_crash_to_break_an_early_promise() {
    let report = explored(&PaxosModel { crashes: 0, ..PaxosModel::new(true) });
    assert!(report.is_exhausted(), "{report}");
}

#[test]
fn whole_turns_hide_nothing_that_syncs_at_any_time_would_show() {
    for is_promise_early in [false, true] {
        let each_turn = explored(&PaxosModel::new(is_promise_early));
        let anytime =
            explored(&PaxosModel { syncs: Syncs::Anytime, ..PaxosModel::new(is_promise_early) });
        assert!(anytime.states > each_turn.states);
        assert_eq!(anytime.is_exhausted(), each_turn.is_exhausted());
        assert_eq!(anytime.counterexample().is_some(), is_promise_early);
        assert_eq!(each_turn.counterexample().is_some(), is_promise_early);
    }
}
