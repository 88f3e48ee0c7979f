//! `quorate lab run`: one run of a protocol, or many, judged.

use std::fmt::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use quorate_lab::{Broken, Expected, Ran, Row, Setup};
use quorate_trace::text;
use serde_json::json;

use crate::drawing::Drawing;
use crate::error::CliError;
use crate::print;
use crate::simulate::{say, seed_range};

/// Run a protocol in simulation, and judge its claims
#[derive(Debug, Args)]
#[command(
    after_help = "A setting is NAME=VALUE: seed, nodes, requests, lasts (ms), patience (ms), loss, duplicates (percent), delay (ms, such as \
1-10),\ncrashes, partitions, pauses, asks (n1@0,n2@50), faults (pause:n1@2000+3000,cut:n3@0+500), mutant, and the protocol's \
own.\nThe same settings are the same run, on every machine.\nExit codes: 0 every claim held, or broke where the scenario says that it must, 1 one was broken, 2 misuse.\n\n\
Examples:\n  quorate lab run paxos\n  quorate lab run paxos nodes=5 loss=40 seed=7 --trace\n  \
quorate lab run paxos mutant=ignores_what_was_accepted --seeds 0..1000\n  \
quorate lab run two_generals --scenario the_last_messenger --html generals.html"
)]
pub(crate) struct RunArgs {
    /// The protocol
    protocol: String,

    /// What differs from its usual setup
    #[arg(value_name = "NAME=VALUE")]
    settings: Vec<String>,

    /// Begin with this scenario's setup
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,

    /// Run this seed: the same as the setting seed=N
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// Run these seeds, the last not included, up to the first that breaks a claim
    #[arg(long, value_name = "FROM..TO", value_parser = seed_range)]
    seeds: Option<Range<u64>>,

    /// Print every step
    #[arg(long, conflicts_with_all = ["json", "seeds"])]
    trace: bool,

    #[command(flatten)]
    drawing: Drawing,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How often somebody who waits is told how far it is.
const BATCH: u64 = 64;

/// `quorate lab run`
pub(crate) fn run(args: &RunArgs) -> Result<(), CliError> {
    let row = super::row(&args.protocol)?;
    let setup = match &args.scenario {
        None => row.setup(),
        Some(name) => {
            let scenario = row.scenario(name).map_err(super::misuse)?;
            row.calm_setup_with(scenario.setup).map_err(super::misuse)?
        }
    };
    let setup = setup.read(&args.settings.join("&"), row.about()).map_err(super::misuse)?;
    let mut setup = Setup { seed: args.seed.unwrap_or(setup.seed), ..setup };
    let mut held = 0;
    let began = Instant::now();
    if let Some(seeds) = &args.seeds {
        match first_broken(row, &setup, seeds.clone())? {
            Some(seed) => {
                held = seed - seeds.start;
                setup.seed = seed;
            }
            None => {
                let count = seeds.end - seeds.start;
                return print(&all_held(args, row, &setup, count, began.elapsed()));
            }
        }
    }
    let is_traced = args.trace || args.drawing.is_wanted();
    let ran = row.run(&setup, is_traced).map_err(super::misuse)?;
    let command = command(row, &setup);
    if let Some(log) = &ran.log {
        if args.trace {
            print(&text::in_full(log))?;
        }
        let (title, caption) = title(row, args, &ran);
        let drawn = args.drawing.draw(log, &title, &caption, &command)?;
        if !args.json {
            print(&drawn)?;
        }
    }
    if args.json {
        print(&format!("{:#}\n", as_json(row, &setup, &ran)))?;
    } else {
        print(&as_text(row, args, &ran, held, &command))?;
    }
    match ran.result {
        Err(broken) if !must_break(row, args, &broken) => {
            Err(CliError::Lab(format!("{} was broken", broken.claim)))
        }
        _ => Ok(()),
    }
}

/// Whether a claim was broken that the scenario, as it is, cannot keep.
fn must_break(row: &dyn Row, args: &RunArgs, broken: &Broken) -> bool {
    let scenario = args.scenario.as_ref().and_then(|name| row.scenario(name).ok());
    let is_as_told = args.settings.is_empty() && args.seed.is_none() && args.seeds.is_none();
    let must = scenario.map(|scenario| scenario.expected);
    is_as_told && matches!(must, Some(Expected::Breaks(claim)) if claim == broken.claim)
}

fn first_broken(row: &dyn Row, setup: &Setup, seeds: Range<u64>) -> Result<Option<u64>, CliError> {
    let mut from = seeds.start;
    while from < seeds.end {
        let batch = from..from.saturating_add(BATCH).min(seeds.end);
        from = batch.end;
        let broken = row.first_broken(setup, batch, None).map_err(super::misuse)?;
        if let Some((seed, _)) = broken {
            say("");
            return Ok(Some(seed));
        }
        say(&format!("{} seeds held", from - seeds.start));
    }
    say("");
    Ok(None)
}

fn all_held(args: &RunArgs, row: &dyn Row, setup: &Setup, count: u64, took: Duration) -> String {
    let (name, seconds) = (row.about().name, took.as_secs_f64());
    if args.json {
        let object = json!({
            "protocol": name, "setup": setup.to_string(), "verdict": "held", "seeds": count, "seconds": seconds,
        });
        return format!("{object:#}\n");
    }
    let claims: Vec<&str> = row.about().claims.iter().map(|claim| claim.name).collect();
    format!("{name}: {} held in {count} runs, in {seconds:.1} s.\n", claims.join(", "))
}

/// The command that shows the run again.
pub(super) fn command(row: &dyn Row, setup: &Setup) -> String {
    format!("quorate lab run {} '{setup}' --trace", row.about().name)
}

/// The title of a run's diagram, and what there is to see.
fn title(row: &dyn Row, args: &RunArgs, ran: &Ran) -> (String, String) {
    let scenario = args.scenario.as_ref().and_then(|name| row.scenario(name).ok());
    let caption =
        scenario.map_or_else(|| row.about().header().what, |scenario| scenario.what.to_owned());
    (verdict(row, &ran.result), caption)
}

/// What came of a run, in one line.
pub(super) fn verdict(row: &dyn Row, result: &Result<(), Broken>) -> String {
    let title = row.about().header().title;
    match result {
        Ok(()) => format!("{title}: every claim held"),
        Err(broken) => format!("{title}: {} was broken", broken.claim),
    }
}

fn as_text(row: &dyn Row, args: &RunArgs, ran: &Ran, held: u64, command: &str) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").expect("a string takes all");
    if held > 0 {
        line(format!("{held} runs held before this one."));
    }
    match &ran.result {
        Ok(()) => line(format!("{}.", verdict(row, &ran.result))),
        Err(broken) => {
            line(format!(
                "{}, after {:.6} s:",
                verdict(row, &ran.result),
                ran.ended_at.as_secs_f64()
            ));
            line(format!("  {}", broken.what));
            if let Some(claim) = row.about().claim(&broken.claim) {
                line(format!("  It promises: {}", claim.what));
            }
            if must_break(row, args, broken) {
                line("  As it must: this is the boundary of what the protocol can do.".to_owned());
            }
        }
    }
    for (name, value) in &ran.measures {
        line(format!("  {name:24} {}", number(*value)));
    }
    let counters: Vec<String> = ran
        .counters
        .each()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    line(format!("  {}", counters.join(", ")));
    line(format!("See it again: {command}"));
    text
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// A run, for programs and for the page.
pub(super) fn as_json(row: &dyn Row, setup: &Setup, ran: &Ran) -> serde_json::Value {
    let measures: serde_json::Map<String, serde_json::Value> =
        ran.measures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let counters: serde_json::Map<String, serde_json::Value> = ran
        .counters
        .each()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect();
    json!({
        "protocol": row.about().name,
        "setup": setup.to_string(),
        "verdict": if ran.result.is_ok() { "held" } else { "broken" },
        "broken": ran.result.as_ref().err().map(|broken| json!({ "claim": broken.claim, "what": broken.what })),
        "virtual_seconds": ran.ended_at.as_secs_f64(),
        "measures": measures,
        "counters": counters,
        "command": command(row, setup),
    })
}
