//! The database's records on the simulated disk: the encoding that production writes.

use bytes::Bytes;
use quorate_kv::node::{Node, Record, wire};
use quorate_sim::RecordCodec;

pub(crate) struct NodeRecords;

impl RecordCodec<Node> for NodeRecords {
    type Error = wire::WireError;

    fn encode(&self, record: &Record, into: &mut Vec<u8>) {
        wire::encode_record(record, into);
    }

    fn decode(&self, bytes: Bytes) -> Result<Record, wire::WireError> {
        wire::decode_record(bytes)
    }
}
