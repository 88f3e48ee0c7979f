//! Version vectors on show: clients that write through replicas, and what replicas keep.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs, UNBOUNDED};
use quorate_protocols::clock::version_vector::{Config, Node, Replica, Request, Tags, Timer};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct VersionVector {
    nodes: u64,
    /// The first nodes; the others are clients.
    replicas: u64,
    tags: Tags,
    /// Of a hundred requests.
    reads: u64,
    is_judged: bool,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<VersionVector>>] = &[
    ("two writes are kept side by side", |cluster| {
        cluster.states().filter_map(Node::replica).any(|replica| replica.versions().len() == 2)
    }),
    ("a write has replaced two that were side by side", |cluster| {
        let mut replicas = cluster.states().filter_map(Node::replica);
        replicas.any(|replica| {
            let is_alone = replica.versions().len() == 1;
            is_alone && replica.versions().iter().any(|version| version.seen.len() == 2)
        })
    }),
];

/// What a lone client's writes come to.
const LONE_GOALS: &[Goal<Explorable<VersionVector>>] = &[
    ("one replica has heard of a write, and another has not", do_replicas_differ),
    ("a write has replaced another at all replicas", |cluster| {
        let mut replicas = cluster.states().filter_map(Node::replica);
        replicas.all(|replica| replica.versions().iter().any(|it| it.value.number == 2))
    }),
];

const AWAITED: &[Eventually<Explorable<VersionVector>>] = &[
    Eventually {
        name: "convergence: replicas that differ come to keep the same",
        after: Some(do_replicas_differ),
        comes: |cluster| !do_replicas_differ(cluster),
    },
    Eventually {
        name: "convergence: a client that waits is answered",
        after: Some(|cluster| cluster.states().any(Node::is_busy)),
        comes: |cluster| !cluster.states().any(Node::is_busy),
    },
];

fn do_replicas_differ(cluster: &Snapshot<'_, Explorable<VersionVector>>) -> bool {
    let mut kept = cluster.states().filter_map(Node::replica).map(Replica::versions);
    let first = kept.next();
    kept.any(|versions| Some(versions) != first)
}

impl VersionVector {
    /// The siblings at a replica are exactly the writes that no other was made in knowledge of.
    fn judge(&self, node: NodeId, state: &Node) -> Result<(), Broken> {
        let Some(replica) = state.replica() else { return Ok(()) };
        let versions = replica.versions();
        for (place, a) in versions.iter().enumerate() {
            for b in &versions[place + 1..] {
                if a.value == b.value || a.seen.contains(&b.value) || b.seen.contains(&a.value) {
                    let (a, b) = (a.value, b.value);
                    let what =
                        format!("{node} keeps {a:?} beside {b:?}, though one is after the other");
                    return Err(Broken::new("no_false_conflict", what));
                }
            }
        }
        let is_kept =
            |value| versions.iter().any(|it| it.value == value || it.seen.contains(&value));
        match replica.known().iter().find(|value| !is_kept(**value)) {
            Some(lost) => {
                let what = format!("{node} has lost {lost:?}, which no writer had read");
                Err(Broken::new("no_false_overwrite", what))
            }
            None => Ok(()),
        }
    }
}

impl Exhibit for VersionVector {
    type Protocol = Node;
    type History = ();

    const ABOUT: About = About {
        name: "version_vector",
        family: Family::Clock,
        path: "crates/protocols/src/clock/version_vector.rs",
        source: include_str!("../../../../protocols/src/clock/version_vector.rs"),
        claims: &[
            Claim {
                name: "no_false_overwrite",
                what: "A write is gone from a replica only if another that was made in knowledge of it is there.",
            },
            Claim {
                name: "no_false_conflict",
                what: "Of two values that a replica keeps side by side, neither was written in knowledge of the other.",
            },
            Claim { name: "convergence", what: "In the end all replicas keep the same." },
        ],
        mutants: &[
            Mutant {
                name: "shares_the_newest_alone",
                what: "Sends the other replicas its newest version without those beside it.",
                breaks: "no_false_overwrite",
                setup: "",
            },
            Mutant {
                name: "keeps_what_the_writer_knew",
                what: "Keeps everything if the writer didn't know everything, as replicas do that have one vector for all siblings.",
                breaks: "no_false_conflict",
                setup: "",
            },
            Mutant {
                name: "takes_a_write_twice",
                what: "Takes a write again that comes again.",
                breaks: "no_false_conflict",
                setup: "",
            },
            Mutant {
                name: "shares_once",
                what: "Tells the other replicas of a write once, and not again if the message is lost.",
                breaks: "convergence",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "replicas",
                what: "how many of the nodes keep the data; the others are clients",
                min: 1,
                max: 100,
                usual: 2,
            },
            Knob {
                name: "tags",
                what: "what versions count: 0 writes of replicas, dotted; 1 writes of replicas, in a plain vector; 2 writes of clients",
                min: 0,
                max: 2,
                usual: 0,
            },
            Knob {
                name: "reads",
                what: "how many of a hundred requests read; the others write",
                min: 0,
                max: 100,
                usual: 25,
            },
            Knob {
                name: "judged",
                what: "0 if runs go on when claims break, so that it can be measured how far they do",
                min: 0,
                max: 1,
                usual: 1,
            },
        ],
        scenarios: &[
            Scenario {
                name: "two_clients_through_one_replica",
                what: "n2 and n3 write at n1 and know nothing of each other: both values stay. n2 reads them, and replaces both.",
                setup: "nodes=3&replicas=1&asks=n2@0,n3@5,n2.1@40,n2@80&delay=10-10&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "lost_by_a_plain_vector",
                what: "The same with a plain vector of the replica: n3 wrote the second value here, which looks as if it had known the first.",
                setup: "nodes=3&replicas=1&asks=n2@0,n3@5,n2.1@40,n2@80&delay=10-10&lasts=100&tags=1",
                expected: Expected::Breaks("no_false_overwrite"),
            },
            Scenario {
                name: "an_entry_for_each_client",
                what: "The same with a plain vector of the clients: right, and an entry longer with each client that ever writes.",
                setup: "nodes=3&replicas=1&asks=n2@0,n3@5,n2.1@40,n2@80&delay=10-10&lasts=100&tags=2",
                expected: Expected::Holds,
            },
            Scenario {
                name: "siblings_that_stay",
                what: "One vector for all siblings: n2 replaces its own value, which stays all the same, since n2 hadn't read what n3 wrote.",
                setup: "nodes=3&replicas=1&asks=n2@0,n3@30,n2@60&delay=10-10&lasts=100&mutant=keeps_what_the_writer_knew",
                expected: Expected::Breaks("no_false_conflict"),
            },
        ],
        curves: &[
            Curve {
                name: "siblings",
                what: "The values at a replica through which two clients write by turns: never more than one for each client with dots, ever more with one vector for all siblings.",
                vary: "requests",
                x: "requests",
                values: &[8, 16, 32],
                measure: "siblings",
                y: "values side by side",
                lines: &[
                    Line { label: "dotted", setup: "nodes=3&replicas=1&reads=0&lasts=8000" },
                    Line {
                        label: "one vector for all",
                        setup: "nodes=3&replicas=1&reads=0&lasts=8000&judged=0&mutant=keeps_what_the_writer_knew",
                    },
                ],
                seeds: 5,
                holds: dots_stay_few,
            },
            Curve {
                name: "entries",
                what: "The entries of the largest vector that a replica keeps, against the clients: as many as replicas with dots, as many as clients with their own entries.",
                vary: "nodes",
                x: "nodes, two of them replicas",
                values: &[4, 8, 16],
                measure: "entries",
                y: "entries",
                lines: &[
                    Line { label: "dotted", setup: "replicas=2&requests=80&lasts=4000" },
                    Line { label: "of clients", setup: "replicas=2&requests=80&lasts=4000&tags=2" },
                ],
                seeds: 3,
                holds: dots_are_of_replicas,
            },
        ],
        is_in_production: false,
        status: include_str!("../../../status/version_vector.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 5,
            requests: 12,
            loss: 10,
            duplicates: 10,
            crashes: 2,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let replicas = setup.knob(&Self::ABOUT, "replicas") as u64;
        if replicas >= setup.nodes {
            let nodes = setup.nodes;
            return Err(format!("replicas={replicas}, nodes={nodes}: that leaves no client"));
        }
        let tags = match setup.knob(&Self::ABOUT, "tags") {
            0 => Tags::Dotted,
            1 => Tags::OfReplicas,
            _ => Tags::OfClients,
        };
        let reads = setup.knob(&Self::ABOUT, "reads") as u64;
        let is_judged = setup.knob(&Self::ABOUT, "judged") == 1;
        Ok(VersionVector { nodes: setup.nodes, replicas, tags, reads, is_judged, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            replicas: (1..=self.replicas).map(NodeId).collect(),
            tags: self.tags,
            patience: ms(50)..ms(100),
            pause: ms(200)..ms(300),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<Request> {
        if node.0 <= self.replicas {
            return Vec::new();
        }
        let replicas = || (1..=self.replicas).map(NodeId);
        replicas().map(Request::Write).chain(replicas().map(Request::Read)).collect()
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Request)> {
        // Clients take turns, so that each finds what another has done since.
        let client = self.replicas + 1 + u64::from(asking.asked) % (self.nodes - self.replicas);
        let replica = NodeId(asking.rng.below(self.replicas) + 1);
        let is_read = asking.rng.below(100) < self.reads;
        let request = if is_read { Request::Read(replica) } else { Request::Write(replica) };
        Some((NodeId(client), request))
    }

    fn observe(
        &self,
        members: &Members<'_, Node>,
        moved: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        match members.state(moved).filter(|_| self.is_judged) {
            Some(state) => self.judge(moved, state),
            None => Ok(()),
        }
    }

    fn settled(&self, members: &Members<'_, Node>, (): &()) -> Result<(), Broken> {
        if let Some((node, _)) = members.live().find(|(_, state)| state.is_busy()) {
            return Err(Broken::new("convergence", format!("{node} still waits for an answer")));
        }
        let mut replicas =
            members.live().filter_map(|(node, state)| Some((node, state.replica()?.versions())));
        let first = replicas.next();
        match replicas.find(|(_, versions)| first.is_some_and(|(_, others)| others != *versions)) {
            Some((node, _)) => {
                Err(Broken::new("convergence", format!("{node} does not keep what n1 keeps")))
            }
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, bounds, breaks| Scope {
            what,
            setup,
            bounds,
            timers: vec![],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: &[],
        };
        let endless = |what, setup, bounds, breaks, goals| Scope {
            timers: vec![(Timer::Retry, UNBOUNDED), (Timer::Share, UNBOUNDED)],
            goals,
            awaited: AWAITED,
            ..scope(what, setup, bounds, breaks)
        };
        let few = Bounds { crashes: 0, repeats: 1, requests: 4, hints: 0 };
        vec![
            scope(
                "two clients, one replica, four requests, one repeated message",
                "nodes=3&replicas=1",
                few,
                None,
            ),
            scope(
                "two clients, two replicas, three requests, one crash",
                "nodes=4&replicas=2",
                Bounds { crashes: 1, repeats: 0, requests: 3, hints: 0 },
                None,
            ),
            scope(
                "entries of clients: two clients, one replica, four requests",
                "nodes=3&replicas=1&tags=2",
                few,
                None,
            ),
            scope(
                "a plain vector of replicas",
                "nodes=3&replicas=1&tags=1",
                few,
                Some("no_false_overwrite"),
            ),
            endless(
                "one client, two replicas, two requests, one crash, and what has no answer is said again for ever",
                "nodes=3&replicas=2",
                Bounds { crashes: 1, repeats: 0, requests: 2, hints: 0 },
                None,
                LONE_GOALS,
            ),
            endless(
                "two replicas that are cut off from each other for good",
                "nodes=3&replicas=2&faults=cut:n1@0+1000",
                Bounds { crashes: 0, repeats: 0, requests: 2, hints: 0 },
                Some("convergence"),
                &[],
            ),
        ]
    }

    fn measures(&self, members: &Members<'_, Node>, (): &()) -> Vec<(&'static str, f64)> {
        let replicas = || members.live().filter_map(|(_, state)| state.replica());
        let siblings = replicas().map(|replica| replica.versions().len()).max();
        let versions = replicas().flat_map(|replica| replica.versions());
        let entries = versions.map(|version| version.past.entries()).max();
        let count = |most: Option<usize>| most.unwrap_or(0) as f64;
        vec![("siblings", count(siblings)), ("entries", count(entries))]
    }
}

/// With dots there is at most one value for each of the two clients; without there are more and more.
fn dots_stay_few(lines: &[Points]) -> Result<(), String> {
    if let Some((requests, siblings)) = lines[0].iter().find(|(_, siblings)| *siblings > 2.0) {
        return Err(format!("{siblings} values side by side after {requests} requests"));
    }
    match lines[1].windows(2).find(|pair| pair[1].1 < pair[0].1 * 1.5) {
        Some(pair) => Err(format!("one vector keeps no more after {} requests", pair[1].0)),
        None => Ok(()),
    }
}

/// No more entries than there are replicas, or nearly as many as there are clients.
fn dots_are_of_replicas(lines: &[Points]) -> Result<(), String> {
    if let Some((nodes, entries)) = lines[0].iter().find(|(_, entries)| *entries > 2.0) {
        return Err(format!("{entries} entries among {nodes} nodes, two of them replicas"));
    }
    match lines[1].iter().find(|(nodes, entries)| *entries < (nodes - 2.0) * 0.8) {
        Some((nodes, entries)) => Err(format!("only {entries} entries of clients among {nodes}")),
        None => Ok(()),
    }
}

#[cfg(test)]
crate::show::shown!(VersionVector);
