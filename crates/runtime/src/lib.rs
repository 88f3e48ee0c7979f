//! Drives a [`quorate_core::Host`] in production: TCP between peers, timers, and the log with group commit.
//!
//! One event loop a node: drain what has arrived, step, append, send, sync, answer; all in batches.
//!
//! What never may live here: anything that knows what the protocol is about.
//!
//! Open first: [`handle`].

pub mod handle;

pub use handle::{Handle, Stopped};
