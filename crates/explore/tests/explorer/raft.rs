//! Raft of three members, explored to the end within small bounds; and mutants of it, each found by a shortest run.

use quorate_core::Mutants;
use quorate_explore::raft::{RaftBounds, RaftModel};
use quorate_explore::{Options, Report, Stop, Syncs, Verdict, explore};
use quorate_protocols::consensus::raft::{MUTANTS, Raft};

const OPTIONS: Options =
    Options { threads: 2, is_symmetric: true, depth_max: None, states_max: None };

fn explored(bounds: RaftBounds, mutants: Mutants) -> Report<Raft> {
    explore(&RaftModel::new(bounds, mutants), &OPTIONS, |_| true)
}

/// Explores to the end, and demands that something was reached on the way.
fn holds(bounds: RaftBounds) {
    let report = explored(bounds, Mutants::NONE);
    println!("{bounds:?}\n{report}; {:?}", report.goals);
    assert!(report.is_exhausted(), "{}", report.counterexample().expect("it is broken"));
    assert_eq!(report.missed(), [""; 0]);
    assert!(report.collision_probability() < 1e-5);
}

#[test]
fn two_campaigns_from_the_start_elect_at_most_one_leader_a_term() {
    holds(RaftBounds { terms: 2, elections: 2, ..RaftBounds::CALM });
}

#[test]
fn a_proposal_survives_a_crash_and_a_change_of_leader() {
    let led = RaftBounds { is_led: true, terms: 2, elections: 2, ..RaftBounds::CALM };
    let bounds = RaftBounds { proposals: 1, crashes: 1, ..led };
    // All 36 levels, 7.6 million states, are for `quorate explore raft --led --proposals 1 --crashes 1`.
    let options = Options { depth_max: Some(18), ..OPTIONS };
    let report = explore(&RaftModel::new(bounds, Mutants::NONE), &options, |_| true);
    println!("{bounds:?}\n{report}; {:?}", report.goals);
    assert!(matches!(report.verdict, Verdict::Bounded(Stop::Depth)), "{report}");
    assert_eq!(report.missed(), [""; 0]);
}

#[test]
fn members_that_ask_each_other_after_a_crash_break_no_promise() {
    let bounds =
        RaftBounds { is_led: true, terms: 2, elections: 2, crashes: 1, ..RaftBounds::CALM };
    holds(RaftBounds { hellos: true, ..bounds });
}

#[test]
fn a_proposal_sent_again_and_delivered_again_is_committed_once() {
    let bounds = RaftBounds { is_led: true, proposals: 1, elections: 0, ..RaftBounds::CALM };
    holds(RaftBounds { retries: 2, repeats: 2, heartbeats: 1, ..bounds });
}

#[test]
fn broken_connections_and_quorum_checks_do_no_harm() {
    let bounds = RaftBounds { is_led: true, terms: 2, elections: 1, ..RaftBounds::CALM };
    holds(RaftBounds { hints: 1, quorum_checks: 2, ..bounds });
}

/// Bounds within which a mutant shows, and no others need to be tried.
fn suspects() -> Vec<(&'static str, RaftBounds)> {
    let two = RaftBounds { elections: 2, crashes: 1, ..RaftBounds::CALM };
    let led = RaftBounds { is_led: true, terms: 2, elections: 2, proposals: 1, ..RaftBounds::CALM };
    vec![
        ("votes_before_durable", two),
        ("forgets_its_vote", two),
        ("grants_to_shorter_logs", RaftBounds { terms: 2, ..two }),
        ("counts_itself_before_durable", RaftBounds { crashes: 1, syncs: Syncs::Anytime, ..led }),
        ("acknowledges_before_durable", RaftBounds { crashes: 1, ..led }),
        ("accepts_repeated_proposals", RaftBounds { repeats: 1, retries: 2, ..led }),
        ("commits_beyond_match", RaftBounds { elections: 3, ..led }),
    ]
}

#[test]
fn mutants_are_found_by_shortest_runs() {
    println!("{:30} {:>5} {:>9}  what it broke", "mutant", "steps", "states");
    for (name, bounds) in suspects() {
        assert!(MUTANTS.contains(&name), "there is no mutant {name}");
        let report = explored(bounds, Mutants::only(name));
        let counterexample = report.counterexample().unwrap_or_else(|| panic!("{name}: {report}"));
        let (steps, broken) = (counterexample.steps.len(), &counterexample.broken);
        println!("{name:30} {steps:5} {:9}  {broken}", report.states);
    }
}

#[test]
fn without_the_bug_the_same_bounds_hold() {
    let (name, bounds) = suspects().swap_remove(6);
    let report = explored(bounds, Mutants::NONE);
    println!("{name} off: {report}");
    assert!(report.is_exhausted(), "{report}");
}
