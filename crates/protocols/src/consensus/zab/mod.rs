//! ZAB: a primary broadcasts changes of its state, which all deliver in one order; and a new primary first learns all that any
//! before it may have had delivered.
//!
//! Source: Junqueira, Reed and Serafini, "Zab: High-performance broadcast for primary-backup systems", 2011.
//! Model: crash and recovery, asynchronous; messages are lost, repeated and reordered; n = 2f + 1.
//! Safety: total order, any two nodes deliver the same transactions in the same order, one perhaps fewer; prefix, of each epoch
//! a prefix of what its primary broadcast is delivered, one epoch after the other; primary integrity, whoever broadcasts has
//! all that was delivered in earlier epochs.
//! Liveness: every transaction that a client waits for is delivered, by every node. Needs: a majority that is up, messages that
//! arrive, and in the end one prospective leader that is left alone; random waits see to that. Epochs have no end, so
//! explorations await what is due within one.
//! Departures: the leader oracle of the paper is a timer: who hears of no leader stands, the first node at once; a
//! prospective leader that stands in vain gives way to one that stands later; links are not first in, first out, so a
//! follower takes a proposal only right after the one before, and the leader says again what is not acknowledged; whoever is
//! asked hands the request to its leader, which proposes it unless its history has it.
//! Omitted: sending less than a whole history to synchronise; snapshots; elections that prefer the newest history.
//! Cost: 9 message delays and 10(n − 1) messages for the first transaction, elections included; after it 3 delays and 3(n − 1)
//! messages for each. Against Raft: an epoch is a term, but nothing is broadcast in it before a majority has acknowledged what it
//! begins with; both commit by a majority that acknowledges a history, and Raft's leader is chosen for its
//! log, ZAB's takes the newest over in discovery; a new leader of Raft may not count an older term's entry, where here
//! acknowledging a new leader makes the whole history one of the new epoch. Against Multi-Paxos: there each slot is
//! agreed on by itself, so of two changes under way the later may survive without the earlier; here only prefixes do, which
//! a primary that ships differences relies on.
//! Read next: `Zab::on_new_leader`, then the trace `the_leader_dies_between_propose_and_commit`.

mod follower;
mod leader;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// The time of one leader; 0 before the first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The name of a transaction: the epoch in which it was proposed, and its place there, the first being 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zxid(pub Epoch, pub u64);

/// What a client wants changed. No two clients want the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change(pub u64);

/// A transaction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction(pub Zxid, pub Change);

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.0, self.1)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{:?}", self.0, self.1)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// How long a node waits without a word from a leader before it stands itself.
    pub patience: Range<Duration>,
    /// How often a leader says again what was not acknowledged, and a node what it asks of the leader.
    pub beat: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What nodes send each other. The names are those of the paper, but for the first and the last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// From a prospective leader: who follows me? With the last epoch that it has promised.
    Stand(Epoch),
    /// Discovery, from a follower: the last epoch that it has promised.
    Cepoch(Epoch),
    /// Discovery: promise to follow nobody of an earlier epoch.
    NewEpoch(Epoch),
    /// Discovery, from a follower: promised the first; the last epoch whose leader it has acknowledged, and its history.
    AckEpoch(Epoch, Epoch, Vec<Transaction>),
    /// Synchronisation: what the epoch begins with.
    NewLeader(Epoch, Vec<Transaction>),
    /// From a follower of the epoch: it has all up to here.
    Ack(Epoch, Zxid),
    /// Broadcast: the next transaction of the epoch.
    Propose(Epoch, Transaction),
    /// Deliver all up to here. From time to time the leader says so again, and is heard to live.
    Commit(Epoch, Zxid),
    /// To the leader: propose this.
    Forward(Change),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// No word from a leader.
    Patience,
    /// What was not acknowledged is said again.
    Beat,
}

/// What must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// The epoch is promised.
    Promised(Epoch),
    /// The leader of the epoch is acknowledged, and its history taken over.
    Acknowledged(Epoch, Vec<Transaction>),
    /// A transaction is accepted.
    Accepted(Transaction),
}

/// What a node knows after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The last epoch that it has promised: f.p of the paper.
    promised: Epoch,
    /// The last epoch whose leader it has acknowledged: f.a.
    acknowledged: Epoch,
    /// The transactions that it has accepted, in order: h_f.
    history: Vec<Transaction>,
}

impl Durable {
    /// The last transaction accepted.
    fn last(&self) -> Zxid {
        self.history.last().map_or(Zxid::default(), |transaction| transaction.0)
    }
}

/// What a node is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    /// It has nobody to follow.
    Looking,
    /// It follows a leader, prospective or not.
    Following(NodeId),
    /// It stands, and has heard the last promises of these.
    Standing(BTreeMap<NodeId, Epoch>),
    /// A majority has told its promises: phase 1, with what those who promised the new epoch have told.
    Discovering(BTreeMap<NodeId, (Epoch, Vec<Transaction>)>),
    /// It has chosen a history: phase 2, with those who have acknowledged it.
    Synchronising(BTreeSet<NodeId>),
    /// Phase 3, with how far those in the epoch have come.
    Broadcasting(BTreeMap<NodeId, Zxid>),
}

/// A node of ZAB.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zab {
    durable: Durable,
    role: Role,
    /// How far it knows transactions to be committed.
    committed: Zxid,
    /// What it has delivered since it started, in order.
    delivered: Vec<Transaction>,
    /// The requests to be answered when their change is delivered.
    waiting: BTreeMap<Change, RequestId>,
}

impl Zab {
    /// What it has delivered since it started, in order. After a crash it delivers from the first again.
    pub fn delivered(&self) -> &[Transaction] {
        &self.delivered
    }

    /// What it has accepted, in order.
    pub fn history(&self) -> &[Transaction] {
        &self.durable.history
    }

    /// The epoch in which it broadcasts, if it does.
    pub fn broadcasts(&self) -> Option<Epoch> {
        matches!(self.role, Role::Broadcasting(_)).then_some(self.durable.promised)
    }

    /// The changes for which clients wait here.
    pub fn awaited(&self) -> impl Iterator<Item = Change> + '_ {
        self.waiting.keys().copied()
    }

    fn has(&self, change: Change) -> bool {
        self.durable.history.iter().any(|transaction| transaction.1 == change)
    }

    /// Delivers what is committed and accepted, in the order of the history.
    fn deliver(&mut self, upto: Zxid, out: &mut Out<'_, Self>) {
        self.committed = self.committed.max(upto);
        while let Some(next) = self.durable.history.get(self.delivered.len()).copied()
            && next.0 <= self.committed
        {
            self.delivered.push(next);
            if let Some(id) = self.waiting.remove(&next.1) {
                out.reply(id, next.0);
            }
        }
    }

    /// Has a change proposed, here or by the leader.
    fn put(&mut self, config: &Config, change: Change, out: &mut Out<'_, Self>) {
        match self.role {
            Role::Broadcasting(_) => self.propose(config, change, out),
            Role::Following(leader) => out.send(leader, Message::Forward(change)),
            _ => {}
        }
    }

    fn on_request(
        &mut self,
        config: &Config,
        id: RequestId,
        change: Change,
        out: &mut Out<'_, Self>,
    ) {
        match self.delivered.iter().find(|transaction| transaction.1 == change) {
            Some(delivered) => out.reply(id, delivered.0),
            None => {
                self.waiting.insert(change, id);
                self.put(config, change, out);
            }
        }
    }
}

impl Protocol for Zab {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = Record;
    type Durable = Durable;
    type Request = Change;
    /// The transaction that made the change.
    type Response = Zxid;

    fn fold(durable: &mut Durable, _: u64, record: Record) {
        match record {
            Record::Promised(epoch) => durable.promised = epoch,
            Record::Acknowledged(epoch, history) => {
                durable.acknowledged = epoch;
                durable.history = history;
            }
            Record::Accepted(transaction) => durable.history.push(transaction),
        }
    }

    fn recover(config: &Config, durable: Durable, out: &mut Out<'_, Self>) -> Self {
        let is_first_boot = durable.promised == Epoch(0);
        if is_first_boot && config.nodes.first() == Some(&config.me) {
            out.arm_now(Timer::Patience);
        } else {
            out.arm(Timer::Patience, config.patience.clone());
        }
        out.arm(Timer::Beat, config.beat.clone());
        Zab {
            durable,
            role: Role::Looking,
            committed: Zxid::default(),
            delivered: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => self.on_request(config, id, request, out),
            Input::Fire(Timer::Patience) => self.stand(config, out),
            Input::Fire(Timer::Beat) => {
                self.say_again(config, out);
                out.arm(Timer::Beat, config.beat.clone());
            }
            Input::Deliver { from, message } => match message {
                Message::Stand(promised) => self.on_stand(config, from, promised, out),
                Message::Cepoch(promised) => self.on_cepoch(config, from, promised, out),
                Message::NewEpoch(epoch) => self.on_new_epoch(config, from, epoch, out),
                Message::AckEpoch(epoch, acknowledged, history) => {
                    self.on_ack_epoch(config, from, epoch, (acknowledged, history), out)
                }
                Message::NewLeader(epoch, history) => {
                    self.on_new_leader(config, from, epoch, history, out)
                }
                Message::Ack(epoch, upto) => self.on_ack(config, from, epoch, upto, out),
                Message::Propose(epoch, transaction) => {
                    self.on_propose(config, from, epoch, transaction, out)
                }
                Message::Commit(epoch, upto) => self.on_commit(config, from, epoch, upto, out),
                Message::Forward(change) => self.propose(config, change, out),
            },
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let Durable { promised, history, .. } = &self.durable;
        let role = match self.role {
            Role::Looking => "looking".to_owned(),
            Role::Following(leader) => format!("following {leader} in {promised:?}"),
            Role::Standing(_) => "standing".to_owned(),
            Role::Discovering(_) => format!("discovering {promised:?}"),
            Role::Synchronising(_) => format!("synchronising {promised:?}"),
            Role::Broadcasting(_) => format!("leading {promised:?}"),
        };
        let delivered = &self.delivered;
        let accepted = history.get(delivered.len()..).unwrap_or_default();
        let mut words = vec![role];
        words.extend((!delivered.is_empty()).then(|| format!("delivered {delivered:?}")));
        words.extend((!accepted.is_empty()).then(|| format!("accepted {accepted:?}")));
        words.join(", ")
    }
}

fn broadcast(config: &Config, message: &Message, out: &mut Out<'_, Zab>) {
    for to in config.nodes.iter().filter(|node| **node != config.me) {
        out.send(*to, message.clone());
    }
}
