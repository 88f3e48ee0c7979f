//! Who hears what, and in what order.
//!
//! [`reliable`] gets each parcel to everybody; [`fifo`] and [`causal`] put it in order on top of that, and [`total`] on top of
//! [`fifo`]. What is on top adds a rule for when to deliver, and no message of its own kind: its effects are those of what is
//! below, handed on.

pub mod bracha;
pub mod causal;
pub mod fifo;
pub mod gossip;
pub mod merkle;
pub mod reliable;
pub mod total;

use std::fmt;

use quorate_core::{Effect, Gate, NodeId, Out, Protocol};

/// The name of a parcel: the node that broadcasts it, which counts its own from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParcelId {
    /// Who broadcasts it.
    pub origin: NodeId,
    /// Its number among those of that node.
    pub number: u64,
}

/// What is broadcast.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Parcel<T> {
    /// Its name.
    pub id: ParcelId,
    /// What is in it.
    pub content: T,
}

/// A line of the conversation that all these broadcasts carry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// Somebody asks.
    Question,
    /// Somebody says something to that.
    Reply(u32),
}

impl fmt::Debug for ParcelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.origin, self.number)
    }
}

impl<T: fmt::Debug> fmt::Debug for Parcel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.id, self.content)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Question => f.write_str("question"),
            Line::Reply(number) => write!(f, "reply {number}"),
        }
    }
}

/// Lets what is below act through the hands of what is on top.
fn hand_on<Below, P>(effect: Effect<Below>, out: &mut Out<'_, P>)
where
    Below: Protocol,
    P: Protocol<
            Message = Below::Message,
            Timer = Below::Timer,
            Record = Below::Record,
            Response = Below::Response,
        >,
{
    match effect {
        Effect::Persist(record) => {
            out.persist(record);
        }
        Effect::Send { to, message, gate: Gate::Durable } => out.send(to, message),
        // Whoever is below has argued why it is safe.
        Effect::Send { to, message, gate: Gate::Early } => out.send_early(to, message),
        Effect::Reply { id, response } => out.reply(id, response),
        Effect::Arm { timer, after } => out.arm(timer, after),
        Effect::Disarm(timer) => out.disarm(timer),
        Effect::Release { before } => out.release(before),
    }
}

/// The parcels that were delivered, and how many more came and are held back, in one line.
fn in_words<T>(delivered: &[Parcel<T>], held_back: usize) -> String {
    let mut words: Vec<String> =
        delivered.iter().map(|parcel| format!("{:?}", parcel.id)).collect();
    words.insert(0, if words.is_empty() { "nothing delivered" } else { "delivered" }.to_owned());
    if held_back > 0 {
        words.push(format!("({held_back} held back)"));
    }
    words.join(" ")
}
