//! The bully election on show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::coordination::bully::{self, Config, Role, Timer};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Bully {
    nodes: Vec<NodeId>,
    /// Whom the first request is put to.
    first: NodeId,
    mutants: LabMutants,
}

/// Who could have answered whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Of each node that asks, the higher ones that have been up ever since it began.
    up_since: BTreeMap<NodeId, BTreeSet<NodeId>>,
}

const GOALS: &[Goal<Explorable<Bully>>] = &[
    ("all follow the highest", |cluster| {
        let highest = Role::Follows(Some(NodeId(3)));
        cluster.states().filter(|bully| bully.role() == highest).count() == 2
    }),
    ("two ask at once", |cluster| {
        cluster.states().filter(|bully| bully.role() == Role::Asks).count() == 2
    }),
];

const HIGHEST: NodeId = NodeId(3);

const AWAITED: &[Eventually<Explorable<Bully>>] = &[
    Eventually {
        name: "one_leader: n1 follows the highest",
        after: Some(|cluster| cluster.state(0).role() != Role::Follows(Some(HIGHEST))),
        comes: |cluster| cluster.state(0).role() == Role::Follows(Some(HIGHEST)),
    },
    Eventually {
        name: "one_leader: n2 follows the highest",
        after: Some(|cluster| cluster.state(1).role() != Role::Follows(Some(HIGHEST))),
        comes: |cluster| cluster.state(1).role() == Role::Follows(Some(HIGHEST)),
    },
    Eventually {
        name: "one_leader: the highest leads",
        after: Some(|cluster| cluster.state(2).role() != Role::Leads),
        comes: |cluster| cluster.state(2).role() == Role::Leads,
    },
];

/// What a curve of messages must be, for a line of each kind of beginning.
fn messages_are_as_in_the_header(lines: &[Points]) -> Result<(), String> {
    let expected: [fn(f64) -> f64; 2] = [|n| n * n - 1.0, |n| n - 1.0];
    for (line, expected) in lines.iter().zip(expected) {
        for (nodes, messages) in line {
            if *messages != expected(*nodes) {
                return Err(format!("{messages} messages among {nodes} nodes"));
            }
        }
    }
    Ok(())
}

impl Exhibit for Bully {
    type Protocol = bully::Bully;
    type History = History;

    const ABOUT: About = About {
        name: "bully_election",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/bully.rs",
        source: include_str!("../../../../protocols/src/coordination/bully.rs"),
        claims: &[
            Claim {
                name: "no_usurper",
                what: "Nobody proclaims itself while a higher node is up that was up when it asked.",
            },
            Claim {
                name: "one_leader",
                what: "In the end every node that is up follows the highest of them.",
            },
        ],
        mutants: &[
            Mutant {
                name: "answers_late",
                what: "Answers lower nodes only after they have stopped waiting.",
                breaks: "no_usurper",
                setup: "",
            },
            Mutant {
                name: "keeps_its_crown",
                what: "A leader goes on though a higher one has come back.",
                breaks: "one_leader",
                setup: "",
            },
            Mutant {
                name: "leads_in_silence",
                what: "A leader says once that it leads, and never again.",
                breaks: "one_leader",
                setup: "",
            },
        ],
        knobs: &[Knob {
            name: "first",
            what: "who holds the first election: 1 for the lowest, 2 for the highest",
            min: 1,
            max: 2,
            usual: 1,
        }],
        scenarios: &[
            Scenario {
                name: "the_lowest_asks",
                what: "The lowest of four holds an election: every higher one answers and holds its own, and the highest leads.",
                setup: "nodes=4&asks=n1@0&delay=10-10&lasts=60",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_leader_dies_in_the_middle",
                what: "The highest is dead before it is asked, and the next dies when it has answered: the lowest waits in vain, asks again, and leads until they are back.",
                setup: "asks=n1@0&delay=10-10&lasts=420&faults=crash:n3@5+1000,crash:n2@25+1000",
                expected: Expected::Holds,
            },
            Scenario {
                name: "split_brain",
                what: "The leader is cut off: to the others its silence is its death, and the next takes over while it still leads.",
                setup: "asks=n1@0&delay=10-10&lasts=600&faults=cut:n3@50+500",
                expected: Expected::Breaks("no_usurper"),
            },
            Scenario {
                name: "a_pause_is_no_death",
                what: "The leader stands still for longer than the others wait for an answer; when it goes on there are two.",
                setup: "asks=n1@0,n2@60&delay=10-10&lasts=600&faults=pause:n3@50+200",
                expected: Expected::Breaks("no_usurper"),
            },
        ],
        curves: &[Curve {
            name: "messages",
            what: "What an election costs: quadratic if the lowest begins, linear if the highest does.",
            vary: "nodes",
            x: "nodes",
            values: &[2, 4, 8, 16, 24],
            measure: "messages",
            y: "messages",
            lines: &[
                Line { label: "the lowest begins", setup: "first=1&requests=1&delay=10&lasts=60" },
                Line { label: "the highest begins", setup: "first=2&requests=1&delay=10&lasts=60" },
            ],
            seeds: 1,
            holds: messages_are_as_in_the_header,
        }],
        is_in_production: false,
        status: include_str!("../../../status/bully_election.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 4, duplicates: 10, crashes: 3, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let first = match setup.knob(&Self::ABOUT, "first") {
            1 => NodeId(1),
            _ => NodeId(setup.nodes),
        };
        Ok(Bully { nodes: setup.ids().collect(), first, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            nodes: self.nodes.clone(),
            answers: ms(30)..ms(40),
            silence: ms(250)..ms(300),
            beat: ms(100)..ms(100),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        vec![()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, ())> {
        let node = match asking.asked {
            0 => self.first,
            _ => NodeId(asking.rng.below(asking.nodes) + 1),
        };
        Some((node, ()))
    }

    fn observe(
        &self,
        members: &Members<'_, bully::Bully>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(bully) = members.state(moved) else { return Ok(()) };
        if bully.role() == Role::Asks {
            let higher = members.live().map(|(node, _)| node).filter(|node| *node > moved);
            history.up_since.entry(moved).or_insert_with(|| higher.collect());
            return Ok(());
        }
        let up_since = history.up_since.remove(&moved).unwrap_or_default();
        match up_since.last() {
            Some(higher) if bully.role() == Role::Leads => {
                let what = format!("{moved} proclaims itself, and {higher} is up");
                Err(Broken::new("no_usurper", what))
            }
            _ => Ok(()),
        }
    }

    fn crashed(&self, node: NodeId, _: &BTreeSet<RequestId>, history: &mut History) {
        history.up_since.remove(&node);
        for up in history.up_since.values_mut() {
            up.remove(&node);
        }
    }

    fn settled(&self, members: &Members<'_, bully::Bully>, _: &History) -> Result<(), Broken> {
        let Some((highest, _)) = members.live().last() else { return Ok(()) };
        for (node, bully) in members.live() {
            let due = if node == highest { Role::Leads } else { Role::Follows(Some(highest)) };
            if bully.role() != due {
                let what = format!("{node} does not follow {highest}: {:?}", bully.role());
                return Err(Broken::new("one_leader", what));
            }
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, crashes, timers, breaks| Scope {
            what,
            setup: "nodes=3",
            bounds: Bounds { crashes, requests: 1, ..Bounds::default() },
            timers,
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: AWAITED,
        };
        let signs = vec![(Timer::Silence, UNBOUNDED), (Timer::Beat, UNBOUNDED)];
        let answers = vec![(Timer::Answers, 1)];
        vec![
            scope(
                "one crash, leaders that are missed at any time, and all answers come in time",
                1,
                signs,
                None,
            ),
            scope("one election, and answers as late as you like", 0, answers, Some("no_usurper")),
        ]
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((2.0, nodes * nodes - 1))
    }
}

#[cfg(test)]
crate::show::shown!(Bully);
