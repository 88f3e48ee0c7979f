//! Viewstamped Replication on show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs, UNBOUNDED};
use quorate_protocols::consensus::viewstamped_replication::{
    Config, Operation, Replica, Response, Status, Timer, View,
};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct ViewstampedReplication {
    nodes: Vec<NodeId>,
    is_view_on_disk: bool,
    asked: Option<NodeId>,
    mutants: LabMutants,
}

/// What replicas may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// What was committed, in order, each with the view of whoever executed it first.
    committed: Vec<(Operation, View)>,
    /// How far each replica had come when it last took part: its view, and how much of its log.
    known: BTreeMap<NodeId, (View, usize)>,
    /// What clients were told, by op-number. Only simulations show it.
    told: BTreeMap<usize, Operation>,
}

const GOALS: &[Goal<Explorable<ViewstampedReplication>>] =
    &[("something is committed in a later view", |cluster| {
        cluster.history().committed.iter().any(|(_, view)| *view > View(0))
    })];

const RECOVERED: &[Goal<Explorable<ViewstampedReplication>>] =
    &[("everybody has executed the request, and nobody is recovering", |cluster| {
        cluster
            .states()
            .all(|replica| replica.status() == Status::Normal && !replica.executed().is_empty())
    })];

const AWAITED: &[Eventually<Explorable<ViewstampedReplication>>] = &[Eventually {
    name: "termination: all have executed what a client waits for, and nobody is recovering",
    after: Some(|cluster| cluster.states().any(|replica| replica.waiting() > 0)),
    comes: |cluster| {
        let longest = cluster.states().map(|replica| replica.log().len()).max().unwrap_or(0);
        all_are_normal(cluster)
            && cluster
                .states()
                .all(|replica| replica.waiting() == 0 && replica.executed().len() == longest)
    },
}];

const WHOLE_AGAIN: &[Eventually<Explorable<ViewstampedReplication>>] = &[Eventually {
    name: "termination: who has crashed is back in a view",
    after: Some(|cluster| !all_are_normal(cluster)),
    comes: all_are_normal,
}];

fn all_are_normal(cluster: &Snapshot<'_, Explorable<ViewstampedReplication>>) -> bool {
    cluster.states().all(|replica| replica.status() == Status::Normal)
}

impl Exhibit for ViewstampedReplication {
    type Protocol = Replica;
    type History = History;

    const ABOUT: About = About {
        name: "viewstamped_replication",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/viewstamped_replication/mod.rs",
        source: include_str!("../../../../protocols/src/consensus/viewstamped_replication/mod.rs"),
        claims: &[
            Claim {
                name: "agreement",
                what: "No two replicas execute different operations at one op-number.",
            },
            Claim {
                name: "survival",
                what: "What was committed is in the log of the primary of every later view, at its place.",
            },
            Claim {
                name: "wholeness",
                what: "A replica that has recovered is in no earlier view, and has no shorter log of it, than before it crashed.",
            },
            Claim {
                name: "at_most_once",
                what: "No request is executed twice, however often it is sent.",
            },
            Claim {
                name: "termination",
                what: "Once all is well, everybody is in one view and has executed all that clients wait for.",
            },
        ],
        mutants: &[
            Mutant {
                name: "keeps_its_tail",
                what: "Keeps what lies behind its commit-number when it catches up with a later view.",
                breaks: "agreement",
                setup: "nodes=3&requests=16&partitions=6&crashes=0",
            },
            Mutant {
                name: "takes_the_longest_log",
                what: "Begins a view with the longest log, whichever view it is from.",
                breaks: "survival",
                setup: "nodes=3&requests=16&partitions=6&crashes=0",
            },
            Mutant {
                name: "recovering_replica_votes",
                what: "Takes part in view changes before it has its state back.",
                breaks: "survival",
                setup: "nodes=3&loss=0&duplicates=0&crashes=0&partitions=0&delay=10-10&lasts=2000&asks=n1@0\
                        &faults=cut:n3@0+60,crash:n2@40+10,cut:n1@45+1500",
            },
            Mutant {
                name: "recovers_from_one_answer",
                what: "Believes the first primary that answers, which may be that of an old view.",
                breaks: "wholeness",
                setup: "nodes=3&faults=crash:n2@600+10,crash:n2@1000+10,cut:n1@0+900&crashes=0&partitions=0&requests=16&view_on_disk=0",
            },
            Mutant {
                name: "ignores_the_nonce",
                what: "Counts answers to an earlier recovery of its own.",
                breaks: "wholeness",
                setup: "nodes=3&loss=0&duplicates=50&crashes=0&partitions=0&delay=1-300&requests=30&lasts=2000\
                        &faults=crash:n2@300+10,crash:n2@600+10,crash:n2@900+10,crash:n2@1200+10,crash:n2@1500+10,crash:n2@1800+10",
            },
            Mutant {
                name: "forgets_the_client_table",
                what: "Begins a view with an empty client table.",
                breaks: "at_most_once",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "view_on_disk",
                what: "1 if a replica that has crashed still knows its view-number, 0 if not, as in the paper",
                min: 0,
                max: 1,
                usual: 1,
            },
            Knob {
                name: "asked",
                what: "the replica that clients ask, by its number; 0 if they ask any",
                min: 0,
                max: 9,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "view_change_during_recovery",
                what: "A backup has crashed and asks for its state when the primary crashes too: of five, the three others change \
                       the view first, and then both have their state back from the new primary.",
                setup: "nodes=5&asks=n1@0&delay=10-10&lasts=100&faults=crash:n3@40+15,crash:n1@50+40",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_request_sent_again_is_executed_once",
                what: "The primary crashes before it answers; the client asks another replica, which knows of the request.",
                setup: "nodes=3&asks=n1@0,n2.1@60&delay=10-10&lasts=100&faults=crash:n1@21+300",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_majority_forgets",
                what: "Two of three crash at one time: one alone cannot tell them what they knew.",
                setup: "nodes=3&asks=n1@0&delay=10-10&lasts=100&patience=400&faults=crash:n2@50+10,crash:n3@50+10",
                expected: Expected::Breaks("termination"),
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/viewstamped_replication.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 5,
            requests: 8,
            loss: 5,
            duplicates: 5,
            crashes: 2,
            partitions: 2,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes < 3 {
            return Err(format!("nodes={}: with fewer than 3 nothing may crash", setup.nodes));
        }
        let is_view_on_disk = setup.knob(&Self::ABOUT, "view_on_disk") == 1;
        let asked = setup.knob(&Self::ABOUT, "asked") as u64;
        let asked = (asked > 0).then_some(NodeId(asked));
        Ok(ViewstampedReplication { nodes: setup.ids().collect(), is_view_on_disk, asked, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            nodes: self.nodes.clone(),
            heartbeat: ms(40)..ms(50),
            patience: ms(150)..ms(300),
            again: ms(100)..ms(150),
            is_view_on_disk: self.is_view_on_disk,
            mutants: self.mutants,
        }
    }

    /// The next request of one of two clients, or the last one of the other again.
    fn requests(&self, asked: u32, node: NodeId) -> Vec<Operation> {
        if self.asked.is_some_and(|asked| asked != node) {
            return Vec::new();
        }
        let asked = u64::from(asked);
        let operation = |asked: u64| Operation { client: asked % 2 + 1, request: asked / 2 + 1 };
        let again = asked.checked_sub(1).map(operation);
        [operation(asked)].into_iter().chain(again).collect()
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Operation)> {
        // The first is put to the primary, so that a run of one request shows what it costs.
        let node = match (self.asked, asking.asked) {
            (Some(asked), _) => asked,
            (None, 0) => NodeId(1),
            (None, _) => NodeId(asking.rng.below(asking.nodes) + 1),
        };
        let mut requests = self.requests(asking.asked, node);
        let which = asking.rng.below((requests.len() as u64).max(1)) as usize;
        (which < requests.len()).then(|| (node, requests.swap_remove(which)))
    }

    fn observe(
        &self,
        members: &Members<'_, Replica>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(replica) = members.state(moved) else { return Ok(()) };
        if replica.status() == Status::Normal {
            whole(moved, replica, history)?;
            self.survived(moved, replica, history)?;
        }
        let executed = replica.executed();
        let mut once = BTreeSet::new();
        for (at, operation) in executed.iter().enumerate() {
            if !once.insert(operation) {
                let what = format!("{moved} has executed {operation:?} twice");
                return Err(Broken::new("at_most_once", what));
            }
            match history.committed.get(at) {
                None => history.committed.push((*operation, replica.view_number())),
                Some((first, _)) if first == operation => {}
                Some((first, _)) => {
                    let what = format!(
                        "{moved} has executed {operation:?} at {}, where {first:?} was executed",
                        at + 1
                    );
                    return Err(Broken::new("agreement", what));
                }
            }
        }
        match history.told.iter().find(|(at, told)| !is_at(history, **at, **told)) {
            Some((at, told)) => {
                let what = format!("{told:?} was said to be executed at {}, and is not", at + 1);
                Err(Broken::new("agreement", what))
            }
            None => Ok(()),
        }
    }

    fn answered(
        &self,
        node: NodeId,
        _: RequestId,
        response: &Response,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Response::Executed(operation, at) = response else { return Ok(()) };
        let told = history.told.insert(at.0 as usize - 1, *operation);
        if told.is_none_or(|told| told == *operation) {
            return Ok(());
        }
        let what =
            format!("{node} says that {operation:?} was executed at {at:?}, where another was");
        Err(Broken::new("agreement", what))
    }

    fn settled(&self, members: &Members<'_, Replica>, _: &History) -> Result<(), Broken> {
        let lacks = |what: String| Err(Broken::new("termination", what));
        let mut views = BTreeSet::new();
        let longest = members.live().map(|(_, replica)| replica.log().len()).max().unwrap_or(0);
        for (node, replica) in members.live() {
            views.insert(replica.view_number());
            if replica.status() != Status::Normal {
                return lacks(format!("{node} is not in a view: it is {:?}", replica.status()));
            }
            if replica.waiting() > 0 {
                return lacks(format!("{} requests are open at {node}", replica.waiting()));
            }
            if replica.executed().len() < longest {
                return lacks(format!("{node} has not executed all that is in the logs"));
            }
        }
        if views.len() > 1 {
            return lacks(format!("there are {} views", views.len()));
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, bounds, timers, goals, awaited| Scope {
            what,
            setup,
            bounds,
            timers,
            syncs: Syncs::EachTurn,
            // Views are given to replicas by their names.
            is_symmetric: false,
            breaks: None,
            goals,
            awaited,
        };
        let bounds = |requests, crashes| Bounds { requests, crashes, repeats: 0, hints: 0 };
        let again = |timers: [Timer; 2]| timers.map(|timer| (timer, UNBOUNDED)).to_vec();
        vec![
            scope(
                "one request of the primary, one view change",
                "nodes=3&asked=1",
                bounds(1, 0),
                vec![(Timer::Suspect, 1)],
                GOALS,
                &[],
            ),
            scope("one request, one crash", "nodes=3", bounds(1, 1), vec![], RECOVERED, &[]),
            scope(
                "one request, and all is said again without end",
                "nodes=3",
                bounds(1, 0),
                again([Timer::Heartbeat, Timer::Resubmit]),
                RECOVERED,
                AWAITED,
            ),
            scope(
                "a backup's crash, and all is said again without end",
                "nodes=3&faults=crash:n2@0+1",
                bounds(0, 1),
                again([Timer::Heartbeat, Timer::Plead]),
                &[],
                WHOLE_AGAIN,
            ),
            Scope {
                breaks: Some("termination"),
                ..scope(
                    "two of three crash, and ask for their state without end",
                    "nodes=3&faults=crash:n2@0+1,crash:n3@0+1",
                    bounds(0, 2),
                    again([Timer::Heartbeat, Timer::Plead]),
                    &[],
                    WHOLE_AGAIN,
                )
            },
        ]
    }

    fn counts_records() -> bool {
        false
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((3.0, 3 * (nodes - 1)))
    }
}

fn is_at(history: &History, at: usize, operation: Operation) -> bool {
    history.committed.get(at).is_some_and(|(committed, _)| *committed == operation)
}

/// Who has recovered knows at least what it knew before.
fn whole(node: NodeId, replica: &Replica, history: &mut History) -> Result<(), Broken> {
    let knows = (replica.view_number(), replica.log().len());
    let knew = history.known.insert(node, knows);
    match knew.filter(|knew| *knew > knows) {
        Some((view, log)) => Err(Broken::new(
            "wholeness",
            format!(
                "{node} was in {view:?} with {log} operations, and is in {:?} with {}",
                knows.0, knows.1
            ),
        )),
        None => Ok(()),
    }
}

impl ViewstampedReplication {
    /// The primary of a view has what was committed before.
    fn survived(&self, node: NodeId, replica: &Replica, history: &History) -> Result<(), Broken> {
        let view = replica.view_number();
        if self.config(node).primary(view) != node {
            return Ok(());
        }
        let before = history.committed.iter().enumerate().filter(|(_, (_, when))| *when <= view);
        for (at, (operation, when)) in before {
            if replica.log().get(at) != Some(operation) {
                let what = format!(
                    "{operation:?}, committed at {} in {when:?}, is not in the log of {node}, the primary of {view:?}",
                    at + 1
                );
                return Err(Broken::new("survival", what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
crate::show::shown!(ViewstampedReplication);
