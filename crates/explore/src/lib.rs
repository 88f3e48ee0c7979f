//! Breadth-first exploration: everything that a small cluster may do, within bounds.
//!
//! Where a simulation draws one run after another, an exploration visits every state that some run reaches: every order
//! of messages, every timer, every crash with every loss of unsynced records, every choice. What it finds broken, it
//! shows in a run that no other is shorter than; what it finds sound is sound within the bounds, with no seed unlucky.
//! It drives the same [`quorate_core::Host`] over the same protocol that production runs.
//!
//! # What a state is
//!
//! Every node with its disk and its armed timers; the messages under way; what the cluster itself forgets but its
//! promises speak of ([`Model::History`]); and how much of each bound is used up. Messages lie in a bag: any may arrive
//! next, or never, so that loss needs no step of its own. Time is absent: a timer that is armed may fire at any moment.
//!
//! # What a step is
//!
//! A turn of one node (`node` says how it goes): it takes one input, ends its batch, and syncs, or crashes in
//! the middle ([`Syncs`] has the other way). That turns are whole hides nothing: until its turn is over a node has no
//! other, and what it lets go may arrive later as well as sooner.
//!
//! # What is kept
//!
//! 64 bits of every state, `fingerprint` says at which risk; and the states of two levels. States that differ
//! only in the names of their nodes may be taken for one: of the prints that a state has under all renamings, the least
//! stands for it. Maps that are sorted by the names of nodes print in that order, which keeps alike states apart, unless
//! they are hashed by [`quorate_core::NodeId::hash_each`], as Raft's are but for the sets of votes.
//!
//! # What must come
//!
//! A model may name what every fair run must come to ([`Model::eventually`]): from the start on, or from each state on in
//! which something else holds. Fairness is weak, and of each thing by itself: a message that stays under way arrives, a
//! timer that stays armed and is not armed anew fires, a disk that has something to sync syncs. So no message is lost for
//! ever, here. What is rare need not happen: crashes, repeats, requests, hints. Choices are made by whoever wants the worst.
//! A counterexample is a run to a state in which nothing is due, or a lasso ([`Ending`]). Where bounds end runs that would
//! go on, nothing is claimed, and [`Awaited::cut`] counts such states. For runs without end there are timers that are
//! [`UNBOUNDED`]; [`Model::copies_max`], [`Model::counts_records`] and [`Model::is_within`] keep their states few. All states
//! and changes are kept, some hundreds of bytes a state, and symmetry is off. `live` has the method, and why it is right.
//!
//! # Limits
//!
//! Batches of several inputs are not explored. Records that a protocol gives up are folded all the same. A node that is
//! down is one that nothing reaches. Of Raft, what needs an application is not explored, compaction and snapshots, nor
//! are changes of membership and lost disks. Goals are states that some run reaches, which shows that a search was not
//! idle.
//!
//! What never may live here: a clock, or knowledge of a protocol outside the models.
//!
//! Open first: [`model`], [`search`], and `raft` for a model.

mod cluster;
mod fingerprint;
mod live;
pub mod model;
mod node;
#[cfg(feature = "raft")]
pub mod raft;
pub mod report;
pub mod search;
pub mod trace;

pub use model::{Bounds, Eventually, Explored, Goal, Happened, Model, Snapshot, Syncs, UNBOUNDED};
pub use report::{Awaited, Progress, Reached, Report, Stop, Verdict};
pub use search::{Options, explore};
pub use trace::{Action, Counterexample, Ending, Interruption, Letter, Step};
