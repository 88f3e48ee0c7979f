//! Reliable broadcast on show.

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::Goal;
use quorate_protocols::broadcast::reliable::Config;
use quorate_protocols::broadcast::{Line, ParcelId, reliable};

use super::conversation::{self, AGREEMENT, Conversation, INTEGRITY, Said};
use crate::about::{About, Family, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Reliable(Conversation);

const GOALS: &[Goal<Explorable<Reliable>>] = &[("everybody delivers two parcels", |cluster| {
    cluster.states().all(|node| node.delivered().len() == 2)
})];

impl Exhibit for Reliable {
    type Protocol = reliable::ReliableBroadcast<Line>;
    type History = Said;

    const ABOUT: About = About {
        name: "reliable_broadcast",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/reliable.rs",
        source: include_str!("../../../../protocols/src/broadcast/reliable.rs"),
        claims: &[INTEGRITY, AGREEMENT],
        mutants: &[
            Mutant {
                name: "does_not_relay",
                what: "Leaves it to the origin to tell the others.",
                breaks: "agreement",
                setup: "loss=0&duplicates=0&crashes=0&partitions=0&asks=n1@0&delay=10-10&faults=cut:n3@0+15,crash:n1@12+5000&lasts=1000&patience=0",
            },
            Mutant {
                name: "never_sends_again",
                what: "Takes it that what was sent has arrived.",
                breaks: "agreement",
                setup: "",
            },
            Mutant {
                name: "delivers_every_copy",
                what: "Delivers whatever comes, and doesn't look whether it knows it.",
                breaks: "integrity",
                setup: "",
            },
        ],
        knobs: &[],
        scenarios: &[
            Scenario {
                name: "the_sender_dies_half_way",
                what: "n1 reaches n2 alone and dies; n2 tells n3.",
                setup: "asks=n1@0&delay=10-10&faults=cut:n3@0+15,crash:n1@12+5000&lasts=1000&patience=0",
                expected: Expected::Holds,
            },
            Scenario {
                name: "everything_is_lost_at_first",
                what: "Nothing comes through for a while; who has a parcel sends again until everybody has it.",
                setup: "asks=n1@0&delay=10-10&faults=loss:100@0+70&lasts=100",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/reliable_broadcast.txt"),
    };

    fn setup() -> Setup {
        Conversation::setup()
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        Ok(Reliable(Conversation::new(setup, mutants)))
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
        conversation::integrity(moved, node.delivered().iter().cloned(), node.delivered(), said)
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
crate::show::shown!(Reliable);
