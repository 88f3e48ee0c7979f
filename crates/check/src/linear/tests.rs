//! The search against brute force, against histories known to be right, and against itself broken.

use std::cell::Cell;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::brute_force::{explains, is_linearizable};
use super::scenarios::{self, RegisterHistory};
use super::search::Rules;
use super::{Verdict, check, check_by, check_within};
use crate::history::{ClientId, History};
use crate::kv_model::tests as kv_tests;
use crate::kv_model::{Action, Contents, KvHistory, KvInput, KvModel, Span};
use crate::model::{Model, Transition};
use crate::register::{PerKey, Register, RegisterInput, RegisterOutput};

/// The same cases on every run, so that what a test reaches does not depend on luck.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn input() -> impl Strategy<Value = RegisterInput> {
    prop_oneof![
        2 => Just(RegisterInput::Read),
        2 => (0..3u64).prop_map(RegisterInput::Write),
        2 => (prop::option::weighted(0.8, 0..3u64), 0..3u64)
            .prop_map(|(expected, new)| RegisterInput::CompareAndSwap { expected, new }),
    ]
}

fn output(input: RegisterInput) -> BoxedStrategy<RegisterOutput> {
    match input {
        RegisterInput::Read => {
            prop::option::weighted(0.8, 0..3u64).prop_map(RegisterOutput::Value).boxed()
        }
        RegisterInput::Write(_) => Just(RegisterOutput::Written).boxed(),
        RegisterInput::CompareAndSwap { .. } => {
            any::<bool>().prop_map(RegisterOutput::Swapped).boxed()
        }
    }
}

/// Up to six operations, a key each, with answers out of thin air.
fn any_history(keys: u64) -> impl Strategy<Value = History<(u64, RegisterInput), RegisterOutput>> {
    let operation = input().prop_flat_map(move |input| {
        (0..keys, Just(input), output(input), 0..12u64, 0..8u64, prop::bool::weighted(0.7))
    });
    vec(operation, 0..=6).prop_map(|operations| {
        let mut history = History::new();
        for (key, input, output, from_ns, length_ns, has_answer) in operations {
            let op = history.invoke(ClientId(0), (key, input), from_ns);
            if has_answer {
                history.complete(op, output, from_ns + length_ns);
            }
        }
        history
    })
}

fn without_keys(keyed: &History<(u64, RegisterInput), RegisterOutput>) -> RegisterHistory {
    let mut history = History::new();
    for (_, operation) in keyed.operations() {
        let op = history.invoke(operation.client, operation.input.1, operation.invoked_ns);
        if let (Some(output), Some(at_ns)) = (operation.output(), operation.completed_ns()) {
            history.complete(op, *output, at_ns);
        }
    }
    history
}

/// A step of a sequential execution: by whom, what, how far its interval reaches to either side,
/// and whether the client learnt of it. Steps that nobody learnt of may not happen at all.
type Step = (RegisterInput, u64, u64, Fate);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    LostAfterwards,
    LostBefore,
}

pub(crate) fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        18 => Just(Fate::Answered),
        1 => Just(Fate::LostAfterwards),
        1 => Just(Fate::LostBefore),
    ]
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    vec((input(), 0..50u64, 0..50u64, fate()), count)
}

/// The history of clients who watch `steps` happen one after another, 10 ns apart.
pub(crate) fn widened<M: Model>(
    model: &M,
    steps: Vec<(M::Input, u64, u64, Fate)>,
) -> History<M::Input, M::Output> {
    let mut history = History::new();
    let mut state = model.initial();
    for (index, (input, before_ns, after_ns, fate)) in steps.into_iter().enumerate() {
        let instant_ns = 100 + 10 * index as u64;
        let answer = model.answer(&state, &input).expect("the model answers");
        if fate != Fate::LostBefore
            && let Transition::To(next) = model.step(&state, &input, Some(&answer))
        {
            state = next;
        }
        let op = history.invoke(ClientId(index as u64 % 10), input, instant_ns - before_ns);
        if fate == Fate::Answered {
            history.complete(op, answer, instant_ns + after_ns);
        }
    }
    history
}

#[test]
fn the_search_agrees_with_brute_force_and_both_verdicts_occur() {
    let (yes, no) = (Cell::new(0), Cell::new(0));
    let agrees = |keyed: History<(u64, RegisterInput), RegisterOutput>| {
        let history = without_keys(&keyed);
        let verdict = check(&Register, &history);
        prop_assert_eq!(verdict.is_linearizable(), is_linearizable(&Register, &history));
        match verdict {
            Verdict::Linearizable { order } => {
                prop_assert!(explains(&Register, &history, &order), "no witness: {:?}", order);
                yes.set(yes.get() + 1);
            }
            _ => no.set(no.get() + 1),
        }
        Ok(())
    };
    runner(3_000).run(&any_history(1), agrees).unwrap();
    assert!(yes.get() > 300 && no.get() > 300, "{} held, {} did not", yes.get(), no.get());
}

#[test]
fn splitting_by_key_changes_no_verdict_and_the_merged_order_is_one_of_the_whole() {
    let model: PerKey<u64, Register> = PerKey::new(Register);
    let (yes, no) = (Cell::new(0), Cell::new(0));
    let agrees = |history: History<(u64, RegisterInput), RegisterOutput>| {
        let verdict = check(&model, &history);
        prop_assert_eq!(verdict.is_linearizable(), is_linearizable(&model, &history));
        match verdict {
            Verdict::Linearizable { order } => {
                prop_assert!(explains(&model, &history, &order), "no witness: {:?}", order);
                yes.set(yes.get() + 1);
            }
            _ => no.set(no.get() + 1),
        }
        Ok(())
    };
    runner(1_000).run(&any_history(3), agrees).unwrap();
    assert!(yes.get() > 100 && no.get() > 100, "{} held, {} did not", yes.get(), no.get());
}

#[test]
fn a_sequential_execution_seen_by_overlapping_clients_is_always_accepted() {
    runner(200)
        .run(&steps(60), |steps| {
            let history = widened(&Register, steps);
            let Verdict::Linearizable { order } = check(&Register, &history) else {
                return Err(TestCaseError::fail("a correct execution was turned down"));
            };
            prop_assert!(explains(&Register, &history, &order), "no witness: {:?}", order);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_bound_on_the_steps_leaves_the_verdict_open() {
    let mut runner = runner(1);
    let history = widened(&Register, steps(60).new_tree(&mut runner).unwrap().current());
    assert!(matches!(check_within(&Register, &history, 10), Verdict::Undecided { steps: 10.. }));
}

/// Every way to break the search that a test has to notice.
fn mutants() -> Vec<(&'static str, Rules)> {
    let sound = Rules::SOUND;
    vec![
        ("ignores real time", Rules { respects_real_time: false, ..sound }),
        ("orders ties", Rules { ties_are_concurrent: false, ..sound }),
        ("remembers without the state", Rules { memory_knows_the_state: false, ..sound }),
        ("remembers without what is placed", Rules { memory_knows_the_placed: false, ..sound }),
        ("remembers without the unknown", Rules { memory_knows_the_unknown: false, ..sound }),
        ("drops what is unknown", Rules { unknown_may_happen: false, ..sound }),
        ("insists on what is unknown", Rules { unknown_may_not_happen: false, ..sound }),
        (
            "lets the unknown happen before it was asked for",
            Rules { unknown_waits_for_its_invocation: false, ..sound },
        ),
        ("forces more than reads", Rules { only_reads_are_forced: false, ..sound }),
    ]
}

#[test]
fn every_broken_search_is_caught() {
    let mut runner = runner(1);
    let strategy = any_history(1);
    let sampled: Vec<RegisterHistory> = (0..3_000)
        .map(|_| without_keys(&strategy.new_tree(&mut runner).unwrap().current()))
        .collect();
    let judged: Vec<bool> =
        sampled.iter().map(|history| is_linearizable(&Register, history)).collect();
    let mistakes = |rules: Rules| {
        let on_samples = sampled.iter().zip(&judged).filter(|(history, is_fine)| {
            check_by(&Register, history, 100_000, rules).is_linearizable() != **is_fine
        });
        let on_scenarios = scenarios::all().into_iter().filter(|(_, history, is_fine)| {
            check_by(&Register, history, 100_000, rules).is_linearizable() != *is_fine
        });
        on_samples.count() + on_scenarios.count()
    };
    assert_eq!(mistakes(Rules::SOUND), 0, "the search itself is wrong");
    for (name, rules) in mutants() {
        assert!(mistakes(rules) > 0, "nothing notices a search that {name}");
    }
}

/// What fills the gap at revision 2 is deleted unseen; but if it was the write of "b", nothing is
/// left to fill the one at revision 4.
fn the_last_of_its_kind() -> KvHistory {
    kv_tests::history(vec![
        (KvInput::put("b", "x"), 0, None),
        (KvInput::put("a", "y"), 0, None),
        (KvInput::range(Span::All), 1, Some((kv_tests::saw(1, &[]), 2))),
        (KvInput::One(Action::Delete { span: Span::All, wants_previous: false }), 3, {
            Some((kv_tests::did_delete(3, 1), 4))
        }),
        (KvInput::get("b"), 5, Some((kv_tests::saw(4, &[kv_tests::entry("b", "x", 4, 4, 1)]), 6))),
    ])
}

#[test]
fn a_memory_that_counts_on_what_is_used_up_is_caught() {
    let history = the_last_of_its_kind();
    let model = KvModel::knowing(&Contents::empty(), &history);
    assert!(check_by(&model, &history, 1_000, Rules::SOUND).is_linearizable());
    let broken = Rules { memory_counts_what_is_left: false, ..Rules::SOUND };
    assert!(check_by(&model, &history, 1_000, broken).is_violation());
}

#[test]
fn dozens_of_unknown_writes_do_not_multiply() {
    // Sixty writes nobody heard of, then reads that only two of them can explain, then one that
    // none can: the search has to rule out every mixture, and must not visit each.
    let mut history: RegisterHistory = History::new();
    for value in 100..160 {
        history.invoke(ClientId(value), RegisterInput::Write(value), 0);
    }
    let mut now_ns = 1;
    for value in [1, 2, 130, 3, 155, 4] {
        if value < 100 {
            let op = history.invoke(ClientId(0), RegisterInput::Write(value), now_ns);
            history.complete(op, RegisterOutput::Written, now_ns + 1);
        }
        let op = history.invoke(ClientId(0), RegisterInput::Read, now_ns + 2);
        history.complete(op, RegisterOutput::Value(Some(value)), now_ns + 3);
        now_ns += 4;
    }
    assert!(check_within(&Register, &history, 100_000).is_linearizable());
    let op = history.invoke(ClientId(0), RegisterInput::Read, now_ns);
    history.complete(op, RegisterOutput::Value(Some(130)), now_ns + 1);
    assert!(check_within(&Register, &history, 100_000).is_violation());
}

#[test]
fn long_histories_of_ten_clients_are_decided_and_the_time_is_printed() {
    let mut runner = runner(1);
    for count in [1_000, 10_000] {
        let history = widened(&Register, steps(count).new_tree(&mut runner).unwrap().current());
        let start = Instant::now();
        let verdict = check_within(&Register, &history, 100_000_000);
        println!("register, {count} operations: {:?}", start.elapsed());
        assert!(verdict.is_linearizable(), "{count} operations of a correct execution");
    }
}
