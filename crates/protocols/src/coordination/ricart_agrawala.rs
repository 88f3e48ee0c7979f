//! Ricart–Agrawala mutual exclusion: who wants to enter asks all others, and enters when all have agreed.
//!
//! Source: Ricart and Agrawala, "An optimal algorithm for mutual exclusion in computer networks", 1981.
//! Model: asynchronous; messages are repeated and reordered but not lost, nobody crashes.
//! Safety: exclusion, no two nodes are inside; of those that wait, the one that asked first goes first, by Lamport's order.
//! Liveness: whoever asks enters. Needs: that whoever is inside leaves.
//! Departures: a reply names the request that it is for, so that a repeated one does no harm.
//! Omitted: nodes that fail, leave and join, which the paper treats.
//! Cost: 2 message delays to enter, 2(n − 1) messages.
//! Boundary: one that is silent keeps all others out, though it wants nothing (the trace `a_silent_node_stops_all`).
//! Read next: `RicartAgrawala::on_request`, then the trace `two_at_one_time`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// A moment of logical time.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// All nodes, this one included.
    pub nodes: Vec<NodeId>,
    /// How long a node stays inside.
    pub stays: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What nodes send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// May I enter? With the moment at which it was asked.
    Request(Stamp),
    /// You may, for my part: the answer to the request of that moment.
    Reply(Stamp),
}

/// The timer of a node: it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leave;

/// The wish to enter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wish {
    stamp: Stamp,
    /// Who has not agreed yet. It is inside once there is nobody.
    missing: BTreeSet<NodeId>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RicartAgrawala {
    /// The newest stamp that it has seen.
    clock: Stamp,
    wish: Option<Wish>,
    /// Whom it will answer when it leaves.
    deferred: BTreeMap<NodeId, Stamp>,
    /// The requests of its clients; the wish is for the first.
    wanted: VecDeque<RequestId>,
}

impl RicartAgrawala {
    /// Whether it is inside.
    pub fn is_inside(&self) -> bool {
        self.wish.as_ref().is_some_and(|wish| wish.missing.is_empty())
    }

    /// When it asked to enter, if it wants to or is inside.
    pub fn asked_at(&self) -> Option<Stamp> {
        self.wish.as_ref().map(|wish| wish.stamp)
    }

    fn ask_all(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.clock.0 += 1;
        let others = config.nodes.iter().copied().filter(|node| *node != config.me);
        let wish = Wish { stamp: self.clock, missing: others.collect() };
        for to in &wish.missing {
            out.send(*to, Message::Request(wish.stamp));
        }
        self.wish = Some(wish);
        self.enter_if_all_agree(config, out);
    }

    fn enter_if_all_agree(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.is_inside() {
            out.arm(Leave, config.stays.clone());
        }
    }

    /// Another wants to enter. It has to wait if this node is inside, or has asked before it.
    fn on_request(&mut self, config: &Config, from: NodeId, stamp: Stamp, out: &mut Out<'_, Self>) {
        // A wish of this node that comes later has to be later by its stamp as well.
        if !config.mutants.has("forgets_the_time") {
            self.clock = self.clock.max(stamp);
        }
        let has_to_wait = self.wish.as_ref().is_some_and(|wish| {
            if config.mutants.has("replies_while_inside") && wish.missing.is_empty() {
                return false;
            }
            // Two wishes of one moment go by the names of those who have them.
            let name = if config.mutants.has("knows_no_names") { from } else { config.me };
            (wish.stamp, name) <= (stamp, from)
        });
        if has_to_wait {
            let deferred = self.deferred.entry(from).or_default();
            *deferred = stamp.max(*deferred);
        } else {
            out.send(from, Message::Reply(stamp));
        }
    }

    fn on_reply(&mut self, config: &Config, from: NodeId, stamp: Stamp, out: &mut Out<'_, Self>) {
        if let Some(wish) = self.wish.as_mut().filter(|wish| wish.stamp == stamp)
            && wish.missing.remove(&from)
        {
            self.enter_if_all_agree(config, out);
        }
    }

    fn leave(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.wish = None;
        while let Some((to, stamp)) = self.deferred.pop_first() {
            out.send(to, Message::Reply(stamp));
        }
        if let Some(id) = self.wanted.pop_front() {
            out.reply(id, ());
        }
        if !self.wanted.is_empty() {
            self.ask_all(config, out);
        }
    }
}

impl Protocol for RicartAgrawala {
    type Config = Config;
    type Message = Message;
    type Timer = Leave;
    type Record = ();
    type Durable = ();
    /// Enter, and leave again.
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(_: &Config, (): (), _: &mut Out<'_, Self>) -> Self {
        RicartAgrawala {
            clock: Stamp(0),
            wish: None,
            deferred: BTreeMap::new(),
            wanted: VecDeque::new(),
        }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.wanted.push_back(id);
                if self.wish.is_none() {
                    self.ask_all(config, out);
                }
            }
            Input::Fire(Leave) => self.leave(config, out),
            Input::Deliver { from, message: Message::Request(stamp) } => {
                self.on_request(config, from, stamp, out);
            }
            Input::Deliver { from, message: Message::Reply(stamp) } => {
                self.on_reply(config, from, stamp, out);
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let mut words = match &self.wish {
            None => format!("idle at {:?}", self.clock),
            Some(wish) if wish.missing.is_empty() => "inside".to_owned(),
            Some(wish) => {
                let missing: Vec<String> = wish.missing.iter().map(NodeId::to_string).collect();
                format!("waiting since {:?} for {}", wish.stamp, missing.join(" "))
            }
        };
        if !self.deferred.is_empty() {
            let deferred: Vec<String> = self.deferred.keys().map(NodeId::to_string).collect();
            words.push_str(&format!(", putting off {}", deferred.join(" ")));
        }
        words
    }
}
