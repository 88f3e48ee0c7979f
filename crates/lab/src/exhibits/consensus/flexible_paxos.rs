//! Flexible Paxos on show: the Paxos of its neighbour, with other quorums.

use quorate_core::quorum::majority;
use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::consensus::flexible_paxos::{Quorum, Quorums};
use quorate_protocols::consensus::paxos::{Config, Paxos, Timer, Value};

use super::paxos::{self, History};
use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Flexible {
    nodes: Vec<NodeId>,
    quorums: Quorums,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<Flexible>>] = &[
    ("the first value is decided", |cluster| cluster.history().decided() == Some(Value(1))),
    ("the second value is decided", |cluster| cluster.history().decided() == Some(Value(2))),
];

const AWAITED: &[Eventually<Explorable<Flexible>>] = &[Eventually {
    name: "termination: everybody decides once somebody has proposed",
    after: Some(|cluster| cluster.states().any(|paxos| paxos.proposal().is_some())),
    comes: |cluster| paxos::all_have_decided(cluster.states()),
}];

/// The same where n3 is cut off from the others.
const AWAITED_OF_TWO: &[Eventually<Explorable<Flexible>>] = &[Eventually {
    name: "termination: n1 and n2 decide once one of them has proposed",
    after: Some(|cluster| cluster.states().take(2).any(|paxos| paxos.proposal().is_some())),
    comes: |cluster| paxos::all_have_decided(cluster.states().take(2)),
}];

/// What is explored: with each of these agreement is kept if the quorums meet, and broken if they don't.
const SETUPS: &[(&str, &str)] = &[
    ("phase 1 of two, phase 2 of two", "nodes=3&phase_1=2&phase_2=2"),
    ("phase 1 of all, phase 2 of one", "nodes=3&phase_1=3&phase_2=1"),
    ("phase 1 of one, phase 2 of all", "nodes=3&phase_1=1&phase_2=3"),
    ("phase 1 of one, phase 2 of one", "nodes=3&phase_1=1&phase_2=1"),
    ("phase 1 of one, phase 2 of two", "nodes=3&phase_1=1&phase_2=2"),
    ("phase 1 of two, phase 2 of one", "nodes=3&phase_1=2&phase_2=1"),
    ("phase 1 of two, phase 2 of two", "nodes=4&phase_1=2&phase_2=2"),
    ("phase 1 a row, phase 2 a row", "nodes=4&grid=2"),
];

/// Small quorums of phase 2 are fast; and what phase 1 costs for it.
fn small_quorums_are_fast(lines: &[Points]) -> Result<(), String> {
    let [all, least] = lines else { return Err("there are two lines".to_owned()) };
    if !all.is_sorted_by(|(_, less), (_, more)| less < more) {
        return Err("a larger quorum of phase 2 is not slower".to_owned());
    }
    match (all.first(), all.last(), least.last()) {
        (Some((_, one)), Some((_, nine)), _) if nine - one < 40.0 => {
            Err("a quorum of all costs hardly more than one of one".to_owned())
        }
        (_, Some((_, nine)), Some((_, least))) if nine - least < 40.0 => {
            Err("with phase 2 of all, phase 1 is not spared".to_owned())
        }
        _ => Ok(()),
    }
}

impl Exhibit for Flexible {
    type Protocol = Paxos;
    type History = History;

    const ABOUT: About = About {
        name: "flexible_paxos",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/flexible_paxos.rs",
        source: include_str!("../../../../protocols/src/consensus/flexible_paxos.rs"),
        claims: &[
            Claim {
                name: "agreement",
                what: "No two nodes decide differently, if every quorum of phase 1 meets every quorum of phase 2.",
            },
            Claim { name: "validity", what: "What is decided was proposed." },
            Claim {
                name: "termination",
                what: "Once a quorum of each phase is well, everybody decides if anybody has proposed.",
            },
        ],
        mutants: &[
            Mutant {
                name: "ignores_what_was_accepted",
                what: "Proposes its own value though a promise carried one.",
                breaks: "agreement",
                setup: "",
            },
            Mutant {
                name: "forgets_its_proposal",
                what: "Proposes 0 where nothing was accepted before.",
                breaks: "validity",
                setup: "",
            },
            Mutant {
                name: "tries_once",
                what: "A proposer that is not answered doesn't say again what it said.",
                breaks: "termination",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "phase_1",
                what: "how many nodes are a quorum of phase 1; 0 for the fewest that meet every quorum of phase 2",
                min: 0,
                max: 16,
                usual: 0,
            },
            Knob {
                name: "phase_2",
                what: "how many nodes are a quorum of phase 2; 0 for a majority",
                min: 0,
                max: 16,
                usual: 2,
            },
            Knob {
                name: "grid",
                what: "1 if the nodes stand in a square, and a column is a quorum of phase 1, a row one of phase 2; 2 if a row is one of either; 0 if quorums are counted",
                min: 0,
                max: 2,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "a_row_of_three_decides",
                what: "Nine nodes in a grid of 3×3. A column promises; then six of the nine crash, and the row that is left decides, as no majority of nine could.",
                setup: "nodes=9&grid=1&asks=n1@0&delay=10-10&lasts=500&faults=crash:n4@21+400,crash:n5@21+400,crash:n6@21+400,crash:n7@21+400,crash:n8@21+400,crash:n9@21+400",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_column_meets_the_row",
                what: "The first row has accepted a value, and then n9 proposes another. Any column that promises has a node of that row in it, which tells.",
                setup: "nodes=9&grid=1&asks=n1@0,n9@25&delay=10-10&lasts=200",
                expected: Expected::Holds,
            },
            Scenario {
                name: "rows_on_either_side",
                what: "With rows for quorums of both phases, the first row decides on one side of a partition and the last row on the other: they don't meet.",
                setup: "nodes=9&grid=2&asks=n1@0,n9@5&delay=10-10&lasts=200&faults=cut:n1.n2.n3@0+100",
                expected: Expected::Breaks("agreement"),
            },
            Scenario {
                name: "too_few_for_phase_1",
                what: "What small quorums of phase 2 cost: two of five nodes are gone, and the three that are left are too few for a phase 1 of four.",
                setup: "nodes=5&phase_2=2&asks=n1@10&delay=10-10&lasts=300&patience=0&faults=crash:n4@0+3000,crash:n5@0+3000",
                expected: Expected::Breaks("termination"),
            },
        ],
        curves: &[Curve {
            name: "small_quorums_of_phase_2",
            what: "How long until all of nine nodes know the decision. What grows along the first line is the wait for phase 2; the second has the smallest phase 1 that is safe.",
            vary: "phase_2",
            x: "nodes in a quorum of phase 2",
            values: &[1, 3, 5, 7, 9],
            measure: "settled_ms",
            y: "ms until all know",
            lines: &[
                Line {
                    label: "phase 1 of all nine",
                    setup: "nodes=9&phase_1=9&requests=1&delay=1-40",
                },
                Line {
                    label: "the smallest phase 1 that is safe",
                    setup: "nodes=9&phase_1=0&requests=1&delay=1-40",
                },
            ],
            seeds: 40,
            holds: small_quorums_are_fast,
        }],
        is_in_production: false,
        status: include_str!("../../../status/flexible_paxos.txt"),
    };

    fn setup() -> Setup {
        Setup { nodes: 5, ..paxos::SingleDecree::setup() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let nodes: Vec<NodeId> = setup.ids().collect();
        let knob = |name| setup.knob(&Self::ABOUT, name) as usize;
        let columns = nodes.len().isqrt();
        let quorums = match knob("grid") {
            0 => counted(nodes.len(), knob("phase_1"), knob("phase_2"))?,
            _ if columns * columns != nodes.len() => {
                return Err(format!("nodes={}: so many make no square", nodes.len()));
            }
            1 => Quorums { phase_1: Quorum::Column(columns), phase_2: Quorum::Row(columns) },
            _ => Quorums { phase_1: Quorum::Row(columns), phase_2: Quorum::Row(columns) },
        };
        Ok(Flexible { nodes, quorums, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        Config { quorums: self.quorums, ..paxos::config(me, &self.nodes, true, self.mutants) }
    }

    fn requests(&self, asked: u32, _: NodeId) -> Vec<Value> {
        vec![Value(u64::from(asked) + 1)]
    }

    fn observe(
        &self,
        members: &Members<'_, Paxos>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        history.judge(members, moved)
    }

    fn settled(&self, members: &Members<'_, Paxos>, _: &History) -> Result<(), Broken> {
        paxos::has_terminated(members)
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |(what, setup): &(&'static str, &'static str)| {
            let read = Self::setup().read(setup, &Self::ABOUT).expect("the setup is sound");
            let exhibit = Self::new(&read, LabMutants::NONE).expect("the setup is sound");
            Scope {
                what,
                setup,
                bounds: Bounds { crashes: 0, repeats: 0, requests: 2, hints: 0 },
                timers: vec![],
                syncs: Syncs::EachTurn,
                // Ballots are ordered by the names of nodes.
                is_symmetric: false,
                breaks: (!exhibit.quorums.meet(&exhibit.nodes)).then_some("agreement"),
                goals: GOALS,
                awaited: &[],
            }
        };
        let alone = |what, setup, crashes, breaks, awaited| Scope {
            what,
            setup,
            bounds: Bounds { crashes, requests: 1, ..Bounds::default() },
            timers: vec![(Timer::Retry, UNBOUNDED), (Timer::Ask, UNBOUNDED)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals: &[],
            awaited,
        };
        let mut scopes: Vec<Scope<Self>> = SETUPS.iter().map(scope).collect();
        scopes.extend([
            alone(
                "phase 1 of both, phase 2 of one, one proposer, one crash, and all is said again without end",
                "nodes=2&phase_1=2&phase_2=1",
                1,
                None,
                AWAITED,
            ),
            alone("the same with phase 1 of one, phase 2 of both", "nodes=2&phase_1=1&phase_2=2", 1, None, AWAITED),
            alone(
                "phase 1 of all and phase 2 of one, with one node cut off",
                "nodes=3&phase_1=3&phase_2=1&faults=cut:n3@0+1",
                1,
                Some("termination"),
                AWAITED_OF_TWO,
            ),
        ]);
        scopes
    }

    fn counts_records() -> bool {
        false
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        paxos::SingleDecree::cost(nodes)
    }
}

/// Quorums of so many nodes; 0 stands for what the knobs say of it.
fn counted(nodes: usize, phase_1: usize, phase_2: usize) -> Result<Quorums, String> {
    let phase_2 = if phase_2 == 0 { majority(nodes) } else { phase_2 };
    if phase_1.max(phase_2) > nodes {
        return Err(format!("nodes={nodes}: a quorum cannot have more"));
    }
    let phase_1 = if phase_1 == 0 { nodes + 1 - phase_2 } else { phase_1 };
    Ok(Quorums { phase_1: Quorum::Any(phase_1), phase_2: Quorum::Any(phase_2) })
}

#[cfg(test)]
crate::show::shown!(Flexible);
