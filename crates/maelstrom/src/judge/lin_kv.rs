//! The judge of `lin-kv`: every key is a linearizable register with compare-and-set.
//!
//! Looked for: `not-linearizable`, a key whose answers no order of its operations explains that keeps to real time. The
//! decision is `quorate_check`'s. What it can't decide within its bound is undecided.
//!
//! A compare-and-set that is answered with "there is no such key" has read the key, and found nothing.

use std::time::Duration;

use quorate_check::register::{PerKey, Register, RegisterInput, RegisterOutput};
use quorate_check::{ClientId, History, Verdict, check_within};

use crate::history::{Findings, Op, Outcome};

/// How many steps are tried before the history counts as too hard.
const STEPS_MAX: u64 = 10_000_000;

/// A request to a store: a key, and what is wanted of it.
pub type KvRequest = (u64, RegisterInput);

/// What a store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvAnswer {
    /// As a register does.
    Register(RegisterOutput),
    /// To a compare-and-set: there is no such key.
    NoSuchKey,
}

/// One request to a store.
pub type KvOp = Op<KvRequest, KvAnswer>;

/// What is wrong with the history.
pub fn judge(ops: &[KvOp]) -> Findings {
    judge_within(ops, STEPS_MAX)
}

fn judge_within(ops: &[KvOp], steps_max: u64) -> Findings {
    let mut found = Findings::default();
    let mut history = History::new();
    for op in ops {
        let (key, input) = op.request;
        let (input, output) = match op.answer() {
            Some(KvAnswer::NoSuchKey) => (RegisterInput::Read, Some(RegisterOutput::Value(None))),
            Some(KvAnswer::Register(output)) => (input, Some(*output)),
            None => (input, None),
        };
        let id = history.invoke(ClientId(op.client.0), (key, input), nanos(op.invoked));
        match (output, op.answered_at(), &op.outcome) {
            (Some(output), Some(at), _) => history.complete(id, output, nanos(at)),
            (_, _, Outcome::Refused) => history.refused(id),
            _ => history.unknown(id),
        }
    }
    match check_within(&PerKey::<u64, _>::new(Register), &history, steps_max) {
        Verdict::Linearizable { .. } => {}
        Verdict::Violation(counterexample) => {
            found.wrong("not-linearizable", format!("no order explains this:\n{counterexample}"));
        }
        Verdict::Undecided { steps } => {
            found.undecided = Some(format!(
                "whether it is linearizable was not decided in {steps} steps; a shorter run, or one at a lower rate, is \
                 easier to decide"
            ));
        }
    }
    found
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::histories::{answered, refused, unknown};

    fn write(number: u16, key: u64, value: u64, from_ms: u64, to_ms: u64) -> KvOp {
        let answer = KvAnswer::Register(RegisterOutput::Written);
        answered(number, (key, RegisterInput::Write(value)), answer, from_ms, to_ms)
    }

    fn read(number: u16, key: u64, value: Option<u64>, from_ms: u64, to_ms: u64) -> KvOp {
        let answer = KvAnswer::Register(RegisterOutput::Value(value));
        answered(number, (key, RegisterInput::Read), answer, from_ms, to_ms)
    }

    fn cas(number: u16, expected: u64, new: u64, answer: KvAnswer, from_ms: u64) -> KvOp {
        let input = RegisterInput::CompareAndSwap { expected: Some(expected), new };
        answered(number, (1, input), answer, from_ms, from_ms + 1)
    }

    #[test]
    fn concurrent_and_doubtful_operations_may_come_in_any_order() {
        let ops = [
            write(1, 1, 10, 0, 9),
            read(2, 1, None, 1, 2),
            read(2, 1, Some(10), 3, 4),
            unknown(3, (1, RegisterInput::Write(11)), 5),
            refused(3, (1, RegisterInput::Write(12)), 5),
            read(2, 1, Some(11), 50, 51),
            read(2, 2, None, 60, 61),
        ];
        assert_eq!(judge(&ops), Findings::default());
    }

    #[test]
    fn a_stale_read_and_a_refused_write_that_shows_are_found() {
        let stale = [write(1, 1, 10, 0, 1), write(1, 1, 11, 2, 3), read(2, 1, Some(10), 4, 5)];
        assert_eq!(judge(&stale).anomalies(), ["not-linearizable"]);
        let refused = [refused(1, (1, RegisterInput::Write(7)), 0), read(2, 1, Some(7), 4, 5)];
        assert_eq!(judge(&refused).anomalies(), ["not-linearizable"]);
    }

    #[test]
    fn a_compare_and_set_that_finds_no_key_is_wrong_once_there_is_one() {
        let swapped = KvAnswer::Register(RegisterOutput::Swapped(true));
        let right = [
            cas(1, 1, 2, KvAnswer::NoSuchKey, 0),
            write(1, 1, 1, 5, 6),
            cas(2, 1, 2, swapped, 10),
            read(1, 1, Some(2), 20, 21),
        ];
        assert_eq!(judge(&right), Findings::default());
        let wrong = [write(1, 1, 1, 5, 6), cas(2, 7, 2, KvAnswer::NoSuchKey, 10)];
        assert_eq!(judge(&wrong).anomalies(), ["not-linearizable"]);
        let twice = [write(1, 1, 1, 5, 6), cas(2, 1, 2, swapped, 10), cas(3, 1, 3, swapped, 20)];
        assert_eq!(judge(&twice).anomalies(), ["not-linearizable"]);
    }

    #[test]
    fn what_is_too_hard_is_undecided_and_not_wrong() {
        let ops = [write(1, 1, 10, 0, 9), write(2, 1, 11, 0, 9), read(2, 1, Some(10), 10, 11)];
        let found = judge_within(&ops, 1);
        assert!(found.wrong.is_empty() && found.undecided.is_some(), "{found:?}");
    }
}
