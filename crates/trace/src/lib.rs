//! What happened in a run, step by step, and what is drawn from it.
//!
//! A [`StepLog`] is the typed record of a run: boots and crashes, messages with what became of them, timers, durable
//! writes, faults, and each node's state after each of its steps. Whoever drives a protocol fills it: the simulator
//! when it is asked to, the scripts of the golden traces, an explorer that has found a counterexample. It knows no
//! protocol: messages and the like come as [`Label`]s.
//!
//! From a log come
//!
//! - text: a line a step ([`text::in_full`]), or the story that a golden trace tells ([`Story`]);
//! - a [`Diagram`]: a space-time diagram as one SVG image, or as one HTML page that needs nothing else.
//!
//! What a diagram shows is worked out once, in `model.rs`: which arrow ends where, which write became durable when,
//! which rows are worth seeing. The SVG is drawn from it here; the page carries it as data, and `page.js` draws what
//! is in view.
//!
//! What never may live here: anything that knows a protocol, or that judges a run.
//!
//! Open first: [`log`], [`diagram`], `model.rs`.

pub mod diagram;
pub mod label;
pub mod log;
pub mod steps;
pub mod story;
pub mod text;

mod html;
mod json;
mod layout;
mod model;
mod svg;

pub use diagram::{Diagram, Window};
pub use label::Label;
pub use log::{Clock, MessageId, StepLog, Why};
pub use story::Story;
