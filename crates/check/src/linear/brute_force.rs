//! The definition of linearizability, taken at its word: try every order of every subset. It
//! shares nothing with the search but the model, and is good for seven operations or so.

use crate::history::{History, OpId};
use crate::model::{Model, Transition};

/// Whether some order of all completed operations and some of the unknown ones respects real time
/// and is what the model would answer.
pub(crate) fn is_linearizable<M: Model>(model: &M, history: &History<M::Input, M::Output>) -> bool {
    let ops: Vec<OpId> = history.operations().map(|(op, _)| op).collect();
    extend(model, history, &ops, &mut Vec::new())
}

fn extend<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    ops: &[OpId],
    order: &mut Vec<OpId>,
) -> bool {
    if explains(model, history, order) {
        return true;
    }
    ops.iter().any(|op| {
        if order.contains(op) {
            return false;
        }
        order.push(*op);
        let found = extend(model, history, ops, order);
        order.pop();
        found
    })
}

/// Whether `order` shows that `history` is linearizable.
pub(crate) fn explains<M: Model>(
    model: &M,
    history: &History<M::Input, M::Output>,
    order: &[OpId],
) -> bool {
    let has_all = history
        .operations()
        .all(|(op, operation)| operation.output().is_none() || order.contains(&op));
    let respects_real_time = order.iter().enumerate().all(|(place, op)| {
        order[place + 1..].iter().all(|later| !history[*later].precedes(&history[*op]))
    });
    if !has_all || !respects_real_time {
        return false;
    }
    let mut state = model.initial();
    for op in order {
        match model.step(&state, &history[*op].input, history[*op].output()) {
            Transition::Impossible => return false,
            Transition::Unchanged => {}
            Transition::To(next) => state = next,
        }
    }
    true
}
