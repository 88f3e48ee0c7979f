//! What nodes say of themselves when they greet each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_core::NodeId;

/// The newest card of each peer that has greeted this node: a few bytes that mean nothing to the runtime, such as where
/// the node's clients are served. Cheap to clone; all clones are one collection.
#[derive(Clone, Debug, Default)]
pub struct Cards {
    by_node: Arc<Mutex<BTreeMap<NodeId, Bytes>>>,
}

impl Cards {
    /// The card of a peer, if it has greeted this node since it started.
    pub fn get(&self, node: NodeId) -> Option<Bytes> {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// Notes what a node says of itself.
    pub fn put(&self, node: NodeId, card: Bytes) {
        self.by_node.lock().unwrap_or_else(PoisonError::into_inner).insert(node, card);
    }
}
