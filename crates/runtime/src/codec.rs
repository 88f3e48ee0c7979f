//! How a protocol's messages and records look on the wire and on the disk.

use bytes::{Bytes, BytesMut};
use quorate_core::Protocol;
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
