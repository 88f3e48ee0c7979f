//! What is found depends on nothing but the model.

use quorate_core::Mutants;
use quorate_explore::raft::{RaftBounds, RaftModel};
use quorate_explore::{Model, Options, Stop, Verdict, explore};

use crate::paxos::{self, PaxosModel};

/// All that a report says, counterexample included, in text.
fn told<M: Model>(model: &M, options: &Options) -> String {
    let report = explore(model, options, |_| true);
    let run = report.counterexample().map(ToString::to_string);
    format!("{report} {:?} {:?}", report.goals, run)
}

#[test]
fn neither_repetition_nor_the_number_of_threads_changes_anything() {
    let raft = |mutants| {
        RaftModel::new(RaftBounds { elections: 2, crashes: 1, ..RaftBounds::CALM }, mutants)
    };
    let symmetric = Options { threads: 1, ..Options::default() };
    let first = told(&raft(Mutants::only("votes_before_durable")), &symmetric);
    for threads in [1, 2, 3] {
        let options = Options { threads, ..symmetric };
        assert_eq!(told(&raft(Mutants::only("votes_before_durable")), &options), first);
    }
    for is_promise_early in [false, true] {
        let model = PaxosModel::new(is_promise_early);
        let one = told(&model, &Options { threads: 1, ..paxos::OPTIONS });
        assert_eq!(one, told(&model, &Options { threads: 2, ..paxos::OPTIONS }));
    }
}

#[test]
fn symmetry_changes_no_verdict_and_saves_most_of_the_work() {
    let two = RaftBounds { elections: 2, crashes: 1, ..RaftBounds::CALM };
    let led = RaftBounds { is_led: true, terms: 2, ..two };
    // Each with how many times fewer states there must be; where one already leads, only the other two are alike,
    // and where a promise is broken, the search ends in the middle of a level.
    let suspects = [
        (RaftBounds::CALM, Mutants::NONE, 5.5),
        (led, Mutants::NONE, 1.8),
        (two, Mutants::only("votes_before_durable"), 3.5),
        (two, Mutants::only("forgets_its_vote"), 3.5),
        (RaftBounds { proposals: 1, ..led }, Mutants::only("acknowledges_before_durable"), 1.0),
    ];
    for (bounds, mutants, factor_min) in suspects {
        let model = RaftModel::new(bounds, mutants);
        let look = |is_symmetric| {
            let options = Options { threads: 2, is_symmetric, ..Options::default() };
            explore(&model, &options, |_| true)
        };
        let (alike, apart) = (look(true), look(false));
        let factor = apart.states as f64 / alike.states as f64;
        println!("{} states for {}: {factor:.2} times fewer", alike.states, apart.states);
        assert_eq!(alike.is_exhausted(), apart.is_exhausted());
        assert_eq!(alike.goals, apart.goals);
        let steps = |report: &quorate_explore::Report<_>| {
            report.counterexample().map(|counterexample| counterexample.steps.len())
        };
        assert_eq!(steps(&alike), steps(&apart));
        assert!(factor > factor_min);
    }
}

#[test]
fn a_search_that_is_cut_short_says_so() {
    let model = PaxosModel::new(false);
    let all = explore(&model, &paxos::OPTIONS, |_| true);
    let stopped = |options: &Options, rounds: usize| {
        let mut left = rounds;
        let report = explore(&model, options, |_| {
            left = left.saturating_sub(1);
            left > 0
        });
        assert!(report.states < all.states);
        match report.verdict {
            Verdict::Bounded(stop) => stop,
            Verdict::Exhausted | Verdict::Broken(_) => panic!("{report}"),
        }
    };
    let shallow = Options { depth_max: Some(3), ..paxos::OPTIONS };
    let few = Options { states_max: Some(100), ..paxos::OPTIONS };
    assert_eq!(stopped(&shallow, usize::MAX), Stop::Depth);
    assert_eq!(stopped(&few, usize::MAX), Stop::States);
    assert_eq!(stopped(&paxos::OPTIONS, 3), Stop::Caller);
}
