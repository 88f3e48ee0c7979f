//! The token ring on show.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs};
use quorate_protocols::coordination::token_ring::{self, Config, Timer};

use super::exclusion::{self, STAYS};
use crate::about::{About, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct TokenRing {
    nodes: u64,
    stays: Duration,
    /// When the token is taken to be lost.
    watch: Option<Duration>,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<TokenRing>>] = &[
    ("one is inside while another waits", |cluster| {
        let wanting = cluster.states().filter(|state| state.wants()).count();
        wanting == 2 && cluster.states().any(token_ring::TokenRing::is_inside)
    }),
    ("the last on the ring is inside", |cluster| cluster.state(2).is_inside()),
];

/// The more want to enter, the fewer messages for each; in the end one.
fn messages_fall_to_one_an_entry(lines: &[Points]) -> Result<(), String> {
    let per_entry: Vec<f64> = lines[0].iter().map(|(requests, sent)| sent / requests).collect();
    let falls = per_entry.windows(2).all(|pair| pair[1] < pair[0]);
    match (falls, per_entry.last()) {
        (true, Some(last)) if *last < 1.5 => Ok(()),
        _ => Err(format!("messages for each that enters: {per_entry:?}")),
    }
}

const AWAITED: &[Eventually<Explorable<TokenRing>>] = &[
    Eventually {
        name: "no_starvation: n1 enters and leaves once it has asked",
        after: Some(|cluster| cluster.state(0).wants()),
        comes: |cluster| !cluster.state(0).wants(),
    },
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
];

impl Exhibit for TokenRing {
    type Protocol = token_ring::TokenRing;
    type History = ();

    const ABOUT: About = About {
        name: "token_ring",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/token_ring.rs",
        source: include_str!("../../../../protocols/src/coordination/token_ring.rs"),
        claims: &[exclusion::EXCLUSION, exclusion::NO_STARVATION],
        mutants: &[
            Mutant {
                name: "passes_on_what_it_uses",
                what: "Passes the token on when it enters, not when it leaves.",
                breaks: "exclusion",
                setup: "loss=0&crashes=0",
            },
            Mutant {
                name: "keeps_it_when_idle",
                what: "Keeps the token until it has a use for it.",
                breaks: "no_starvation",
                setup: "loss=0&crashes=0&watched=0",
            },
        ],
        knobs: &[
            STAYS,
            Knob {
                name: "watched",
                what: "1 if the first node makes another token when it has not come round, 0 if not",
                min: 0,
                max: 1,
                usual: 1,
            },
        ],
        scenarios: &[
            Scenario {
                name: "once_round",
                what: "The token goes round; n3 and n2 ask, and enter as it comes by, whoever asked first.",
                setup: "watched=0&asks=n3@1,n2@5&delay=10-10&stays=15&lasts=60",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_token_is_lost",
                what: "n2 crashes with the token; the first node waits for as long as it could take, and makes another.",
                setup: "asks=n2@120,n3@130&delay=10-10&stays=30&lasts=310&faults=crash:n2@150+40",
                expected: Expected::Holds,
            },
            Scenario {
                name: "nobody_watches",
                what: "n2 crashes with the token, and nobody makes another.",
                setup: "watched=0&asks=n2@1,n3@5&delay=10-10&stays=30&lasts=400&faults=crash:n2@20+40",
                expected: Expected::Breaks("no_starvation"),
            },
            Scenario {
                name: "a_late_token",
                what: "n2 stands still inside; the first node takes the token to be lost, makes another, and enters too.",
                setup: "asks=n2@1,n1@100&delay=10-10&stays=15&lasts=600&faults=pause:n2@95+400",
                expected: Expected::Breaks("exclusion"),
            },
        ],
        curves: &[Curve {
            name: "messages",
            what: "How many messages it takes until so many have entered, which ask at nearly the same time: the busier the ring, the fewer for each.",
            vary: "requests",
            x: "requests",
            values: &[1, 4, 16, 64, 256],
            measure: "messages",
            y: "messages",
            lines: &[Line { label: "eight nodes", setup: "watched=0&nodes=8&lasts=1&stays=1" }],
            seeds: 50,
            holds: messages_fall_to_one_an_entry,
        }],
        is_in_production: false,
        status: include_str!("../../../status/token_ring.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 8, lasts_ms: 1_000, loss: 1, crashes: 2, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes < 2 {
            return Err(format!("nodes={}: a ring needs two nodes", setup.nodes));
        }
        let stays = exclusion::stays(setup, &Self::ABOUT);
        let is_watched = setup.knob(&Self::ABOUT, "watched") == 1;
        let round = (Duration::from_millis(setup.delay_ms.1 + 2) + stays) * setup.nodes as u32;
        let watch = is_watched.then_some(round);
        Ok(TokenRing { nodes: setup.nodes, stays, watch, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        Config {
            me,
            next: NodeId(me.0 % self.nodes + 1),
            stays: self.stays..self.stays,
            watch: self.watch.map(|after| after..after),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<()> {
        vec![()]
    }

    fn observe(
        &self,
        members: &Members<'_, token_ring::TokenRing>,
        _: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        exclusion::judge(members.live().filter(|(_, state)| state.is_inside()))
    }

    fn settled(&self, members: &Members<'_, token_ring::TokenRing>, (): &()) -> Result<(), Broken> {
        exclusion::nobody_waits(members.live().filter(|(_, state)| state.wants()))
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, crashes, repeats, makes, breaks| Scope {
            what,
            setup,
            bounds: Bounds { crashes, repeats, requests: 4, hints: 0 },
            timers: vec![(Timer::Leave, 4), (Timer::Make, makes)],
            syncs: Syncs::EachTurn,
            // The first node is not like the others.
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: AWAITED,
        };
        let broken = Some("exclusion");
        vec![
            scope("four requests", "watched=0", 0, 0, 1, None),
            scope("four requests, the token comes twice", "watched=0", 0, 1, 1, broken),
            scope("four requests, the token is late", "watched=1", 0, 0, 2, broken),
            scope(
                "nobody watches, four requests, n2 crashes",
                "watched=0&faults=crash:n2@0+0",
                1,
                0,
                1,
                Some("no_starvation"),
            ),
        ]
    }
}

#[cfg(test)]
crate::show::shown!(TokenRing);
