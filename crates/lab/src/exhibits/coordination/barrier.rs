//! The double barrier on show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::coordination::barrier::{self, Config, Door, Place, Timer, Verdict};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

/// Who counts.
const COUNTER: NodeId = NodeId(1);

pub(crate) struct Barrier {
    members: Vec<NodeId>,
    timeout: Option<Duration>,
    mutants: LabMutants,
}

/// What members forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Who has ever come to each door.
    came: BTreeMap<Door, BTreeSet<NodeId>>,
    /// What anybody has been told of it.
    told: BTreeMap<Door, Verdict>,
}

const GOALS: &[Goal<Explorable<Barrier>>] = &[
    ("all have gone out together", |cluster| {
        let exit = Door { round: 1, is_exit: true };
        cluster.history().told.get(&exit) == Some(&Verdict::Open)
    }),
    ("a door is broken", |cluster| {
        cluster.history().told.values().any(|verdict| *verdict == Verdict::Broken)
    }),
];

const AWAITED: &[Eventually<Explorable<Barrier>>] = &[
    Eventually {
        name: "everyone_is_told: n2 is outside again once it has come",
        after: Some(|cluster| cluster.state(1).place() != Place::Outside),
        comes: |cluster| cluster.state(1).place() == Place::Outside,
    },
    Eventually {
        name: "everyone_is_told: n3 is outside again once it has come",
        after: Some(|cluster| cluster.state(2).place() != Place::Outside),
        comes: |cluster| cluster.state(2).place() == Place::Outside,
    },
];

/// Whoever else has died inside.
const AT_THE_EXIT: &[Eventually<Explorable<Barrier>>] = &[Eventually {
    name: "everyone_is_told: n2 goes out once it has come to the exit",
    after: Some(|cluster| matches!(cluster.state(1).place(), Place::At(door) if door.is_exit)),
    comes: |cluster| cluster.state(1).place() == Place::Outside,
}];

impl Exhibit for Barrier {
    type Protocol = barrier::Barrier;
    type History = History;

    const ABOUT: About = About {
        name: "barrier",
        family: Family::Coordination,
        path: "crates/protocols/src/coordination/barrier.rs",
        source: include_str!("../../../../protocols/src/coordination/barrier.rs"),
        claims: &[
            Claim {
                name: "all_have_come",
                what: "Nobody goes in before all have come to the entry, nor out as if all were done before all have come to the exit.",
            },
            Claim {
                name: "one_verdict",
                what: "A door that is open for one is broken for nobody.",
            },
            Claim { name: "everyone_is_told", what: "In the end nobody waits at a door." },
        ],
        mutants: &[
            Mutant {
                name: "counts_a_member_twice",
                what: "Counts a member again that says again that it has come.",
                breaks: "all_have_come",
                setup: "",
            },
            Mutant {
                name: "forgets_what_it_tells",
                what: "Tells those who wait that the door is broken, and opens it when the last comes.",
                breaks: "one_verdict",
                setup: "",
            },
            Mutant {
                name: "tells_once",
                what: "Tells those who wait what is decided of a door, and nobody who comes to it later.",
                breaks: "everyone_is_told",
                setup: "",
            },
        ],
        knobs: &[Knob {
            name: "timeout",
            what: "after how long a door breaks, in ms; 0 if never",
            min: 0,
            max: 60_000,
            usual: 300,
        }],
        scenarios: &[
            Scenario {
                name: "all_come",
                what: "The last of three comes late; all go in together, and out together.",
                setup: "nodes=4&asks=n2@0,n3@10,n4@30&delay=10-10&lasts=150",
                expected: Expected::Holds,
            },
            Scenario {
                name: "one_does_not_come",
                what: "A rendezvous that fails: n4 does not come in time, n2 and n3 are told so, and so is n4 when it comes after all.",
                setup: "nodes=4&asks=n2@0,n3@10,n4@150&timeout=100&delay=10-10&lasts=300",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_member_dies_inside",
                what: "n4 dies inside; the others wait at the exit until it breaks, and know that not all are done.",
                setup: "nodes=4&asks=n2@0,n3@0,n4@0&timeout=100&delay=10-10&lasts=300&faults=crash:n4@25+200",
                expected: Expected::Holds,
            },
            Scenario {
                name: "without_a_timeout",
                what: "The same without a timeout: n2 and n3 wait at the exit for ever.",
                setup: "nodes=4&asks=n2@0,n3@0,n4@0&timeout=0&delay=10-10&lasts=200&patience=200&faults=crash:n4@25+100",
                expected: Expected::Breaks("everyone_is_told"),
            },
        ],
        curves: &[],
        is_in_production: false,
        status: include_str!("../../../status/barrier.txt"),
    };

    fn setup() -> Setup {
        Setup {
            nodes: 4,
            requests: 9,
            lasts_ms: 1_000,
            loss: 10,
            duplicates: 10,
            crashes: 2,
            pauses: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let members: Vec<NodeId> = setup.ids().filter(|node| *node != COUNTER).collect();
        if members.is_empty() {
            return Err(format!("nodes={}: who counts is no member", setup.nodes));
        }
        let timeout = setup.knob(&Self::ABOUT, "timeout").unsigned_abs();
        let timeout = (timeout > 0).then(|| Duration::from_millis(timeout));
        Ok(Barrier { members, timeout, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        Config {
            me,
            counter: COUNTER,
            members: self.members.clone(),
            timeout: self.timeout.map(|after| after..after),
            works: ms(10)..ms(20),
            retry: ms(60)..ms(80),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<()> {
        if node == COUNTER { Vec::new() } else { vec![()] }
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, ())> {
        // Each in its turn, so that all come as often.
        let member = asking.asked as usize % self.members.len();
        Some((self.members[member], ()))
    }

    fn observe(
        &self,
        members: &Members<'_, barrier::Barrier>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(member) = members.state(moved) else { return Ok(()) };
        if let Place::At(door) = member.place() {
            history.came.entry(door).or_default().insert(moved);
        }
        let Some((door, verdict)) = member.told() else { return Ok(()) };
        let came = history.came.get(&door).map_or(0, BTreeSet::len);
        if verdict == Verdict::Open && came < self.members.len() {
            let what = format!("{moved} passes {door:?}, and only {came} have come to it");
            return Err(Broken::new("all_have_come", what));
        }
        let known = *history.told.entry(door).or_insert(verdict);
        if known != verdict {
            let what =
                format!("{door:?} is {verdict:?} for {moved}, and was {known:?} for another");
            return Err(Broken::new("one_verdict", what));
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, barrier::Barrier>, _: &History) -> Result<(), Broken> {
        match members.live().find(|(_, member)| member.place() != Place::Outside) {
            Some((node, member)) => {
                let what = format!("{node} is {}", quorate_core::Protocol::view(member));
                Err(Broken::new("everyone_is_told", what))
            }
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, repeats, breaks, awaited| Scope {
            what,
            setup,
            bounds: Bounds { crashes: 1, repeats, requests: 2, hints: 0 },
            timers: [Timer::GiveUp, Timer::Done, Timer::Retry].map(|it| (it, UNBOUNDED)).into(),
            syncs: Syncs::EachTurn,
            // Who counts is not like the others.
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited,
        };
        vec![
            scope(
                "two members, a timeout at any time, one crash, one repeated message",
                "nodes=3",
                1,
                None,
                AWAITED,
            ),
            scope(
                "one of two members crashes, and there is no timeout",
                "nodes=3&timeout=0&faults=crash:n3@0+0",
                0,
                Some("everyone_is_told"),
                AT_THE_EXIT,
            ),
        ]
    }
}

#[cfg(test)]
crate::show::shown!(Barrier);
