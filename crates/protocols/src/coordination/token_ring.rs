//! Token ring: a token goes round, and only who has it may enter.
//!
//! Source: Le Lann, "Distributed systems: towards a formal approach", 1977.
//! Model: a ring that is fixed; no message comes twice. With a watch, synchronous: messages are lost, and nodes crash and come
//! back, but the token is round within a known time unless it is lost. Without, nothing is lost, and nobody crashes.
//! Safety: exclusion, no two nodes are inside.
//! Liveness: whoever wants to enters. Needs: every node up in the end, and that whoever is inside leaves.
//! Departures: the first node watches over the token, and makes another when it has not come round; the paper has all nodes
//! elect who does.
//! Omitted: a ring that closes over a dead node.
//! Cost: from 1 message for each that enters, where all want to, to any number where nobody does; n message delays to wait.
//! Boundary: a token that is late is not lost, and then there are two (the trace `a_late_token`); so there are if a message
//! comes twice (the exploration).
//! Read next: `TokenRing::on_token`, then the trace `once_round`.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// When the first token is made, where nobody watches over it.
const SOON: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(1);

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node. The first is n1.
    pub me: NodeId,
    /// The next on the ring.
    pub next: NodeId,
    /// How long a node stays inside.
    pub stays: Range<Duration>,
    /// After how long the first node takes the token to be lost: longer than it can take to come round. None if it never
    /// does.
    pub watch: Option<Range<Duration>>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// The token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token;

/// The timers of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// It leaves.
    Leave,
    /// The first node makes a token: one to begin with, and another when it has not come round.
    Make,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenRing {
    is_inside: bool,
    /// Of a mutant alone: an idle node that has kept the token.
    has_kept: bool,
    wanted: VecDeque<RequestId>,
}

impl TokenRing {
    /// Whether it is inside.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Whether it wants to enter, or is inside.
    pub fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    fn on_token(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if !self.is_inside && !self.wanted.is_empty() {
            self.is_inside = true;
            out.arm(Timer::Leave, config.stays.clone());
            if config.mutants.has("passes_on_what_it_uses") {
                self.pass_on(config, out);
            }
        } else if config.mutants.has("keeps_it_when_idle") {
            self.has_kept = true;
        } else {
            // Two tokens that meet inside stay two; the model has it that they never do.
            self.pass_on(config, out);
        }
    }

    fn pass_on(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        out.send(config.next, Token);
        if let (NodeId(1), Some(watch)) = (config.me, &config.watch) {
            out.arm(Timer::Make, watch.clone());
        }
    }

    /// One each time, so that the others have their turns.
    fn leave(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_inside = false;
        if let Some(id) = self.wanted.pop_front() {
            out.reply(id, ());
        }
        if !config.mutants.has("passes_on_what_it_uses") {
            self.pass_on(config, out);
        }
    }
}

impl Protocol for TokenRing {
    type Config = Config;
    type Message = Token;
    type Timer = Timer;
    type Record = ();
    type Durable = ();
    /// Enter, and leave again.
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(config: &Config, (): (), out: &mut Out<'_, Self>) -> Self {
        if config.me == NodeId(1) {
            // One that has crashed cannot know where the token is, and waits until it is nowhere.
            out.arm(Timer::Make, config.watch.clone().unwrap_or(SOON));
        }
        TokenRing { is_inside: false, has_kept: false, wanted: VecDeque::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.wanted.push_back(id);
                if std::mem::take(&mut self.has_kept) {
                    self.on_token(config, out);
                }
            }
            Input::Fire(Timer::Leave) => self.leave(config, out),
            Input::Fire(Timer::Make) => self.on_token(config, out),
            Input::Deliver { message: Token, .. } => {
                out.disarm(Timer::Make);
                self.on_token(config, out);
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        match (self.is_inside, self.wants()) {
            (true, _) => "inside".to_owned(),
            (false, true) => "waiting".to_owned(),
            (false, false) => "idle".to_owned(),
        }
    }
}
