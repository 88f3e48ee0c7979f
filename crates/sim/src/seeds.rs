//! Many seeds: campaigns over threads, with statistics.
//!
//! This is the one module that knows threads and a clock, and both stay outside of the runs: a thread runs one
//! simulation after another, each a function of its seed alone, and the clock only times the whole.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "whole runs are spread over threads and timed from outside; no run sees either"
)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use crate::counters::Counters;
use crate::failure::{Failure, Report};

/// When a campaign ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After the last seed.
    AllSeeds,
    /// After the smallest seed that fails. The same whatever the number of threads.
    FirstFailure,
}

/// What came of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// The failures, by seed.
    pub failures: Vec<Failure>,
    /// How many runs held.
    pub held: u64,
    /// How much virtual time was judged, in the runs that held.
    pub judged: Duration,
    /// What happened in the runs that held.
    pub counters: Counters,
    /// How long the campaign took.
    pub took: Duration,
}

impl Campaign {
    /// How many times faster than life the campaign went.
    pub fn speed(&self) -> f64 {
        self.judged.as_secs_f64() / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.held + self.failures.len() as u64;
        writeln!(
            f,
            "{} of {runs} runs held; {:.2} virtual hours judged in {:.1} s, {:.0} times as fast as life",
            self.held,
            self.judged.as_secs_f64() / 3_600.0,
            self.took.as_secs_f64(),
            self.speed()
        )?;
        write!(f, "{}", self.counters)?;
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        Ok(())
    }
}

/// Runs each seed of a range. Which threads run which seeds changes neither a run nor the result.
pub fn run_seeds(
    seeds: Range<u64>,
    threads: usize,
    until: Until,
    run: impl Fn(u64) -> Result<Report, Failure> + Sync,
) -> Campaign {
    let began = Instant::now();
    let next = AtomicU64::new(seeds.start);
    // The first seed that need not be run.
    let end = AtomicU64::new(seeds.end);
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                break;
            }
            let result = quietly(|| run(seed));
            if result.is_err() && until == Until::FirstFailure {
                end.fetch_min(seed + 1, Ordering::Relaxed);
            }
            // Another thread's panic is passed on when the scope ends; what it left here is whole.
            results.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((seed, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.sort_by_key(|(seed, _)| *seed);
    // Threads may have run ahead of the first failure. What they found there depends on how far they came.
    let end = end.into_inner();
    let mut campaign = Campaign::default();
    for (_, result) in results.into_iter().filter(|(seed, _)| *seed < end) {
        match result {
            Ok(report) => {
                campaign.held += 1;
                campaign.judged += report.judged;
                campaign.counters += report.counters;
            }
            Err(failure) => campaign.failures.push(failure),
        }
    }
    campaign.took = began.elapsed();
    campaign
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    /// Where this thread last panicked while it was quiet.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes the place in the source of the panic that was last kept quiet on this thread.
pub(crate) fn panicked_at() -> Option<String> {
    PANICKED_AT.take()
}

/// Keeps the panics of this thread from being printed while `act` runs: a failing run panics by the hundred while it
/// is shrunk, and the simulation reports each panic anyway.
pub fn quietly<T>(act: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_QUIET.get() {
                PANICKED_AT.set(panic.location().map(|place| place.to_string()));
            } else {
                loud(panic);
            }
        }));
    });
    let was_quiet = IS_QUIET.replace(true);
    let acted = catch_unwind(AssertUnwindSafe(act));
    IS_QUIET.set(was_quiet);
    acted.unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Broken, Rule};
    use crate::plan::{Bounds, Plan};
    use crate::time::Time;
    use crate::trace::Digest;

    fn fails_from(first: u64) -> impl Fn(u64) -> Result<Report, Failure> + Sync {
        move |seed| {
            if seed >= first {
                let broken = Broken { rule: Rule::Verdict, what: "bad luck".to_owned() };
                let plan = Plan::calm(seed, &Bounds::default());
                return Err(Failure::new(&plan, Time::ZERO, broken));
            }
            let counters = Counters { events: seed, ..Counters::default() };
            let judged = Duration::from_secs(1);
            Ok(Report { seed, digest: Digest(seed), judged, counters })
        }
    }

    #[test]
    fn the_smallest_failing_seed_is_found_whatever_the_number_of_threads() {
        for threads in [1, 2, 8] {
            let campaign = run_seeds(0..100, threads, Until::FirstFailure, fails_from(37));
            let seeds: Vec<u64> = campaign.failures.iter().map(|f| f.replay.seed).collect();
            assert_eq!((seeds, campaign.held), (vec![37], 37));
            assert_eq!(campaign.judged, Duration::from_secs(37));
            assert_eq!(campaign.counters.events, (0..37).sum());
        }
    }

    #[test]
    fn a_campaign_over_all_seeds_reports_every_failure_in_order() {
        let campaign = run_seeds(0..10, 3, Until::AllSeeds, fails_from(7));
        let seeds: Vec<u64> = campaign.failures.iter().map(|f| f.replay.seed).collect();
        assert_eq!((seeds, campaign.held), (vec![7, 8, 9], 7));
        assert!(campaign.to_string().starts_with("7 of 10 runs held"), "{campaign}");
    }
}
