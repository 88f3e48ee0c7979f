//! The catalogue: every protocol is one deterministic state machine, in one file or folder, under its family.
//!
//! What lives here: protocols, their headers, their claims as properties, and their mutants.
//!
//! What never may: I/O, a clock, randomness of its own, or anything that only the database needs.
//!
//! Open first: [`consensus::paxos`], then [`consensus::raft`].

pub mod broadcast;
pub mod clock;
pub mod consensus;
pub mod coordination;
pub mod detector;
