//! The protocols, and what they are asked to do.

pub(crate) mod broadcast;
pub(crate) mod clock;
pub(crate) mod gossip;
pub(crate) mod named;
pub(crate) mod raft;
