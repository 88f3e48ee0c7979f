//! Do the checks work? Each deliberate bug must be caught within a bounded number of seeds.

use quorate_core::Mutants;
use quorate_kv::node;
use quorate_protocols::consensus::raft;
use quorate_sim::{Until, run_seeds};
use quorate_storage::log::Mutant as LogMutant;
use quorate_trial::{Suspect, plan, run};

/// A bug that this many seeds don't show is not caught. The shyest needs 987; half as many again leave
/// room for changes that shuffle the seeds.
const SEEDS_MAX: u64 = 1500;

/// Bugs that Raft's own scenarios catch: random faults hardly ever bring about what they break, and clocks aren't
/// trusted here.
const OUT_OF_REACH: &[&str] = &[
    "installs_without_resetting_log",
    "forgets_vote_when_compacting",
    "offers_no_snapshot_before_its_term_opens",
    "lease_without_drift",
    "keeps_lease_through_transfer",
    "lease_survives_pause",
    "votes_within_lease_after_restart",
];

fn suspects() -> Vec<(String, Suspect)> {
    // A trial's groups keep their members, and their clocks aren't trusted.
    let shows =
        |name: &&&str| !raft::changes::MUTANTS.contains(name) && !OUT_OF_REACH.contains(name);
    let of_raft = raft::MUTANTS.iter().filter(shows);
    let of_nodes = of_raft.chain(node::MUTANTS).map(|name| {
        let suspect = Suspect { mutants: Mutants::only(name), ..Suspect::default() };
        ((*name).to_owned(), suspect)
    });
    let of_logs = [LogMutant::LosesTail, LogMutant::SkipsSync]
        .map(|log| (format!("log: {log:?}"), Suspect { log: Some(log), ..Suspect::default() }));
    of_nodes.chain(of_logs).collect()
}

#[test]
fn every_mutant_is_caught() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut missed = Vec::new();
    println!("\n{:32} {:>5}  {:9}  what it broke", "mutant", "seeds", "rule");
    for (name, suspect) in suspects() {
        let campaign = run_seeds(0..SEEDS_MAX, threads, Until::FirstFailure, |seed| {
            run(suspect, &plan(seed, ""))
        });
        let Some(failure) = campaign.failures.first() else {
            println!("{name:32} {SEEDS_MAX:5}  missed");
            missed.push(name);
            continue;
        };
        let seeds = failure.replay.seed + 1;
        let what: String =
            failure.what.lines().next().unwrap_or_default().chars().take(90).collect();
        println!("{name:32} {seeds:5}  {:9}  {what}", failure.rule.to_string());
    }
    assert!(missed.is_empty(), "{SEEDS_MAX} seeds did not catch {missed:?}");
}
