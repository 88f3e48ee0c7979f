//! Single-decree Paxos of three servers, and clients that put a value and then ask for it.
//!
//! Source: Lamport, "Paxos made simple", 2001. The protocol of stateright's example of that name, in words of its own: each
//! client puts one value to a server; a server that is given one campaigns for it once; who has put a value asks the next
//! server for what was decided.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{Input, NodeId, Out, Protocol};
use quorate_explore::{Bounds, Goal, Model, Options, Snapshot, explore};
use stateright::Model as _;
use stateright::actor::{Actor, ActorModel, Id, Network, Out as ActorOut};
use stateright::{Checker, Expectation};

const SERVERS: u8 = 3;
const MAJORITY: usize = 2;

type Ballot = (u8, u8);

/// A client and its value.
type Proposal = (u8, u8);

type Accepted = Option<(Ballot, Proposal)>;

/// What nodes send each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Put(u8),
    Done,
    Get,
    Got(u8),
    Prepare(Ballot),
    Promise(Ballot, Accepted),
    Accept(Ballot, Proposal),
    Accepted(Ballot),
    Decided(Ballot, Proposal),
}

/// A server: proposer and acceptor in one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    ballot: Ballot,
    proposal: Option<Proposal>,
    promises: BTreeMap<u8, Accepted>,
    votes: BTreeSet<u8>,
    accepted: Accepted,
    is_decided: bool,
}

/// One node, and the rules that both explorers follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Server(Server),
    /// A client, and how many of its requests were answered.
    Client(u8),
}

impl Node {
    fn start(me: u8, send: &mut dyn FnMut(u8, Message)) -> Self {
        if me < SERVERS {
            return Node::Server(Server::default());
        }
        send(me % SERVERS, Message::Put(me));
        Node::Client(0)
    }

    /// Whether a message would change anything.
    fn heeds(&self, message: &Message) -> bool {
        match (self, message) {
            (Node::Client(0), Message::Done) | (Node::Client(1), Message::Got(_)) => true,
            (Node::Client(_), _) => false,
            (Node::Server(server), message) => server.heeds(message),
        }
    }

    fn step(&mut self, me: u8, from: u8, message: Message, send: &mut dyn FnMut(u8, Message)) {
        match self {
            Node::Client(answered) => {
                *answered += 1;
                if *answered == 1 {
                    send((me + 1) % SERVERS, Message::Get);
                }
            }
            Node::Server(server) => server.step(me, from, message, send),
        }
    }

    fn decision(&self) -> Option<Proposal> {
        match self {
            Node::Server(Server { accepted: Some((_, proposal)), is_decided: true, .. }) => {
                Some(*proposal)
            }
            _ => None,
        }
    }
}

impl Server {
    fn heeds(&self, message: &Message) -> bool {
        match message {
            Message::Get => self.is_decided,
            _ if self.is_decided => false,
            Message::Put(_) => self.proposal.is_none(),
            Message::Prepare(ballot) => self.ballot < *ballot,
            Message::Promise(ballot, _) | Message::Accepted(ballot) => self.ballot == *ballot,
            Message::Accept(ballot, _) => self.ballot <= *ballot,
            Message::Decided(..) => true,
            Message::Done | Message::Got(_) => false,
        }
    }

    fn step(&mut self, me: u8, from: u8, message: Message, send: &mut dyn FnMut(u8, Message)) {
        let mut broadcast = |message: Message| {
            (0..SERVERS).filter(|to| *to != me).for_each(|to| send(to, message.clone()));
        };
        match message {
            Message::Get => {
                let (_, (_, value)) = self.accepted.expect("what is decided was accepted");
                send(from, Message::Got(value));
            }
            Message::Put(value) => {
                self.proposal = Some((from, value));
                self.ballot = (self.ballot.0 + 1, me);
                self.promises = BTreeMap::from([(me, self.accepted)]);
                broadcast(Message::Prepare(self.ballot));
            }
            Message::Prepare(ballot) => {
                self.ballot = ballot;
                send(from, Message::Promise(ballot, self.accepted));
            }
            Message::Promise(ballot, accepted) => {
                self.promises.insert(from, accepted);
                if self.promises.len() == MAJORITY {
                    let bound = self.promises.values().flatten().max().map(|(_, bound)| *bound);
                    let proposal = bound.or(self.proposal).expect("there is one to campaign for");
                    self.proposal = Some(proposal);
                    self.accepted = Some((ballot, proposal));
                    self.votes.insert(me);
                    broadcast(Message::Accept(ballot, proposal));
                }
            }
            Message::Accept(ballot, proposal) => {
                self.ballot = ballot;
                self.accepted = Some((ballot, proposal));
                send(from, Message::Accepted(ballot));
            }
            Message::Accepted(ballot) => {
                self.votes.insert(from);
                if self.votes.len() == MAJORITY {
                    self.is_decided = true;
                    let proposal = self.proposal.expect("it was voted for");
                    broadcast(Message::Decided(ballot, proposal));
                    send(proposal.0, Message::Done);
                }
            }
            Message::Decided(ballot, proposal) => {
                self.ballot = ballot;
                self.accepted = Some((ballot, proposal));
                self.is_decided = true;
            }
            Message::Done | Message::Got(_) => {}
        }
    }
}

fn agree<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> bool {
    let first = nodes.by_ref().find_map(Node::decision);
    nodes.filter_map(Node::decision).all(|other| Some(other) == first)
}

fn is_answered<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> bool {
    nodes.any(|node| *node == Node::Client(2))
}

impl Protocol for Node {
    type Config = u8;
    type Message = Message;
    type Timer = ();
    type Record = ();
    type Durable = ();
    type Request = ();
    type Response = ();

    fn fold(_: &mut (), _: u64, _: ()) {}

    fn recover(me: &u8, (): (), out: &mut Out<'_, Self>) -> Self {
        Node::start(*me, &mut |to, message| out.send(NodeId(to.into()), message))
    }

    fn step(&mut self, me: &u8, input: Input<Self>, out: &mut Out<'_, Self>) {
        if let Input::Deliver { from, message } = input
            && self.heeds(&message)
        {
            let send = &mut |to: u8, message| out.send(NodeId(to.into()), message);
            self.step(*me, from.0 as u8, message, send);
        }
    }

    fn view(&self) -> String {
        format!("{self:?}")
    }
}

struct Ours(Vec<(NodeId, u8)>);

const GOALS: &[Goal<Ours>] =
    &[("a client is answered", |cluster| is_answered(cluster.states()))];

impl Model for Ours {
    type Protocol = Node;
    type History = ();

    fn nodes(&self) -> &[(NodeId, u8)] {
        &self.0
    }

    fn blank(&self) {}

    fn bounds(&self) -> Bounds {
        Bounds::default()
    }

    fn begins_settled(&self) -> bool {
        false
    }

    fn timers(&self) -> &[((), u8)] {
        &[]
    }

    fn requests(&self, _: u8, _: NodeId) -> Vec<()> {
        Vec::new()
    }

    fn observe(&self, cluster: &Snapshot<'_, Self>, _: usize) -> Result<Option<()>, String> {
        if agree(cluster.states()) { Ok(None) } else { Err("two values were decided".into()) }
    }

    fn goals(&self) -> &[Goal<Self>] {
        GOALS
    }
}

/// Explores with so many clients, and counts states.
pub(crate) fn ours(clients: usize) -> u64 {
    let nodes = (0..SERVERS + clients as u8).map(|me| (NodeId(me.into()), me)).collect();
    let options = Options { is_symmetric: false, ..Options::default() };
    let report = explore(&Ours(nodes), &options, |_| true);
    assert!(report.is_exhausted() && report.missed().is_empty(), "{report}");
    report.states
}

#[derive(Clone)]
struct Theirs;

impl Actor for Theirs {
    type Msg = Message;
    type State = Node;
    type Timer = ();
    type Random = ();
    type Storage = ();

    fn on_start(&self, id: Id, _: &Option<()>, out: &mut ActorOut<Self>) -> Node {
        let me = u8::try_from(usize::from(id)).expect("nodes are few");
        Node::start(me, &mut |to, message| out.send(Id::from(usize::from(to)), message))
    }

    fn on_msg(
        &self,
        id: Id,
        state: &mut Cow<'_, Node>,
        from: Id,
        message: Message,
        out: &mut ActorOut<Self>,
    ) {
        if state.heeds(&message) {
            let send = &mut |to: u8, message| out.send(Id::from(usize::from(to)), message);
            let [me, from] = [id, from].map(|id| usize::from(id) as u8);
            state.to_mut().step(me, from, message, send);
        }
    }
}

/// The same by stateright.
pub(crate) fn theirs(clients: usize) -> u64 {
    let checker = ActorModel::new((), ())
        .actors(vec![Theirs; SERVERS as usize + clients])
        .init_network(Network::new_unordered_nonduplicating([]))
        .property(Expectation::Always, "agreement", |_, state| {
            agree(state.actor_states.iter().map(AsRef::as_ref))
        })
        .property(Expectation::Sometimes, "a client is answered", |_, state| {
            is_answered(state.actor_states.iter().map(AsRef::as_ref))
        })
        .checker()
        .threads(1)
        .spawn_bfs()
        .join();
    checker.assert_properties();
    checker.unique_state_count() as u64
}
