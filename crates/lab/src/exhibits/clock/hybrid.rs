//! The hybrid logical clock on show.

use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::clock::hybrid::{Config, Event, Hybrid, Physical, Request, Tick};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Asking, Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct HybridClock {
    nodes: u64,
    skew_ms: u64,
    tick_ms: u64,
    back_ms: u64,
    /// Of a hundred requests.
    sets_back: u64,
    is_judged: bool,
    mutants: LabMutants,
}

/// What the clock of the first node shows at the start.
const MORNING: Physical = Physical(1_000);

const GOALS: &[Goal<Explorable<HybridClock>>] = &[
    ("a stamp is ahead of its node's clock", |cluster| {
        let mut events = cluster.states().flat_map(Hybrid::events);
        events.any(|event| event.stamp.physical > event.reading)
    }),
    ("a clock has passed a stamp that it was behind", |cluster| {
        cluster.states().any(|state| {
            let is_ahead = |event: &Event| event.stamp.physical > event.reading;
            let level = |event: &Event| event.stamp.physical == event.reading;
            let ahead = state.events().iter().position(is_ahead);
            ahead.is_some_and(|place| state.events()[place..].iter().any(level))
        })
    }),
    ("a clock was set back", |cluster| {
        cluster
            .states()
            .any(|state| state.events().windows(2).any(|pair| pair[1].reading < pair[0].reading))
    }),
];

fn judge(a: (NodeId, &Event), b: (NodeId, &Event)) -> Result<(), Broken> {
    let number = a.1.past.get(a.0);
    let is_same = a.0 == b.0 && number == b.1.past.get(a.0);
    let is_before = !is_same && b.1.past.get(a.0) >= number;
    if !is_before || a.1.stamp < b.1.stamp {
        return Ok(());
    }
    let claim = if a.0 == b.0 { "monotone" } else { "clock_condition" };
    let (at, other_at) = (a.1.stamp, b.1.stamp);
    let what =
        format!("an event of {} at {at:?} happened before one of {} at {other_at:?}", a.0, b.0);
    Err(Broken::new(claim, what))
}

impl Exhibit for HybridClock {
    type Protocol = Hybrid;
    type History = ();

    const ABOUT: About = About {
        name: "hybrid_logical_clock",
        family: Family::Clock,
        path: "crates/protocols/src/clock/hybrid.rs",
        source: include_str!("../../../../protocols/src/clock/hybrid.rs"),
        claims: &[
            Claim {
                name: "monotone",
                what: "The stamps of a node go up, though its clock is set back or it crashes.",
            },
            Claim {
                name: "clock_condition",
                what: "If an event happened before one of another node, its stamp is the smaller.",
            },
            Claim {
                name: "close",
                what: "The physical part of a stamp is no less than the node's clock shows, and no more than a clock has shown before.",
            },
        ],
        mutants: &[
            Mutant {
                name: "physical_part_only",
                what: "Stamps with what the node's clock shows.",
                breaks: "clock_condition",
                setup: "",
            },
            Mutant {
                name: "ignores_what_it_hears",
                what: "Takes nothing from the stamp of a message.",
                breaks: "clock_condition",
                setup: "",
            },
            Mutant {
                name: "forgets_its_stamp",
                what: "Starts from the physical clock after a crash.",
                breaks: "monotone",
                setup: "",
            },
            Mutant {
                name: "counts_in_the_physical_part",
                what: "Adds one to the physical part where it should count beside it.",
                breaks: "close",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "skew",
                what: "how far the last node's clock is ahead of the first, in ms; the others are between",
                min: 0,
                max: 10_000,
                usual: 10,
            },
            Knob {
                name: "tick",
                what: "the time between two ticks, in ms",
                min: 1,
                max: 1_000,
                usual: 1,
            },
            Knob {
                name: "back",
                what: "how far a clock is set back, in ms, by those requests that do",
                min: 1,
                max: 10_000,
                usual: 20,
            },
            Knob {
                name: "sets_back",
                what: "how many of a hundred requests set a clock back",
                min: 0,
                max: 100,
                usual: 20,
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
                name: "the_clock_jumps_back",
                what: "n1's clock is set back by 40 ms between two events: the counter goes on until the clock has caught up.",
                setup: "nodes=2&skew=0&tick=10&back=40&asks=n1@15,n1.1@25,n1@35,n2@55,n1@105&delay=5-5&lasts=120",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_clock_that_is_ahead",
                what: "n3's clock is 30 ms ahead: who hears of it stamps by it, and counts, until the own clock has passed.",
                setup: "nodes=3&skew=30&tick=10&asks=n3@5,n1@15,n2@25,n1@65&delay=5-5&lasts=80",
                expected: Expected::Holds,
            },
            Scenario {
                name: "physical_time_alone",
                what: "The same with stamps of the physical clock alone: what is heard is earlier than what was said.",
                setup: "nodes=3&skew=30&tick=10&asks=n3@5,n1@15,n2@25,n1@65&delay=5-5&lasts=80&mutant=physical_part_only",
                expected: Expected::Breaks("clock_condition"),
            },
        ],
        curves: &[
            Curve {
                name: "lead_and_skew",
                what: "How far stamps are ahead of their nodes' clocks, at the most: never further than the clocks are apart.",
                vary: "skew",
                x: "skew, ms",
                values: &[0, 5, 10, 20, 40],
                measure: "lead_ms",
                y: "lead, ms",
                lines: &[Line {
                    label: "hybrid",
                    setup: "requests=60&lasts=200&delay=1-3&sets_back=0",
                }],
                seeds: 10,
                holds: within_the_skew,
            },
            Curve {
                name: "lead_and_load",
                what: "The same against the number of events in 200 ms, with clocks 10 ms apart: the load doesn't matter, unless one counts within the physical part.",
                vary: "requests",
                x: "requests",
                values: &[50, 200, 400],
                measure: "lead_ms",
                y: "lead, ms",
                lines: &[
                    Line { label: "hybrid", setup: "lasts=200&delay=1-3&sets_back=0&judged=0" },
                    Line {
                        label: "counts in the physical part",
                        setup: "lasts=200&delay=1-3&sets_back=0&judged=0&mutant=counts_in_the_physical_part",
                    },
                ],
                seeds: 5,
                holds: load_is_no_matter,
            },
        ],
        is_in_production: false,
        status: include_str!("../../../status/hybrid_logical_clock.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 12,
            lasts_ms: 200,
            loss: 20,
            duplicates: 20,
            crashes: 2,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name) as u64;
        Ok(HybridClock {
            nodes: setup.nodes,
            skew_ms: knob("skew"),
            tick_ms: knob("tick"),
            back_ms: knob("back"),
            sets_back: knob("sets_back"),
            is_judged: knob("judged") == 1,
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        let tick = Duration::from_millis(self.tick_ms);
        let ahead = self.skew_ms * (me.0 - 1) / self.nodes.saturating_sub(1).max(1);
        Config {
            me,
            others: (1..=self.nodes).map(NodeId).filter(|node| *node != me).collect(),
            starts_at: Physical(MORNING.0 + ahead),
            tick_ms: self.tick_ms,
            tick: tick..tick,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<Request> {
        vec![Request::Tell, Request::SetBack(self.back_ms)]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Option<(NodeId, Request)> {
        let node = NodeId(asking.rng.below(asking.nodes) + 1);
        let is_set_back = asking.rng.below(100) < self.sets_back;
        Some((node, if is_set_back { Request::SetBack(self.back_ms) } else { Request::Tell }))
    }

    fn observe(
        &self,
        members: &Members<'_, Hybrid>,
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
        if (newest.reading..=newest.newest).contains(&newest.stamp.physical) {
            return Ok(());
        }
        let (stamp, own, all) = (newest.stamp, newest.reading.0, newest.newest.0);
        let what =
            format!("{moved} is at {stamp:?}, its clock at {own}, and no clock was past {all}");
        Err(Broken::new("close", what))
    }

    fn settled(&self, _: &Members<'_, Hybrid>, (): &()) -> Result<(), Broken> {
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        vec![Scope {
            what: "three requests, two ticks, one crash",
            setup: "nodes=2&skew=2&back=2",
            bounds: Bounds { crashes: 1, repeats: 0, requests: 3, hints: 0 },
            timers: vec![(Tick, 2)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        }]
    }

    fn measures(&self, members: &Members<'_, Hybrid>, (): &()) -> Vec<(&'static str, f64)> {
        let events = members.live().flat_map(|(_, state)| state.events());
        let lead = events.map(|event| event.stamp.physical.0.saturating_sub(event.reading.0)).max();
        vec![("lead_ms", lead.unwrap_or(0) as f64)]
    }
}

/// Not further ahead than the clocks are apart, give or take a tick, and with some skew at all ahead.
fn within_the_skew(lines: &[Points]) -> Result<(), String> {
    match lines[0].iter().find(|(skew, lead)| *lead > skew + 1.0 || *lead < skew - 1.0) {
        Some((skew, lead)) => Err(format!("a lead of {lead} ms with clocks {skew} ms apart")),
        None => Ok(()),
    }
}

/// The hybrid clock's lead stays within the skew of 10 ms, the other's grows with the load.
fn load_is_no_matter(lines: &[Points]) -> Result<(), String> {
    if let Some((requests, lead)) = lines[0].iter().find(|(_, lead)| *lead > 11.0) {
        return Err(format!("a lead of {lead} ms after {requests} requests"));
    }
    match lines[1].last() {
        Some((_, lead)) if *lead > 100.0 => Ok(()),
        _ => Err("counting in the physical part doesn't run ahead".to_owned()),
    }
}

#[cfg(test)]
crate::show::shown!(HybridClock);
