//! Shows what a deliberate bug does: finds a seed that catches it, makes the failure small, and draws it.
//!
//! `cargo run -p quorate-trial --example see_mutant -- counts_older_term broken.html`

use quorate_core::Mutants;
use quorate_sim::{Plan, Until, run_seeds, shrink};
use quorate_trace::Diagram;
use quorate_trial::{Suspect, bounds, plan, run, run_traced};

/// The seeds that are tried. The shyest bug needs some four hundred.
const SEEDS_MAX: u64 = 600;
const SHRINK_RUNS_MAX: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mutant, file] = &args[..] else {
        return Err("say which mutant to see, and the file to draw it in".into());
    };
    let command = format!("cargo run -p quorate-trial --example see_mutant -- {mutant} {file}");
    // The name of a mutant lives as long as the process.
    let suspect = Suspect { mutants: Mutants::only(mutant.clone().leak()), ..Suspect::default() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let campaign = run_seeds(0..SEEDS_MAX, threads, Until::FirstFailure, |seed| {
        run(suspect, &plan(seed, &command))
    });
    let failure = campaign.failures.into_iter().next().ok_or("no seed catches it")?;
    let bounds = bounds(failure.replay.seed, &command);
    let shrunk = shrink(failure, &bounds, SHRINK_RUNS_MAX, |plan| run(suspect, plan));
    let plan = Plan::of(&shrunk.failure.replay, &bounds);
    let outcome = quorate_sim::seeds::quietly(|| run_traced(suspect, &plan));
    let log = outcome.trace.ok_or("the run was not traced")?;
    let title =
        format!("{mutant}: seed {} broke the {} rule", plan.replay.seed, shrunk.failure.rule);
    let caption = quorate_trial::describe(plan.replay.seed);
    let page = Diagram::new(&log, &title).caption(&caption).command(&command).html();
    std::fs::write(file, page)?;
    println!("{shrunk}\nThe run is drawn in {file}");
    Ok(())
}
