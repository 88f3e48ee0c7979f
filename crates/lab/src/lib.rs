//! The lab: the catalogue on show. Each protocol is simulated under faults, explored, broken on purpose, and drawn.
//!
//! # One row
//!
//! A protocol is a state machine in `quorate-protocols`, and knows nothing of the lab. Its [`Exhibit`] here adds what it
//! takes to show it: who asks what, what must hold ([`Exhibit::observe`]) and must come about ([`Exhibit::settled`]), within
//! which bounds it is explored, which runs are worth seeing, which mutants must be caught by which claim. The command line,
//! the page and the tests see it as a [`Row`], whatever its protocol.
//!
//! # What is claimed
//!
//! Every exhibit ends with `shown!`, which makes the one test that all rows share (`show.rs`): the claims hold over seeds
//! with faults and in every state within the scopes; each mutant is caught by the claim that it is said to break; scenarios
//! go as told, and those at a boundary fail as they must; costs are those of the header. What the test found is in `status/`,
//! and that is all that `quorate lab list` says of a row.
//!
//! # A new row
//!
//! 1. The state machine: `crates/protocols/src/FAMILY/NAME.rs`, with the header of the house; its mutants ask
//!    [`quorate_core::LabMutants`], or [`quorate_core::Mutants`] once production runs it.
//! 2. The exhibit: `exhibits/FAMILY/NAME.rs` here, and its line in the family's `ROWS`.
//! 3. An empty `status/NAME.txt`, then `QUORATE_RECORD=1 cargo test -p quorate-lab NAME`, and a look at what was recorded.
//!
//! What never may live here: a protocol, a socket, a claim without something that breaks it.
//!
//! Open first: [`exhibit`], then `exhibits/consensus/paxos.rs` for an example, then [`setup`].

pub mod about;
pub mod catalogue;
pub mod curve;
pub mod exhibit;
mod exhibits;
pub mod explored;
pub mod page;
pub mod plot;
pub mod refusal;
pub mod row;
pub mod scenario;
pub mod setup;
#[cfg(test)]
mod show;
mod stage;

pub use about::{About, Claim, Family, Header, Knob, Mutant};
pub use curve::{Curve, Line, Points};
pub use exhibit::{Asking, Broken, Exhibit, Members, Scope};
pub use explored::{Explorable, Found, Shortest};
pub use refusal::Refusal;
pub use row::{Limits, Row, Shelf};
pub use scenario::{Expected, Scenario};
pub use setup::Setup;
pub use stage::Ran;
