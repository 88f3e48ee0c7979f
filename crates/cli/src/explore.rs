//! `quorate explore`: everything that a small cluster may do, here, within bounds.
//!
//! *Follow one exploration*: the flags become bounds ([`ExploreArgs::bounds`]), the explorer (crate `quorate-explore`)
//! visits every state within them, level by level, and what it found is printed: how many states, or the shortest run
//! that breaks a promise.
//!
//! Open first: [`run`].

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum, value_parser};
use quorate_core::{Mutants, Protocol};
use quorate_explore::raft::{MUTANTS, RaftBounds, RaftModel, mutant};
use quorate_explore::{Explored, Options, Progress, Report, Stop, Syncs, Verdict, explore};
use serde_json::json;

use crate::endpoints::positive_seconds;
use crate::error::CliError;
use crate::print;
use crate::simulate::report::{counted, grouped};
use crate::simulate::{say, stop_at_interrupt};

/// How often somebody who waits is told how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What can be explored.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// The consensus that the database runs
    Raft,
}

/// Visit every state that a small cluster may reach: every order of messages, timers and crashes
#[derive(Debug, Args)]
#[command(
    after_help = "Bounds are for the whole cluster and one run. Any message may arrive late or never: loss \
needs no bound.\nA counterexample is a shortest one. States that differ only in the names of nodes count once.\n\
Exit codes: 0 every promise held in what was explored, 1 one was broken, 2 misuse.\n\n\
Examples:\n  quorate explore raft\n  quorate explore raft --led --proposals 1 --crashes 1\n  \
quorate explore raft --terms 3 --elections 3 --crashes 1 --seconds 600"
)]
pub(crate) struct ExploreArgs {
    /// What to explore
    subject: Subject,

    /// The members of the cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u64).range(1..=5))]
    nodes: u64,

    /// Begin with a leader at work, and not with the first start of all members
    #[arg(long)]
    led: bool,

    /// Leave states of later terms alone
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u64).range(1..=100))]
    terms: u64,

    /// How often an election timer fires: twice before a member that has heard a leader campaigns
    #[arg(long, value_name = "N", default_value_t = 2)]
    elections: u8,

    /// How often the heartbeat timer of a leader fires
    #[arg(long, value_name = "N", default_value_t = 0)]
    heartbeats: u8,

    /// How often a leader looks whether a majority still answers
    #[arg(long, value_name = "N", default_value_t = 0)]
    quorum_checks: u8,

    /// How often a member submits again what may be lost
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u8,

    /// Proposals, each put to any member
    #[arg(long, value_name = "N", default_value_t = 0)]
    proposals: u8,

    /// Crashes, each at any moment, with any loss of what was not synced
    #[arg(long, value_name = "N", default_value_t = 0)]
    crashes: u8,

    /// Messages that arrive once more than they were sent
    #[arg(long, value_name = "N", default_value_t = 0)]
    repeats: u8,

    /// Lost connections that members are told of
    #[arg(long, value_name = "N", default_value_t = 0)]
    hints: u8,

    /// Let a member that starts be heard when it asks what the others know of it, which they also tell it with all that
    /// they say about votes and copies: very many more states
    #[arg(long)]
    hellos: bool,

    /// Let members go on while their disks sync, which production doesn't: many more states
    #[arg(long)]
    late_syncs: bool,

    /// Tell states apart that differ only in the names of nodes
    #[arg(long)]
    no_symmetry: bool,

    /// Switch on a deliberate bug, in a binary built with the feature `mutants`
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,

    /// Stop after this long
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    seconds: Option<f64>,

    /// Stop at about so many states; a million take some 100 MB
    #[arg(long, value_name = "N", default_value_t = 50_000_000, value_parser = value_parser!(u64).range(1..=2_000_000_000))]
    states: u64,

    /// Run on so many threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl ExploreArgs {
    fn bounds(&self) -> RaftBounds {
        RaftBounds {
            nodes: self.nodes,
            is_led: self.led,
            terms: self.terms,
            elections: self.elections,
            heartbeats: self.heartbeats,
            quorum_checks: self.quorum_checks,
            retries: self.retries,
            proposals: self.proposals,
            crashes: self.crashes,
            repeats: self.repeats,
            hints: self.hints,
            hellos: self.hellos,
            syncs: if self.late_syncs { Syncs::Anytime } else { Syncs::EachTurn },
        }
    }

    fn mutants(&self) -> Result<Mutants, CliError> {
        let Some(name) = &self.mutant else { return Ok(Mutants::NONE) };
        mutant(name).ok_or_else(|| {
            CliError::Misuse(if MUTANTS.contains(&name.as_str()) {
                "this binary was built without deliberate bugs; `cargo build --features mutants` makes one that has \
                 them"
                .into()
            } else {
                format!("there is no mutant {name}; there are {}", MUTANTS.join(", "))
            })
        })
    }
}

/// `quorate explore`
pub(crate) fn run(args: ExploreArgs) -> Result<(), CliError> {
    let Subject::Raft = args.subject;
    let model = RaftModel::new(args.bounds(), args.mutants()?);
    let threads = args
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let options = Options {
        threads,
        is_symmetric: !args.no_symmetry,
        depth_max: None,
        states_max: Some(args.states),
    };
    let is_stopped = stop_at_interrupt()?;
    let limit = args.seconds.map(Duration::from_secs_f64);
    let began = Instant::now();
    let mut said = began;
    let report = explore(&model, &options, |progress| {
        if said.elapsed() >= PROGRESS_INTERVAL {
            said = Instant::now();
            say(&progress_line(progress, began.elapsed()));
        }
        limit.is_none_or(|limit| began.elapsed() < limit) && !is_stopped.load(Ordering::Relaxed)
    });
    let took = began.elapsed();
    say("");
    print(&if args.json { as_json(&args, &report, took) } else { as_text(&report, took) })?;
    match report.counterexample() {
        None => Ok(()),
        Some(counterexample) => Err(CliError::Explore(counterexample.broken.clone())),
    }
}

fn progress_line(progress: &Progress, took: Duration) -> String {
    format!(
        "{:.0} s, {} steps deep, {} states, {} to explore",
        took.as_secs_f64(),
        progress.depth,
        grouped(progress.states),
        grouped(progress.waiting)
    )
}

fn speed<P: Protocol>(report: &Report<P>, took: Duration) -> f64 {
    report.states as f64 / took.as_secs_f64().max(1e-9)
}

/// An exploration, for people.
fn as_text<P: Explored>(report: &Report<P>, took: Duration) -> String {
    let states = counted(report.states, "state");
    let mut text = match &report.verdict {
        Verdict::Exhausted => format!("Every promise held in all {states} within the bounds.\n\n"),
        Verdict::Bounded(stop) => {
            let why = match stop {
                Stop::Depth => "at the depth that was set",
                Stop::States => "at the number of states that was set",
                Stop::Caller => "before the end",
            };
            format!("Every promise held in {states}; there are more. Stopped {why}.\n\n")
        }
        Verdict::Broken(counterexample) => {
            let steps = counterexample.steps.len();
            format!("A promise was BROKEN, in {steps} steps; no fewer do.\n\n{counterexample}\n\n")
        }
    };
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:32} {value}").expect("a string takes all");
    };
    line("states", grouped(report.states));
    line("states outside the bounds", grouped(report.outside));
    line("changes tried", grouped(report.changes));
    line("steps to the furthest state", report.depth.to_string());
    line("states in memory at once", grouped(report.frontier_max));
    line("table of states seen", format!("{} MB", grouped(report.table_bytes >> 20)));
    line("risk that a state was overlooked", format!("{:.0e}", report.collision_probability()));
    for goal in &report.goals {
        let reached =
            goal.depth.map(|depth| format!("first after {}", counted(depth.into(), "step")));
        line(goal.goal, reached.unwrap_or_else(|| "NOT REACHED".into()));
    }
    let speed = grouped(speed(report, took) as u64);
    line("took", format!("{:.1} s, {speed} states a second", took.as_secs_f64()));
    text
}

/// An exploration, for programs.
fn as_json<P: Explored>(args: &ExploreArgs, report: &Report<P>, took: Duration) -> String {
    let verdict = match report.verdict {
        Verdict::Exhausted => "exhausted",
        Verdict::Bounded(_) => "bounded",
        Verdict::Broken(_) => "broken",
    };
    let goals: Vec<_> =
        report.goals.iter().map(|goal| json!({ "goal": goal.goal, "depth": goal.depth })).collect();
    let run = report.counterexample().map(|counterexample| {
        let steps: Vec<String> = counterexample.steps.iter().map(ToString::to_string).collect();
        json!({ "broken": counterexample.broken, "steps": steps })
    });
    let object = json!({
        "subject": "raft",
        "bounds": {
            "nodes": args.nodes,
            "led": args.led,
            "terms": args.terms,
            "elections": args.elections,
            "heartbeats": args.heartbeats,
            "quorum_checks": args.quorum_checks,
            "retries": args.retries,
            "proposals": args.proposals,
            "crashes": args.crashes,
            "repeats": args.repeats,
            "hints": args.hints,
            "hellos": args.hellos,
            "late_syncs": args.late_syncs,
        },
        "mutant": args.mutant,
        "symmetry": !args.no_symmetry,
        "verdict": verdict,
        "counterexample": run,
        "states": report.states,
        "outside": report.outside,
        "changes": report.changes,
        "depth": report.depth,
        "goals": goals,
        "frontier_max": report.frontier_max,
        "table_bytes": report.table_bytes,
        "collision_probability": report.collision_probability(),
        "seconds": took.as_secs_f64(),
        "states_per_second": speed(report, took),
    });
    format!("{object:#}\n")
}
