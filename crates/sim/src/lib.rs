//! Deterministic simulation: a cluster of any protocol, in virtual time, under faults, as a function of one seed.
//!
//! A [`Simulation`] drives one [`quorate_core::Host`] a node, exactly as production does. Around the hosts it puts a
//! world of its own: a clock that jumps from event to event, a network that loses, repeats, delays and reorders, and
//! disks that forget what was not synced. The same seed gives the same run, byte for byte, on every machine.
//!
//! # A run
//!
//! [`Plan::draw`] draws everything that is decided beforehand: a mix (how network, disks and clocks behave throughout)
//! and a schedule (which faults strike when). A run plays it in two phases. While faults strike, only safety is judged:
//! the [`Workload`] looks at the live nodes after each step. Then everything heals, and the workload may demand
//! progress. At the end it gives its verdict.
//!
//! # A failure
//!
//! A [`Failure`] prints as one line, with the command that replays it. [`shrink()`] runs the plan again with parts
//! taken away, until little is left: a few faults, a short time, a few operations, and again one word that replays it.
//!
//! # Time at a node
//!
//! What arrives at a node gathers until its turn. A turn takes the waiting inputs, then fires the timers that are due,
//! in the order of their deadlines and those armed with no delay after all others, and then begins a sync if there is
//! something to sync. Usually a turn follows its
//! first input at once. In some runs nodes linger, so that inputs gather; a node that was paused finds a backlog. In
//! some runs a node waits for its sync before its next turn, as in production. In others it goes on, and sees orders of
//! events that production would see only with another loop.
//!
//! # What a crash leaves
//!
//! Every record whose sync was reported, and any prefix of the rest. Messages that have left stay on their way, or are
//! lost with their connection. [`RecordDisk`] keeps records as they are and is fast; [`LogDisk`] runs the write-ahead
//! log of production over a disk that tears and loses, and finds the log's own mistakes too. Requests that were not
//! answered *may have* happened: the workload learns which.
//!
//! # What a disk loses
//!
//! Nothing that it has promised to keep, unless [`Bounds::memory_loss`] is set. Then disks rot, misdirect writes, skip
//! them, are replaced by older copies and wiped, one node at a time, and a minority of all in one run: a node that has
//! lost its memory counts as damaged until the workload says that it is [whole again](Clients::mark_whole), and
//! until then no other is struck. Only protocols that survive that should be asked to. See [`disk::Loss`] for what
//! such a node can know of it.
//!
//! # Mixed versions
//!
//! If [`Bounds::mixed_versions`] is set, messages are encoded on their way, and nodes are restarted as the next version
//! and back, in any order. See [`wire`].
//!
//! # Invariants of this crate
//!
//! - No clock, no thread, no system randomness, no order that a hash decides; only [`seeds`] spreads whole runs over
//!   threads and times them from outside.
//! - What one part draws doesn't shift what another draws: schedule, run, workload and clocks have streams of their
//!   own, so that a fault can be taken away without reshuffling the rest of the plan.
//! - Nothing here knows what the protocol is about.
//!
//! # Limits
//!
//! All nodes are there from the start; one that joins later is one that the protocol doesn't talk to yet. Clocks drift
//! and jump as far as timers show it, since protocols see those and no clock; two clocks that show different times
//! therefore mean nothing here. Messages are not corrupted: frames carry checksums.
//!
//! Open first: [`workload`], [`simulation`], [`faults`].

mod ailments;
pub mod counters;
pub mod disk;
pub mod failure;
pub mod faults;
mod inflict;
pub mod log_disk;
pub mod network;
mod node;
pub mod plan;
mod queue;
pub mod rng;
pub mod seeds;
pub mod shrink;
pub mod simulation;
pub mod time;
pub mod trace;
pub mod wire;
pub mod workload;

pub use counters::Counters;
pub use disk::{Damage, DiskFault, DiskMix, Loss, RecordDisk, Recovery, Ruin, SimDisk, SyncEnd};
pub use failure::{Failure, Report, Rule};
pub use faults::{Fault, FaultMix, Scheduled};
pub use log_disk::{LogDisk, LogDiskError, RecordCodec};
pub use network::NetworkMix;
pub use plan::{Bounds, Calm, Plan, Reduction, Replay};
pub use rng::{Ppm, Rng};
pub use seeds::{Campaign, Until, run_seeds};
pub use shrink::{Shrunk, shrink};
pub use simulation::{Outcome, Simulation};
pub use time::Time;
pub use trace::{Describe, Digest};
pub use wire::{Encoded, Version, Wire};
pub use workload::{Clients, Cluster, Workload};
