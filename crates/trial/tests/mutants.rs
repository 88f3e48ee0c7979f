//! Do the checks work? Each deliberate bug must be caught within a bounded number of seeds.

use quorate_core::Mutants;
use quorate_kv::{node, store, watch};
use quorate_protocols::consensus::raft;
use quorate_sim::{Until, run_seeds};
use quorate_storage::log::Mutant as LogMutant;
use quorate_trial::{Suspect, plan, run};

/// A bug that this many seeds don't show is not caught. The shyest needs 1,405; half as many again leave
/// room for changes that shuffle the seeds.
const SEEDS_MAX: u64 = 2100;

/// Bugs that random faults hardly ever bring about, or that a node can't be asked for: nobody can move two votes at once
/// through a node. `MUTANTS.md` says what catches them.
const OUT_OF_REACH: &[&str] = &[
    "installs_without_resetting_log",
    "forgets_vote_when_compacting",
    "forgets_whom_it_met",
    "forgets_whom_it_met_when_compacting",
    "offers_no_snapshot_before_its_term_opens",
    "changes_before_first_commit",
    "commits_joint_by_new_majority_only",
    "votes_by_old_majority_only",
    "lease_without_drift",
    "keeps_lease_through_transfer",
    "lease_survives_pause",
    "votes_within_lease_after_restart",
    "skips_unknown_command",
    "key_life_survives_deletion",
    "compaction_reaches_too_far",
    "revision_goes_back_after_compaction_crash",
    "applies_twice_around_snapshot",
    "ticks_count_more_than_once",
    "auth_ignores_bound_keys",
];

fn suspects() -> Vec<(String, Suspect)> {
    let shows = |name: &&&str| !OUT_OF_REACH.contains(name);
    let of_raft = raft::MUTANTS.iter().filter(shows);
    let of_kv = node::MUTANTS.iter().chain(store::MUTANTS).chain(watch::MUTANTS).filter(shows);
    let of_nodes = of_raft.chain(of_kv).chain(quorate_trial::MUTANTS).map(|name| {
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

/// A line of the table of all mutants: name, whether the trial catches it, and where else it is caught.
struct Row<'a> {
    mutant: &'a str,
    is_tried: bool,
    elsewhere: &'a str,
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, mutant, _, tried, elsewhere, _] = cells.as_slice() else { return None };
    let mutant = mutant.strip_prefix('`')?.strip_suffix('`')?;
    Some(Row { mutant, is_tried: *tried == "yes", elsewhere })
}

fn read(path: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    std::fs::read_to_string(format!("{root}{path}"))
        .unwrap_or_else(|error| panic!("{path} can't be read: {error}"))
}

/// All that can be switched on, by the lists that the crates keep. The log keeps none: its mutants are the variants of
/// an enum.
fn all_mutants() -> Vec<String> {
    let of_kv = node::MUTANTS.iter().chain(store::MUTANTS).chain(watch::MUTANTS);
    let listed = raft::MUTANTS.iter().chain(of_kv).chain(quorate_trial::MUTANTS);
    let source = read("crates/storage/src/mutant.rs");
    let of_log = source.lines().filter_map(|line| line.trim().strip_suffix(','));
    listed.map(|name| (*name).to_owned()).chain(of_log.map(str::to_owned)).collect()
}

#[test]
fn the_table_names_every_mutant_and_the_check_that_catches_it() {
    let table = read("crates/trial/MUTANTS.md");
    let rows: Vec<Row<'_>> = table.lines().filter_map(row).collect();
    let mut named: Vec<String> = rows.iter().map(|row| row.mutant.to_owned()).collect();
    let mut all = all_mutants();
    named.sort();
    all.sort();
    assert_eq!(named, all, "the table and the lists of mutants differ");
    let suspects: Vec<String> = suspects().into_iter().map(|(name, _)| name).collect();
    let scenarios: String =
        read("crates/protocols/tests/raft/scenarios.rs").split_whitespace().collect();
    for Row { mutant, is_tried, elsewhere } in rows {
        let is_suspect = suspects.iter().any(|name| name.trim_start_matches("log: ") == mutant);
        assert_eq!(is_suspect, is_tried, "whether the trial tries {mutant}");
        let is_told = scenarios.contains(&format!("(\"{mutant}\","));
        match elsewhere.split_once(": ") {
            // They try whatever has no scenario.
            None if elsewhere == "storms" => assert!(!is_told, "{mutant} has a scenario"),
            None => assert!(is_tried && elsewhere.is_empty(), "nothing catches {mutant}"),
            Some(("scenario", name)) => {
                let told = format!("(\"{mutant}\",\"{name}\"");
                assert!(scenarios.contains(&told), "{name} is not told of {mutant}");
            }
            Some((file, test)) => {
                let source = read(file);
                assert!(source.contains(&format!("fn {test}()")), "{file} has no test {test}");
                assert!(source.contains(mutant), "{test} does not try {mutant}");
            }
        }
    }
}
