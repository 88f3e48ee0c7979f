//! Heartbeat failure detector: whoever has been silent for longer than a timeout is suspected.
//!
//! Source: Chandra and Toueg, "Unreliable failure detectors for reliable distributed systems", 1996, figure 10, for the
//! timeout that grows; the fixed one is folklore.
//! Model: crash and recovery; partially synchronous, there is a bound on delays, known if the timeout is fixed, else not.
//! Safety: completeness, whoever is down for long is suspected by all who are up; accuracy, with a fixed timeout longer than
//! an interval and the greatest delay nobody who is up is suspected.
//! Liveness: eventual accuracy, mistakes come to an end. Needs: such a fixed timeout, or one that grows with each mistake.
//! That whoever is heard of is trusted again is explored; that mistakes end is judged by seeds, since an exploration knows no
//! bound on delays.
//! Departures: the clock of a node is a timer that ticks; who has crashed may come back, which figure 10 leaves out.
//! Omitted: telling others of a suspicion, which is what SWIM is for.
//! Cost: n(n − 1) messages an interval.
//! Boundary: a timeout trades speed for mistakes (the curves). With one that is too short mistakes never end (the trace
//! `short_timeout`), and a timeout is too short as soon as the network is slower than was thought (`delay_spike`). Where no
//! bound on delays holds, any timeout is wrong: the exploration, in which messages take as long as they like, finds the
//! mistake.
//! Read next: `Heartbeat::on_tick`, then the trace `delay_spike`.

use std::collections::BTreeMap;
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
    /// How long a silence is borne at first.
    pub timeout: u64,
    /// By how much longer it is borne after each mistake; with 0 the timeout is fixed.
    pub growth: u64,
    /// Whether it counts for how long it has run, which judges alone ask.
    pub is_timed: bool,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// I am alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beat;

/// The clock of a node ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick;

/// What a node knows of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Peer {
    /// Since it was last heard of; before the first time, since we started. A suspect's is not counted on.
    silence: u64,
    was_heard: bool,
    timeout: u64,
    is_suspected: bool,
}

/// A node that beats and listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// For the judges: ticks since the start.
    now: u64,
    /// Ticks until the next heartbeat.
    until_beat: u64,
    peers: BTreeMap<NodeId, Peer>,
}

impl Heartbeat {
    /// Ticks since this node started, if they are counted.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whom it believes to be down.
    pub fn suspected(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.is_suspected).map(|(node, _)| *node)
    }

    /// For how many ticks it bears the silence of a node.
    pub fn timeout(&self, node: NodeId) -> u64 {
        self.peers.get(&node).map_or(0, |peer| peer.timeout)
    }

    /// Figure 10, tasks 1 and 2: beat, and suspect whoever has not beaten for too long.
    fn on_tick(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.until_beat == 0 {
            config.peers.iter().for_each(|peer| out.send(*peer, Beat));
            self.until_beat = config.interval;
        }
        self.until_beat -= 1;
        self.now += u64::from(config.is_timed);
        out.arm(Tick, config.tick..config.tick);
        for peer in self.peers.values_mut().filter(|peer| !peer.is_suspected) {
            if peer.was_heard || !config.mutants.has("waits_for_the_first_heartbeat") {
                peer.silence += 1;
                peer.is_suspected = peer.silence > peer.timeout;
            }
        }
    }

    /// Figure 10, task 3: a suspect that beats was suspected too soon.
    fn on_beat(&mut self, config: &Config, from: NodeId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.silence = 0;
        peer.was_heard = true;
        if peer.is_suspected && !config.mutants.has("never_forgives") {
            peer.is_suspected = false;
            peer.timeout += config.growth;
        }
    }
}

impl Protocol for Heartbeat {
    type Config = Config;
    type Message = Beat;
    type Timer = Tick;
    type Record = ();
    type Durable = ();
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        let peer =
            Peer { silence: 0, was_heard: false, timeout: config.timeout, is_suspected: false };
        out.arm(Tick, config.tick..config.tick);
        let peers = config.peers.iter().map(|node| (*node, peer)).collect();
        Heartbeat { now: 0, until_beat: 0, peers }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Fire(Tick) => self.on_tick(config, out),
            Input::Deliver { from, message: Beat } => self.on_beat(config, from),
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
