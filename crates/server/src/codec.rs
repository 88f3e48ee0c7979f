//! The database's encodings and its peers, as the runtime asks for them.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use quorate_core::NodeId;
use quorate_engine::LsmEngine;
use quorate_kv::node::{Envelope, Node, Record, wire};
use quorate_runtime::{Codec, Roster, Undecodable};

use crate::config::HttpUrl;

/// See [`wire`].
pub(crate) struct NodeCodec;

impl Codec<Node<LsmEngine>> for NodeCodec {
    fn encode_message(message: &Envelope, buffer: &mut BytesMut) {
        wire::encode_envelope(message, buffer);
    }

    fn decode_message(bytes: Bytes) -> Result<Envelope, Undecodable> {
        wire::decode_envelope(bytes).map_err(undecodable)
    }

    fn encode_record(record: &Record, buffer: &mut BytesMut) {
        wire::encode_record(record, buffer);
    }

    fn decode_record(bytes: Bytes) -> Result<Record, Undecodable> {
        wire::decode_record(bytes).map_err(undecodable)
    }
}

impl Roster<Node<LsmEngine>> for NodeCodec {
    fn why_halted(state: &Node<LsmEngine>) -> Option<String> {
        state.why_halted()
    }

    fn version(state: &Node<LsmEngine>) -> u64 {
        state.peers_version()
    }

    fn peers(state: &Node<LsmEngine>) -> BTreeMap<NodeId, Vec<String>> {
        let urls = state.peer_urls().into_iter();
        urls.map(|(node, urls)| {
            // A URL that this version cannot use was agreed upon by others, who may.
            let usable = urls.iter().filter_map(|url| url.parse::<HttpUrl>().ok());
            (node, usable.map(|url| url.address()).collect())
        })
        .collect()
    }
}

fn undecodable(error: wire::WireError) -> Undecodable {
    Undecodable { what: error.to_string() }
}
