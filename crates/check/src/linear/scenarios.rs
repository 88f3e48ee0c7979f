//! Histories small enough to judge by eye. The times are drawn so that they can be read off the
//! code: `(client, asked, from, answered, to)`.

use super::{Verdict, check};
use crate::history::{ClientId, History};
use crate::register::RegisterInput::{CompareAndSwap, Read, Write};
use crate::register::RegisterOutput::{Swapped, Value, Written};
use crate::register::{Register, RegisterInput, RegisterOutput};

pub(super) type RegisterHistory = History<RegisterInput, RegisterOutput>;
/// `None` where an answer would be: the outcome is unknown.
type Line = (u64, RegisterInput, u64, Option<(RegisterOutput, u64)>);

fn history(lines: &[Line]) -> RegisterHistory {
    let mut history = History::new();
    for (client, input, invoked_ns, answer) in lines.iter().copied() {
        let op = history.invoke(ClientId(client), input, invoked_ns);
        match answer {
            Some((output, at_ns)) => history.complete(op, output, at_ns),
            None => history.unknown(op),
        }
    }
    history
}

const fn cas(expected: u64, new: u64) -> RegisterInput {
    CompareAndSwap { expected: Some(expected), new }
}

/// Each scenario: its name, its history, and whether it is linearizable.
pub(super) fn all() -> Vec<(&'static str, RegisterHistory, bool)> {
    let w = |client, value, from, to| (client, Write(value), from, Some((Written, to)));
    let r = |client, value, from, to| (client, Read, from, Some((Value(value), to)));
    let lost = |client, value, from| (client, Write(value), from, None);
    let scenarios: Vec<(&str, Vec<Line>, bool)> = vec![
        ("nothing happened", vec![], true),
        ("a read sees the write before it", vec![w(1, 1, 0, 1), r(2, Some(1), 2, 3)], true),
        ("a stale read", vec![w(1, 1, 0, 1), w(1, 2, 2, 3), r(2, Some(1), 4, 5)], false),
        (
            "a read that overlaps the write may see the old value",
            vec![w(1, 1, 0, 1), w(1, 2, 2, 5), r(2, Some(1), 4, 6)],
            true,
        ),
        (
            "a read at the instant of the completion may see the old value",
            vec![w(1, 1, 0, 1), w(1, 2, 2, 4), r(2, Some(1), 4, 6)],
            true,
        ),
        ("a read from the future", vec![r(2, Some(1), 0, 1), w(1, 1, 2, 3)], false),
        ("a read from nowhere", vec![w(1, 1, 0, 1), r(2, Some(9), 0, 3)], false),
        (
            "a new-old inversion between two readers",
            vec![w(1, 1, 0, 1), w(1, 2, 2, 9), r(2, Some(2), 3, 4), r(3, Some(1), 5, 6)],
            false,
        ),
        (
            "two readers in the other order",
            vec![w(1, 1, 0, 1), w(1, 2, 2, 9), r(2, Some(1), 3, 4), r(3, Some(2), 5, 6)],
            true,
        ),
        (
            "two writers seen in different orders",
            vec![
                w(1, 1, 0, 9),
                w(2, 2, 0, 9),
                r(3, Some(1), 1, 2),
                r(4, Some(2), 3, 4),
                r(3, Some(1), 5, 6),
            ],
            false,
        ),
        (
            "a lost update: both swaps succeed from the same value",
            vec![
                w(1, 1, 0, 1),
                (1, cas(1, 2), 2, Some((Swapped(true), 5))),
                (2, cas(1, 3), 2, Some((Swapped(true), 5))),
            ],
            false,
        ),
        (
            "one of two swaps fails",
            vec![
                w(1, 1, 0, 1),
                (1, cas(1, 2), 2, Some((Swapped(true), 5))),
                (2, cas(1, 3), 2, Some((Swapped(false), 5))),
                r(3, Some(2), 6, 7),
            ],
            true,
        ),
        (
            "one swap applied twice",
            vec![
                w(1, 1, 0, 1),
                (1, cas(1, 2), 2, Some((Swapped(true), 3))),
                w(2, 1, 4, 5),
                r(3, Some(2), 6, 7),
            ],
            false,
        ),
        (
            "a swap that fails though nothing stood in its way",
            vec![w(1, 1, 0, 1), (1, cas(1, 2), 2, Some((Swapped(false), 3)))],
            false,
        ),
        (
            "an unknown write that shows up late",
            vec![w(1, 1, 0, 1), lost(2, 2, 2), r(1, Some(1), 3, 4), r(1, Some(2), 90, 91)],
            true,
        ),
        (
            "an unknown write that never shows",
            vec![w(1, 1, 0, 1), lost(2, 2, 2), r(1, Some(1), 3, 4), r(1, Some(1), 90, 91)],
            true,
        ),
        (
            "an unknown write that shows and is gone again",
            vec![w(1, 1, 0, 1), lost(2, 2, 2), r(1, Some(2), 3, 4), r(1, Some(1), 5, 6)],
            false,
        ),
        (
            "an unknown write that shows before it was invoked",
            vec![r(1, Some(2), 0, 1), lost(2, 2, 2)],
            false,
        ),
        (
            "one unknown write cannot happen twice",
            vec![lost(2, 2, 0), r(1, Some(2), 1, 2), w(1, 1, 3, 4), r(1, Some(2), 5, 6)],
            false,
        ),
        (
            "two unknown writes of one value can show twice",
            vec![
                lost(2, 2, 0),
                lost(3, 2, 0),
                r(1, Some(2), 1, 2),
                w(1, 1, 3, 4),
                r(1, Some(2), 5, 6),
            ],
            true,
        ),
        (
            "two unknown swaps in a row explain one read",
            vec![
                w(1, 1, 0, 1),
                (2, cas(2, 3), 2, None),
                (3, cas(1, 2), 2, None),
                r(1, Some(3), 4, 5),
            ],
            true,
        ),
        (
            "which of two unknown writes came first shows only later",
            vec![
                lost(2, 2, 0),
                (3, cas(1, 2), 0, None),
                w(1, 1, 0, 1),
                r(1, Some(2), 2, 3),
                w(1, 3, 4, 5),
                r(1, Some(2), 6, 7),
            ],
            true,
        ),
        ("an acknowledged write that was lost", vec![w(1, 1, 0, 1), r(2, None, 2, 3)], false),
    ];
    let recorded = scenarios.into_iter();
    recorded.map(|(name, lines, is_fine)| (name, history(&lines), is_fine)).collect()
}

#[test]
fn every_scenario_gets_the_verdict_that_a_person_would_give() {
    for (name, history, is_fine) in all() {
        let verdict = check(&Register, &history);
        assert_eq!(verdict.is_linearizable(), is_fine, "{name}: {verdict:?}");
        assert_eq!(verdict.is_violation(), !is_fine, "{name}: {verdict:?}");
    }
}

#[test]
fn a_counterexample_shows_what_cannot_be_next_and_what_a_correct_store_would_have_said() {
    let lines = [
        (1, Write(1), 0, Some((Written, 1_000))),
        (1, Write(2), 2_000, Some((Written, 3_000))),
        (3, Write(7), 2_500, None),
        (2, Read, 4_000, Some((Value(Some(1)), 5_500))),
    ];
    let Verdict::Violation(counterexample) = check(&Register, &history(&lines)) else {
        panic!("a stale read was accepted");
    };
    let expected = "\
not linearizable: of 4 operations at most 2 can be put in order; then one of the 1 marked ✗ has \
to be next, and none can be
state after the 2: Some(2)
 place  op       client         invoked µs     completed µs  asked → answered
     1  op 0     1                   0.000            1.000  Write(1) → Written
     2  op 1     1                   2.000            3.000  Write(2) → Written
     ?  op 2     3                   2.500            never  Write(7) → ?
     ✗  op 3     2                   4.000            5.500  Read → Value(Some(1)); would be \
Value(Some(2))
";
    assert_eq!(counterexample.to_string(), expected);
}
