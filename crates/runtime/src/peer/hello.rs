//! The first words on a connection between peers: who I am, whom I want, and of which cluster.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_core::NodeId;

use super::frame::{self, Kind};

const MAGIC: &[u8; 8] = b"QUORATE\x01";

/// What a dialling node says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The cluster it is of.
    pub(crate) cluster: u64,
    /// Who it is.
    pub(crate) from: NodeId,
    /// Whom it believes to have reached.
    pub(crate) to: NodeId,
}

impl Hello {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut buffer = BytesMut::new();
        frame::put(&mut buffer, Kind::Hello, |buffer| {
            buffer.put_slice(MAGIC);
            buffer.put_u64_le(self.cluster);
            buffer.put_u64_le(self.from.0);
            buffer.put_u64_le(self.to.0);
        });
        buffer
    }

    /// Reads a hello. Bytes behind the known fields are a later version's, and skipped.
    pub(crate) fn decode(mut body: Bytes) -> Option<Hello> {
        if body.len() < 32 || !body.starts_with(MAGIC) {
            return None;
        }
        body.advance(MAGIC.len());
        Some(Hello {
            cluster: body.get_u64_le(),
            from: NodeId(body.get_u64_le()),
            to: NodeId(body.get_u64_le()),
        })
    }

    /// Why a node with the name `me`, in `cluster` with `members`, doesn't talk to whoever says this.
    pub(crate) fn objection(&self, cluster: u64, me: NodeId, members: &[NodeId]) -> Option<String> {
        let Hello { cluster: theirs, from, to } = *self;
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
