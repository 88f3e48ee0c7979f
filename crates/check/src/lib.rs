//! Histories and their checkers: what clients saw, and whether a correct store could have shown it.
//!
//! # What a linearizable history is
//!
//! A *history* is what the clients of a store noted down: who asked for what, when the request
//! left, what came back, and when. Two operations overlap when neither had completed before the
//! other was invoked. A history is *linearizable* when one can pick for each operation a single
//! instant between its invocation and its completion such that the store, had it done each
//! operation whole at its instant, one after another, would have given exactly the answers noted.
//! Put differently: there is an order of all operations that (1) a one-at-a-time store (the
//! [`Model`]) would have answered like this, and (2) never puts an operation before one that had
//! completed before it was invoked.
//!
//! An operation whose outcome is *unknown* (it timed out, the connection broke, the client
//! crashed) stays open for ever: it may have taken effect at any time after its invocation, or
//! never. An operation that was *refused* (it certainly did not happen) is left out. Confusing the
//! two is how a checker comes to lie, so the recorder ([`History`]) has a word for each.
//!
//! # What lives here
//!
//! | file | what it holds |
//! |---|---|
//! | `history` | the recorder that simulations and real-process tests write into |
//! | `model` | what a checker needs to know of the store: one step at a time, and how to split by key |
//! | `linear` | the decision: [`check`] answers with an order, a counterexample, or "undecided" |
//! | `register` | the smallest models: a register with compare-and-swap, and one a key |
//! | `kv_model` | a whole key-value store with etcd's revisions, and [`kv_model::check`] for it |
//! | `revisions` | [`revisions::audit`]: a quick necessary condition for very long histories, and the last look at the store: is every acknowledged write still there? |
//! | `watch` | [`watch::check`]: the nine properties of what a watch was told |
//!
//! # What never may
//!
//! Nothing here depends on another crate of the workspace, does I/O, reads a clock or draws a
//! random number. The checker of a database must not share a line with the database.
//!
//! # Three files to open first
//!
//! `history.rs`, then `linear/search.rs` (the search, and why each of its shortcuts is safe), then
//! `kv_model.rs`.
//!
//! # Example
//!
//! ```
//! use quorate_check::register::{Register, RegisterInput, RegisterOutput};
//! use quorate_check::{ClientId, History, Verdict, check};
//!
//! let mut history = History::new();
//! let write = history.invoke(ClientId(1), RegisterInput::Write(7), 0);
//! history.complete(write, RegisterOutput::Written, 10);
//! let read = history.invoke(ClientId(2), RegisterInput::Read, 20);
//! history.complete(read, RegisterOutput::Value(None), 30);
//!
//! // The write had been acknowledged before the read began, so the read is stale.
//! let Verdict::Violation(counterexample) = check(&Register, &history) else { panic!() };
//! assert_eq!(counterexample.blocked, vec![read]);
//! println!("{counterexample}");
//! ```

pub mod history;
pub mod kv_model;
pub mod linear;
pub mod model;
pub mod register;
pub mod revisions;
pub mod watch;

pub use history::{ClientId, History, OpId, Operation, Outcome};
pub use linear::{Counterexample, Verdict, check, check_within};
pub use model::{Model, Transition};
