//! What has to be said of a protocol so that it can be a Maelstrom node: how it is set up, how its messages and records are
//! written, and what clients' requests mean to it.

use bytes::Bytes;
use quorate_core::{LabMutants, NodeId, Protocol, RequestId};
use quorate_maelstrom::Workload;
use quorate_maelstrom::message::{Body, error_body};
use serde_json::Value;

use crate::machine::unknown;

/// What a node knows when it starts.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// This node.
    pub(crate) me: NodeId,
    /// All nodes, this one included.
    pub(crate) nodes: Vec<NodeId>,
    /// How often this node has started, this time included.
    pub(crate) boot: u64,
    /// What is asked of it.
    pub(crate) workload: Workload,
    /// The deliberate bug that is switched on, if any.
    pub(crate) mutant: Option<&'static str>,
}

impl Seat {
    pub(crate) fn lab_mutants(&self) -> LabMutants {
        self.mutant.map_or(LabMutants::NONE, LabMutants::only)
    }

    /// All nodes but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().copied().filter(|node| *node != self.me)
    }
}

/// What becomes of a client's request.
pub(crate) enum Asked<Q> {
    /// The protocol is asked this. The answer comes from [`Part::answered`] or [`Part::look`].
    Protocol(Q),
    /// It is answered at once, with what is known here.
    Here(Body),
}

/// A protocol in the part of a Maelstrom node.
pub(crate) trait Part: Sized {
    type Protocol: Protocol;

    fn config(seat: &Seat) -> <Self::Protocol as Protocol>::Config;

    fn new(seat: &Seat) -> Self;

    fn write_message(message: &<Self::Protocol as Protocol>::Message) -> Value;

    /// What another node has written; none if it makes no sense.
    fn read_message(said: &Value) -> Option<<Self::Protocol as Protocol>::Message>;

    fn write_record(record: &<Self::Protocol as Protocol>::Record) -> Vec<u8>;

    /// What an earlier run of this node has written; none if it makes no sense.
    fn read_record(record: Bytes) -> Option<<Self::Protocol as Protocol>::Record>;

    /// A client asks. `notes` takes what must be durable before anything that the protocol writes on account of it.
    fn ask(
        &mut self,
        id: RequestId,
        request: &Body,
        state: &Self::Protocol,
        notes: &mut Vec<Vec<u8>>,
    ) -> Asked<<Self::Protocol as Protocol>::Request>;

    /// The protocol has answered: what the client is told, if that is it.
    fn answered(&mut self, response: <Self::Protocol as Protocol>::Response) -> Option<Body>;

    /// The protocol has taken a step: what clients can be told now.
    fn look(&mut self, _state: &Self::Protocol) -> Vec<(RequestId, Body)> {
        Vec::new()
    }

    /// What has to travel along with a message.
    fn enclose(&self, _message: &<Self::Protocol as Protocol>::Message) -> Option<Value> {
        None
    }

    /// Takes in what came along with a message, before the message. `notes` is as in [`Part::ask`].
    fn take_enclosed(&mut self, _enclosed: &Value, _notes: &mut Vec<Vec<u8>>) {}

    /// Takes in a note of an earlier run.
    fn recall(&mut self, _note: &[u8]) {}
}

/// The answer to a request that the part doesn't know.
pub(crate) fn not_known<Q>(kind: &str) -> Asked<Q> {
    let (code, text) = unknown(kind);
    Asked::Here(error_body(code, &text))
}
