//! ZAB on show.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::consensus::zab::{Change, Config, Epoch, Timer, Transaction, Zab, Zxid};

use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Broadcast {
    nodes: Vec<NodeId>,
    mutants: LabMutants,
}

/// What nodes may forget: all that any of them has delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    delivered: Vec<Transaction>,
}

const GOALS: &[Goal<Explorable<Broadcast>>] = &[("two nodes deliver", |cluster| {
    cluster.states().filter(|node| !node.delivered().is_empty()).count() >= 2
})];

const EPOCHS: &[Goal<Explorable<Broadcast>>] = &[
    ("a second epoch begins", |cluster| {
        cluster.states().any(|node| node.broadcasts() == Some(Epoch(2)))
    }),
    ("the second epoch begins with a transaction of the first", |cluster| {
        let mut states = cluster.states();
        states.any(|node| node.broadcasts() == Some(Epoch(2)) && !node.history().is_empty())
    }),
];

const AWAITED: &[Eventually<Explorable<Broadcast>>] = &[Eventually {
    name: "progress: every node delivers what a client waits for",
    after: Some(|cluster| cluster.states().any(|node| node.awaited().next().is_some())),
    comes: |cluster| {
        let delivered = cluster.history().delivered.len();
        cluster
            .states()
            .all(|node| node.awaited().next().is_none() && node.delivered().len() == delivered)
    },
}];

/// Whether a transaction may be delivered right after another.
fn follows(before: Zxid, next: Zxid) -> bool {
    match before.0 == next.0 {
        true => next.1 == before.1 + 1,
        false => next.0 > before.0 && next.1 == 1,
    }
}

impl Exhibit for Broadcast {
    type Protocol = Zab;
    type History = History;

    const ABOUT: About = About {
        name: "zab",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/zab/mod.rs",
        source: include_str!("../../../../protocols/src/consensus/zab/mod.rs"),
        claims: &[
            Claim {
                name: "total_order",
                what: "Of what any two nodes have delivered, one is the beginning of the other.",
            },
            Claim {
                name: "prefix",
                what: "Nodes deliver one epoch after the other, and of each the first transactions with no gap.",
            },
            Claim {
                name: "primary_integrity",
                what: "Whoever broadcasts in an epoch has all that anybody has delivered of earlier ones.",
            },
            Claim {
                name: "progress",
                what: "Once all is well, every change that a client waits for is delivered by every node.",
            },
        ],
        mutants: &[
            Mutant {
                name: "skips_synchronisation",
                what: "A follower acknowledges a new leader without taking over its history.",
                breaks: "total_order",
                setup: "",
            },
            Mutant {
                name: "delivers_what_it_proposes",
                what: "A leader delivers what it proposes before a majority has it.",
                breaks: "primary_integrity",
                setup: "",
            },
            Mutant {
                name: "accepts_with_a_gap",
                what: "A follower accepts a proposal though it lacks the one before.",
                breaks: "prefix",
                setup: "",
            },
            Mutant {
                name: "keeps_its_own_history",
                what: "A new leader begins with its own history, not with the newest that a majority told.",
                breaks: "primary_integrity",
                setup: "",
            },
            Mutant {
                name: "proposes_once",
                what: "A leader doesn't say again what was not acknowledged.",
                breaks: "progress",
                setup: "",
            },
        ],
        knobs: &[],
        scenarios: &[
            Scenario {
                name: "the_leader_dies_between_propose_and_commit",
                what: "n1 dies when the others have accepted its proposal, and it has heard of neither. Nobody can tell whether it was committed: the next leader takes it over, and delivers it.",
                setup: "asks=n1@0&delay=10-10&lasts=700&faults=crash:n1@75+500",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_lone_proposal_is_forgotten",
                what: "n1 is cut off before anybody has its proposal 1.1. The next epoch begins without it; when n1 is back it takes over the history of n2 or n3 in the place of its own, and c1 is proposed anew.",
                setup: "asks=n1@0,n2@500&delay=10-10&lasts=800&faults=cut:n1@65+500",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/zab.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 6,
            loss: 10,
            duplicates: 10,
            crashes: 3,
            partitions: 2,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        Ok(Broadcast { nodes: setup.ids().collect(), mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            nodes: self.nodes.clone(),
            patience: ms(250)..ms(400),
            beat: ms(100)..ms(120),
            mutants: self.mutants,
        }
    }

    fn requests(&self, asked: u32, _: NodeId) -> Vec<Change> {
        vec![Change(u64::from(asked) + 1)]
    }

    /// The first of the node that leads first, so that a run of one request shows what it costs.
    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Change)> {
        let drawn = asking.rng.below(asking.nodes) + 1;
        let node = NodeId(if asking.asked == 0 { 1 } else { drawn });
        self.requests(asking.asked, node).pop().map(|change| (node, change))
    }

    fn observe(
        &self,
        members: &Members<'_, Zab>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(zab) = members.state(moved) else { return Ok(()) };
        let delivered = zab.delivered();
        let start = [Transaction(Zxid::default(), Change(0))];
        let before = start.iter().chain(delivered);
        if let Some((before, next)) = before.zip(delivered).find(|(a, b)| !follows(a.0, b.0)) {
            let what = format!("{moved} delivered {next:?} right after {before:?}");
            return Err(Broken::new("prefix", what));
        }
        if let Some(epoch) = zab.broadcasts() {
            let mut earlier = history.delivered.iter().take_while(|it| it.0.0 < epoch);
            let mut own = zab.history().iter();
            if let Some(lacks) = earlier.find(|it| own.next() != Some(it)) {
                let what = format!("{moved} leads {epoch:?} without {lacks:?}, which is delivered");
                return Err(Broken::new("primary_integrity", what));
            }
        }
        let both = delivered.iter().zip(&history.delivered);
        if let Some((own, other)) = both.into_iter().find(|(own, other)| own != other) {
            let what = format!("{moved} delivered {own:?} where another had {other:?}");
            return Err(Broken::new("total_order", what));
        }
        if delivered.len() > history.delivered.len() {
            history.delivered = delivered.to_vec();
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, Zab>, history: &History) -> Result<(), Broken> {
        let delivered = members.live().map(|(_, zab)| zab.delivered().len());
        let most = delivered.max().max(Some(history.delivered.len()));
        for (node, zab) in members.live() {
            if let Some(change) = zab.awaited().next() {
                let what = format!("a client waits for {change:?} at {node}");
                return Err(Broken::new("progress", what));
            }
            if Some(zab.delivered().len()) < most {
                return Err(Broken::new("progress", format!("{node} has not delivered all")));
            }
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, requests, timers, goals, awaited| Scope {
            what,
            setup: "nodes=3",
            bounds: Bounds { requests, ..Bounds::default() },
            timers,
            syncs: Syncs::EachTurn,
            // The first node stands at once.
            is_symmetric: false,
            breaks: None,
            goals,
            awaited,
        };
        vec![
            scope("one epoch, two requests", 2, vec![], GOALS, &[]),
            scope("two epochs, one request", 1, vec![(Timer::Patience, 2)], EPOCHS, &[]),
            Scope {
                setup: "nodes=3&faults=crash:n2@0+1",
                bounds: Bounds { requests: 1, crashes: 1, ..Bounds::default() },
                ..scope(
                    "one epoch, one request, a follower's crash, and all is said again without end",
                    1,
                    vec![(Timer::Beat, UNBOUNDED)],
                    GOALS,
                    AWAITED,
                )
            },
        ]
    }

    fn counts_records() -> bool {
        false
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((9.0, 10 * (nodes - 1)))
    }
}

#[cfg(test)]
crate::show::shown!(Broadcast);
