//! `quorate bench`: operations per second, latency, and what they cost the servers.
//!
//! *Follow one measurement*: [`run`] finds the endpoints and the servers' processes, and fills the keys that reads
//! need; [`load`] runs the clients for one round and returns a [`Figures`]; beside a peer, rounds
//! alternate between the two, and the medians are compared; [`report`] prints.
//!
//! What it takes care of: latency under `--rate` counts from when an operation was *due*, so that a server that
//! stalls is charged for all that waited ([`pace`]). Operations that fail, or are never answered, are counted and
//! said. The servers' CPU time is read at the edges of the measured window, and divided by what they completed
//! between them; on a machine that the generator shares with the servers it is the steadiest figure.
//!
//! [`watches`] and [`leases`] measure what very many of them do to a node.
//!
//! Open first: [`load`], [`figures`].

mod figures;
mod fill;
mod keys;
mod leases;
mod load;
mod pace;
mod processes;
mod report;
mod watches;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use quorate_client::{Client, ClientError, Endpoint, Options};
use serde_json::json;

use crate::bench::figures::Figures;
use crate::bench::keys::Keys;
use crate::bench::load::{Operation, Plan, Target};
use crate::endpoints::{UP_ENDPOINTS, parse, positive_seconds};
use crate::error::CliError;
use crate::status::Role;
use crate::up::layout::{DEFAULT_DIR, Layout};
use crate::{print, waiting_runtime};

/// How often each of two clusters is measured when they are compared.
const ROUNDS_BESIDE_A_PEER: usize = 3;
/// More connections than this save no time: each carries many requests at once.
const CONNECTIONS_DEFAULT: usize = 8;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Write random keys
    Put,
    /// Read random keys, linearizably unless --serializable
    Get,
    /// Both, in the proportion of --read-share
    Mixed,
    /// Write each of --keys once, in transactions, and say how long that took
    Fill,
    /// Watch each of --keys, in --streams, and say what that takes and whether all are told
    Watches,
    /// Hold a lease for each of --keys, let all end at once, and say how long that took
    Leases,
}

/// Measure a cluster, by itself or beside a peer
#[derive(Debug, Args)]
#[command(after_help = "It writes keys such as _0000042 into the cluster and leaves them there; \
`quorate del _ --prefix` removes them.\n\n\
Examples:\n  quorate bench put\n  quorate bench put --rate 10000 --seconds 30\n  \
quorate bench get --clients 1000 --target-leader\n  quorate bench fill --keys 1000000\n  \
quorate bench put --against 127.0.0.1:12379,127.0.0.1:22379 --against-pids 4711,4712")]
pub(crate) struct BenchArgs {
    /// What to measure
    workload: Workload,

    /// Nodes to load, HOST:PORT,… [default: those of the cluster in --dir, else as `quorate up` has them]
    #[arg(long, value_name = "LIST", value_delimiter = ',', env = "QUORATE_ENDPOINTS")]
    #[arg(hide_env_values = true)]
    endpoints: Vec<String>,

    /// How many requests are under way at once
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,

    /// How many connections carry them [default: 8, or fewer with few clients; one for each endpoint at least]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    conns: Option<u32>,

    /// Begin this many operations a second, evenly, however long each takes [default: each client as fast as it can]
    #[arg(long, value_name = "R", value_parser = positive_rate)]
    rate: Option<f64>,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = positive_seconds)]
    seconds: f64,

    /// How long to run before measuring
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = positive_seconds)]
    warmup: f64,

    /// The length of a key
    #[arg(long, value_name = "BYTES", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=1024))]
    key_size: u32,

    /// The length of a value
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    value_size: u32,

    /// How many different keys there are
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// mixed: which part of the operations reads
    #[arg(long, value_name = "0…1", default_value_t = 0.5, value_parser = share)]
    read_share: f64,

    /// watches: how many streams carry them
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    streams: u64,

    /// leases: how long after the first is granted all are to end
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive_seconds)]
    ttl: f64,

    /// Let nodes answer reads by themselves
    #[arg(long)]
    serializable: bool,

    /// Send everything to the leader [default: to all endpoints in turn]
    #[arg(long)]
    target_leader: bool,

    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Count an operation as failed after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = positive_seconds)]
    timeout: f64,

    /// The servers' processes, for their CPU time and memory [default: found through --dir]
    #[arg(long, value_name = "PIDS", value_delimiter = ',')]
    pids: Vec<u32>,

    /// The directory of the `quorate up` that runs the nodes
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,

    /// Measure this cluster too, in alternate rounds, and compare the medians of three
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    against: Vec<String>,

    /// That cluster's processes
    #[arg(long, value_name = "PIDS", value_delimiter = ',', requires = "against")]
    against_pids: Vec<u32>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn positive_rate(text: &str) -> Result<f64, String> {
    let rate: f64 =
        text.parse().map_err(|_| "write a number of operations a second".to_string())?;
    if rate > 0.0 && rate <= 1e8 {
        Ok(rate)
    } else {
        Err("write more than 0 and at most 10^8".into())
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "write a number between 0 and 1".to_string())?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err("write a number between 0 and 1".into())
    }
}

/// `quorate bench`
pub(crate) fn run(args: BenchArgs) -> Result<(), CliError> {
    match args.workload {
        Workload::Fill => return run_fill(&args),
        Workload::Watches | Workload::Leases => return run_multitude(&args),
        Workload::Put | Workload::Get | Workload::Mixed => {}
    }
    let plan = args.plan()?;
    let runtime = waiting_runtime()?;
    let ours = runtime.block_on(args.target())?;
    let theirs = match args.against.as_slice() {
        [] => None,
        endpoints => Some(runtime.block_on(async {
            let endpoints = narrow(parse(endpoints)?, args.target_leader).await?;
            Ok::<_, CliError>(Target { endpoints, pids: args.against_pids.clone() })
        })?),
    };
    drop(runtime);
    for target in std::iter::once(&ours).chain(&theirs) {
        if let Some(pid) = processes::first_missing(&target.pids) {
            return Err(CliError::Misuse(format!(
                "no process {pid} can be read in /proc; check the pids"
            )));
        }
        if plan.operation != Operation::Put {
            progress("writing the keys that are to be read");
            fill::fill(plan.keys, plan.value_bytes, target)?;
        }
    }
    let Some(theirs) = theirs else {
        progress("measuring");
        let figures = load::round(&plan, &ours)?;
        return print(&if args.json {
            report::one_as_json(&plan, &ours, &figures)
        } else {
            report::one_as_text(&plan, &ours, &figures)
        });
    };
    let (mut of_ours, mut of_theirs): (Vec<Figures>, Vec<Figures>) = Default::default();
    for round in 1..=ROUNDS_BESIDE_A_PEER {
        progress(&format!("measuring, round {round} of {ROUNDS_BESIDE_A_PEER}"));
        of_ours.push(load::round(&plan, &ours)?);
        of_theirs.push(load::round(&plan, &theirs)?);
    }
    print(&if args.json {
        report::pair_as_json(&plan, (&ours, &of_ours), (&theirs, &of_theirs))
    } else {
        report::pair_as_text(&plan, (&ours, &of_ours), (&theirs, &of_theirs))
    })
}

/// `quorate bench fill`
fn run_fill(args: &BenchArgs) -> Result<(), CliError> {
    if !args.against.is_empty() {
        return Err(CliError::Misuse("fill has no --against; fill each cluster by itself".into()));
    }
    let keys = args.key_space()?;
    let target = waiting_runtime()?.block_on(args.target())?;
    progress("writing keys");
    let began = Instant::now();
    let written = fill::fill(keys, args.value_size as usize, &target)?;
    let seconds = began.elapsed().as_secs_f64();
    print(&if args.json {
        format!("{}\n", json!({ "keys": keys.count(), "written": written, "seconds": seconds }))
    } else if written == 0 {
        format!("all {} keys are there already\n", keys.count())
    } else {
        let rate = written as f64 / seconds;
        format!("{written} keys written in {seconds:.1} s: {rate:.0} a second\n")
    })
}

/// `quorate bench watches`, `quorate bench leases`
fn run_multitude(args: &BenchArgs) -> Result<(), CliError> {
    if !args.against.is_empty() {
        return Err(CliError::Misuse(
            "watches and leases have no --against; measure each cluster by itself".into(),
        ));
    }
    let plan = args.plan()?;
    let target = waiting_runtime()?.block_on(args.target())?;
    progress("measuring");
    let (json, text) = if args.workload == Workload::Watches {
        let watched = watches::run(&plan, args.streams, &target)?;
        (watched.as_json(), watched.as_text())
    } else {
        let expired = leases::run(&plan, Duration::from_secs_f64(args.ttl), &target)?;
        (expired.as_json(), expired.as_text())
    };
    print(&if args.json { format!("{json}\n") } else { text })
}

impl BenchArgs {
    fn plan(&self) -> Result<Plan, CliError> {
        let keys = self.key_space()?;
        let operation = match self.workload {
            Workload::Put | Workload::Fill | Workload::Watches | Workload::Leases => Operation::Put,
            Workload::Get => Operation::Get,
            Workload::Mixed => Operation::Mixed { read_share: self.read_share },
        };
        Ok(Plan {
            operation,
            clients: self.clients as usize,
            connections: self.conns.map_or(CONNECTIONS_DEFAULT, |conns| conns as usize),
            threads: self.threads.into(),
            rate: self.rate,
            warmup: Duration::from_secs_f64(self.warmup),
            measured: Duration::from_secs_f64(self.seconds),
            keys,
            value_bytes: self.value_size as usize,
            is_serializable: self.serializable,
            timeout: Duration::from_secs_f64(self.timeout),
        })
    }

    fn key_space(&self) -> Result<Keys, CliError> {
        Keys::new(self.keys, self.key_size as usize).ok_or_else(|| {
            CliError::Misuse(format!(
                "--keys {}: so many do not fit into keys of --key-size {}; give fewer, or longer ones",
                self.keys, self.key_size
            ))
        })
    }

    /// The endpoints to load, and the processes behind them.
    async fn target(&self) -> Result<Target, CliError> {
        let layout = Layout::read(&self.dir)?;
        let endpoints = if !self.endpoints.is_empty() {
            parse(&self.endpoints)?
        } else if let Some(layout) = &layout {
            parse(&layout.endpoints())?
        } else {
            let all: Vec<String> = UP_ENDPOINTS.split(',').map(String::from).collect();
            reachable(parse(&all)?).await?
        };
        let mut pids = self.pids.clone();
        if let Some(layout) = layout.filter(|_| pids.is_empty()) {
            // Named endpoints may belong to another cluster than the one that --dir is about.
            let is_ours = endpoints.iter().any(|at| layout.endpoints().contains(&at.to_string()));
            if is_ours {
                pids = processes::of_local_cluster(&layout);
            }
        }
        Ok(Target { endpoints: narrow(endpoints, self.target_leader).await?, pids })
    }
}

/// Those of the endpoints that answer. Nobody named them, so it is no error if some of them do not.
async fn reachable(endpoints: Vec<Endpoint>) -> Result<Vec<Endpoint>, CliError> {
    let statuses = Client::new(&endpoints, Options::default())?.statuses().await;
    if statuses.iter().all(|(_, status)| status.is_err()) {
        let failures = statuses.into_iter().filter_map(|(_, status)| status.err()).collect();
        return Err(ClientError::AllFailed(failures).into());
    }
    Ok(statuses.into_iter().filter(|(_, status)| status.is_ok()).map(|(at, _)| at).collect())
}

/// The leader's endpoint alone, if that was asked for.
async fn narrow(endpoints: Vec<Endpoint>, to_leader: bool) -> Result<Vec<Endpoint>, CliError> {
    if !to_leader {
        return Ok(endpoints);
    }
    let statuses = Client::new(&endpoints, Options::default())?.statuses().await;
    let leads = |status: &Result<_, _>| status.as_ref().is_ok_and(|s| Role::of(s) == Role::Leader);
    match statuses.into_iter().find(|(_, status)| leads(status)) {
        Some((leader, _)) => Ok(vec![leader]),
        None => Err(CliError::Bench(
            "--target-leader: none of the endpoints says that it leads; name all of the cluster's"
                .into(),
        )),
    }
}

/// Says what is being done, to a person who waits.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{what}…");
    }
}
