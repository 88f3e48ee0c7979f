//! Version vectors, plain and dotted: a replica tells a write that replaces another from two that knew nothing of each
//! other, and keeps both of those.
//!
//! Source: Parker et al., "Detection of mutual inconsistency in distributed systems", 1983 (version vectors); Preguiça,
//! Baquero, Almeida, Fonte and Gonçalves, "Dotted version vectors: logical clocks for optimistic replication", 2010.
//! Model: crash and recovery of clients and replicas, asynchronous; messages are lost, repeated and reordered. A client has
//! one request under way at a time, and repeats it until it is answered.
//! Safety: of the writes that a replica has heard of, it keeps those that no other was made in knowledge of, and no more: no
//! false overwrite, no false conflict.
//! Liveness: all replicas keep the same in the end. Needs: messages that arrive.
//! Departures: one key; a replica sends all that it keeps instead of Merkle trees; it takes each write of a client once, by
//! number, for a write that came twice would conflict with itself.
//! Omitted: deletion; clients that come and go by the million, of which each replica would have to forget some numbers.
//! Cost: 2 message delays, 2 messages, and one more to every other replica. A version has an entry for each replica if it is
//! dotted, an entry for each client that ever wrote if it is of clients.
//! Boundary: a plain vector of replicas can't say "the third write here, in knowledge of the first": it says that the writer
//! knew of the second too, and that one is lost (the trace `lost_by_a_plain_vector`).
//! Read next: `Replica::put`, then the trace `two_clients_through_one_replica`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

use super::vector::Vector;

/// What the dots of versions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// The writes of a replica; the dot stands beside the vector.
    Dotted,
    /// The writes of a replica; the dot is folded into the vector.
    OfReplicas,
    /// The writes of a client.
    OfClients,
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// The nodes that keep the data. All others are clients.
    pub replicas: Vec<NodeId>,
    /// What versions carry.
    pub tags: Tags,
    /// How long a client waits for an answer before it asks again.
    pub patience: Range<Duration>,
    /// How long a replica waits before it tells the others again what it keeps.
    pub pause: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What was written: by whom, and in the how manieth request of that client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// The client.
    pub by: NodeId,
    /// Its requests, this one included.
    pub number: u64,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.by, self.number)
    }
}

/// One write: the how manieth of whom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The replica that took the write, or the client that made it.
    pub of: NodeId,
    /// Counted from 1.
    pub number: u64,
}

impl Dot {
    /// Whether a vector says that this write is known.
    pub fn is_in(self, vector: &Vector) -> bool {
        self.number <= vector.get(self.of)
    }
}

/// A value, and what its writer knew.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// The name of the write.
    pub dot: Dot,
    /// The writes in knowledge of which it was made.
    pub past: Vector,
    /// What was written.
    pub value: Value,
    /// For the judges: all that its writer had read, and what the writers of that had.
    pub seen: BTreeSet<Value>,
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { dot, past, value, .. } = self;
        write!(f, "{value:?} is {}.{} after {past:?}", dot.of, dot.number)
    }
}

/// What a client wants of a replica.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Wish {
    /// What there is.
    Get,
    /// A new value, in the place of all that the client knows.
    Put {
        /// What the client knows.
        context: Vector,
        /// For the judges: the same, by value.
        seen: BTreeSet<Value>,
    },
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wish::Get => f.write_str("Get"),
            Wish::Put { context, .. } => write!(f, "Put knowing {context:?}"),
        }
    }
}

/// What nodes send each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A client's request, with its number.
    Ask(u64, Wish),
    /// The answer: all that the replica keeps.
    Answer(u64, Vec<Version>),
    /// From replica to replica: all that the sender keeps.
    Share(Vec<Version>),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A client that has no answer asks again.
    Retry,
    /// A replica tells the others what it keeps.
    Share,
}

/// What a client is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Write at this replica.
    Write(NodeId),
    /// Read at this replica.
    Read(NodeId),
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// These values are there now, side by side.
    There(Vec<Value>),
    /// The client is busy with an earlier request.
    Busy,
}

/// A node that keeps the data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    /// Versions of which none was made in knowledge of another, by their dots.
    versions: Vec<Version>,
    /// The newest write of each client that was taken.
    taken: BTreeMap<NodeId, u64>,
    /// For the judges: all values that were ever kept here.
    known: BTreeSet<Value>,
}

impl Replica {
    /// What it keeps.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// For the judges: all values that it ever kept.
    pub fn known(&self) -> &BTreeSet<Value> {
        &self.known
    }

    /// Takes a write, once. Returns whether it was taken.
    fn put(
        &mut self,
        config: &Config,
        value: Value,
        context: Vector,
        seen: BTreeSet<Value>,
    ) -> bool {
        let newest = self.taken.entry(value.by).or_default();
        if value.number <= *newest && !config.mutants.has("takes_a_write_twice") {
            return false;
        }
        *newest = value.number;
        let dot = match config.tags {
            Tags::OfClients => Dot { of: value.by, number: value.number },
            Tags::Dotted | Tags::OfReplicas => {
                let mut all = context.clone();
                all.merge(&known_by(&self.versions));
                Dot { of: config.me, number: all.get(config.me) + 1 }
            }
        };
        let mut past = context;
        if config.tags != Tags::Dotted {
            // As if the writer had known of every write before this one: true of a client that waits for its answers, and
            // false of a replica, which takes the writes of many.
            past.set(dot.of, dot.number);
        }
        self.keep(config, vec![Version { dot, past, value, seen }]);
        true
    }

    /// Keeps what was made in knowledge of none of the others, here or there.
    fn keep(&mut self, config: &Config, others: Vec<Version>) {
        self.known.extend(others.iter().map(|version| version.value));
        let mut all = std::mem::take(&mut self.versions);
        all.extend(others);
        all.sort_by_key(|version| version.dot);
        all.dedup_by_key(|version| version.dot);
        let is_replaced = |version: &Version| {
            all.iter().any(|other| other.dot != version.dot && version.dot.is_in(&other.past))
        };
        let kept: Vec<Version> =
            all.iter().filter(|version| !is_replaced(version)).cloned().collect();
        let is_mixed = kept.len() > 1 && config.mutants.has("keeps_what_the_writer_knew");
        self.versions = if is_mixed { all } else { kept };
    }

    fn share(&self, config: &Config, out: &mut Out<'_, Node>) {
        // All of it, not the newest alone: who has a dot of this replica is taken to have had every earlier one too.
        let mut versions = self.versions.clone();
        if config.mutants.has("shares_the_newest_alone") {
            let newest = versions.iter().max_by_key(|it| (it.dot.of == config.me, it.dot)).cloned();
            versions = newest.into_iter().collect();
        }
        for to in config.replicas.iter().filter(|to| **to != config.me) {
            out.send(*to, Message::Share(versions.clone()));
        }
    }
}

/// What somebody knows who has read these versions.
fn known_by(versions: &[Version]) -> Vector {
    let mut known = Vector::default();
    for version in versions {
        known.merge(&version.past);
        known.set(version.dot.of, version.dot.number.max(known.get(version.dot.of)));
    }
    known
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Errand {
    to: NodeId,
    wish: Wish,
}

/// A node that reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// What it has read, its own writes included.
    context: Vector,
    /// For the judges: the same, by value.
    seen: BTreeSet<Value>,
    /// Its requests so far.
    number: u64,
    errand: Option<Errand>,
}

/// A client or a replica.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Role {
    /// It keeps the data.
    Replica(Replica),
    /// It reads and writes.
    Client(Client),
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Replica(replica) => write!(f, "{:?}", replica.versions),
            Role::Client(client) => write!(f, "{:?}", client.context),
        }
    }
}

/// A node of a store with version vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    role: Role,
    /// Whom a client owes the answer; forgotten in a crash, as its asker is.
    waiting: Option<RequestId>,
}

impl Node {
    /// The replica that this node is, if it is one.
    pub fn replica(&self) -> Option<&Replica> {
        match &self.role {
            Role::Replica(replica) => Some(replica),
            Role::Client(_) => None,
        }
    }

    /// Whether it is a client that waits for an answer.
    pub fn is_busy(&self) -> bool {
        matches!(&self.role, Role::Client(client) if client.errand.is_some())
    }

    fn on_request(
        &mut self,
        config: &Config,
        id: RequestId,
        request: Request,
        out: &mut Out<'_, Self>,
    ) {
        let Role::Client(client) = &mut self.role else { return };
        if client.errand.is_some() {
            return out.reply(id, Response::Busy);
        }
        let put = || Wish::Put { context: client.context.clone(), seen: client.seen.clone() };
        let (to, wish) = match request {
            Request::Write(to) => (to, put()),
            Request::Read(to) => (to, Wish::Get),
        };
        client.number += 1;
        client.errand = Some(Errand { to, wish });
        self.waiting = Some(id);
        out.persist(self.role.clone());
        self.ask(config, out);
    }

    fn ask(&self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Client(Client { number, errand: Some(errand), .. }) = &self.role else { return };
        out.send(errand.to, Message::Ask(*number, errand.wish.clone()));
        out.arm(Timer::Retry, config.patience.clone());
    }

    fn on_ask(
        &mut self,
        config: &Config,
        from: NodeId,
        number: u64,
        wish: Wish,
        out: &mut Out<'_, Self>,
    ) {
        let Role::Replica(replica) = &mut self.role else { return };
        let is_write = matches!(wish, Wish::Put { .. });
        if let Wish::Put { context, seen } = wish
            && replica.put(config, Value { by: from, number }, context, seen)
        {
            out.persist(Role::Replica(replica.clone()));
        }
        out.send(from, Message::Answer(number, replica.versions.clone()));
        if is_write {
            replica.share(config, out);
        }
    }

    fn on_answer(&mut self, number: u64, versions: &[Version], out: &mut Out<'_, Self>) {
        let Role::Client(client) = &mut self.role else { return };
        if client.number != number || client.errand.take().is_none() {
            return;
        }
        client.context.merge(&known_by(versions));
        for version in versions {
            client.seen.insert(version.value);
            client.seen.extend(&version.seen);
        }
        out.persist(self.role.clone());
        out.disarm(Timer::Retry);
        if let Some(id) = self.waiting.take() {
            let values = versions.iter().map(|version| version.value).collect();
            out.reply(id, Response::There(values));
        }
    }

    fn on_share(&mut self, config: &Config, versions: Vec<Version>, out: &mut Out<'_, Self>) {
        let Role::Replica(replica) = &mut self.role else { return };
        let before = replica.versions.clone();
        replica.keep(config, versions);
        if replica.versions != before {
            out.persist(self.role.clone());
        }
    }
}

impl Protocol for Node {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Role;
    type Durable = Option<Role>;
    type Request = Request;
    type Response = Response;

    fn fold(durable: &mut Option<Role>, _: u64, role: Role) {
        *durable = Some(role);
    }

    fn recover(config: &Config, durable: Option<Role>, out: &mut Out<'_, Self>) -> Self {
        let is_replica = config.replicas.contains(&config.me);
        let role = durable.unwrap_or_else(|| match is_replica {
            true => Role::Replica(Replica::default()),
            false => Role::Client(Client::default()),
        });
        let node = Node { role, waiting: None };
        if is_replica {
            out.arm(Timer::Share, config.pause.clone());
        }
        node.ask(config, out);
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_request(config, id, request, out),
            Input::Fire(Timer::Retry) => self.ask(config, out),
            Input::Fire(Timer::Share) => {
                if let Role::Replica(replica) = &self.role
                    && !config.mutants.has("shares_once")
                {
                    replica.share(config, out);
                    out.arm(Timer::Share, config.pause.clone());
                }
            }
            Input::Deliver { from, message } => match message {
                Message::Ask(number, wish) => self.on_ask(config, from, number, wish, out),
                Message::Answer(number, versions) => self.on_answer(number, &versions, out),
                Message::Share(versions) => self.on_share(config, versions, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match &self.role {
            Role::Replica(replica) if replica.versions.is_empty() => "empty".to_owned(),
            Role::Replica(replica) => {
                let values: Vec<String> =
                    replica.versions.iter().map(|version| format!("{:?}", version.value)).collect();
                format!("keeping {}", values.join(" ∥ "))
            }
            Role::Client(client) => format!("aware of {:?}", client.context),
        }
    }
}
