//! Agreement among nodes that crash and lose messages, but don't lie.

pub mod raft;
