//! What a protocol is: a state machine with named inputs, and effects for outputs.

use crate::{NodeId, Out, RequestId};

/// A deterministic state machine: the same configuration, durable state, inputs and choices give the same effects.
///
/// `Clone + Eq + Hash` are asked for only where a protocol is explored.
pub trait Protocol: Sized {
    /// What doesn't change between a boot and the next: who I am, who the others are, how long to wait.
    type Config;
    /// What nodes send each other.
    type Message;
    /// The name of a timer, never its deadline: those belong to the world.
    type Timer: Clone + Ord;
    /// One durable write.
    type Record;
    /// The fold of all durable writes: what a node knows after a crash. What it is folded onto is the world's to give:
    /// mostly nothing, else what the world keeps beside the log.
    type Durable;
    /// What a client of this node asks.
    type Request;
    /// What it is answered.
    type Response;

    /// Adds one record to what is known after a crash. Records are folded in the order in which they were persisted;
    /// `number` is the record's place in the node's log, for ever, and rises by one from each to the next.
    fn fold(durable: &mut Self::Durable, number: u64, record: Self::Record);

    /// The state of a node that starts with `durable`, into which nothing was folded at its first boot.
    fn recover(config: &Self::Config, durable: Self::Durable, out: &mut Out<'_, Self>) -> Self;

    /// Takes one input. Effects go to `out`, in the order in which they are to hold (see [`crate::host`]).
    fn step(&mut self, config: &Self::Config, input: Input<Self>, out: &mut Out<'_, Self>);

    /// The state in one line, for diagrams and traces.
    fn view(&self) -> String;
}

/// All that can happen to a protocol.
pub enum Input<P: Protocol> {
    /// A message arrived. It may be old, repeated, or out of order.
    Deliver {
        /// Its sender.
        from: NodeId,
        /// The message.
        message: P::Message,
    },
    /// A timer that was armed ran out.
    Fire(P::Timer),
    /// A client of this node asks.
    Ask {
        /// The name that the answer must carry.
        id: RequestId,
        /// What is asked.
        request: P::Request,
    },
    /// The node's own records are durable up to and including this one, as [`Out::persist`] counts them.
    Synced {
        /// The newest durable record.
        upto: u64,
    },
    /// The transport lost its connection with a peer. A hint and no more: the peer may be dead, or well.
    Lost {
        /// The peer.
        peer: NodeId,
    },
}
