//! Effects: all that a protocol can do.

use std::ops::Range;
use std::time::Duration;

use crate::{NodeId, Protocol, RequestId};

/// When a message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Once every record persisted before it is durable.
    Durable,
    /// At once. Each use argues in a comment why that is safe.
    Early,
}

/// One thing that a protocol does.
pub enum Effect<P: Protocol> {
    /// Write a record that must survive a crash.
    Persist(P::Record),
    /// Send a message. It may be lost, repeated, delayed and overtaken.
    Send {
        /// The receiver, never the sender itself.
        to: NodeId,
        /// The message.
        message: P::Message,
        /// When it may leave.
        gate: Gate,
    },
    /// Answer a request, once every record persisted before is durable.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        response: P::Response,
    },
    /// Set a timer to fire once, after a time that the world draws from the range (its end excluded, unless the
    /// range is empty: then after exactly its start). A timer of that name that is already set is set anew.
    Arm {
        /// The timer.
        timer: P::Timer,
        /// How long to wait.
        after: Range<Duration>,
    },
    /// Unset a timer.
    Disarm(P::Timer),
    /// Let the world forget the records before this one: later ones, durable already, say all that they still said.
    Release {
        /// The first record that is still needed.
        before: u64,
    },
}

/// Where effects go: a host, or the lift of a protocol that nests another.
pub trait Sink<P: Protocol> {
    /// Takes one effect.
    fn effect(&mut self, effect: Effect<P>);
    /// The number of the last record persisted; 0 if there never was one.
    fn persisted(&self) -> u64;
    /// A number below `bound`, drawn by the world and logged by it; an explorer tries them all.
    fn choose(&mut self, bound: u32) -> u32;
}

/// The hands of a protocol: how it acts on its world.
pub struct Out<'a, P: Protocol> {
    sink: &'a mut dyn Sink<P>,
}

impl<'a, P: Protocol> Out<'a, P> {
    /// Hands that act on `sink`.
    pub fn new(sink: &'a mut dyn Sink<P>) -> Self {
        Out { sink }
    }

    /// Writes a record that must survive a crash. Returns its number, as [`crate::Input::Synced`] will report it.
    #[inline]
    pub fn persist(&mut self, record: P::Record) -> u64 {
        self.sink.effect(Effect::Persist(record));
        self.sink.persisted()
    }

    /// Sends a message once every record persisted so far is durable.
    #[inline]
    pub fn send(&mut self, to: NodeId, message: P::Message) {
        self.sink.effect(Effect::Send { to, message, gate: Gate::Durable });
    }

    /// Sends a message at once, whatever is durable. Say at each use why that is safe.
    #[inline]
    pub fn send_early(&mut self, to: NodeId, message: P::Message) {
        self.sink.effect(Effect::Send { to, message, gate: Gate::Early });
    }

    /// Answers a request once every record persisted so far is durable.
    #[inline]
    pub fn reply(&mut self, id: RequestId, response: P::Response) {
        self.sink.effect(Effect::Reply { id, response });
    }

    /// Sets a timer to fire once, after a time drawn from the range; exactly after its start if the range is empty.
    #[inline]
    pub fn arm(&mut self, timer: P::Timer, after: Range<Duration>) {
        self.sink.effect(Effect::Arm { timer, after });
    }

    /// Sets a timer to fire as soon as the inputs that are already waiting have been taken: the end of the batch.
    #[inline]
    pub fn arm_now(&mut self, timer: P::Timer) {
        self.arm(timer, Duration::ZERO..Duration::ZERO);
    }

    /// Unsets a timer.
    #[inline]
    pub fn disarm(&mut self, timer: P::Timer) {
        self.sink.effect(Effect::Disarm(timer));
    }

    /// Lets the world forget the records before the one of this number. What they said must be said again by others
    /// that are durable already: a node that crashes right after this finds only those that were kept.
    #[inline]
    pub fn release(&mut self, before: u64) {
        self.sink.effect(Effect::Release { before });
    }

    /// The number of the last record persisted; 0 if there never was one.
    #[inline]
    pub fn persisted(&self) -> u64 {
        self.sink.persisted()
    }

    /// Any number below `bound`, which must not be zero.
    #[inline]
    pub fn choose(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "a choice among nothing");
        self.sink.choose(bound)
    }

    /// Runs a protocol inside this one: `lift` turns each of its effects into effects of ours, as they happen.
    #[inline]
    pub fn nest<Q: Protocol, T>(
        &mut self,
        lift: impl FnMut(Effect<Q>, &mut Out<'_, P>),
        run: impl FnOnce(&mut Out<'_, Q>) -> T,
    ) -> T {
        let mut sink = Lifted { outer: Out { sink: &mut *self.sink }, lift };
        run(&mut Out { sink: &mut sink })
    }
}

/// The sink of a nested protocol.
struct Lifted<'a, P: Protocol, F> {
    outer: Out<'a, P>,
    lift: F,
}

impl<P, Q, F> Sink<Q> for Lifted<'_, P, F>
where
    P: Protocol,
    Q: Protocol,
    F: FnMut(Effect<Q>, &mut Out<'_, P>),
{
    fn effect(&mut self, effect: Effect<Q>) {
        (self.lift)(effect, &mut self.outer);
    }

    fn persisted(&self) -> u64 {
        self.outer.persisted()
    }

    fn choose(&mut self, bound: u32) -> u32 {
        self.outer.choose(bound)
    }
}
