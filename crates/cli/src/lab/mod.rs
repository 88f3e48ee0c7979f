//! `quorate lab`: the catalogue of protocols, on show; and anyone's node programs, under faults.
//!
//! Open first: the subcommand that you want to change.

mod explore;
mod list;
mod maelstrom;
mod mutants;
mod node;
mod plot;
mod run;
mod serve;

use clap::{Args, Subcommand};
use quorate_lab::{Curve, Refusal, Row, catalogue};

use crate::error::CliError;

/// See protocols run, break and being checked: in a terminal, or on a page
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  quorate lab list\n  quorate lab run paxos loss=30 crashes=2\n  \
quorate lab run paxos --scenario duelling_proposers --html duel.html\n  quorate lab explore paxos\n  \
quorate lab mutants paxos\n  quorate lab plot gossip rounds\n  \
quorate lab serve\n  quorate lab maelstrom --protocol raft --workload lin-kv --partitions --kill"
)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    List(list::ListArgs),
    Run(run::RunArgs),
    Explore(explore::ExploreArgs),
    Mutants(mutants::MutantsArgs),
    Plot(plot::PlotArgs),
    Serve(serve::ServeArgs),
    Maelstrom(Box<maelstrom::MaelstromArgs>),
    Node(node::NodeArgs),
}

/// `quorate lab`
pub(crate) fn run(args: LabArgs) -> Result<(), CliError> {
    match args.command {
        LabCommand::List(args) => list::run(&args),
        LabCommand::Run(args) => run::run(&args),
        LabCommand::Explore(args) => explore::run(&args),
        LabCommand::Mutants(args) => mutants::run(&args),
        LabCommand::Plot(args) => plot::run(&args),
        LabCommand::Serve(args) => serve::run(&args),
        LabCommand::Maelstrom(args) => maelstrom::run(*args),
        LabCommand::Node(args) => node::run(&args),
    }
}

/// The row of that name.
fn row(name: &str) -> Result<&'static dyn Row, CliError> {
    catalogue::row(name).map_err(misuse)
}

/// The curve of a row by that name.
fn curve(row: &dyn Row, name: &str) -> Result<&'static Curve, Refusal> {
    let known = row.about().curves.iter().find(|curve| curve.name == name);
    known.ok_or_else(|| Refusal::Bound(format!("{} has no curve {name}", row.about().name)))
}

fn misuse(refusal: Refusal) -> CliError {
    CliError::Misuse(refusal.to_string())
}

/// How many threads, if nobody says.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
