//! Ricart–Agrawala mutual exclusion on show.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs};
use quorate_protocols::coordination::ricart_agrawala::{self, Config, Leave, Stamp};

use super::exclusion::{self, STAYS};
use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct RicartAgrawala {
    nodes: Vec<NodeId>,
    stays: Duration,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<RicartAgrawala>>] = &[
    ("two ask at one time, and one of them is inside", |cluster| {
        let first = |state: &&ricart_agrawala::RicartAgrawala| state.asked_at() == Some(Stamp(1));
        cluster.states().filter(first).count() == 2
            && cluster.states().any(ricart_agrawala::RicartAgrawala::is_inside)
    }),
    ("one asks after another", |cluster| {
        cluster.states().any(|state| state.asked_at() == Some(Stamp(2)) && state.is_inside())
    }),
];

const AWAITED: &[Eventually<Explorable<RicartAgrawala>>] = &[
    Eventually {
        name: "no_starvation: n1 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(0).asked_at().is_some()),
        comes: |cluster| cluster.state(0).asked_at().is_none(),
    },
    Eventually {
        name: "no_starvation: n2 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(1).asked_at().is_some()),
        comes: |cluster| cluster.state(1).asked_at().is_none(),
    },
    Eventually {
        name: "no_starvation: n3 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(2).asked_at().is_some()),
        comes: |cluster| cluster.state(2).asked_at().is_none(),
    },
];

impl Exhibit for RicartAgrawala {
    type Protocol = ricart_agrawala::RicartAgrawala;
    type History = ();

    const ABOUT: About = About {
        name: "ricart_agrawala",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/ricart_agrawala.rs",
        source: include_str!("../../../../protocols/src/coordination/ricart_agrawala.rs"),
        claims: &[
            exclusion::EXCLUSION,
            Claim {
                name: "in_turn",
                what: "Of those that wait, the one that asked first, by stamp and then by name, enters first.",
            },
            exclusion::NO_STARVATION,
        ],
        mutants: &[
            Mutant {
                name: "replies_while_inside",
                what: "Lets another in while it is inside itself.",
                breaks: "exclusion",
                setup: "",
            },
            Mutant {
                name: "forgets_the_time",
                what: "Takes no maximum with the stamp of a request.",
                breaks: "in_turn",
                setup: "",
            },
            Mutant {
                name: "knows_no_names",
                what: "Lets another wait that has asked at the same moment, which does so too.",
                breaks: "no_starvation",
                setup: "",
            },
        ],
        knobs: &[STAYS],
        scenarios: &[
            Scenario {
                name: "two_at_one_time",
                what: "n1 and n3 ask at one moment of Lamport's time: the lower name goes first, and the other is answered when it leaves.",
                setup: "asks=n1@0,n3@0&delay=10-10&stays=15&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "who_asks_while_another_is_inside_waits",
                what: "n1 asks while n3 is inside, and waits for n3 alone.",
                setup: "asks=n3@0,n1@15&delay=10-10&stays=40&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_silent_node_stops_all",
                what: "n2 is down when it is asked, wants nothing itself, and keeps n1 out for ever.",
                setup: "asks=n1@10&delay=10-10&lasts=200&faults=crash:n2@0+100",
                expected: Expected::Breaks("no_starvation"),
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/ricart_agrawala.txt"),
    };

    fn setup() -> Setup {
        Setup { nodes: 4, requests: 12, lasts_ms: 100, duplicates: 20, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let stays = exclusion::stays(setup, &Self::ABOUT);
        Ok(RicartAgrawala { nodes: setup.ids().collect(), stays, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let stays = self.stays..self.stays;
        Config { me, nodes: self.nodes.clone(), stays, mutants: self.mutants }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        vec![()]
    }

    fn observe(
        &self,
        members: &Members<'_, ricart_agrawala::RicartAgrawala>,
        moved: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        exclusion::judge(members.live().filter(|(_, state)| state.is_inside()))?;
        let Some(inside) = members.state(moved).filter(|state| state.is_inside()) else {
            return Ok(());
        };
        let entered = (inside.asked_at(), moved);
        let waits_since = |node, state: &ricart_agrawala::RicartAgrawala| {
            state.asked_at().map(|stamp| (Some(stamp), node))
        };
        let is_first = |(node, state)| waits_since(node, state).is_some_and(|it| it < entered);
        match members.live().find(|(node, state)| is_first((*node, *state))) {
            Some((first, _)) => {
                Err(Broken::new("in_turn", format!("{moved} is inside, and {first} asked first")))
            }
            None => Ok(()),
        }
    }

    fn settled(
        &self,
        members: &Members<'_, ricart_agrawala::RicartAgrawala>,
        (): &(),
    ) -> Result<(), Broken> {
        exclusion::nobody_waits(members.live().filter(|(_, state)| state.asked_at().is_some()))
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, breaks| Scope {
            what,
            setup,
            bounds: Bounds { requests: 3, repeats: 1, ..Bounds::default() },
            timers: vec![(Leave, 3)],
            syncs: Syncs::EachTurn,
            // Wishes of one moment go by names.
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: AWAITED,
        };
        vec![
            scope("three requests, one repeated message", "nodes=3", None),
            scope("a silent node", "nodes=3&faults=cut:n2@0+0", Some("no_starvation")),
        ]
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((2.0, 2 * (nodes - 1)))
    }
}

#[cfg(test)]
crate::show::shown!(RicartAgrawala);
