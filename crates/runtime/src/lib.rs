//! Drives a [`quorate_core::Host`] in production: TCP between peers, timers, and the log with group commit.
//!
//! One event loop a node ([`driver`]): drain what has arrived, step, append, send, sync, answer; all in batches. The
//! loop is one task; it shares its thread with the connections that feed it, because handing a request to another
//! thread costs about as much as all the work on it.
//!
//! What never may live here: anything that knows what the protocol is about.
//!
//! Open first: [`driver`], [`handle`], `peer/mod.rs`.

pub mod codec;
pub mod driver;
pub mod handle;
pub mod metrics;

mod enquiry;
mod error;
mod journal;
mod peer;
mod recovered;
mod timers;

use quorate_core::NodeId;

pub use codec::{Codec, Roster, Undecodable};
pub use driver::{Driver, NodeHandle, Options};
pub use enquiry::{EnquiryError, enquire};
pub use error::DriverError;
pub use handle::{Handle, Stopped};
pub use metrics::Metrics;
pub use peer::incoming::PeerListener;
pub use recovered::Recovered;

/// Who a node is to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u64,
    /// The node.
    pub me: NodeId,
    /// Where peers reach the node, as `host:port`; with `https://` before it if they are to speak TLS there.
    pub address: String,
}
