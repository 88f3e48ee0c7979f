//! Raft on show: the very code that the database runs, without the database.

mod clients;
mod curves;
mod history;
mod mutants;
mod scenarios;
mod scopes;

use std::collections::BTreeSet;

use quorate_core::{LabMutants, Mutants, NodeId, RequestId};
use quorate_explore::raft as model;
use quorate_protocols::consensus::raft::{
    self, Config, Lease, Membership, Message, Request, Response, Timer,
};
use quorate_sim::Describe;

use crate::about::{About, Claim, Family, Knob};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::setup::Setup;

use history::History;

pub(crate) struct Raft {
    nodes: Vec<NodeId>,
    /// The voters in the beginning.
    voters: Vec<NodeId>,
    requests: u32,
    /// What clients ask first, and what then.
    kinds: (i64, i64),
    lease: Option<Lease>,
    /// How much faster than time n1's clock is, and the others'.
    rates: (f64, f64),
    entry_bytes: usize,
    /// Whether explorations begin with a leader; with 2, nobody else is asked anything.
    led: i64,
    terms_max: u64,
    mutants: Mutants,
}

impl Exhibit for Raft {
    type Protocol = raft::Raft;
    type History = History;

    const ABOUT: About = About {
        name: "raft",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/raft/mod.rs",
        source: include_str!("../../../../../protocols/src/consensus/raft/mod.rs"),
        claims: CLAIMS,
        mutants: mutants::MUTANTS,
        knobs: KNOBS,
        scenarios: scenarios::SCENARIOS,
        curves: curves::CURVES,
        is_in_production: true,
        status: include_str!("../../../../status/raft.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 12,
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
        let knob = |name| setup.knob(&Self::ABOUT, name);
        let nodes: Vec<NodeId> = setup.ids().collect();
        let Some(voters) = setup.nodes.checked_sub(knob("spare") as u64).filter(|n| *n > 0) else {
            return Err(format!("spare={}: somebody must vote", knob("spare")));
        };
        let kinds = knob("kinds");
        let drift = knob("drift") as f64 / 100.0;
        Ok(Raft {
            voters: nodes[..voters as usize].to_vec(),
            nodes,
            requests: setup.requests,
            kinds: (kinds, if knob("then") < 0 { kinds } else { knob("then") }),
            lease: u32::try_from(knob("lease")).ok().map(allows_for),
            rates: (1.0 - drift, 1.0 + drift),
            entry_bytes: knob("bytes") as usize,
            led: knob("led"),
            terms_max: knob("terms") as u64,
            mutants,
        })
    }

    /// A clock that is fast by a tenth is one whose timers are all shorter by that, since a member knows time by its timers
    /// alone.
    fn config(&self, me: NodeId) -> Config {
        let usual = Config::new(me, self.voters.clone());
        let rate = if me == self.nodes[0] { self.rates.0 } else { self.rates.1 };
        Config {
            bootstrap: Membership::of_voters(self.voters.clone()).into(),
            election_timeout: usual.election_timeout.div_f64(rate),
            heartbeat_interval: usual.heartbeat_interval.div_f64(rate),
            append_bytes_max: self.entry_bytes,
            lease: self.lease,
            mutants: self.mutants,
            ..usual
        }
    }

    /// Where explorations begin with a leader, nobody else is asked what it alone can do. The members stay alike all the same:
    /// history tells for ever which of them led first.
    fn requests(&self, asked: u32, node: NodeId) -> Vec<Request> {
        let barred = match self.led {
            1 if node != self.nodes[0] => clients::LEADERS,
            2 if node != self.nodes[0] => clients::ALL,
            _ => 0,
        };
        clients::requests(self.kinds_of(asked) & !barred, asked, node, &self.nodes)
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Request)> {
        clients::ask(self.kinds_of(asking.asked), asking, &self.nodes)
    }

    fn observe(
        &self,
        members: &Members<'_, raft::Raft>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        history.observe(members, moved)
    }

    fn asked(&self, node: NodeId, id: RequestId, _: &Request, history: &mut History) {
        history.asked(node, id);
    }

    fn answered(
        &self,
        node: NodeId,
        id: RequestId,
        response: &Response,
        history: &mut History,
    ) -> Result<(), Broken> {
        history.answered(node, id, response)
    }

    fn crashed(&self, node: NodeId, _: &BTreeSet<RequestId>, history: &mut History) {
        history.crashed(node);
    }

    /// Where nobody asks anything, there is to be a leader and no more.
    fn settled(&self, members: &Members<'_, raft::Raft>, history: &History) -> Result<(), Broken> {
        if self.requests == 0 {
            let waits = || Broken::new("progress", "nobody has ever led");
            return history.was_led().then_some(()).ok_or_else(waits);
        }
        match history.open() {
            0 => history::all_know(members),
            open => Err(Broken::new("progress", format!("{open} requests were not answered"))),
        }
    }

    fn describe() -> Describe<raft::Raft> {
        clients::describe()
    }

    fn hears_clients(&self) -> bool {
        (self.kinds.0 | self.kinds.1) & clients::READS.0 != 0
    }

    /// With a heartbeat, all followers know that the leader's first entry is committed.
    fn prelude(&self) -> Vec<(usize, Timer)> {
        if self.led > 0 { vec![(0, Timer::Election), (0, Timer::Heartbeat)] } else { Vec::new() }
    }

    /// A member that starts again asks what the others know of it. They tell it as well with all that they say about votes
    /// and copies, so it gets on without; with it there are many times as many states.
    fn may_arrive(&self, message: &Message) -> bool {
        !matches!(message, Message::Hello { .. })
    }

    fn is_within(&self, members: &Members<'_, raft::Raft>) -> bool {
        members.live().all(|(_, raft)| raft.term().0 <= self.terms_max)
    }

    fn scopes() -> Vec<Scope<Self>> {
        scopes::scopes()
    }
}

/// A lease that lets clocks be off by so much.
fn allows_for(percent: u32) -> Lease {
    Lease { drift_ppm: percent * 10_000 }
}

impl Raft {
    fn kinds_of(&self, asked: u32) -> i64 {
        if asked == 0 { self.kinds.0 } else { self.kinds.1 }
    }
}

const CLAIMS: &[Claim] = &[
    Claim { name: "election_safety", what: "A term has at most one leader." },
    Claim {
        name: "leader_append_only",
        what: "A leader never overwrites or drops an entry of its own log; it appends.",
    },
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
    Claim {
        name: "linearizable_reads",
        what: "A read is answered with an index no smaller than any that a client knew of when it was put.",
    },
    Claim { name: "at_most_once", what: "No proposal is committed twice." },
    Claim {
        name: "progress",
        what: "Once all is well, every request is answered, and all members commit the same.",
    },
];

const KNOBS: &[Knob] = &[
    Knob {
        name: "kinds",
        what: "what clients ask, the sum of: 1 proposals, 2 reads, 4 transfers of leadership, 8 changes of one member, 16 of two",
        min: 0,
        max: clients::ALL,
        usual: clients::ALL,
    },
    Knob {
        name: "then",
        what: "the same of all requests but the first; -1 if it is the same",
        min: -1,
        max: clients::ALL,
        usual: -1,
    },
    Knob {
        name: "spare",
        what: "how many of the nodes, from the last, take no part in the beginning",
        min: 0,
        max: 8,
        usual: 0,
    },
    Knob {
        name: "lease",
        what: "by how many percent a lease lets clocks be off; -1 for reads without a lease",
        min: -1,
        max: 40,
        usual: -1,
    },
    Knob {
        name: "drift",
        what: "by how many percent n1's clock is slow, and all others' fast",
        min: 0,
        max: 40,
        usual: 0,
    },
    Knob {
        name: "bytes",
        what: "how much of payloads goes into one message, in bytes; at least one entry does",
        min: 1,
        max: 1 << 20,
        usual: 1 << 20,
    },
    Knob {
        name: "led",
        what: "0 if explorations begin with the first election, 1 if they do when n1 leads, 2 if nobody else is asked anything then",
        min: 0,
        max: 2,
        usual: 0,
    },
    Knob {
        name: "terms",
        what: "the term behind which explorations don't go on",
        min: 1,
        max: 1_000,
        usual: 1_000,
    },
];

#[cfg(test)]
crate::show::shown!(Raft);
