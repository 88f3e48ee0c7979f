//! Phi accrual failure detector: how suspect a node is, as a number that grows with its silence.
//!
//! Source: Hayashibara, Défago, Yared and Katayama, "The φ accrual failure detector", 2004.
//! Model: crash and recovery; partially synchronous, delays have a distribution that changes slowly.
//! Safety: tracking, while delays are distributed as before nobody who is up comes to be suspected, whether they are spread
//! much or little; completeness, whoever is down is suspected by all who are up.
//! Liveness: eventual accuracy, once all is well everybody is trusted. Needs: heartbeats that arrive. They are numbered without
//! end, so it is judged by seeds.
//! Departures: the tail of the normal distribution is approximated, see `phi`; time is counted in ticks of a timer; a window
//! begins with two guesses, and anew when its node has started again; deviation is taken for one tick at least.
//! Omitted: several thresholds on one level, for applications that act more and less cautiously.
//! Cost: n(n − 1) messages an interval, and a window of arrivals for each node that is listened to.
//! Boundary: what was learnt says nothing of a network that changes at once: the first slow heartbeats of a sudden noon look
//! like a crash (the trace `noon_comes_too_suddenly`).
//! Read next: `phi`, then `Window`, then the trace `slow_network_at_noon`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// What a node knows before it starts. Times are in ticks.
#[derive(Clone, Debug)]
pub struct Config {
    /// All nodes but this one.
    pub peers: Vec<NodeId>,
    /// How long a tick is.
    pub tick: Duration,
    /// The time between two heartbeats.
    pub interval: u64,
    /// The level above which a node is suspected: at 1 a tenth of the decisions would be mistakes, at 2 a hundredth, and so
    /// on, were arrivals normally distributed.
    pub threshold: f64,
    /// How many arrivals the distribution is taken from.
    pub window: usize,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// I am alive: since which boot, and how often this has been said since.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beat {
    /// How often its sender has started.
    pub boot: u64,
    /// Its number.
    pub number: u64,
}

impl fmt::Debug for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Beat({}.{})", self.boot, self.number)
    }
}

/// The clock of a node ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick;

/// A node has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Started;

/// The level of suspicion: `−log10` of the probability that a normal variable is more than `deviations` above its mean.
///
/// The paper integrates. That takes functions that are not the same to the last bit everywhere, so here is a parabola, which
/// the logarithm of a normal tail nearly is; it is within 5 % up to 8 deviations. Below the mean, where the exact level falls
/// from 0.3 to 0 and nobody sets a threshold, is a curve that falls as well.
pub fn phi(deviations: f64) -> f64 {
    /// `log10(2)`: half of all arrivals are later than the mean.
    const AT_MEAN: f64 = 0.301;
    let square = deviations * deviations;
    if deviations < 0.0 {
        AT_MEAN / (1.0 - 1.15 * deviations + 1.85 * square)
    } else {
        AT_MEAN + 0.33 * deviations + 0.19 * square
    }
}

/// The last times between arrivals. All integers, so that states compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Window {
    gaps: VecDeque<u64>,
    sum: u64,
    sum_of_squares: u64,
}

impl Window {
    /// Before anything has arrived: the interval, give or take a half.
    fn new(interval: u64) -> Self {
        let mut window = Window { gaps: VecDeque::new(), sum: 0, sum_of_squares: 0 };
        window.push(interval - interval / 2, 2);
        window.push(interval + interval / 2, 2);
        window
    }

    fn push(&mut self, gap: u64, size: usize) {
        self.gaps.push_back(gap);
        self.sum += gap;
        self.sum_of_squares += gap * gap;
        while self.gaps.len() > size.max(2) {
            let Some(oldest) = self.gaps.pop_front() else { return };
            self.sum -= oldest;
            self.sum_of_squares -= oldest * oldest;
        }
    }

    /// By how many deviations a silence is longer than the mean.
    fn deviations(&self, config: &Config, silence: u64) -> f64 {
        let count = self.gaps.len() as u64;
        let mean = self.sum as f64 / count as f64;
        // By Cauchy and Schwarz this is not negative, and it is exact.
        let spread = count * self.sum_of_squares - self.sum * self.sum;
        let variance = spread as f64 / (count * count) as f64;
        let deviation = if config.mutants.has("assumes_fixed_variance") {
            1.0
        } else {
            variance.sqrt().max(1.0)
        };
        (silence as f64 - mean) / deviation
    }
}

/// What a node knows of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Peer {
    /// The newest heartbeat that was heard.
    newest: Option<Beat>,
    /// When it arrived; before the first, when we started.
    heard_at: u64,
    window: Window,
    is_suspected: bool,
}

/// A node that beats and listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PhiAccrual {
    boot: u64,
    beats: u64,
    /// Ticks since the start.
    now: u64,
    peers: BTreeMap<NodeId, Peer>,
}

impl PhiAccrual {
    /// Ticks since this node started.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whom it believes to be down.
    pub fn suspected(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.is_suspected).map(|(node, _)| *node)
    }

    /// Interpretation: the level of each node is looked at whenever the clock ticks.
    fn on_tick(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.now.is_multiple_of(config.interval) {
            self.beats += 1;
            let beat = Beat { boot: self.boot, number: self.beats };
            config.peers.iter().for_each(|peer| out.send(*peer, beat));
        }
        self.now += 1;
        out.arm(Tick, config.tick..config.tick);
        for peer in self.peers.values_mut() {
            let level = phi(peer.window.deviations(config, self.now - peer.heard_at));
            let is_known = peer.newest.is_some() || !config.mutants.has("trusts_strangers");
            peer.is_suspected |= is_known && level > config.threshold;
        }
    }

    /// Monitoring: the time since the last arrival enters the window.
    fn on_beat(&mut self, config: &Config, from: NodeId, beat: Beat) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.newest >= Some(beat) {
            return;
        }
        match peer.newest {
            Some(newest) if newest.boot == beat.boot => {
                peer.window.push(self.now - peer.heard_at, config.window);
            }
            // Another process, and a silence that was none of the network's.
            _ => peer.window = Window::new(config.interval),
        }
        peer.newest = Some(beat);
        peer.heard_at = self.now;
        if !config.mutants.has("never_forgives") {
            peer.is_suspected = false;
        }
    }
}

impl Protocol for PhiAccrual {
    type Config = Config;
    type Message = Beat;
    type Timer = Tick;
    type Record = Started;
    /// How often it has started.
    type Durable = u64;
    type Request = ();
    type Response = ();

    fn fold(boots: &mut u64, _: u64, Started: Started) {
        *boots += 1;
    }

    fn recover(config: &Config, boots: u64, out: &mut Out<'_, Self>) -> Self {
        // Beats are sent once this is durable, so no two boots beat under one number.
        out.persist(Started);
        out.arm(Tick, config.tick..config.tick);
        let peer = Peer {
            newest: None,
            heard_at: 0,
            window: Window::new(config.interval),
            is_suspected: false,
        };
        let peers = config.peers.iter().map(|node| (*node, peer.clone())).collect();
        PhiAccrual { boot: boots + 1, beats: 0, now: 0, peers }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Fire(Tick) => self.on_tick(config, out),
            Input::Deliver { from, message } => self.on_beat(config, from, message),
            Input::Ask { .. } | Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let suspects: Vec<String> = self.suspected().map(|node| node.to_string()).collect();
        match &suspects[..] {
            [] => "content".to_owned(),
            suspects => format!("suspecting {}", suspects.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parabola_is_near_the_normal_tail() {
        // −log10 of the tail, from a table of the normal distribution.
        let exact = [0.7995, 1.6430, 2.8697, 4.4993, 6.5426, 9.0059, 11.8929, 15.2061];
        for (deviations, exact) in (1u8..).zip(exact) {
            let near = phi(f64::from(deviations));
            assert!((near - exact).abs() <= 0.05 * exact, "{near} for {exact}");
        }
        let levels: Vec<f64> = (-40..80).map(|tenths| phi(f64::from(tenths) / 10.0)).collect();
        assert!(levels.is_sorted_by(|a, b| a < b), "the level falls while silence lasts");
    }
}
