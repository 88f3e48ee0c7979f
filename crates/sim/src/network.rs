//! The network: what becomes of a message on its way.
//!
//! Links are directed, one from each node to each other. A link may be cut several times over, by partitions that
//! overlap, and carries again once every cut has ended. A connection has a number that a reset raises: what was on
//! its way under the old number is lost, as with a real connection.

use std::ops::Range;
use std::time::Duration;

use crate::counters::Counters;
use crate::rng::{Ppm, Rng};
use crate::time::Time;

/// How the network behaves when no particular fault is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkMix {
    /// How long a message takes.
    pub delay: Range<Duration>,
    /// How often a message takes much longer.
    pub spike: Ppm,
    /// How much longer.
    pub spike_delay: Range<Duration>,
    /// How often a message is lost.
    pub loss: Ppm,
    /// How often a message arrives twice.
    pub duplicate: Ppm,
    /// Whether a link delivers in the order of sending, as one TCP connection does.
    pub in_order: bool,
}

impl NetworkMix {
    /// A network without faults.
    pub fn calm() -> Self {
        NetworkMix {
            delay: Duration::from_micros(100)..Duration::from_micros(300),
            spike: Ppm::NEVER,
            spike_delay: Duration::ZERO..Duration::ZERO,
            loss: Ppm::NEVER,
            duplicate: Ppm::NEVER,
            in_order: false,
        }
    }

    /// A network of the seed's own.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let base =
            rng.duration_by_magnitude(&(Duration::from_micros(20)..Duration::from_millis(10)));
        let jitter = base * *rng.pick(&[1, 2, 5, 20]);
        let spike_end =
            rng.duration_by_magnitude(&(Duration::from_millis(20)..Duration::from_secs(2)));
        NetworkMix {
            delay: base..base + jitter,
            spike: *rng.pick(&[Ppm::NEVER, Ppm(1_000), Ppm(10_000), Ppm::percent(5)]),
            spike_delay: Duration::from_millis(5)..spike_end,
            loss: *rng.pick(&[Ppm::NEVER, Ppm(1_000), Ppm::percent(2), Ppm::percent(10)]),
            duplicate: *rng.pick(&[Ppm::NEVER, Ppm(1_000), Ppm::percent(2), Ppm::percent(10)]),
            in_order: rng.happens(Ppm::percent(30)),
        }
    }
}

/// The state of one directed link.
#[derive(Clone, Default)]
struct Link {
    cuts: u32,
    connection: u32,
    latest_arrival: Time,
}

/// Why a message does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Lost,
    Cut,
}

/// A passage over a link: when it arrives, and under which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) at: Time,
    pub(crate) connection: u32,
}

/// All links, and the weather on them.
pub(crate) struct Network {
    nodes: usize,
    links: Vec<Link>,
    mix: NetworkMix,
    /// The spells that are on: the fault each belongs to, and its strength.
    loss_spells: Vec<(u32, Ppm)>,
    clogs: Vec<(u32, Duration)>,
}

impl Network {
    pub(crate) fn new(nodes: usize, mix: NetworkMix) -> Self {
        let links = vec![Link::default(); nodes * nodes];
        Network { nodes, links, mix, loss_spells: Vec::new(), clogs: Vec::new() }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from * self.nodes + to]
    }

    /// Decides what becomes of a message that leaves `from` for `to` now.
    pub(crate) fn carry(
        &mut self,
        (from, to): (usize, usize),
        now: Time,
        rng: &mut Rng,
        counters: &mut Counters,
    ) -> Result<Passage, Dropped> {
        if self.link(from, to).cuts > 0 {
            counters.cut += 1;
            return Err(Dropped::Cut);
        }
        let spell = self.loss_spells.iter().map(|(_, loss)| *loss).max().unwrap_or(Ppm::NEVER);
        if rng.happens(self.mix.loss.max(spell)) {
            counters.lost += 1;
            return Err(Dropped::Lost);
        }
        let mut delay = rng.duration(&self.mix.delay);
        if rng.happens(self.mix.spike) {
            counters.spikes += 1;
            delay += rng.duration(&self.mix.spike_delay);
        }
        if let Some((_, clog)) = self.clogs.iter().max_by_key(|(_, extra)| *extra) {
            delay += rng.duration(&(Duration::ZERO..*clog));
        }
        let in_order = self.mix.in_order;
        let link = self.link(from, to);
        let mut at = now + delay;
        if at < link.latest_arrival {
            if in_order {
                at = link.latest_arrival;
            } else {
                counters.reordered += 1;
            }
        }
        link.latest_arrival = link.latest_arrival.max(at);
        Ok(Passage { at, connection: link.connection })
    }

    /// Whether the network sends a second copy after a message.
    #[inline]
    pub(crate) fn duplicates(&self, rng: &mut Rng) -> bool {
        rng.happens(self.mix.duplicate)
    }

    /// Whether a message that was sent under that connection still arrives.
    #[inline]
    pub(crate) fn arrives(&self, from: usize, to: usize, connection: u32) -> bool {
        let link = &self.links[from * self.nodes + to];
        link.cuts == 0 && link.connection == connection
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.link(from, to).cuts += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        let link = self.link(from, to);
        assert!(link.cuts > 0, "a link is mended that was not cut");
        link.cuts -= 1;
    }

    /// Loses what is on its way between two nodes.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        self.link(a, b).connection += 1;
        self.link(b, a).connection += 1;
    }

    pub(crate) fn begin_loss(&mut self, fault: u32, loss: Ppm) {
        self.loss_spells.push((fault, loss));
    }

    pub(crate) fn begin_clog(&mut self, fault: u32, extra: Duration) {
        self.clogs.push((fault, extra));
    }

    /// Ends the spell of that fault.
    pub(crate) fn end_spell(&mut self, fault: u32) {
        self.loss_spells.retain(|(of, _)| *of != fault);
        self.clogs.retain(|(of, _)| *of != fault);
    }

    /// Makes every link carry, once and quickly: progress is demanded, and no protocol makes any on a network that is
    /// slower than its timeouts. What is on its way still arrives when it would have.
    pub(crate) fn heal(&mut self) {
        for link in &mut self.links {
            link.cuts = 0;
        }
        self.loss_spells.clear();
        self.clogs.clear();
        self.mix = NetworkMix { in_order: self.mix.in_order, ..NetworkMix::calm() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(change: impl FnOnce(&mut NetworkMix)) -> (Network, Rng, Counters) {
        let mut mix = NetworkMix::calm();
        change(&mut mix);
        (Network::new(3, mix), Rng::new(7), Counters::default())
    }

    #[test]
    fn a_link_carries_again_once_every_cut_has_ended() {
        let (mut network, mut rng, mut counters) = network(|_| {});
        network.cut(0, 1);
        network.cut(0, 1);
        network.mend(0, 1);
        let dropped = network.carry((0, 1), Time::ZERO, &mut rng, &mut counters);
        assert_eq!(dropped, Err(Dropped::Cut));
        assert!(network.carry((1, 0), Time::ZERO, &mut rng, &mut counters).is_ok(), "one way only");
        network.mend(0, 1);
        assert!(network.carry((0, 1), Time::ZERO, &mut rng, &mut counters).is_ok());
    }

    #[test]
    fn a_reset_loses_what_is_on_its_way_and_nothing_later() {
        let (mut network, mut rng, mut counters) = network(|_| {});
        let before = network.carry((0, 1), Time::ZERO, &mut rng, &mut counters).expect("carried");
        network.reset(1, 0);
        let after = network.carry((0, 1), Time::ZERO, &mut rng, &mut counters).expect("carried");
        assert!(!network.arrives(0, 1, before.connection));
        assert!(network.arrives(0, 1, after.connection));
    }

    #[test]
    fn messages_overtake_each_other_unless_links_keep_order() {
        for in_order in [false, true] {
            let (mut network, mut rng, mut counters) = network(|mix| mix.in_order = in_order);
            let arrivals: Vec<Time> = (0..100)
                .map(|_| network.carry((0, 1), Time::ZERO, &mut rng, &mut counters))
                .map(|carried| carried.expect("carried").at)
                .collect();
            assert_eq!(arrivals.is_sorted(), in_order);
            assert_eq!(counters.reordered == 0, in_order);
        }
    }

    #[test]
    fn a_healed_network_loses_repeats_and_delays_nothing() {
        let (mut network, mut rng, mut counters) = network(|mix| {
            mix.loss = Ppm::percent(50);
            mix.duplicate = Ppm::percent(50);
            mix.delay = Duration::from_secs(1)..Duration::from_secs(2);
        });
        network.cut(0, 1);
        network.begin_loss(0, Ppm::percent(100));
        network.begin_clog(1, Duration::from_secs(9));
        network.heal();
        for _ in 0..100 {
            let passage = network.carry((0, 1), Time::ZERO, &mut rng, &mut counters);
            assert!(passage.expect("carried").at < Time::ZERO + Duration::from_micros(300));
            assert!(!network.duplicates(&mut rng));
        }
    }
}
