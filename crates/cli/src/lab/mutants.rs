//! `quorate lab mutants`: every deliberate bug, the claim that catches it, and what that took.

use clap::Args;
use quorate_lab::{Limits, Mutant, Refusal, Row, catalogue};
use serde_json::json;

use crate::error::CliError;
use crate::print;
use crate::simulate::say;
use crate::table::{self, Align};

/// Look for every deliberate bug, and tell how it was caught
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every mutant was caught by its claim, 1 one was not, 2 misuse."
)]
pub(crate) struct MutantsArgs {
    /// Only those of this protocol
    protocol: Option<String>,

    /// Look in so many seeds at the most
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    seeds: u64,

    /// Explore so many states at the most
    #[arg(long, value_name = "N", default_value_t = 300_000)]
    states: u64,

    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// How a mutant was caught.
struct Hunt {
    row: &'static str,
    mutant: &'static Mutant,
    /// The first seed that breaks its claim.
    seed: Option<u64>,
    /// The steps of the shortest run that does.
    steps: Option<usize>,
}

/// `quorate lab mutants`
pub(crate) fn run(args: &MutantsArgs) -> Result<(), CliError> {
    let rows = match &args.protocol {
        Some(name) => vec![super::row(name)?],
        None => catalogue::rows().collect(),
    };
    let mut hunts = Vec::new();
    let mut not_built_in = None;
    for row in rows {
        if row.about().is_in_production && !cfg!(feature = "mutants") {
            not_built_in = Some(Refusal::NotBuiltIn(row.about().name));
            continue;
        }
        for mutant in row.about().mutants {
            say(&format!("{}: {}", row.about().name, mutant.name));
            hunts.push(hunt(row, mutant, args)?);
        }
    }
    say("");
    if let Some(refusal) = not_built_in.take_if(|_| args.protocol.is_some()) {
        return Err(super::misuse(refusal));
    }
    let missed = hunts.iter().filter(|hunt| hunt.seed.is_none() && hunt.steps.is_none()).count();
    print(&if args.json { as_json(&hunts) } else { as_text(&hunts) })?;
    if let Some(refusal) = not_built_in {
        eprintln!("{refusal}");
    }
    if missed > 0 {
        return Err(CliError::Lab(format!("{missed} of {} mutants were not caught", hunts.len())));
    }
    Ok(())
}

fn hunt(
    row: &'static dyn Row,
    mutant: &'static Mutant,
    args: &MutantsArgs,
) -> Result<Hunt, CliError> {
    let words = format!("{}&mutant={}", mutant.setup, mutant.name);
    let setup = row.setup_with(&words).map_err(super::misuse)?;
    let found =
        row.first_broken(&setup, 0..args.seeds, Some(mutant.breaks)).map_err(super::misuse)?;
    let mut steps = None;
    // What breaks without the mutant shows nothing of it.
    let scopes = row.boundaries().into_iter().zip(1..).filter(|(breaks, _)| breaks.is_none());
    for (_, scope) in scopes {
        let limits = Limits { threads: super::threads(), states_max: Some(args.states) };
        let found =
            row.explore(scope, Some(mutant.name), limits, &mut |_| true).map_err(super::misuse)?;
        let shortest = found.broken.filter(|shortest| shortest.broken.claim == mutant.breaks);
        if let Some(shortest) = shortest {
            steps = Some(shortest.steps);
            break;
        }
    }
    Ok(Hunt { row: row.about().name, mutant, seed: found.map(|(seed, _)| seed), steps })
}

fn as_text(hunts: &[Hunt]) -> String {
    let header = [
        ("PROTOCOL", Align::Left),
        ("MUTANT", Align::Left),
        ("CAUGHT BY", Align::Left),
        ("SEEDS NEEDED", Align::Right),
        ("SHORTEST RUN", Align::Right),
        ("WHAT IT DOES", Align::Left),
    ];
    let line = |hunt: &Hunt| {
        let is_caught = hunt.seed.is_some() || hunt.steps.is_some();
        let dash = || "—".to_owned();
        vec![
            hunt.row.to_owned(),
            hunt.mutant.name.to_owned(),
            if is_caught { hunt.mutant.breaks.to_owned() } else { "NOT CAUGHT".to_owned() },
            hunt.seed.map_or_else(dash, |seed| (seed + 1).to_string()),
            hunt.steps.map_or_else(dash, |steps| format!("{steps} steps")),
            hunt.mutant.what.to_owned(),
        ]
    };
    table::render(&header, &hunts.iter().map(line).collect::<Vec<_>>())
}

fn as_json(hunts: &[Hunt]) -> String {
    let hunt = |hunt: &Hunt| {
        json!({
            "protocol": hunt.row,
            "mutant": hunt.mutant.name,
            "breaks": hunt.mutant.breaks,
            "seeds_needed": hunt.seed.map(|seed| seed + 1),
            "shortest_run_steps": hunt.steps,
        })
    };
    format!("{:#}\n", json!(hunts.iter().map(hunt).collect::<Vec<_>>()))
}
