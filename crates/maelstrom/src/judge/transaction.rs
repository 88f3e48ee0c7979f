//! What the judges of both kinds of transactions ask: who wrote what, and how a transaction is told of.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::history::{Op, Outcome};

/// A transaction of such steps; the answer has its reads filled in.
pub(crate) type TransactionOp<M> = Op<Vec<M>, Vec<M>>;

/// Who wrote what. Every value is written once.
pub(crate) struct Writes {
    /// The transaction, by key and value.
    pub(crate) writer: BTreeMap<(u64, u64), usize>,
    /// The last that a transaction wrote to a key: all that others may see.
    pub(crate) last: BTreeMap<(usize, u64), u64>,
}

impl Writes {
    /// Those of a history, in which `written` tells the key and the value of a step that writes.
    pub(crate) fn of<M>(
        ops: &[TransactionOp<M>],
        written: impl Fn(&M) -> Option<(u64, u64)>,
    ) -> Self {
        let mut writes = Writes { writer: BTreeMap::new(), last: BTreeMap::new() };
        for (index, op) in ops.iter().enumerate() {
            for (key, value) in op.request.iter().filter_map(&written) {
                writes.writer.insert((key, value), index);
                writes.last.insert((index, key), value);
            }
        }
        writes
    }
}

/// A transaction in words.
pub(crate) fn described<M: Display>(op: &TransactionOp<M>) -> String {
    let (micros, how) = match &op.outcome {
        Outcome::Answered { answer, .. } => (answer, ""),
        Outcome::Refused => (&op.request, ", refused"),
        Outcome::Unknown => (&op.request, ", in doubt"),
    };
    let micros: Vec<String> = micros.iter().map(ToString::to_string).collect();
    format!("({}{how}: {})", op.place(), micros.join(", "))
}
