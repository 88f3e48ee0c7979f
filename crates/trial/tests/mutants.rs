//! Do the checks work? Each deliberate bug must be caught within a bounded number of seeds.

use quorate_core::Mutants;
use quorate_kv::node;
use quorate_protocols::consensus::raft;
use quorate_sim::{Until, run_seeds};
use quorate_storage::log::Mutant as LogMutant;
use quorate_trial::{Suspect, plan, run};

/// A bug that no seed up to this one shows is not caught.
const SEEDS_MAX: u64 = 2_000;

#[test]
fn every_mutant_is_caught() {
    let named = raft::MUTANTS.iter().chain(node::MUTANTS);
    let mut suspects: Vec<(String, Suspect)> = named
        .map(|name| {
            let mutants = Mutants::only(name);
            ((*name).to_owned(), Suspect { mutants, ..Suspect::default() })
        })
        .collect();
    for log in [LogMutant::LosesTail, LogMutant::SkipsSync] {
        suspects.push((format!("{log:?}"), Suspect { log: Some(log), ..Suspect::default() }));
    }
    let mut missed = Vec::new();
    for (name, suspect) in suspects {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let campaign = run_seeds(0..SEEDS_MAX, threads, Until::FirstFailure, |seed| {
            run(suspect, &plan(seed, ""))
        });
        match campaign.failures.first() {
            Some(failure) => {
                let what = failure.what.lines().next().unwrap_or_default();
                let seed = failure.replay.seed;
                println!(
                    "{name:32} seed {seed:4}  {} ({:.1?}): {what}",
                    failure.rule, campaign.took
                );
            }
            None => {
                println!("{name:32} missed in {SEEDS_MAX} seeds ({:.1?})", campaign.took);
                missed.push(name);
            }
        }
    }
    assert!(missed.is_empty(), "no seed up to {SEEDS_MAX} caught {missed:?}");
}
