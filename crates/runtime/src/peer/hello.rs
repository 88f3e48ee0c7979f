//! The first words on a connection between peers: who I am, whom I want, of which cluster, and where to call me
//! back.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::NodeId;

use super::frame::{self, Kind};

const MAGIC: &[u8; 8] = b"QUORATE\x01";

/// What a dialling node says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The cluster it is of.
    pub(crate) cluster: u64,
    /// Who it is.
    pub(crate) from: NodeId,
    /// Whom it believes to have reached.
    pub(crate) to: NodeId,
    /// Where it listens for peers, as `host:port`; empty if it doesn't say.
    pub(crate) address: String,
}

impl Hello {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut buffer = BytesMut::new();
        frame::put(&mut buffer, Kind::Hello, |buffer| {
            buffer.put_slice(MAGIC);
            buffer.put_u64_le(self.cluster);
            buffer.put_u64_le(self.from.0);
            buffer.put_u64_le(self.to.0);
            buffer.put_u32_le(self.address.len() as u32);
            buffer.put_slice(self.address.as_bytes());
        });
        buffer
    }

    /// Reads a hello. Bytes behind the known fields are a later version's, and skipped.
    pub(crate) fn decode(mut body: Bytes) -> Option<Hello> {
        if body.len() < 32 || !body.starts_with(MAGIC) {
            return None;
        }
        body.advance(MAGIC.len());
        let cluster = body.get_u64_le();
        let from = NodeId(body.get_u64_le());
        let to = NodeId(body.get_u64_le());
        let address_bytes = body.try_get_u32_le().ok()? as usize;
        if address_bytes > body.len() {
            return None;
        }
        let address = String::from_utf8(body.split_to(address_bytes).into()).ok()?;
        Some(Hello { cluster, from, to, address })
    }

    /// Why the node `me`, of `cluster`, doesn't talk to whoever says this. Whether the other is a member is the
    /// protocol's to judge: this node may not have heard yet of one that all others know.
    pub(crate) fn objection(&self, cluster: u64, me: NodeId) -> Option<String> {
        let Hello { cluster: theirs, from, to, .. } = *self;
        if theirs != cluster {
            Some(format!(
                "it is of cluster {theirs:x}, this node of {cluster:x}; give both the same --initial-cluster and \
                 --initial-cluster-token, or each its own ports"
            ))
        } else if to != me {
            Some(format!(
                "it wants node {to}, this is {me}; compare the peer URLs in --initial-cluster"
            ))
        } else if from == me {
            Some(format!(
                "it says that it is {from}, which is this node; give each a data directory of its own"
            ))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello { cluster: 7, from: NodeId(2), to: NodeId(1), address: "there:2380".into() }
    }

    fn body(hello: &Hello) -> Bytes {
        let mut buffer = hello.encode();
        match frame::take(&mut buffer, frame::HELLO_BYTES_MAX) {
            Ok(Some((Kind::Hello, body))) => body,
            other => panic!("no greeting: {other:?}"),
        }
    }

    #[test]
    fn a_greeting_is_read_as_it_was_said_and_a_part_of_it_is_none() {
        let body = body(&hello());
        assert_eq!(Hello::decode(body.clone()), Some(hello()));
        for cut in 0..body.len() {
            assert_eq!(Hello::decode(body.slice(..cut)), None, "{cut} bytes");
        }
    }

    #[test]
    fn only_another_node_of_this_cluster_that_wants_this_one_is_talked_to() {
        let objection = |hello: Hello| hello.objection(7, NodeId(1));
        assert_eq!(objection(hello()), None);
        assert_eq!(objection(Hello { from: NodeId(3), ..hello() }), None);
        assert!(objection(Hello { cluster: 8, ..hello() }).unwrap().contains("of cluster 8"));
        assert!(objection(Hello { to: NodeId(2), ..hello() }).unwrap().contains("wants node n2"));
        assert!(objection(Hello { from: NodeId(1), ..hello() }).unwrap().contains("is this node"));
    }
}
