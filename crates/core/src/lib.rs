//! The kernel that every protocol is written on, and that every world drives.
//!
//! A protocol is a state machine: [`Input`]s go in, effects come out, and nothing else happens. It reads no clock,
//! draws no randomness, opens no socket and no file. What it needs from outside it asks of its [`Out`]:
//! to persist a record, to send a message, to answer a request, to arm a timer, to choose.
//!
//! A [`Host`] stands between a protocol and its [`World`]. Worlds differ: the simulator's is virtual and full of
//! faults, the runtime's has sockets and a disk. The host is the same in each, and it holds the one rule that all
//! safety rests on: *nothing becomes visible before what it depends on is durable* ([`host`]).
//!
//! What never may live here: I/O, a dependency, or anything that only one protocol needs.
//!
//! Open first: [`protocol`], [`out`], [`host`].

pub mod host;
pub mod id;
pub mod mutant;
pub mod out;
pub mod protocol;
pub mod quorum;

pub use host::{Host, Visible, World};
pub use id::{GroupId, Mark, NodeId, RequestId};
pub use mutant::{LabMutants, Mutants};
pub use out::{Effect, Gate, Out, Sink};
pub use protocol::{Input, Protocol};
