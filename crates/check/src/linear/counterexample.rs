//! Why a history is not linearizable, for a person to act on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use super::Part;
use crate::history::{ClientId, OpId};
use crate::model::{Model, Transition};

/// How many operations from the end of the prefix the table shows.
const PLACED_ROWS_MAX: usize = 12;
/// How many operations of unknown outcome the table shows.
const UNKNOWN_ROWS_MAX: usize = 6;

/// How an operation stands to the longest prefix that could be put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in the prefix, at this place counted from one.
    Placed(usize),
    /// One of these would have to come next, and none of them can.
    Blocked,
    /// Its outcome is unknown, and letting it happen does not help.
    Unknown,
}

/// One operation near the place where the history breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which operation.
    pub op: OpId,
    /// Who asked.
    pub client: ClientId,
    /// When the request left, in nanoseconds.
    pub invoked_ns: u64,
    /// When the answer arrived, in nanoseconds, if one did.
    pub completed_ns: Option<u64>,
    /// How it stands to the prefix.
    pub standing: Standing,
    /// What was asked and answered; for a blocked one also what a correct store would have said.
    pub text: String,
}

/// The longest order that was found, and the operations of which none can come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The longest order of some of the operations that a correct store could have followed. It is
    /// one of possibly many, so the fault lies near its end, not always exactly there.
    pub prefix: Vec<OpId>,
    /// The operations of which one would have to be next.
    pub blocked: Vec<OpId>,
    /// The state of the model after the prefix.
    pub state: String,
    /// How many operations the history, or the part of it that broke, has.
    pub operations: usize,
    /// The operations near the break, by invocation.
    pub rows: Vec<Row>,
}

impl Counterexample {
    pub(super) fn new<M: Model>(
        model: &M,
        part: &Part<'_, M>,
        prefix: Vec<OpId>,
        blocked: Vec<OpId>,
    ) -> Self {
        let operations: BTreeMap<OpId, _> = part.iter().copied().collect();
        let mut state = Rc::new(model.initial());
        for op in &prefix {
            let operation = operations[op];
            if let Transition::To(next) = model.step(&state, &operation.input, operation.output()) {
                state = Rc::new(next);
            }
        }
        let places: BTreeMap<OpId, usize> =
            prefix.iter().enumerate().map(|(index, op)| (*op, index + 1)).collect();
        let unknown = part.iter().rev().filter(|(op, operation)| {
            operation.output().is_none()
                && !places.contains_key(op)
                && !model.is_read(&operation.input, None)
        });
        let mut shown: BTreeSet<OpId> =
            prefix.iter().rev().take(PLACED_ROWS_MAX).copied().collect();
        shown.extend(&blocked);
        shown.extend(unknown.take(UNKNOWN_ROWS_MAX).map(|(op, _)| *op));
        let mut rows: Vec<Row> = shown
            .into_iter()
            .map(|op| {
                let operation = operations[&op];
                let standing = match places.get(&op) {
                    Some(place) => Standing::Placed(*place),
                    None if operation.output().is_none() => Standing::Unknown,
                    None => Standing::Blocked,
                };
                let mut text = match operation.output() {
                    Some(output) => format!("{:?} → {output:?}", operation.input),
                    None => format!("{:?} → ?", operation.input),
                };
                if standing == Standing::Blocked
                    && let Some(answer) = model.answer(&state, &operation.input)
                {
                    text.push_str(&format!("; would be {answer:?}"));
                }
                Row {
                    op,
                    client: operation.client,
                    invoked_ns: operation.invoked_ns,
                    completed_ns: operation.completed_ns(),
                    standing,
                    text,
                }
            })
            .collect();
        rows.sort_by_key(|row| row.invoked_ns);
        let state = format!("{state:?}");
        Self { prefix, blocked, state, operations: part.len(), rows }
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "not linearizable: of {} operations at most {} can be put in order; then one of the \
             {} marked ✗ has to be next, and none can be",
            self.operations,
            self.prefix.len(),
            self.blocked.len()
        )?;
        writeln!(f, "state after the {}: {}", self.prefix.len(), self.state)?;
        writeln!(
            f,
            "{:>6}  {:<8} {:<8} {:>16} {:>16}  asked → answered",
            "place", "op", "client", "invoked µs", "completed µs"
        )?;
        for row in &self.rows {
            let place = match row.standing {
                Standing::Placed(place) => place.to_string(),
                Standing::Blocked => "✗".to_string(),
                Standing::Unknown => "?".to_string(),
            };
            writeln!(
                f,
                "{place:>6}  {:<8} {:<8} {:>16} {:>16}  {}",
                row.op.to_string(),
                row.client.0,
                microseconds(row.invoked_ns),
                row.completed_ns.map_or_else(|| "never".to_string(), microseconds),
                row.text
            )?;
        }
        Ok(())
    }
}

fn microseconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000, ns % 1_000)
}
