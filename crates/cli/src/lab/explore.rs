//! `quorate lab explore`: everything that a protocol may do, within its bounds.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use quorate_lab::{Found, Limits, Row};
use serde_json::json;

use crate::drawing::Drawing;
use crate::endpoints::positive_seconds;
use crate::error::CliError;
use crate::print;
use crate::simulate::report::grouped;
use crate::simulate::{say, stop_at_interrupt};

/// Visit every state that a protocol may reach within its bounds
#[derive(Debug, Args)]
#[command(
    after_help = "Any message may arrive late or never; a counterexample is a shortest one.\n\
Exit codes: 0 every claim held, or broke where it must, 1 one was broken, 2 misuse.\n\n\
Examples:\n  quorate lab explore paxos\n  quorate lab explore paxos --mutant promises_before_durable --html lost.html"
)]
pub(crate) struct ExploreArgs {
    /// The protocol
    protocol: String,

    /// Which of its explorations, counted from 1 [default: all]
    #[arg(long, value_name = "N")]
    scope: Option<usize>,

    /// Switch on a deliberate bug
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,

    #[command(flatten)]
    drawing: Drawing,

    /// Stop after this long
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    seconds: Option<f64>,

    /// Stop at about so many states
    #[arg(long, value_name = "N", default_value_t = 50_000_000, value_parser = value_parser!(u64).range(1..=2_000_000_000))]
    states: u64,

    /// Run on so many threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// How often somebody who waits is told how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// `quorate lab explore`
pub(crate) fn run(args: &ExploreArgs) -> Result<(), CliError> {
    let row = super::row(&args.protocol)?;
    let threads = args.threads.map_or_else(super::threads, usize::from);
    let limits = Limits { threads, states_max: Some(args.states) };
    let is_stopped = stop_at_interrupt()?;
    let began = Instant::now();
    let mut said = began;
    let scopes = args.scope.map_or_else(|| 1..row.scopes().len() + 1, |scope| scope..scope + 1);
    if scopes.is_empty() {
        let why = format!("{} has no states to explore; its header says why", row.about().name);
        return Err(CliError::NotDone(why));
    }
    let mut all = Vec::new();
    let mut broken = None;
    for scope in scopes {
        let found = row.explore(scope, args.mutant.as_deref(), limits, &mut |progress| {
            if said.elapsed() >= PROGRESS_INTERVAL {
                said = Instant::now();
                say(&format!("{} states, {} steps deep", grouped(progress.states), progress.depth));
            }
            args.seconds.is_none_or(|limit| began.elapsed().as_secs_f64() < limit)
                && !is_stopped.load(Ordering::Relaxed)
        });
        say("");
        let found = found.map_err(super::misuse)?;
        if !args.json {
            print(&as_text(row, &found))?;
        }
        if let Some(shortest) = &found.broken {
            let title =
                format!("{}: {} was broken", row.about().header().title, shortest.broken.claim);
            let command = command(row, scope, args.mutant.as_deref());
            let drawn = args.drawing.draw(&shortest.log, &title, found.what, &command)?;
            if !args.json {
                print(&drawn)?;
            }
            if found.breaks != Some(shortest.broken.claim.as_str()) {
                broken.get_or_insert(shortest.broken.claim.clone());
            }
        }
        all.push(as_json(&found));
    }
    if args.json {
        print(&format!("{:#}\n", json!(all)))?;
    }
    broken.map_or(Ok(()), |claim| Err(CliError::Lab(format!("{claim} was broken"))))
}

pub(super) fn command(row: &dyn Row, scope: usize, mutant: Option<&str>) -> String {
    let mutant = mutant.map(|name| format!(" --mutant {name}")).unwrap_or_default();
    format!("quorate lab explore {} --scope {scope}{mutant}", row.about().name)
}

fn as_text(row: &dyn Row, found: &Found) -> String {
    let Found { what, nodes, states, depth, .. } = found;
    let states = grouped(*states);
    let took = found.took.as_secs_f64();
    let speed = grouped((found.states as f64 / took.max(1e-9)) as u64);
    let mut text = format!("{nodes} nodes, {what}: ");
    match &found.broken {
        None if found.is_exhausted => {
            text += &format!("every claim held in all {states} states, {depth} steps deep");
            text += match found.awaited {
                None => "",
                Some((_, false)) => ", and every fair run comes to what it is due",
                Some((_, true)) => ", and no fair run within the bounds misses what it is due",
            };
        }
        None => text += &format!("every claim held in {states} states; there are more"),
        Some(shortest) => {
            let must = if found.breaks == Some(shortest.broken.claim.as_str()) {
                ", as it must: this is the boundary of what can be had"
            } else {
                ""
            };
            let (steps, claim) = (shortest.steps, &shortest.broken.claim);
            let promise = row.about().claim(claim).map_or("", |claim| claim.what);
            text += &format!(
                "{claim} was BROKEN in {steps} steps; no fewer do{must}\n  {claim}: {promise}\n\n{}\n",
                shortest.text
            );
        }
    }
    text += &format!("\n  {took:.2} s, {speed} states a second\n");
    for goal in &found.missed {
        text += &format!("  NOT REACHED: {goal}\n");
    }
    text
}

/// An exploration, for programs and for the page.
pub(super) fn as_json(found: &Found) -> serde_json::Value {
    json!({
        "what": found.what,
        "nodes": found.nodes,
        "states": found.states,
        "depth": found.depth,
        "is_exhausted": found.is_exhausted,
        "must_break": found.breaks,
        "fair_runs_come_to_what_is_due": found.awaited.map(|(_, is_cut)| !is_cut),
        "not_reached": found.missed,
        "broken": found.broken.as_ref().map(|shortest| json!({
            "claim": shortest.broken.claim,
            "what": shortest.broken.what,
            "steps": shortest.steps,
            "run": shortest.text,
        })),
        "seconds": found.took.as_secs_f64(),
    })
}
