//! The network between nodes and services: what becomes of each message, from the seed.
//!
//! Each directed link has a stream of chance of its own, from which every message takes as many draws whatever happens
//! to it: the k-th message from `n1` to `n2` is lost, or takes so long, in every run of a seed, however the others
//! behave. Partitions are drawn ahead, as spans of time since the faults began. Messages of one link may overtake
//! each other, and some arrive twice if that is asked for. Clients sit beside their nodes: their links are no part of this.
//!
//! A partition cuts nodes from nodes. Services can be reached from both sides, but what is said to them is delayed and
//! lost as everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use quorate_sim::{Ppm, Rng};

use crate::address::{Address, NodeIndex, Service};

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct NetworkMix {
    /// How often a message is lost.
    pub loss: Ppm,
    /// How long a message takes on the average; each takes from nothing to twice as long.
    pub latency: Duration,
    /// How often a message that arrives does so twice.
    pub duplicates: Ppm,
    /// Whether partitions come and go.
    pub has_partitions: bool,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives {
        /// So much later.
        after: Duration,
        /// And once more, so much later.
        again: Option<Duration>,
    },
    /// It is lost by chance.
    Lost,
    /// A partition is in the way.
    Cut,
}

/// One partition: for a while, what the ones say doesn't reach the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From when to when, since the faults began.
    pub span: Range<Duration>,
    /// Those on one side.
    pub side: BTreeSet<NodeIndex>,
    /// Whether the side still hears the others, and only isn't heard.
    pub is_one_way: bool,
}

impl Partition {
    fn cuts(&self, from: NodeIndex, to: NodeIndex, at: Duration) -> bool {
        let (speaker, hearer) = (self.side.contains(&from), self.side.contains(&to));
        self.span.contains(&at) && speaker != hearer && (speaker || !self.is_one_way)
    }
}

/// What the network did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that nodes and services sent each other.
    pub sent: u64,
    /// Of these, lost by chance.
    pub lost: u64,
    /// Of these, stopped by a partition.
    pub cut: u64,
    /// Of these, delivered twice.
    pub duplicated: u64,
    /// Of these, come to a node that was not there to hear them.
    pub unheard: u64,
}

/// The links, and what is wrong with them.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    mix: NetworkMix,
    partitions: Vec<Partition>,
    links: BTreeMap<(Address, Address), Rng>,
    faults_began: Option<Duration>,
    is_healed: bool,
    tally: Tally,
}

/// How long a partition lasts, and how long until the next: long enough for what waits to give up now and then, and
/// short enough for several in a few seconds.
const SPAN: Range<Duration> = Duration::from_millis(300)..Duration::from_millis(2_000);

const PURPOSE_PARTITIONS: u64 = 1;
const PURPOSE_LINKS: u64 = 1 << 40;

impl Network {
    /// The network of a seed for so many nodes, with faults for so long.
    pub fn new(seed: u64, mix: NetworkMix, nodes: u16, faults_last: Duration) -> Self {
        let partitions = match mix.has_partitions && nodes > 1 {
            true => draw_partitions(seed, nodes, faults_last),
            false => Vec::new(),
        };
        Network {
            seed,
            mix,
            partitions,
            links: BTreeMap::new(),
            faults_began: None,
            is_healed: false,
            tally: Tally::default(),
        }
    }

    /// From now on partitions come and go.
    pub fn begin_faults(&mut self, now: Duration) {
        self.faults_began = Some(now);
    }

    /// From now on nothing is lost or cut. Messages still take their time.
    pub fn heal(&mut self) {
        self.is_healed = true;
    }

    /// The partitions of this run.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What becomes of the next message of a link that is sent now.
    pub fn send(&mut self, from: Address, to: Address, now: Duration) -> Fate {
        let seed = self.seed;
        let purpose = || PURPOSE_LINKS | place(from) << 20 | place(to);
        let rng = self.links.entry((from, to)).or_insert_with(|| Rng::for_purpose(seed, purpose()));
        let is_unlucky = rng.below(1_000_000) < u64::from(self.mix.loss.0);
        let latency = Duration::ZERO..self.mix.latency * 2;
        let after = rng.duration(&latency);
        let again = match self.mix.duplicates {
            Ppm::NEVER => None,
            often => {
                let (draw, after) = (rng.below(1_000_000), rng.duration(&latency));
                (draw < u64::from(often.0)).then_some(after)
            }
        };
        let is_cut = match (from, to, self.faults_began) {
            (Address::Node(from), Address::Node(to), Some(began)) => {
                let at = now.saturating_sub(began);
                self.partitions.iter().any(|partition| partition.cuts(from, to, at))
            }
            _ => false,
        };
        self.tally.sent += 1;
        // A node that speaks to itself doesn't go through the network's wires.
        if self.is_healed || from == to {
            return Fate::Arrives { after, again: None };
        }
        if is_cut {
            self.tally.cut += 1;
            return Fate::Cut;
        }
        if is_unlucky {
            self.tally.lost += 1;
            return Fate::Lost;
        }
        self.tally.duplicated += u64::from(again.is_some());
        Fate::Arrives { after, again }
    }

    /// A message has come to a node that is not there to hear it.
    pub fn unheard(&mut self) {
        self.tally.unheard += 1;
    }
}

/// A number for each end of a link, below 2^20.
fn place(address: Address) -> u64 {
    match address {
        Address::Node(node) => u64::from(node.0),
        Address::Service(service) => {
            let index = Service::ALL.iter().position(|known| *known == service);
            (1 << 16) + index.expect("all services are listed") as u64
        }
        Address::Client(_) => unreachable!("clients are beside their nodes"),
    }
}

fn draw_partitions(seed: u64, nodes: u16, faults_last: Duration) -> Vec<Partition> {
    let mut rng = Rng::for_purpose(seed, PURPOSE_PARTITIONS);
    let mut partitions = Vec::new();
    // The first comes soon: a short run shall have one.
    let mut start = rng.duration(&(Duration::ZERO..SPAN.start));
    while start < faults_last {
        let end = start + rng.duration(&SPAN);
        let mut order: Vec<NodeIndex> = NodeIndex::all(nodes).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, rng.below(last as u64 + 1) as usize);
        }
        let size = match rng.below(2) {
            0 => 1,
            _ => usize::from(nodes) / 2,
        };
        let side = order.into_iter().take(size).collect();
        partitions.push(Partition { span: start..end, side, is_one_way: rng.below(4) == 0 });
        start = end + rng.duration(&SPAN);
    }
    partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::Node(NodeIndex(0));
    const B: Address = Address::Node(NodeIndex(1));

    fn network(seed: u64, has_partitions: bool) -> Network {
        let mix = NetworkMix {
            loss: Ppm::percent(30),
            latency: Duration::from_millis(10),
            duplicates: Ppm::percent(10),
            has_partitions,
        };
        Network::new(seed, mix, 5, Duration::from_secs(10))
    }

    #[test]
    fn a_message_of_a_link_meets_the_same_fate_whatever_goes_over_other_links() {
        let (mut alone, mut among_others) = (network(7, false), network(7, false));
        for round in 0..200 {
            for other in 2..5 {
                for _ in 0..round % 3 {
                    among_others.send(A, Address::Node(NodeIndex(other)), Duration::ZERO);
                    among_others.send(B, A, Duration::ZERO);
                    among_others.send(A, Address::Service(Service::SeqKv), Duration::ZERO);
                }
            }
            let at = Duration::from_millis(round);
            assert_eq!(alone.send(A, B, at), among_others.send(A, B, Duration::ZERO));
        }
    }

    #[test]
    fn as_many_are_lost_or_come_twice_as_was_asked_for_until_the_network_heals() {
        let mut network = network(1, false);
        for _ in 0..10_000 {
            network.send(A, B, Duration::ZERO);
        }
        let lost = network.tally().lost;
        assert!((2_800..3_200).contains(&lost), "{lost} of 10000 at 30 %");
        let twice = network.tally().duplicated;
        assert!((600..800).contains(&twice), "{twice} of the 7000 that arrive, at 10 %");
        network.heal();
        for _ in 0..100 {
            let Fate::Arrives { after, again: None } = network.send(A, B, Duration::ZERO) else {
                panic!("lost, or sent twice")
            };
            assert!(after < Duration::from_millis(20));
        }
    }

    #[test]
    fn a_partition_cuts_its_sides_from_each_other_for_its_span() {
        let mut network = network(3, true);
        let partition = network.partitions()[0].clone();
        let inside = *partition.side.first().expect("somebody");
        let outside = NodeIndex::all(5).find(|node| !partition.side.contains(node)).expect("one");
        network.begin_faults(Duration::from_secs(5));
        let during = Duration::from_secs(5) + partition.span.start;
        let fate = network.send(Address::Node(inside), Address::Node(outside), during);
        assert_eq!(fate, Fate::Cut);
        let after = Duration::from_secs(5) + partition.span.end;
        let fate = network.send(Address::Node(inside), Address::Node(outside), after);
        assert_ne!(fate, Fate::Cut);
        let fate = network.send(Address::Node(inside), Address::Service(Service::LinKv), during);
        assert_ne!(fate, Fate::Cut);
    }

    #[test]
    fn a_one_way_partition_lets_the_side_hear() {
        let side: BTreeSet<NodeIndex> = [NodeIndex(0)].into();
        let partition = Partition { span: Duration::ZERO..SPAN.end, side, is_one_way: true };
        assert!(partition.cuts(NodeIndex(0), NodeIndex(1), Duration::ZERO));
        assert!(!partition.cuts(NodeIndex(1), NodeIndex(0), Duration::ZERO));
    }

    #[test]
    fn partitions_come_early_and_again_and_differ_from_seed_to_seed() {
        for seed in 0..20 {
            let partitions = network(seed, true).partitions().to_vec();
            assert!(partitions.len() > 1);
            assert!(partitions[0].span.start < SPAN.start);
            assert!(partitions.windows(2).all(|two| two[0].span.end < two[1].span.start));
            assert_ne!(partitions, network(seed + 1, true).partitions());
        }
        assert!(network(1, false).partitions().is_empty());
    }
}
