//! Bracha's reliable broadcast on show.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs, UNBOUNDED};
use quorate_protocols::broadcast::bracha::{self, Config, Repeat, Value};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Bracha {
    nodes: Vec<NodeId>,
    f: usize,
    liars: Vec<NodeId>,
    is_capricious: bool,
    mutants: LabMutants,
}

/// Who broadcasts.
const SENDER: NodeId = NodeId(1);
/// What a correct sender broadcasts, and what liars say otherwise.
const VALUES: [Value; 2] = [Value(1), Value(2)];

const DELIVERS: Goal<Explorable<Bracha>> =
    ("a correct node delivers", |cluster| cluster.states().any(|node| node.delivered().is_some()));
const GOALS: &[Goal<Explorable<Bracha>>] = &[DELIVERS];

/// Of a correct sender, where n1, n2 and n3 are correct.
const ALL_DELIVER: &[Eventually<Explorable<Bracha>>] = &[
    Eventually {
        name: "validity: n1 delivers what it has sent",
        after: Some(is_sent),
        comes: |cluster| cluster.state(0).delivered().is_some(),
    },
    Eventually {
        name: "validity: n2 delivers what n1 has sent",
        after: Some(is_sent),
        comes: |cluster| cluster.state(1).delivered().is_some(),
    },
    Eventually {
        name: "validity: n3 delivers what n1 has sent",
        after: Some(is_sent),
        comes: |cluster| cluster.state(2).delivered().is_some(),
    },
];
const BOTH_DELIVER: &[Eventually<Explorable<Bracha>>] = ALL_DELIVER.split_at(2).0;

/// Of a sender that lies, where n2, n3 and n4 are correct.
const ALL_OR_NONE: &[Eventually<Explorable<Bracha>>] = &[
    Eventually {
        name: "totality: n2 delivers if another does",
        after: Some(is_delivered),
        comes: |cluster| cluster.state(1).delivered().is_some(),
    },
    Eventually {
        name: "totality: n3 delivers if another does",
        after: Some(is_delivered),
        comes: |cluster| cluster.state(2).delivered().is_some(),
    },
    Eventually {
        name: "totality: n4 delivers if another does",
        after: Some(is_delivered),
        comes: |cluster| cluster.state(3).delivered().is_some(),
    },
];

fn is_sent(cluster: &Snapshot<'_, Explorable<Bracha>>) -> bool {
    cluster.state(0).broadcast().is_some()
}

fn is_delivered(cluster: &Snapshot<'_, Explorable<Bracha>>) -> bool {
    cluster.states().any(|node| node.delivered().is_some())
}

impl Bracha {
    fn is_correct(&self, node: NodeId) -> bool {
        !self.liars.contains(&node)
    }
}

impl Exhibit for Bracha {
    type Protocol = bracha::Bracha;
    type History = ();

    const ABOUT: About = About {
        name: "bracha_broadcast",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/bracha.rs",
        source: include_str!("../../../../protocols/src/broadcast/bracha.rs"),
        claims: &[
            Claim { name: "agreement", what: "No two correct nodes deliver differently." },
            Claim {
                name: "totality",
                what: "Once all is well, if one correct node has delivered, all have.",
            },
            Claim {
                name: "validity",
                what: "If the sender is correct, all correct nodes deliver what it sent, and nothing else.",
            },
        ],
        mutants: &[
            Mutant {
                name: "echo_quorum_of_half",
                what: "Is ready once half of the nodes have echoed a value, so that two values may each have their half.",
                breaks: "agreement",
                setup: "nodes=5",
            },
            Mutant {
                name: "never_joins",
                what: "Waits for echoes, however many are ready.",
                breaks: "totality",
                setup: "",
            },
            Mutant {
                name: "joins_whoever_is_ready",
                what: "Is ready as soon as anybody else is, who may be a liar.",
                breaks: "validity",
                setup: "sender_lies=0",
            },
            Mutant {
                name: "leaves_out_its_echo",
                what: "A sender that crashed before it echoed its own value never does.",
                breaks: "validity",
                setup: "sender_lies=0",
            },
        ],
        knobs: &[
            Knob {
                name: "f",
                what: "how many Byzantine nodes the thresholds allow for",
                min: 0,
                max: 5,
                usual: 1,
            },
            Knob { name: "liars", what: "how many nodes are Byzantine", min: 0, max: 5, usual: 1 },
            Knob {
                name: "sender_lies",
                what: "1 if the sender is one of the liars, 0 if it is correct",
                min: 0,
                max: 1,
                usual: 1,
            },
            Knob {
                name: "caprice",
                what: "1 if a liar shows each node either value or none, 0 if it chooses for the last alone",
                min: 0,
                max: 1,
                usual: 1,
            },
        ],
        scenarios: &[
            Scenario {
                name: "equivocating_sender",
                what: "n1 shows n2 and n3 one value and n4 another; n4 joins those who are ready, and all deliver the same.",
                setup: "delay=10-10&lasts=35&seed=3",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_liar_cannot_stop_it",
                what: "The sender is correct; n4 tells each whatever it likes.",
                setup: "delay=10-10&lasts=35&sender_lies=0",
                expected: Expected::Holds,
            },
            Scenario {
                name: "one_liar_among_three",
                what: "Three nodes, of whom n3 lies or is silent: n1 and n2, who cannot know which, are too few to go on.",
                setup: "nodes=3&sender_lies=0&delay=10-10&lasts=35&patience=200",
                expected: Expected::Breaks("validity"),
            },
            Scenario {
                name: "two_liars_among_four",
                what: "Two liars where the thresholds allow for one: each of the two correct nodes delivers what it was shown.",
                setup: "liars=2&delay=10-10&lasts=35&seed=24",
                expected: Expected::Breaks("agreement"),
            },
        ],
        curves: &[Curve {
            name: "messages",
            what: "What a broadcast costs when nobody lies: (n − 1)(2n + 1) messages.",
            vary: "nodes",
            x: "nodes",
            values: &[4, 7, 10, 13],
            measure: "messages",
            y: "messages",
            lines: &[Line { label: "nobody lies", setup: "liars=0" }],
            seeds: 5,
            holds: |lines| {
                let mut points = lines.iter().flatten();
                match points.find(|(n, messages)| *messages != (n - 1.0) * (2.0 * n + 1.0)) {
                    Some((n, messages)) => Err(format!("{n} nodes send {messages} messages")),
                    None => Ok(()),
                }
            },
        }],
        is_in_production: false,
        status: include_str!("../../../status/bracha_broadcast.txt"),
    };

    fn setup() -> Setup {
        let asks = vec![(Duration::ZERO, SENDER, 0)];
        Setup {
            nodes: 4,
            requests: 1,
            asks,
            lasts_ms: 400,
            patience_ms: 5_000,
            loss: 20,
            duplicates: 20,
            crashes: 1,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let about = &Self::ABOUT;
        let liars = setup.knob(about, "liars") as u64;
        if liars >= setup.nodes {
            return Err(format!("liars={liars}: of {} nodes one has to be correct", setup.nodes));
        }
        let first = if setup.knob(about, "sender_lies") == 1 { 1 } else { setup.nodes - liars + 1 };
        Ok(Bracha {
            nodes: setup.ids().collect(),
            f: setup.knob(about, "f") as usize,
            liars: (first..first + liars).map(NodeId).collect(),
            is_capricious: setup.knob(about, "caprice") == 1,
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            nodes: self.nodes.clone(),
            sender: SENDER,
            f: self.f,
            lies: (!self.is_correct(me)).then_some(VALUES),
            is_capricious: self.is_capricious,
            patience: ms(40)..ms(60),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<Value> {
        if node == SENDER { vec![VALUES[0]] } else { Vec::new() }
    }

    fn observe(
        &self,
        members: &Members<'_, bracha::Bracha>,
        _: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        let correct = || members.live().filter(|(node, _)| self.is_correct(*node));
        let mut delivered = correct().filter_map(|(id, node)| Some((id, node.delivered()?)));
        let Some((one, value)) = delivered.next() else { return Ok(()) };
        if let Some((other, theirs)) = delivered.find(|(_, theirs)| *theirs != value) {
            let what = format!("{one} delivered {value:?} and {other} {theirs:?}");
            return Err(Broken::new("agreement", what));
        }
        if self.is_correct(SENDER) && value != VALUES[0] {
            let what = format!("{one} delivered {value:?}, which {SENDER} never sent");
            return Err(Broken::new("validity", what));
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, bracha::Bracha>, (): &()) -> Result<(), Broken> {
        let correct = || members.live().filter(|(node, _)| self.is_correct(*node));
        let missing = correct().find(|(_, node)| node.delivered().is_none());
        let Some((missing, _)) = missing else { return Ok(()) };
        if let Some((node, _)) = correct().find(|(_, node)| node.delivered().is_some()) {
            let what = format!("{node} has delivered, and {missing} has not");
            return Err(Broken::new("totality", what));
        }
        let is_due = correct().any(|(_, node)| node.broadcast().is_some());
        if is_due {
            let what = format!("{missing} has not delivered what {SENDER} sent");
            return Err(Broken::new("validity", what));
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, breaks, awaited| Scope {
            what,
            setup,
            bounds: Bounds { requests: 1, ..Bounds::default() },
            timers: vec![],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited,
        };
        vec![
            scope("a correct sender, one liar of three", "nodes=3&sender_lies=0", None, &[]),
            scope("a sender that lies", "nodes=4&caprice=0", None, ALL_OR_NONE),
            scope(
                "a correct sender, and a liar that is silent",
                "nodes=4&sender_lies=0&faults=cut:n4@0+0",
                None,
                ALL_DELIVER,
            ),
            scope(
                "a correct sender, and one of three is silent",
                "nodes=3&sender_lies=0&faults=cut:n3@0+0",
                Some("validity"),
                BOTH_DELIVER,
            ),
            Scope {
                bounds: Bounds { crashes: 1, requests: 1, ..Bounds::default() },
                timers: vec![(Repeat, UNBOUNDED)],
                ..scope("nobody lies, and one crashes", "nodes=2&f=0&liars=0", None, BOTH_DELIVER)
            },
            scope("two liars of four", "nodes=4&liars=2&caprice=0", Some("agreement"), &[]),
        ]
    }
}

#[cfg(test)]
crate::show::shown!(Bracha);
