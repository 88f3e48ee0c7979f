//! The plan of a run: everything that is decided before it begins, and how to say it again in one short line.
//!
//! A run has two phases. In the first the faults of the schedule strike, and only safety is judged. Then everything
//! heals: all links carry, all nodes run, nothing is lost. In the second, the workload may demand progress.
//!
//! A [`Reduction`] takes parts of a plan away. A seed with a reduction is a [`Replay`], which prints as one word and
//! is read back from it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::faults::{FaultMix, Scheduled};
use crate::rng::{Ppm, Rng};
use crate::time::Time;

/// The streams of chance that one seed is split into.
pub(crate) mod purpose {
    pub(crate) const MIX: u64 = 1;
    pub(crate) const RUN: u64 = 2;
    pub(crate) const WORKLOAD: u64 = 3;
    pub(crate) const CLOCKS: u64 = 4;
    pub(crate) const MEMORY: u64 = 5;
    pub(crate) const VERSIONS: u64 = 6;
}

/// What all seeds of a campaign have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The number of nodes, which are called 1 to `nodes`.
    pub nodes: usize,
    /// How long faults strike.
    pub safety: Duration,
    /// How long everything is well after that.
    pub liveness: Duration,
    /// How many operations the workload shall issue. The simulation only hands it on.
    pub operations: u32,
    /// After how many steps the workload's invariant is looked at: 1 to look after each.
    pub invariant_every: u32,
    /// Whether disks lose what they have promised to keep. Nobody survives that who has not provided for it.
    pub memory_loss: bool,
    /// Whether nodes change their version, and messages are encoded on their way.
    pub mixed_versions: bool,
    /// The command that replays a run, with `{replay}` where the replay goes.
    pub command: String,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            nodes: 3,
            safety: Duration::from_secs(10),
            liveness: Duration::from_secs(10),
            operations: 100,
            invariant_every: 1,
            memory_loss: false,
            mixed_versions: false,
            command: "replay {replay}".to_owned(),
        }
    }
}

/// Everything about a run that is decided before it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What was drawn from, and what was taken away.
    pub replay: Replay,
    /// What all runs have in common, with the reduction's limits applied.
    pub bounds: Bounds,
    /// How network, disks and clocks behave.
    pub mix: FaultMix,
    /// The faults that strike, in the order of their times.
    pub faults: Vec<Scheduled>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, bounds: &Bounds) -> Self {
        Plan::of(&Replay { seed, reduction: Reduction::default() }, bounds)
    }

    /// The plan of a seed, with parts taken away. The rest is as the seed drew it.
    pub fn of(replay: &Replay, bounds: &Bounds) -> Self {
        let mut rng = Rng::for_purpose(replay.seed, purpose::MIX);
        let mut mix = FaultMix::draw(&mut rng);
        if bounds.memory_loss {
            mix.lose_memory(&mut Rng::for_purpose(replay.seed, purpose::MEMORY));
        }
        if bounds.mixed_versions {
            mix.mix_versions(&mut Rng::for_purpose(replay.seed, purpose::VERSIONS));
        }
        let mut faults = mix.schedule(bounds.nodes, bounds.safety, &mut rng);
        let mut bounds = bounds.clone();
        let reduction = &replay.reduction;
        bounds.safety = reduction.safety.unwrap_or(bounds.safety).min(bounds.safety);
        bounds.operations = reduction.operations.unwrap_or(bounds.operations);
        for calm in &reduction.calm {
            calm.apply(&mut mix);
        }
        faults.retain(|scheduled| {
            scheduled.at.since_start() < bounds.safety
                && reduction.keep.as_ref().is_none_or(|keep| keep.contains(&scheduled.index))
        });
        Plan { replay: replay.clone(), bounds, mix, faults }
    }

    /// A plan without faults, to which a named scenario adds its own. Replays of it are of no use: its faults are
    /// not the seed's.
    pub fn calm(seed: u64, bounds: &Bounds) -> Self {
        let replay = Replay { seed, reduction: Reduction::default() };
        Plan { replay, bounds: bounds.clone(), mix: FaultMix::calm(), faults: Vec::new() }
    }

    /// The chance that the run draws from while it runs.
    pub(crate) fn luck(&self) -> Rng {
        let luck = u64::from(self.replay.reduction.luck) << 8;
        Rng::for_purpose(self.replay.seed, purpose::RUN | luck)
    }

    /// When everything heals.
    pub(crate) fn heals_at(&self) -> Time {
        Time::from(self.bounds.safety)
    }

    /// When the run ends, unless the workload is done before.
    pub(crate) fn ends_at(&self) -> Time {
        self.heals_at() + self.bounds.liveness
    }
}

/// A part of the mix that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Calm {
    /// No message is lost by chance.
    Loss,
    /// No message arrives twice.
    Duplicates,
    /// No message is much later than others.
    Spikes,
    /// Links keep order.
    Reordering,
    /// All clocks run alike.
    Drift,
    /// No sync stalls.
    Stalls,
    /// Nobody is told that a connection is lost.
    Hints,
    /// Nodes take an input as soon as it arrives.
    Linger,
    /// Messages are handed over as they are.
    Wire,
}

impl Calm {
    /// Every part of the mix that can be taken away.
    pub const ALL: [Calm; 9] = [
        Calm::Loss,
        Calm::Duplicates,
        Calm::Spikes,
        Calm::Reordering,
        Calm::Drift,
        Calm::Stalls,
        Calm::Hints,
        Calm::Linger,
        Calm::Wire,
    ];

    fn apply(self, mix: &mut FaultMix) {
        match self {
            Calm::Loss => mix.network.loss = Ppm::NEVER,
            Calm::Duplicates => mix.network.duplicate = Ppm::NEVER,
            Calm::Spikes => mix.network.spike = Ppm::NEVER,
            Calm::Reordering => mix.network.in_order = true,
            Calm::Drift => mix.drift = Ppm::NEVER,
            Calm::Stalls => mix.disk.stall = Ppm::NEVER,
            Calm::Hints => mix.hints = Ppm::NEVER,
            Calm::Linger => mix.linger = Ppm::NEVER,
            Calm::Wire => mix.wire = false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Calm::Loss => "loss",
            Calm::Duplicates => "duplicates",
            Calm::Spikes => "spikes",
            Calm::Reordering => "reordering",
            Calm::Drift => "drift",
            Calm::Stalls => "stalls",
            Calm::Hints => "hints",
            Calm::Linger => "linger",
            Calm::Wire => "wire",
        }
    }
}

/// What to take away from the plan of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reduction {
    /// The faults to keep, by their index in the seed's schedule; all if none.
    pub keep: Option<Vec<u32>>,
    /// The parts of the mix to take away.
    pub calm: Vec<Calm>,
    /// How long faults strike; as the bounds say if none.
    pub safety: Option<Duration>,
    /// How many operations the workload issues; as the bounds say if none.
    pub operations: Option<u32>,
    /// Which luck the run has: 0 for the seed's own. A smaller plan often needs other luck to fail.
    pub luck: u32,
}

/// A run, in one word: a seed and what was taken away, such as `17:keep=0,5:calm=loss:safety=1500000ns:operations=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The seed.
    pub seed: u64,
    /// What to take away.
    pub reduction: Reduction,
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        if let Some(keep) = &self.reduction.keep {
            let indexes: Vec<String> = keep.iter().map(u32::to_string).collect();
            write!(f, ":keep={}", indexes.join(","))?;
        }
        if !self.reduction.calm.is_empty() {
            let names: Vec<&str> = self.reduction.calm.iter().map(|calm| calm.name()).collect();
            write!(f, ":calm={}", names.join(","))?;
        }
        if let Some(safety) = self.reduction.safety {
            write!(f, ":safety={}ns", safety.as_nanos())?;
        }
        if let Some(operations) = self.reduction.operations {
            write!(f, ":operations={operations}")?;
        }
        if self.reduction.luck > 0 {
            write!(f, ":luck={}", self.reduction.luck)?;
        }
        Ok(())
    }
}

/// A word that is no replay.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{word}\" is no replay: cannot read \"{part}\"; give a seed, or copy the word that a failure printed"
)]
pub struct NotAReplay {
    word: String,
    part: String,
}

impl FromStr for Replay {
    type Err = NotAReplay;

    fn from_str(word: &str) -> Result<Self, NotAReplay> {
        let refuse = |part: &str| NotAReplay { word: word.to_owned(), part: part.to_owned() };
        let mut parts = word.split(':');
        let seed = parts.next().unwrap_or_default();
        let seed = seed.parse().map_err(|_| refuse(seed))?;
        let mut reduction = Reduction::default();
        for part in parts {
            reduction.read(part).ok_or_else(|| refuse(part))?;
        }
        Ok(Replay { seed, reduction })
    }
}

impl Reduction {
    /// Reads one part of a replay; none if it makes no sense.
    fn read(&mut self, part: &str) -> Option<()> {
        let (name, value) = part.split_once('=')?;
        let items = || value.split(',').filter(|item| !item.is_empty());
        match name {
            "keep" => self.keep = Some(items().map(|i| i.parse().ok()).collect::<Option<_>>()?),
            "calm" => {
                let named = |item: &str| Calm::ALL.into_iter().find(|calm| calm.name() == item);
                self.calm = items().map(named).collect::<Option<_>>()?;
            }
            "safety" => {
                self.safety = Some(Duration::from_nanos(value.strip_suffix("ns")?.parse().ok()?));
            }
            "operations" => self.operations = Some(value.parse().ok()?),
            "luck" => self.luck = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_read_back_from_what_it_prints() {
        let replay = Replay {
            seed: 17,
            reduction: Reduction {
                keep: Some(vec![0, 5]),
                calm: Calm::ALL.to_vec(),
                safety: Some(Duration::from_micros(1_500)),
                operations: Some(3),
                luck: 2,
            },
        };
        assert_eq!(replay.to_string().parse(), Ok(replay.clone()));
        let nothing_kept = Replay {
            seed: 1,
            reduction: Reduction { keep: Some(Vec::new()), ..Reduction::default() },
        };
        assert_eq!(nothing_kept.to_string(), "1:keep=");
        assert_eq!("1:keep=".parse(), Ok(nothing_kept));
    }

    #[test]
    fn what_is_no_replay_is_refused_by_the_part_that_makes_no_sense() {
        for (word, part) in [("x", "x"), ("1:keep=a", "keep=a"), ("1:calm=rain", "calm=rain")] {
            let refused = word.parse::<Replay>().expect_err("it makes no sense");
            assert!(refused.to_string().contains(&format!("cannot read \"{part}\"")), "{refused}");
        }
    }

    #[test]
    fn taking_faults_away_leaves_the_others_as_they_were() {
        let bounds = Bounds { safety: Duration::from_secs(30), ..Bounds::default() };
        let whole = (0..).map(|seed| Plan::draw(seed, &bounds)).find(|plan| plan.faults.len() > 9);
        let whole = whole.expect("some seed draws ten faults");
        let mut replay = whole.replay.clone();
        replay.reduction.keep = Some(vec![3, 7]);
        let reduced = Plan::of(&replay, &bounds);
        assert_eq!(reduced.faults, [whole.faults[3].clone(), whole.faults[7].clone()]);
        assert_eq!(reduced.mix, whole.mix);
        replay.reduction.safety = Some(whole.faults[7].at.since_start());
        assert_eq!(Plan::of(&replay, &bounds).faults, [whole.faults[3].clone()]);
    }
}
