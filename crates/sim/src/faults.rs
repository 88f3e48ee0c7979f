//! Faults: what each seed inflicts, and when.
//!
//! A seed first draws a mix: how its network, disks and clocks behave all the time, and which faults it inflicts how
//! often. From the mix it draws a schedule: a plain list of faults with their times, made before the run begins, so
//! that a failing run can be run again with parts of the list taken out.
//!
//! Bounds keep runs meaningful: a kind of fault strikes about every 200 ms at the most, lasts for three seconds at
//! the most, and a schedule has no more than [`FAULTS_MAX`] entries. Disks keep what they promised to keep, unless the
//! plan's bounds allow for more.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::NodeId;

use crate::disk::{DiskMix, Ruin};
use crate::network::NetworkMix;
use crate::rng::{Ppm, Rng};
use crate::time::Time;
use crate::wire::Version;

/// The most faults that a schedule has.
pub const FAULTS_MAX: usize = 400;

/// How long a fault lasts. The shortest are of the order of a message, the longest outlast any election.
const LASTS: Range<Duration> = Duration::from_millis(1)..Duration::from_secs(3);

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node stops, and boots again later.
    Crash {
        /// The node.
        node: NodeId,
        /// How long it is down.
        down: Duration,
        /// Whether it strikes when the node next writes, after its records were handed to the disk and before they
        /// are durable: where mistakes with durability hide.
        mid_write: bool,
    },
    /// All nodes stop at once, as when the power fails.
    Blackout {
        /// How long they are down at the most; each boots at a time of its own.
        down: Duration,
    },
    /// A node does nothing for a while, and then everything at once.
    Pause {
        /// The node.
        node: NodeId,
        /// How long.
        lasts: Duration,
    },
    /// A node takes long for each turn.
    Slow {
        /// The node.
        node: NodeId,
        /// How long it is slow.
        lasts: Duration,
        /// How long a turn waits at the most.
        turn: Duration,
    },
    /// Nothing passes between one side and the other.
    Partition {
        /// One side. The other is everybody else.
        side: Vec<NodeId>,
        /// How long.
        lasts: Duration,
    },
    /// Nothing that one side sends reaches the other, which is heard well.
    OneWay {
        /// The side that is not heard.
        unheard: Vec<NodeId>,
        /// How long.
        lasts: Duration,
    },
    /// A link is cut and mended, again and again.
    Flap {
        /// The ends of the link.
        ends: (NodeId, NodeId),
        /// How long a cut lasts, and the time between two.
        period: Duration,
        /// How long the link flaps.
        lasts: Duration,
    },
    /// Many messages are lost.
    Loss {
        /// How many.
        loss: Ppm,
        /// How long.
        lasts: Duration,
    },
    /// Messages take long.
    Clog {
        /// How much longer at the most.
        extra: Duration,
        /// How long.
        lasts: Duration,
    },
    /// A connection is reset: what is on its way is lost, and both ends may hear of it.
    Reset {
        /// The ends of the connection.
        ends: (NodeId, NodeId),
    },
    /// A node is told that it lost a peer, without cause.
    FalseAlarm {
        /// Who is told.
        node: NodeId,
        /// Whom it is said to have lost.
        peer: NodeId,
    },
    /// A node's disk completes no sync.
    Stall {
        /// The node.
        node: NodeId,
        /// How long.
        lasts: Duration,
    },
    /// The next sync of a node's disk fails, which ends its process.
    FailSync {
        /// The node.
        node: NodeId,
        /// How long the node is down then.
        down: Duration,
    },
    /// A node stops, and reads of its disk fail when it boots again.
    BadReads {
        /// The node.
        node: NodeId,
        /// How many reads fail.
        times: u32,
        /// How long the node is down.
        down: Duration,
    },
    /// A node's disk has no room for more.
    FullDisk {
        /// The node.
        node: NodeId,
        /// How long.
        lasts: Duration,
    },
    /// A node's clock jumps. All that it shows are its timers: they fire earlier, some at once, or later.
    ClockJump {
        /// The node.
        node: NodeId,
        /// Whether the clock jumps ahead.
        is_ahead: bool,
        /// How far.
        by: Duration,
    },
    /// A node's disk is ruined, and the node crashes and boots from what is left. Nothing happens as long as another
    /// node has not recovered from the same, or if a minority of all nodes has had its share.
    Ruin {
        /// The node.
        node: NodeId,
        /// What ruins it.
        ruin: Ruin,
        /// When the node crashes, if it has not done so before.
        after: Duration,
        /// How long it is down then.
        down: Duration,
    },
    /// A node is stopped and goes on as another version. Nothing happens if it is of that version.
    ChangeVersion {
        /// The node.
        node: NodeId,
        /// The version.
        to: Version,
        /// How long the node is down.
        down: Duration,
    },
}

impl Fault {
    /// How long the network or a disk suffers from it; none if it strikes a process, or only once.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        match self {
            Fault::Partition { lasts, .. }
            | Fault::OneWay { lasts, .. }
            | Fault::Flap { lasts, .. }
            | Fault::Loss { lasts, .. }
            | Fault::Clog { lasts, .. }
            | Fault::FullDisk { lasts, .. } => Some(*lasts),
            Fault::Crash { .. }
            | Fault::Blackout { .. }
            | Fault::Pause { .. }
            | Fault::Slow { .. }
            | Fault::Reset { .. }
            | Fault::FalseAlarm { .. }
            | Fault::Stall { .. }
            | Fault::FailSync { .. }
            | Fault::BadReads { .. }
            | Fault::ClockJump { .. }
            | Fault::Ruin { .. }
            | Fault::ChangeVersion { .. } => None,
        }
    }
}

/// A fault at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its place in the schedule that the seed drew, which names it even after others were taken out.
    pub index: u32,
    /// When it strikes.
    pub at: Time,
    /// What it is.
    pub fault: Fault,
}

/// The kinds of fault, as a mix switches them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crash,
    Blackout,
    Pause,
    Slow,
    Partition,
    OneWay,
    Flap,
    Loss,
    Clog,
    Reset,
    FalseAlarm,
    Stall,
    FailSync,
    BadReads,
    FullDisk,
    ClockJump,
    Ruin(Ruin),
    ChangeVersion,
}

/// What ruins a disk.
const RUINS: [Ruin; 5] = [Ruin::Rot, Ruin::Misdirected, Ruin::Phantom, Ruin::OldCopy, Ruin::Wiped];

/// The kinds that every run may have.
const KINDS: [Kind; 16] = [
    Kind::Crash,
    Kind::Blackout,
    Kind::Pause,
    Kind::Slow,
    Kind::Partition,
    Kind::OneWay,
    Kind::Flap,
    Kind::Loss,
    Kind::Clog,
    Kind::Reset,
    Kind::FalseAlarm,
    Kind::Stall,
    Kind::FailSync,
    Kind::BadReads,
    Kind::FullDisk,
    Kind::ClockJump,
];

/// How a run behaves throughout, and which faults it schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultMix {
    /// The network.
    pub network: NetworkMix,
    /// The disks.
    pub disk: DiskMix,
    /// How far a node's clock runs fast or slow at the most.
    pub drift: Ppm,
    /// How often each of those who lost a connection is told so.
    pub hints: Ppm,
    /// How often a node lingers before a turn, so that inputs gather.
    pub linger: Ppm,
    /// How long it lingers at the most.
    pub linger_max: Duration,
    /// How many inputs a node takes in one turn at the most.
    pub batch_max: usize,
    /// Whether messages are encoded on their way, where the simulation was told how.
    pub wire: bool,
    /// The mean time between two faults of a kind, for the kinds that are on.
    mean_gaps: Vec<(Kind, Duration)>,
}

impl FaultMix {
    /// No faults at all.
    pub fn calm() -> Self {
        FaultMix {
            network: NetworkMix::calm(),
            disk: DiskMix::calm(),
            drift: Ppm::NEVER,
            hints: Ppm::NEVER,
            linger: Ppm::NEVER,
            linger_max: Duration::ZERO,
            batch_max: 64,
            wire: false,
            mean_gaps: Vec::new(),
        }
    }

    /// A mix of the seed's own.
    pub fn draw(rng: &mut Rng) -> Self {
        // Some runs are quiet but for one or two kinds, others have all at once: a fault that needs peace and
        // quiet to do harm, and one that needs company, are both given their chance.
        let likelihood = *rng.pick(&[Ppm::percent(15), Ppm::percent(40), Ppm::percent(80)]);
        let gaps = Duration::from_millis(200)..Duration::from_secs(10);
        let mut mean_gaps = Vec::new();
        for kind in KINDS {
            if rng.happens(likelihood) {
                mean_gaps.push((kind, rng.duration_by_magnitude(&gaps)));
            }
        }
        FaultMix {
            network: NetworkMix::draw(rng),
            disk: DiskMix::draw(rng),
            drift: *rng.pick(&[Ppm::NEVER, Ppm(500), Ppm::percent(1), Ppm::percent(10)]),
            hints: *rng.pick(&[Ppm::NEVER, Ppm::percent(50), Ppm::percent(100)]),
            linger: *rng.pick(&[Ppm::NEVER, Ppm::percent(1), Ppm::percent(20)]),
            linger_max: *rng.pick(&[Duration::from_micros(50), Duration::from_millis(2)]),
            batch_max: *rng.pick(&[1, 4, 64, 1024]),
            wire: false,
            mean_gaps,
        }
    }

    /// Adds what ruins disks, some of it in some runs.
    pub(crate) fn lose_memory(&mut self, rng: &mut Rng) {
        // A node has to recover before the next one may be struck: more than a few would find no victim.
        let gaps = Duration::from_millis(500)..Duration::from_secs(10);
        for ruin in RUINS {
            if rng.happens(Ppm::percent(40)) {
                self.mean_gaps.push((Kind::Ruin(ruin), rng.duration_by_magnitude(&gaps)));
            }
        }
    }

    /// Has messages encoded, and nodes change their version: so often that all do within a run, or so seldom that most
    /// of the run is of two versions.
    pub(crate) fn mix_versions(&mut self, rng: &mut Rng) {
        let gaps = Duration::from_millis(200)..Duration::from_secs(3);
        self.wire = true;
        self.mean_gaps.push((Kind::ChangeVersion, rng.duration_by_magnitude(&gaps)));
    }

    /// The schedule of faults for a phase of that length, in the order of their times.
    pub(crate) fn schedule(&self, nodes: usize, phase: Duration, rng: &mut Rng) -> Vec<Scheduled> {
        let mut timed: Vec<(Time, Fault)> = Vec::new();
        for (kind, gap) in &self.mean_gaps {
            let mut at = Time::ZERO;
            loop {
                at = at + rng.duration(&(Duration::ZERO..*gap * 2));
                if at.since_start() >= phase {
                    break;
                }
                timed.extend(kind.draw(nodes, rng).map(|fault| (at, fault)));
            }
        }
        timed.sort_by_key(|(at, _)| *at);
        timed.truncate(FAULTS_MAX);
        let numbered = timed.into_iter().zip(0..);
        numbered.map(|((at, fault), index)| Scheduled { index, at, fault }).collect()
    }
}

impl Kind {
    /// A fault of this kind; none if the cluster is too small for it.
    fn draw(self, nodes: usize, rng: &mut Rng) -> Option<Fault> {
        let node = NodeId(rng.below(nodes as u64) + 1);
        let lasts = rng.duration_by_magnitude(&LASTS);
        Some(match self {
            Kind::Crash => {
                Fault::Crash { node, down: lasts, mid_write: rng.happens(Ppm::percent(60)) }
            }
            Kind::Blackout => Fault::Blackout { down: lasts },
            Kind::Pause => Fault::Pause { node, lasts },
            Kind::Slow => {
                let turns = Duration::from_micros(100)..Duration::from_millis(50);
                Fault::Slow { node, lasts, turn: rng.duration_by_magnitude(&turns) }
            }
            Kind::Partition => Fault::Partition { side: side(nodes, rng)?, lasts },
            Kind::OneWay => Fault::OneWay { unheard: side(nodes, rng)?, lasts },
            Kind::Flap => {
                let periods = Duration::from_millis(2)..Duration::from_millis(200);
                let period = rng.duration_by_magnitude(&periods);
                Fault::Flap { ends: two(nodes, rng)?, period, lasts }
            }
            Kind::Loss => Fault::Loss { loss: Ppm::percent(rng.within(10..60) as u32), lasts },
            Kind::Clog => {
                let extras = Duration::from_millis(10)..Duration::from_secs(1);
                Fault::Clog { extra: rng.duration_by_magnitude(&extras), lasts }
            }
            Kind::Reset => Fault::Reset { ends: two(nodes, rng)? },
            Kind::FalseAlarm => {
                let (node, peer) = two(nodes, rng)?;
                Fault::FalseAlarm { node, peer }
            }
            Kind::Stall => Fault::Stall { node, lasts },
            Kind::FailSync => Fault::FailSync { node, down: lasts },
            Kind::BadReads => Fault::BadReads { node, times: rng.within(1..6) as u32, down: lasts },
            Kind::FullDisk => Fault::FullDisk { node, lasts },
            Kind::ClockJump => {
                Fault::ClockJump { node, is_ahead: rng.happens(Ppm::percent(50)), by: lasts }
            }
            Kind::Ruin(ruin) => {
                let after = rng.duration_by_magnitude(&LASTS);
                Fault::Ruin { node, ruin, after, down: lasts }
            }
            Kind::ChangeVersion => {
                let to = *rng.pick(&[Version::Next, Version::Next, Version::This]);
                Fault::ChangeVersion { node, to, down: lasts }
            }
        })
    }
}

/// Two different nodes.
fn two(nodes: usize, rng: &mut Rng) -> Option<(NodeId, NodeId)> {
    let others = (nodes as u64).checked_sub(1).filter(|others| *others > 0)?;
    let a = rng.below(nodes as u64);
    let b = (a + 1 + rng.below(others)) % nodes as u64;
    Some((NodeId(a + 1), NodeId(b + 1)))
}

/// Some nodes, but not all.
fn side(nodes: usize, rng: &mut Rng) -> Option<Vec<NodeId>> {
    if nodes < 2 {
        return None;
    }
    let mut all: Vec<NodeId> = (1..=nodes as u64).map(NodeId).collect();
    for place in 0..nodes {
        let other = rng.within(place as u64..nodes as u64) as usize;
        all.swap(place, other);
    }
    all.truncate(rng.within(1..nodes as u64) as usize);
    all.sort_unstable();
    Some(all)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Crash { node, down, mid_write: false } => write!(f, "crash {node} for {down:?}"),
            Fault::Crash { node, down, mid_write: true } => {
                write!(f, "crash {node} at its next write for {down:?}")
            }
            Fault::Blackout { down } => write!(f, "crash all for up to {down:?}"),
            Fault::Pause { node, lasts } => write!(f, "pause {node} for {lasts:?}"),
            Fault::Slow { node, lasts, turn } => {
                write!(f, "slow {node} by up to {turn:?} a turn for {lasts:?}")
            }
            Fault::Partition { side, lasts } => write!(f, "cut off {} for {lasts:?}", List(side)),
            Fault::OneWay { unheard, lasts } => write!(f, "mute {} for {lasts:?}", List(unheard)),
            Fault::Flap { ends: (a, b), period, lasts } if period >= lasts => {
                write!(f, "cut {a}–{b} for {lasts:?}")
            }
            Fault::Flap { ends: (a, b), period, lasts } => {
                write!(f, "flap {a}–{b} every {period:?} for {lasts:?}")
            }
            Fault::Loss { loss, lasts } => {
                write!(f, "lose {} % for {lasts:?}", f64::from(loss.0) / 10_000.0)
            }
            Fault::Clog { extra, lasts } => write!(f, "delay by up to {extra:?} for {lasts:?}"),
            Fault::Reset { ends: (a, b) } => write!(f, "reset {a}–{b}"),
            Fault::FalseAlarm { node, peer } => write!(f, "tell {node} that it lost {peer}"),
            Fault::Stall { node, lasts } => write!(f, "stall the disk of {node} for {lasts:?}"),
            Fault::FailSync { node, down } => {
                write!(f, "fail the next sync of {node}, down for {down:?}")
            }
            Fault::BadReads { node, times, down } => {
                write!(f, "misread the disk of {node} {times} times after {down:?}")
            }
            Fault::FullDisk { node, lasts } => write!(f, "fill the disk of {node} for {lasts:?}"),
            Fault::ClockJump { node, is_ahead, by } => {
                let whither = if *is_ahead { "ahead" } else { "back" };
                write!(f, "jump the clock of {node} {whither} by {by:?}")
            }
            Fault::Ruin { node, ruin, after, down } => {
                write!(f, "ruin the disk of {node} ({ruin}), crash within {after:?} for {down:?}")
            }
            Fault::ChangeVersion { node, to, down } => {
                write!(f, "restart {node} as {to} after {down:?}")
            }
        }
    }
}

impl fmt::Display for Ruin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ruin::Rot => "rot",
            Ruin::Misdirected => "a misdirected write",
            Ruin::Phantom => "a phantom write",
            Ruin::OldCopy => "an older copy",
            Ruin::Wiped => "wiped",
        })
    }
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault {}: {}", self.at, self.index, self.fault)
    }
}

/// Nodes, with commas.
struct List<'a>(&'a [NodeId]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, node) in self.0.iter().enumerate() {
            write!(f, "{}{node}", if place > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Bounds, Plan};

    fn schedule(seed: u64, nodes: usize) -> Vec<Scheduled> {
        let mut rng = Rng::new(seed);
        FaultMix::draw(&mut rng).schedule(nodes, Duration::from_secs(20), &mut rng)
    }

    #[test]
    fn a_seed_always_draws_the_same_schedule_in_order_and_within_its_bounds() {
        for seed in 0..200 {
            let drawn = schedule(seed, 5);
            assert_eq!(drawn, schedule(seed, 5));
            assert!(drawn.is_sorted_by_key(|scheduled| scheduled.at));
            assert!(drawn.len() <= FAULTS_MAX);
            assert!(drawn.iter().all(|scheduled| scheduled.at.since_start().as_secs() < 20));
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn_by_some_seed() {
        let mut drawn = std::collections::BTreeSet::new();
        for fault in (0..50).flat_map(|seed| schedule(seed, 3)) {
            drawn.insert(fault.fault.to_string().split(' ').next().map(str::to_owned));
        }
        // Crashes of one, at a write, and of all begin with the same word.
        assert_eq!(drawn.len(), KINDS.len() - 1, "{drawn:?}");
    }

    #[test]
    fn versions_change_only_where_they_are_mixed_and_shift_no_other_fault() {
        let draw = |is_mixed: bool| {
            let bounds = Bounds { mixed_versions: is_mixed, ..Bounds::default() };
            let plans = (0..20).map(move |seed| Plan::draw(seed, &bounds).faults);
            plans.map(|faults| faults.into_iter().map(|scheduled| (scheduled.at, scheduled.fault)))
        };
        let mut changes = 0;
        for (mixed, pure) in draw(true).zip(draw(false)) {
            let is_change =
                |(_, fault): &(Time, Fault)| matches!(fault, Fault::ChangeVersion { .. });
            let (changed, others): (Vec<_>, Vec<_>) = mixed.partition(is_change);
            changes += changed.len();
            assert_eq!(others, pure.collect::<Vec<_>>());
        }
        assert!(changes > 50, "{changes} changes in 20 runs");
    }

    #[test]
    fn a_partition_has_somebody_on_each_side_and_a_link_has_two_ends() {
        let mut rng = Rng::new(3);
        for nodes in 2..8 {
            for _ in 0..100 {
                let side = side(nodes, &mut rng).expect("two nodes can be parted");
                assert!((1..nodes).contains(&side.len()));
                let (a, b) = two(nodes, &mut rng).expect("two nodes make a link");
                assert!(a != b && (1..=nodes as u64).contains(&b.0));
            }
        }
        assert_eq!((side(1, &mut rng), two(1, &mut rng)), (None, None));
    }
}
