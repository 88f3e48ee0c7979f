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

    /// Hashes what is said of each of some nodes, with a [`Mark`] around each item: the items are sorted by names, so
    /// whoever gives the nodes other names must not be misled by their order.
    pub fn hash_each<T: Hash, H: Hasher>(
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        state: &mut H,
    ) {
        let items = items.into_iter();
        items.len().hash(state);
        Mark::Open.hash(state);
        for item in items {
            item.hash(state);
            Mark::Next.hash(state);
        }
        Mark::Close.hash(state);
    }
}

/// What a hasher is told around items whose order says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The first item follows, if there is one.
    Open,
    /// An item is complete.
    Next,
    /// That was the last item.
    Close,
}

impl Mark {
    /// The upper half of the number as which a mark is hashed; the lower is its place in [`Mark::ALL`].
    pub const HASHED_AS: u64 = 0x6d61_726b_51e7_c40d;
    /// All marks.
    pub const ALL: [Mark; 3] = [Mark::Open, Mark::Next, Mark::Close];
}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from(Self::HASHED_AS) << 64 | *self as u128);
    }
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
