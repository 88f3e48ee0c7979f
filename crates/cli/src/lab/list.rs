//! `quorate lab list`: every row of the catalogue, with what its tests found.

use clap::Args;
use quorate_lab::{Row, catalogue};
use serde_json::json;

use crate::error::CliError;
use crate::print;
use crate::table::{self, Align};

/// List the protocols, each with what its tests found when they last ran
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this protocol, with all that there is to say of it
    protocol: Option<String>,

    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// `quorate lab list`
pub(crate) fn run(args: &ListArgs) -> Result<(), CliError> {
    let rows = match &args.protocol {
        Some(name) => vec![super::row(name)?],
        None => catalogue::rows().collect(),
    };
    if args.json {
        let rows: Vec<_> = rows.iter().map(|row| as_json(*row)).collect();
        return print(&format!("{:#}\n", json!(rows)));
    }
    match &args.protocol {
        Some(_) => print(&in_full(rows[0])),
        None => print(&table(&rows)),
    }
}

/// What the tests of a row found, line by line; each begins with the kind of the finding.
fn findings<'a>(row: &'a dyn Row, kind: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    row.about().status.lines().filter(move |line| line.split(' ').next() == Some(kind))
}

/// The number of states that were explored.
fn states(row: &dyn Row) -> u64 {
    let count = |line: &str| {
        line.split(' ').rev().skip_while(|word| *word != "states,").nth(1)?.parse::<u64>().ok()
    };
    findings(row, "explored").filter_map(count).sum()
}

fn table(rows: &[&'static dyn Row]) -> String {
    let header = [
        ("FAMILY", Align::Left),
        ("PROTOCOL", Align::Left),
        ("CLAIMS", Align::Right),
        ("SEEDS", Align::Left),
        ("STATES", Align::Right),
        ("MUTANTS", Align::Right),
        ("SCENARIOS", Align::Right),
        ("WHAT IT IS", Align::Left),
    ];
    let line = |row: &&dyn Row| {
        let about = row.about();
        let held = findings(*row, "held").next().and_then(|line| line.split(' ').nth(1));
        let caught = findings(*row, "mutant").count();
        let played = findings(*row, "scenario").count();
        vec![
            about.family.name().to_owned(),
            about.name.to_owned(),
            about.claims.len().to_string(),
            held.map_or("not tested".to_owned(), |seeds| format!("{seeds} held")),
            crate::simulate::report::grouped(states(*row)),
            format!("{caught} of {} caught", about.mutants.len()),
            format!("{played} of {}", about.scenarios.len()),
            about.header().title,
        ]
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    let count = rows.len();
    table::render(&header, &lines)
        + &format!(
            "{count} protocols, as their tests found them; `quorate lab list NAME` has the rest.\n"
        )
}

fn in_full(row: &dyn Row) -> String {
    let about = row.about();
    let header = about.header();
    let mut text = format!("{}: {}\n\n", header.title, header.what);
    for (part, words) in &header.parts {
        text += &format!("{part}: {words}\n");
    }
    text += "\nClaims\n";
    for claim in about.claims {
        text += &format!("  {}: {}\n", claim.name, claim.what);
    }
    if !about.mutants.is_empty() {
        text += "\nMutants\n";
    }
    for mutant in about.mutants {
        text += &format!("  {}: {} Breaks {}.\n", mutant.name, mutant.what, mutant.breaks);
    }
    text += "\nScenarios (quorate lab run NAME --scenario SCENARIO)\n";
    for scenario in about.scenarios {
        text += &format!("  {}: {}\n", scenario.name, scenario.what);
    }
    if !about.knobs.is_empty() {
        text += "\nSettings of its own\n";
    }
    for knob in about.knobs {
        let (min, max, usual) = (knob.min, knob.max, knob.usual);
        text += &format!("  {}: {} ({min} to {max}, usually {usual})\n", knob.name, knob.what);
    }
    text += &format!("\nIts usual setup\n  {}\n", row.setup());
    text += "\nWhat its tests found\n";
    for line in about.status.lines() {
        text += &format!("  {line}\n");
    }
    text + &format!("\nIts source: {}\n", about.path)
}

/// A row, for programs and for the page.
pub(super) fn as_json(row: &dyn Row) -> serde_json::Value {
    let about = row.about();
    let header = about.header();
    let parts: serde_json::Map<String, serde_json::Value> =
        header.parts.iter().map(|(part, words)| ((*part).to_owned(), json!(words))).collect();
    let order: Vec<&str> = header.parts.iter().map(|(part, _)| *part).collect();
    let named = |name: &str, what: &str| json!({ "name": name, "what": what });
    json!({
        "name": about.name,
        "family": about.family.name(),
        "title": header.title,
        "what": header.what,
        "header": parts,
        "header_order": order,
        "path": about.path,
        "is_in_production": about.is_in_production,
        "claims": about.claims.iter().map(|claim| named(claim.name, claim.what)).collect::<Vec<_>>(),
        "mutants": about.mutants.iter().map(|mutant| json!({
            "name": mutant.name, "what": mutant.what, "breaks": mutant.breaks, "setup": mutant.setup,
        })).collect::<Vec<_>>(),
        "knobs": about.knobs.iter().map(|knob| json!({
            "name": knob.name, "what": knob.what, "min": knob.min, "max": knob.max, "usual": knob.usual,
        })).collect::<Vec<_>>(),
        "scenarios": about.scenarios.iter().map(|scenario| {
            let setup = row.calm_setup_with(scenario.setup).map(|setup| setup.to_string());
            json!({ "name": scenario.name, "what": scenario.what, "setup": setup.unwrap_or_default() })
        }).collect::<Vec<_>>(),
        "curves": about.curves.iter().map(|curve| named(curve.name, curve.what)).collect::<Vec<_>>(),
        "explorations": row.scopes(),
        "setup": row.setup().to_string(),
        "status": about.status.lines().collect::<Vec<_>>(),
    })
}
