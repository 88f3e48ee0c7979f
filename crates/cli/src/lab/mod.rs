//! `quorate lab`: distributed programs, under faults, on one machine.
//!
//! Open first: the subcommand that you want to change.

mod maelstrom;

use clap::{Args, Subcommand};

use crate::error::CliError;

/// Try out distributed programs: run them under faults, and judge what they do
#[derive(Debug, Args)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    Maelstrom(maelstrom::MaelstromArgs),
}

/// `quorate lab`
pub(crate) fn run(args: LabArgs) -> Result<(), CliError> {
    match args.command {
        LabCommand::Maelstrom(args) => maelstrom::run(args),
    }
}
