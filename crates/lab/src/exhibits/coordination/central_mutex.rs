//! Mutual exclusion through a coordinator on show.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs};
use quorate_protocols::coordination::central_mutex::{Central, Config, Leave};

use super::exclusion::{self, STAYS};
use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

/// Who lets the others in.
const COORDINATOR: NodeId = NodeId(1);

pub(crate) struct CentralMutex {
    stays: Duration,
    mutants: LabMutants,
}

/// The coordinator before its last step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    holder: Option<NodeId>,
    queue: VecDeque<NodeId>,
}

const GOALS: &[Goal<Explorable<CentralMutex>>] = &[
    ("one is inside while another waits", |cluster| {
        cluster.states().any(Central::is_inside) && !cluster.state(0).queue().is_empty()
    }),
    ("one enters twice", |cluster| {
        cluster.states().all(|central| !central.wants()) && cluster.state(0).holder().is_none()
    }),
];

const AWAITED: &[Eventually<Explorable<CentralMutex>>] = &[
    Eventually {
        name: "no_starvation: n2 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(1).wants()),
        comes: |cluster| !cluster.state(1).wants(),
    },
    Eventually {
        name: "no_starvation: n3 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(2).wants()),
        comes: |cluster| !cluster.state(2).wants(),
    },
    Eventually {
        name: "no_starvation: n4 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(3).wants()),
        comes: |cluster| !cluster.state(3).wants(),
    },
];

impl Exhibit for CentralMutex {
    type Protocol = Central;
    type History = History;

    const ABOUT: About = About {
        name: "central_mutex",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/central_mutex.rs",
        source: include_str!("../../../../protocols/src/coordination/central_mutex.rs"),
        claims: &[
            exclusion::EXCLUSION,
            Claim {
                name: "in_turn",
                what: "Nodes enter in the order in which the coordinator has heard of them.",
            },
            exclusion::NO_STARVATION,
        ],
        mutants: &[
            Mutant {
                name: "admits_at_once",
                what: "Lets a node in though another is inside.",
                breaks: "exclusion",
                setup: "",
            },
            Mutant {
                name: "admits_the_last",
                what: "Lets in who has asked last.",
                breaks: "in_turn",
                setup: "",
            },
            Mutant {
                name: "forgets_who_waits",
                what: "Lets nobody in when a node leaves.",
                breaks: "no_starvation",
                setup: "",
            },
        ],
        knobs: &[STAYS],
        scenarios: &[
            Scenario {
                name: "one_after_the_other",
                what: "n2 and n3 ask; the coordinator lets n3 wait until n2 has left.",
                setup: "asks=n2@0,n3@5&delay=10-10&stays=15&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_coordinator_forgets",
                what: "The coordinator crashes while n2 is inside, and lets in n3 as if nobody were.",
                setup: "asks=n2@0,n3@50&delay=10-10&stays=100&lasts=200&faults=crash:n1@25+10",
                expected: Expected::Breaks("exclusion"),
            },
            Scenario {
                name: "the_holder_dies",
                what: "n2 crashes inside and will never say that it has left; n3 waits for ever.",
                setup: "asks=n2@0,n3@5&delay=10-10&stays=100&lasts=200&faults=crash:n2@30+50",
                expected: Expected::Breaks("no_starvation"),
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/central_mutex.txt"),
    };

    fn setup() -> Setup {
        Setup { nodes: 5, requests: 12, lasts_ms: 100, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes < 2 {
            return Err(format!("nodes={}: the coordinator never enters itself", setup.nodes));
        }
        Ok(CentralMutex { stays: exclusion::stays(setup, &Self::ABOUT), mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        Config {
            me,
            coordinator: COORDINATOR,
            stays: self.stays..self.stays,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<()> {
        if node == COORDINATOR { Vec::new() } else { vec![()] }
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, ())> {
        Some((NodeId(asking.rng.below(asking.nodes - 1) + 2), ()))
    }

    fn observe(
        &self,
        members: &Members<'_, Central>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        exclusion::judge(members.live().filter(|(_, central)| central.is_inside()))?;
        let Some(coordinator) = members.state(COORDINATOR).filter(|_| moved == COORDINATOR) else {
            return Ok(());
        };
        let now = History { holder: coordinator.holder(), queue: coordinator.queue().clone() };
        let before = std::mem::replace(history, now);
        match (before.queue.front(), history.holder) {
            (Some(next), Some(holder)) if before.holder != Some(holder) && *next != holder => {
                Err(Broken::new("in_turn", format!("{holder} is let in, and {next} was first")))
            }
            _ => Ok(()),
        }
    }

    fn settled(&self, members: &Members<'_, Central>, _: &History) -> Result<(), Broken> {
        exclusion::nobody_waits(members.live().filter(|(_, central)| central.wants()))?;
        match members.state(COORDINATOR).and_then(Central::holder) {
            Some(holder) => Err(exclusion::is_due(holder, "has not left")),
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, crashes, breaks| Scope {
            what,
            setup,
            bounds: Bounds { crashes, requests: 4, ..Bounds::default() },
            timers: vec![(Leave, 4)],
            syncs: Syncs::EachTurn,
            // The coordinator is not like the others.
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: AWAITED,
        };
        vec![
            scope("four requests of three nodes", "nodes=4", 0, None),
            scope(
                "a coordinator that crashes, four requests",
                "nodes=4&faults=crash:n1@0+0",
                1,
                Some("exclusion"),
            ),
            scope(
                "a holder that crashes, four requests",
                "nodes=4&faults=crash:n2@0+0",
                1,
                Some("no_starvation"),
            ),
        ]
    }

    fn cost(_: u64) -> Option<(f64, u64)> {
        Some((3.0, 3))
    }
}

#[cfg(test)]
crate::show::shown!(CentralMutex);
