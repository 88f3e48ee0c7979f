//! `quorate simulate`: the whole database on trial, here, in virtual time.
//!
//! *Follow one campaign*: [`run`] takes seeds a [`BATCH_A_THREAD`] a thread at a time, so that it can say how it is
//! getting on and stop when it must; the trial (crate `quorate-trial`) runs and judges each; the first that breaks a rule
//! is made small and printed with the command that replays it. `--replay` runs that one again.
//!
//! Open first: [`run`], [`report`].

pub(crate) mod report;

use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use quorate_sim::{
    Campaign, Failure, Plan, Replay, Report, Shrunk, Until, run_seeds, seeds, shrink,
};
use quorate_trace::{StepLog, text};
use quorate_trial::{Suspect, bounds, judge, plan, run as run_plan, run_traced};
use rustix::time::{ClockId, clock_gettime};

use crate::drawing::Drawing;
use crate::endpoints::positive_seconds;
use crate::error::CliError;
use crate::{print, waiting_runtime};

/// How a failure is seen again.
const REPLAY_COMMAND: &str = "quorate simulate --replay {replay}";
/// How many seeds each thread runs between two looks at the clock: a fraction of a second's work.
const BATCH_A_THREAD: u64 = 16;
/// The runs that are spent on making a failure small.
const SHRINK_RUNS_MAX: usize = 400;
/// The seeds that are run if nobody says which.
const SEEDS_DEFAULT: Range<u64> = 0..1_000;
/// A campaign that lasts until its time is over begins at a seed below this one, so that it judges what nobody has
/// judged: so many that two campaigns hardly ever meet, so few that a person can copy one.
const SEED_DRAWN_MAX: u64 = 1_000_000_000_000;

/// Put the database on trial in simulation: faults by seed, every history judged
#[derive(Debug, Args)]
#[command(
    after_help = "A seed decides everything that happens in a run: cluster, clients, faults. \
The same seed is the same run on every machine. With --seconds alone the first seed is drawn at random and printed, \
so that every campaign judges runs that nobody has seen.\n\n\
Examples:\n  quorate simulate\n  quorate simulate --seconds 28800\n  \
quorate simulate --seeds 5000.. --seconds 60\n  \
quorate simulate --replay 17:keep=0,5:operations=3 --trace\n  \
quorate simulate --seed 17 --html run.html"
)]
pub(crate) struct SimulateArgs {
    /// Run these seeds, the last not included [default: 0..1000; with --seconds, from a random one]
    #[arg(long, value_name = "FROM..[TO]", value_parser = seed_range)]
    seeds: Option<Range<u64>>,

    /// Begin no new runs after this long
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    seconds: Option<f64>,

    /// Run one seed again, or what is left of it after shrinking: the word that a failure printed
    #[arg(long, visible_alias = "seed", value_name = "WORD", conflicts_with_all = ["seeds", "seconds", "threads"])]
    replay: Option<Replay>,

    /// Print everything that happens in it
    #[arg(long, requires = "replay", conflicts_with = "json")]
    trace: bool,

    #[command(flatten)]
    drawing: Drawing,

    /// Run on so many threads [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn seed_range(text: &str) -> Result<Range<u64>, String> {
    let explain = || "write a range such as 0..1000, or 500.. for all from 500".to_string();
    let (from, to) = text.split_once("..").ok_or_else(explain)?;
    let from: u64 = from.parse().map_err(|_| explain())?;
    let to = if to.is_empty() { u64::MAX } else { to.parse().map_err(|_| explain())? };
    if from < to {
        Ok(from..to)
    } else {
        Err("there is no seed in it; the first must be less than the last".into())
    }
}

/// What came of a campaign.
pub(crate) struct Trials {
    /// The seeds that were run.
    seeds: Range<u64>,
    /// Whether there were more to run when the time was over, or somebody had seen enough.
    is_cut_short: bool,
    /// Whether chance chose where to begin.
    is_drawn: bool,
    threads: usize,
    /// The time that processors spent on it.
    processor: Duration,
    campaign: Campaign,
    /// The histories that were searched to the end, in the runs that held.
    linearizable: u64,
    /// Those that were too hard to search, and were only audited.
    audited: u64,
    /// The first failure, made small.
    shrunk: Option<Shrunk>,
}

/// `quorate simulate`
pub(crate) fn run(args: SimulateArgs) -> Result<(), CliError> {
    if let Some(replay) = &args.replay {
        return run_again(replay, &args);
    }
    let is_stopped = stop_at_interrupt()?;
    let trials = campaign(&args, is_stopped);
    let drawn = draw_failure(&trials, &args.drawing)?;
    print(&if args.json { report::as_json(&trials) } else { report::as_text(&trials) + &drawn })?;
    match trials.campaign.failures.first() {
        None => Ok(()),
        Some(failure) => Err(CliError::Simulate(format!(
            "seed {} broke the {} rule",
            failure.replay.seed, failure.rule
        ))),
    }
}

/// Runs one plan, and says how it went.
fn run_again(replay: &Replay, args: &SimulateArgs) -> Result<(), CliError> {
    let plan = Plan::of(replay, &bounds(replay.seed, REPLAY_COMMAND));
    let outcome = seeds::quietly(|| {
        if args.trace || args.drawing.is_wanted() {
            run_traced(Suspect::default(), &plan)
        } else {
            judge(Suspect::default(), &plan)
        }
    });
    let mut drawn = String::new();
    if let Some(log) = &outcome.trace {
        if args.trace {
            print(&text::in_full(log))?;
        }
        drawn = draw(&args.drawing, log, &plan, &outcome.result)?;
    }
    print(&if args.json {
        report::run_as_json(&plan, &outcome.result)
    } else {
        report::run_as_text(&plan, &outcome.result) + &drawn
    })?;
    outcome
        .result
        .map(|_| ())
        .map_err(|failure| CliError::Simulate(format!("the run broke the {} rule", failure.rule)))
}

/// Draws the run that a campaign failed with, after it was made small. Returns what there is to say of it.
fn draw_failure(trials: &Trials, drawing: &Drawing) -> Result<String, CliError> {
    let Some(shrunk) = trials.shrunk.as_ref().filter(|_| drawing.is_wanted()) else {
        return Ok(String::new());
    };
    let replay = &shrunk.failure.replay;
    let plan = Plan::of(replay, &bounds(replay.seed, REPLAY_COMMAND));
    let outcome = seeds::quietly(|| run_traced(Suspect::default(), &plan));
    match &outcome.trace {
        Some(log) => draw(drawing, log, &plan, &outcome.result),
        None => Ok(String::new()),
    }
}

/// Draws a run. Returns what there is to say of it.
fn draw(
    drawing: &Drawing,
    log: &StepLog,
    plan: &Plan,
    result: &Result<Report, Failure>,
) -> Result<String, CliError> {
    let seed = plan.replay.seed;
    let title = match result {
        Ok(_) => format!("Seed {seed}: every rule held"),
        Err(failure) => format!("Seed {seed} broke the {} rule", failure.rule),
    };
    let command = plan.bounds.command.replace("{replay}", &plan.replay.to_string());
    drawing.draw(log, &title, &quorate_trial::describe(seed), &command)
}

fn campaign(args: &SimulateArgs, is_stopped: &AtomicBool) -> Trials {
    let threads = args
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let is_drawn = args.seeds.is_none() && args.seconds.is_some();
    let all = match &args.seeds {
        Some(seeds) => seeds.clone(),
        None if is_drawn => drawn_seed()..u64::MAX,
        None => SEEDS_DEFAULT,
    };
    if is_drawn {
        // Before anything can go wrong: a campaign that is killed has said where it was.
        eprintln!("From seed {}, drawn at random.", all.start);
    }
    let (began, processor) = (Instant::now(), processor_time());
    let limit = args.seconds.map(Duration::from_secs_f64);
    let (linearizable, audited) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut campaign = Campaign::default();
    let mut next = all.start;
    while next < all.end
        && campaign.failures.is_empty()
        && limit.is_none_or(|limit| began.elapsed() < limit)
        && !is_stopped.load(Ordering::Relaxed)
    {
        let batch = next..next.saturating_add(BATCH_A_THREAD * threads as u64).min(all.end);
        next = batch.end;
        let part = run_seeds(batch, threads, Until::FirstFailure, |seed| {
            let outcome = judge(Suspect::default(), &plan(seed, REPLAY_COMMAND));
            if outcome.result.is_ok() {
                let undecided = u64::from(outcome.workload.undecided());
                let histories = outcome.workload.histories() as u64;
                linearizable.fetch_add(histories - undecided, Ordering::Relaxed);
                audited.fetch_add(undecided, Ordering::Relaxed);
            }
            outcome.result
        });
        campaign.held += part.held;
        campaign.judged += part.judged;
        campaign.counters += part.counters;
        campaign.failures.extend(part.failures);
        campaign.took = began.elapsed();
        say(&report::progress(&campaign, &all, limit));
    }
    let processor = processor_time().saturating_sub(processor);
    let failure = campaign.failures.first().cloned();
    if let Some(failure) = &failure {
        say(&format!("seed {} broke a rule; making it small…", failure.replay.seed));
        next = failure.replay.seed + 1;
    }
    let shrunk = failure.map(|failure| {
        let bounds = bounds(failure.replay.seed, REPLAY_COMMAND);
        shrink(failure, &bounds, SHRINK_RUNS_MAX, |plan| run_plan(Suspect::default(), plan))
    });
    say("");
    Trials {
        seeds: all.start..next,
        is_cut_short: shrunk.is_none() && next < all.end,
        is_drawn,
        threads,
        processor,
        campaign,
        linearizable: linearizable.into_inner(),
        audited: audited.into_inner(),
        shrunk,
    }
}

/// A seed that nobody knows before.
fn drawn_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) % SEED_DRAWN_MAX
}

/// The time that processors have spent on this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Has the first interrupt end the campaign with its summary, and the second end the process.
pub(crate) fn stop_at_interrupt() -> Result<&'static AtomicBool, CliError> {
    static IS_STOPPED: AtomicBool = AtomicBool::new(false);
    /// What a shell expects of a process that an interrupt has ended.
    const INTERRUPTED: i32 = 130;
    let runtime = waiting_runtime()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if IS_STOPPED.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
    });
    Ok(&IS_STOPPED)
}

/// Shows a person who waits where we are, in place of what was shown before.
pub(crate) fn say(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_campaigns_begin_at_the_same_seed() {
        let drawn = [(); 4].map(|()| drawn_seed());
        assert!(drawn.iter().all(|seed| *seed < SEED_DRAWN_MAX), "{drawn:?}");
        assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]), "{drawn:?}");
    }

    #[test]
    fn ranges_of_seeds_are_read_and_nonsense_is_refused() {
        assert_eq!(seed_range("0..1000"), Ok(0..1000));
        assert_eq!(seed_range("500.."), Ok(500..u64::MAX));
        for text in ["", "7", "..", "..9", "a..b", "1...2", "9..9", "9..3", "-1..3"] {
            assert!(seed_range(text).is_err(), "{text}");
        }
    }
}
