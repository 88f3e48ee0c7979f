//! The database as a state machine.
//!
//! What lives here: the requests a client can make ([`request`]), the multi-version store that answers them
//! ([`store`]), the node that replicates one store a shard with Raft, and the hub that tells whoever watches ([`watch`]).
//!
//! What never may: a clock, a socket, a file, a thread, randomness, or an order that a hash decides. A store that
//! is given the same commands in the same order is the same store on every replica, for ever.
//!
//! Open first: [`request`], then `store/mod.rs`.

pub mod auth;
pub mod backup;
pub mod error;
pub mod line;
pub mod long_read;
pub mod node;
pub mod request;
pub mod restore;
pub mod service;
pub mod store;
pub mod tally;
pub mod validate;
pub mod watch;
pub mod wire;
