//! Agreement among nodes that crash and lose messages, but don't lie.

pub mod flexible_paxos;
pub mod multi_paxos;
pub mod paxos;
pub mod raft;
pub mod two_generals;
pub mod zab;
