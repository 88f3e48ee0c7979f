//! The names of things that several crates speak of.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A node of the cluster. Never given to another node, even after this one has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// A replicated group: one instance of consensus. A node takes part in many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// A request that was put to a node, and that its answer names. The host gives them out in increasing order and
/// never twice between a boot and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl NodeId {
    /// The upper half of the number as which a node id is hashed.
    ///
    /// It shows a hasher which of the numbers in a state, however deep inside, are names of nodes; so an explorer can
    /// ask whether two states are the same but for those names.
    pub const HASHED_AS: u64 = 0x6e6f_6465_9d5c_3b1f;
}

impl Hash for NodeId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(Self::HASHED_AS) << 64 | u128::from(self.0));
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Simulated nodes are numbered from one; real ones carry 64-bit ids, which read best as etcd prints them.
        if self.0 < 1 << 16 { write!(f, "n{}", self.0) } else { write!(f, "{:x}", self.0) }
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
