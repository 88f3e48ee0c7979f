//! The lease lock on show.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::coordination::lease_lock::{self, Config, Stored, Timer, Token, Value};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

const SERVICE: NodeId = NodeId(1);
const STORE: NodeId = NodeId(2);
/// The first of the holders to be.
const HOLDER: NodeId = NodeId(3);

pub(crate) struct LeaseLock {
    lease: Duration,
    mutants: LabMutants,
}

/// What nodes forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Under which lease each write came that the store has accepted. Those that a crash took from it before they were
    /// durable have been told to nobody, and are gone.
    writes: Vec<Token>,
    holders: BTreeMap<Token, NodeId>,
}

const GOALS: &[Goal<Explorable<LeaseLock>>] = &[
    ("two believe that they hold the lock", |cluster| {
        cluster.states().filter(|state| state.holds().is_some()).count() == 2
    }),
    ("a write under a later lease is accepted", |cluster| {
        cluster.state(1).stored().token > Token(1)
    }),
];

const AWAITED: &[Eventually<Explorable<LeaseLock>>] = &[
    Eventually {
        name: "progress: n3 has written once it was asked to",
        after: Some(|cluster| cluster.state(2).wants()),
        comes: |cluster| !cluster.state(2).wants(),
    },
    Eventually {
        name: "progress: n4 has written once it was asked to",
        after: Some(|cluster| cluster.state(3).wants()),
        comes: |cluster| !cluster.state(3).wants(),
    },
];

impl Exhibit for LeaseLock {
    type Protocol = lease_lock::LeaseLock;
    type History = History;

    const ABOUT: About = About {
        name: "lease_lock",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/lease_lock.rs",
        source: include_str!("../../../../protocols/src/coordination/lease_lock.rs"),
        claims: &[
            Claim {
                name: "fenced",
                what: "Once a write under a later lease is accepted, none under an earlier one is.",
            },
            Claim {
                name: "one_holder_a_token",
                what: "No two nodes have a lease of the same number.",
            },
            Claim {
                name: "progress",
                what: "Every write that a client asks for is accepted in the end.",
            },
        ],
        mutants: &[
            Mutant {
                name: "ignores_the_token",
                what: "The store takes any write.",
                breaks: "fenced",
                setup: "pauses=6",
            },
            Mutant {
                name: "forgets_its_tokens",
                what: "The service gives out tokens that a crash has it give out again.",
                breaks: "one_holder_a_token",
                setup: "",
            },
            Mutant {
                name: "never_expires",
                what: "A lease lasts until it is given back.",
                breaks: "progress",
                setup: "crashes=4",
            },
        ],
        knobs: &[Knob {
            name: "lease",
            what: "how long a lease lasts, in ms",
            min: 20,
            max: 60_000,
            usual: 100,
        }],
        scenarios: &[
            Scenario {
                name: "paused_beyond_its_lease",
                what: "n3 stands still just before it writes, and its lease runs out; n4 writes under the next one. When n3 goes on, it writes as if nothing had happened, and the store refuses.",
                setup: "nodes=4&asks=n3@0,n4@20&delay=10-10&lasts=600&faults=pause:n3@23+300",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_store_without_fencing",
                what: "The same with a store that takes any write: n3 overwrites what n4 has written since.",
                setup: "nodes=4&asks=n3@0,n4@20&delay=10-10&lasts=600&faults=pause:n3@23+300&mutant=ignores_the_token",
                expected: Expected::Breaks("fenced"),
            },
            Scenario {
                name: "the_holder_dies",
                what: "n3 dies with the lock; n4 has it when the lease is over.",
                setup: "nodes=4&asks=n3@0,n4@20&delay=10-10&lasts=300&faults=crash:n3@23+200",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_service_forgets_who",
                what: "The lock service crashes while n3 holds the lock. It knows its tokens and nothing else, and lets a lease's time pass before n4 has the next.",
                setup: "nodes=4&asks=n3@0,n4@70&delay=10-10&lasts=400&faults=crash:n1@23+40",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/lease_lock.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 5,
            requests: 8,
            lasts_ms: 1_000,
            loss: 10,
            duplicates: 10,
            crashes: 2,
            pauses: 2,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes < HOLDER.0 {
            return Err(format!(
                "nodes={}: a lock service, a store and a holder are three",
                setup.nodes
            ));
        }
        let lease = setup.knob(&Self::ABOUT, "lease").unsigned_abs();
        Ok(LeaseLock { lease: Duration::from_millis(lease), mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            service: SERVICE,
            store: STORE,
            lease: self.lease,
            counts_on: self.lease.saturating_sub(ms(10)),
            works: ms(4)..ms(4),
            retry: ms(40)..ms(60),
            mutants: self.mutants,
        }
    }

    fn requests(&self, asked: u32, node: NodeId) -> Vec<Value> {
        if node < HOLDER { Vec::new() } else { vec![Value(u64::from(asked) + 1)] }
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Value)> {
        let node = HOLDER.0 + asking.rng.below(asking.nodes - HOLDER.0 + 1);
        Some((NodeId(node), Value(u64::from(asking.asked) + 1)))
    }

    fn observe(
        &self,
        members: &Members<'_, lease_lock::LeaseLock>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(state) = members.state(moved) else { return Ok(()) };
        if let Some(token) = state.holds() {
            let holder = *history.holders.entry(token).or_insert(moved);
            if holder != moved {
                let what = format!("{holder} and {moved} both have {token:?}");
                return Err(Broken::new("one_holder_a_token", what));
            }
        }
        let Stored { version, token, .. } = state.stored();
        if moved != STORE || version == 0 {
            return Ok(());
        }
        history.writes.truncate(version as usize - 1);
        let before = history.writes.last().copied();
        history.writes.push(token);
        match before {
            Some(before) if before > token => {
                let what =
                    format!("a write under {token:?} is accepted after one under {before:?}");
                Err(Broken::new("fenced", what))
            }
            _ => Ok(()),
        }
    }

    fn settled(
        &self,
        members: &Members<'_, lease_lock::LeaseLock>,
        _: &History,
    ) -> Result<(), Broken> {
        match members.live().find(|(_, state)| state.wants()) {
            Some((node, _)) => Err(Broken::new("progress", format!("{node} has not written"))),
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, crashes, repeats| Scope {
            what,
            setup: "nodes=4",
            bounds: Bounds { crashes, repeats, requests: 3, hints: 0 },
            timers: vec![(Timer::Work, 3), (Timer::Expire, 2)],
            syncs: Syncs::EachTurn,
            // A service and a store are not like the others.
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        };
        vec![
            scope("three writes, leases that run out at any time, one repeated message", 0, 1),
            scope("the same with a crash, and no message repeated", 1, 0),
            // A holder that never gives up what it has takes part in no race for leases that has no end.
            Scope {
                setup: "nodes=4&faults=crash:n3@0+0",
                timers: vec![(Timer::Work, UNBOUNDED), (Timer::Expire, UNBOUNDED)],
                awaited: AWAITED,
                ..scope("three writes, a holder that crashes, leases that run out", 1, 0)
            },
        ]
    }

    fn cost(_: u64) -> Option<(f64, u64)> {
        Some((4.0, 5))
    }
}

#[cfg(test)]
crate::show::shown!(LeaseLock);
