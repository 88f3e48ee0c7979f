//! The whole database on trial.
//!
//! Five nodes run the code that production runs: the same [`Node`](quorate_kv::node::Node), the same host, the same
//! write-ahead log with the same records in it. Only the sockets, the clocks and the disk beneath the log are
//! simulated, and they misbehave: at random, and in some runs where it hurts most. Clients read and write through any node; what they saw must be linearizable, what
//! was acknowledged must be there, Raft must keep its promises at every step, the replicas must end up equal, and once
//! everything is well again, every request must be answered.
//!
//! What lives here: the workload, its verdict, and how to run one seed or many. What never may: a rule that only holds
//! because the simulator is kind.
//!
//! Open first: [`campaign`], [`workload`], `setting.rs`; then the hazards: `hunt.rs`, `churn.rs`, `losses.rs`,
//! `engines.rs`, `versions.rs`; then `audience.rs`, who watches,
//! `tenants.rs`, who holds leases, `locks.rs`, who locks, and `users.rs`, who may do what.

pub mod campaign;
pub mod workload;

mod administrator;
mod asking;
mod audience;
mod churn;
mod disk;
mod engines;
mod hunt;
mod locks;
mod losses;
mod members;
mod operation;
mod permissions;
mod setting;
mod tenants;
mod users;
mod versions;
mod words;

pub use audience::AudienceTally;
pub use campaign::{Suspect, bounds, describe, judge, plan, run, run_traced};
pub use churn::ChurnTally;
pub use engines::EngineTally;
pub use locks::{LockTally, MUTANTS};
pub use users::UserTally;
pub use versions::VersionTally;
pub use workload::{Tally, Trial};
