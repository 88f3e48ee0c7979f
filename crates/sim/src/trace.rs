//! The trace: what happened, step by step, as a log for people and as a number for comparison.
//!
//! The digest is always on. It covers the time, node and kind of every event, every draw that a node saw, and where
//! and when its messages went, but not their content: no bound on a protocol's types is needed for it. The
//! [`StepLog`] is kept only when somebody wants to read it, and has everything.

use std::fmt::Debug;

use quorate_core::{Input, NodeId, Protocol, RequestId};
use quorate_trace::{Label, MessageId, StepLog, Why};

use crate::network::Dropped;
use crate::time::Time;

/// A number that two runs share when they went alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    #[inline]
    pub(crate) fn add(&mut self, number: u64) {
        // One multiplication and a fold: cheap, and every earlier bit reaches every later state.
        let product = u128::from(self.0 ^ number ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(0xd6e8_feb8_6659_fd93_u64);
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(number).rotate_left(23);
    }
}

/// How to put a protocol's own types into words.
pub struct Describe<P: Protocol> {
    /// A message.
    pub message: fn(&P::Message) -> Label,
    /// A timer's name.
    pub timer: fn(&P::Timer) -> Label,
    /// A record.
    pub record: fn(&P::Record) -> Label,
    /// A request.
    pub request: fn(&P::Request) -> Label,
    /// A response.
    pub response: fn(&P::Response) -> Label,
}

impl<P: Protocol> Describe<P>
where
    P::Message: Debug,
    P::Timer: Debug,
    P::Record: Debug,
    P::Request: Debug,
    P::Response: Debug,
{
    /// The words that `Debug` has.
    pub fn debug() -> Self {
        Describe {
            message: |message| format!("{message:?}").into(),
            timer: |timer| format!("{timer:?}").into(),
            record: |record| format!("{record:?}").into(),
            request: |request| format!("{request:?}").into(),
            response: |response| format!("{response:?}").into(),
        }
    }
}

/// A log in the making.
pub(crate) struct Trace<P: Protocol> {
    pub(crate) describe: Describe<P>,
    pub(crate) log: StepLog,
}

impl<P: Protocol> Trace<P> {
    pub(crate) fn new(describe: Describe<P>, nodes: usize) -> Self {
        let nodes = (1..=nodes as u64).map(NodeId);
        Trace { describe, log: StepLog::timed(nodes) }
    }

    /// The log, for what happens now.
    pub(crate) fn at(&mut self, now: Time) -> &mut StepLog {
        self.log.set_time(now.since_start());
        &mut self.log
    }

    /// A node takes an input. A message has the name under which it was sent.
    pub(crate) fn input(&mut self, now: Time, node: NodeId, input: &Input<P>, message: MessageId) {
        self.log.set_time(now.since_start());
        match input {
            Input::Deliver { .. } => self.log.deliver(message),
            Input::Fire(timer) => self.log.fire(node, (self.describe.timer)(timer)),
            Input::Ask { id, request } => {
                self.log.ask(node, *id, (self.describe.request)(request));
            }
            Input::Synced { upto } => self.log.synced(node, *upto),
            Input::Lost { peer } => self.log.peer_lost(node, *peer),
        }
    }

    pub(crate) fn send(&mut self, node: NodeId, to: NodeId, message: &P::Message) -> MessageId {
        self.log.send(node, to, (self.describe.message)(message))
    }

    pub(crate) fn drop_message(&mut self, message: MessageId, dropped: Dropped) {
        let why = match dropped {
            Dropped::Lost => Why::Dropped,
            Dropped::Cut => Why::Cut,
        };
        self.log.lose(message, why);
    }

    pub(crate) fn persist(&mut self, node: NodeId, record: &P::Record) {
        self.log.persist(node, (self.describe.record)(record));
    }

    pub(crate) fn reply(&mut self, node: NodeId, id: RequestId, response: &P::Response) {
        self.log.reply(node, id, (self.describe.response)(response));
    }

    pub(crate) fn arm(&mut self, node: NodeId, timer: &P::Timer, due: Time) {
        self.log.arm(node, (self.describe.timer)(timer), Some(due.since_start()));
    }

    pub(crate) fn disarm(&mut self, node: NodeId, timer: &P::Timer) {
        self.log.disarm(node, (self.describe.timer)(timer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(numbers: &[u64]) -> Digest {
        let mut digest = Digest::default();
        numbers.iter().for_each(|number| digest.add(*number));
        digest
    }

    #[test]
    fn a_digest_tells_apart_what_differs_in_order_or_in_one_bit() {
        let all = [digest(&[1, 2]), digest(&[2, 1]), digest(&[1, 3]), digest(&[1, 2, 0])];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one));
        }
        assert_eq!(digest(&[1, 2]), all[0]);
    }
}
