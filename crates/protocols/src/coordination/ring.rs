//! Ring election: each node knows only the next one on a ring, and the one with the highest name is elected.
//!
//! Source: Chang and Roberts, "An improved algorithm for decentralized extrema-finding in circular configurations of
//! processes", 1979.
//! Model: asynchronous; a ring that is fixed, on which messages go one way. Messages are lost, repeated and reordered, and
//! nodes crash, forget and come back, which is more than the paper allows: see the departures.
//! Safety: nobody is elected but the highest of the ring.
//! Liveness: in the end every node knows who was elected. Needs: every node up, and messages that arrive.
//! Departures: who has waited for long sends its name again, which makes up for what was lost.
//! Omitted: repair of the ring.
//! Cost: 3n − 2 message delays and 3n − 1 messages if one node begins and names rise along the ring. If all begin, the names
//! travel n(n + 1)/2 links where they fall, 2n − 1 where they rise, and n·H(n) on average; the news takes n more.
//! Boundary: a dead node or a cut link is a gap that nothing crosses. Nobody is elected then, on either side: no split
//! brain, and no leader (the trace `a_gap_in_the_ring`).
//! Read next: `Ring::on_candidate`, then the trace `names_rise_along_the_ring`.

use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// The next on the ring.
    pub next: NodeId,
    /// Whether it begins when it starts, unasked.
    pub begins: bool,
    /// How long to wait for an election to end.
    pub patience: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What nodes send the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// The highest name that has come this way.
    Candidate(NodeId),
    /// Who is elected.
    Elected(NodeId),
}

/// The timer of a node: it knows of no leader, and begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Begin;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ring {
    /// Whether its name, or a higher one, has gone on from here in an election that is not over.
    takes_part: bool,
    leader: Option<NodeId>,
    waiting: Vec<RequestId>,
}

impl Ring {
    /// Who is elected, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    fn begin(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.takes_part = true;
        out.send(config.next, Message::Candidate(config.me));
        out.arm(Begin, config.patience.clone());
    }

    /// A name comes round. Of two the higher goes on.
    fn on_candidate(&mut self, config: &Config, candidate: NodeId, out: &mut Out<'_, Self>) {
        if candidate == config.me {
            // It has passed every node of the ring, and a higher one would have held it back.
            return self.on_elected(config, config.me, out);
        }
        let is_higher = candidate > config.me || config.mutants.has("lets_the_lower_pass");
        let is_held_back = self.takes_part && config.mutants.has("lets_one_name_pass");
        if is_higher && !is_held_back {
            // Whoever takes part sees to it that the election ends, whatever is lost.
            self.takes_part = true;
            out.send(config.next, Message::Candidate(candidate));
            out.arm(Begin, config.patience.clone());
        } else if !self.takes_part {
            self.begin(config, out);
        }
    }

    /// The news goes round once, back to whom it is about.
    fn on_elected(&mut self, config: &Config, leader: NodeId, out: &mut Out<'_, Self>) {
        let has_gone_round = leader == config.me && !self.takes_part;
        self.takes_part = false;
        self.leader = Some(leader);
        if !has_gone_round {
            out.send(config.next, Message::Elected(leader));
        }
        out.disarm(Begin);
        for id in self.waiting.drain(..) {
            out.reply(id, leader);
        }
    }
}

impl Protocol for Ring {
    type Config = Config;
    type Message = Message;
    type Timer = Begin;
    type Record = ();
    type Durable = ();
    /// Begin an election. The answer is who is elected.
    type Request = ();
    type Response = NodeId;

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        match config.begins {
            true => out.arm_now(Begin),
            false => out.arm(Begin, config.patience.clone()),
        }
        Ring { takes_part: false, leader: None, waiting: Vec::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.waiting.push(id);
                self.begin(config, out);
            }
            Input::Fire(Begin) => self.begin(config, out),
            Input::Deliver { message: Message::Candidate(name), .. } => {
                self.on_candidate(config, name, out);
            }
            Input::Deliver { message: Message::Elected(leader), .. } => {
                self.on_elected(config, leader, out);
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match (self.takes_part, self.leader) {
            (false, None) => "idle".to_owned(),
            (true, None) => "taking part".to_owned(),
            (false, Some(leader)) => format!("following {leader}"),
            (true, Some(leader)) => format!("following {leader}, taking part again"),
        }
    }
}
