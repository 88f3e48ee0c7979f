//! The recorder: what each client asked, when, and what it was told.
//!
//! Times are nanoseconds on one clock that all clients share (virtual in a simulation, the
//! machine's monotonic clock in a test of real processes). A completion and an invocation at the
//! same instant count as concurrent: a clock that coarse cannot tell which came first, and a
//! checker may only rely on an order that is certain.

use std::fmt;
use std::ops::Index;

/// Who asked. One client may have several operations open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Names one operation of one [`History`]: the handle that [`History::invoke`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op {}", self.0)
    }
}

/// How an operation that may have happened ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It happened, and this is what the client was told.
    Returned {
        /// The answer.
        output: O,
        /// When the answer arrived, in nanoseconds.
        at_ns: u64,
    },
    /// Nobody knows: it may take effect at any time after its invocation, or never.
    Unknown,
}

/// One operation as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Who asked.
    pub client: ClientId,
    /// What was asked.
    pub input: I,
    /// When the request left the client, in nanoseconds.
    pub invoked_ns: u64,
    /// What became of it.
    pub outcome: Outcome<O>,
}

impl<I, O> Operation<I, O> {
    /// When the answer arrived; `None` for an operation whose outcome is unknown.
    pub fn completed_ns(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Returned { at_ns, .. } => Some(*at_ns),
            Outcome::Unknown => None,
        }
    }

    /// The answer; `None` for an operation whose outcome is unknown.
    pub fn output(&self) -> Option<&O> {
        match &self.outcome {
            Outcome::Returned { output, .. } => Some(output),
            Outcome::Unknown => None,
        }
    }

    /// Whether this operation had certainly completed before `other` was invoked.
    pub fn precedes(&self, other: &Self) -> bool {
        self.completed_ns().is_some_and(|completed| completed < other.invoked_ns)
    }
}

/// Where an operation stands in its life: open, then settled or refused, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Settled,
    Refused,
}

#[derive(Clone, Debug)]
struct Recorded<I, O> {
    operation: Operation<I, O>,
    stage: Stage,
}

/// What all clients saw, in the order in which it was recorded.
///
/// The life of an operation: [`invoke`](Self::invoke), then exactly one of
/// [`complete`](Self::complete), [`unknown`](Self::unknown) and [`refused`](Self::refused). One
/// that is still open when the history is checked counts as unknown. Ending an operation twice is
/// a bug of the test that records, and panics.
#[derive(Clone, Debug)]
pub struct History<I, O> {
    recorded: Vec<Recorded<I, O>>,
}

impl<I, O> Default for History<I, O> {
    fn default() -> Self {
        Self { recorded: Vec::new() }
    }
}

impl<I, O> History<I, O> {
    /// A history without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `client` asked for `input` at `at_ns`, *before* the request can reach the store.
    pub fn invoke(&mut self, client: ClientId, input: I, at_ns: u64) -> OpId {
        let operation = Operation { client, input, invoked_ns: at_ns, outcome: Outcome::Unknown };
        self.recorded.push(Recorded { operation, stage: Stage::Open });
        OpId(self.recorded.len() - 1)
    }

    /// Notes that `op` was answered with `output` at `at_ns`, *after* the answer has arrived.
    pub fn complete(&mut self, op: OpId, output: O, at_ns: u64) {
        let operation = self.settle(op, Stage::Settled);
        assert!(
            operation.invoked_ns <= at_ns,
            "{op} completes at {at_ns} ns, before its invocation at {} ns: \
             record all times on one monotonic clock",
            operation.invoked_ns
        );
        operation.outcome = Outcome::Returned { output, at_ns };
    }

    /// Notes that nobody will know what became of `op`.
    pub fn unknown(&mut self, op: OpId) {
        self.settle(op, Stage::Settled).outcome = Outcome::Unknown;
    }

    /// Notes that `op` certainly did not happen, and never will. When in doubt, use
    /// [`unknown`](Self::unknown).
    pub fn refused(&mut self, op: OpId) {
        self.settle(op, Stage::Refused);
    }

    /// The operations that happened or may have happened, in the order of recording.
    pub fn operations(&self) -> impl Iterator<Item = (OpId, &Operation<I, O>)> {
        self.recorded
            .iter()
            .enumerate()
            .filter(|(_, recorded)| recorded.stage != Stage::Refused)
            .map(|(index, recorded)| (OpId(index), &recorded.operation))
    }

    /// How many operations were recorded, the refused ones included.
    pub fn len(&self) -> usize {
        self.recorded.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty()
    }

    fn settle(&mut self, op: OpId, stage: Stage) -> &mut Operation<I, O> {
        let recorded = self.recorded.get_mut(op.0);
        let recorded = recorded.unwrap_or_else(|| panic!("{op} belongs to another history"));
        assert!(recorded.stage == Stage::Open, "{op} has already ended: end it exactly once");
        recorded.stage = stage;
        &mut recorded.operation
    }
}

impl<I, O> Index<OpId> for History<I, O> {
    type Output = Operation<I, O>;

    fn index(&self, op: OpId) -> &Operation<I, O> {
        &self.recorded[op.0].operation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ClientId = ClientId(1);

    #[test]
    fn a_refused_operation_is_left_out_and_an_open_one_counts_as_unknown() {
        let mut history: History<&str, ()> = History::new();
        let refused = history.invoke(CLIENT, "refused", 0);
        let open = history.invoke(CLIENT, "open", 1);
        let done = history.invoke(CLIENT, "done", 2);
        history.refused(refused);
        history.complete(done, (), 3);
        let left: Vec<OpId> = history.operations().map(|(op, _)| op).collect();
        assert_eq!(left, vec![open, done]);
        assert_eq!(history[open].outcome, Outcome::Unknown);
        assert_eq!(history[done].completed_ns(), Some(3));
    }

    #[test]
    fn a_completion_and_an_invocation_at_the_same_instant_are_concurrent() {
        let mut history: History<(), ()> = History::new();
        let first = history.invoke(CLIENT, (), 0);
        history.complete(first, (), 5);
        let same_instant = history.invoke(CLIENT, (), 5);
        let later = history.invoke(CLIENT, (), 6);
        assert!(!history[first].precedes(&history[same_instant]));
        assert!(history[first].precedes(&history[later]));
        assert!(!history[same_instant].precedes(&history[later]), "an open one precedes nothing");
    }

    #[test]
    #[should_panic(expected = "op 0 has already ended")]
    fn ending_an_operation_twice_is_a_bug_of_the_test() {
        let mut history: History<(), ()> = History::new();
        let op = history.invoke(CLIENT, (), 0);
        history.unknown(op);
        history.complete(op, (), 1);
    }

    #[test]
    #[should_panic(expected = "one monotonic clock")]
    fn a_completion_before_its_invocation_is_a_bug_of_the_test() {
        let mut history: History<(), ()> = History::new();
        let op = history.invoke(CLIENT, (), 9);
        history.complete(op, (), 8);
    }
}
