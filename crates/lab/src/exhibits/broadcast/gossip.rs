//! Epidemic gossip on show.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::broadcast::gossip::{self, Config, Round, Rumour, Way};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Gossip {
    nodes: u64,
    way: Way,
    fan_out: u32,
    mutants: LabMutants,
}

/// How far the rumour has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Who knows.
    informed: BTreeSet<NodeId>,
    /// The last round in which somebody learnt it.
    last_round: u64,
}

/// The only rumour there is. It starts at n1, before the first round.
const RUMOUR: Rumour = Rumour(7);
const ROUND: Duration = Duration::from_millis(50);

/// The rounds after which all know with high probability, even if a fifth of all messages are lost.
fn rounds_max(nodes: u64) -> f64 {
    4.0 * (nodes as f64).log2() + 10.0
}

const GOALS: &[Goal<Explorable<Gossip>>] =
    &[("everybody knows", |cluster| cluster.states().all(|node| node.rumour().is_some()))];

/// From ten nodes to a thousand.
const SIZES: &[i64] = &[10, 32, 100, 320, 1000];

const WAYS: &[Line] = &[
    Line { label: "push", setup: "way=0&lasts=0" },
    Line { label: "pull", setup: "way=1&lasts=0" },
    Line { label: "push and pull", setup: "way=2&lasts=0" },
    Line { label: "push, a fifth is lost", setup: "way=0&loss=20&lasts=1500" },
];

/// From ten nodes to a thousand, which is a hundred times as many, and not quite seven doublings, the rounds grow by some for
/// each doubling; and what both ways do together takes fewer than either.
fn grows_like_the_logarithm(lines: &[Points]) -> Result<(), String> {
    for points in lines {
        for (nodes, rounds) in points {
            let doublings = nodes.log2();
            if !(0.5 * doublings..=2.5 * doublings + 2.0).contains(rounds) {
                return Err(format!("{rounds} rounds for {nodes} nodes"));
            }
        }
    }
    let last = |line: usize| lines[line].last().map_or(f64::NAN, |(_, rounds)| *rounds);
    let (push, pull, both, lossy) = (last(0), last(1), last(2), last(3));
    if both < pull && pull < push && push < lossy {
        Ok(())
    } else {
        Err(format!("{push} rounds of push, {pull} of pull, {both} of both, {lossy} with loss"))
    }
}

/// A message a node in each round at the most, and of pull twice that.
fn costs_n_log_n(lines: &[Points]) -> Result<(), String> {
    let all = lines.iter().flatten();
    let mut dear = all.filter(|(nodes, messages)| *messages > 2.5 * nodes * nodes.log2());
    match dear.next() {
        Some((nodes, messages)) => Err(format!("{messages} messages for {nodes} nodes")),
        None => Ok(()),
    }
}

impl Exhibit for Gossip {
    type Protocol = gossip::Gossip;
    type History = History;

    const ABOUT: About = About {
        name: "gossip",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/gossip.rs",
        source: include_str!("../../../../protocols/src/broadcast/gossip.rs"),
        claims: &[
            Claim { name: "integrity", what: "What a node knows, somebody has started." },
            Claim { name: "everyone", what: "In the end everybody knows." },
            Claim {
                name: "log_rounds",
                what: "Nobody learns it later than in round 4 log2 n + 10, with a fifth of all messages lost: not for certain, but \
                       in every run that is tried.",
            },
        ],
        mutants: &[
            Mutant {
                name: "calls_a_fixed_few",
                what: "Calls only the first three of those it knows.",
                breaks: "everyone",
                setup: "",
            },
            Mutant {
                name: "leaves_it_to_the_first",
                what: "Whoever was told doesn't tell others.",
                breaks: "log_rounds",
                setup: "",
            },
            Mutant {
                name: "makes_one_up",
                what: "Answers who asks, even if it knows nothing.",
                breaks: "integrity",
                setup: "way=1",
            },
        ],
        knobs: &[
            Knob {
                name: "way",
                what: "0 if who knows tells (push), 1 if who doesn't asks (pull), 2 for both",
                min: 0,
                max: 2,
                usual: 0,
            },
            Knob {
                name: "fan_out",
                what: "how many calls a node makes in a round",
                min: 1,
                max: 10,
                usual: 1,
            },
        ],
        scenarios: &[
            Scenario {
                name: "a_rumour_among_eight",
                what: "Each who knows tells one at random in each round; towards the end most know already.",
                setup: "nodes=8&lasts=0",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_fifth_is_lost",
                what: "The same while one message of five is lost, which costs a few rounds more.",
                setup: "nodes=8&loss=20&lasts=600",
                expected: Expected::Holds,
            },
            Scenario {
                name: "push_and_pull_among_eight",
                what: "Everybody calls somebody; those who don't know ask, and the last are found sooner.",
                setup: "nodes=8&way=2&lasts=0",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_thousand_and_a_fifth_is_lost",
                what: "A thousand nodes and one message of five lost: some twenty rounds, of which these are the first.",
                setup: "nodes=1000&loss=20&lasts=1500",
                expected: Expected::Holds,
            },
        ],
        curves: &[
            Curve {
                name: "rounds",
                what: "Rounds until all know: they grow by some for each doubling of the nodes.",
                vary: "nodes",
                x: "nodes",
                values: SIZES,
                measure: "rounds",
                y: "rounds",
                lines: WAYS,
                seeds: 3,
                holds: grows_like_the_logarithm,
            },
            Curve {
                name: "messages",
                what: "Messages until all know. Of push, only those call who know; of pull, only those who don't.",
                vary: "nodes",
                x: "nodes",
                values: SIZES,
                measure: "messages",
                y: "messages",
                lines: WAYS,
                seeds: 1,
                holds: costs_n_log_n,
            },
        ],
        is_in_production: false,
        status: include_str!("../../../status/gossip.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 24,
            requests: 1,
            asks: vec![(Duration::ZERO, NodeId(1), 0)],
            lasts_ms: 1_500,
            patience_ms: 3_000,
            loss: 20,
            duplicates: 10,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let about = &Self::ABOUT;
        let way = match setup.knob(about, "way") {
            0 => Way::Push,
            1 => Way::Pull,
            _ => Way::PushPull,
        };
        let fan_out = setup.knob(about, "fan_out") as u32;
        Ok(Gossip { nodes: setup.nodes, way, fan_out, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let Gossip { nodes, way, fan_out, mutants } = *self;
        Config { me, nodes, way, fan_out, round: ROUND, mutants }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<Rumour> {
        if node == NodeId(1) { vec![RUMOUR] } else { Vec::new() }
    }

    fn observe(
        &self,
        members: &Members<'_, gossip::Gossip>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        // Of a thousand nodes, only the one that moved is looked at.
        let Some(node) = members.state(moved) else { return Ok(()) };
        let Some(rumour) = node.rumour() else { return Ok(()) };
        if rumour != RUMOUR {
            let what = format!("{moved} knows {rumour:?}, which nobody started");
            return Err(Broken::new("integrity", what));
        }
        history.informed.insert(moved);
        let Some(round) = node.learnt_in() else { return Ok(()) };
        history.last_round = history.last_round.max(round);
        if round as f64 > rounds_max(self.nodes) {
            let what = format!("{moved} learnt it in round {round} of {} nodes", self.nodes);
            return Err(Broken::new("log_rounds", what));
        }
        Ok(())
    }

    fn settled(&self, _: &Members<'_, gossip::Gossip>, history: &History) -> Result<(), Broken> {
        let ignorant = self.nodes - history.informed.len() as u64;
        if ignorant == 0 {
            return Ok(());
        }
        Err(Broken::new("everyone", format!("{ignorant} of {} don't know", self.nodes)))
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup| Scope {
            what,
            setup,
            bounds: Bounds { requests: 1, repeats: 1, ..Bounds::default() },
            timers: vec![(Round, 5)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        };
        vec![
            scope("push, five calls, one repeat", "nodes=3&way=0"),
            scope("pull, five calls, one repeat", "nodes=3&way=1"),
            scope("push and pull, five calls, one repeat", "nodes=3&way=2"),
        ]
    }

    fn measures(
        &self,
        _: &Members<'_, gossip::Gossip>,
        history: &History,
    ) -> Vec<(&'static str, f64)> {
        vec![("rounds", history.last_round as f64)]
    }
}

#[cfg(test)]
crate::show::shown!(Gossip);
