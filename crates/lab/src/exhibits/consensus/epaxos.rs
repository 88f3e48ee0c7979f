//! Egalitarian Paxos on show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::consensus::epaxos::{Attributes, Command, Config, EPaxos, Instance, Timer};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Egalitarian {
    nodes: Vec<NodeId>,
    keys: u64,
    is_in_turn: bool,
    recoverer: Option<NodeId>,
    mutants: LabMutants,
}

/// What replicas may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// What was committed where, as far as two have known it at one time, so that one had told the other. What one alone
    /// knows it may have learnt a moment ago, and forget in a crash before it could tell.
    committed: BTreeMap<Instance, Attributes>,
    /// The commands of each key in the order in which they were executed, as far as two have come.
    order: BTreeMap<u64, Vec<Command>>,
}

/// Whether of two orders of commands one is the beginning of the other.
fn agree(moved: NodeId, order: &[Command], other: &[Command]) -> Result<(), Broken> {
    let differs = order.iter().zip(other).find(|(one, other)| one != other);
    differs.map_or(Ok(()), |(one, other)| {
        let what = format!("{moved} has executed {one:?} where another executed {other:?}");
        Err(Broken::new("consistency", what))
    })
}

/// The commands of a key in the order in which a replica has executed them.
fn order(replica: &EPaxos, key: u64) -> Vec<Command> {
    replica.executed().iter().copied().filter(|command| command.key == key).collect()
}

const GOALS: &[Goal<Explorable<Egalitarian>>] = &[
    ("everybody has executed two commands", |cluster| {
        cluster.states().all(|replica| replica.executed().len() == 2)
    }),
    ("two commands depend on each other", |cluster| {
        let committed = &cluster.history().committed;
        committed.iter().any(|(instance, attributes)| {
            let mut deps = attributes.deps.iter().filter_map(|dep| committed.get(dep));
            deps.any(|other| other.deps.contains(instance))
        })
    }),
];

const RECOVERED: &[Goal<Explorable<Egalitarian>>] =
    &[("a command is recovered, and executed by everybody", |cluster| {
        cluster.states().all(|replica| !replica.executed().is_empty())
    })];

const AWAITED: &[Eventually<Explorable<Egalitarian>>] = &[Eventually {
    name: "termination: all have executed what a client waits for",
    after: Some(|cluster| cluster.states().any(|replica| replica.waiting() > 0)),
    comes: |cluster| {
        let executed = cluster.state(0).executed().len();
        cluster.states().all(|replica| {
            replica.waiting() == 0
                && replica.open().is_empty()
                && replica.executed().len() == executed
        })
    },
}];

impl Exhibit for Egalitarian {
    type Protocol = EPaxos;
    type History = History;

    const ABOUT: About = About {
        name: "epaxos",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/epaxos/mod.rs",
        source: include_str!("../../../../protocols/src/consensus/epaxos/mod.rs"),
        claims: &[
            Claim {
                name: "agreement",
                what: "An instance holds the same command with the same dependencies at every replica that knows it committed.",
            },
            Claim {
                name: "consistency",
                what: "Commands that interfere are executed in one order by all.",
            },
            Claim {
                name: "termination",
                what: "Once all is well, everybody executes every command that a live replica was asked.",
            },
        ],
        mutants: &[
            Mutant {
                name: "fast_quorum_too_small",
                what: "Commits on the fast path when one peer of the fast quorum has not answered.",
                breaks: "agreement",
                setup: "keys=1&loss=0&duplicates=0&crashes=0&partitions=0&delay=10-10&lasts=1000&asks=n1@0,n4@5\
                        &faults=loss:100@20+8,crash:n1@30+900,crash:n3@30+900",
            },
            Mutant {
                name: "commits_before_durable",
                what: "Tells others of a commitment that a crash may make it forget.",
                breaks: "agreement",
                setup: "",
            },
            Mutant {
                name: "recovery_drops_dependencies",
                what: "Finishes an instance without the dependencies that were found.",
                breaks: "consistency",
                setup: "keys=1&loss=20&lasts=1000",
            },
            Mutant {
                name: "never_recovers",
                what: "Waits for ever for an instance whose leader is gone.",
                breaks: "termination",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "keys",
                what: "how many keys commands are about; those of one key interfere",
                min: 1,
                max: 100,
                usual: 2,
            },
            Knob {
                name: "in_turn",
                what: "1 if clients ask one replica after the other, 0 if any",
                min: 0,
                max: 1,
                usual: 0,
            },
            Knob {
                name: "recoverer",
                what: "the only replica that recovers what is left open, by its number; 0 if all do",
                min: 0,
                max: 9,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "nothing_interferes",
                what: "Two clients ask two replicas for what has nothing to do with each other: one round trip each.",
                setup: "keys=2&asks=n1@0,n3@0&delay=10-10&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "two_clients_interfere",
                what: "Two clients ask two replicas for what interferes, at one time: the fast quorums disagree, both commands \
                       need a second round trip, each comes to depend on the other, and all execute them in one order.",
                setup: "keys=1&asks=n1@0,n3@0&delay=10-10&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "recovery",
                what: "A leader commits and dies before anybody hears of it. A command that depends on the lost one waits until \
                       another replica has found out what was committed.",
                setup: "nodes=3&keys=1&asks=n1@0,n2@12&delay=10-10&lasts=800&faults=loss:100@15+7,crash:n1@23+700",
                expected: Expected::Holds,
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/epaxos.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 5,
            requests: 6,
            loss: 5,
            duplicates: 5,
            crashes: 2,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes < 3 || setup.nodes.is_multiple_of(2) {
            return Err(format!("nodes={}: it takes 2f + 1, such as 3 or 5", setup.nodes));
        }
        let keys = setup.knob(&Self::ABOUT, "keys") as u64;
        let is_in_turn = setup.knob(&Self::ABOUT, "in_turn") == 1;
        let recoverer = setup.knob(&Self::ABOUT, "recoverer") as u64;
        let recoverer = (recoverer > 0).then_some(NodeId(recoverer));
        Ok(Egalitarian { nodes: setup.ids().collect(), keys, is_in_turn, recoverer, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            nodes: self.nodes.clone(),
            patience: ms(100)..ms(400),
            recovers: self.recoverer.is_none_or(|recoverer| recoverer == me),
            curiosity: ms(300)..ms(400),
            mutants: self.mutants,
        }
    }

    fn requests(&self, asked: u32, node: NodeId) -> Vec<Command> {
        let asked = u64::from(asked);
        if self.is_in_turn && node.0 != asked % self.nodes.len() as u64 + 1 {
            return Vec::new();
        }
        vec![Command { key: asked % self.keys + 1, number: asked + 1 }]
    }

    fn observe(
        &self,
        members: &Members<'_, EPaxos>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(replica) = members.state(moved) else { return Ok(()) };
        let others = || members.live().filter(|(node, _)| *node != moved).map(|(_, other)| other);
        for (instance, attributes) in replica.committed() {
            let elsewhere: Vec<_> = others().filter_map(|other| other.decided(instance)).collect();
            let known = history.committed.get(&instance).into_iter();
            let mut known = known.chain(elsewhere.iter().copied());
            if let Some(first) = known.find(|first| *first != attributes) {
                let what = format!(
                    "{moved} has committed {attributes:?} at {instance:?}, where {first:?} was committed"
                );
                return Err(Broken::new("agreement", what));
            }
            if !elsewhere.is_empty() {
                history.committed.entry(instance).or_insert_with(|| attributes.clone());
            }
        }
        let keys: BTreeSet<u64> = replica.executed().iter().map(|command| command.key).collect();
        for key in keys {
            let own = order(replica, key);
            let longest = history.order.entry(key).or_default();
            agree(moved, &own, longest)?;
            for other in others() {
                let other = order(other, key);
                agree(moved, &own, &other)?;
                let both = own.len().min(other.len());
                if both > longest.len() {
                    *longest = own[..both].to_vec();
                }
            }
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, EPaxos>, _: &History) -> Result<(), Broken> {
        let lacks = |what: String| Err(Broken::new("termination", what));
        let mut all: BTreeSet<Command> = BTreeSet::new();
        for (node, replica) in members.live() {
            all.extend(replica.executed());
            if replica.waiting() > 0 {
                return lacks(format!("{} requests are open at {node}", replica.waiting()));
            }
            if let Some(instance) = replica.open().first() {
                return lacks(format!("{node} waits for {instance:?}"));
            }
        }
        let behind = members.live().find(|(_, replica)| replica.executed().len() < all.len());
        match behind {
            Some((node, _)) => lacks(format!("{node} has not executed all that others have")),
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, bounds, timers, goals, awaited| Scope {
            what,
            setup,
            bounds,
            timers,
            syncs: Syncs::EachTurn,
            // The ring and the ballots order replicas by their names.
            is_symmetric: false,
            breaks: None,
            goals,
            awaited,
        };
        let bounds = |requests, crashes| Bounds { requests, crashes, repeats: 0, hints: 0 };
        vec![
            scope(
                "two commands that interfere",
                "nodes=3&keys=1",
                bounds(2, 0),
                vec![],
                GOALS,
                AWAITED,
            ),
            scope(
                "one command, one recovery",
                "nodes=3",
                bounds(1, 0),
                vec![(Timer::Recover, 1)],
                RECOVERED,
                &[],
            ),
            scope(
                "one command, one crash, one recovery",
                "nodes=3&in_turn=1",
                bounds(1, 1),
                vec![(Timer::Recover, 1)],
                RECOVERED,
                &[],
            ),
            scope(
                "two commands that interfere, the crash of a leader, which recovers",
                "nodes=3&keys=1&in_turn=1&recoverer=1&faults=crash:n1@0+1",
                bounds(2, 1),
                vec![(Timer::Recover, 1)],
                &[],
                &[],
            ),
            scope(
                "one command, and another that recovers it, again without end",
                "nodes=3&in_turn=1&recoverer=2",
                bounds(1, 0),
                vec![(Timer::Recover, UNBOUNDED)],
                &[],
                AWAITED,
            ),
        ]
    }

    fn counts_records() -> bool {
        false
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((3.0, 2 * (nodes - 2) + nodes - 1))
    }
}

#[cfg(test)]
crate::show::shown!(Egalitarian);
