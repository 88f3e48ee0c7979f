//! Agreement among nodes that crash and lose messages, but don't lie.

pub mod ben_or;
pub mod epaxos;
pub mod flp;
pub mod paxos;
pub mod raft;
pub mod two_generals;
pub mod viewstamped_replication;
