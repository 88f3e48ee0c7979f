//! The simulator on trial: a small Paxos that must survive it, and mutants of it that must not.

mod clients;
mod determinism;
mod log_disk;
mod protocol;
mod scenarios;
mod verdicts;
mod wire;
