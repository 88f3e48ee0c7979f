//! Raft under test: named scenarios told as golden traces, and storms of random faults.
//!
//! `cluster` holds one member with its disk and timers, `script` drives a few of them by hand, `storm` by chance.
//! What must hold is the same in both: the public `properties` of the protocol.

mod member;
mod render;
mod scenarios;
mod script;
mod storm;
