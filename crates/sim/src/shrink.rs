//! Shrinking: from a run that fails to the least that still fails.
//!
//! Faults were drawn before the run, so they can be taken out by halves, quarters and ones (Zeller and Hildebrandt,
//! "Simplifying and isolating failure-inducing input", 2002). What a shrunk run draws while it runs differs from the
//! original's, so it is a run of its own; it counts only if it breaks the same rule. If it doesn't fail, it may have
//! had better luck than the original, so a few kinds of luck are tried.

use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, Report};
use crate::faults::Scheduled;
use crate::plan::{Bounds, Calm, Plan, Replay};
use crate::seeds::quietly;

/// How many kinds of luck each smaller plan is tried with.
const LUCK_MAX: u32 = 4;

/// A failure made small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest failure that was found, and how to replay it.
    pub failure: Failure,
    /// The faults that it needs.
    pub faults: Vec<Scheduled>,
    /// How many faults the seed had drawn.
    pub faults_before: usize,
    /// How many runs it took.
    pub runs: usize,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.failure)?;
        let (left, before, runs) = (self.faults.len(), self.faults_before, self.runs);
        write!(f, "{left} of {before} faults are left after {runs} runs")?;
        for scheduled in &self.faults {
            write!(f, "\n  {scheduled}")?;
        }
        Ok(())
    }
}

/// Makes a failure small: fewer faults first, then fewer parts of the mix, a shorter run, and fewer operations.
///
/// `run` must run a plan as the failure's was run. It is called at most `runs_max` times.
pub fn shrink(
    failure: Failure,
    bounds: &Bounds,
    runs_max: usize,
    run: impl FnMut(&Plan) -> Result<Report, Failure>,
) -> Shrunk {
    let plan = Plan::of(&failure.replay, bounds);
    let faults_before = plan.faults.len();
    let mut shrinker = Shrinker { plan, failure, bounds, runs: 0, runs_max, run };
    shrinker.cut_short();
    // Each kind of reduction may make room for the others.
    loop {
        let before = shrinker.plan.replay.clone();
        shrinker.drop_faults();
        shrinker.calm_down();
        shrinker.shorten();
        shrinker.ask_less();
        if shrinker.plan.replay == before || shrinker.runs == runs_max {
            break;
        }
    }
    let Shrinker { plan, failure, runs, .. } = shrinker;
    Shrunk { failure, faults: plan.faults, faults_before, runs }
}

struct Shrinker<'a, F> {
    /// The smallest plan that failed.
    plan: Plan,
    failure: Failure,
    bounds: &'a Bounds,
    runs: usize,
    runs_max: usize,
    run: F,
}

impl<F: FnMut(&Plan) -> Result<Report, Failure>> Shrinker<'_, F> {
    /// Runs a smaller plan; if it fails as the first did, it is the smallest now.
    fn still_fails(&mut self, change: impl FnOnce(&mut Replay)) -> bool {
        let mut replay = self.plan.replay.clone();
        change(&mut replay);
        let lucks = std::iter::once(replay.reduction.luck).chain(0..LUCK_MAX);
        for (tried, luck) in lucks.enumerate() {
            if self.runs == self.runs_max {
                break;
            }
            // The luck at hand comes first, and not again in its turn.
            if tried > 0 && luck == self.plan.replay.reduction.luck {
                continue;
            }
            replay.reduction.luck = luck;
            let plan = Plan::of(&replay, self.bounds);
            self.runs += 1;
            match quietly(|| (self.run)(&plan)) {
                Err(failure) if failure.rule == self.failure.rule => {
                    self.plan = plan;
                    self.failure = failure;
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn kept(&self) -> Vec<u32> {
        self.plan.faults.iter().map(|scheduled| scheduled.index).collect()
    }

    /// Ends the phase of faults where the failure was noticed: what was to come after it did no harm.
    fn cut_short(&mut self) {
        let noticed = self.failure.at.since_start() + Duration::from_nanos(1);
        if noticed < self.plan.bounds.safety {
            self.still_fails(|replay| replay.reduction.safety = Some(noticed));
        }
    }

    fn drop_faults(&mut self) {
        let mut piece = self.kept().len();
        while piece > 0 {
            let mut from = 0;
            while from < self.kept().len() {
                let mut keep = self.kept();
                keep.drain(from..(from + piece).min(keep.len()));
                if !self.still_fails(|replay| replay.reduction.keep = Some(keep)) {
                    from += piece;
                }
            }
            piece /= 2;
        }
    }

    fn calm_down(&mut self) {
        for calm in Calm::ALL {
            if !self.plan.replay.reduction.calm.contains(&calm) {
                self.still_fails(|replay| replay.reduction.calm.push(calm));
            }
        }
    }

    fn shorten(&mut self) {
        // What is known to fail, and what is known not to, drawing closer by halves until a tenth is not worth it.
        let mut too_short = Duration::ZERO;
        loop {
            let fails = self.plan.bounds.safety;
            if fails.saturating_sub(too_short) <= fails / 10 || self.runs == self.runs_max {
                break;
            }
            let half = too_short + (fails - too_short) / 2;
            if !self.still_fails(|replay| replay.reduction.safety = Some(half)) {
                too_short = half;
            }
        }
        self.cut_short();
    }

    fn ask_less(&mut self) {
        let mut too_few = 0;
        while self.plan.bounds.operations - too_few > 1 && self.runs < self.runs_max {
            let half = too_few + (self.plan.bounds.operations - too_few) / 2;
            if !self.still_fails(|replay| replay.reduction.operations = Some(half)) {
                too_few = half;
            }
        }
    }
}
