//! Mutual exclusion through a coordinator: who wants to enter asks it, and it lets one in at a time.
//!
//! Source: Coulouris, Dollimore, Kindberg and Blair, "Distributed systems: concepts and design", fifth edition, 2011, section
//! 15.2 (the central server algorithm).
//! Model: asynchronous; no message is lost or comes twice, nobody crashes.
//! Safety: exclusion, no two nodes are inside; they enter in the order in which the coordinator has heard of them.
//! Liveness: whoever asks enters. Needs: that whoever is inside leaves.
//! Omitted: leases, without which who dies inside stays inside for the coordinator (see `lease_lock`).
//! Cost: 3 message delays, 3 messages: 2 to enter, 1 to leave.
//! Boundary: a coordinator that crashes has forgotten who is inside (the trace `the_coordinator_forgets`); one that is inside
//! when it crashes keeps all others out (the trace `the_holder_dies`).
//! Read next: `Central::admit`, then the trace `one_after_the_other`.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use quorate_core::{Input, LabMutants, NodeId, Out, Protocol, RequestId};

/// What a node knows before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// Who lets nodes in. Never enters itself.
    pub coordinator: NodeId,
    /// How long a node stays inside.
    pub stays: Range<Duration>,
    /// Deliberate bugs.
    pub mutants: LabMutants,
}

/// What a node and the coordinator send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// May I enter?
    Request,
    /// You may.
    Grant,
    /// I have left.
    Release,
}

/// The timer of a node: it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leave;

/// A node; one of them is the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Central {
    /// Of the coordinator: whom it has let in.
    holder: Option<NodeId>,
    /// Of the coordinator: who waits, first come first.
    queue: VecDeque<NodeId>,
    is_inside: bool,
    /// The requests of its clients; the first of them has been passed on.
    wanted: VecDeque<RequestId>,
}

impl Central {
    /// Whom the coordinator has let in.
    pub fn holder(&self) -> Option<NodeId> {
        self.holder
    }

    /// Who waits at the coordinator.
    pub fn queue(&self) -> &VecDeque<NodeId> {
        &self.queue
    }

    /// Whether it is inside.
    pub fn is_inside(&self) -> bool {
        self.is_inside
    }

    /// Whether it wants to enter, or is inside.
    pub fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The coordinator lets in who is next, once nobody is inside.
    fn admit(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.holder.is_some() && !config.mutants.has("admits_at_once") {
            return;
        }
        let next = match config.mutants.has("admits_the_last") {
            true => self.queue.pop_back(),
            false => self.queue.pop_front(),
        };
        self.holder = next;
        if let Some(next) = next {
            out.send(next, Message::Grant);
        }
    }

    fn on_release(&mut self, config: &Config, from: NodeId, out: &mut Out<'_, Self>) {
        if self.holder == Some(from) {
            self.holder = None;
            if !config.mutants.has("forgets_who_waits") {
                self.admit(config, out);
            }
        }
    }

    fn on_grant(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if self.wanted.is_empty() {
            // It has crashed since it asked.
            out.send(config.coordinator, Message::Release);
        } else if !self.is_inside {
            self.is_inside = true;
            out.arm(Leave, config.stays.clone());
        }
    }

    fn leave(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.is_inside = false;
        out.send(config.coordinator, Message::Release);
        if let Some(id) = self.wanted.pop_front() {
            out.reply(id, ());
        }
        if !self.wanted.is_empty() {
            out.send(config.coordinator, Message::Request);
        }
    }
}

impl Protocol for Central {
    type Config = Config;
    type Message = Message;
    type Timer = Leave;
    type Record = ();
    type Durable = ();
    /// Enter, and leave again. Put to others than the coordinator.
    type Request = ();
    type Response = ();

    fn fold((): &mut (), _: u64, (): ()) {}

    fn recover(_: &Config, (): (), _: &mut Out<'_, Self>) -> Self {
        Central { holder: None, queue: VecDeque::new(), is_inside: false, wanted: VecDeque::new() }
    }

    fn step(&mut self, config: &Config, input: Input<Self>, out: &mut Out<'_, Self>) {
        match input {
            Input::Ask { id, request: () } => {
                self.wanted.push_back(id);
                if self.wanted.len() == 1 {
                    out.send(config.coordinator, Message::Request);
                }
            }
            Input::Fire(Leave) => self.leave(config, out),
            Input::Deliver { from, message: Message::Request } => {
                self.queue.push_back(from);
                self.admit(config, out);
            }
            Input::Deliver { message: Message::Grant, .. } => self.on_grant(config, out),
            Input::Deliver { from, message: Message::Release } => {
                self.on_release(config, from, out);
            }
            Input::Synced { .. } | Input::Lost { .. } => {}
        }
    }

    fn view(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.holder.map(|holder| format!("busy with {holder}")));
        if !self.queue.is_empty() {
            let queue: Vec<String> = self.queue.iter().map(NodeId::to_string).collect();
            words.push(format!("putting off {}", queue.join(" ")));
        }
        match (self.is_inside, self.wants()) {
            (true, _) => words.push("inside".to_owned()),
            (false, true) => words.push("waiting".to_owned()),
            (false, false) => {}
        }
        if words.is_empty() { "idle".to_owned() } else { words.join(", ") }
    }
}
