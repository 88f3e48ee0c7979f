//! Anyone's node programs, in any language, under a network with faults, and judges of what they did.
//!
//! A node is a program that reads messages from its standard input and writes messages to its standard output, one JSON
//! object a line, as [Maelstrom](https://github.com/jepsen-io/maelstrom) defines them. This crate runs a cluster of one
//! such program, passes messages on with delays, losses and partitions, plays the clients of a [`Workload`] and the
//! services that nodes may call, and judges the history.
//!
//! # What is determined by the seed, and what isn't
//!
//! A foreign process cannot be asked whether it waits for input or still thinks, and its own timers run by the clock on
//! the wall. So virtual time is out of reach for it: a run of processes goes by real time. What the seed decides is all
//! that *we* choose: what each client asks next and how long it pauses; when which partition begins and ends; and the
//! fate of every message, drawn from a stream of its link's own, so that the k-th message of a link meets the same fate
//! in every run ([`network`]). How messages of several nodes interleave is the program's and the machine's doing. A
//! seed that found a bug finds it again often, not always.
//!
//! Nodes that live in memory have a virtual clock, and then the same seed gives the same run ([`nodes`] has the seam; the
//! crate `quorate-maelstrom-nodes` plays protocols of the catalogue behind it).
//!
//! No verdict depends on the machine's speed: an answer that comes late is in doubt, and never wrong; and what must hold
//! in the end is looked for again and again, for as long as [`Options::settle`] says.
//!
//! # What lives here
//!
//! | file | what it holds |
//! |---|---|
//! | `message`, `address` | what is on a line, the error codes, who can be spoken to |
//! | `nodes`, `process` | the seam to whatever plays the nodes; programs with pipes |
//! | `network` | the fate of a message |
//! | `services` | `lin-kv`, `seq-kv`, `lww-kv`, `lin-tso` |
//! | `workload/` | what clients ask, and how that is said in messages |
//! | `run`, `run/` | one run from `init` to the verdict: how it begins, what clients do |
//! | `history`, `judge/` | what was seen, and what is wrong with it |
//! | `fault`, `report` | what a bad program is told; what came of a run |
//!
//! # What never may
//!
//! Judges do no I/O and know no clock. Only `process` knows real time. Nothing here knows a protocol of the catalogue.
//!
//! # Departures from Maelstrom
//!
//! Clients sit beside their nodes: what they say is neither delayed nor lost. A write to `seq-kv` goes to the present
//! ([`services`]). The network heals before final reads. A node that writes in another's name, or to nobody, ends the
//! run. Nodes may be killed, without a word, and then need to have kept what they must not forget. Not there: paused nodes.
//!
//! # Three files to open first
//!
//! `run.rs`, then `network.rs`, then `judge/list_append.rs`.

pub mod address;
pub mod fault;
pub mod history;
pub mod judge;
pub mod message;
pub mod network;
pub mod nodes;
pub mod process;
pub mod report;
pub mod run;
pub mod services;
pub mod workload;

pub use fault::{Complaint, NodeFault, StartError};
pub use judge::dependencies::Consistency;
pub use network::NetworkMix;
pub use nodes::{Nodes, Said};
pub use process::{Processes, Program};
pub use report::{Report, Verdict};
pub use run::{Options, run};
pub use workload::Workload;
