//! Agreement among nodes that crash and lose messages, but don't lie.

pub mod ben_or;
pub mod epaxos;
pub mod flexible_paxos;
pub mod flp;
pub mod multi_paxos;
pub mod paxos;
pub mod raft;
pub mod two_generals;
pub mod viewstamped_replication;
pub mod zab;
