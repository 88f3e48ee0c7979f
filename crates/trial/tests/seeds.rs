//! Many seeds of the healthy database: none may break a rule, and a seed is the same run every time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use quorate_sim::{Until, run_seeds};
use quorate_trace::text;
use quorate_trial::{Suspect, bounds, judge, plan, run, run_traced};

/// How a failure is seen again.
const COMMAND: &str = "cargo run --release -- simulate --replay {replay}";

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_thousand_seeds_break_no_rule() {
    let undecided = AtomicU32::new(0);
    let tallies: Mutex<BTreeMap<&str, u64>> = Mutex::default();
    let campaign = run_seeds(0..1_000, threads(), Until::FirstFailure, |seed| {
        let outcome = judge(Suspect::default(), &plan(seed, COMMAND));
        undecided.fetch_add(outcome.workload.undecided(), Ordering::Relaxed);
        let mut tallies = tallies.lock().expect("nobody panics with the tallies in hand");
        for (name, count) in outcome.workload.tally().each() {
            *tallies.entry(name).or_default() += count;
        }
        outcome.result
    });
    let undecided = undecided.into_inner();
    println!("{campaign}\n{undecided} histories were too hard to search, and audited only");
    let tallies = tallies.into_inner().expect("nobody panicked with the tallies in hand");
    println!("{tallies:?}");
    if let Some(failure) = campaign.failures.into_iter().next() {
        let bounds = bounds(failure.replay.seed, COMMAND);
        let shrunk =
            quorate_sim::shrink(failure, &bounds, 200, |plan| run(Suspect::default(), plan));
        panic!("{shrunk}");
    }
    assert!(undecided <= 3, "{undecided} histories of some 1,500 were not searched to the end");
    for (name, count) in campaign.counters.each().chain(tallies) {
        assert!(count > 0, "no run saw any {name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in [1, 3] {
        let plan = plan(seed, COMMAND);
        let [first, second] = [(); 2].map(|()| {
            let log = run_traced(Suspect::default(), &plan).trace;
            log.as_ref().map(text::in_full)
        });
        assert!(
            first.as_ref().is_some_and(|trace| trace.len() > 10_000),
            "a trace tells something"
        );
        assert!(first == second, "seed {seed} gave two traces");
    }
}
