//! What happened in a run, step by step, and what is drawn from it.
//!
//! A [`StepLog`] is the typed record of a run: boots and crashes, messages with what became of them, timers, durable
//! writes, faults, and each node's state after each of its steps. Whoever drives a protocol fills it: the simulator
//! when it is asked to, the scripts of the golden traces, an explorer that has found a counterexample. It knows no
//! protocol: messages and the like come as [`Label`]s.
//!
//! From a log come
//!
//! - text: a line a step ([`text::in_full`]), or the story that a golden trace tells ([`text::Story`]);
//! - a space-time diagram.
//!
//! What never may live here: anything that knows a protocol, or that judges a run.
//!
//! Open first: [`log`], [`text`].

pub mod label;
pub mod log;
pub mod text;

pub use label::Label;
pub use log::{Clock, MessageId, StepLog, Why};
