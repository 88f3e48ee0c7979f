//! The judges: each looks at a history of one kind and says what is wrong with it. Pure: no I/O, no clock, no chance.
//!
//! | judge | of the workloads |
//! |---|---|
//! | [`echo`] | `echo` |
//! | [`unique_ids`] | `unique-ids` |
//! | [`set`] | `broadcast`, `g-set` |
//! | [`counter`] | `g-counter`, `pn-counter` |
//! | [`lin_kv`] | `lin-kv` |
//! | [`kafka`] | `kafka` |
//! | [`list_append`] | `txn-list-append` |
//! | [`rw_register`] | `txn-rw-register` |
//!
//! [`dependencies`] is the graph that the last two look for cycles in.

pub mod counter;
pub mod dependencies;
pub mod echo;
pub mod kafka;
pub mod lin_kv;
pub mod list_append;
pub mod rw_register;
pub mod set;
pub(crate) mod transaction;
pub mod unique_ids;

use crate::address::NodeIndex;
use crate::history::{Findings, Op};

/// The last final read that each node has answered; a node without one is noted as missing.
fn final_reads<'h, Q, A>(
    ops: &'h [Op<Q, A>],
    nodes: u16,
    found: &mut Findings,
) -> Vec<(NodeIndex, &'h Op<Q, A>)> {
    let mut reads = Vec::new();
    for node in NodeIndex::all(nodes) {
        let mut of_node = ops.iter().filter(|op| op.node == node && op.is_final);
        match of_node.rfind(|op| op.answer().is_some()) {
            Some(read) => reads.push((node, read)),
            None => found.missing("no-final-read", format!("{node} has answered no final read")),
        }
    }
    reads
}

#[cfg(test)]
pub(crate) mod histories {
    //! Histories by hand, for the tests of the judges.

    use std::time::Duration;

    use crate::address::{ClientNumber, NodeIndex};
    use crate::history::{Op, Outcome};

    /// An operation from `from_ms` to `to_ms` of the client of that number, at the node of the same number.
    pub(crate) fn answered<Q, A>(
        number: u16,
        request: Q,
        answer: A,
        from_ms: u64,
        to_ms: u64,
    ) -> Op<Q, A> {
        let at = Duration::from_millis(to_ms);
        Op { outcome: Outcome::Answered { answer, at }, ..unknown(number, request, from_ms) }
    }

    /// One that was refused.
    pub(crate) fn refused<Q, A>(number: u16, request: Q, from_ms: u64) -> Op<Q, A> {
        Op { outcome: Outcome::Refused, ..unknown(number, request, from_ms) }
    }

    /// One that nobody answered.
    pub(crate) fn unknown<Q, A>(number: u16, request: Q, from_ms: u64) -> Op<Q, A> {
        Op {
            client: ClientNumber(u64::from(number)),
            node: NodeIndex(number - 1),
            request,
            invoked: Duration::from_millis(from_ms),
            is_final: false,
            outcome: Outcome::Unknown,
        }
    }

    /// The same, at the end.
    pub(crate) fn at_the_end<Q, A>(op: Op<Q, A>) -> Op<Q, A> {
        Op { is_final: true, ..op }
    }
}
