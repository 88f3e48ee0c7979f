//! Ben-Or's randomised consensus on show, and what it shares with the victim of the FLP adversary.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::consensus::ben_or::{self, Bit, Phase, Remind, Tie};
use quorate_protocols::consensus::flp::{Config, Scheduled, Timer};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

/// A vote on bits, under a scheduler.
pub(super) struct Vote {
    nodes: Vec<NodeId>,
    inputs: Vec<Bit>,
    is_hostile: bool,
    /// A process votes in no later round.
    rounds_max: u32,
    /// Whether it is noted which votes were delivered.
    pub(super) is_noted: bool,
    /// Whether rounds are counted modulo something, and those before forgotten.
    pub(super) forgets_rounds: bool,
    mutants: LabMutants,
}

/// What nodes may forget: what was decided first.
pub(crate) type Decided = Option<Bit>;

/// What the nodes propose, as a number: one bit a node, that of n1 first; −1 has the seed draw it.
pub(super) const INPUTS: Knob = Knob {
    name: "inputs",
    what: "what nodes propose, one bit each, that of n1 the least; -1 if the seed draws it",
    min: -1,
    max: 65_535,
    usual: -1,
};
pub(super) const HOSTILE: Knob = Knob {
    name: "hostile",
    what: "1 if the scheduler picks whose votes come in time, 0 if they are taken as they come",
    min: 0,
    max: 1,
    usual: 0,
};
pub(super) const LAST: Knob = Knob {
    name: "last",
    what: "the last round in which nodes vote, so that an exploration ends; 0 if there is none",
    min: 0,
    max: 1_000_000,
    usual: 0,
};

impl Vote {
    pub(super) fn new(setup: &Setup, about: &About, mutants: LabMutants) -> Result<Self, String> {
        if setup.nodes > 16 {
            return Err(format!("nodes={}: at most 16 vote", setup.nodes));
        }
        let inputs = match setup.knob(about, "inputs") {
            -1 => (setup.seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64,
            inputs => inputs,
        };
        let last = setup.knob(about, "last") as u32;
        Ok(Vote {
            nodes: setup.ids().collect(),
            inputs: (0..setup.nodes).map(|place| Bit(inputs >> place & 1 == 1)).collect(),
            is_hostile: setup.knob(about, "hostile") == 1,
            rounds_max: if last == 0 { u32::MAX } else { last },
            is_noted: false,
            forgets_rounds: false,
            mutants,
        })
    }

    pub(super) fn config(&self, me: NodeId, tie: Tie) -> Config {
        let ms = Duration::from_millis;
        Config {
            process: ben_or::Config {
                me,
                nodes: self.nodes.clone(),
                tie,
                impatience: ms(400)..ms(600),
                rounds_max: self.rounds_max,
                mutants: self.mutants,
            },
            is_hostile: self.is_hostile,
            relents_after: ms(1_000),
            forgets_rounds: self.forgets_rounds,
            is_noted: self.is_noted,
        }
    }

    /// Each node is asked once, in order: what they propose is theirs, and who is first makes no difference.
    pub(super) fn requests(&self, asked: u32, node: NodeId) -> Vec<Bit> {
        if node.0 == u64::from(asked) % self.nodes.len() as u64 + 1 {
            vec![self.inputs[node.0 as usize - 1]]
        } else {
            Vec::new()
        }
    }

    pub(super) fn ask(&self, asking: &Asking<'_>) -> Option<(NodeId, Bit)> {
        let node = NodeId(u64::from(asking.asked) % asking.nodes + 1);
        Some((node, self.inputs[node.0 as usize - 1]))
    }

    pub(super) fn agree(
        members: &Members<'_, Scheduled>,
        moved: NodeId,
        decided: &mut Decided,
    ) -> Result<(), Broken> {
        let bit = members.state(moved).and_then(|state| state.process().decided());
        match (bit, *decided) {
            (Some(bit), Some(before)) if bit != before => {
                let what = format!("{moved} decided {bit:?}, and {before:?} was decided before");
                Err(Broken::new("agreement", what))
            }
            (Some(bit), _) => {
                *decided = Some(bit);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// That everybody who has voted has decided.
    pub(super) fn settled(members: &Members<'_, Scheduled>) -> Result<(), Broken> {
        let votes = members.live().map(|(node, state)| (node, state.process()));
        let mut undecided =
            votes.filter(|(_, process)| process.round() > 0 && process.decided().is_none());
        undecided.next().map_or(Ok(()), |(node, process)| {
            let what = format!("{node} is in round {} and has not decided", process.round());
            Err(Broken::new("termination", what))
        })
    }

    pub(super) fn rounds(members: &Members<'_, Scheduled>) -> f64 {
        f64::from(members.live().map(|(_, state)| state.process().round()).max().unwrap_or(0))
    }
}

pub(crate) struct BenOr(Vote);

const GOALS: &[Goal<Explorable<BenOr>>] = &[
    ("0 is decided", |cluster| *cluster.history() == Some(Bit(false))),
    ("no common value is in sight of a node", |cluster| {
        cluster.states().any(|state| {
            let stage = state.process().stage();
            stage.is_some_and(|stage| stage.phase == Phase::Propose)
                && state.process().vote().is_none()
        })
    }),
];

/// Of n1 and n2, with n3 cut off.
const AWAITED: &[Eventually<Explorable<BenOr>>] = &[Eventually {
    name: "termination: n1 and n2 decide once both have voted",
    after: Some(|cluster| cluster.states().take(2).all(|state| state.process().round() > 0)),
    comes: |cluster| {
        let mut two = cluster.states().take(2);
        two.all(|state| state.process().decided().is_some())
    },
}];

const ALONE: &[Eventually<Explorable<BenOr>>] = &[Eventually {
    name: "termination: all who have voted decide",
    after: Some(|cluster| cluster.states().any(|state| state.process().round() > 0)),
    comes: |cluster| {
        let mut voters = cluster.states().map(Scheduled::process).filter(|it| it.round() > 0);
        voters.all(|process| process.decided().is_some())
    },
}];

const CLAIMS: &[Claim] = &[
    Claim { name: "agreement", what: "No two nodes decide differently, whatever coins show." },
    Claim { name: "validity", what: "What is decided was proposed." },
    Claim { name: "termination", what: "Everybody decides, with probability 1." },
];

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "common_values_ignored",
        what: "Tosses its coin though a value was proposed to it.",
        breaks: "agreement",
        setup: "loss=0&duplicates=0&crashes=0&delay=10-10&lasts=1000&inputs=4&asks=n1@0,n2@0,n3@0\
                &faults=unheard:n1@20+900",
    },
    Mutant {
        name: "reports_a_toss",
        what: "Tosses its coin before the first round already.",
        breaks: "validity",
        setup: "inputs=7",
    },
    Mutant {
        name: "waits_for_all",
        what: "Waits for the votes of all, as if nobody could be down.",
        breaks: "termination",
        setup: "loss=0&crashes=0&lasts=3000&patience=0&faults=crash:n3@0+10000&asks=n1@0,n2@0",
    },
];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the_schedule_that_blocks_flp",
        what: "The scheduler that keeps a deterministic protocol undecided for ever lets nobody hear a majority; some day the \
               coins agree all the same.",
        setup: "hostile=1&inputs=4&delay=10-10&asks=n1@0,n2@0,n3@0",
        expected: Expected::Holds,
    },
    Scenario {
        name: "all_propose_the_same",
        what: "All propose 1: one round, no coin, whatever the scheduler does.",
        setup: "hostile=1&inputs=7&delay=10-10&asks=n1@0,n2@0,n3@0",
        expected: Expected::Holds,
    },
    Scenario {
        name: "a_majority_is_down",
        what: "Two of three are down, and the third waits, as it must: they may have decided.",
        setup: "inputs=4&delay=10-10&asks=n1@0,n2@0,n3@0&lasts=1500&patience=0\
                &faults=crash:n2@5+10000,crash:n3@5+10000",
        expected: Expected::Breaks("termination"),
    },
];

const CURVES: &[Curve] = &[Curve {
    name: "rounds",
    what: "Under a hostile scheduler the rounds double with each node, until all coins agree; else there are few.",
    vary: "nodes",
    x: "nodes",
    values: &[3, 5, 7],
    measure: "rounds",
    y: "rounds until decided",
    lines: &[
        Line { label: "messages as they come", setup: "requests=7&lasts=10" },
        Line { label: "hostile scheduler", setup: "requests=7&lasts=10&hostile=1&patience=600000" },
    ],
    seeds: 30,
    holds: rounds_double,
}];

fn rounds_double(lines: &[Points]) -> Result<(), String> {
    let [fair, hostile] = lines else { return Err("two lines were expected".into()) };
    if fair.iter().any(|(_, rounds)| *rounds > 8.0) {
        return Err("without an adversary there are many rounds".into());
    }
    let as_computed = |(nodes, rounds): &(f64, f64)| {
        let expected = 2f64.powf(nodes - 1.0);
        *rounds > expected / 3.0 && *rounds < expected * 3.0
    };
    if hostile.iter().all(as_computed) { Ok(()) } else { Err("it is not about 2^(n-1)".into()) }
}

impl Exhibit for BenOr {
    type Protocol = Scheduled;
    type History = Decided;

    const ABOUT: About = About {
        name: "ben_or",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/ben_or.rs",
        source: include_str!("../../../../protocols/src/consensus/ben_or.rs"),
        claims: CLAIMS,
        mutants: MUTANTS,
        knobs: &[INPUTS, HOSTILE, LAST],
        scenarios: SCENARIOS,
        curves: CURVES,
        is_in_production: false,
        status: include_str!("../../../status/ben_or.txt"),
    };

    fn setup() -> Setup {
        Setup { loss: 10, duplicates: 10, crashes: 2, lasts_ms: 300, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        Vote::new(setup, &Self::ABOUT, mutants).map(BenOr)
    }

    fn config(&self, me: NodeId) -> Config {
        self.0.config(me, Tie::Toss)
    }

    fn requests(&self, asked: u32, node: NodeId) -> Vec<Bit> {
        self.0.requests(asked, node)
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Bit)> {
        self.0.ask(asking)
    }

    fn observe(
        &self,
        members: &Members<'_, Scheduled>,
        moved: NodeId,
        decided: &mut Decided,
    ) -> Result<(), Broken> {
        Vote::agree(members, moved, decided)?;
        match *decided {
            Some(bit) if !self.0.inputs.contains(&bit) => {
                let what = format!("{moved} decided {bit:?}, which nobody proposed");
                Err(Broken::new("validity", what))
            }
            _ => Ok(()),
        }
    }

    fn settled(&self, members: &Members<'_, Scheduled>, _: &Decided) -> Result<(), Broken> {
        Vote::settled(members)
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, crashes, timers, breaks, goals, awaited| Scope {
            what,
            setup,
            bounds: Bounds { crashes, requests: 3, ..Bounds::default() },
            timers,
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals,
            awaited,
        };
        let again = || vec![(Timer::Process(Remind), UNBOUNDED)];
        vec![
            scope(
                "a round of three nodes, one of which proposes 1",
                "nodes=3&inputs=4&last=1",
                0,
                vec![],
                None,
                GOALS,
                &[],
            ),
            scope(
                "three rounds of them under the hostile scheduler, and any tosses",
                "nodes=3&inputs=4&hostile=1&last=3",
                0,
                vec![],
                None,
                &[],
                &[],
            ),
            scope(
                "a majority proposes 1, crashes once, and asks for what is missing without end",
                "nodes=3&inputs=7&last=1&faults=cut:n3@0+1,crash:n1@0+1,crash:n2@0+1",
                1,
                again(),
                None,
                &[],
                AWAITED,
            ),
            scope(
                "all propose 1, and two of three are cut off",
                "nodes=3&inputs=7&last=1&faults=cut:n2@0+1,cut:n3@0+1",
                0,
                again(),
                Some("termination"),
                &[],
                ALONE,
            ),
        ]
    }

    fn counts_records() -> bool {
        false
    }

    fn measures(&self, members: &Members<'_, Scheduled>, _: &Decided) -> Vec<(&'static str, f64)> {
        vec![("rounds", Vote::rounds(members))]
    }
}

#[cfg(test)]
crate::show::shown!(BenOr);
