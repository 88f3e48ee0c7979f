//! Multi-Paxos on show.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::consensus::multi_paxos::{
    Command, Config, MultiPaxos, Replica, Slot, Timer,
};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Commands {
    nodes: Vec<NodeId>,
    leaders: usize,
    retries: u64,
    mutants: LabMutants,
}

/// What nodes may forget: what any of them has learnt to be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    chosen: BTreeMap<Slot, Command>,
}

const GOALS: &[Goal<Explorable<Commands>>] = &[
    ("two slots are chosen", |cluster| cluster.history().chosen.len() == 2),
    ("two replicas have performed", |cluster| {
        let has_performed = |node: &&MultiPaxos| !node.replica().performed().is_empty();
        cluster.states().filter(has_performed).count() >= 2
    }),
];

const DUEL: &[Goal<Explorable<Commands>>] = &[
    ("the first leader is preempted by the second", |cluster| {
        cluster.state(1).leads().is_some() && cluster.state(0).leads().is_none()
    }),
    ("both lead, each in its ballot", |cluster| {
        cluster.states().filter(|node| node.leads().is_some()).count() == 2
    }),
    ("a command is performed", |cluster| {
        cluster.states().any(|node| !node.replica().performed().is_empty())
    }),
];

const AWAITED: &[Eventually<Explorable<Commands>>] = &[Eventually {
    name: "progress: what a client waits for is performed by every replica",
    after: Some(|cluster| cluster.states().any(|node| node.replica().awaited().next().is_some())),
    comes: |cluster| {
        let performed = cluster.state(0).replica().performed().len();
        cluster.states().map(MultiPaxos::replica).all(|replica| {
            replica.awaited().next().is_none() && replica.performed().len() == performed
        })
    },
}];

/// What a replica ought to have performed, by what it knows to be chosen: slot after slot up to the first gap, and of each
/// command the first time alone.
fn due(replica: &Replica) -> Vec<Command> {
    let slots = (1..).map(Slot);
    let chosen = slots.map_while(|slot| replica.decisions().get(&slot));
    let mut due = Vec::new();
    for command in chosen {
        if !due.contains(command) {
            due.push(*command);
        }
    }
    due
}

fn has_twice(commands: &[Command]) -> Option<Command> {
    let mut seen = commands.iter().enumerate();
    seen.find(|(at, command)| commands[..*at].contains(command)).map(|(_, command)| *command)
}

/// The messages of a command, on average, if it is alone and if many share one phase 1.
fn phase_1_is_shared(lines: &[Points]) -> Result<(), String> {
    let each: Vec<f64> = lines[0].iter().map(|(commands, messages)| messages / commands).collect();
    match each.split_first() {
        Some((alone, shared)) if *alone >= 10.0 && shared.iter().all(|each| *each < 9.0) => Ok(()),
        _ => Err(format!("a command costs {each:?}")),
    }
}

impl Exhibit for Commands {
    type Protocol = MultiPaxos;
    type History = History;

    const ABOUT: About = About {
        name: "multi_paxos",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/multi_paxos/mod.rs",
        source: include_str!("../../../../protocols/src/consensus/multi_paxos/mod.rs"),
        claims: &[
            Claim {
                name: "one_command_per_slot",
                what: "No two replicas learn of different commands for a slot, however often they crash.",
            },
            Claim {
                name: "in_order",
                what: "A replica performs what is chosen slot after slot, and nothing beyond a gap.",
            },
            Claim {
                name: "exactly_once",
                what: "No replica performs a command twice, however often the client asks.",
            },
            Claim {
                name: "progress",
                what: "Once all is well, every command that a client waits for is performed by every replica.",
            },
        ],
        mutants: &[
            Mutant {
                name: "skips_adopted_values",
                what: "A leader proposes its own though acceptors had accepted something for the slot.",
                breaks: "one_command_per_slot",
                setup: "",
            },
            Mutant {
                name: "adopts_the_oldest",
                what: "A scout takes for each slot what was accepted in the oldest ballot, not in the newest.",
                breaks: "one_command_per_slot",
                setup: "loss=0&duplicates=0&crashes=0&partitions=0&delay=10-10&lasts=1200&asks=n1@0,n1@200,n2@250\
                        &faults=loss:100@200+3,cut:n1@204+500",
            },
            Mutant {
                name: "performs_as_they_come",
                what: "A replica performs a decision though an earlier slot is open.",
                breaks: "in_order",
                setup: "",
            },
            Mutant {
                name: "performs_a_retry_again",
                what: "A replica performs a command once for each slot that has it.",
                breaks: "exactly_once",
                setup: "",
            },
            Mutant {
                name: "forgets_what_lost_its_slot",
                what: "A replica whose proposal lost its slot to another doesn't propose it again.",
                breaks: "progress",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "leaders",
                what: "how many of the nodes may lead, n1 first",
                min: 1,
                max: 9,
                usual: 9,
            },
            Knob {
                name: "retries",
                what: "how many of a hundred requests ask for the command of the one before once more",
                min: 0,
                max: 100,
                usual: 30,
            },
        ],
        scenarios: &[
            Scenario {
                name: "a_new_leader_finishes_what_the_old_began",
                what: "n1 dies between phase 2 and the decision. n3 proposed c2 for the same slot, but what it adopts from the acceptors binds it: c1 has slot 1, and c2 gets slot 2.",
                setup: "asks=n1@0,n3@25&delay=10-10&lasts=400&faults=crash:n1@25+250",
                expected: Expected::Holds,
            },
            Scenario {
                name: "two_leaders",
                what: "n1 and n3 begin at nearly the same time: n3's ballot is the greater, and preempts n1's, which waits and is told what was decided.",
                setup: "asks=n1@0,n3@5&delay=10-10&lasts=200",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_client_asks_two_replicas",
                what: "A client that has heard nothing asks for c2 again, elsewhere. The command is chosen for two slots, s1 and s2, and performed once; both requests get the same ticket.",
                setup: "asks=n2@0,n1@2,n2.1@4&delay=10-10&leaders=1&lasts=100",
                expected: Expected::Holds,
            },
        ],
        curves: &[Curve {
            name: "phase_1_is_paid_once",
            what: "The messages of all commands together. The first pays for phase 1; of the others each pays for being proposed, once more if another has its slot, and for phase 2.",
            vary: "requests",
            x: "commands",
            values: &[1, 2, 4, 8, 16, 32],
            measure: "messages",
            y: "messages",
            lines: &[Line {
                label: "one leader, three nodes",
                setup: "leaders=1&retries=0&lasts=200",
            }],
            seeds: 10,
            holds: phase_1_is_shared,
        }],
        is_in_production: false,
        status: include_str!("../../../status/multi_paxos.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 6,
            lasts_ms: 1_000,
            loss: 10,
            duplicates: 10,
            crashes: 2,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let leaders = setup.knob(&Self::ABOUT, "leaders") as usize;
        let retries = setup.knob(&Self::ABOUT, "retries") as u64;
        Ok(Commands { nodes: setup.ids().collect(), leaders, retries, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            nodes: self.nodes.clone(),
            leaders: self.nodes.iter().copied().take(self.leaders).collect(),
            window: 5,
            patience: ms(100)..ms(200),
            curiosity: ms(300)..ms(400),
            mutants: self.mutants,
        }
    }

    /// A new command, or the last one once more.
    fn requests(&self, asked: u32, _: NodeId) -> Vec<Command> {
        let next = u64::from(asked) + 1;
        let last = (asked > 0).then(|| Command(next - 1));
        [Command(next)].into_iter().chain(last).collect()
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Command)> {
        let node = NodeId(asking.rng.below(asking.nodes) + 1);
        let is_retry = asking.rng.below(100) < self.retries;
        let mut requests = self.requests(asking.asked, node);
        requests.truncate(if is_retry { 2 } else { 1 });
        requests.pop().map(|command| (node, command))
    }

    fn observe(
        &self,
        members: &Members<'_, MultiPaxos>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(node) = members.state(moved) else { return Ok(()) };
        let replica = node.replica();
        for (slot, command) in replica.decisions() {
            let before = *history.chosen.entry(*slot).or_insert(*command);
            if before != *command {
                let what = format!("{moved} learnt {command:?} for {slot:?}, which was {before:?}");
                return Err(Broken::new("one_command_per_slot", what));
            }
        }
        let performed = replica.performed();
        if let Some(command) = has_twice(performed) {
            let what = format!("{moved} performed {command:?} twice");
            return Err(Broken::new("exactly_once", what));
        }
        let due = due(replica);
        if performed != due {
            let what = format!("{moved} performed {performed:?} in the place of {due:?}");
            return Err(Broken::new("in_order", what));
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, MultiPaxos>, _: &History) -> Result<(), Broken> {
        let most = members.live().map(|(_, node)| node.replica().performed().len()).max();
        for (node, state) in members.live() {
            let replica = state.replica();
            if let Some(command) = replica.awaited().next() {
                let what = format!("a client waits for {command:?} at {node}");
                return Err(Broken::new("progress", what));
            }
            if Some(replica.performed().len()) < most {
                return Err(Broken::new("progress", format!("{node} has not performed all")));
            }
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, requests, timers, goals, awaited| Scope {
            what,
            setup,
            bounds: Bounds { crashes: 0, repeats: 0, requests, hints: 0 },
            timers,
            syncs: Syncs::EachTurn,
            // Ballots are ordered by the names of nodes.
            is_symmetric: false,
            breaks: None,
            goals,
            awaited,
        };
        vec![
            scope("two requests, one leader", "leaders=1", 2, vec![], GOALS, &[]),
            scope("one request, two leaders", "leaders=2", 1, vec![(Timer::Lead, 1)], DUEL, &[]),
            scope(
                "two requests of two nodes, one leader that says all again without end",
                "nodes=2&leaders=1",
                2,
                vec![(Timer::Lead, UNBOUNDED)],
                GOALS,
                AWAITED,
            ),
            Scope {
                bounds: Bounds { crashes: 1, requests: 1, ..Bounds::default() },
                ..scope(
                    "one request, one leader, the crash of the other, and all is said again without end",
                    "nodes=2&leaders=1&faults=crash:n2@0+1",
                    1,
                    vec![(Timer::Lead, UNBOUNDED), (Timer::Ask, UNBOUNDED)],
                    &[],
                    AWAITED,
                )
            },
        ]
    }

    fn counts_records() -> bool {
        false
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((5.0, 6 * (nodes - 1)))
    }
}

#[cfg(test)]
crate::show::shown!(Commands);
