//! Connections between peers.
//!
//! Each node dials every other one and only sends on what it dialled, so a connection carries messages one way, in
//! order. A message to a peer that is not connected is dropped: protocols live with loss, and a queue for a dead peer
//! would only grow. What a connection says first is a [`hello`]; who says anything else is no peer, is counted, and is
//! hung up on.

pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod incoming;
pub(crate) mod outgoing;

use quorate_core::NodeId;

/// What connections tell the event loop.
#[derive(Debug)]
pub(crate) enum PeerEvent<M> {
    /// A message arrived.
    Message {
        /// Its sender.
        from: NodeId,
        /// The message.
        message: M,
    },
    /// We reached a peer.
    Connected {
        /// The peer.
        peer: NodeId,
        /// The connection to send on.
        stream: std::sync::Arc<tokio::net::TcpStream>,
    },
    /// The connection that we dialled broke.
    Disconnected {
        /// The peer.
        peer: NodeId,
    },
    /// The connection that a peer dialled broke, and it was its only one.
    Lost {
        /// The peer.
        peer: NodeId,
    },
    /// A connection that was full takes bytes again.
    Writable {
        /// The peer.
        peer: NodeId,
    },
}
