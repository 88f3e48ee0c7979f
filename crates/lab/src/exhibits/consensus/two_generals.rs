//! The two generals on show: a row that is all boundary.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::consensus::two_generals::{Config, Dawn, Deed, General};

use crate::about::{About, Claim, Family, Knob};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct TwoGenerals {
    messengers: u32,
}

/// When dawn comes: long after every messenger has arrived who will.
const DAWN: Duration = Duration::from_secs(1);

const GOALS: &[Goal<Explorable<TwoGenerals>>] = &[];

impl Exhibit for TwoGenerals {
    type Protocol = General;
    type History = ();

    const ABOUT: About = About {
        name: "two_generals",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/two_generals.rs",
        source: include_str!("../../../../protocols/src/consensus/two_generals.rs"),
        claims: &[
            Claim { name: "coordination", what: "Both attack, or neither does." },
            Claim { name: "attack", what: "With all messengers through, both attack." },
        ],
        mutants: &[],
        knobs: &[Knob {
            name: "messengers",
            what: "how many messengers the plan has",
            min: 1,
            max: 100,
            usual: 3,
        }],
        scenarios: &[
            Scenario {
                name: "the_last_messenger",
                what: "The last of three messengers is caught: whoever sent him attacks, alone.",
                setup: "messengers=3&delay=10-10&faults=loss:100@15+1000",
                expected: Expected::Breaks("coordination"),
            },
            Scenario {
                name: "one_more_messenger",
                what: "A fourth messenger is to confirm the third, and is caught in his place.",
                setup: "messengers=4&delay=10-10&faults=loss:100@25+1000",
                expected: Expected::Breaks("coordination"),
            },
            Scenario {
                name: "no_messenger_comes_through",
                what: "All messengers are caught, and nobody attacks: agreement, and no use.",
                setup: "messengers=3&faults=loss:100@0+1000",
                expected: Expected::Breaks("attack"),
            },
            Scenario {
                name: "all_messengers_come_through",
                what: "Nobody is caught, which neither can count on.",
                setup: "messengers=3&delay=10-10",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/two_generals.txt"),
    };

    fn setup() -> Setup {
        let asks = vec![(Duration::ZERO, NodeId(1), 0)];
        Setup { nodes: 2, requests: 1, asks, patience_ms: 0, ..Setup::default() }
    }

    fn new(setup: &Setup, _: LabMutants) -> Result<Self, String> {
        if setup.nodes != 2 {
            return Err(format!(
                "nodes={}: there are two generals, no more and no fewer",
                setup.nodes
            ));
        }
        let messengers = setup.knob(&Self::ABOUT, "messengers") as u32;
        Ok(TwoGenerals { messengers })
    }

    fn config(&self, me: NodeId) -> Config {
        Config { me, messengers: self.messengers, dawn: DAWN..DAWN }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<()> {
        if node == NodeId(1) { vec![()] } else { Vec::new() }
    }

    fn observe(
        &self,
        members: &Members<'_, General>,
        _: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        let deeds: Vec<Deed> = members.live().filter_map(|(_, general)| general.deed()).collect();
        match deeds[..] {
            [one, other] if one != other => Err(Broken::new(
                "coordination",
                format!("n1 {:?} and n2 {:?}", deeds[0], deeds[1]).to_lowercase(),
            )),
            _ => Ok(()),
        }
    }

    fn settled(&self, members: &Members<'_, General>, (): &()) -> Result<(), Broken> {
        match members.live().find(|(_, general)| general.deed() != Some(Deed::Attacks)) {
            Some((node, _)) => Err(Broken::new("attack", format!("{node} does not attack"))),
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let plan = |what, setup| Scope {
            what,
            setup,
            bounds: Bounds { requests: 1, ..Bounds::default() },
            timers: vec![(Dawn, 2)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: Some("coordination"),
            goals: GOALS,
            awaited: &[],
        };
        vec![
            plan("one messenger", "messengers=1"),
            plan("two messengers", "messengers=2"),
            plan("three messengers", "messengers=3"),
            plan("four messengers", "messengers=4"),
            plan("fifty messengers", "messengers=50"),
        ]
    }
}

#[cfg(test)]
crate::show::shown!(TwoGenerals);
