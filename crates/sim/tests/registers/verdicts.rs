//! What survives, what is caught, and how small a failure becomes.

use quorate_sim::{Counters, Failure, Plan, Rule, Until, run_seeds, shrink};

use crate::clients::{bounds, run, run_replay, run_seed};
use crate::protocol::Bug;

/// The seeds that a correct protocol must survive and in which each mutant must be caught.
const SEEDS: u64 = 200;

/// A seed whose failure shrinks to little. Others lead into a corner from which no single step leads on.
const SHRINKS: u64 = 310;

fn first_failure(bug: Bug) -> Failure {
    let campaign = run_seeds(0..SEEDS, 2, Until::FirstFailure, |seed| run_seed(seed, Some(bug)));
    let failure = campaign.failures.into_iter().next();
    failure.unwrap_or_else(|| panic!("{bug:?} was not caught within {SEEDS} seeds"))
}

#[test]
fn a_correct_protocol_survives_every_kind_of_fault() {
    let campaign = run_seeds(0..SEEDS, 2, Until::AllSeeds, |seed| run_seed(seed, None));
    assert!(campaign.failures.is_empty(), "{campaign}");
    assert_eq!(campaign.held, SEEDS);
    // A fault that never occurred was not survived. Versions mix and memory is lost only where that is asked for.
    let missing: Vec<&str> =
        campaign.counters.each().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    let versions = ["encoded", "between_versions", "unread", "upgrades", "downgrades"];
    let losses = ["ruins", "losses_known", "losses_unknown", "losses_mended"];
    assert_eq!(missing, [&versions[..], &losses].concat(), "{}", campaign.counters);
}

#[test]
fn promises_that_leave_before_they_are_durable_are_caught() {
    assert_eq!(first_failure(Bug::PromisesEarly).rule, Rule::Invariant);
}

#[test]
fn a_proposer_that_overlooks_what_was_accepted_is_caught() {
    assert_eq!(first_failure(Bug::OverlooksAccepted).rule, Rule::Invariant);
}

#[test]
fn a_proposer_that_never_retries_is_caught_by_the_demand_for_progress() {
    let failure = first_failure(Bug::NeverRetries);
    assert_eq!(failure.rule, Rule::Verdict);
    assert!(failure.what.contains("got no answer"), "{failure}");
}

#[test]
fn a_failure_is_one_line_with_the_command_that_replays_it() {
    let failure = first_failure(Bug::OverlooksAccepted);
    let line = failure.to_string();
    let word = line.rsplit(' ').next().expect("a line has a last word");
    assert!(line.contains("cargo test -p quorate-sim "), "{line}");
    assert!(!line.contains('\n'), "{line}");
    let replay = word.parse().expect("the last word is the replay");
    assert_eq!(run_replay(&replay, Some(Bug::OverlooksAccepted)), Err(failure));
}

#[test]
fn a_failure_shrinks_to_a_few_faults_and_operations_and_still_replays() {
    let bug = Bug::PromisesEarly;
    let failure = run_seed(SHRINKS, Some(bug)).expect_err("the bug is caught");
    let before = Plan::of(&failure.replay, &bounds());
    let shrunk = shrink(failure, &bounds(), 1_000, |plan| run(plan, Some(bug)));
    assert!(shrunk.runs <= 1_000);
    assert!(shrunk.faults_before == before.faults.len());
    assert!((1..=4).contains(&shrunk.faults.len()), "{shrunk}");
    let operations = shrunk.failure.replay.reduction.operations.expect("fewer operations do");
    assert!(operations <= before.bounds.operations / 2, "{shrunk}");
    let word = shrunk.failure.replay.to_string();
    let replay = word.parse().expect("a replay is read back");
    assert_eq!(run_replay(&replay, Some(bug)), Err(shrunk.failure.clone()));
    assert_eq!(run_replay(&replay, None).err(), None, "without the bug it holds: {shrunk}");
}

#[test]
fn a_quiet_network_delivers_everything_in_its_own_time() {
    let report = run(&Plan::calm(1, &bounds()), None).expect("a correct protocol survives");
    let Counters { lost, cut, duplicated, crashes, sent, delivered, .. } = report.counters;
    assert_eq!((lost, cut, duplicated, crashes), (0, 0, 0, 0));
    assert!(sent - delivered < 20, "{sent} sent, {delivered} delivered");
}
