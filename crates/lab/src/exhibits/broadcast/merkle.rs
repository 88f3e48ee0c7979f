//! Merkle anti-entropy on show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_core::{LabMutants, NodeId, RequestId};
use quorate_explore::{Bounds, Goal, Syncs};
use quorate_protocols::broadcast::merkle::{Config, Key, MerkleReplica, Round, Stamp};

use crate::about::{About, Claim, Family, Knob, Mutant};
use crate::curve::{Curve, Line};
use crate::exhibit::{Broken, Exhibit, Members, Scope};
use crate::explored::Explorable;
use crate::scenario::{Expected, Scenario};
use crate::setup::Setup;

pub(crate) struct Merkle {
    nodes: Vec<NodeId>,
    depth: u32,
    /// How many keys one request writes.
    writes: u32,
    mutants: LabMutants,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Every key that anybody may have written.
    keys: BTreeSet<Key>,
    /// The newest that clients were told is written.
    promised: BTreeMap<Key, Stamp>,
}

const GOALS: &[Goal<Explorable<Merkle>>] = &[
    ("both have what one wrote", |cluster| {
        cluster.states().all(|node| node.entries().iter().any(|entry| entry.stamp.count > 0))
    }),
    ("a key that both wrote is the same", |cluster| {
        let second = |entry: &quorate_protocols::broadcast::merkle::Entry| entry.value == 2;
        cluster.states().all(|node| node.entries().iter().any(second))
    }),
];

impl Merkle {
    /// What a request writes. Every other one writes again what the one before it did.
    fn keys(&self, asked: u32) -> Vec<Key> {
        let first = asked / 2 * self.writes;
        // An odd factor takes different numbers to different keys, all over the tree.
        let key = |number: u32| Key((number + 1).wrapping_mul(0x9e37_79b1) % (1 << self.depth));
        (first..first + self.writes).map(key).collect()
    }
}

impl Exhibit for Merkle {
    type Protocol = MerkleReplica;
    type History = History;

    const ABOUT: About = About {
        name: "merkle_anti_entropy",
        family: Family::Broadcast,
        path: "crates/protocols/src/broadcast/merkle.rs",
        source: include_str!("../../../../protocols/src/broadcast/merkle.rs"),
        claims: &[
            Claim {
                name: "convergence",
                what: "Once nobody writes, all replicas come to be the same.",
            },
            Claim {
                name: "no_loss",
                what: "They come to have what clients were told is written, or something newer.",
            },
            Claim {
                name: "thrift",
                what: "No message speaks of more than two places for each key that was ever written.",
            },
        ],
        mutants: &[
            Mutant {
                name: "leaf_ignores_the_value",
                what: "The hash of a leaf is that of its key: all trees are the same.",
                breaks: "convergence",
                setup: "",
            },
            Mutant {
                name: "the_last_to_come_wins",
                what: "Takes what comes, even if it is older than what it has.",
                breaks: "no_loss",
                setup: "",
            },
            Mutant {
                name: "descends_everywhere",
                what: "Goes down the whole tree, whether digests differ or not.",
                breaks: "thrift",
                setup: "",
            },
        ],
        knobs: &[
            Knob {
                name: "depth",
                what: "the levels of the tree below its root: two to that power is the number of keys",
                min: 0,
                max: 20,
                usual: 6,
            },
            Knob {
                name: "writes",
                what: "how many keys one request writes",
                min: 1,
                max: 4096,
                usual: 1,
            },
        ],
        scenarios: &[
            Scenario {
                name: "one_key_of_many_differs",
                what: "One key of 65,536 was written at n1: sixteen messages go down to it.",
                setup: "nodes=2&asks=n1@0&depth=16&delay=1-1&lasts=0",
                expected: Expected::Holds,
            },
            Scenario {
                name: "both_wrote_the_same_key",
                what: "Two replicas of four keys wrote one of them at the same time; both come to have n2's, whose name is the greater.",
                setup: "nodes=2&asks=n1@0,n2@0&depth=2&delay=1-1&lasts=10",
                expected: Expected::Holds,
            },
        ],
        curves: &[
            Curve {
                name: "bytes_by_size",
                what: "Bytes until two replicas are the same, by the size of the store: from 16 keys to 65,536 they grow as the levels do.",
                vary: "depth",
                x: "levels of the tree",
                values: &[4, 7, 10, 13, 16],
                measure: "bytes",
                y: "bytes",
                lines: &[
                    Line { label: "1 key differs", setup: TWO },
                    Line { label: "8 keys differ", setup: TWO_8 },
                ],
                seeds: 3,
                holds: |lines| {
                    for (points, differing) in lines.iter().zip([1.0, 8.0]) {
                        for (depth, bytes) in points {
                            // What one exchange down to so many leaves may take.
                            let most = 12.0 * (1.0 + 2.0 * differing * depth) + 56.0 * differing;
                            if !(24.0 * depth..=most).contains(bytes) {
                                return Err(format!(
                                    "{bytes} bytes for {differing} keys, {depth} levels down"
                                ));
                            }
                        }
                    }
                    Ok(())
                },
            },
            Curve {
                name: "bytes_by_difference",
                what: "Bytes until two replicas of 65,536 keys are the same, by how many of them differ.",
                vary: "writes",
                x: "keys that differ",
                values: &[1, 4, 16, 64, 256],
                measure: "bytes",
                y: "bytes",
                lines: &[Line { label: "65,536 keys", setup: TWO }],
                seeds: 1,
                holds: |lines| {
                    for (differing, bytes) in lines.iter().flatten() {
                        let each = bytes / differing;
                        // Eight levels and an entry at the least; what all sixteen take at the most.
                        if !(24.0 * 8.0..=12.0 * 33.0 + 56.0).contains(&each) {
                            return Err(format!("{each} bytes for each of {differing} keys"));
                        }
                    }
                    Ok(())
                },
            },
        ],
        is_in_production: false,
        status: include_str!("../../../status/merkle_anti_entropy.txt"),
    };

    fn setup() -> Setup {
        Setup { requests: 6, loss: 10, crashes: 2, partitions: 1, ..Setup::default() }
    }

    fn new(setup: &Setup, mutants: LabMutants) -> Result<Self, String> {
        let knob = |name| setup.knob(&Self::ABOUT, name) as u32;
        let (depth, writes) = (knob("depth"), knob("writes"));
        Ok(Merkle { nodes: setup.ids().collect(), depth, writes, mutants })
    }

    fn config(&self, me: NodeId) -> Config {
        let ms = Duration::from_millis;
        let nodes = self.nodes.clone();
        Config { me, nodes, depth: self.depth, period: ms(200)..ms(400), mutants: self.mutants }
    }

    fn requests(&self, asked: u32, _: NodeId) -> Vec<(Vec<Key>, u64)> {
        vec![(self.keys(asked), u64::from(asked) + 1)]
    }

    fn observe(
        &self,
        members: &Members<'_, MerkleReplica>,
        moved: NodeId,
        history: &mut History,
    ) -> Result<(), Broken> {
        let Some(node) = members.state(moved) else { return Ok(()) };
        history.keys.extend(node.written());
        let allowed = (2 * history.keys.len() as u64).max(1);
        if node.longest() > allowed {
            let what = format!(
                "{moved} spoke of {} places, and {} keys were written",
                node.longest(),
                history.keys.len()
            );
            return Err(Broken::new("thrift", what));
        }
        Ok(())
    }

    fn answered(
        &self,
        _: NodeId,
        _: RequestId,
        written: &Vec<(Key, Stamp)>,
        history: &mut History,
    ) -> Result<(), Broken> {
        for (key, stamp) in written {
            let newest = history.promised.entry(*key).or_default();
            *newest = (*newest).max(*stamp);
        }
        Ok(())
    }

    fn settled(
        &self,
        members: &Members<'_, MerkleReplica>,
        history: &History,
    ) -> Result<(), Broken> {
        let mut live = members.live();
        let Some((one, first)) = live.next() else { return Ok(()) };
        for (other, node) in live {
            let mut both = (0..).zip(first.entries().iter().zip(node.entries()));
            if first.entries() != node.entries()
                && let Some((key, (ours, theirs))) = both.find(|(_, (ours, theirs))| ours != theirs)
            {
                let what = format!("{one} has {ours:?} under k{key}, and {other} {theirs:?}");
                return Err(Broken::new("convergence", what));
            }
        }
        for (key, promised) in &history.promised {
            let has = first.entries().get(key.0 as usize).map(|entry| entry.stamp);
            if has < Some(*promised) {
                let what = format!("of {key:?}, what was written at {promised:?} is gone");
                return Err(Broken::new("no_loss", what));
            }
        }
        Ok(())
    }

    fn scopes() -> Vec<Scope<Self>> {
        let scope = |what, bounds, rounds| Scope {
            what,
            setup: "nodes=2&depth=2",
            bounds,
            timers: vec![(Round, rounds)],
            syncs: Syncs::EachTurn,
            is_symmetric: false,
            breaks: None,
            goals: GOALS,
            awaited: &[],
        };
        vec![scope(
            "two writes of one key of four, two rounds",
            Bounds { requests: 2, ..Bounds::default() },
            2,
        )]
    }

    fn measures(
        &self,
        members: &Members<'_, MerkleReplica>,
        _: &History,
    ) -> Vec<(&'static str, f64)> {
        vec![("bytes", members.live().map(|(_, node)| node.bytes() as f64).sum())]
    }
}

/// Two replicas, of which the first writes once, and a network that brings an exchange to its end before the next begins.
const TWO: &str = "nodes=2&asks=n1@0&delay=1-1&lasts=0&depth=16";
const TWO_8: &str = "nodes=2&asks=n1@0&delay=1-1&lasts=0&writes=8";

#[cfg(test)]
crate::show::shown!(Merkle);
