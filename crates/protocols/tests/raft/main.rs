//! Raft under test: named scenarios told as golden traces, storms of random faults, and messages that make no sense.
//!
//! `replica` gives a member an application, `member` its disks and timers; `script` drives a few of them by hand, `storm`
//! by chance.
//! What must hold is the same in both: the public `properties` of the protocol.

mod churn;
mod dice;
mod lease;
mod member;
mod nonsense;
mod render;
mod replica;
mod scenarios;
mod script;
mod storm;
mod weather;
