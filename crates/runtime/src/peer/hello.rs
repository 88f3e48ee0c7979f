//! The first words on a connection between peers: who I am, whom I want, of which cluster, and my card.

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
    /// What it has to say of itself (see [`crate::Cards`]).
    pub(crate) card: Bytes,
}

impl Hello {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut buffer = BytesMut::new();
        frame::put(&mut buffer, Kind::Hello, |buffer| {
            buffer.put_slice(MAGIC);
            buffer.put_u64_le(self.cluster);
            buffer.put_u64_le(self.from.0);
            buffer.put_u64_le(self.to.0);
            buffer.put_u32_le(self.card.len() as u32);
            buffer.put_slice(&self.card);
        });
        buffer
    }

    /// Reads a hello. Bytes behind the known fields are a later version's, and skipped.
    pub(crate) fn decode(mut body: Bytes) -> Option<Hello> {
        if body.len() < 36 || !body.starts_with(MAGIC) {
            return None;
        }
        body.advance(MAGIC.len());
        let cluster = body.get_u64_le();
        let from = NodeId(body.get_u64_le());
        let to = NodeId(body.get_u64_le());
        let card_bytes = body.get_u32_le() as usize;
        (card_bytes <= body.len()).then(|| Hello {
            cluster,
            from,
            to,
            card: body.split_to(card_bytes),
        })
    }

    /// Why a node with the name `me`, in `cluster` with `members`, doesn't talk to whoever says this.
    pub(crate) fn objection(&self, cluster: u64, me: NodeId, members: &[NodeId]) -> Option<String> {
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
        } else if from == me || !members.contains(&from) {
            Some(format!("node {from} is not another member; compare --initial-cluster on both"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [NodeId; 2] = [NodeId(1), NodeId(2)];

    fn hello() -> Hello {
        Hello { cluster: 7, from: NodeId(2), to: NodeId(1), card: Bytes::from_static(b"card") }
    }

    #[test]
    fn a_greeting_is_read_as_it_was_said_and_a_part_of_it_is_none() {
        let mut buffer = hello().encode();
        let taken = frame::take(&mut buffer, frame::HELLO_BYTES_MAX);
        let Ok(Some((Kind::Hello, body))) = taken else { panic!("no greeting") };
        assert_eq!(Hello::decode(body.clone()), Some(hello()));
        for cut in 0..body.len() {
            assert_eq!(Hello::decode(body.slice(..cut)), None, "{cut} bytes");
        }
    }

    #[test]
    fn only_another_member_that_wants_this_node_of_this_cluster_is_a_peer() {
        let objection = |hello: Hello| hello.objection(7, NodeId(1), &MEMBERS);
        assert_eq!(objection(hello()), None);
        assert!(objection(Hello { cluster: 8, ..hello() }).unwrap().contains("of cluster 8"));
        assert!(objection(Hello { to: NodeId(2), ..hello() }).unwrap().contains("wants node n2"));
        assert!(objection(Hello { from: NodeId(3), ..hello() }).unwrap().contains("n3 is not"));
        assert!(objection(Hello { from: NodeId(1), ..hello() }).unwrap().contains("n1 is not"));
    }
}
