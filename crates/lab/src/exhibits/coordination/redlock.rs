//! Redlock on show: what it takes for granted, and what comes of it where that fails.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::coordination::redlock::{self, Config, Timer};

use super::exclusion::{self, STAYS};
use crate::about::{About, Family, Knob, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Redlock {
    /// All but the last two, which are clients.
    servers: Vec<NodeId>,
    expires: Duration,
    stays: Duration,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<Redlock>>] = &[
    ("one client is inside, and a server is locked for the other", |cluster| {
        let mut locked = cluster.states().filter_map(redlock::Redlock::locked);
        cluster.state(3).is_inside() && locked.any(|attempt| attempt.of == NodeId(5))
    }),
    ("the other client is inside", |cluster| cluster.state(4).is_inside()),
];

impl Exhibit for Redlock {
    type Protocol = redlock::Redlock;
    type History = ();

    const ABOUT: About = About {
        name: "redlock",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/redlock.rs",
        source: include_str!("../../../../protocols/src/coordination/redlock.rs"),
        claims: &[exclusion::EXCLUSION, exclusion::NO_STARVATION],
        mutants: &[
            Mutant {
                name: "takes_one_for_all",
                what: "A client enters when one server has locked for it.",
                breaks: "exclusion",
                setup: "lasts=100",
            },
            Mutant {
                name: "unlocks_for_anyone",
                what: "A server unlocks whoever it is locked for.",
                breaks: "exclusion",
                setup: "lasts=100&stays=30",
            },
            Mutant {
                name: "locks_for_ever",
                what: "A server lets no lock run out.",
                breaks: "no_starvation",
                setup: "",
            },
        ],
        knobs: &[
            STAYS,
            Knob {
                name: "expires",
                what: "after how long a server lets a lock run out, in ms",
                min: 50,
                max: 60_000,
                usual: 100,
            },
        ],
        scenarios: &[
            Scenario {
                name: "a_client_stands_still",
                what: "n4 stands still inside until its locks have run out; n5 enters, and when n4 goes on there are two.",
                setup: "asks=n4@0,n5@60&delay=10-10&stays=30&lasts=600&faults=pause:n4@25+400",
                expected: Expected::Breaks("exclusion"),
            },
            Scenario {
                name: "a_clock_jumps",
                what: "n4 has the locks of n1 and n2. The clock of n2 jumps ahead, which ends the lock there, and n5 has those of n2 and n3.",
                setup: "asks=n4@0,n5@35&delay=10-10&stays=60&lasts=600&faults=cut:n3@0+30,ahead:n2@30+200",
                expected: Expected::Breaks("exclusion"),
            },
            Scenario {
                name: "a_server_forgets",
                what: "n4 has the locks of n1 and n2. n2 crashes and comes back unlocked, and n5 has those of n2 and n3.",
                setup: "asks=n4@0,n5@35&delay=10-10&stays=60&lasts=600&faults=cut:n3@0+30,crash:n2@30+4",
                expected: Expected::Breaks("exclusion"),
            },
            Scenario {
                name: "one_of_two",
                what: "Both clients ask; one has a majority, the other gives back what it has, and tries again later.",
                setup: "asks=n4@0,n5@0&delay=5-15&stays=15&lasts=200",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/redlock.txt"),
    };

    fn setup() -> Setup {
        Setup { nodes: 5, requests: 8, lasts_ms: 500, loss: 10, duplicates: 10, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let servers = setup.nodes.saturating_sub(2);
        if servers == 0 {
            return Err(format!("nodes={}: the last two are clients", setup.nodes));
        }
        let expires = setup.knob(&Self::ABOUT, "expires").unsigned_abs();
        Ok(Redlock {
            servers: (1..=servers).map(NodeId).collect(),
            expires: Duration::from_millis(expires),
            stays: exclusion::stays(setup, &Self::ABOUT),
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            servers: self.servers.clone(),
            expires: self.expires,
            is_valid: self.expires - ms(5),
            patience: ms(30)..ms(40),
            backoff: ms(10)..ms(100),
            stays: self.stays..self.stays,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<()> {
        if self.servers.contains(&node) { Vec::new() } else { vec![()] }
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, ())> {
        Some((NodeId(asking.nodes - asking.rng.below(2)), ()))
    }

    fn observe(
        &self,
        members: &Members<'_, redlock::Redlock>,
        _: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        exclusion::judge(members.live().filter(|(_, state)| state.is_inside()))
    }

    fn settled(&self, members: &Members<'_, redlock::Redlock>, (): &()) -> Result<(), Broken> {
        exclusion::nobody_waits(members.live().filter(|(_, state)| state.wants()))
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, expires, breaks| Scope {
            what,
            setup: "nodes=5",
            bounds: Bounds { requests: 2, ..Bounds::default() },
            timers: vec![
                (Timer::Leave, 1),
                (Timer::GiveUp, 1),
                (Timer::Again, 1),
                (Timer::Expire, expires),
            ],
            syncs: Syncs::EachTurn,
            // Clients are not like servers.
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: &[],
        };
        vec![
            scope("two requests, one put again, and no lock runs out", 0, None),
            scope("two requests, one put again, and a lock runs out early", 1, Some("exclusion")),
        ]
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((2.0, 3 * (nodes - 2)))
    }
}

#[cfg(test)]
crate::show::shown!(Redlock);
