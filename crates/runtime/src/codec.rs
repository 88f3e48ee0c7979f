//! What the runtime must be told about a protocol: how its messages and records look on the wire and on the disk, and
//! whom it talks to.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate_core::{NodeId, Protocol};
use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Undecodable {
    /// What is wrong with them.
    pub what: String,
}

/// The encodings of one protocol. Both must let later versions add fields that earlier ones skip.
pub trait Codec<P: Protocol> {
    /// Adds a message to `buffer`.
    fn encode_message(message: &P::Message, buffer: &mut BytesMut);
    /// Reads a message.
    fn decode_message(bytes: Bytes) -> Result<P::Message, Undecodable>;
    /// Adds a record to `buffer`.
    fn encode_record(record: &P::Record, buffer: &mut BytesMut);
    /// Reads a record.
    fn decode_record(bytes: Bytes) -> Result<P::Record, Undecodable>;
}

/// What its protocol's state tells of a node: whom it talks to, and whether it can go on.
pub trait Roster<P: Protocol> {
    /// Counts up whenever what [`Roster::peers`] says changes; 0 for as long as the protocol knows of nobody. It is
    /// asked after every turn, and so must be cheap.
    fn version(state: &P) -> u64;
    /// The nodes, and where each listens for peers, as `host:port`, the likeliest first. Whether this node is among them
    /// doesn't matter.
    fn peers(state: &P) -> BTreeMap<NodeId, Vec<String>>;
    /// Why the node must not go on, if so: the process ends. It is asked every turn, and so must be cheap.
    fn why_halted(_state: &P) -> Option<String> {
        None
    }
}
