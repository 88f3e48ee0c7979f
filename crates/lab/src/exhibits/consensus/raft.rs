//! Raft on show: the very code that the database runs, without the database.

use std::collections::BTreeSet;

use bytes::Bytes;
use quorate_core::{LabMutants, Mutants, NodeId, RequestId};
use quorate_explore::{Bounds, Goal, Syncs, raft as model};
use quorate_protocols::consensus::raft::{
    self, Config, Index, Message, Record, Request, Response, Timer, words,
};
use quorate_sim::Describe;
use quorate_trace::Label;

use crate::about::{About, Claim, Family, Mutant};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Raft {
    nodes: Vec<NodeId>,
    requests: u32,
    mutants: Mutants,
}

/// What members may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    of_raft: model::History,
    /// Requests that were answered, or that a crash has left open.
    settled: BTreeSet<RequestId>,
    /// Those of them that were answered with an index.
    committed: u32,
}

const GOALS: &[Goal<Explorable<Raft>>] = &[
    ("a member leads", |cluster| cluster.states().any(raft::Raft::is_leader)),
    ("an entry is committed", |cluster| cluster.states().any(|raft| raft.commit() > Index(0))),
];

/// What has few runs that nobody disturbs, with as much going wrong as a second of simulated time holds.
const STORMY: &str = "crashes=12&partitions=6&requests=12&lasts=6000&loss=20";

impl Exhibit for Raft {
    type Protocol = raft::Raft;
    type History = History;

    const ABOUT: About = About {
        name: "raft",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/raft/mod.rs",
        source: include_str!("../../../../protocols/src/consensus/raft/mod.rs"),
        claims: &[
            Claim { name: "election_safety", what: "A term has at most one leader." },
            Claim {
                name: "log_matching",
                what: "Where two logs have an entry of one term at one index, they are the same up to there.",
            },
            Claim {
                name: "leader_completeness",
                what: "Whoever leads holds all that was committed in earlier terms.",
            },
            Claim {
                name: "state_machine_safety",
                what: "No two members commit different entries at one index.",
            },
            Claim { name: "at_most_once", what: "No proposal is committed twice." },
            Claim {
                name: "progress",
                what: "Once all is well, every request is answered, and all members commit the same.",
            },
        ],
        mutants: &[
            Mutant {
                name: "votes_before_durable",
                what: "Sends its vote before it is on the disk.",
                breaks: "election_safety",
                setup: STORMY,
            },
            Mutant {
                name: "skips_log_matching",
                what: "Takes entries without looking at the one before them.",
                breaks: "log_matching",
                setup: STORMY,
            },
            Mutant {
                name: "grants_to_shorter_logs",
                what: "Votes for a candidate that lacks what it holds itself.",
                breaks: "leader_completeness",
                setup: STORMY,
            },
            Mutant {
                name: "commits_beyond_match",
                what: "Takes the leader's commit index for entries that it may not share.",
                breaks: "state_machine_safety",
                setup: STORMY,
            },
            Mutant {
                name: "accepts_repeated_proposals",
                what: "Appends a submission again that came twice.",
                breaks: "at_most_once",
                setup: STORMY,
            },
        ],
        knobs: &[],
        scenarios: &[
            Scenario {
                name: "a_first_election",
                what: "Three members start, one of them asks for votes and leads, and a proposal is committed.",
                setup: "asks=n1@1500&lasts=1700&delay=5-5",
                expected: Expected::Holds,
            },
            Scenario {
                name: "the_leader_crashes",
                what: "The leader crashes with a proposal under way; another is elected, and nothing is lost.",
                setup: "seed=1&asks=n1@1500,n2@1503,n3@1503&lasts=4500&delay=5-5&faults=crash:n2@1504+2000",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_partitioned_server_rejoins",
                what: "A follower that was cut off asks whether anybody would vote for it, before it disturbs anybody.",
                setup: "asks=n1@1500&lasts=4000&delay=5-5&faults=cut:n2@1600+1500",
                expected: Expected::Holds,
            },
            Scenario {
                name: "no_majority_no_progress",
                what: "Two of three are cut off from each other and from the third: nothing is committed, and nothing can be.",
                setup: "asks=n1@100&lasts=3000&patience=0&delay=5-5&faults=cut:n1@0+3000,cut:n2@0+3000",
                expected: Expected::Breaks("progress"),
            },
        ],
        curves: &[],
        is_in_production: true,
        status: include_str!("../../../status/raft.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 6,
            lasts_ms: 4_000,
            loss: 5,
            duplicates: 5,
            crashes: 2,
            partitions: 2,
            pauses: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let mutant = setup.mutant.as_deref().filter(|name| mutants.has(name));
        let mutants = match mutant {
            None => Mutants::NONE,
            Some(name) => model::mutant(name).ok_or(
                "this binary was built without Raft's deliberate bugs, since the database runs it; \
                 `cargo run --release --features mutants -- lab …` has them",
            )?,
        };
        if setup.nodes > 9 {
            return Err(format!("nodes={}: this row shows up to 9 members", setup.nodes));
        }
        Ok(Raft { nodes: setup.ids().collect(), requests: setup.requests, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        Config { mutants: self.mutants, ..Config::new(me, self.nodes.clone()) }
    }

    fn requests(&self, asked: u32, _: NodeId) -> Vec<Request> {
        vec![Request::Propose(Bytes::from(format!("v{}", asked + 1)))]
    }

    fn observe(
        &self,
        members: &Members<'_, raft::Raft>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(raft) = members.state(moved) else { return Ok(()) };
        let others = members.live().filter(|(node, _)| *node != moved).map(|(_, raft)| raft);
        let judged = model::judge(moved, raft, others, &history.of_raft);
        let changed = judged.map_err(|broken| {
            let (promise, what) = broken.split_once(": ").unwrap_or(("progress", &broken));
            Broken::new(&promise.replace(' ', "_"), what)
        })?;
        if let Some(changed) = changed {
            history.of_raft = changed;
        }
        Ok(())
    }

    fn answered(
        &self,
        _: NodeId,
        id: RequestId,
        response: &Response,
        history: &mut History,
    ) -> Result<(), Broken> {
        history.settled.insert(id);
        history.committed += u32::from(matches!(response, Response::Committed(_)));
        Ok(())
    }

    fn crashed(&self, _: NodeId, orphans: &BTreeSet<RequestId>, history: &mut History) {
        history.settled.extend(orphans);
    }

    fn settled(&self, members: &Members<'_, raft::Raft>, history: &History) -> Result<(), Broken> {
        let open = self.requests as usize - history.settled.len().min(self.requests as usize);
        if open > 0 {
            return Err(Broken::new("progress", format!("{open} requests were not answered")));
        }
        let commits: BTreeSet<_> = members.live().map(|(_, raft)| raft.commit()).collect();
        let behind = members.live().find(|(_, raft)| raft.commit() < raft.log().last_index());
        match behind {
            Some((node, _)) => {
                Err(Broken::new("progress", format!("{node} holds what is not committed")))
            }
            None if commits.len() > 1 => {
                Err(Broken::new("progress", "some have committed more than others"))
            }
            None => Ok(()),
        }
    }

    fn describe() -> Describe<raft::Raft> {
        Describe {
            message: |message: &Message| {
                let label = Label::new(&words::message(message, words::plain));
                if words::is_routine(message) { label.routine() } else { label }
            },
            timer: |timer: &Timer| Label::new(words::timer(*timer)),
            record: |record: &Record| Label::new(&words::record(record, words::plain)),
            request: |request: &Request| match request {
                Request::Propose(payload) => {
                    Label::new(&format!("Propose {}", words::plain(payload)))
                }
                other => Label::new(&format!("{other:?}")),
            },
            response: |response: &Response| Label::new(&format!("{response:?}")),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        vec![Scope {
            what: "one election; `quorate explore raft` takes bounds of all kinds",
            setup: "nodes=3",
            bounds: Bounds::default(),
            timers: vec![(Timer::Election, 1)],
            syncs: Syncs::EachTurn,
            is_symmetric: true,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        }]
    }
}

#[cfg(test)]
crate::show::shown!(Raft);
