//! Epidemic gossip: each round everybody calls somebody at random, and a rumour reaches all in a few rounds more than it takes
//! to double.
//!
//! Source: Demers and others, "Epidemic algorithms for replicated database maintenance", 1987, section 1.3 (push and pull);
//! Pittel, "On spreading a rumor", 1987 (the rounds of push); Karp, Schindelhauer, Shenker and Vöcking, "Randomized rumor
//! spreading", 2000 (the calls of push and pull together).
//! Model: rounds of a length that all agree on, longer than a call; messages are lost and repeated; everybody knows everybody.
//! Safety: integrity, what a node knows somebody has started.
//! Liveness: everyone, in the end all know; log_rounds, with high probability after O(log n) rounds. Both are judged
//! by seeds: an exploration has chance do its worst.
//! Departures: a call is a message, and of a pull two; calls of a round are not at one instant.
//! Omitted: when to stop (section 1.4, complex epidemics): who knows tells for ever; choosing among those whom one happens to
//! know.
//! Cost: a round is a message a node at the most, two of a pull that is answered; all know after about log2 n + ln n rounds of
//! push, log2 n + log2 log2 n of pull, and log3 n + log2 log2 n of both.
//! Boundary: what is random is needed: whoever calls always the same few may leave the rest out (the mutant
//! `calls_a_fixed_few`).
//! Read next: `Gossip::call`, then the trace `a_rumour_among_eight`.

use std::fmt;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol};

/// What is told. Nobody starts two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rumour(pub u64);

impl fmt::Debug for Rumour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Who knows calls and tells.
    Push,
    /// Who doesn't know calls and asks.
    Pull,
    /// Everybody calls: the rumour goes from whoever of the two knows to the other.
    PushPull,
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// How many nodes there are, n1 and so on.
    pub nodes: u64,
    /// What a call is for.
    pub way: Way,
    /// How many calls a node makes in a round.
    pub fan_out: u32,
    /// How long a round is.
    pub round: Duration,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// The messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// This is what is said.
    Tell(Rumour),
    /// What is said?
    Ask,
}

/// The timer: a round begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round;

/// A node that gossips.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gossip {
    rumour: Option<Rumour>,
    /// How many rounds have begun here.
    round: u64,
    /// The round in which it learnt the rumour.
    learnt_in: Option<u64>,
}

impl Gossip {
    /// The rumour, once it is known here.
    pub fn rumour(&self) -> Option<Rumour> {
        self.rumour
    }

    /// How many rounds had begun here when the rumour came; none if it has not come since the node started.
    pub fn learnt_in(&self) -> Option<u64> {
        self.learnt_in
    }

    fn learn(&mut self, rumour: Rumour, out: &mut Out<'_, Self>) {
        if self.rumour.is_none() {
            self.rumour = Some(rumour);
            self.learnt_in = Some(self.round);
            out.persist(rumour);
        }
    }

    /// One call of a round.
    fn call(&self, config: &Config, out: &mut Out<'_, Self>) {
        let message = match (self.rumour, config.way) {
            (Some(rumour), Way::Push | Way::PushPull) => Message::Tell(rumour),
            (None, Way::Pull | Way::PushPull) => Message::Ask,
            (Some(_), Way::Pull) | (None, Way::Push) => return,
        };
        let passes_on = matches!(message, Message::Ask) || config.me == NodeId(1);
        if !passes_on && config.mutants.has("leaves_it_to_the_first") {
            return;
        }
        // Everybody else is as likely as anybody else: an epidemic owes its speed to that.
        let choices = if config.mutants.has("calls_a_fixed_few") { 3 } else { config.nodes - 1 };
        let choices = u32::try_from(choices.min(config.nodes - 1)).unwrap_or(u32::MAX);
        if choices > 0 {
            let drawn = u64::from(out.choose(choices)) + 1;
            let to = if drawn < config.me.0 { drawn } else { drawn + 1 };
            out.send(NodeId(to), message);
        }
    }
}

impl Protocol for Gossip {
    type Config = Config;
    type Message = Message;
    type Timer = Round;
    type Record = Rumour;
    type Durable = Option<Rumour>;
    /// A rumour starts here.
    type Request = Rumour;
    type Response = ();

    fn fold(durable: &mut Option<Rumour>, _: u64, rumour: Rumour) {
        *durable = Some(rumour);
    }

    fn recover(config: &Config, rumour: Option<Rumour>, out: &mut Out<'_, Self>) -> Self {
        out.arm(Round, config.round..config.round);
        Gossip { rumour, round: 0, learnt_in: None }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Fire(Round) => {
                self.round += 1;
                for _ in 0..config.fan_out {
                    self.call(config, out);
                }
                out.arm(Round, config.round..config.round);
            }
            Input::Deliver { message: Message::Tell(rumour), .. } => self.learn(rumour, out),
            Input::Deliver { from, message: Message::Ask } => match self.rumour {
                Some(rumour) => out.send(from, Message::Tell(rumour)),
                None if config.mutants.has("makes_one_up") => {
                    out.send(from, Message::Tell(Rumour(0)));
                }
                None => {}
            },
            Input::Ask { id, request } => {
                self.learn(request, out);
                out.reply(id, ());
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match (self.rumour, self.learnt_in) {
            (None, _) => "ignorant".to_owned(),
            (Some(_), Some(round)) => format!("informed in round {round}"),
            (Some(_), None) => "informed".to_owned(),
        }
    }
}
