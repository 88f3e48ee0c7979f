//! The ring election on show.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::coordination::ring::{self, Begin, Config};
use quorate_sim::Rng;

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

/// The stream of chance from which the order of names is drawn.
const ORDER: u64 = 0x7269_6e67;

pub(crate) struct Ring {
    /// The nodes as they follow each other; the first follows the last.
    order: Vec<NodeId>,
    all_begin: bool,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<Ring>>] = &[
    ("everybody knows the leader", |cluster| {
        cluster.states().all(|ring| ring.leader() == Some(NodeId(3)))
    }),
    ("one knows the leader, another does not yet", |cluster| {
        let known = cluster.states().filter(|ring| ring.leader().is_some()).count();
        known > 0 && known < 3
    }),
];

const AWAITED: &[Eventually<Explorable<Ring>>] = &[
    Eventually {
        name: "everybody_knows: n1 knows of a leader",
        after: Some(|cluster| cluster.state(0).leader().is_none()),
        comes: |cluster| cluster.state(0).leader().is_some(),
    },
    Eventually {
        name: "everybody_knows: n2 knows of a leader",
        after: Some(|cluster| cluster.state(1).leader().is_none()),
        comes: |cluster| cluster.state(1).leader().is_some(),
    },
    Eventually {
        name: "everybody_knows: n3 knows of a leader",
        after: Some(|cluster| cluster.state(2).leader().is_none()),
        comes: |cluster| cluster.state(2).leader().is_some(),
    },
];

/// What a curve of messages must be: the names' way, and n more for the news.
fn messages_are_as_in_the_header(lines: &[Points]) -> Result<(), String> {
    let harmonic = |n: f64| (1..=n as u32).map(|k| 1.0 / f64::from(k)).sum::<f64>();
    for (line, points) in lines.iter().enumerate() {
        for (n, messages) in points {
            let (due, tolerance) = match line {
                0 => (2.0 * n - 1.0 + n, 0.0),
                1 => (n * (n + 1.0) / 2.0 + n, 0.0),
                _ => (n * harmonic(*n) + n, 0.05),
            };
            if (messages - due).abs() > due * tolerance {
                return Err(format!("{messages} messages among {n} nodes, not {due}"));
            }
        }
    }
    Ok(())
}

impl Exhibit for Ring {
    type Protocol = ring::Ring;
    type History = ();

    const ABOUT: About = About {
        name: "ring_election",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/ring.rs",
        source: include_str!("../../../../protocols/src/coordination/ring.rs"),
        claims: &[
            Claim {
                name: "only_the_highest",
                what: "Nobody is elected but the highest of the ring.",
            },
            Claim { name: "everybody_knows", what: "In the end every node knows who is elected." },
        ],
        mutants: &[
            Mutant {
                name: "lets_the_lower_pass",
                what: "Passes on lower names as well as higher ones.",
                breaks: "only_the_highest",
                setup: "",
            },
            Mutant {
                name: "lets_one_name_pass",
                what: "Once a name has gone on from here, no other does, not even a higher one.",
                breaks: "everybody_knows",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "order",
                what: "how names follow each other on the ring: 0 rising, 1 falling, 2 as the seed has them",
                min: 0,
                max: 2,
                usual: 0,
            },
            Knob {
                name: "all",
                what: "1 if every node begins when it starts, 0 if those do that are asked",
                min: 0,
                max: 1,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "names_rise_along_the_ring",
                what: "n1 begins; each name is held back by the next node, which is higher; the highest goes round.",
                setup: "nodes=4&asks=n1@0&delay=10-10&lasts=150",
                expected: Expected::Holds,
            },
            Scenario {
                name: "names_fall_along_the_ring",
                what: "All begin where names fall along the ring: each goes on until it meets the highest.",
                setup: "nodes=4&order=1&all=1&requests=0&delay=10-10&lasts=150",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_highest_dies_in_the_middle",
                what: "The highest dies while its name goes round, and the name is lost at its door; whoever waits begins again, and it is elected once it is back.",
                setup: "nodes=3&asks=n1@0&delay=10-10&lasts=500&faults=crash:n3@31+200",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_gap_in_the_ring",
                what: "The highest is dead for good: names come to its door and no further, and nobody is elected.",
                setup: "nodes=3&asks=n1@0&delay=10-10&lasts=600&patience=0&faults=crash:n3@5+1000",
                expected: Expected::Breaks("everybody_knows"),
            },
            Scenario {
                name: "a_partition_elects_nobody",
                what: "n1 and n2 are cut off from n3 and n4: no side elects, neither the wrong one nor a second.",
                setup: "nodes=4&asks=n1@0&delay=10-10&lasts=600&patience=0&faults=cut:n1.n2@5+1000",
                expected: Expected::Breaks("everybody_knows"),
            },
        ],
        curves: &[Curve {
            name: "messages",
            what: "What an election costs that all begin, as names lie along the ring.",
            vary: "nodes",
            x: "nodes",
            values: &[2, 4, 8, 16, 32],
            measure: "messages",
            y: "messages",
            lines: &[
                Line { label: "rising", setup: "order=0&all=1&requests=0&delay=10&lasts=700" },
                Line { label: "falling", setup: "order=1&all=1&requests=0&delay=10&lasts=700" },
                Line { label: "by chance", setup: "order=2&all=1&requests=0&delay=10&lasts=700" },
            ],
            seeds: 200,
            holds: messages_are_as_in_the_header,
        }],
        is_in_production: false,
        status: include_str!("../../../status/ring_election.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 4,
            requests: 3,
            loss: 10,
            duplicates: 10,
            crashes: 2,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes < 2 {
            return Err(format!("nodes={}: a ring needs two nodes", setup.nodes));
        }
        let mut order: Vec<NodeId> = setup.ids().collect();
        match setup.knob(&Self::ABOUT, "order") {
            0 => {}
            1 => order.reverse(),
            _ => {
                let mut rng = Rng::for_purpose(setup.seed, ORDER);
                for place in (1..order.len()).rev() {
                    order.swap(place, rng.below(place as u64 + 1) as usize);
                }
            }
        }
        Ok(Ring { order, all_begin: setup.knob(&Self::ABOUT, "all") == 1, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        let count = self.order.len();
        let place = self.order.iter().position(|node| *node == me).expect("it is on the ring");
        let round = 20 * count as u64;
        Config {
            me,
            next: self.order[(place + 1) % count],
            begins: self.all_begin,
            patience: ms(100 + 2 * round)..ms(100 + 3 * round),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        vec![()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, ())> {
        let node = match asking.asked {
            0 => 1,
            _ => asking.rng.below(asking.nodes) + 1,
        };
        Some((NodeId(node), ()))
    }

    fn observe(
        &self,
        members: &Members<'_, ring::Ring>,
        moved: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        let leader = members.state(moved).and_then(ring::Ring::leader);
        match leader {
            Some(leader) if leader != NodeId(members.count()) => {
                let what = format!("{moved} takes {leader} to be elected");
                Err(Broken::new("only_the_highest", what))
            }
            _ => Ok(()),
        }
    }

    fn settled(&self, members: &Members<'_, ring::Ring>, (): &()) -> Result<(), Broken> {
        match members.live().find(|(_, ring)| ring.leader().is_none()) {
            Some((node, _)) => {
                Err(Broken::new("everybody_knows", format!("{node} knows of no leader")))
            }
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, crashes, repeats, breaks| Scope {
            what,
            setup,
            bounds: Bounds { crashes, repeats, requests: 1, hints: 0 },
            timers: vec![(Begin, UNBOUNDED)],
            syncs: Syncs::EachTurn,
            // The highest name is elected.
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: AWAITED,
        };
        let broken = Some("everybody_knows");
        vec![
            scope("one crash, one repeated message, any begins at any time", "nodes=3", 1, 1, None),
            scope("a gap where the highest is", "nodes=3&faults=cut:n3@0+0", 0, 0, broken),
            scope("a partition", "nodes=4&faults=cut:n1.n2@0+0", 0, 0, broken),
        ]
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((3.0 * nodes as f64 - 2.0, 3 * nodes - 1))
    }
}

#[cfg(test)]
crate::show::shown!(Ring);
