//! The heartbeat failure detector on show.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs, UNBOUNDED};
use quorate_protocols::detector::heartbeat::{Config, Heartbeat, Tick};

use super::watch::{self, DELAY, Demands, Detector, FLAWLESS, NEVER_FORGIVES, TICK_MS, Watch};
use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Heartbeats {
    nodes: Vec<NodeId>,
    timeout: u64,
    interval: u64,
    is_timed: bool,
    is_adaptive: bool,
    is_flawless: bool,
    mutants: LabMutants,
}

/// How long there must be no mistake before there is said to be none any more, in ticks.
const QUIET: u64 = 200;

impl Detector for Heartbeat {
    fn now(&self) -> u64 {
        Heartbeat::now(self)
    }

    fn suspects(&self) -> BTreeSet<NodeId> {
        self.suspected().collect()
    }
}

const GOALS: &[Goal<Explorable<Heartbeats>>] = &[
    ("somebody is suspected", watch::is_anybody_suspected),
    ("a suspect is trusted again, and for longer", |cluster| {
        watch::is_a_suspect_trusted_again(cluster)
            && cluster.state(0).timeout(NodeId(2)) > cluster.state(1).timeout(NodeId(1))
    }),
];

/// What a node comes to that hears of nothing that the last does. It hears of the other, sooner or later.
const AWAITED: &[Eventually<Explorable<Heartbeats>>] = &[
    Eventually {
        name: "completeness: n1 comes to suspect n3, which it doesn't hear",
        after: Some(|cluster| !suspects(cluster, 1, 3)),
        comes: |cluster| suspects(cluster, 1, 3),
    },
    Eventually {
        name: "completeness: n2 comes to suspect n3, which it doesn't hear",
        after: Some(|cluster| !suspects(cluster, 2, 3)),
        comes: |cluster| suspects(cluster, 2, 3),
    },
    TRUSTS_AGAIN,
];

/// What is not to be had of a node that is up, but not heard.
const TRUSTS_AGAIN: Eventually<Explorable<Heartbeats>> = Eventually {
    name: "eventual_accuracy: n1 comes to trust n2 again, which is up",
    after: Some(|cluster| suspects(cluster, 1, 2)),
    comes: |cluster| !suspects(cluster, 1, 2),
};

fn suspects(cluster: &Snapshot<'_, Explorable<Heartbeats>>, node: usize, other: u64) -> bool {
    cluster.state(node - 1).suspected().any(|suspect| suspect == NodeId(other))
}

const ENDLESS_GOALS: &[Goal<Explorable<Heartbeats>>] = &[
    ("n1 suspects n2 as well", |cluster| suspects(cluster, 1, 2) && suspects(cluster, 1, 3)),
    ("the others suspect the one that is cut off, and not each other", |cluster| {
        let is_right = |node, other| suspects(cluster, node, 3) && !suspects(cluster, node, other);
        is_right(1, 2) && is_right(2, 1)
    }),
];

const CLAIMS: &[Claim] = &[
    Claim {
        name: "completeness",
        what: "Who is down for a timeout, an interval and a delay is suspected by all who are up.",
    },
    Claim {
        name: "accuracy",
        what: "Nobody who is up is suspected. Claimed with flawless=1, where a fixed timeout outlasts every delay.",
    },
    Claim {
        name: "eventual_accuracy",
        what: "Once all is well, everybody is trusted, and there are no more mistakes.",
    },
];

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "waits_for_the_first_heartbeat",
        what: "Counts the silence of a node only once that has been heard of.",
        breaks: "completeness",
        setup: "faults=crash:n2@0+1500",
    },
    NEVER_FORGIVES,
];

const KNOBS: &[Knob] = &[
    Knob {
        name: "timeout",
        what: "how long a silence is borne, in ms",
        min: TICK_MS as i64,
        max: 10_000,
        usual: 250,
    },
    Knob {
        name: "interval",
        what: "the time between two heartbeats, in ms",
        min: TICK_MS as i64,
        max: 1_000,
        usual: 100,
    },
    Knob {
        name: "timed",
        what: "0 if neither times nor mistakes are counted, for explorations in which clocks tick for ever",
        min: 0,
        max: 1,
        usual: 1,
    },
    Knob {
        name: "adaptive",
        what: "1 if the timeout grows by half an interval with each mistake, 0 if it is fixed",
        min: 0,
        max: 1,
        usual: 0,
    },
    FLAWLESS,
];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a_crash_is_noticed",
        what: "A node crashes; the others suspect it after the timeout, and trust it again once it is back.",
        setup: "faults=crash:n2@300+500&lasts=1000",
        expected: Expected::Holds,
    },
    Scenario {
        name: "delay_spike",
        what: "Messages take up to 600 ms longer for a while, and nodes that are well come to be suspected.",
        setup: "seed=1&faults=clog:600@300+1000&lasts=1500",
        expected: Expected::Breaks("accuracy"),
    },
    Scenario {
        name: "short_timeout",
        what: "Delays are spread over 90 ms, an interval is 100, and the timeout 120: mistakes never end.",
        setup: "nodes=2&timeout=120&delay=1-90&flawless=0&lasts=4000&patience=0",
        expected: Expected::Breaks("eventual_accuracy"),
    },
    Scenario {
        name: "timeouts_that_learn",
        what: "The same, but each mistake makes a timeout longer, until it is long enough.",
        setup: "nodes=2&timeout=120&adaptive=1&delay=1-90&flawless=0&lasts=4000&patience=0",
        expected: Expected::Holds,
    },
];

const CURVES: &[Curve] = &[
    Curve {
        name: "mistakes",
        what: "The longer the timeout, the fewer mistakes; one that learns makes few whatever it begins with.",
        vary: "timeout",
        x: "timeout (ms)",
        values: &[100, 120, 140, 160, 180, 200, 220],
        measure: "mistakes",
        y: "mistakes in 10 s",
        lines: &[
            Line { label: "fixed", setup: "delay=1-90&flawless=0&lasts=10000&patience=0" },
            Line {
                label: "adaptive",
                setup: "delay=1-90&adaptive=1&flawless=0&lasts=10000&patience=0",
            },
        ],
        seeds: 8,
        holds: mistakes_fall,
    },
    Curve {
        name: "detection",
        what: "The longer the timeout, the longer a crash goes unnoticed: speed is paid for with mistakes.",
        vary: "timeout",
        x: "timeout (ms)",
        values: &[100, 120, 140, 160, 180, 200, 220],
        measure: "detection_ms",
        y: "time to notice (ms)",
        lines: &[Line {
            label: "fixed",
            setup: "flawless=0&lasts=2000&patience=0&faults=crash:n3@1040+1000",
        }],
        seeds: 8,
        holds: detection_rises,
    },
];

fn mistakes_fall(lines: &[Points]) -> Result<(), String> {
    let [fixed, adaptive] = lines else { return Err("two lines were expected".into()) };
    if !fixed.is_sorted_by(|a, b| a.1 >= b.1) || fixed[0].1 < 100.0 {
        return Err("mistakes do not fall as the timeout grows".into());
    }
    if fixed.last().is_none_or(|(_, mistakes)| *mistakes > 0.0) {
        return Err("a timeout beyond an interval and the greatest delay makes mistakes".into());
    }
    if adaptive.iter().any(|(_, mistakes)| *mistakes > 20.0) {
        return Err("a timeout that learns goes on making mistakes".into());
    }
    Ok(())
}

fn detection_rises(lines: &[Points]) -> Result<(), String> {
    let line = lines.first().ok_or("no line")?;
    let is_rising = line.is_sorted_by(|a, b| a.1 < b.1);
    let is_near =
        line.iter().all(|(timeout, took)| (timeout - 100.0..timeout + 50.0).contains(took));
    if is_rising && is_near { Ok(()) } else { Err("it is not as the timeout says".into()) }
}

impl Exhibit for Heartbeats {
    type Protocol = Heartbeat;
    type History = Watch;

    const ABOUT: About = About {
        name: "heartbeat",
        family: Family::Detector,
        path: "crates/protocols/src/detector/heartbeat.rs",
        source: include_str!("../../../../protocols/src/detector/heartbeat.rs"),
        claims: CLAIMS,
        mutants: MUTANTS,
        knobs: KNOBS,
        scenarios: SCENARIOS,
        curves: CURVES,
        is_in_production: false,
        status: include_str!("../../../status/heartbeat.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 0, crashes: 2, lasts_ms: 3_000, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name);
        Ok(Heartbeats {
            nodes: setup.ids().collect(),
            timeout: knob("timeout") as u64 / TICK_MS,
            interval: knob("interval") as u64 / TICK_MS,
            is_timed: knob("timed") == 1,
            is_adaptive: knob("adaptive") == 1,
            is_flawless: knob("flawless") == 1,
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        Config {
            peers: watch::peers(&self.nodes, me),
            tick: Duration::from_millis(TICK_MS),
            interval: self.interval,
            timeout: self.timeout,
            growth: if self.is_adaptive { self.interval / 2 } else { 0 },
            is_timed: self.is_timed,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        Vec::new()
    }

    fn observe(
        &self,
        members: &Members<'_, Heartbeat>,
        moved: NodeId,
        watch: &mut Watch,
    ) -> Result<(), Broken> {
        let demands = Demands {
            // Its last heartbeat may still have been under way.
            detects_within: &|heartbeat: &Heartbeat, node| heartbeat.timeout(node) + self.interval,
            known_after: DELAY,
            is_timed: self.is_timed,
            flawless: self.is_flawless.then_some("accuracy"),
        };
        watch.observe(members, moved, &demands)
    }

    fn settled(&self, members: &Members<'_, Heartbeat>, watch: &Watch) -> Result<(), Broken> {
        watch.is_accurate_in_the_end(members, QUIET)
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, breaks, goals| Scope {
            what,
            setup,
            bounds: Bounds::default(),
            timers: vec![(Tick, 8)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals,
            awaited: &[],
        };
        vec![
            scope("messages that take any time", "nodes=2&timeout=30", Some("accuracy"), &[]),
            scope(
                "the same, and mistakes are allowed",
                "nodes=2&timeout=30&adaptive=1&flawless=0",
                None,
                GOALS,
            ),
            Scope {
                timers: vec![(Tick, UNBOUNDED)],
                awaited: AWAITED,
                ..scope(
                    "two that hear each other, one that is cut off for good, clocks that tick for ever",
                    "nodes=3&timeout=10&interval=10&flawless=0&timed=0&faults=cut:n3@0+1000",
                    None,
                    ENDLESS_GOALS,
                )
            },
            Scope {
                timers: vec![(Tick, UNBOUNDED)],
                awaited: &[TRUSTS_AGAIN],
                ..scope(
                    "two that are up and cut off from each other for good",
                    "nodes=2&timeout=10&interval=10&flawless=0&timed=0&faults=cut:n2@0+1000",
                    Some("eventual_accuracy"),
                    &[],
                )
            },
        ]
    }

    fn measures(&self, _: &Members<'_, Heartbeat>, watch: &Watch) -> Vec<(&'static str, f64)> {
        watch.measures()
    }
}

#[cfg(test)]
crate::show::shown!(Heartbeats);
