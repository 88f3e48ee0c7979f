//! Hosts that can be copied and compared, for whoever explores what they may do.
//!
//! Written out because `derive` would ask for it of the protocol alone, and not of its messages and responses, which
//! wait here as well.
//!
//! Records are counted from the last durable one. How many there were before is no part of what a node is: a protocol
//! compares the numbers of its records, and by the time it is told of one, all that it has ever seen are behind. Were
//! they counted from the first, a node that goes on writing would never be again as it was.

use std::hash::{Hash, Hasher};

use super::{Gates, Host, Visible};
use crate::Protocol;

impl<P> Clone for Host<P>
where
    P: Protocol<Message: Clone, Response: Clone> + Clone,
{
    fn clone(&self) -> Self {
        Host { state: self.state.clone(), gates: self.gates.clone() }
    }
}

impl<P> PartialEq for Host<P>
where
    P: Protocol<Message: PartialEq, Response: PartialEq> + PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state && self.gates == other.gates
    }
}

impl<P> Eq for Host<P> where P: Protocol<Message: Eq, Response: Eq> + Eq {}

impl<P> Hash for Host<P>
where
    P: Protocol<Message: Hash, Response: Hash> + Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.state.hash(state);
        self.gates.hash(state);
    }
}

impl<P> Clone for Gates<P>
where
    P: Protocol<Message: Clone, Response: Clone> + Clone,
{
    fn clone(&self) -> Self {
        let Gates { persisted, synced, waiting } = self;
        Gates { persisted: *persisted, synced: *synced, waiting: waiting.clone() }
    }
}

impl<P> PartialEq for Gates<P>
where
    P: Protocol<Message: PartialEq, Response: PartialEq> + PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.unsynced() == other.unsynced() && self.relative().eq(other.relative())
    }
}

impl<P> Hash for Gates<P>
where
    P: Protocol<Message: Hash, Response: Hash> + Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.unsynced().hash(state);
        self.waiting.len().hash(state);
        self.relative().for_each(|waiting| waiting.hash(state));
    }
}

impl<P: Protocol> Gates<P> {
    fn unsynced(&self) -> u64 {
        self.persisted - self.synced
    }

    /// What waits, each with how many records must become durable before.
    fn relative(&self) -> impl Iterator<Item = (u64, &Visible<P>)> {
        self.waiting.iter().map(|(record, visible)| (record - self.synced, visible))
    }
}
