//! Total-order broadcast: everybody delivers the same parcels in the same order, which one node, the sequencer, decides.
//!
//! Source: Défago, Schiper and Urbán, "Total order broadcast and multicast algorithms: taxonomy and survey", 2004
//! (fixed sequencer; here the sender broadcasts, and so does the sequencer).
//! Model: that of reliable broadcast; one node is the sequencer for good.
//! Safety: integrity; total order, of what two nodes have delivered one is the beginning of the other.
//! Liveness: agreement. Needs: a sequencer that is up or comes back.
//! Departures: who has to be where in the order is broadcast like everything else, in FIFO order, so that the n-th of the
//! sequencer's notes is about place n and needs no number.
//! Omitted: another sequencer when this one is gone, for which nodes would have to agree: that is consensus.
//! Cost: 2 message delays until all have delivered (1 if the sequencer broadcasts) and 3 until all know of each other;
//! 2n(n − 1) messages, of which half are the sequencer's note.
//! Boundary: nothing is delivered while the sequencer is down (the trace `no_sequencer_no_order`).
//! Read next: `TotalOrderBroadcast::deliver`, then the trace `two_speak_at_once`.

use std::fmt::{self, Debug};

use quorate_core::{Input, NodeId, Out, Protocol};

use super::fifo::FifoBroadcast;
use super::reliable::{Config, Message, Resend};
use super::{Parcel, ParcelId, hand_on, in_words};

/// What is broadcast below.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Item<T> {
    /// What somebody broadcasts.
    Content(T),
    /// The sequencer's note: that parcel has the next place in the order.
    Next(ParcelId),
}

impl<T: Debug> Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Content(content) => content.fmt(f),
            Item::Next(id) => write!(f, "next is {id:?}"),
        }
    }
}

/// A node that broadcasts in total order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TotalOrderBroadcast<T> {
    below: FifoBroadcast<Item<T>>,
    delivered: Vec<Parcel<T>>,
}

/// The node that decides the order: the first.
fn sequencer(config: &Config) -> Option<NodeId> {
    config.nodes.first().copied()
}

impl<T: Clone + Debug> TotalOrderBroadcast<T> {
    /// What was delivered here, in that order.
    pub fn delivered(&self) -> &[Parcel<T>] {
        &self.delivered
    }

    /// How many parcels came here and are not to be delivered yet.
    pub fn held_back(&self) -> usize {
        self.contents().count().saturating_sub(self.delivered.len())
    }

    /// Whether everybody is known to have all that came here.
    pub fn is_quiet(&self) -> bool {
        self.below.is_quiet()
    }

    /// The order as far as it is known here.
    fn order(&self, config: &Config) -> impl Iterator<Item = ParcelId> + use<'_, T> {
        let sequencer = sequencer(config);
        self.below.delivered().iter().filter_map(move |parcel| match parcel.content {
            Item::Next(id) if Some(parcel.id.origin) == sequencer => Some(id),
            _ => None,
        })
    }

    /// What was broadcast under that name, if it has come.
    fn content(&self, id: ParcelId) -> Option<Parcel<T>> {
        self.contents().find(|parcel| parcel.id == id)
    }

    /// What has come here, delivered or not.
    pub fn contents(&self) -> impl Iterator<Item = Parcel<T>> + use<'_, T> {
        self.below.delivered().iter().filter_map(|parcel| match &parcel.content {
            Item::Content(content) => Some(Parcel { id: parcel.id, content: content.clone() }),
            Item::Next(_) => None,
        })
    }

    /// The sequencer gives a place to each parcel that has none.
    fn put_in_order(&mut self, config: &Config, placed: &[ParcelId], out: &mut Out<'_, Self>) {
        if sequencer(config) != Some(config.me) {
            return;
        }
        let new: Vec<ParcelId> =
            self.contents().map(|parcel| parcel.id).filter(|id| !placed.contains(id)).collect();
        for id in new {
            out.nest(hand_on, |out| self.below.broadcast(config, Item::Next(id), out));
        }
    }

    /// Delivers what has a place, up to the first that has not come.
    fn deliver(&mut self, config: &Config) {
        if config.mutants.has("delivers_as_it_comes") {
            self.delivered = self.contents().collect();
            return;
        }
        let come = self.order(config).map(|id| self.content(id));
        self.delivered = if config.mutants.has("skips_what_is_missing") {
            come.flatten().collect()
        } else {
            come.map_while(|content| content).collect()
        };
    }
}

impl<T: Clone + Debug> Protocol for TotalOrderBroadcast<T> {
    type Config = Config;
    type Message = Message<Item<T>>;
    type Timer = Resend;
    type Record = Parcel<Item<T>>;
    type Durable = Vec<Parcel<Item<T>>>;
    type Request = T;
    type Response = ParcelId;

    fn fold(durable: &mut Self::Durable, number: u64, parcel: Self::Record) {
        FifoBroadcast::fold(durable, number, parcel);
    }

    fn recover(config: &Config, durable: Self::Durable, out: &mut Out<'_, Self>) -> Self {
        let below = out.nest(hand_on, |out| FifoBroadcast::recover(config, durable, out));
        let mut node = TotalOrderBroadcast { below, delivered: Vec::new() };
        // The crash may have come between a parcel and the note that gives it a place.
        let places_anew = config.mutants.has("places_anew_after_a_crash");
        let placed = if places_anew { Vec::new() } else { node.order(config).collect() };
        node.put_in_order(config, &placed, out);
        node.deliver(config);
        node
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        let input = match input {
            Input::Ask { id, request } => Input::Ask { id, request: Item::Content(request) },
            Input::Deliver { from, message } => Input::Deliver { from, message },
            Input::Fire(timer) => Input::Fire(timer),
            Input::Synced { upto } => Input::Synced { upto },
            Input::Lost { peer } => Input::Lost { peer },
        };
        out.nest(hand_on, |out| self.below.step(config, input, out));
        let placed: Vec<ParcelId> = self.order(config).collect();
        self.put_in_order(config, &placed, out);
        self.deliver(config);
    }

    fn view(&self) -> String {
        in_words(&self.delivered, self.held_back())
    }
}
