//! SWIM on show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::detector::swim::{self, Config, Incarnation, Opinion, Timer};
use quorate_sim::Fault;

use super::watch::{Demands, Detector, Watch};
use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Swim {
    nodes: Vec<NodeId>,
    helpers: u32,
    suspicion: u64,
    is_guarded: bool,
    strict: i64,
    mutants: LabMutants,
}

/// What the judge has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    watch: Watch,
    /// Incarnations, which outlive a crash.
    incarnations: BTreeMap<NodeId, Incarnation>,
}

/// How long a period is, in milliseconds.
const PERIOD_MS: u64 = 100;
/// How many periods news may take to reach everybody.
const SPREAD: u64 = 10;
/// How many periods a node may be up before the others have heard that it is back.
const KNOWN: u64 = 25;
/// How long there must be no mistake before there is said to be none any more, in periods.
const QUIET: u64 = 10;

impl Detector for swim::Swim {
    fn now(&self) -> u64 {
        self.period()
    }

    fn suspects(&self) -> BTreeSet<NodeId> {
        let confirmed = self.known().filter(|(_, opinion, _)| *opinion == Opinion::Confirmed);
        confirmed.map(|(node, ..)| node).collect()
    }
}

const GOALS: &[Goal<Explorable<Swim>>] = &[
    ("somebody is suspected", |cluster| {
        cluster.states().any(|state| state.known().any(|(_, held, _)| held == Opinion::Suspect))
    }),
    ("a suspicion is contradicted, and whoever had it believes so", |cluster| {
        cluster.states().any(|state| {
            state.suspicions() > 0
                && state.known().any(|(_, held, incarnation)| {
                    held == Opinion::Alive && incarnation > Incarnation(0)
                })
        })
    }),
    ("somebody is confirmed", |cluster| {
        cluster.states().any(|state| !Detector::suspects(state).is_empty())
    }),
];

const HELPED: &[Goal<Explorable<Swim>>] = &[
    ("somebody probes in another's place", |cluster| {
        cluster.states().any(|state| state.errands() > 0)
    }),
    ("somebody is suspected although a third was asked", |cluster| {
        cluster.states().any(|state| state.suspicions() > 0)
            && cluster.states().any(|state| state.errands() > 0)
    }),
];

const CLAIMS: &[Claim] = &[
    Claim {
        name: "completeness",
        what: "Who is down is confirmed by all who are up within a round, a suspicion and the spreading of news.",
    },
    Claim {
        name: "accuracy",
        what: "Nobody who is up is confirmed. Claimed with strict=1, where helpers and refutations get through in time.",
    },
    Claim {
        name: "one_bad_link",
        what: "A single link that is cut brings nobody into suspicion. Claimed with strict=2, where nothing else is amiss.",
    },
    Claim {
        name: "incarnation",
        what: "Nobody has heard of an incarnation of a node that the node itself has not reached.",
    },
    Claim {
        name: "refutation",
        what: "Once all is well, everybody contradicts what was held against it, and is alive for all.",
    },
];

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "no_indirect_probe",
        what: "Suspects whoever does not answer directly, and asks nobody to help.",
        breaks: "one_bad_link",
        setup: "strict=2&loss=0&crashes=0&lasts=3000&faults=link:n1.n2@500+2000",
    },
    Mutant {
        name: "refutes_without_a_higher_incarnation",
        what: "Contradicts a suspicion under the incarnation that is suspected.",
        breaks: "refutation",
        setup: "strict=0&loss=0&crashes=0&nodes=3&lasts=2500&patience=10000&faults=cut:n1@500+2000",
    },
    Mutant {
        name: "accuses_a_later_incarnation",
        what: "Suspects a node in an incarnation that only the node itself may begin.",
        breaks: "incarnation",
        setup: "nodes=3&crashes=0&lasts=2000",
    },
    Mutant {
        name: "never_confirms",
        what: "Leaves it at suspicions.",
        breaks: "completeness",
        setup: "nodes=3&loss=0&crashes=0",
    },
];

const KNOBS: &[Knob] = &[
    Knob {
        name: "helpers",
        what: "how many others are asked to probe where there was no answer",
        min: 0,
        max: 10,
        usual: 3,
    },
    Knob {
        name: "suspicion",
        what: "how long a suspicion lasts at least, in periods of 100 ms",
        min: 1,
        max: 100,
        usual: 8,
    },
    Knob { name: "lifeguard", what: "1 if Lifeguard is on, 0 if not", min: 0, max: 1, usual: 1 },
    Knob {
        name: "strict",
        what: "0 if the living may be confirmed, 1 if they may be suspected alone, 2 if not even that",
        min: 0,
        max: 2,
        usual: 1,
    },
];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "slow_member",
        what: "A member stands still for 600 ms and is suspected; it hears so, and contradicts in time.",
        setup: "nodes=3&seed=2&faults=pause:n1@300+600&lasts=2000",
        expected: Expected::Holds,
    },
    Scenario {
        name: "too_slow_to_refute",
        what: "It stands still for three seconds, and is confirmed though it is up: nobody can tell the two apart.",
        setup: "nodes=3&seed=2&faults=pause:n1@300+3000&lasts=4000",
        expected: Expected::Breaks("accuracy"),
    },
    Scenario {
        name: "one_bad_link",
        what: "Two members can't reach each other; the third probes in their place, and nobody is suspected.",
        setup: "nodes=3&strict=2&faults=link:n1.n2@200+1000&lasts=1200",
        expected: Expected::Holds,
    },
    Scenario {
        name: "asymmetric_partition",
        what: "What one member says reaches nobody, though it hears all: it is confirmed, contradicts in vain, and is \
               believed once it is heard.",
        setup: "nodes=3&seed=1&strict=0&faults=unheard:n1@200+2500&lasts=3000",
        expected: Expected::Holds,
    },
];

/// The sizes of the cluster in the curves.
const SIZES: &[i64] = &[4, 8, 16, 32];

const CURVES: &[Curve] = &[
    Curve {
        name: "load",
        what: "What a node has to send in a period does not grow with the number of nodes.",
        vary: "nodes",
        x: "nodes",
        values: &[10, 100, 1_000],
        measure: "load",
        y: "messages a node a period",
        lines: &[
            Line { label: "no loss", setup: "strict=0&faults=&lasts=600&patience=0" },
            Line { label: "10 % lost", setup: "strict=0&faults=&lasts=600&patience=0&loss=10" },
        ],
        seeds: 1,
        holds: load_is_flat,
    },
    Curve {
        name: "detection",
        what: "How long a crash goes unnoticed hardly grows with the number of nodes: as long as a suspicion and a few periods.",
        vary: "nodes",
        x: "nodes",
        values: SIZES,
        measure: "detection",
        y: "periods until confirmed, on average",
        lines: &[Line {
            label: "no loss",
            setup: "strict=0&lasts=6000&patience=0&faults=crash:n1@1000+5000",
        }],
        seeds: 2,
        holds: detection_is_bounded,
    },
    Curve {
        name: "false_suspicions",
        what: "The more is lost, the more of the living are suspected; helpers make up for most of it, and Lifeguard for more.",
        vary: "loss",
        x: "lost (%)",
        values: &[5, 10, 20],
        measure: "suspicions",
        y: "suspicions in 5 s",
        lines: &[
            Line {
                label: "no helpers",
                setup: "nodes=8&strict=0&faults=&helpers=0&lifeguard=0&lasts=5000&patience=0",
            },
            Line {
                label: "SWIM",
                setup: "nodes=8&strict=0&faults=&lifeguard=0&lasts=5000&patience=0",
            },
            Line {
                label: "with Lifeguard",
                setup: "nodes=8&strict=0&faults=&lasts=5000&patience=0",
            },
        ],
        seeds: 3,
        holds: helpers_help,
    },
];

fn load_is_flat(lines: &[Points]) -> Result<(), String> {
    for line in lines {
        let least = line.iter().map(|(_, load)| *load).fold(f64::INFINITY, f64::min);
        let most = line.iter().map(|(_, load)| *load).fold(0.0, f64::max);
        let is_flat = least > 1.0 && most < 1.5 * least;
        if !is_flat {
            return Err("the load depends on the number of nodes".into());
        }
    }
    Ok(())
}

fn detection_is_bounded(lines: &[Points]) -> Result<(), String> {
    let line = lines.first().ok_or("no line")?;
    let (first, last) = line.first().zip(line.last()).ok_or("no point")?;
    if last.1 < 2.0 * first.1 { Ok(()) } else { Err("it grows with the number of nodes".into()) }
}

fn helpers_help(lines: &[Points]) -> Result<(), String> {
    let [alone, plain, guarded] = lines else { return Err("three lines were expected".into()) };
    let is_ordered = alone.iter().zip(plain).all(|(alone, plain)| alone.1 > 2.0 * plain.1);
    let sum = |line: &Points| line.iter().map(|(_, suspicions)| suspicions).sum::<f64>();
    if !is_ordered {
        return Err("helpers don't help".into());
    }
    if sum(guarded) >= sum(plain) { Err("Lifeguard doesn't guard".into()) } else { Ok(()) }
}

impl Exhibit for Swim {
    type Protocol = swim::Swim;
    type History = History;

    const ABOUT: About = About {
        name: "swim",
        family: Family::Detector,
        path: "crates/protocols/src/detector/swim.rs",
        source: include_str!("../../../../protocols/src/detector/swim.rs"),
        claims: CLAIMS,
        mutants: MUTANTS,
        knobs: KNOBS,
        scenarios: SCENARIOS,
        curves: CURVES,
        is_in_production: false,
        status: include_str!("../../../status/swim.txt"),
    };

    fn setup() -> Setup {
        let down = Duration::from_secs(4);
        let crash = Fault::Crash { node: NodeId(2), down, mid_write: false };
        Setup {
            nodes: 5,
            requests: 0,
            loss: 5,
            crashes: 1,
            lasts_ms: 6_000,
            faults: vec![(Duration::from_secs(1), crash)],
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name);
        Ok(Swim {
            nodes: setup.ids().collect(),
            helpers: knob("helpers") as u32,
            suspicion: knob("suspicion") as u64,
            is_guarded: knob("lifeguard") == 1,
            strict: knob("strict"),
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        Config {
            me,
            nodes: self.nodes.clone(),
            period: Duration::from_millis(PERIOD_MS),
            patience: Duration::from_millis(PERIOD_MS * 3 / 10),
            helpers: self.helpers,
            suspicion: self.suspicion,
            is_guarded: self.is_guarded,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        Vec::new()
    }

    fn observe(
        &self,
        members: &Members<'_, swim::Swim>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(state) = members.state(moved) else { return Ok(()) };
        if state.incarnation() > Incarnation(0) {
            history.incarnations.insert(moved, state.incarnation());
        }
        for (node, _, incarnation) in state.known() {
            let reached = history.incarnations.get(&node).copied().unwrap_or_default();
            if incarnation > reached {
                let what =
                    format!("{moved} has heard of {node}.{incarnation:?}, which is at {reached:?}");
                return Err(Broken::new("incarnation", what));
            }
        }
        if self.strict == 2 && state.suspicions() > 0 {
            return Err(Broken::new("one_bad_link", format!("{moved} suspects somebody")));
        }
        let round = 2 * members.count();
        let longest = swim::Swim::suspicion_max(&self.config(moved));
        let demands = Demands {
            detects_within: &|_: &swim::Swim, _| round + longest + SPREAD,
            known_after: KNOWN,
            is_timed: true,
            flawless: (self.strict > 0).then_some("accuracy"),
        };
        history.watch.observe(members, moved, &demands)
    }

    fn settled(&self, members: &Members<'_, swim::Swim>, history: &History) -> Result<(), Broken> {
        let settled = history.watch.settled(members, QUIET);
        settled.map_err(|what| Broken::new("refutation", what))
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, breaks, goals| Scope {
            what,
            setup,
            bounds: Bounds::default(),
            timers: vec![(Timer::Period, 3)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals,
            awaited: &[],
        };
        vec![
            scope(
                "two members, messages that take any time",
                "nodes=2&faults=&strict=0&suspicion=2",
                None,
                GOALS,
            ),
            scope(
                "the same, and nobody is to be confirmed",
                "nodes=2&faults=&strict=1&suspicion=1",
                Some("accuracy"),
                &[],
            ),
            Scope {
                timers: vec![(Timer::Period, 2), (Timer::Patience, 1)],
                ..scope(
                    "three members, of whom one is asked to help",
                    "nodes=3&faults=&strict=0&suspicion=1",
                    None,
                    HELPED,
                )
            },
        ]
    }

    fn measures(
        &self,
        members: &Members<'_, swim::Swim>,
        history: &History,
    ) -> Vec<(&'static str, f64)> {
        let sum =
            |of: fn(&swim::Swim) -> u64| members.live().map(|(_, state)| of(state)).sum::<u64>();
        let periods = sum(swim::Swim::period).max(1);
        let mut measures = vec![
            ("load", sum(swim::Swim::sent) as f64 / periods as f64),
            ("suspicions", sum(swim::Swim::suspicions) as f64),
        ];
        measures.extend(history.watch.notice().map(|periods| ("detection", periods)));
        measures
    }
}

#[cfg(test)]
crate::show::shown!(Swim);
