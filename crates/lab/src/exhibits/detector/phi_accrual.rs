//! The phi accrual failure detector on show.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::detector::phi_accrual::{Config, PhiAccrual, Tick};

use super::watch::{self, DELAY, Demands, Detector, FLAWLESS, NEVER_FORGIVES, TICK_MS, Watch};
use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Phi {
    nodes: Vec<NodeId>,
    interval: u64,
    threshold: f64,
    is_flawless: bool,
    mutants: LabMutants,
}

/// How many arrivals a distribution is taken from.
const WINDOW: usize = 40;
/// A node that has been down for so many ticks must be suspected: no arrivals of the usual setup are spread so far.
const DETECTED: u64 = 80;
/// How long there must be no mistake before there is said to be none any more, in ticks.
const QUIET: u64 = 100;

impl Detector for PhiAccrual {
    fn now(&self) -> u64 {
        PhiAccrual::now(self)
    }

    fn suspects(&self) -> BTreeSet<NodeId> {
        self.suspected().collect()
    }
}

const GOALS: &[Goal<Explorable<Phi>>] = &[
    ("somebody is suspected", watch::is_anybody_suspected),
    ("a suspect is trusted again", watch::is_a_suspect_trusted_again),
];

const CLAIMS: &[Claim] = &[
    Claim {
        name: "tracking",
        what: "Nobody who is up is suspected while delays are distributed as before, whatever their spread. \
               Claimed with flawless=1.",
    },
    Claim {
        name: "completeness",
        what: "Who has been down for 800 ms is suspected by all who are up.",
    },
    Claim { name: "eventual_accuracy", what: "Once all is well, everybody is trusted." },
];

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "assumes_fixed_variance",
        what: "Takes 10 ms for the deviation of arrivals, whatever has arrived.",
        breaks: "tracking",
        setup: "",
    },
    Mutant {
        name: "trusts_strangers",
        what: "Suspects nobody who has never been heard of.",
        breaks: "completeness",
        setup: "faults=crash:n2@0+1500",
    },
    Mutant { setup: "faults=crash:n2@500+1000", ..NEVER_FORGIVES },
];

const KNOBS: &[Knob] = &[
    Knob {
        name: "threshold",
        what: "the level above which a node is suspected, in tenths",
        min: 3,
        max: 200,
        usual: 80,
    },
    Knob {
        name: "interval",
        what: "the time between two heartbeats, in ms",
        min: 10,
        max: 1_000,
        usual: 100,
    },
    FLAWLESS,
];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a_crash_is_noticed",
        what: "A node crashes, and the level of its silence rises above the threshold; back again, it is trusted.",
        setup: "nodes=2&faults=crash:n2@1000+800&lasts=2000",
        expected: Expected::Holds,
    },
    Scenario {
        name: "slow_network_at_noon",
        what: "At noon delays grow twice, by 80 ms and by 160; the level adapts to each, and nobody comes to be suspected.",
        setup: "nodes=2&seed=3&faults=clog:80@1000+3000,clog:160@2000+1000&lasts=4500",
        expected: Expected::Holds,
    },
    Scenario {
        name: "noon_comes_too_suddenly",
        what: "Delays grow by up to a second at once: the first of the slow heartbeats looks like a crash.",
        setup: "nodes=2&seed=1&delay=1-10&faults=clog:1000@1000+3000&lasts=4500",
        expected: Expected::Breaks("tracking"),
    },
];

/// The thresholds of the curves, in tenths.
const THRESHOLDS: &[i64] = &[4, 7, 10, 14, 20, 30, 50, 80];

const CURVES: &[Curve] = &[
    Curve {
        name: "mistakes",
        what: "The higher the threshold, the fewer mistakes, however delays are spread; not so if the spread is assumed.",
        vary: "threshold",
        x: "threshold (tenths)",
        values: THRESHOLDS,
        measure: "mistakes",
        y: "mistakes in 10 s",
        lines: &[
            Line { label: "1 to 90 ms", setup: "delay=1-90&flawless=0&lasts=10000&patience=0" },
            Line { label: "1 to 45 ms", setup: "delay=1-45&flawless=0&lasts=10000&patience=0" },
            Line {
                label: "1 to 90, assumed",
                setup: "delay=1-90&flawless=0&lasts=10000&patience=0&mutant=assumes_fixed_variance",
            },
        ],
        seeds: 6,
        holds: mistakes_fall,
    },
    Curve {
        name: "detection",
        what: "The higher the threshold, the longer a crash goes unnoticed, and longer where delays are spread more.",
        vary: "threshold",
        x: "threshold (tenths)",
        values: THRESHOLDS,
        measure: "detection_ms",
        y: "time to notice (ms)",
        lines: &[
            Line {
                label: "1 to 90 ms",
                setup: "delay=1-90&flawless=0&lasts=6000&patience=0&faults=crash:n3@5000+1000",
            },
            Line {
                label: "1 to 10 ms",
                setup: "delay=1-10&flawless=0&lasts=6000&patience=0&faults=crash:n3@5000+1000",
            },
        ],
        seeds: 12,
        holds: detection_rises,
    },
];

fn mistakes_fall(lines: &[Points]) -> Result<(), String> {
    let [wide, narrow, assumed] = lines else { return Err("three lines were expected".into()) };
    for line in [wide, narrow] {
        if !line.is_sorted_by(|a, b| a.1 >= b.1) || line[0].1 < 50.0 {
            return Err("mistakes do not fall as the threshold rises".into());
        }
        if line.last().is_none_or(|(_, mistakes)| *mistakes > 0.0) {
            return Err("there are mistakes at a level of 8".into());
        }
    }
    let at_four = assumed.iter().find(|(threshold, _)| *threshold == 50.0);
    if at_four.is_none_or(|(_, mistakes)| *mistakes < 10.0) {
        return Err("a spread that is assumed does as well as one that is measured".into());
    }
    Ok(())
}

fn detection_rises(lines: &[Points]) -> Result<(), String> {
    let [wide, narrow] = lines else { return Err("two lines were expected".into()) };
    let is_rising = |line: &Points| line.first().map(|at| at.1 + 20.0) < line.last().map(|at| at.1);
    let is_slower = wide.iter().zip(narrow).skip(4).all(|(wide, narrow)| wide.1 > narrow.1);
    if is_rising(wide) && is_rising(narrow) && is_slower {
        Ok(())
    } else {
        Err("the time to notice does not follow the threshold and the spread".into())
    }
}

impl Exhibit for Phi {
    type Protocol = PhiAccrual;
    type History = Watch;

    const ABOUT: About = About {
        name: "phi_accrual",
        family: Family::Detector,
        path: "crates/protocols/src/detector/phi_accrual.rs",
        source: include_str!("../../../../protocols/src/detector/phi_accrual.rs"),
        claims: CLAIMS,
        mutants: MUTANTS,
        knobs: KNOBS,
        scenarios: SCENARIOS,
        curves: CURVES,
        is_in_production: false,
        status: include_str!("../../../status/phi_accrual.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 0, crashes: 1, lasts_ms: 5_000, delay_ms: (1, 90), ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name);
        Ok(Phi {
            nodes: setup.ids().collect(),
            interval: (knob("interval") as u64).div_ceil(TICK_MS),
            threshold: knob("threshold") as f64 / 10.0,
            is_flawless: knob("flawless") == 1,
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        Config {
            peers: watch::peers(&self.nodes, me),
            tick: Duration::from_millis(TICK_MS),
            interval: self.interval,
            threshold: self.threshold,
            window: WINDOW,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        Vec::new()
    }

    fn observe(
        &self,
        members: &Members<'_, PhiAccrual>,
        moved: NodeId,
        watch: &mut Watch,
    ) -> Result<(), Broken> {
        let demands = Demands {
            detects_within: &|_: &PhiAccrual, _| DETECTED,
            known_after: self.interval + DELAY,
            is_timed: true,
            flawless: self.is_flawless.then_some("tracking"),
        };
        watch.observe(members, moved, &demands)
    }

    fn settled(&self, members: &Members<'_, PhiAccrual>, watch: &Watch) -> Result<(), Broken> {
        watch.is_accurate_in_the_end(members, QUIET)
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, ticks, breaks, goals| Scope {
            what,
            setup,
            bounds: Bounds { crashes: 0, repeats: 0, requests: 0, hints: 0 },
            timers: vec![(Tick, ticks)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals,
            awaited: &[],
        };
        vec![
            scope(
                "messages that take any time",
                "nodes=2&interval=20&threshold=10",
                24,
                Some("tracking"),
                &[],
            ),
            scope(
                "the same, and mistakes are allowed",
                "nodes=2&interval=20&threshold=4&flawless=0",
                8,
                None,
                GOALS,
            ),
        ]
    }

    fn measures(&self, _: &Members<'_, PhiAccrual>, watch: &Watch) -> Vec<(&'static str, f64)> {
        watch.measures()
    }
}

#[cfg(test)]
crate::show::shown!(Phi);
