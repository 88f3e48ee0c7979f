//! Protocols of the catalogue as nodes of Maelstrom: the same state machines that the lab explores, and the Raft that the
//! database runs, behind the messages that anyone's node program speaks.
//!
//! A [`Node`] is a protocol's host with a front: clients' requests go in as bodies in JSON, and come out as inputs of the
//! protocol; what nodes tell each other is enclosed in Maelstrom's envelope. It has no clock and no disk. Two worlds drive it:
//!
//! - [`program`]: lines from the standard input, lines to the standard output, a real clock, and a journal on the disk. Any
//!   harness that speaks Maelstrom's protocol can run it, the original included.
//! - [`in_memory`]: an implementation of `quorate_maelstrom::Nodes` whose clock jumps to whatever is next. A whole run,
//!   network, faults, crashes and clients included, is a function of its seed.
//!
//! # What lives here
//!
//! | file | what it holds |
//! |---|---|
//! | `cast` | which protocols there are, and which workloads each serves |
//! | `part` | what has to be said of a protocol |
//! | `parts/` | that, of each |
//! | `player` | the node without its world |
//! | `machine` | what stands on a replicated log, a workload each |
//! | `wire` | how messages and records look in JSON |
//! | `program`, `in_memory` | the worlds |
//!
//! # What never may
//!
//! Nothing here decides anything that a protocol of the catalogue decides: who leads, what is committed, what is delivered,
//! what is sent again. A front that hid a protocol's mistakes, say by dropping a command that comes twice, would make the
//! judges blind.
//!
//! # Three files to open first
//!
//! `player.rs`, then `parts/raft.rs`, then `in_memory.rs`.

pub mod cast;
pub mod in_memory;
pub mod program;

mod machine;
mod part;
mod parts;
mod player;
mod wire;

pub use cast::{CastError, Role, Show, role};
pub use in_memory::{Disk, InMemory};
pub use player::{Node, StrangeJournal};
