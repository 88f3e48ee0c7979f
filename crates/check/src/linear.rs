//! Is this history linearizable? An order, a counterexample, or "undecided" within a bound.
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects", 1993 (the search); Lowe,
//! "Testing for linearizability", 2017 (the linked list, and remembering what has been tried);
//! Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015 (splitting).
//! Departures: the list holds invocations only; operations of unknown outcome are kept apart,
//! tried last, and tried in the shortest runs first (see `search.rs`).
//! Cost: the question is NP-complete. In practice near-linear for histories of a few clients, and
//! exponential only where many concurrent operations are indistinguishable until much later.

mod counterexample;
mod search;

#[cfg(test)]
pub(crate) mod brute_force;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

pub use counterexample::{Counterexample, Row, Standing};

use crate::history::{History, OpId, Operation};
use crate::model::Model;
use search::{Found, Rules, Search};

/// What the checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A one-at-a-time store could have given these answers.
    Linearizable {
        /// An order that shows it. Operations of unknown outcome that are not in it did not have
        /// to happen.
        order: Vec<OpId>,
    },
    /// No order explains the answers.
    Violation(Box<Counterexample>),
    /// The bound was reached first.
    Undecided {
        /// How many steps of the model were tried.
        steps: u64,
    },
}

impl Verdict {
    /// Whether the history is known to be linearizable.
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable { .. })
    }

    /// Whether the history is known not to be linearizable.
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Violation(_))
    }
}

/// Decides whether `history` is linearizable, however long that takes.
pub fn check<M: Model>(model: &M, history: &History<M::Input, M::Output>) -> Verdict {
    check_within(model, history, u64::MAX)
}

/// Decides whether `history` is linearizable, or gives up after `steps_max` steps of the model.
/// A violation found in one part of a history that was split counts even when another part stays
/// undecided.
pub fn check_within<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    steps_max: u64,
) -> Verdict {
    check_by(model, history, steps_max, Rules::SOUND)
}

/// The operations of one part of a history, in the order of recording.
type Part<'h, M> = Vec<(OpId, &'h Operation<<M as Model>::Input, <M as Model>::Output>)>;

fn check_by<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    steps_max: u64,
    rules: Rules,
) -> Verdict {
    let mut orders = Vec::new();
    let mut steps = 0;
    let mut is_undecided = false;
    for part in split(model, history) {
        let mut search = Search::new(model, &part, steps_max - steps, rules);
        match search.run() {
            Found::Order(order) => orders.push(order),
            Found::OutOfSteps => is_undecided = true,
            Found::DeadEnd { prefix, blocked } => {
                let counterexample = Counterexample::new(model, &part, prefix, blocked);
                return Verdict::Violation(Box::new(counterexample));
            }
        }
        // A part may overshoot the bound by a few steps; the next one then gets none.
        steps = steps_max.min(steps + search.steps());
    }
    if is_undecided {
        return Verdict::Undecided { steps };
    }
    Verdict::Linearizable { order: merge(history, orders) }
}

/// One part a key, if every operation has one; otherwise the history in one piece.
fn split<'h, M: Model>(model: &M, history: &'h History<M::Input, M::Output>) -> Vec<Part<'h, M>> {
    let mut parts: BTreeMap<M::Key, Part<'h, M>> = BTreeMap::new();
    for (op, operation) in history.operations() {
        match model.partition(&operation.input) {
            Some(key) => parts.entry(key).or_default().push((op, operation)),
            None => return vec![history.operations().collect()],
        }
    }
    parts.into_values().collect()
}

/// One order out of the orders of all parts.
///
/// Each operation gets the earliest instant that its part's order leaves it: the latest invocation
/// among it and those before it. That instant is never after its own completion, since none of
/// those before it was invoked after it had completed; so sorting by it (stably, which keeps each
/// part's order) puts no operation before one that had completed before it was invoked.
fn merge<I, O>(history: &History<I, O>, orders: Vec<Vec<OpId>>) -> Vec<OpId> {
    let mut placed: Vec<(u64, OpId)> = Vec::new();
    for order in orders {
        let mut instant_ns = 0;
        for op in order {
            instant_ns = instant_ns.max(history[op].invoked_ns);
            placed.push((instant_ns, op));
        }
    }
    placed.sort_by_key(|(instant_ns, _)| *instant_ns);
    placed.into_iter().map(|(_, op)| op).collect()
}
