//! The Lamport clock on show.

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::clock::lamport::{self, Config, Request};

use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Lamport {
    nodes: u64,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<Lamport>>] =
    &[("an event happened after one of another node", |cluster| {
        cluster.states().any(|state| state.events().iter().any(|event| event.past.len() > 1))
    })];

impl Exhibit for Lamport {
    type Protocol = lamport::Lamport;
    type History = ();

    const ABOUT: About = About {
        name: "lamport_clock",
        family: Family::Clock,
        path: "crates/protocols/src/clock/lamport.rs",
        source: include_str!("../../../../protocols/src/clock/lamport.rs"),
        claims: &[
            Claim {
                name: "clock_condition",
                what: "If one event happened before another, its stamp is the smaller.",
            },
            Claim { name: "total_order", what: "No two events have the same stamp and node." },
        ],
        mutants: &[
            Mutant {
                name: "ignores_what_it_hears",
                what: "Takes no maximum with the stamp of a message.",
                breaks: "clock_condition",
                setup: "",
            },
            Mutant {
                name: "keeps_its_stamp",
                what: "Doesn't count up between two events of its own.",
                breaks: "total_order",
                setup: "",
            },
        ],
        knobs: &[],
        scenarios: &[Scenario {
            name: "transfers_in_order",
            what: "Three branches of a bank tell each other of transfers; whatever depends on another has the later stamp.",
            setup: "seed=4&requests=6&lasts=60",
            expected: Expected::Holds,
        }],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/lamport_clock.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 12, loss: 20, duplicates: 20, crashes: 2, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        Ok(Lamport { nodes: setup.nodes, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        Config { me, mutants: self.mutants }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<Request> {
        let others = (1..=self.nodes).map(NodeId).filter(|other| *other != node);
        others.map(Request::Tell).chain([Request::Happen]).collect()
    }

    fn observe(
        &self,
        members: &Members<'_, lamport::Lamport>,
        _: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        let nodes: Vec<_> = members.live().collect();
        lamport::judge(nodes.into_iter()).map_err(|(claim, what)| Broken::new(claim, what))
    }

    fn settled(&self, _: &Members<'_, lamport::Lamport>, (): &()) -> Result<(), Broken> {
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        vec![Scope {
            what: "three requests, one crash, one repeated message",
            setup: "nodes=3",
            bounds: Bounds { crashes: 1, repeats: 1, requests: 3, hints: 0 },
            timers: vec![],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        }]
    }
}

#[cfg(test)]
crate::show::shown!(Lamport);
