//! The binary `quorate`: one node, a local cluster, everyday use, benchmarks, the trial in simulation.
//!
//! Each subcommand is a module with its flags and what it does; a module that grew is a directory. What several of
//! them share has a module of its own, named after what it is: [`endpoints`], [`hold`], [`table`], [`error`].
//!
//! What never may live here: a rule of the database. A command asks a node, and prints what it said.
//!
//! Exit codes: 0 it was done, 1 it was not, 2 it was asked for wrongly; of a command that was run under a lock, its own.
//!
//! Open first: [`serve`], [`up`], [`kv_commands`].

mod base64;
mod bench;
mod config_file;
mod drawing;
mod elect;
mod endpoints;
mod environment;
mod error;
mod explore;
mod hold;
mod kv_commands;
mod lab;
mod lock;
mod member;
mod serve;
mod simulate;
mod snapshot;
mod status;
mod table;
mod up;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config_file::Format;
use crate::error::CliError;

/// A distributed database in one binary, spoken to with the clients of etcd v3.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, arg_required_else_help = true)]
#[command(
    after_help = "Start with `quorate up`, then `quorate put greeting hello` in another terminal.\n\
                        Exit codes: 0 it was done, 1 it was not, 2 it was asked for wrongly."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::UpArgs),
    // It has many more flags than the others.
    Serve(Box<serve::ServeArgs>),
    Get(kv_commands::GetArgs),
    Put(kv_commands::PutArgs),
    Del(kv_commands::DelArgs),
    Lock(lock::LockArgs),
    Elect(elect::ElectArgs),
    Status(status::StatusArgs),
    Member(member::MemberArgs),
    Snapshot(snapshot::SnapshotArgs),
    /// Have the leader hand over to a member
    MoveLeader(member::NamedArgs),
    Bench(bench::BenchArgs),
    Simulate(simulate::SimulateArgs),
    Explore(explore::ExploreArgs),
    Lab(lab::LabArgs),
}

fn main() -> ExitCode {
    match parse(std::env::args_os().collect()).and_then(carry_out) {
        Ok(code) => code,
        // Whoever reads our output has read enough.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("quorate: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn carry_out(cli: Cli) -> Result<ExitCode, CliError> {
    let done = match cli.command {
        // These end as the commands that they run.
        Command::Lock(args) => return lock::run(args),
        Command::Elect(args) => return elect::run(args),
        Command::Up(args) => up::run(args),
        Command::Serve(args) => serve::run(*args),
        Command::Get(args) => kv_commands::get(args),
        Command::Put(args) => kv_commands::put(args),
        Command::Del(args) => kv_commands::del(args),
        Command::Status(args) => status::run(args),
        Command::Member(args) => member::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::MoveLeader(args) => member::move_leader(args),
        Command::Bench(args) => bench::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Explore(args) => explore::run(args),
        Command::Lab(args) => lab::run(args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Reads the command line. What etcd's variables and a file say to `serve` is read as if it had been written on the
/// command line, except that flags and this program's variables win over it.
fn parse(args: Vec<OsString>) -> Result<Cli, CliError> {
    let command = Cli::command();
    let matches = command.clone().get_matches_from(&args);
    let Some(serve) = matches.subcommand_matches("serve") else {
        return Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()));
    };
    let known = command.find_subcommand("serve").expect("serve is a subcommand").clone();
    let mut extended = args;
    let variables = environment::as_flags(&known, serve, |name| std::env::var_os(name));
    let matches = if variables.is_empty() {
        matches
    } else {
        extended.extend(variables);
        command.clone().get_matches_from(&extended)
    };
    let serve = matches.subcommand_matches("serve").expect("it was there before");
    let file = |id: &str| serve.get_one::<std::path::PathBuf>(id);
    let Some(path) = file("config").or_else(|| file("config_file")) else {
        return Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()));
    };
    let format = if file("config").is_some() { Format::Toml } else { Format::Yaml };
    extended.extend(config_file::as_flags(path, format, &known, serve)?);
    // The command line was good by itself, so whatever is wrong now came from the file.
    let wrong = |error: clap::Error| {
        let said = error.to_string();
        let said = said.strip_prefix("error: ").unwrap_or(&said);
        let said = said.lines().next().unwrap_or_default().to_string();
        CliError::ConfigFile { path: path.clone(), fault: said }
    };
    let matches = command.try_get_matches_from(extended).map_err(wrong)?;
    Cli::from_arg_matches(&matches).map_err(wrong)
}

/// A runtime of one thread, for commands that mostly wait.
fn waiting_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)
}

/// Writes to the standard output at once. A reader that went away is an error like any other.
fn print(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(CliError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_and_flag_says_what_it_is() {
        for subcommand in Cli::command().get_subcommands() {
            assert!(subcommand.get_about().is_some(), "{} says nothing", subcommand.get_name());
            for arg in subcommand.get_arguments() {
                let (name, flag) = (subcommand.get_name(), arg.get_id());
                assert!(arg.get_help().is_some(), "{name} {flag} says nothing");
            }
        }
    }

    fn refused(args: &[&str]) -> String {
        let args = std::iter::once("quorate").chain(args.iter().copied());
        Cli::try_parse_from(args).expect_err("the command line was accepted").to_string()
    }

    #[test]
    fn a_misspelt_flag_is_answered_with_the_nearest_one() {
        assert!(refused(&["get", "k", "--prefx"]).contains("--prefix"));
        assert!(refused(&["servee"]).contains("serve"));
    }

    #[test]
    fn ways_to_name_a_range_exclude_each_other() {
        for args in [
            &["get", "a", "b", "--prefix"][..],
            &["get", "a", "--prefix", "--from-key"],
            &["get", "a", "b", "--from-key"],
            &["del", "a", "b", "--prefix"],
            &["get", "a", "--keys-only", "--count-only"],
        ] {
            assert!(refused(args).contains("cannot be used with"), "{args:?}");
        }
    }
}
