//! A bug that shows only between versions: is it found among these, and is the failure made small?

use quorate_core::Mutants;
use quorate_sim::{Fault, Replay, Until, run_seeds, shrink};
use quorate_trial::{Suspect, bounds, describe, plan, run};

/// Seeds enough for some in which the next version says something new in every envelope.
const SEEDS: u64 = 100;
/// The runs that are spent on making a failure small: most of the faults are gone by then.
const SHRINK_RUNS_MAX: usize = 120;

#[test]
fn a_node_that_is_deaf_to_newer_ones_shrinks_to_changes_of_version() {
    let suspect = Suspect { mutants: Mutants::only("deaf_to_newer"), ..Suspect::default() };
    let campaign =
        run_seeds(0..SEEDS, 2, Until::FirstFailure, |seed| run(suspect, &plan(seed, "{replay}")));
    let failure = campaign.failures.into_iter().next().expect("it is caught");
    let seed = failure.replay.seed;
    assert!(describe(seed).contains("versions mixed"), "{}", describe(seed));
    let bounds = bounds(seed, "{replay}");
    let shrunk = shrink(failure, &bounds, SHRINK_RUNS_MAX, |plan| run(suspect, plan));
    println!("{shrunk}");
    let changes = shrunk.faults.iter();
    let changes = changes.filter(|it| matches!(it.fault, Fault::ChangeVersion { .. })).count();
    assert!(changes > 0, "without a change of version all nodes are of one: {shrunk}");
    assert!(shrunk.faults.len() < shrunk.faults_before / 2, "{shrunk}");
    let replay: Replay = shrunk.failure.command.parse().expect("the command is but the replay");
    let again = run(suspect, &quorate_sim::Plan::of(&replay, &bounds));
    assert_eq!(again.expect_err("it fails again").rule, shrunk.failure.rule);
}
