//! The key-value model: what it accepts, what it turns down, and how long it takes.

use std::cell::Cell;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::history::{ClientId, Outcome};
use crate::linear::brute_force::is_linearizable;
use crate::linear::tests::{Fate, fate, runner, widened};

/// A key as the tests write it: key, value, create revision, mod revision, version.
pub(crate) fn entry(key: &str, value: &str, create: u64, modified: u64, version: u64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: Revision(create),
        mod_revision: Revision(modified),
        version,
    }
}

pub(crate) fn did_put(revision: u64) -> KvOutput {
    let reply = KvReply::One(Reply::Put { previous: None });
    KvOutput { revision: Revision(revision), reply }
}

pub(crate) fn saw(revision: u64, entries: &[KeyValue]) -> KvOutput {
    let reply = KvReply::One(Reply::Range { entries: entries.to_vec() });
    KvOutput { revision: Revision(revision), reply }
}

pub(crate) fn did_delete(revision: u64, deleted: u64) -> KvOutput {
    let reply = KvReply::One(Reply::Delete { deleted, previous: Vec::new() });
    KvOutput { revision: Revision(revision), reply }
}

/// What was asked and from when on, and the answer and its time; `None` where nobody learnt it.
pub(crate) type Line = (KvInput, u64, Option<(KvOutput, u64)>);

/// The history of these operations, each by a client of its own.
pub(crate) fn history(lines: Vec<Line>) -> KvHistory {
    let mut history = History::new();
    for (index, (input, from_ns, answer)) in lines.into_iter().enumerate() {
        let op = history.invoke(ClientId(index as u64), input, from_ns);
        if let Some((output, at_ns)) = answer {
            history.complete(op, output, at_ns);
        }
    }
    history
}

fn is_fine(history: &KvHistory) -> bool {
    let verdict = check(&Contents::empty(), history, 1_000_000);
    let judged = is_linearizable(&KvModel::new(&Contents::empty()), history);
    assert_eq!(verdict.is_linearizable(), judged, "brute force says {judged}: {verdict:?}");
    judged
}

#[test]
fn a_read_sees_the_write_before_it_with_its_revisions() {
    let first = (KvInput::put("a", "1"), 0, Some((did_put(2), 1)));
    let second = (KvInput::put("a", "2"), 2, Some((did_put(3), 3)));
    let read = |entry| (KvInput::get("a"), 4, Some((saw(3, &[entry]), 5)));
    let with = |entry| history(vec![first.clone(), second.clone(), read(entry)]);
    assert!(is_fine(&with(entry("a", "2", 2, 3, 2))));
    assert!(!is_fine(&with(entry("a", "1", 2, 2, 1))), "a stale value under a new revision");
    assert!(!is_fine(&with(entry("a", "2", 3, 3, 1))), "a key made twice");
}

#[test]
fn a_stale_read_with_an_honest_revision_is_turned_down_for_its_time() {
    assert!(!is_fine(&history(vec![
        (KvInput::put("a", "1"), 0, Some((did_put(2), 1))),
        (KvInput::put("a", "2"), 2, Some((did_put(3), 3))),
        (KvInput::get("a"), 4, Some((saw(2, &[entry("a", "1", 2, 2, 1)]), 5))),
    ])));
}

#[test]
fn an_acknowledged_write_that_was_lost_leaves_its_revision_to_another() {
    assert!(!is_fine(&history(vec![
        (KvInput::put("a", "1"), 0, Some((did_put(2), 1))),
        (KvInput::put("b", "2"), 2, Some((did_put(2), 3))),
    ])));
}

#[test]
fn an_unknown_write_explains_a_gap_in_the_revisions_and_nothing_else_does() {
    let unknown = (KvInput::put("a", "lost"), 0, None);
    let put = (KvInput::put("b", "1"), 2, Some((did_put(3), 3)));
    assert!(is_fine(&history(vec![unknown.clone(), put.clone()])));
    assert!(!is_fine(&history(vec![put.clone()])));
    let late = (KvInput::put("a", "late"), 4, None);
    assert!(!is_fine(&history(vec![late, put])));
}

#[test]
fn a_delete_of_nothing_takes_no_revision() {
    assert!(is_fine(&history(vec![
        (KvInput::delete("a"), 0, Some((did_delete(1, 0), 1))),
        (KvInput::put("a", "1"), 2, Some((did_put(2), 3))),
        (KvInput::delete("a"), 4, Some((did_delete(3, 1), 5))),
        (KvInput::range(Span::All), 6, Some((saw(3, &[]), 7))),
    ])));
}

/// The put of `value` if the key was last put at `modified`.
fn swap(modified: u64, value: &str) -> KvInput {
    let target = Target::ModRevision(Revision(modified));
    let put = Action::Put { key: "a".into(), value: value.into(), wants_previous: false };
    KvInput::Txn {
        compares: vec![Compare { key: "a".into(), relation: Relation::Equal, target }],
        success: vec![put],
        failure: vec![Action::Range { span: Span::One("a".into()) }],
    }
}

fn swapped(revision: u64) -> KvOutput {
    let reply = KvReply::Txn { succeeded: true, replies: vec![Reply::Put { previous: None }] };
    KvOutput { revision: Revision(revision), reply }
}

#[test]
fn of_two_transactions_that_expect_one_revision_only_one_succeeds() {
    let first = (swap(0, "1"), 0, Some((swapped(2), 9)));
    let both = history(vec![first.clone(), (swap(0, "2"), 0, Some((swapped(3), 9)))]);
    assert!(!is_fine(&both), "a lost update");
    let replies = vec![Reply::Range { entries: vec![entry("a", "1", 2, 2, 1)] }];
    let reply = KvReply::Txn { succeeded: false, replies };
    let failed = KvOutput { revision: Revision(2), reply };
    assert!(is_fine(&history(vec![first, (swap(0, "2"), 0, Some((failed, 9)))])));
}

#[test]
fn a_transaction_sees_its_own_writes_and_gives_them_one_revision() {
    let mut model = KvModel::new(&Contents::empty());
    let put = |key: &str| Action::Put { key: key.into(), value: "v".into(), wants_previous: true };
    let input = KvInput::Txn {
        compares: Vec::new(),
        success: vec![put("a"), put("b"), Action::Range { span: Span::All }],
        failure: Vec::new(),
    };
    let (next, output) = model.start.apply(&input);
    model.start = next.expect("it wrote");
    assert_eq!(output.revision, Revision(2));
    let both = vec![entry("a", "v", 2, 2, 1), entry("b", "v", 2, 2, 1)];
    assert_eq!(output.replies()[2], Reply::Range { entries: both });
    let (_, again) = model.start.apply(&KvInput::One(put("a")));
    let previous = Some(entry("a", "v", 2, 2, 1));
    assert_eq!(again.reply, KvReply::One(Reply::Put { previous }));
}

#[test]
fn no_comparison_with_the_value_of_a_missing_key_holds() {
    let state = KvState::holding(&Contents::empty());
    let compare = |relation, target| Compare { key: "a".into(), relation, target };
    assert!(!state.holds(&compare(Relation::NotEqual, Target::Value("x".into()))));
    assert!(!state.holds(&compare(Relation::Equal, Target::Value(Vec::new()))));
    assert!(state.holds(&compare(Relation::Equal, Target::Version(0))));
    assert!(state.holds(&compare(Relation::Less, Target::ModRevision(Revision(1)))));
}

fn span(keys: u8) -> impl Strategy<Value = Span> {
    let key = move || (0..keys).prop_map(|key| vec![b'a' + key]);
    prop_oneof![
        6 => key().prop_map(Span::One),
        1 => Just(Span::All),
        1 => key().prop_map(Span::From),
        1 => (key(), key()).prop_map(|(from, to)| Span::Between(from, to)),
    ]
}

fn action(keys: u8) -> impl Strategy<Value = Action> {
    let key = (0..keys).prop_map(|key| vec![b'a' + key]);
    let put = (key, 0..100u64, any::<bool>()).prop_map(|(key, value, wants_previous)| {
        Action::Put { key, value: value.to_string().into_bytes(), wants_previous }
    });
    let delete = (span(keys), any::<bool>())
        .prop_map(|(span, wants_previous)| Action::Delete { span, wants_previous });
    prop_oneof![5 => put, 4 => span(keys).prop_map(|span| Action::Range { span }), 1 => delete]
}

fn input(keys: u8) -> impl Strategy<Value = KvInput> {
    let relation = prop_oneof![
        2 => Just(Relation::Less),
        2 => Just(Relation::Equal),
        1 => Just(Relation::NotEqual),
        1 => Just(Relation::Greater),
    ];
    let target = prop_oneof![
        2 => (0..12u64).prop_map(|revision| Target::ModRevision(Revision(revision))),
        1 => (0..12u64).prop_map(|revision| Target::CreateRevision(Revision(revision))),
        1 => (0..3u64).prop_map(Target::Version),
        2 => (0..100u64).prop_map(|value| Target::Value(value.to_string().into_bytes())),
    ];
    let compare = (0..keys, relation, target).prop_map(|(key, relation, target)| Compare {
        key: vec![b'a' + key],
        relation,
        target,
    });
    let actions = || vec(action(keys), 0..3);
    let txn = (vec(compare, 0..2), actions(), actions())
        .prop_map(|(compares, success, failure)| KvInput::Txn { compares, success, failure });
    prop_oneof![5 => action(keys).prop_map(KvInput::One), 1 => txn]
}

pub(crate) fn steps(
    keys: u8,
    count: usize,
) -> impl Strategy<Value = Vec<(KvInput, u64, u64, Fate)>> {
    vec((input(keys), 0..50u64, 0..50u64, fate()), count)
}

/// `history` with the answer to its `index`th operation (counted round) given to the `from`th too.
fn with_a_wrong_answer(original: &KvHistory, index: usize, from: usize, shift: u64) -> KvHistory {
    let outputs: Vec<KvOutput> =
        original.operations().filter_map(|(_, operation)| operation.output().cloned()).collect();
    let mut history = History::new();
    let mut answered = 0;
    for (_, operation) in original.operations() {
        let op = history.invoke(operation.client, operation.input.clone(), operation.invoked_ns);
        if let Outcome::Returned { output, at_ns } = &operation.outcome {
            let mut output = output.clone();
            if answered == index % outputs.len() {
                output.reply = outputs[from % outputs.len()].reply.clone();
                output.revision.0 = (output.revision.0 + shift).saturating_sub(1);
            }
            answered += 1;
            history.complete(op, output, *at_ns);
        }
    }
    history
}

#[test]
fn the_search_with_all_its_evidence_agrees_with_brute_force_about_wrong_answers() {
    let (yes, no) = (Cell::new(0), Cell::new(0));
    let fates = prop_oneof![3 => Just(Fate::Answered), 1 => Just(Fate::LostAfterwards), 1 => Just(Fate::LostBefore)];
    let small = vec((input(2), 0..50u64, 0..50u64, fates), 6);
    let strategy = (small, 0..6usize, 0..6usize, 0..3u64);
    runner(1_500)
        .run(&strategy, |(steps, index, from, shift)| {
            let model = KvModel::new(&Contents::empty());
            let right = widened(&model, steps);
            let history = with_a_wrong_answer(&right, index, from, shift);
            prop_assert!(check(&Contents::empty(), &right, u64::MAX).is_linearizable());
            let judged = is_linearizable(&model, &history);
            let verdict = check(&Contents::empty(), &history, u64::MAX);
            prop_assert_eq!(verdict.is_linearizable(), judged, "{:?}", verdict);
            let count = if judged { &yes } else { &no };
            count.set(count.get() + 1);
            Ok(())
        })
        .unwrap();
    assert!(yes.get() > 50 && no.get() > 50, "{} held, {} did not", yes.get(), no.get());
}

#[test]
fn a_sequential_execution_seen_by_overlapping_clients_is_always_accepted() {
    runner(100)
        .run(&steps(4, 100), |steps| {
            let history = widened(&KvModel::new(&Contents::empty()), steps);
            let verdict = check(&Contents::empty(), &history, 1_000_000);
            prop_assert!(verdict.is_linearizable(), "{:?}", verdict);
            Ok(())
        })
        .unwrap();
}

#[test]
fn long_histories_with_hundreds_of_unknown_writes_are_decided_and_the_time_is_printed() {
    let mut runner = runner(1);
    for count in [1_000, 10_000] {
        let steps = steps(8, count).new_tree(&mut runner).unwrap().current();
        let history = widened(&KvModel::new(&Contents::empty()), steps);
        let start = Instant::now();
        let verdict = check(&Contents::empty(), &history, 20_000_000);
        println!("key-value store, {count} operations: {:?}", start.elapsed());
        assert!(verdict.is_linearizable(), "{count} operations of a correct execution");
    }
}

#[test]
fn writes_that_no_answer_can_tell_apart_do_not_multiply() {
    // Forty writes of unknown outcome, each of a value of its own, and a dozen revisions that some
    // of them must have: which of them, nobody can tell, and the search must not ask.
    let keys = ["a", "b", "c", "d"];
    let lost = (0..40)
        .map(|index| (KvInput::put(keys[index % 4], format!("lost {index}")), index as u64, None));
    let delete = |revision: u64, at_ns, deleted| {
        let all = Action::Delete { span: Span::All, wants_previous: false };
        (KvInput::One(all), at_ns, Some((did_delete(revision, deleted), at_ns + 1)))
    };
    let deletes = [delete(8, 50, 4), delete(15, 52, 3)];
    let end = |at_ns| (KvInput::range(Span::All), at_ns, Some((saw(15, &[]), at_ns + 1)));
    let right = history(lost.clone().chain(deletes.clone()).chain([end(54)]).collect());
    assert!(check(&Contents::empty(), &right, 20_000).is_linearizable());
    // The same, and a delete that finds a fifth key.
    let wrong = history(lost.chain(deletes).chain([delete(22, 54, 5)]).collect());
    assert!(check(&Contents::empty(), &wrong, 20_000).is_violation());
}

/// States that some of these operations lead to, in some order.
fn states(operations: &KvHistory, orders: &[Vec<usize>]) -> Vec<KvState> {
    let inputs: Vec<&KvInput> = operations.operations().map(|(_, one)| &one.input).collect();
    let mut states = Vec::new();
    for order in orders {
        let mut state = KvState::holding(&Contents::empty());
        for index in order {
            state = state.apply(inputs[index % inputs.len()]).0.unwrap_or(state);
            states.push(state.clone());
        }
    }
    states
}

#[test]
fn states_of_one_essence_allow_the_same_and_lead_to_states_of_one_essence() {
    let fates = prop_oneof![1 => Just(Fate::Answered), 3 => Just(Fate::LostAfterwards)];
    let few = vec((input(2), 0..50u64, 0..50u64, fates), 12);
    let orders = vec(vec(0..12usize, 1..8), 150);
    let compared = Cell::new(0);
    runner(400)
        .run(&(few, orders), |(steps, orders)| {
            let plain = KvModel::new(&Contents::empty());
            let history = widened(&plain, steps);
            let unseen = Unseen::of(&Contents::empty(), &history);
            let mut alike: Vec<(KvState, KvState)> = Vec::new();
            for state in states(&history, &orders) {
                let essence = unseen.essence(&state);
                let Some((_, known)) = alike.iter().find(|(one, _)| *one == essence) else {
                    alike.push((essence, state));
                    continue;
                };
                if *known == state {
                    continue;
                }
                compared.set(compared.get() + 1);
                for (_, operation) in history.operations() {
                    let after = [known, &state].map(|from| {
                        match plain.step(from, &operation.input, operation.output()) {
                            Transition::Impossible => None,
                            Transition::Unchanged => Some(unseen.essence(from)),
                            Transition::To(next) => Some(unseen.essence(&next)),
                        }
                    });
                    prop_assert_eq!(&after[0], &after[1], "{:?} from {:?}", operation, known);
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(compared.get() > 1_000, "only {} pairs of states were compared", compared.get());
}

#[test]
fn a_transaction_of_unknown_outcome_may_put_one_key_twice() {
    let put =
        |value: &str| Action::Put { key: "a".into(), value: value.into(), wants_previous: false };
    let twice = |first: &str| {
        let success = vec![put(first), put("last")];
        let txn = KvInput::Txn { compares: Vec::new(), success, failure: Vec::new() };
        (txn, 2, None)
    };
    let seen = |version| {
        let end = (KvInput::get("a"), 6, Some((saw(5, &[entry("a", "2", 2, 5, version)]), 7)));
        is_fine(&history(vec![
            (KvInput::put("a", "1"), 0, Some((did_put(2), 1))),
            twice("one"),
            twice("other"),
            (KvInput::put("a", "2"), 4, Some((did_put(5), 5))),
            end,
        ]))
    };
    assert!(seen(6) && !seen(5) && !seen(7));
}
