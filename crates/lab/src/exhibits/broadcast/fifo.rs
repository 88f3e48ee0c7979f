//! FIFO broadcast on show.

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::Goal;
use quorate_protocols::broadcast::reliable::Config;
use quorate_protocols::broadcast::{Line, ParcelId, fifo};

use super::conversation::{self, AGREEMENT, Conversation, INTEGRITY, Said};
use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Fifo {
    conversation: Conversation,
    judges_causal: bool,
}

const GOALS: &[Goal<Explorable<Fifo>>] = &[
    ("everybody delivers two parcels", |cluster| {
        cluster.states().all(|node| node.delivered().len() == 2)
    }),
    ("a parcel came before an earlier one of its origin", |cluster| {
        cluster.states().any(|node| node.held_back() > 0)
    }),
];

const FIFO_ORDER: Claim = Claim {
    name: "fifo_order",
    what: "Nobody delivers a parcel before all earlier ones of its origin.",
};

impl Exhibit for Fifo {
    type Protocol = fifo::FifoBroadcast<Line>;
    type History = Said;

    const ABOUT: About = About {
        name: "fifo_broadcast",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/fifo.rs",
        source: include_str!("../../../../protocols/src/broadcast/fifo.rs"),
        claims: &[INTEGRITY, AGREEMENT, FIFO_ORDER],
        mutants: &[
            Mutant {
                name: "delivers_out_of_turn",
                what: "Delivers a parcel as soon as it comes.",
                breaks: "fifo_order",
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
        knobs: &[Knob {
            name: "judges_causal",
            what: "1 if causal order is judged as well, which is not promised",
            min: 0,
            max: 1,
            usual: 0,
        }],
        scenarios: &[
            Scenario {
                name: "the_second_overtakes_the_first",
                what: "n3 misses the first of two parcels; it holds the second back until the first is sent again.",
                setup: "asks=n1@0,n1@25&delay=10-10&faults=cut:n3@0+24&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_reply_seen_before_its_question",
                what: "n1 asks and n2 replies; n3 misses the question, and sees the reply first. FIFO order has nothing against it.",
                setup: "asks=n1@0,n2@25&delay=10-10&faults=cut:n3@0+24&lasts=100&judges_causal=1",
                expected: Expected::Breaks("causal_order"),
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/fifo_broadcast.txt"),
    };

    fn setup() -> Setup {
        Conversation::setup()
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let judges_causal = setup.knob(&Self::ABOUT, "judges_causal") == 1;
        Ok(Fifo { conversation: Conversation::new(setup, mutants), judges_causal })
    }

    fn config(&self, me: NodeId) -> Config {
        self.conversation.config(me)
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
        if self.judges_causal {
            conversation::causal_order("causal_order", moved, node.delivered(), said)?;
        }
        conversation::fifo_order(FIFO_ORDER.name, moved, node.delivered())
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
crate::show::shown!(Fifo);
