//! The host of a protocol: the one place where durability is enforced.
//!
//! The contract is the order of effects. A message or an answer leaves only after every record persisted before it
//! is durable; [`Out::send_early`] is the one way round, and each use of it argues why it is safe. A protocol
//! can't forget to wait for its disk, because it never waits: it says what depends on what by the order in which it
//! speaks, and the host holds back what must be held back.
//!
//! Simulator, explorer and runtime all drive this host. None of them has a second opinion on what may leave when.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use crate::out::{Effect, Gate, Sink};
use crate::{Input, NodeId, Out, Protocol, RequestId};

/// What others can see of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Visible<P: Protocol> {
    /// A message for another node.
    Send {
        /// The receiver.
        to: NodeId,
        /// The message.
        message: P::Message,
    },
    /// An answer for a client.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        response: P::Response,
    },
}

/// What a host needs of the world around it.
pub trait World<P: Protocol> {
    /// Takes a record to make durable, in order. The world says so later, through [`Host::synced`].
    fn persist(&mut self, record: P::Record);
    /// Carries a message, or an answer, out of the node.
    fn emit(&mut self, visible: Visible<P>);
    /// Sets a timer (see [`Effect::Arm`]).
    fn arm(&mut self, timer: P::Timer, after: Range<Duration>);
    /// Unsets a timer.
    fn disarm(&mut self, timer: P::Timer);
    /// A number below `bound`.
    fn choose(&mut self, bound: u32) -> u32;
    /// May forget the records before the one of this number (see [`Effect::Release`]).
    fn release(&mut self, before: u64);
}

/// A running node: a protocol's state, and what waits for its disk.
///
/// A crash is the end of a host; the next one is booted from what was durable.
pub struct Host<P: Protocol> {
    state: P,
    gates: Gates<P>,
}

/// The records that are not durable yet, and what waits for them.
struct Gates<P: Protocol> {
    persisted: u64,
    synced: u64,
    /// Each with the number of the record it waits for; numbers never fall from front to back.
    waiting: VecDeque<(u64, Visible<P>)>,
}

impl<P: Protocol> Host<P> {
    /// Starts a node from what was durable when it last stopped; `last` is the number of the last record in its log, 0
    /// if there never was one. Records are counted on from there.
    pub fn boot(
        config: &P::Config,
        durable: P::Durable,
        last: u64,
        world: &mut impl World<P>,
    ) -> Self {
        let mut gates = Gates { persisted: last, synced: last, waiting: VecDeque::new() };
        let state =
            P::recover(config, durable, &mut Out::new(&mut Hosted { gates: &mut gates, world }));
        Host { state, gates }
    }

    /// Gives the protocol one input. [`Input::Synced`] is not for here: see [`Host::synced`].
    pub fn step(&mut self, config: &P::Config, input: Input<P>, world: &mut impl World<P>) {
        assert!(!matches!(input, Input::Synced { .. }), "durability is reported through `synced`");
        let mut sink = Hosted { gates: &mut self.gates, world };
        self.state.step(config, input, &mut Out::new(&mut sink));
    }

    /// The records up to and including `upto` are durable: lets go what waited for them, then tells the protocol.
    pub fn synced(&mut self, config: &P::Config, upto: u64, world: &mut impl World<P>) {
        assert!(upto <= self.gates.persisted, "a record is durable that was never persisted");
        assert!(upto >= self.gates.synced, "what was durable is durable no more");
        self.gates.synced = upto;
        self.gates.release(world);
        let mut sink = Hosted { gates: &mut self.gates, world };
        self.state.step(config, Input::Synced { upto }, &mut Out::new(&mut sink));
    }

    /// The number of the last record persisted.
    pub fn persisted(&self) -> u64 {
        self.gates.persisted
    }

    /// The number of the last record that is durable.
    pub fn durable(&self) -> u64 {
        self.gates.synced
    }

    /// The protocol's state.
    pub fn state(&self) -> &P {
        &self.state
    }

    /// The protocol's state, which takes no step any more.
    pub fn into_state(self) -> P {
        self.state
    }
}

impl<P: Protocol> Gates<P> {
    fn release(&mut self, world: &mut impl World<P>) {
        while self.waiting.front().is_some_and(|(record, _)| *record <= self.synced) {
            if let Some((_, visible)) = self.waiting.pop_front() {
                world.emit(visible);
            }
        }
    }
}

/// A host's sink: passes effects on to the world, and holds back what waits for the disk.
struct Hosted<'a, P: Protocol, W> {
    gates: &'a mut Gates<P>,
    world: &'a mut W,
}

impl<P: Protocol, W: World<P>> Hosted<'_, P, W> {
    fn gated(&mut self, visible: Visible<P>) {
        if self.gates.synced == self.gates.persisted {
            self.world.emit(visible);
        } else {
            self.gates.waiting.push_back((self.gates.persisted, visible));
        }
    }
}

impl<P: Protocol, W: World<P>> Sink<P> for Hosted<'_, P, W> {
    fn effect(&mut self, effect: Effect<P>) {
        match effect {
            Effect::Persist(record) => {
                self.gates.persisted += 1;
                self.world.persist(record);
            }
            Effect::Send { to, message, gate: Gate::Early } => {
                self.world.emit(Visible::Send { to, message });
            }
            Effect::Send { to, message, gate: Gate::Durable } => {
                self.gated(Visible::Send { to, message });
            }
            Effect::Reply { id, response } => self.gated(Visible::Reply { id, response }),
            Effect::Arm { timer, after } => self.world.arm(timer, after),
            Effect::Disarm(timer) => self.world.disarm(timer),
            Effect::Release { before } => {
                assert!(
                    before <= self.gates.synced + 1,
                    "a record is given up that is not durable"
                );
                self.world.release(before);
            }
        }
    }

    fn persisted(&self) -> u64 {
        self.gates.persisted
    }

    fn choose(&mut self, bound: u32) -> u32 {
        self.world.choose(bound)
    }
}

mod compare;

#[cfg(test)]
mod tests;
