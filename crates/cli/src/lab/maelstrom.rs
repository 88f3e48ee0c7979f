//! `quorate lab maelstrom`: your own node program, in any language, in a cluster whose network misbehaves.
//!
//! *Follow one run*: the flags become [`Options`], the program is started once a node ([`Processes`]), or a protocol of the
//! catalogue is played in memory ([`InMemory`]), the crate `quorate-maelstrom` plays clients, services and the network and
//! judges what was seen, and its report is printed.
//!
//! Open first: [`run`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, value_parser};
use quorate_maelstrom::{
    Consistency, NetworkMix, Options, Processes, Program, Report, StartError, Workload, run as play,
};
use quorate_maelstrom_nodes::{Disk, InMemory};
use quorate_sim::Ppm;

use crate::endpoints::positive_seconds;
use crate::error::CliError;
use crate::print;
use crate::simulate::say;

/// Run your own node program, in any language, or a protocol of the catalogue, under a network with faults, and judge it
#[derive(Debug, Args)]
#[command(
    after_help = "A node reads messages from its standard input and writes messages to its standard output, one JSON \
object a line, as Maelstrom defines them (github.com/jepsen-io/maelstrom, doc/protocol.md). What it writes to its \
standard error is for you.\n\n\
Workloads: echo, unique-ids, broadcast, g-set, g-counter, pn-counter, lin-kv, kafka, txn-list-append, \
txn-rw-register.\nServices that nodes may call: lin-kv, seq-kv, lww-kv, lin-tso.\n\n\
With --protocol the nodes are a protocol of the catalogue, in memory, and the same seed is the same run. `quorate lab node` \
is the same as a program, for --bin or for another harness.\n\
With --kill a program has to keep what it must not forget on its disk; it gets no sign that it is about to die.\n\n\
Exit codes: 0 everything that was promised held, 1 something did not, 2 misuse.\n\n\
Examples:\n  quorate lab maelstrom --bin ./echo.py --workload echo --nodes 1\n  \
quorate lab maelstrom --bin ./broadcast.py --workload broadcast --loss 20 --partitions\n  \
quorate lab maelstrom --bin java --workload lin-kv --seconds 30 --logs out -- -jar node.jar\n  \
quorate lab maelstrom --protocol raft --workload lin-kv --loss 5 --duplicates 5 --partitions --kill\n  \
quorate lab maelstrom --bin quorate --workload kafka --kill -- lab node raft --workload kafka --data-dir \"$(mktemp -d)\""
)]
pub(crate) struct MaelstromArgs {
    /// The program that is one node
    #[arg(long, value_name = "PROGRAM", required_unless_present = "protocol")]
    bin: Option<PathBuf>,

    /// Instead of a program: the protocol of the catalogue that plays the nodes, in memory
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bin", "logs", "arguments"])]
    protocol: Option<String>,

    /// What is asked of it
    #[arg(long, value_name = "NAME")]
    workload: Workload,

    /// How many nodes to run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..=100))]
    nodes: u16,

    /// How long requests are made
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    seconds: f64,

    /// How many requests are made a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// How many messages among nodes are lost, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u32).range(0..=100))]
    loss: u32,

    /// How many messages among nodes arrive twice, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = value_parser!(u32).range(0..=100))]
    duplicates: u32,

    /// How long a message among nodes takes on the average, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = value_parser!(u64).range(0..=60_000))]
    latency_ms: u64,

    /// Cut nodes off from each other now and then
    #[arg(long)]
    partitions: bool,

    /// Kill nodes now and then (kill -9), and start them again
    #[arg(long)]
    kill: bool,

    /// What all chance comes from
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,

    /// What transactions must keep to: read-uncommitted, read-committed, snapshot-isolation, serializable or
    /// strict-serializable [default: strict-serializable for lists, read-committed for registers]
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<Consistency>,

    /// How long a client waits for an answer before it counts as in doubt
    #[arg(long, value_name = "MS", default_value_t = 2_000, value_parser = value_parser!(u64).range(1..=600_000))]
    timeout_ms: u64,

    /// How long a node may take to answer `init`
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    start_within: f64,

    /// How long nodes may take, when the faults are over, to come to what must hold in the end
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive_seconds)]
    settle: f64,

    /// Keep what nodes write to their standard error (n1.log, ...) and all their messages (messages.jsonl) here
    #[arg(long, value_name = "DIRECTORY")]
    logs: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Arguments for the program
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

impl MaelstromArgs {
    fn options(&self) -> Result<Options, CliError> {
        if self.consistency.is_some() && self.workload.default_consistency().is_none() {
            return Err(CliError::Misuse(format!(
                "--consistency is for transactions, and {} has none; use it with txn-list-append or txn-rw-register",
                self.workload
            )));
        }
        Ok(Options {
            workload: self.workload,
            nodes: self.nodes,
            requests_last: Duration::from_secs_f64(self.seconds),
            rate: f64::from(self.rate),
            network: NetworkMix {
                loss: Ppm::percent(self.loss),
                latency: Duration::from_millis(self.latency_ms),
                duplicates: Ppm::percent(self.duplicates),
                has_partitions: self.partitions,
            },
            has_kills: self.kill,
            seed: self.seed,
            timeout: Duration::from_millis(self.timeout_ms),
            start_within: Duration::from_secs_f64(self.start_within),
            settle: Duration::from_secs_f64(self.settle),
            consistency: self.consistency,
        })
    }
}

/// `quorate lab maelstrom`
pub(crate) fn run(args: MaelstromArgs) -> Result<(), CliError> {
    let options = args.options()?;
    let report = match (&args.protocol, &args.bin) {
        (Some(name), _) => {
            let show = super::node::show(name, options.workload)?;
            let mut nodes = InMemory::new(show, options.nodes, options.seed, Disk::Honest);
            play(&options, &mut nodes)
        }
        (None, Some(program)) => run_program(&args, &options, program)?,
        (None, None) => {
            return Err(CliError::Misuse("--bin or --protocol says what to run".into()));
        }
    };
    print(&if args.json { format!("{:#}\n", report.to_json()) } else { report.to_string() })?;
    match report.held() {
        true => Ok(()),
        false => Err(CliError::NotDone(report.summary())),
    }
}

fn run_program(
    args: &MaelstromArgs,
    options: &Options,
    program: &Path,
) -> Result<Report, CliError> {
    let program = Program {
        path: here_if_here(program),
        arguments: args.arguments.clone(),
        logs: args.logs.clone(),
    };
    let mut nodes = Processes::start(&program, options.nodes).map_err(|error| match error {
        StartError::Program { .. } => CliError::Misuse(error.to_string()),
        StartError::Logs { .. } | StartError::Thread(_) => CliError::NotDone(error.to_string()),
    })?;
    let (workload, count, seconds) = (options.workload, options.nodes, args.seconds);
    say(&format!("{workload} on {count} nodes, for {seconds} s and a while"));
    let report = play(options, &mut nodes);
    drop(nodes);
    say("");
    Ok(report)
}

/// A bare name means the file of that name if it is here, and only then a command of the system.
fn here_if_here(path: &Path) -> PathBuf {
    if path.components().count() == 1 && path.is_file() {
        return Path::new(".").join(path);
    }
    path.to_path_buf()
}
