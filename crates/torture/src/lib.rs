//! Real processes, real faults, recorded histories.
//!
//! The simulator shows that the state machines are right under every fault that it can think of. What it cannot show is
//! that the binary around them is: that a sync reaches the file, that a lock is given up when its holder is killed, that
//! a port comes free again, that a stock client understands the answers. This crate finds out by doing it: it starts
//! nodes as processes of their own, kills, stops and restarts them while clients that nobody here wrote put load on
//! them, notes down what these clients saw, and asks the checkers of [`quorate_check`] for a verdict.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cluster`] | nodes as processes: started, killed, paused, restarted, and looked after |
//! | [`load`] | clients that read and write all the time, and the history of what they saw |
//! | [`audience`] | watchers on every node, and whether they were told of what happened |
//! | [`verdict`] | whether a history and what is in the store afterwards agree |
//! | [`ordeal`] | what every test under load begins, waits for and ends with |
//! | [`command`] | one run of the binary that is expected to end by itself |
//! | [`process`] | a process that runs beside the test |
//! | [`http`] | plain HTTP: GET for probes and metrics, POST for the JSON gateway |
//!
//! What never may live here: a line of the database, or a dependency on one. Everything is seen from outside, through
//! the binary's command line, its ports, its files and its signals.
//!
//! Nothing waits for a length of time where there is something to observe, and every wait ends: with what was waited
//! for, or with an error that says what was not seen. The deadlines are far beyond what a slow machine needs.
//!
//! Open first: [`cluster::Cluster`], [`load::Load`], [`load::Report::judge`].

pub mod audience;
pub mod cluster;
pub mod command;
mod error;
pub mod http;
pub mod load;
pub mod ordeal;
pub mod process;
pub mod verdict;

pub use audience::Audience;
pub use cluster::{Cluster, NodeIndex};
pub use error::TortureError;
pub use load::{Load, LoadOptions, Report};
pub use verdict::Verdict;
