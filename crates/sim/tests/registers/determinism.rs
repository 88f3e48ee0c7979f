//! The same seed gives the same run.

use quorate_sim::{Plan, RecordDisk};
use quorate_trace::text;

use crate::clients::{bounds, run_on, run_seed};

fn traced(seed: u64) -> (String, quorate_sim::Digest) {
    let plan = Plan::draw(seed, &bounds());
    let outcome = run_on(&plan, None, |_| RecordDisk::new(), true);
    let report = outcome.result.expect("a correct protocol survives");
    (text::in_full(&outcome.trace.expect("the run was traced")), report.digest)
}

#[test]
fn the_same_seed_twice_gives_byte_for_byte_the_same_trace() {
    for seed in 0..10 {
        let (trace, digest) = traced(seed);
        assert!(trace.lines().count() > 100, "a trace worth comparing");
        assert_eq!((trace, digest), traced(seed));
    }
}

#[test]
fn a_trace_that_nobody_reads_changes_nothing() {
    for seed in 0..10 {
        let untraced = run_seed(seed, None).expect("a correct protocol survives");
        assert_eq!(untraced.digest, traced(seed).1);
    }
}

#[test]
fn different_seeds_give_different_runs() {
    let mut digests: Vec<u64> =
        (0..50).map(|seed| run_seed(seed, None).expect("it survives").digest.0).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 50);
}
