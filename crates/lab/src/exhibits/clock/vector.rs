//! The vector clock on show, in a chat.

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::clock::vector::{self, Config, Event, Say};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct VectorClock {
    nodes: u64,
    /// The entries of a vector.
    entries: u64,
    is_judged: bool,
    mutants: LabMutants,
}

const GOALS: &[Goal<Explorable<VectorClock>>] = &[
    ("somebody knows of two concurrent lines", |cluster| {
        cluster.states().any(|state| {
            let lines = state.lines();
            let mut all = lines.values();
            all.clone().any(|said| all.any(|other| said.is_concurrent_with(other)))
        })
    }),
    ("somebody knows of a line and of the answer to it", |cluster| {
        cluster.states().any(|state| {
            let lines = state.lines();
            lines.iter().any(|(a, said)| {
                lines.iter().any(|(b, other)| a.by != b.by && said.partial_cmp(other).is_some())
            })
        })
    }),
];

/// Whether one event happened before another, by what the judges know.
fn is_before((at, event): (NodeId, &Event), (other_at, other): (NodeId, &Event)) -> bool {
    let number = event.past.get(at);
    let is_same = at == other_at && number == other.past.get(at);
    !is_same && other.past.get(at) >= number
}

fn judge(a: (NodeId, &Event), b: (NodeId, &Event)) -> Result<(), Broken> {
    let tell =
        |what: &str| format!("{what}: {:?} of {} and {:?} of {}", a.1.vector, a.0, b.1.vector, b.0);
    match (is_before(a, b), a.1.vector < b.1.vector) {
        (true, false) => Err(Broken::new(
            "clock_condition",
            tell("the first of these happened before the second"),
        )),
        (false, true) => Err(Broken::new("concurrency", tell("these look ordered and are not"))),
        _ => Ok(()),
    }
}

impl Exhibit for VectorClock {
    type Protocol = vector::VectorClock;
    type History = ();

    const ABOUT: About = About {
        name: "vector_clock",
        family: Family::Clock,
        path: "crates/protocols/src/clock/vector.rs",
        source: include_str!("../../../../protocols/src/clock/vector.rs"),
        claims: &[
            Claim {
                name: "clock_condition",
                what: "If one event happened before another, its vector is the less.",
            },
            Claim {
                name: "concurrency",
                what: "If the vector of one event is less than that of another, it happened before it; so concurrent events are known as such.",
            },
        ],
        mutants: &[
            Mutant {
                name: "merge_takes_the_sum",
                what: "Adds the vector of a message to its own, where it should take the greater.",
                breaks: "concurrency",
                setup: "",
            },
            Mutant {
                name: "skips_own_tick",
                what: "Doesn't count its own events.",
                breaks: "clock_condition",
                setup: "",
            },
            Mutant {
                name: "ignores_what_it_hears",
                what: "Takes nothing from the vector of a message.",
                breaks: "clock_condition",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "entries",
                what: "how many entries a vector has, which nodes then share: 1 is Lamport's clock; 0 for one a node",
                min: 0,
                max: 100,
                usual: 0,
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
                name: "chat_with_concurrent_lines",
                what: "n2 and n3 answer n1 at once, and n1 answers both; everybody can tell that the two answers knew nothing of each other.",
                setup: "asks=n1@0,n2@30,n3@32,n1@60&delay=10-10&lasts=100",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_number_cannot_tell",
                what: "The same chat by Lamport's clock: n2 answers at 3, which looks later than that n3 heard the question at 2, though neither had to do with the other.",
                setup: "asks=n1@0,n2@30,n3@32,n1@60&delay=10-10&lasts=100&entries=1",
                expected: Expected::Breaks("concurrency"),
            },
            Scenario {
                name: "two_entries_for_three",
                what: "n1 and n3 count in one entry: enough to tell some concurrent lines apart, not all.",
                setup: "asks=n1@0,n2@30,n3@32,n1@60&delay=10-10&lasts=100&entries=2",
                expected: Expected::Breaks("concurrency"),
            },
        ],
        curves: &[Curve {
            name: "entries_needed",
            what: "How many of the concurrent pairs of events are known as such, against the entries of a vector, among five nodes: all of them only with five.",
            vary: "entries",
            x: "entries of a vector",
            values: &[1, 2, 3, 4, 5],
            measure: "told_apart",
            y: "concurrent pairs known as such, %",
            lines: &[Line { label: "five nodes", setup: "nodes=5&requests=10&lasts=100&judged=0" }],
            seeds: 20,
            holds: grows_to_all,
        }],
        is_in_production: false,
        status: include_str!("../../../status/vector_clock.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 8, loss: 20, duplicates: 20, crashes: 2, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let entries = match setup.knob(&Self::ABOUT, "entries") as u64 {
            0 => setup.nodes,
            entries => entries,
        };
        let is_judged = setup.knob(&Self::ABOUT, "judged") == 1;
        Ok(VectorClock { nodes: setup.nodes, entries, is_judged, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let others = (1..=self.nodes).map(NodeId).filter(|node| *node != me).collect();
        let entry = NodeId((me.0 - 1) % self.entries + 1);
        Config { me, others, entry, mutants: self.mutants }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<Say> {
        vec![Say]
    }

    fn observe(
        &self,
        members: &Members<'_, vector::VectorClock>,
        moved: NodeId,
        (): &mut (),
    ) -> Result<(), Broken> {
        let newest = members.state(moved).and_then(|state| state.events().last());
        let Some(newest) = newest.filter(|_| self.is_judged) else { return Ok(()) };
        for (node, state) in members.live() {
            for event in state.events() {
                judge((node, event), (moved, newest))?;
                judge((moved, newest), (node, event))?;
            }
        }
        Ok(())
    }

    fn settled(&self, _: &Members<'_, vector::VectorClock>, (): &()) -> Result<(), Broken> {
        Ok(())
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
        let few = Bounds { crashes: 0, repeats: 1, requests: 3, hints: 0 };
        vec![
            scope("three lines, one repeated message", "nodes=3", few, None),
            scope(
                "two lines, one crash, one repeated message",
                "nodes=3",
                Bounds { crashes: 1, requests: 2, ..few },
                None,
            ),
            scope("one entry for all", "nodes=3&entries=1", few, Some("concurrency")),
        ]
    }

    fn measures(
        &self,
        members: &Members<'_, vector::VectorClock>,
        (): &(),
    ) -> Vec<(&'static str, f64)> {
        let events: Vec<(NodeId, &Event)> = members
            .live()
            .flat_map(|(node, state)| state.events().iter().map(move |event| (node, event)))
            .collect();
        let (mut concurrent, mut told) = (0u32, 0u32);
        for (place, a) in events.iter().enumerate() {
            for b in &events[place + 1..] {
                if !is_before(*a, *b) && !is_before(*b, *a) {
                    concurrent += 1;
                    let looks_ordered = a.1.vector < b.1.vector || b.1.vector < a.1.vector;
                    told += u32::from(!looks_ordered);
                }
            }
        }
        if concurrent == 0 {
            return Vec::new();
        }
        vec![("told_apart", 100.0 * f64::from(told) / f64::from(concurrent))]
    }
}

/// More entries tell more apart, and only an entry for each node tells all.
fn grows_to_all(lines: &[Points]) -> Result<(), String> {
    let points = &lines[0];
    if let Some(pair) = points.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
        return Err(format!("{} entries tell no more than {}", pair[1].0, pair[0].0));
    }
    let told = |place: usize| points.get(place).map_or(f64::NAN, |(_, told)| *told);
    match (told(0), told(points.len() - 1)) {
        (one, all) if one < 50.0 && all == 100.0 => Ok(()),
        (one, all) => Err(format!("one entry tells {one} %, an entry for each {all} %")),
    }
}

#[cfg(test)]
crate::show::shown!(VectorClock);
