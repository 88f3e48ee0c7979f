//! Each rule of the audit broken once, and correct executions that break none.

use std::cell::Cell;
use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::history::Outcome;
use crate::kv_model::tests::{did_delete, did_put, entry, history, saw, steps};
use crate::kv_model::{KvModel, Reply, check};
use crate::linear::tests::{Fate, runner, widened};

fn rules(history: &KvHistory, end: Option<&Contents>) -> Vec<Rule> {
    audit(&Contents::empty(), history, end).into_iter().map(|finding| finding.rule).collect()
}

fn contents(revision: u64, entries: &[KeyValue]) -> Contents {
    Contents { revision: Revision(revision), entries: entries.to_vec() }
}

#[test]
fn two_writes_of_one_revision_are_named() {
    let history = history(vec![
        (KvInput::put("a", "1"), 0, Some((did_put(2), 5))),
        (KvInput::put("b", "2"), 1, Some((did_put(2), 6))),
    ]);
    let findings = audit(&Contents::empty(), &history, None);
    assert_eq!(
        findings[0].to_string(),
        "op 0 (put \"a\"=\"1\" by client 0, 0 to 5 ns) and op 1 (put \"b\"=\"2\" by client 1, 1 to \
         6 ns) were both acknowledged as revision 2"
    );
    assert_eq!(findings.len(), 1);
}

#[test]
fn a_read_or_a_write_whose_revision_goes_back_in_real_time_is_named() {
    let put = |from, revision, to| (KvInput::put("a", "1"), from, Some((did_put(revision), to)));
    let read = |from, revision, to| (KvInput::get("b"), from, Some((saw(revision, &[]), to)));
    let late = |line| history(vec![put(0, 2, 1), put(2, 3, 3), line]);
    assert_eq!(rules(&late(read(4, 2, 5)), None), [Rule::RevisionsNeverGoBack]);
    assert_eq!(rules(&late(read(3, 2, 5)), None), [], "it overlaps by an instant");
    let write = history(vec![read(0, 2, 1), put(2, 2, 3)]);
    assert_eq!(rules(&write, None), [Rule::RevisionsNeverGoBack], "a read had seen its revision");
}

#[test]
fn an_acknowledged_put_that_is_gone_in_the_end_is_named() {
    let history = history(vec![
        (KvInput::put("a", "1"), 0, Some((did_put(2), 1))),
        (KvInput::put("a", "2"), 2, Some((did_put(3), 3))),
    ]);
    assert_eq!(rules(&history, Some(&contents(3, &[entry("a", "2", 2, 3, 2)]))), []);
    let rolled_back = contents(3, &[entry("a", "1", 2, 2, 1)]);
    assert_eq!(rules(&history, Some(&rolled_back)), [Rule::AcknowledgedChangesStay]);
    assert_eq!(rules(&history, Some(&contents(3, &[]))), [Rule::AcknowledgedChangesStay]);
    let truncated = contents(2, &[entry("a", "1", 2, 2, 1)]);
    assert_eq!(rules(&history, Some(&truncated)), [Rule::RevisionsNeverGoBack]);
    let other = contents(3, &[entry("a", "x", 2, 3, 2)]);
    assert_eq!(rules(&history, Some(&other)), [Rule::SightingsAgree]);
}

#[test]
fn a_missing_key_is_forgiven_only_if_an_unknown_delete_found_a_free_revision() {
    let put = (KvInput::put("a", "1"), 0, Some((did_put(2), 1)));
    let unknown = (KvInput::delete("a"), 2, None);
    let history = history(vec![put, unknown]);
    assert_eq!(rules(&history, Some(&contents(3, &[]))), []);
    assert_eq!(rules(&history, Some(&contents(2, &[]))), [Rule::AcknowledgedChangesStay]);
}

#[test]
fn a_deleted_key_that_is_still_shown_is_named() {
    let read = |revision| saw(revision, &[entry("a", "1", 2, 2, 1)]);
    let with = |span| {
        history(vec![
            (KvInput::put("a", "1"), 0, Some((did_put(2), 1))),
            (
                KvInput::One(crate::kv_model::Action::Delete { span, wants_previous: false }),
                2,
                Some((did_delete(3, 1), 3)),
            ),
            (KvInput::get("a"), 4, Some((read(3), 5))),
        ])
    };
    assert_eq!(rules(&with(Span::One("a".into())), None), [Rule::AcknowledgedChangesStay]);
    assert_eq!(rules(&with(Span::All), None), [Rule::AcknowledgedChangesStay]);
}

#[test]
fn what_was_seen_has_to_come_from_somewhere_in_time() {
    let seen = |value| saw(2, &[entry("a", value, 2, 2, 1)]);
    let read = |value, to| (KvInput::get("a"), 0, Some((seen(value), to)));
    let unknown = (KvInput::put("a", "1"), 3, None);
    assert_eq!(rules(&history(vec![unknown.clone(), read("1", 4)]), None), []);
    let too_soon = history(vec![unknown.clone(), read("1", 2)]);
    assert_eq!(rules(&too_soon, None), [Rule::NothingComesFromNowhere]);
    let other_value = history(vec![unknown, read("9", 4)]);
    assert_eq!(rules(&other_value, None), [Rule::NothingComesFromNowhere]);
    let future = history(vec![read("1", 2), (KvInput::put("a", "1"), 3, Some((did_put(2), 4)))]);
    assert!(rules(&future, None).contains(&Rule::NothingComesFromTheFuture));
}

#[test]
fn a_write_that_was_done_twice_is_counted() {
    let history = history(vec![(KvInput::put("a", "1"), 0, Some((did_put(2), 1)))]);
    let twice = contents(3, &[entry("a", "1", 2, 3, 2)]);
    let broken = rules(&history, Some(&twice));
    assert!(broken.contains(&Rule::WritesHappenOnce), "{broken:?}");
}

#[test]
fn two_who_see_one_revision_of_a_key_have_to_agree_and_make_sense() {
    let read = |entry: KeyValue| (KvInput::get("a"), 0, Some((saw(3, &[entry]), 9)));
    let unknown = || (KvInput::put("a", "1"), 0, None);
    let with = |one, other| history(vec![unknown(), unknown(), read(one), read(other)]);
    let (right, wrong) = (entry("a", "1", 2, 3, 2), entry("a", "1", 2, 3, 3));
    assert_eq!(rules(&with(right.clone(), right.clone()), None), []);
    assert_eq!(rules(&with(right.clone(), wrong), None), [Rule::SightingsAgree]);
    let senseless = entry("a", "1", 3, 2, 1);
    assert_eq!(rules(&with(right, senseless), None), [Rule::EntriesMakeSense]);
}

/// What a store holds after `history`, by a last range over all keys that `widened` answers.
fn with_a_last_look(mut steps: Vec<(KvInput, u64, u64, Fate)>) -> (KvHistory, Contents) {
    steps.push((KvInput::range(Span::All), 0, 0, Fate::Answered));
    let history = widened(&KvModel::new(&Contents::empty()), steps);
    let last = history.operations().last().and_then(|(_, operation)| operation.output());
    let output = last.expect("the last look is answered");
    let [Reply::Range { entries }] = output.replies() else { panic!("a range shows entries") };
    let end = Contents { revision: output.revision, entries: entries.clone() };
    (history, end)
}

#[test]
fn a_correct_execution_breaks_no_rule() {
    runner(200)
        .run(&steps(4, 100), |steps| {
            let (history, end) = with_a_last_look(steps);
            prop_assert_eq!(audit(&Contents::empty(), &history, Some(&end)), []);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_the_audit_reports_is_never_linearizable_and_it_reports_much_of_what_is_not() {
    let (reported, wrong) = (Cell::new(0), Cell::new(0));
    let strategy = (steps(3, 30), 0..30usize, 0..30usize);
    runner(500)
        .run(&strategy, |(steps, index, from)| {
            let original = widened(&KvModel::new(&Contents::empty()), steps);
            let mut history = KvHistory::new();
            let all: Vec<_> = original.operations().map(|(_, operation)| operation).collect();
            for (place, operation) in all.iter().enumerate() {
                let op =
                    history.invoke(operation.client, operation.input.clone(), operation.invoked_ns);
                let other = if place == index { all[from] } else { operation };
                if let Outcome::Returned { at_ns, .. } = operation.outcome {
                    let output = other.output().or(operation.output());
                    history.complete(op, output.expect("it returned").clone(), at_ns);
                }
            }
            let is_fine = check(&Contents::empty(), &history, u64::MAX).is_linearizable();
            let findings = audit(&Contents::empty(), &history, None);
            prop_assert!(!is_fine || findings.is_empty(), "{:?}", findings);
            wrong.set(wrong.get() + u32::from(!is_fine));
            reported.set(reported.get() + u32::from(!findings.is_empty()));
            Ok(())
        })
        .unwrap();
    let (reported, wrong) = (reported.get(), wrong.get());
    assert!(wrong > 100 && reported * 2 > wrong, "{reported} of {wrong} were reported");
}

#[test]
fn a_hundred_thousand_operations_are_audited_and_the_time_is_printed() {
    let mut runner = runner(1);
    let steps = steps(8, 100_000).new_tree(&mut runner).unwrap().current();
    let (history, end) = with_a_last_look(steps);
    let start = Instant::now();
    let findings = audit(&Contents::empty(), &history, Some(&end));
    assert!(findings.is_empty(), "{}", findings[0]);
    println!("audit, 100000 operations: {:?}", start.elapsed());
}
