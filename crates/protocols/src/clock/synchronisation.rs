//! Clock synchronisation in three ways: a client asks a server and halves the round trip (Cristian), a master averages the
//! clocks of all (Berkeley), or a client asks often and believes the quickest answer (NTP).
//!
//! Source: Cristian, "Probabilistic clock synchronization", 1989; Gusella and Zatti, "The accuracy of the clock
//! synchronization achieved by TEMPO in Berkeley UNIX 4.3BSD", 1989; Mills, Martin, Burbank and Kasch, "Network time protocol
//! version 4: protocol and algorithms specification", RFC 5905, 2010, sections 8 and 10.
//! Model: nodes don't fail; messages are lost, repeated, reordered and take however long. Each node has a clock that counts
//! the ticks of its oscillator, which is fast or slow by no more than a known drift. A message that arrives between two ticks
//! is taken to arrive at the first; so all bounds are good to two ticks.
//! Safety: when a client has set its clock by a server's, the two are no further apart than half of the round trip, and what
//! they have drifted since.
//! Liveness: all clocks come close to each other. Needs: messages that arrive.
//! Departures: clocks are set at once, where real ones are slewed so that they never go back; a server answers at once, so
//! that two of NTP's four timestamps are one.
//! Omitted: Berkeley's leaving out of clocks that are far off all others; of NTP the choice among servers, the discipline of
//! the frequency, and the poll interval's adaption.
//! Cost: 2 message delays and 2 messages for each client; one delay and one message more with a master, who asks and then
//! tells.
//! Boundary: nobody can tell a slow way there from a slow way back. If all of the round trip was one way, the error is half
//! of it, and no algorithm does better (the trace `asymmetric_delay`).
//! Read next: `Clock::on_told`, then the trace `a_server_is_asked`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// A time or a difference of times, in microseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl fmt::Debug for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0 as f64 / 1e3)
    }
}

/// How clocks are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Each node by its newest answer of the server.
    Cristian,
    /// All nodes, the master too, by the average.
    Berkeley,
    /// Each node by the quickest of its last answers of the server.
    Filter,
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes. The first is the server, or the master.
    pub nodes: Vec<NodeId>,
    /// How clocks are set.
    pub way: Way,
    /// What this node's clock shows when it starts.
    pub starts_at: Micros,
    /// How much more it shows after each tick.
    pub tick_step: Micros,
    /// How long its oscillator takes for a tick.
    pub tick: Range<Duration>,
    /// How long it waits before it asks again.
    pub every: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

impl Config {
    fn server(&self) -> Option<NodeId> {
        self.nodes.first().copied()
    }

    /// Whom this node asks what time it is.
    fn asks(&self) -> impl Iterator<Item = NodeId> {
        let is_first = Some(self.me) == self.server();
        let asks_all = self.way == Way::Berkeley && is_first;
        let asks_first = self.way != Way::Berkeley && !is_first;
        self.nodes.iter().copied().enumerate().filter_map(move |(place, node)| {
            let is_asked = if place == 0 { asks_first } else { asks_all };
            is_asked.then_some(node)
        })
    }
}

/// What nodes send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// What time is it? The number names the question.
    Ask(u64),
    /// To the question of that number: this time.
    Told(u64, Micros),
    /// From the master, after the questions of that number: set your clock ahead by so much.
    Adjust(u64, Micros),
}

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The oscillator has gone round.
    Tick,
    /// It is time to ask again.
    Sync,
}

/// Somebody wants the clock to be set now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sync;

/// What came of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    /// What this node would have to add to its oscillator's time.
    pub correction: Micros,
    /// How long question and answer took together.
    pub round_trip: Micros,
    /// When the answer came, by the oscillator.
    pub at: Micros,
}

/// How many samples the filter looks at: as many as the RFC's.
const SAMPLES: usize = 8;

/// A node whose clock is kept with those of others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Clock {
    /// What the oscillator says.
    oscillator: Micros,
    /// What is added to it.
    correction: Micros,
    /// The newest question, which those who have not answered have yet to.
    number: u64,
    asked_at: Micros,
    unanswered: Vec<NodeId>,
    samples: Vec<Sample>,
    applied: Option<Sample>,
    /// A master's: how far the others are ahead, of those who have answered.
    ahead: BTreeMap<NodeId, Micros>,
    /// The master's newest question.
    heard: u64,
    /// Whether the adjustment that follows it is still to come.
    awaits_adjustment: bool,
    /// How often this clock has been set.
    times_set: u64,
}

impl Clock {
    /// What this node takes the time to be.
    pub fn shows(&self) -> Micros {
        Micros(self.oscillator.0 + self.correction.0)
    }

    /// What its oscillator says.
    pub fn oscillator(&self) -> Micros {
        self.oscillator
    }

    /// The answer of the server by which the clock was last set.
    pub fn applied(&self) -> Option<Sample> {
        self.applied
    }

    /// How often it has been set.
    pub fn times_set(&self) -> u64 {
        self.times_set
    }

    /// Whether somebody has yet to answer its newest question.
    pub fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    fn ask(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.number += 1;
        self.asked_at = self.oscillator;
        self.ahead.clear();
        self.unanswered = config.asks().collect();
        for to in &self.unanswered {
            out.send(*to, Message::Ask(self.number));
        }
    }

    /// An answer has come. It was given at some moment since the question went, and nobody knows at which: the middle of that
    /// time is the guess that is never off by more than half of it.
    fn on_told(
        &mut self,
        config: &Config,
        from: NodeId,
        number: u64,
        time: Micros,
        out: &mut Out<'_, Self>,
    ) {
        let Some(place) = self.unanswered.iter().position(|node| *node == from) else { return };
        if number != self.number {
            return;
        }
        self.unanswered.remove(place);
        let round_trip = Micros(self.oscillator.0 - self.asked_at.0);
        let since = if config.mutants.has("ignores_rtt") { 0 } else { round_trip.0 / 2 };
        let there = time.0 + since;
        match config.way {
            Way::Berkeley => {
                self.ahead.insert(from, Micros(there - self.shows().0));
                if self.unanswered.is_empty() {
                    self.tell_the_average(config, out);
                }
            }
            Way::Cristian | Way::Filter => {
                let correction = Micros(there - self.oscillator.0);
                self.samples.push(Sample { correction, round_trip, at: self.oscillator });
                self.set_by_samples(config);
            }
        }
    }

    fn set_by_samples(&mut self, config: &Config) {
        let kept = if config.way == Way::Filter { SAMPLES } else { 1 };
        let old = self.samples.len().saturating_sub(kept);
        self.samples.drain(..old);
        // RFC 5905, section 10: the quicker an answer came, the less it can be wrong. Of those that were as quick, the newest.
        let best = self.samples.iter().rev().min_by_key(|sample| sample.round_trip).copied();
        if let Some(best) = best {
            self.correction = best.correction;
            self.applied = Some(best);
            self.times_set += 1;
        }
    }

    /// The master sets itself and all others to the average, and tells each by how much, not what time it is: so it doesn't
    /// matter how long that takes to arrive.
    fn tell_the_average(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let sum: i64 = self.ahead.values().map(|ahead| ahead.0).sum();
        let average = sum / (self.ahead.len() as i64 + 1);
        for (to, ahead) in &self.ahead {
            let by = average - ahead.0;
            let by = if config.mutants.has("adjusts_the_wrong_way") { -by } else { by };
            out.send(*to, Message::Adjust(self.number, Micros(by)));
        }
        self.correction.0 += average;
        self.times_set += 1;
    }
}

impl Protocol for Clock {
    type Config = Config;
    type Message = Message;
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    type Request = Sync;
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        out.arm(Timer::Tick, config.tick.clone());
        out.arm(Timer::Sync, config.every.clone());
        Clock {
            oscillator: config.starts_at,
            correction: Micros(0),
            number: 0,
            asked_at: Micros(0),
            unanswered: Vec::new(),
            samples: Vec::new(),
            applied: None,
            ahead: BTreeMap::new(),
            heard: 0,
            awaits_adjustment: false,
            times_set: 0,
        }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: Sync } => {
                self.ask(config, out);
                out.reply(id, ());
            }
            Input::Fire(Timer::Tick) => {
                self.oscillator.0 += config.tick_step.0;
                out.arm(Timer::Tick, config.tick.clone());
            }
            Input::Fire(Timer::Sync) => {
                self.ask(config, out);
                out.arm(Timer::Sync, config.every.clone());
            }
            Input::Deliver { from, message: Message::Ask(number) } => {
                // What the master reckons from an older answer is wrong once the clock is set by a newer.
                if Some(from) == config.server() && number > self.heard {
                    self.heard = number;
                    self.awaits_adjustment = true;
                }
                out.send(from, Message::Told(number, self.shows()));
            }
            Input::Deliver { from, message: Message::Told(number, time) } => {
                self.on_told(config, from, number, time, out);
            }
            Input::Deliver { message: Message::Adjust(number, Micros(by)), .. } => {
                if self.heard == number && self.awaits_adjustment {
                    self.awaits_adjustment = false;
                    self.correction.0 += by;
                    self.times_set += 1;
                }
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match (self.times_set, self.applied) {
            (0, _) => "never set".to_owned(),
            (_, None) => format!("{:?} from its oscillator", self.correction),
            (_, Some(Sample { correction, round_trip, .. })) => {
                format!("{correction:?} from its oscillator, after a round trip of {round_trip:?}")
            }
        }
    }
}
