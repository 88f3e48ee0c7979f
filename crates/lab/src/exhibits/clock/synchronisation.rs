//! Clock synchronisation on show, in three ways.

use std::ops::Range;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Snapshot, Syncs};
use quorate_protocols::clock::synchronisation::{Clock, Config, Micros, Sync, Timer, Way};
use quorate_sim::Rng;

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Synchronisation {
    nodes: u64,
    way: Way,
    /// What each node's clock shows at the start.
    starts: Vec<Micros>,
    /// How fast each node's oscillator is, in parts per million.
    drifts: Vec<i64>,
    drift_most: i64,
    every: Duration,
    /// The longest that a message takes.
    delay: Micros,
    /// How much of the bound is granted, in hundredths.
    bound: i64,
    is_within: bool,
    mutants: LabMutants,
}

/// Whether oscillators have been further apart than the model allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    is_off: bool,
}

const MORNING: Micros = Micros(1_000_000);
const TICK: Micros = Micros(1_000);
/// The stream of chance from which clocks are drawn.
const CLOCKS: u64 = 0x636c_6f63;

const GOALS: &[Goal<Explorable<Synchronisation>>] = &[
    ("a clock is set by a round trip of four ticks", |cluster| {
        let mut applied = cluster.states().filter_map(Clock::applied);
        !cluster.history().is_off && applied.any(|sample| sample.round_trip.0 == 4 * TICK.0)
    }),
    ("the error is half of a round trip of four ticks", |cluster| {
        let server = cluster.state(0).shows().0;
        let is_off_by_half = |clock: &Clock| {
            let is_slow = clock.applied().is_some_and(|sample| sample.round_trip.0 == 4 * TICK.0);
            is_slow && (clock.shows().0 - server).abs() == 2 * TICK.0
        };
        !cluster.history().is_off && cluster.states().any(is_off_by_half)
    }),
];

/// How far apart the clocks of these nodes are.
fn apart(cluster: &Snapshot<'_, Explorable<Synchronisation>>, nodes: Range<usize>) -> i64 {
    let shown = || nodes.clone().map(|node| cluster.state(node).shows().0);
    shown().max().unwrap_or(0) - shown().min().unwrap_or(0)
}

/// What comes of questions to a server, while clocks stand.
const SERVED: &[Eventually<Explorable<Synchronisation>>] = &[Eventually {
    name: "convergence: n2's clock comes to show what n1's does, once it has asked",
    after: Some(|cluster| cluster.state(1).is_waiting()),
    comes: |cluster| !cluster.state(1).is_waiting() && apart(cluster, 0..2) == 0,
}];

/// What comes of a master's questions, while clocks stand. Averages are rounded.
const MASTERED: &[Eventually<Explorable<Synchronisation>>] = &[Eventually {
    name: "convergence: all clocks come to show the same, once n1 has asked",
    after: Some(|cluster| cluster.state(0).is_waiting()),
    comes: |cluster| !cluster.state(0).is_waiting() && apart(cluster, 0..3) <= 3,
}];

const SET: &[Goal<Explorable<Synchronisation>>] =
    &[("a clock is set twice", |cluster| cluster.states().any(|clock| clock.times_set() == 2))];

impl Synchronisation {
    /// How far apart two clocks may drift in some time by their own reckoning.
    fn drift(&self, elapsed: Micros) -> i64 {
        2 * self.drift_most * elapsed.0 / 1_000_000 + i64::from(self.drift_most > 0)
    }

    /// How far a client may be from its server, by its own knowledge; none if it was never set by one.
    fn granted(&self, clock: &Clock) -> Option<i64> {
        let sample = clock.applied()?;
        let since_question = Micros(clock.oscillator().0 - sample.at.0 + sample.round_trip.0);
        let whole = sample.round_trip.0 / 2 + self.drift(since_question) + 2 * TICK.0;
        Some(whole * self.bound / 100)
    }

    /// How far apart any two clocks may be in the end.
    fn close(&self) -> i64 {
        let since = Micros(9 * self.every.as_micros() as i64 + 10 * self.delay.0);
        2 * self.delay.0 + 2 * self.drift(since) + 4 * TICK.0
    }
}

fn spread(members: &Members<'_, Clock>) -> i64 {
    let shown = || members.live().map(|(_, clock)| clock.shows().0);
    shown().max().unwrap_or(0) - shown().min().unwrap_or(0)
}

impl Exhibit for Synchronisation {
    type Protocol = Clock;
    type History = History;

    const ABOUT: About = About {
        name: "clock_sync",
        family: Family::Clock,
        path: "crates/protocols/src/clock/synchronisation.rs",
        source: include_str!("../../../../protocols/src/clock/synchronisation.rs"),
        claims: &[
            Claim {
                name: "half_the_round_trip",
                what: "A clock that was set by a server's is off it by no more than half of the round trip, and the drift since.",
            },
            Claim { name: "convergence", what: "In the end all clocks are close to each other." },
        ],
        mutants: &[
            Mutant {
                name: "ignores_rtt",
                what: "Takes the time in an answer for the time of its arrival.",
                breaks: "half_the_round_trip",
                setup: "",
            },
            Mutant {
                name: "adjusts_the_wrong_way",
                what: "The master tells the others to go back when they are behind.",
                breaks: "convergence",
                setup: "way=1",
            },
        ],
        knobs: &[
            Knob {
                name: "way",
                what: "how clocks are set: 0 Cristian's, 1 Berkeley's, 2 NTP's filter",
                min: 0,
                max: 2,
                usual: 0,
            },
            Knob {
                name: "spread",
                what: "how far apart clocks are at the start, at the most, in ms",
                min: 0,
                max: 100_000,
                usual: 500,
            },
            Knob {
                name: "drift",
                what: "by how much oscillators are fast or slow, at the most, in parts per million",
                min: 0,
                max: 100_000,
                usual: 200,
            },
            Knob {
                name: "every",
                what: "the time between two questions, in ms",
                min: 10,
                max: 100_000,
                usual: 100,
            },
            Knob {
                name: "bound",
                what: "how much of the claimed bound is granted, in hundredths",
                min: 1,
                max: 100,
                usual: 100,
            },
            Knob {
                name: "within",
                what: "1 if runs go unjudged once one oscillator is two ticks before another: for explorations, in which they tick as they please",
                min: 0,
                max: 1,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "a_server_is_asked",
                what: "n2 and n3 ask n1 for the time, and add half of the round trip.",
                setup: "nodes=3&asks=n2@10,n3@20&delay=8-8&drift=0&every=1000&lasts=60",
                expected: Expected::Holds,
            },
            Scenario {
                name: "a_master_averages",
                what: "n1 asks n2 and n3 for their time, and tells each by how much it is off the average of all three.",
                setup: "nodes=3&way=1&asks=n1@10&delay=8-8&drift=0&every=1000&lasts=60",
                expected: Expected::Holds,
            },
            Scenario {
                name: "asymmetric_delay",
                what: "The question takes long and the answer doesn't: n2 is off by nearly half of the round trip, and no more.",
                setup: "nodes=2&seed=1&asks=n2@10&delay=1-1&drift=0&every=1000&lasts=300&faults=clog:200@5+8",
                expected: Expected::Holds,
            },
            Scenario {
                name: "no_better_bound",
                what: "The same if only 85 hundredths of the bound were granted: it can't be claimed any tighter.",
                setup: "nodes=2&seed=1&asks=n2@10&delay=1-1&drift=0&every=1000&lasts=300&faults=clog:200@5+8&bound=85",
                expected: Expected::Breaks("half_the_round_trip"),
            },
        ],
        curves: &[Curve {
            name: "error_and_drift",
            what: "How far apart clocks are in the end, against the drift of their oscillators, where messages take from 1 to 40 ms: the filter is best as long as its old samples are good, and worst once they have drifted.",
            vary: "drift",
            x: "drift, ppm",
            values: &[0, 1_000, 10_000, 100_000],
            measure: "spread_ms",
            y: "furthest apart, ms",
            lines: &[
                Line { label: "Cristian", setup: "way=0&requests=20&lasts=1500&delay=1-40" },
                Line { label: "Berkeley", setup: "way=1&requests=20&lasts=1500&delay=1-40" },
                Line { label: "filter", setup: "way=2&requests=20&lasts=1500&delay=1-40" },
            ],
            seeds: 20,
            holds: stays_close,
        }],
        is_in_production: false,
        status: include_str!("../../../status/clock_sync.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 6,
            lasts_ms: 500,
            patience_ms: 3_000,
            loss: 10,
            duplicates: 10,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name);
        let mut rng = Rng::for_purpose(setup.seed, CLOCKS);
        let most = knob("spread") * 1_000 / TICK.0;
        let starts =
            setup.ids().map(|_| Micros(MORNING.0 + rng.below(most as u64 + 1) as i64 * TICK.0));
        let starts = starts.collect();
        let drift_most = knob("drift");
        let drifts =
            setup.ids().map(|_| rng.below(2 * drift_most as u64 + 1) as i64 - drift_most).collect();
        let way = match knob("way") {
            0 => Way::Cristian,
            1 => Way::Berkeley,
            _ => Way::Filter,
        };
        Ok(Synchronisation {
            nodes: setup.nodes,
            way,
            starts,
            drifts,
            drift_most,
            every: Duration::from_millis(knob("every") as u64),
            delay: Micros(setup.delay_ms.1 as i64 * 1_000),
            bound: knob("bound"),
            is_within: knob("within") == 1,
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        let place = me.0 as usize - 1;
        let nanos = TICK.0 * 1_000 * 1_000_000 / (1_000_000 + self.drifts[place]);
        let tick = Duration::from_nanos(nanos as u64);
        Config {
            me,
            nodes: (1..=self.nodes).map(NodeId).collect(),
            way: self.way,
            starts_at: self.starts[place],
            tick_step: TICK,
            tick: tick..tick,
            every: self.every..self.every,
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, node: NodeId) -> Vec<Sync> {
        let is_first = node == NodeId(1);
        if is_first == (self.way == Way::Berkeley) { vec![Sync] } else { Vec::new() }
    }

    fn observe(
        &self,
        members: &Members<'_, Clock>,
        _: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        if self.is_within {
            let gone = || {
                let since = |(clock, start): (&Clock, &Micros)| clock.oscillator().0 - start.0;
                members.live().map(|(_, clock)| clock).zip(&self.starts).map(since)
            };
            let apart = gone().max().unwrap_or(0) - gone().min().unwrap_or(0);
            history.is_off |= apart > TICK.0;
        }
        let server = members.state(NodeId(1)).filter(|_| !history.is_off);
        let Some(server) = server else { return Ok(()) };
        for (node, clock) in members.live().filter(|(node, _)| *node != NodeId(1)) {
            let error = Micros((clock.shows().0 - server.shows().0).abs());
            if let Some(granted) = self.granted(clock).filter(|granted| error.0 > *granted) {
                let granted = Micros(granted);
                let what = format!("{node} is off by {error:?}, of {granted:?} granted");
                return Err(Broken::new("half_the_round_trip", what));
            }
        }
        Ok(())
    }

    fn settled(&self, members: &Members<'_, Clock>, _: &History) -> Result<(), Broken> {
        let (spread, close) = (Micros(spread(members)), Micros(self.close()));
        if spread > close {
            let what = format!("clocks are {spread:?} apart, and should be within {close:?}");
            return Err(Broken::new("convergence", what));
        }
        let is_by_server = self.way != Way::Berkeley;
        let is_due = |(node, clock): &(NodeId, &Clock)| {
            clock.times_set() == 0 && !(is_by_server && *node == NodeId(1))
        };
        match members.live().find(is_due) {
            Some((node, _)) => {
                Err(Broken::new("convergence", format!("{node}'s clock was never set")))
            }
            None => Ok(()),
        }
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, (questions, ticks), breaks| Scope {
            what,
            setup,
            bounds: Bounds { requests: questions, ..Bounds::default() },
            timers: vec![(Timer::Tick, ticks)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: &[],
        };
        vec![
            scope("one question, fourteen ticks", "nodes=2&drift=0&within=1", (1, 14), None),
            scope(
                "two questions and the filter, nine ticks",
                "nodes=2&drift=0&within=1&way=2",
                (2, 9),
                None,
            ),
            scope(
                "half of the bound",
                "nodes=2&drift=0&within=1&bound=50",
                (1, 14),
                Some("half_the_round_trip"),
            ),
            Scope {
                timers: Vec::new(),
                goals: SET,
                awaited: SERVED,
                ..scope("two questions while clocks stand", "nodes=3&drift=0", (2, 0), None)
            },
            Scope {
                timers: Vec::new(),
                goals: SET,
                awaited: MASTERED,
                ..scope("the same of a master", "nodes=3&drift=0&way=1", (2, 0), None)
            },
        ]
    }

    fn measures(&self, members: &Members<'_, Clock>, _: &History) -> Vec<(&'static str, f64)> {
        vec![("spread_ms", spread(members) as f64 / 1e3)]
    }
}

/// Without drift the filter is better than its newest sample; with a great one it is worse; and clocks that are half a second
/// apart at the start never stay so.
fn stays_close(lines: &[Points]) -> Result<(), String> {
    let [cristian, _, filter] = lines else { return Err("there are three ways".to_owned()) };
    if let Some((drift, spread)) = lines.iter().flatten().find(|(_, spread)| *spread > 200.0) {
        return Err(format!("clocks are {spread} ms apart with a drift of {drift} ppm"));
    }
    let (first, last) = (0, filter.len() - 1);
    if filter[first].1 >= cristian[first].1 {
        return Err("the filter is no better without drift".to_owned());
    }
    if filter[last].1 <= cristian[last].1 {
        return Err("the filter doesn't suffer from drift".to_owned());
    }
    Ok(())
}

#[cfg(test)]
crate::show::shown!(Synchronisation);
