//! Total-order broadcast on show.

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs, UNBOUNDED};
use quorate_protocols::broadcast::reliable::{Config, Resend};
use quorate_protocols::broadcast::{Line, ParcelId, total};

use super::conversation::{self, AGREEMENT, Conversation, INTEGRITY, Said};
use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Total(Conversation);

const GOALS: &[Goal<Explorable<Total>>] = &[
    ("everybody delivers a parcel", |cluster| {
        cluster.states().all(|node| !node.delivered().is_empty())
    }),
    ("a parcel is held back", |cluster| cluster.states().any(|node| node.held_back() > 0)),
];

const AWAITED: &[Eventually<Explorable<Total>>] = &[
    Eventually {
        name: "agreement: n1 delivers whatever has come to it, or anybody delivers",
        after: Some(|cluster| !is_done(cluster, 0)),
        comes: |cluster| is_done(cluster, 0),
    },
    Eventually {
        name: "agreement: n2 delivers whatever has come to it, or anybody delivers",
        after: Some(|cluster| !is_done(cluster, 1)),
        comes: |cluster| is_done(cluster, 1),
    },
    Eventually {
        name: "agreement: n3 delivers whatever has come to it, or anybody delivers",
        after: Some(|cluster| !is_done(cluster, 2)),
        comes: |cluster| is_done(cluster, 2),
    },
];

fn is_done(cluster: &Snapshot<'_, Explorable<Total>>, place: usize) -> bool {
    cluster.state(place).held_back() == 0 && conversation::has_all(cluster, place)
}

/// Where the sequencer is cut off, all that n3 may hope for.
const HELD_BACK: &[Eventually<Explorable<Total>>] = &[Eventually {
    name: "agreement: n3 delivers what has come to it",
    after: Some(|cluster| cluster.state(2).held_back() > 0),
    comes: |cluster| cluster.state(2).held_back() == 0,
}];

const TOTAL_ORDER: Claim = Claim {
    name: "total_order",
    what: "Of what two nodes have delivered, one is the beginning of the other.",
};

impl Exhibit for Total {
    type Protocol = total::TotalOrderBroadcast<Line>;
    type History = Said;

    const ABOUT: About = About {
        name: "total_order_broadcast",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/total.rs",
        source: include_str!("../../../../protocols/src/broadcast/total.rs"),
        claims: &[INTEGRITY, AGREEMENT, TOTAL_ORDER],
        mutants: &[
            Mutant {
                name: "delivers_as_it_comes",
                what: "Doesn't wait for the sequencer's note.",
                breaks: "total_order",
                setup: "",
            },
            Mutant {
                name: "skips_what_is_missing",
                what: "Goes on to the next place if the parcel of this one hasn't come.",
                breaks: "total_order",
                setup: "",
            },
            Mutant {
                name: "places_anew_after_a_crash",
                what: "After a crash, gives every parcel a place, whether it has one or not.",
                breaks: "integrity",
                setup: "",
            },
        ],
        knobs: &[],
        scenarios: &[
            Scenario {
                name: "two_speak_at_once",
                what: "n2 and n3 broadcast at the same time; who was first is what the sequencer says.",
                setup: "asks=n2@0,n3@0&delay=10-10&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "no_sequencer_no_order",
                what: "The sequencer is down: everybody has both parcels, and nobody may deliver them.",
                setup: "asks=n2@10,n3@10&delay=10-10&faults=crash:n1@0+5000&lasts=100&patience=0",
                expected: Expected::Breaks("agreement"),
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/total_order_broadcast.txt"),
    };

    fn setup() -> Setup {
        Conversation::setup()
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        Ok(Total(Conversation::new(setup, mutants)))
    }

    fn config(&self, me: NodeId) -> Config {
        self.0.config(me)
    }

    fn requests(&self, asked: u32, _: NodeId) -> Vec<Line> {
        vec![Conversation::line(asked)]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Line)> {
        // The first to speak is not the sequencer, so that a run of one request shows what it usually costs.
        let any = NodeId(asking.rng.below(asking.nodes) + 1);
        let node = if asking.asked == 0 { NodeId(asking.nodes) } else { any };
        Some((node, Conversation::line(asking.asked)))
    }

    fn observe(
        &self,
        members: &Members<'_, Self::Protocol>,
        moved: NodeId,
        said: &mut Said,
    ) -> Result<(), Broken> {
        let Some(node) = members.state(moved) else { return Ok(()) };
        conversation::integrity(moved, node.contents(), node.delivered(), said)?;
        let others = members.live().filter(|(other, _)| *other != moved);
        let others = others.map(|(other, state)| (other, state.delivered()));
        conversation::total_order(TOTAL_ORDER.name, (moved, node.delivered()), others)
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
        let scope = |what, setup, requests, awaited| Scope {
            what,
            setup,
            bounds: Bounds { requests, ..Bounds::default() },
            // Where nothing is lost, nobody need send again.
            timers: Vec::new(),
            syncs: Syncs::EachTurn,
            // The sequencer is not like the others.
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited,
        };
        let both = AWAITED.split_at(2).0;
        vec![
            scope("two parcels", "nodes=2", 2, both),
            scope("one parcel of three nodes", "nodes=3", 1, AWAITED),
            Scope {
                bounds: Bounds { crashes: 1, requests: 1, ..Bounds::default() },
                timers: vec![(Resend, UNBOUNDED)],
                ..scope("one parcel, a crash", "nodes=2", 1, both)
            },
            Scope {
                breaks: Some("agreement"),
                ..scope("the sequencer is cut off", "nodes=3&faults=cut:n1@0+0", 1, HELD_BACK)
            },
        ]
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((3.0, 2 * nodes * (nodes - 1)))
    }
}

#[cfg(test)]
crate::show::shown!(Total);
