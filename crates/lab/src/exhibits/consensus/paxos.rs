//! Single-decree Paxos on show.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::consensus::flexible_paxos::Quorums;
use quorate_protocols::consensus::paxos::{Config, Paxos, Timer, Value};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct SingleDecree {
    nodes: Vec<NodeId>,
    has_backoff: bool,
    /// After so many rounds they begin anew.
    rounds: Option<u64>,
    mutants: LabMutants,
}

/// What nodes may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    proposed: BTreeSet<Value>,
    decided: Option<Value>,
}

impl History {
    /// What was decided.
    pub(super) fn decided(&self) -> Option<Value> {
        self.decided
    }

    /// Agreement and validity.
    pub(super) fn judge(
        &mut self,
        members: &Members<'_, Paxos>,
        moved: NodeId,
    ) -> Result<(), Broken> {
        let Some(paxos) = members.state(moved) else { return Ok(()) };
        self.proposed.extend(paxos.proposal());
        let Some(decided) = paxos.decided() else { return Ok(()) };
        if !self.proposed.contains(&decided) {
            let what = format!("{moved} decided {}, which nobody proposed", decided.0);
            return Err(Broken::new("validity", what));
        }
        match self.decided {
            Some(before) if before != decided => {
                let what =
                    format!("{moved} decided {}, and {} was decided before", decided.0, before.0);
                Err(Broken::new("agreement", what))
            }
            _ => {
                self.decided = Some(decided);
                Ok(())
            }
        }
    }
}

/// Termination.
pub(super) fn has_terminated(members: &Members<'_, Paxos>) -> Result<(), Broken> {
    // A proposal that was lost in a crash before it was durable binds nobody.
    let is_due = |paxos: &Paxos| paxos.proposal().is_some() || paxos.decided().is_some();
    let undecided = members.live().find(|(_, paxos)| paxos.decided().is_none());
    match undecided {
        Some((node, _)) if members.live().any(|(_, paxos)| is_due(paxos)) => {
            Err(Broken::new("termination", format!("{node} has not decided")))
        }
        _ => Ok(()),
    }
}

/// What a node is configured with, with majorities for quorums.
pub(super) fn config(
    me: NodeId,
    nodes: &[NodeId],
    has_backoff: bool,
    mutants: LabMutants,
) -> Config {
    let ms = Duration::from_millis;
    Config {
        me,
        nodes: nodes.to_vec(),
        quorums: Quorums::majorities(nodes),
        backoff: has_backoff.then(|| ms(20)..ms(120)),
        patience: ms(100)..ms(200),
        curiosity: ms(300)..ms(400),
        rounds: None,
        mutants,
    }
}

/// The same, of a state that is explored.
pub(super) fn all_have_decided<'a>(mut states: impl Iterator<Item = &'a Paxos>) -> bool {
    states.all(|paxos| paxos.decided().is_some())
}

const DECIDED: &[Goal<Explorable<SingleDecree>>] =
    &[("both know the decision", |cluster| all_have_decided(cluster.states().take(2)))];

/// Of n1 and n2, with n3 cut off.
const AWAITED: &[Eventually<Explorable<SingleDecree>>] = &[Eventually {
    name: "termination: n1 and n2 decide once one of them has proposed",
    after: Some(|cluster| cluster.states().take(2).any(|paxos| paxos.proposal().is_some())),
    comes: |cluster| all_have_decided(cluster.states().take(2)),
}];

/// Once both have proposed.
const DUEL: &[Eventually<Explorable<SingleDecree>>] = &[Eventually {
    name: "termination: somebody decides once two have proposed",
    after: Some(|cluster| cluster.states().filter(|paxos| paxos.proposal().is_some()).count() == 2),
    comes: |cluster| cluster.history().decided.is_some(),
}];

const GOALS: &[Goal<Explorable<SingleDecree>>] = &[
    ("the first value is decided", |cluster| cluster.history().decided == Some(Value(1))),
    ("the second value is decided", |cluster| cluster.history().decided == Some(Value(2))),
    ("a majority knows the decision", |cluster| {
        cluster.states().filter(|paxos| paxos.decided().is_some()).count() >= 2
    }),
];

impl Exhibit for SingleDecree {
    type Protocol = Paxos;
    type History = History;

    const ABOUT: About = About {
        name: "paxos",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/paxos.rs",
        source: include_str!("../../../../protocols/src/consensus/paxos.rs"),
        claims: &[
            Claim {
                name: "agreement",
                what: "No two nodes decide differently, however often they crash.",
            },
            Claim { name: "validity", what: "What is decided was proposed." },
            Claim {
                name: "termination",
                what: "Once all is well, everybody decides if anybody has proposed.",
            },
        ],
        mutants: &[
            Mutant {
                name: "promises_before_durable",
                what: "Sends a promise that a crash may make it forget.",
                breaks: "agreement",
                setup: "crashes=8&lasts=300&requests=6",
            },
            Mutant {
                name: "ignores_what_was_accepted",
                what: "Proposes its own value though a promise carried one.",
                breaks: "agreement",
                setup: "",
            },
            Mutant {
                name: "forgets_its_proposal",
                what: "Proposes 0 where nothing was accepted before.",
                breaks: "validity",
                setup: "",
            },
            Mutant {
                name: "tries_once",
                what: "A proposer that is not answered doesn't say again what it said.",
                breaks: "termination",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "backoff",
                what: "1 if a proposer that was overtaken waits for a random time, 0 if it tries again at once",
                min: 0,
                max: 1,
                usual: 1,
            },
            Knob {
                name: "rounds",
                what: "how many rounds there are before they begin anew, and then all propose the same; 0 if they have no end",
                min: 0,
                max: 64,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "two_proposers_one_value",
                what: "Two nodes propose; the second finds what the first had accepted, and proposes that.",
                setup: "asks=n1@0,n3@25&delay=10-10&lasts=200",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_promise_outlives_a_crash",
                what: "An acceptor crashes after its promise, comes back, and keeps it.",
                setup: "asks=n1@0,n3@60&delay=10-10&lasts=400&faults=crash:n2@15+30",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_overtaker_dies",
                what: "An acceptor has promised the ballot of a proposer that dies; the next is told of it, and takes a newer one.",
                setup: "asks=n2@0,n1@40&delay=10-10&lasts=400&patience=0&faults=link:n1.n2@0+15,crash:n2@15+9000",
                expected: Expected::Holds,
            },
            Scenario {
                name: "duelling_proposers",
                what: "Two proposers that try again at once whenever they are overtaken overtake each other for ever.",
                setup: "asks=n1@0,n3@5&delay=10-10&backoff=0&lasts=1000&patience=0",
                expected: Expected::Breaks("termination"),
            },
            Scenario {
                name: "backoff_ends_the_duel",
                what: "The same two, but whoever is overtaken waits for a random time.",
                setup: "asks=n1@0,n3@5&delay=10-10&backoff=1&lasts=1000&patience=0",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/paxos.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 3,
            loss: 10,
            duplicates: 10,
            crashes: 2,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let has_backoff = setup.knob(&Self::ABOUT, "backoff") == 1;
        let rounds = match setup.knob(&Self::ABOUT, "rounds") as u64 {
            0 => None,
            rounds if rounds < 3 || rounds.is_multiple_of(2) => {
                let why =
                    "only of an odd number, 3 or more, does one of any two come after the other";
                return Err(format!("rounds={rounds}: {why}"));
            }
            rounds => Some(rounds),
        };
        Ok(SingleDecree { nodes: setup.ids().collect(), has_backoff, rounds, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let rounds = self.rounds;
        Config { rounds, ..config(me, &self.nodes, self.has_backoff, self.mutants) }
    }

    /// With rounds that begin anew agreement is not to be had, so there all propose the same, one after the other.
    fn requests(&self, asked: u32, node: NodeId) -> Vec<Value> {
        match self.rounds {
            None => vec![Value(u64::from(asked) + 1)],
            Some(_) if node.0 == u64::from(asked) + 1 => vec![Value(1)],
            Some(_) => Vec::new(),
        }
    }

    fn observe(
        &self,
        members: &Members<'_, Paxos>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        history.judge(members, moved)
    }

    fn settled(&self, members: &Members<'_, Paxos>, _: &History) -> Result<(), Broken> {
        has_terminated(members)
    }

    fn scopes() -> Vec<Scope<Self>> {
        let proposals = Scope {
            what: "two proposals, one crash",
            setup: "nodes=3",
            bounds: Bounds { crashes: 1, repeats: 0, requests: 2, hints: 0 },
            timers: vec![],
            syncs: Syncs::EachTurn,
            // Ballots are ordered by the names of nodes.
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        };
        let alone = Scope {
            what: "a majority, one proposer, one crash, and all is said again without end",
            bounds: Bounds { crashes: 1, requests: 1, ..Bounds::default() },
            timers: vec![(Timer::Retry, UNBOUNDED), (Timer::Ask, UNBOUNDED)],
            goals: DECIDED,
            awaited: AWAITED,
            setup: "nodes=3&faults=cut:n3@0+1",
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: None,
        };
        let duel = Scope {
            what: "two nodes that both propose, and rounds that begin anew",
            setup: "nodes=2&rounds=3",
            bounds: Bounds { requests: 2, ..Bounds::default() },
            timers: vec![(Timer::Retry, UNBOUNDED)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: Some("termination"),
            goals: DECIDED,
            awaited: DUEL,
        };
        vec![proposals, alone, duel]
    }

    fn counts_records() -> bool {
        false
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((5.0, 5 * (nodes - 1)))
    }
}

#[cfg(test)]
crate::show::shown!(SingleDecree);
