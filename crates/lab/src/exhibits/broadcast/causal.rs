//! Causal broadcast on show.

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::Goal;
use quorate_protocols::broadcast::reliable::Config;
use quorate_protocols::broadcast::{Line, ParcelId, causal};

use super::conversation::{self, AGREEMENT, Conversation, INTEGRITY, Said};
use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Causal(Conversation);

const GOALS: &[Goal<Explorable<Causal>>] = &[
    ("everybody delivers two parcels", |cluster| {
        cluster.states().all(|node| node.delivered().len() == 2)
    }),
    ("a parcel is held back", |cluster| cluster.states().any(|node| node.held_back() > 0)),
];

const CAUSAL_ORDER: Claim = Claim {
    name: "causal_order",
    what: "Nobody delivers a parcel before those that its origin had delivered when it broadcast it.",
};

impl Exhibit for Causal {
    type Protocol = causal::CausalBroadcast<Line>;
    type History = Said;

    const ABOUT: About = About {
        name: "causal_broadcast",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/causal.rs",
        source: include_str!("../../../../protocols/src/broadcast/causal.rs"),
        claims: &[INTEGRITY, AGREEMENT, CAUSAL_ORDER],
        mutants: &[
            Mutant {
                name: "delivers_before_the_dependency",
                what: "Delivers a parcel as soon as it comes, whatever its origin had delivered before.",
                breaks: "causal_order",
                setup: "",
            },
            Mutant {
                name: "does_not_relay",
                what: "Leaves it to the origin to tell the others.",
                breaks: "agreement",
                setup: "loss=0&duplicates=0&crashes=0&partitions=0&asks=n1@0&delay=10-10&faults=cut:n3@0+15,crash:n1@12+5000&lasts=1000&patience=0",
            },
            Mutant {
                name: "takes_the_last_for_the_next",
                what: "Is off by one where it looks for the next parcel of an origin.",
                breaks: "integrity",
                setup: "",
            },
        ],
        knobs: &[],
        scenarios: &[Scenario {
            name: "a_reply_waits_for_its_question",
            what: "n1 asks and n2 replies; n3 misses the question, and holds the reply back until the question is sent again.",
            setup: "asks=n1@0,n2@25&delay=10-10&faults=cut:n3@0+24&lasts=100",
            expected: Expected::Holds,
        }],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/causal_broadcast.txt"),
    };

    fn setup() -> Setup {
        Conversation::setup()
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        Ok(Causal(Conversation::new(setup, mutants)))
    }

    fn config(&self, me: NodeId) -> Config {
        self.0.config(me)
    }

    fn requests(&self, asked: u32, _: NodeId) -> Vec<Line> {
        vec![Conversation::line(asked)]
    }

    fn observe(
        &self,
        members: &Members<'_, Self::Protocol>,
        moved: NodeId,
        said: &mut Said,
    ) -> Result<(), Broken> {
        let Some(node) = members.state(moved) else { return Ok(()) };
        conversation::integrity(moved, node.delivered().iter().cloned(), node.delivered(), said)?;
        conversation::causal_order(CAUSAL_ORDER.name, moved, node.delivered(), said)
    }

    fn answered(
        &self,
        _: NodeId,
        _: RequestId,
        id: &ParcelId,
        said: &mut Said,
    ) -> Result<(), Broken> {
        said.promise(*id);
        Ok(())
    }

    fn settled(&self, members: &Members<'_, Self::Protocol>, said: &Said) -> Result<(), Broken> {
        conversation::agreement(members, said)
    }

    fn scopes() -> Vec<Scope<Self>> {
        conversation::scopes(GOALS)
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((2.0, nodes * (nodes - 1)))
    }
}

#[cfg(test)]
crate::show::shown!(Causal);
