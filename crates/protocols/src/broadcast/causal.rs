//! Causal broadcast: nobody delivers a parcel before those that its origin had delivered when it sent it.
//!
//! Source: Birman, Schiper and Stephenson, "Lightweight causal and atomic group multicast", 1991 (CBCAST).
//! Model: that of reliable broadcast, on which it stands.
//! Safety: integrity; causal order, if the broadcast of one parcel happened before that of another, everybody delivers them in
//! that order. It implies FIFO order.
//! Liveness: agreement. A parcel waits only for parcels that somebody has delivered, and reliable broadcast brings those.
//! Departures: the paper's group is assumed to lose nothing that it has sent; reliable broadcast sees to it here.
//! Omitted: changes of the group; letting go of what was delivered.
//! Cost: that of reliable broadcast, 1 message delay and n(n − 1) messages (2 delays until all know of each other), and one
//! number a node in each parcel.
//! Boundary: parcels of which neither came first are delivered in different orders by different nodes; total order is another
//! matter.
//! Read next: `CausalBroadcast::is_due`, then the trace `a_reply_waits_for_its_question`.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use quorate_core::{Input, NodeId, Out, Protocol};

use super::reliable::{Config, Message, ReliableBroadcast, Resend};
use super::{Parcel, ParcelId, hand_on, in_words};

/// How many parcels of each origin.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Vector(pub BTreeMap<NodeId, u64>);

/// What is broadcast, with what was delivered before.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Stamped<T> {
    /// What its origin had delivered.
    pub after: Vector,
    /// What is broadcast.
    pub content: T,
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.iter().map(|(node, count)| format!("{node}.{count}"));
        match words.next() {
            None => f.write_str("nothing"),
            Some(first) => f.write_str(&words.fold(first, |all, word| format!("{all} {word}"))),
        }
    }
}

impl<T: Debug> Debug for Stamped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, after {:?}", self.content, self.after)
    }
}

/// A node that broadcasts in causal order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CausalBroadcast<T> {
    below: ReliableBroadcast<Stamped<T>>,
    delivered: Vec<Parcel<T>>,
    /// How many were delivered here, of each origin.
    vector: Vector,
}

impl<T: Clone + Debug> CausalBroadcast<T> {
    /// What was delivered here, in that order.
    pub fn delivered(&self) -> &[Parcel<T>] {
        &self.delivered
    }

    /// How many parcels came here and are not to be delivered yet.
    pub fn held_back(&self) -> usize {
        self.below.delivered().len().saturating_sub(self.delivered.len())
    }

    /// Whether everybody is known to have all that came here.
    pub fn is_quiet(&self) -> bool {
        self.below.is_quiet()
    }

    /// Delivers all that is due. The order is a function of the order in which parcels came, so that a node that starts again
    /// comes to the same.
    fn deliver(&mut self, config: &Config) {
        while let Some(due) = self.below.delivered().iter().find(|it| self.is_due(config, it)) {
            let Parcel { id, content: Stamped { content, .. } } = due.clone();
            *self.vector.0.entry(id.origin).or_default() += 1;
            self.delivered.push(Parcel { id, content });
        }
    }

    /// The delay rule of CBCAST: it is the next of its origin, and what its origin had delivered was delivered here.
    fn is_due(&self, config: &Config, parcel: &Parcel<Stamped<T>>) -> bool {
        let count = |node: &NodeId| self.vector.0.get(node).copied().unwrap_or(0);
        let Parcel { id, content: Stamped { after, .. } } = parcel;
        let own = count(&id.origin);
        let is_next = id.number == own + 1
            || id.number == own && config.mutants.has("takes_the_last_for_the_next");
        let has_all = after.0.iter().all(|(node, needed)| count(node) >= *needed);
        is_next && (has_all || config.mutants.has("delivers_before_the_dependency"))
    }
}

impl<T: Clone + Debug> Protocol for CausalBroadcast<T> {
    type Config = Config;
    type Message = Message<Stamped<T>>;
    type Timer = Resend;
    type Record = Parcel<Stamped<T>>;
    type Durable = Vec<Parcel<Stamped<T>>>;
    type Request = T;
    type Response = ParcelId;

    fn fold(durable: &mut Self::Durable, number: u64, parcel: Self::Record) {
        ReliableBroadcast::fold(durable, number, parcel);
    }

    fn recover(config: &Config, durable: Self::Durable, out: &mut Out<'_, Self>) -> Self {
        let below = out.nest(hand_on, |out| ReliableBroadcast::recover(config, durable, out));
        let (delivered, vector) = (Vec::new(), Vector::default());
        let mut node = CausalBroadcast { below, delivered, vector };
        node.deliver(config);
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let input = match input {
            Input::Ask { id, request } => {
                let after = self.vector.clone();
                Input::Ask { id, request: Stamped { after, content: request } }
            }
            Input::Deliver { from, message } => Input::Deliver { from, message },
            Input::Fire(timer) => Input::Fire(timer),
            Input::Synced { upto } => Input::Synced { upto },
            Input::Lost { peer } => Input::Lost { peer },
        };
        out.nest(hand_on, |out| self.below.step(config, input, out));
        self.deliver(config);
    }

    fn view(&self) -> String {
        in_words(&self.delivered, self.held_back())
    }
}
