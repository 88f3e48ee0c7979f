//! What the tests demand of every row: its claims hold, its mutants are caught, its scenarios go as told.
//!
//! What they find is compared with what was recorded in `status/`, which the command line and the page show; so nothing is
//! claimed that no test exercised. `QUORATE_RECORD=1` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_trace::story::{Story, folded};

use crate::about::Mutant;
use crate::curve::Curve;
use crate::plot::points;
use crate::row::{Limits, Row};
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

/// The seeds with which the claims of a row are tried.
const SEEDS: u64 = 200;
/// The seeds in which a mutant is looked for.
const MUTANT_SEEDS: u64 = 1_000;
/// The states in which a mutant is looked for.
const MUTANT_STATES: u64 = 300_000;
/// The lines of a golden trace, at the most.
const GOLDEN_LINES: usize = 400;

/// Makes the test of a row.
macro_rules! shown {
    ($exhibit:ident) => {
        #[cfg(test)]
        mod shown {
            #[test]
            fn what_it_claims_holds_and_its_mutants_are_caught() {
                let row = crate::row::Shelf::<super::$exhibit>::NEW;
                crate::show::everything(&row);
            }
        }
    };
}
pub(crate) use shown;

/// Tries everything that a row claims.
pub(crate) fn everything(row: &dyn Row) {
    let about = row.about();
    let mut found = String::new();
    let mut note = |line: String| writeln!(found, "{line}").expect("a string takes all");
    note(seeds(row));
    for scope in 1..=row.scopes().len() {
        note(explored(row, scope));
    }
    let mut held = BTreeSet::new();
    for mutant in about.mutants {
        // The same without the bug holds: it is the bug that is caught.
        if held.insert(mutant.setup) {
            hold(row, &row.setup_with(mutant.setup).expect("the setup of a mutant is sound"));
        }
        note(caught(row, mutant));
    }
    for scenario in about.scenarios {
        note(played(row, scenario));
    }
    if let Some(line) = cost(row) {
        note(line);
    }
    for curve in about.curves {
        note(drawn(row, curve));
    }
    every_claim_is_broken_by_something(row);
    compare(&home().join("status").join(format!("{}.txt", about.name)), &found);
}

/// A claim that nothing has ever broken is not yet checked.
fn every_claim_is_broken_by_something(row: &dyn Row) {
    let about = row.about();
    let scopes = row.boundaries();
    for claim in about.claims {
        let by_mutant = about.mutants.iter().any(|mutant| mutant.breaks == claim.name);
        let at_boundary = about
            .scenarios
            .iter()
            .any(|scenario| scenario.expected == Expected::Breaks(claim.name));
        let by_scope = scopes.contains(&Some(claim.name));
        assert!(
            by_mutant || at_boundary || by_scope,
            "{}: nothing breaks {}: no mutant, no scenario, no exploration",
            about.name,
            claim.name
        );
    }
    let is_claimed = |name: &str| about.claims.iter().any(|claim| claim.name == name);
    for mutant in about.mutants {
        assert!(
            is_claimed(mutant.breaks),
            "{} breaks {}, which is no claim",
            mutant.name,
            mutant.breaks
        );
    }
}

fn seeds(row: &dyn Row) -> String {
    let setup = row.setup();
    hold(row, &setup);
    format!("held {SEEDS} seeds of {setup}")
}

/// Demands that every claim holds under a setup, whatever the seed.
fn hold(row: &dyn Row, setup: &Setup) {
    let broken = row.first_broken(setup, 0..SEEDS, None).expect("the setup is sound");
    if let Some((seed, broken)) = broken {
        let setup = Setup { seed, ..setup.clone() };
        panic!("{broken}\nsee it again: quorate lab run {} '{setup}'", row.about().name);
    }
}

fn explored(row: &dyn Row, scope: usize) -> String {
    let limits = Limits { threads: 1, states_max: None };
    let found = row.explore(scope, None, limits, &mut |_| true).expect("the scope is sound");
    let name = row.about().name;
    match (&found.broken, found.breaks) {
        (None, None) => {}
        (Some(shortest), Some(claim)) if shortest.broken.claim == claim => {
            let (nodes, steps) = (found.nodes, shortest.steps);
            return format!(
                "explored {nodes} nodes, {}: breaks {claim} in {steps} steps, as it must",
                found.what
            );
        }
        (Some(shortest), _) => panic!("{name}, {}: {}", found.what, shortest.text),
        (None, Some(claim)) => panic!("{name}, {}: {claim} holds, which it cannot", found.what),
    }
    assert!(found.is_exhausted);
    assert!(found.missed.is_empty(), "{name}, {}: no run reaches {:?}", found.what, found.missed);
    let (nodes, states, depth) = (found.nodes, found.states, found.depth);
    let awaited = match found.awaited {
        None => "",
        Some((_, true)) => {
            panic!("{name}, {}: bounds cut runs off before what is awaited", found.what)
        }
        Some((_, false)) => ", every fair run comes to what it is due",
    };
    format!("explored {nodes} nodes, {}: {states} states, {depth} steps deep{awaited}", found.what)
}

fn caught(row: &dyn Row, mutant: &Mutant) -> String {
    let words = format!("{}&mutant={}", mutant.setup, mutant.name);
    let setup = row.setup_with(&words).expect("the setup of a mutant is sound");
    let seeds = 0..MUTANT_SEEDS;
    let by_seed = row.first_broken(&setup, seeds, Some(mutant.breaks)).expect("it is sound");
    let mut ways = Vec::new();
    ways.extend(by_seed.map(|(seed, _)| format!("seed {seed}")));
    // What breaks without the mutant shows nothing of it.
    let scopes = row.boundaries().into_iter().zip(1..).filter(|(breaks, _)| breaks.is_none());
    for (_, scope) in scopes {
        let limits = Limits { threads: 1, states_max: Some(MUTANT_STATES) };
        let found = row.explore(scope, Some(mutant.name), limits, &mut |_| true);
        let shortest = found.expect("the scope is sound").broken;
        if let Some(shortest) = shortest.filter(|it| it.broken.claim == mutant.breaks) {
            ways.push(format!("{} steps", shortest.steps));
            break;
        }
    }
    assert!(
        !ways.is_empty(),
        "{} is not caught, neither by {MUTANT_SEEDS} seeds nor by exploration",
        mutant.name
    );
    format!("mutant {} breaks {}: {}", mutant.name, mutant.breaks, ways.join(", "))
}

fn played(row: &dyn Row, scenario: &Scenario) -> String {
    let setup = row.calm_setup_with(scenario.setup).expect("the setup of a scenario is sound");
    let ran = row.run(&setup, true).expect("the setup of a scenario is sound");
    let outcome = match (&ran.result, scenario.expected) {
        (Ok(()), Expected::Holds) => "holds".to_owned(),
        (Err(broken), Expected::Breaks(claim)) if broken.claim == claim => {
            format!("breaks {claim}, as it must")
        }
        (Ok(()), Expected::Breaks(claim)) => {
            panic!("{}: {claim} holds, which it cannot", scenario.name)
        }
        (Err(broken), _) => panic!("{}: {broken}", scenario.name),
    };
    let log = ran.log.expect("it was traced");
    let story = folded(&Story::without_routine().tell(&log));
    let mut golden = format!("# {}\n# {setup}\n---\n", scenario.what);
    let lines = story.lines().count();
    for line in story.lines().take(GOLDEN_LINES) {
        writeln!(golden, "{line}").expect("a string takes all");
    }
    if lines > GOLDEN_LINES {
        writeln!(golden, "… and {} lines more", lines - GOLDEN_LINES).expect("a string takes all");
    }
    if let Err(broken) = &ran.result {
        writeln!(golden, "BROKEN {broken}").expect("a string takes all");
    }
    let file =
        home().join("tests/golden").join(row.about().name).join(format!("{}.txt", scenario.name));
    compare(&file, &golden);
    format!("scenario {} {outcome}", scenario.name)
}

/// How long a message takes while costs are measured.
const HOP_MS: u64 = 10;

fn cost(row: &dyn Row) -> Option<String> {
    let mut lines = Vec::new();
    for nodes in [3, 5] {
        let (delays, messages) = row.cost(nodes)?;
        let words = format!("nodes={nodes}&requests=1&delay={HOP_MS}");
        let setup = row.calm_setup_with(&words).expect("the setup is sound");
        let ran = row.run(&setup, false).expect("the setup is sound");
        assert_eq!(ran.result, Ok(()), "without faults");
        let settled = ran.settled_at.expect("without faults a request is settled");
        let took = settled.as_secs_f64() / Duration::from_millis(HOP_MS).as_secs_f64();
        // Whatever else takes time, such as a sync, is small beside a message.
        let took = (took * 10.0).round() / 10.0;
        let sent = ran.measure("messages").expect("it has settled");
        assert_eq!(
            (took.round(), sent),
            (delays, messages as f64),
            "the cost of {} on {nodes} nodes",
            row.about().name
        );
        lines.push(format!("{nodes} nodes {delays} delays, {messages} messages"));
    }
    Some(format!("cost {}", lines.join("; ")))
}

fn drawn(row: &dyn Row, curve: &Curve) -> String {
    let lines = points(row, curve, 1).expect("the setups of a curve are sound");
    if let Err(amiss) = (curve.holds)(&lines) {
        panic!("the curve {} is not as claimed: {amiss}: {lines:?}", curve.name);
    }
    let mut text = format!("curve {}", curve.name);
    for (line, points) in curve.lines.iter().zip(&lines) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x} {y:.3}")).collect();
        write!(text, "; {}: {}", line.label, points.join(", ")).expect("a string takes all");
    }
    text
}

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares with what is recorded, or records it.
pub(crate) fn compare(file: &Path, found: &str) {
    if std::env::var_os("QUORATE_RECORD").is_some() {
        std::fs::create_dir_all(file.parent().expect("a file is in a directory"))
            .expect("it can be made");
        std::fs::write(file, found).expect("it can be written");
        return;
    }
    let recorded = std::fs::read_to_string(file).unwrap_or_default();
    let differs = recorded.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        recorded == found,
        "{} is not what was recorded; the first difference is {differs:?}. If it is right, record it: QUORATE_RECORD=1 \
         cargo test -p quorate-lab\n{found}",
        file.display()
    );
}
