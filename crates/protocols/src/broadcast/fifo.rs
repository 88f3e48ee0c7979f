//! FIFO broadcast: what one node broadcasts, everybody delivers in the order in which it did.
//!
//! Source: Hadzilacos and Toueg, "A modular approach to fault-tolerant broadcasts and related problems", 1994; Cachin,
//! Guerraoui and Rodrigues, "Introduction to reliable and secure distributed programming", 2011, algorithm 3.12
//! (broadcast with sequence number).
//! Model: that of reliable broadcast, on which it stands.
//! Safety: integrity; FIFO order, nobody delivers a parcel before all earlier ones of its origin.
//! Liveness: agreement. A parcel waits only for earlier ones of its origin, and reliable broadcast brings those.
//! Departures: the papers number the parcels anew; here the numbers by which reliable broadcast names them will do.
//! Omitted: letting go of what was delivered.
//! Cost: that of reliable broadcast, 1 message delay and n(n − 1) messages (2 delays until all know of each other), and what
//! is lost and sent again holds up all that its origin broadcasts after it.
//! Boundary: nothing is said of two origins: a reply may be seen before its question (the trace
//! `a_reply_seen_before_its_question`).
//! Read next: `FifoBroadcast::deliver`, then the trace `the_second_overtakes_the_first`.

use std::fmt::Debug;

use quorate_core::{Input, Out, Protocol};

use super::reliable::{Config, Message, ReliableBroadcast, Resend};
use super::{Parcel, ParcelId, hand_on, in_words};

/// A node that broadcasts in FIFO order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FifoBroadcast<T> {
    below: ReliableBroadcast<T>,
    delivered: Vec<Parcel<T>>,
}

impl<T: Clone + Debug> FifoBroadcast<T> {
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

    /// Broadcasts this. Returns its name, under which it is delivered here at once.
    pub fn broadcast(&mut self, config: &Config, content: T, out: &mut Out<'_, Self>) -> ParcelId {
        let id = out.nest(hand_on, |out| self.below.broadcast(config, content, out));
        self.deliver(config);
        id
    }

    /// Delivers all whose turn has come. The order is a function of the order in which parcels came, so that a node that
    /// starts again comes to the same.
    fn deliver(&mut self, config: &Config) {
        while let Some(next) = self.below.delivered().iter().find(|it| self.is_next(config, it)) {
            self.delivered.push(next.clone());
        }
    }

    fn is_next(&self, config: &Config, parcel: &Parcel<T>) -> bool {
        if config.mutants.has("delivers_out_of_turn") {
            return self.delivered.iter().all(|known| known.id != parcel.id);
        }
        let of_origin = self.delivered.iter().filter(|it| it.id.origin == parcel.id.origin);
        let count = of_origin.count() as u64;
        let is_last = parcel.id.number == count;
        parcel.id.number == count + 1
            || is_last && config.mutants.has("takes_the_last_for_the_next")
    }
}

impl<T: Clone + Debug> Protocol for FifoBroadcast<T> {
    type Config = Config;
    type Message = Message<T>;
    type Timer = Resend;
    type Record = Parcel<T>;
    type Durable = Vec<Parcel<T>>;
    type Request = T;
    type Response = ParcelId;

    fn fold(durable: &mut Vec<Parcel<T>>, number: u64, parcel: Parcel<T>) {
        ReliableBroadcast::fold(durable, number, parcel);
    }

    fn recover(config: &Config, durable: Vec<Parcel<T>>, out: &mut Out<'_, Self>) -> Self {
        let below = out.nest(hand_on, |out| ReliableBroadcast::recover(config, durable, out));
        let mut node = FifoBroadcast { below, delivered: Vec::new() };
        node.deliver(config);
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let input = match input {
            Input::Deliver { from, message } => Input::Deliver { from, message },
            Input::Fire(timer) => Input::Fire(timer),
            Input::Ask { id, request } => Input::Ask { id, request },
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
