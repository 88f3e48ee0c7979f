//! The explorer on trial: what it must find, what it must find nothing in, and that it always finds the same.

mod coin;
mod live;
mod paxos;
mod raft;
mod sameness;
