//! Hosts that can be copied and compared, for whoever explores what they may do.
//!
//! Written out because `derive` would ask for it of the protocol alone, and not of its messages and responses, which
//! wait here as well.

use std::hash::{Hash, Hasher};

use super::{Gates, Host};
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
        let Gates { persisted, synced, waiting } = self;
        (persisted, synced, waiting) == (&other.persisted, &other.synced, &other.waiting)
    }
}

impl<P> Hash for Gates<P>
where
    P: Protocol<Message: Hash, Response: Hash> + Hash,
{
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Gates { persisted, synced, waiting } = self;
        (persisted, synced, waiting).hash(state);
    }
}

impl<P> Host<P>
where
    P: Protocol<Message: Hash, Response: Hash> + Hash,
{
    /// Hashes all but how many records there ever were: they are counted from the last durable one. A protocol that keeps
    /// no number of a record goes on alike in two hosts that differ in that alone.
    pub fn hash_uncounted<H: Hasher>(&self, state: &mut H) {
        let Gates { persisted, synced, waiting } = &self.gates;
        (&self.state, persisted - synced, waiting.len()).hash(state);
        for (record, visible) in waiting {
            (record - synced, visible).hash(state);
        }
    }
}
