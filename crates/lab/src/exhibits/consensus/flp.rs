//! The FLP adversary on show: a row that is all boundary.

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs};
use quorate_protocols::consensus::ben_or::{Bit, Phase, Tie};
use quorate_protocols::consensus::flp::{Config, Scheduled};

use super::ben_or::{Decided, HOSTILE, INPUTS, LAST, Vote};
use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Flp {
    vote: Vote,
    /// After so many rounds, all of whose votes were delivered, somebody must have decided; 0 if nobody must ever.
    rounds: u32,
}

const GOALS: &[Goal<Explorable<Flp>>] = &[
    ("0 is decided", |cluster| *cluster.history() == Some(Bit(false))),
    ("no node has heard a majority", |cluster| {
        cluster.states().all(|state| {
            let process = state.process();
            process.stage().is_some_and(|stage| stage.phase == Phase::Propose)
                && process.vote().is_none()
        })
    }),
];

const AWAITED: &[Eventually<Explorable<Flp>>] = &[Eventually {
    name: "termination: somebody decides once all have proposed",
    after: Some(|cluster| cluster.states().all(|state| state.process().round() > 0)),
    comes: |cluster| cluster.history().is_some(),
}];

const CLAIMS: &[Claim] = &[
    Claim {
        name: "agreement",
        what: "No two nodes decide differently, whatever the scheduler does.",
    },
    Claim {
        name: "termination",
        what: "Once every vote of a number of rounds is delivered, somebody has decided. No number will do.",
    },
];

const MUTANTS: &[Mutant] = &[Mutant {
    name: "decides_at_once",
    what: "Decides what it first hears, so that no scheduler can keep it undecided.",
    breaks: "agreement",
    setup: "loss=0&duplicates=0&delay=10-10&inputs=4&asks=n1@0,n2@0,n3@0",
}];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the_scheduler_as_adversary",
        what: "Each node hears of two votes that differ before it hears of the third, round after round; every message is \
               delivered, nobody crashes, and nobody decides.",
        setup: "hostile=1&rounds=4&inputs=4&delay=10-10&asks=n1@0,n2@0,n3@0&patience=0",
        expected: Expected::Breaks("termination"),
    },
    Scenario {
        name: "one_is_down",
        what: "A node is down before it has said anything; the other two can't wait for it, and turn their estimates past each \
               other for ever, with no help from a scheduler.",
        setup: "inputs=1&delay=10-10&faults=crash:n3@0+10000&asks=n1@0,n2@0&lasts=200&patience=0",
        expected: Expected::Breaks("termination"),
    },
    Scenario {
        name: "a_scheduler_that_means_no_harm",
        what: "The same three inputs, and votes taken as they come: a majority is heard, and all decide.",
        setup: "inputs=4&delay=10-10&asks=n1@0,n2@0,n3@0",
        expected: Expected::Holds,
    },
    Scenario {
        name: "the_other_value_from_the_same_inputs",
        what: "Again the same inputs, and another order of votes: 1 is decided. So both values may come of where it began.",
        setup: "seed=6&inputs=4&delay=1-10&asks=n1@0,n2@0,n3@0",
        expected: Expected::Holds,
    },
    Scenario {
        name: "no_choice_left",
        what: "All propose 1: only that can come of it, and the scheduler can do nothing.",
        setup: "hostile=1&inputs=7&delay=10-10&asks=n1@0,n2@0,n3@0",
        expected: Expected::Holds,
    },
];

const CURVES: &[Curve] = &[Curve {
    name: "as_long_as_you_like",
    what: "However long the run, the hostile scheduler keeps it undecided; one that means no harm soon lets it end.",
    vary: "lasts",
    x: "time (ms)",
    values: &[200, 1_000, 5_000, 10_000],
    measure: "rounds",
    y: "rounds",
    lines: &[
        Line {
            label: "hostile",
            setup: "hostile=1&inputs=4&delay=10-10&asks=n1@0,n2@0,n3@0&patience=0",
        },
        Line { label: "as they come", setup: "inputs=4&delay=1-10&asks=n1@0,n2@0,n3@0&patience=0" },
    ],
    seeds: 8,
    holds: never_ends,
}];

fn never_ends(lines: &[Points]) -> Result<(), String> {
    let [hostile, fair] = lines else { return Err("two lines were expected".into()) };
    if hostile.iter().any(|(ms, rounds)| *rounds < ms / 30.0) {
        return Err("the hostile scheduler lets it end".into());
    }
    if fair.iter().any(|(_, rounds)| *rounds > 10.0) {
        return Err("it does not end without an adversary either".into());
    }
    Ok(())
}

impl Exhibit for Flp {
    type Protocol = Scheduled;
    type History = Decided;

    const ABOUT: About = About {
        name: "flp",
        family: Family::Consensus,
        path: "crates/protocols/src/consensus/flp.rs",
        source: include_str!("../../../../protocols/src/consensus/flp.rs"),
        claims: CLAIMS,
        mutants: MUTANTS,
        knobs: &[
            INPUTS,
            HOSTILE,
            LAST,
            Knob {
                name: "rounds",
                what: "after so many rounds, all of whose votes were delivered, somebody must have decided; 0 for never",
                min: 0,
                max: 1_000_000,
                usual: 0,
            },
            Knob {
                name: "modulo",
                what: "1 if rounds are counted modulo two, so that a run may come back to where it was; needs hostile=1 and that nothing is lost",
                min: 0,
                max: 1,
                usual: 0,
            },
        ],
        scenarios: SCENARIOS,
        curves: CURVES,
        is_in_production: false,
        status: include_str!("../../../status/flp.txt"),
    };

    fn setup() -> Setup {
        Setup { loss: 10, duplicates: 10, lasts_ms: 300, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let rounds = setup.knob(&Self::ABOUT, "rounds") as u32;
        let mut vote = Vote::new(setup, &Self::ABOUT, mutants)?;
        vote.is_noted = rounds > 0;
        vote.forgets_rounds = setup.knob(&Self::ABOUT, "modulo") == 1;
        let keeps_step = setup.knob(&Self::ABOUT, HOSTILE.name) == 1;
        let is_lossless = (setup.loss, setup.duplicates, setup.crashes) == (0, 0, 0);
        if vote.forgets_rounds && !(keeps_step && is_lossless) {
            return Err(
                "modulo=1: who forgets a round needs hostile=1, loss=0, duplicates=0 and crashes=0"
                    .into(),
            );
        }
        Ok(Flp { vote, rounds })
    }

    fn config(&self, me: NodeId) -> Config {
        self.vote.config(me, Tie::Turn)
    }

    fn requests(&self, asked: u32, node: NodeId) -> Vec<Bit> {
        self.vote.requests(asked, node)
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Bit)> {
        self.vote.ask(asking)
    }

    fn observe(
        &self,
        members: &Members<'_, Scheduled>,
        moved: NodeId,
        decided: &mut Decided,
    ) -> Result<(), Broken> {
        Vote::agree(members, moved, decided)?;
        let votes = 2 * self.rounds as usize * (members.count() as usize - 1);
        let has_all = |state: &Scheduled| state.delivered(self.rounds) == votes;
        let is_over = self.rounds > 0 && decided.is_none();
        if is_over && members.live().all(|(_, state)| has_all(state)) {
            let what = format!(
                "every vote of {} rounds is delivered, and nobody has decided",
                self.rounds
            );
            return Err(Broken::new("termination", what));
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, Scheduled>, _: &Decided) -> Result<(), Broken> {
        Vote::settled(members)
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, breaks, goals, awaited| Scope {
            what,
            setup,
            bounds: Bounds { crashes: 0, repeats: 0, requests: 3, hints: 0 },
            timers: vec![],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals,
            awaited,
        };
        vec![
            scope(
                "any order of the votes of one round",
                "nodes=3&inputs=4&rounds=1&last=1",
                Some("termination"),
                &[],
                &[],
            ),
            scope(
                "the same, and nobody has to decide",
                "nodes=3&inputs=4&last=1",
                None,
                GOALS,
                &[],
            ),
            scope(
                "the hostile scheduler, and rounds without end",
                "nodes=3&inputs=4&hostile=1&modulo=1&loss=0&duplicates=0",
                Some("termination"),
                &[],
                AWAITED,
            ),
            scope(
                "the hostile scheduler, where all propose 1",
                "nodes=3&inputs=7&hostile=1&modulo=1&loss=0&duplicates=0",
                None,
                &[],
                AWAITED,
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
crate::show::shown!(Flp);
