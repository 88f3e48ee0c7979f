//! Reliable broadcast: what one node delivers, every node delivers, even if its origin dies before it has told all.
//!
//! Source: Hadzilacos and Toueg, "A modular approach to fault-tolerant broadcasts and related problems", 1994 (the relay);
//! Cachin, Guerraoui and Rodrigues, "Introduction to reliable and secure distributed programming", 2011, algorithm 3.3
//! (eager reliable broadcast).
//! Model: asynchronous; messages are lost, repeated and reordered; nodes crash and come back with what they had delivered.
//! Safety: integrity, a parcel is delivered at most once, and only as its origin broadcast it.
//! Liveness: agreement, what anybody delivers, or was told to broadcast, everybody delivers. Needs: nodes that are up, and
//! messages that arrive if they are sent often enough.
//! Departures: the papers have links that lose nothing, so that whoever has relayed is done; here a node sends again until it
//! knows that everybody has the parcel. To deliver is to write into the node's log, which a crash doesn't take.
//! Omitted: letting go of parcels that everybody has.
//! Cost: 1 message delay until all have delivered, 2 until all know of each other; n(n − 1) messages without faults.
//! Read next: `ReliableBroadcast::deliver`, then the trace `the_sender_dies_half_way`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

use super::{Parcel, ParcelId, in_words};

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// How long to wait before sending again.
    pub patience: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    fn others(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.nodes.iter().copied().filter(|node| *node != self.me)
    }
}

/// The messages. Each also says that its sender has the parcel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message<T> {
    /// A parcel.
    Relay(Parcel<T>),
    /// The same, from a node that does not know whether the receiver has it, and wants to.
    Again(Parcel<T>),
    /// I have that one.
    Have(ParcelId),
}

/// The timer: send again what somebody may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resend;

/// A node that broadcasts reliably.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReliableBroadcast<T> {
    /// What was delivered here, in that order.
    delivered: Vec<Parcel<T>>,
    /// Who is known to have it, of each parcel that somebody may lack.
    holders: BTreeMap<ParcelId, BTreeSet<NodeId>>,
}

impl<T: Clone + Debug> ReliableBroadcast<T> {
    /// What was delivered here, in that order.
    pub fn delivered(&self) -> &[Parcel<T>] {
        &self.delivered
    }

    /// Whether everybody is known to have all that was delivered here.
    pub fn is_quiet(&self) -> bool {
        self.holders.is_empty()
    }

    /// Broadcasts this. Returns its name, under which it is delivered here at once.
    pub fn broadcast(&mut self, config: &Config, content: T, out: &mut Out<'_, Self>) -> ParcelId {
        let own = self.delivered.iter().filter(|parcel| parcel.id.origin == config.me);
        let id = ParcelId { origin: config.me, number: own.count() as u64 + 1 };
        self.deliver(config, config.me, Parcel { id, content }, out);
        id
    }

    /// Delivers a parcel that came from a node, for the first time.
    fn deliver(
        &mut self,
        config: &Config,
        from: NodeId,
        parcel: Parcel<T>,
        out: &mut Out<'_, Self>,
    ) {
        let id = parcel.id;
        self.delivered.push(parcel.clone());
        out.persist(parcel.clone());
        let holders = BTreeSet::from([config.me, id.origin, from]);
        // Agreement: whoever has delivered answers for the parcel as its origin did, who may be gone for good.
        let is_relaying = id.origin == config.me || !config.mutants.has("does_not_relay");
        for to in config.others() {
            if holders.contains(&to) {
                out.send(to, Message::Have(id));
            } else if is_relaying {
                out.send(to, Message::Relay(parcel.clone()));
            }
        }
        if is_relaying {
            self.watch(config, id, holders, out);
        }
    }

    /// Sends a parcel again until everybody is known to have it.
    fn watch(
        &mut self,
        config: &Config,
        id: ParcelId,
        holders: BTreeSet<NodeId>,
        out: &mut Out<'_, Self>,
    ) {
        if holders.len() < config.nodes.len() && !config.mutants.has("never_sends_again") {
            self.holders.insert(id, holders);
            out.arm(Resend, config.patience.clone());
        }
    }

    fn on_parcel(
        &mut self,
        config: &Config,
        from: NodeId,
        parcel: Parcel<T>,
        wants_to_know: bool,
        out: &mut Out<'_, Self>,
    ) {
        let id = parcel.id;
        let is_new = self.delivered.iter().all(|known| known.id != id);
        if is_new || config.mutants.has("delivers_every_copy") {
            return self.deliver(config, from, parcel, out);
        }
        self.on_have(config, from, id, out);
        if wants_to_know {
            out.send(from, Message::Have(id));
        }
    }

    fn on_have(&mut self, config: &Config, from: NodeId, id: ParcelId, out: &mut Out<'_, Self>) {
        let Some(holders) = self.holders.get_mut(&id) else { return };
        holders.insert(from);
        if holders.len() == config.nodes.len() {
            self.holders.remove(&id);
        }
        if self.is_quiet() {
            out.disarm(Resend);
        }
    }

    fn resend(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let lacked = self.delivered.iter().filter_map(|parcel| {
            let holders = self.holders.get(&parcel.id)?;
            Some((parcel, holders))
        });
        for (parcel, holders) in lacked {
            for to in config.others().filter(|node| !holders.contains(node)) {
                out.send(to, Message::Again(parcel.clone()));
            }
        }
        if !self.is_quiet() {
            out.arm(Resend, config.patience.clone());
        }
    }
}

impl<T: Clone + Debug> Protocol for ReliableBroadcast<T> {
    type Config = Config;
    type Message = Message<T>;
    type Timer = Resend;
    type Record = Parcel<T>;
    type Durable = Vec<Parcel<T>>;
    type Request = T;
    type Response = ParcelId;

    fn fold(durable: &mut Vec<Parcel<T>>, _: u64, parcel: Parcel<T>) {
        durable.push(parcel);
    }

    fn recover(config: &Config, delivered: Vec<Parcel<T>>, out: &mut Out<'_, Self>) -> Self {
        let names: Vec<ParcelId> = delivered.iter().map(|parcel| parcel.id).collect();
        let mut node = ReliableBroadcast { delivered, holders: BTreeMap::new() };
        // Who had it was not worth a write: whoever has it says so again.
        for id in names {
            node.watch(config, id, BTreeSet::from([config.me, id.origin]), out);
        }
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request } => {
                let name = self.broadcast(config, request, out);
                out.reply(id, name);
            }
            Input::Deliver { from, message } => match message {
                Message::Relay(parcel) => self.on_parcel(config, from, parcel, false, out),
                Message::Again(parcel) => self.on_parcel(config, from, parcel, true, out),
                Message::Have(id) => self.on_have(config, from, id, out),
            },
            Input::Fire(Resend) => self.resend(config, out),
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        in_words(&self.delivered, 0)
    }
}
