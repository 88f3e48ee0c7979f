//! TrueTime and its commit wait on show.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_core::{LabMutants, NodeId};
use quorate_explore::{Bounds, Eventually, Goal, Syncs, UNBOUNDED};
use quorate_protocols::clock::truetime::{self, Begin, Config, Moment, Timer};
use quorate_sim::Rng;

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line, Points};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct TrueTime {
    /// What each node's clock shows at the start.
    starts: Vec<u64>,
    epsilon_ms: u64,
    wait_ms: u64,
    /// How much of a hundred the first node's clock is fast.
    fast: u64,
    /// Whether runs are left unjudged from when clocks are further apart than the model allows.
    is_within: bool,
    /// What clocks show at the most.
    ends_at: Moment,
    mutants: LabMutants,
}

/// The end of time in explorations, in milliseconds after the start: the knob `ends`.
const ENDS_MS: u64 = 6;

/// Whether a node has a transaction that is to commit before time ends: with an epsilon of 1 ms, that is when its clock shows
/// 2 ms more than the timestamp.
fn waits_before_the_end(state: &truetime::TrueTime) -> bool {
    let mut pending = state.transactions().values().filter(|it| it.took_ms.is_none());
    pending.any(|it| it.timestamp.0 + 2 <= MORNING_MS + ENDS_MS)
}

const AWAITED: &[Eventually<Explorable<TrueTime>>] = &[
    Eventually {
        name: "commits: what n1 begins in time commits",
        after: Some(|cluster| waits_before_the_end(cluster.state(0))),
        comes: |cluster| !waits_before_the_end(cluster.state(0)),
    },
    Eventually {
        name: "commits: what n2 begins in time commits",
        after: Some(|cluster| waits_before_the_end(cluster.state(1))),
        comes: |cluster| !waits_before_the_end(cluster.state(1)),
    },
];

const COMMITS: &[Goal<Explorable<TrueTime>>] =
    &[("a transaction has committed", |cluster| cluster.history().newest.is_some())];

/// What has been committed and begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// The transaction with the greatest timestamp of those that have committed.
    newest: Option<(Moment, NodeId)>,
    /// How many transactions have begun at each node.
    begun: BTreeMap<NodeId, u64>,
    /// Clocks have been further apart than the model allows.
    is_off: bool,
}

/// The true time at the start.
const MORNING_MS: u64 = 1_000;
/// The stream of chance from which the errors of clocks are drawn.
const CLOCKS: u64 = 0x636c_6f63;

const GOALS: &[Goal<Explorable<TrueTime>>] = &[
    ("a transaction began after another had committed", |cluster| {
        let mut nodes = cluster.states().map(|state| state.transactions().values());
        let history = cluster.history();
        let committed = history.newest.map(|(timestamp, _)| timestamp);
        let is_later = |timestamp| !history.is_off && Some(timestamp) > committed;
        committed.is_some() && nodes.any(|mut all| all.any(|it| is_later(it.timestamp)))
    }),
    ("the clocks are as far apart as they may be", |cluster| {
        let clocks = || cluster.states().map(|state| state.clock().0);
        let apart = clocks().max().unwrap_or(0) - clocks().min().unwrap_or(0);
        !cluster.history().is_off && apart == 2
    }),
];

impl Exhibit for TrueTime {
    type Protocol = truetime::TrueTime;
    type History = History;

    const ABOUT: About = About {
        name: "truetime",
        family: Family::Clock,
        path: "crates/protocols/src/clock/truetime.rs",
        source: include_str!("../../../../protocols/src/clock/truetime.rs"),
        claims: &[
            Claim {
                name: "external_consistency",
                what: "A transaction that begins after another has committed has the greater timestamp.",
            },
            Claim { name: "commits", what: "In the end every transaction has committed." },
        ],
        mutants: &[
            Mutant {
                name: "no_commit_wait",
                what: "Commits as soon as a majority has a copy.",
                breaks: "external_consistency",
                setup: "epsilon=20",
            },
            Mutant {
                name: "takes_the_earliest",
                what: "Takes for a timestamp the earliest that it may be, not the latest.",
                breaks: "external_consistency",
                setup: "epsilon=20",
            },
            Mutant {
                name: "sends_once",
                what: "Doesn't send its writes again when too few have answered.",
                breaks: "commits",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "epsilon",
                what: "how wrong a clock may be, in ms; at least a tick",
                min: 1,
                max: 1_000,
                usual: 5,
            },
            Knob {
                name: "wait",
                what: "how long transactions wait, in hundredths of 2 epsilon",
                min: 0,
                max: 200,
                usual: 100,
            },
            Knob {
                name: "fast",
                what: "how many of a hundred ticks n1's oscillator is fast, which the model does not allow",
                min: 0,
                max: 400,
                usual: 0,
            },
            Knob {
                name: "worst",
                what: "1 if clocks are as wrong as they may be, n1's ahead and the others behind; 0 if the seed says how wrong",
                min: 0,
                max: 1,
                usual: 0,
            },
            Knob {
                name: "within",
                what: "1 if runs go unjudged once clocks are further apart than 2 epsilon, since the model excludes them: for explorations, in which oscillators tick as they please",
                min: 0,
                max: 1,
                usual: 0,
            },
            Knob {
                name: "ends",
                what: "after how many ms clocks stand still, so that explorations may let them tick for ever; 0 if they go on",
                min: 0,
                max: 1_000_000,
                usual: 0,
            },
        ],
        scenarios: &[
            Scenario {
                name: "one_after_the_other",
                what: "n1's clock is 20 ms ahead, n2's 20 ms behind. n1's transaction waits for 40 ms, and n2's, which begins then, is stamped later.",
                setup: "epsilon=20&worst=1&asks=n1@5,n2@50&delay=5-5&lasts=60",
                expected: Expected::Holds,
            },
            Scenario {
                name: "commit_wait_left_out",
                what: "The same without the wait: n1's client is answered after a round trip, and n2 stamps the next transaction earlier.",
                setup: "epsilon=20&worst=1&wait=0&asks=n1@5,n2@30&delay=5-5&lasts=60",
                expected: Expected::Breaks("external_consistency"),
            },
            Scenario {
                name: "half_a_wait",
                what: "Half of the wait doesn't do: n2's transaction begins 25 ms after n1's.",
                setup: "epsilon=20&worst=1&wait=50&asks=n1@5,n2@30&delay=5-5&lasts=60",
                expected: Expected::Breaks("external_consistency"),
            },
            Scenario {
                name: "one_bad_oscillator",
                what: "n1's clock gains a tenth, which nobody knows: after a second it is 120 ms ahead, and no wait of 40 ms makes up for that.",
                setup: "epsilon=20&worst=1&fast=10&asks=n1@1000,n2@1050&delay=5-5&lasts=1100",
                expected: Expected::Breaks("external_consistency"),
            },
        ],
        curves: &[Curve {
            name: "latency_and_uncertainty",
            what: "How long a transaction takes, against the uncertainty of clocks: the longer of 2 epsilon and the copies' round trip, since it waits for both at once.",
            vary: "epsilon",
            x: "epsilon, ms",
            values: &[1, 5, 10, 20, 40],
            measure: "latency_ms",
            y: "latency, ms",
            lines: &[
                Line { label: "5 ms to a copy", setup: "requests=5&lasts=300&delay=5-5" },
                Line { label: "20 ms to a copy", setup: "requests=5&lasts=300&delay=20-20" },
            ],
            seeds: 5,
            holds: is_the_longer_of_both,
        }],
        is_in_production: false,
        status: include_str!("../../../status/truetime.txt"),
    };

    fn setup() -> Setup {
        Setup {
            requests: 12,
            lasts_ms: 300,
            patience_ms: 3_000,
            loss: 20,
            duplicates: 20,
            partitions: 1,
            ..Setup::default()
        }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name) as u64;
        let epsilon_ms = knob("epsilon");
        let mut rng = Rng::for_purpose(setup.seed, CLOCKS);
        // What a clock shows is up to a tick old, so the error at the start lies above −ε by one.
        let least = MORNING_MS + 1 - epsilon_ms;
        let start = |node: NodeId, rng: &mut Rng| match (knob("worst") == 1, node) {
            (true, NodeId(1)) => MORNING_MS + epsilon_ms,
            (true, _) => least,
            (false, _) => least + rng.below(MORNING_MS + epsilon_ms - least + 1),
        };
        let starts = setup.ids().map(|node| start(node, &mut rng)).collect();
        Ok(TrueTime {
            starts,
            epsilon_ms,
            wait_ms: 2 * epsilon_ms * knob("wait") / 100,
            fast: knob("fast"),
            is_within: knob("within") == 1,
            ends_at: match knob("ends") {
                0 => Moment(u64::MAX),
                ends => Moment(MORNING_MS + ends),
            },
            mutants,
        })
    }

    fn config(&self, me: NodeId) -> Config {
        let nodes = self.starts.len() as u64;
        let fast = if me == NodeId(1) { self.fast } else { 0 };
        let tick = Duration::from_nanos(100_000_000 / (100 + fast));
        Config {
            me,
            others: (1..=nodes).map(NodeId).filter(|node| *node != me).collect(),
            starts_at: Moment(self.starts[me.0 as usize - 1]),
            ends_at: self.ends_at,
            tick_ms: 1,
            tick: tick..tick,
            epsilon_ms: self.epsilon_ms,
            wait_ms: self.wait_ms,
            patience: Duration::from_millis(100)..Duration::from_millis(150),
            mutants: self.mutants,
        }
    }

    fn requests(&self, _: u32, _: NodeId) -> Vec<Begin> {
        vec![Begin]
    }

    fn observe(
        &self,
        members: &Members<'_, truetime::TrueTime>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        if self.is_within {
            let clocks = || members.live().map(|(_, state)| state.clock().0);
            let apart = clocks().max().unwrap_or(0) - clocks().min().unwrap_or(0);
            // Some true time is within ε of every clock as long as no two are further apart than this.
            history.is_off |= apart > 2 * self.epsilon_ms;
        }
        let Some(state) = members.state(moved).filter(|_| !history.is_off) else { return Ok(()) };
        let begun = history.begun.entry(moved).or_default();
        for (number, transaction) in state.transactions().range(*begun + 1..) {
            *begun = *number;
            let timestamp = transaction.timestamp;
            if let Some((before, node)) = history.newest.filter(|(before, _)| timestamp <= *before)
            {
                let what = format!(
                    "{moved} begins a transaction at {timestamp:?}, and one of {node} at {before:?} has committed"
                );
                return Err(Broken::new("external_consistency", what));
            }
        }
        let committed = state.transactions().values().filter(|it| it.took_ms.is_some());
        let newest = committed.map(|transaction| (transaction.timestamp, moved)).max();
        history.newest = history.newest.max(newest);
        Ok(())
    }

    fn settled(
        &self,
        members: &Members<'_, truetime::TrueTime>,
        _: &History,
    ) -> Result<(), Broken> {
        for (node, state) in members.live() {
            let mut all = state.transactions().iter();
            if let Some((number, _)) = all.find(|(_, transaction)| transaction.took_ms.is_none()) {
                let what = format!("transaction {number} of {node} has not committed");
                return Err(Broken::new("commits", what));
            }
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, setup, breaks| Scope {
            what,
            setup,
            bounds: Bounds { crashes: 0, repeats: 0, requests: 2, hints: 0 },
            timers: vec![(Timer::Tick, 8)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks,
            goals: GOALS,
            awaited: &[],
        };
        let endless = |what, setup, breaks| Scope {
            bounds: Bounds { crashes: 0, repeats: 0, requests: 1, hints: 0 },
            timers: vec![(Timer::Tick, UNBOUNDED), (Timer::Retry, UNBOUNDED)],
            goals: COMMITS,
            awaited: AWAITED,
            ..scope(what, setup, breaks)
        };
        vec![
            scope(
                "two transactions, epsilon a tick, eight ticks in any order within it",
                "nodes=2&epsilon=1&worst=1&within=1",
                None,
            ),
            scope(
                "a wait that is one tick short of 2 epsilon",
                "nodes=2&epsilon=1&worst=1&within=1&wait=50",
                Some("external_consistency"),
            ),
            endless(
                "one transaction, and clocks that tick for ever but show no more than six ticks",
                "nodes=2&epsilon=1&worst=1&within=1&ends=6",
                None,
            ),
            endless(
                "two nodes that are cut off from each other for good",
                "nodes=2&epsilon=1&worst=1&within=1&ends=6&faults=cut:n1@0+1000",
                Some("commits"),
            ),
        ]
    }

    fn cost(nodes: u64) -> Option<(f64, u64)> {
        Some((2.0, 2 * (nodes - 1)))
    }

    fn measures(
        &self,
        members: &Members<'_, truetime::TrueTime>,
        _: &History,
    ) -> Vec<(&'static str, f64)> {
        let all = members.live().flat_map(|(_, state)| state.transactions().values());
        let took: Vec<f64> = all.filter_map(|it| it.took_ms).map(|took| took as f64).collect();
        if took.is_empty() {
            return Vec::new();
        }
        vec![("latency_ms", took.iter().sum::<f64>() / took.len() as f64)]
    }
}

/// The longer of 2ε and a round trip, give or take two ticks.
fn is_the_longer_of_both(lines: &[Points]) -> Result<(), String> {
    for (points, round_trip) in lines.iter().zip([10.0, 40.0]) {
        for (epsilon, latency) in points {
            let expected = f64::max(2.0 * epsilon, round_trip);
            if (latency - expected).abs() > 2.0 {
                return Err(format!(
                    "{latency} ms with an epsilon of {epsilon} ms, for {expected}"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
crate::show::shown!(TrueTime);
