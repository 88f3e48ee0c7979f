//! The trace: what happened, step by step, as text for people and as a number for comparison.
//!
//! The digest is always on. It covers the time, node and kind of every event, every draw that a node saw, and where
//! and when its messages went, but not their content: no bound on a protocol's types is needed for it. The text is
//! built only when somebody wants to read it, and has everything.

use std::fmt::{Debug, Write};

use quorate_core::{Input, NodeId, Protocol, RequestId};

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
    pub message: fn(&P::Message) -> String,
    /// A timer's name.
    pub timer: fn(&P::Timer) -> String,
    /// A record.
    pub record: fn(&P::Record) -> String,
    /// A request.
    pub request: fn(&P::Request) -> String,
    /// A response.
    pub response: fn(&P::Response) -> String,
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
            message: |message| format!("{message:?}"),
            timer: |timer| format!("{timer:?}"),
            record: |record| format!("{record:?}"),
            request: |request| format!("{request:?}"),
            response: |response| format!("{response:?}"),
        }
    }
}

/// A text in the making: one line a step, its input first, then its effects in their order, then the node's view.
pub(crate) struct Trace<P: Protocol> {
    pub(crate) describe: Describe<P>,
    text: String,
}

impl<P: Protocol> Trace<P> {
    pub(crate) fn new(describe: Describe<P>) -> Self {
        Trace { describe, text: String::new() }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// A line of its own, for what no protocol took part in.
    pub(crate) fn note(&mut self, now: Time, what: std::fmt::Arguments<'_>) {
        self.write(format_args!("{now} {what}\n"));
    }

    pub(crate) fn begin(&mut self, now: Time, node: NodeId, what: &str) {
        self.write(format_args!("{now} {node} {what}"));
    }

    pub(crate) fn begin_input(&mut self, now: Time, node: NodeId, input: &Input<P>) {
        let words = match input {
            Input::Deliver { from, message } => {
                format!("← {from} {}", (self.describe.message)(message))
            }
            Input::Fire(timer) => format!("fire {}", (self.describe.timer)(timer)),
            Input::Ask { id, request } => format!("ask {id} {}", (self.describe.request)(request)),
            Input::Synced { upto } => format!("synced {upto}"),
            Input::Lost { peer } => format!("lost {peer}"),
        };
        self.begin(now, node, &words);
    }

    pub(crate) fn persist(&mut self, record: &P::Record) {
        let words = (self.describe.record)(record);
        self.write(format_args!("; persist {words}"));
    }

    pub(crate) fn send(&mut self, to: NodeId, message: &P::Message, fate: &str) {
        let words = (self.describe.message)(message);
        self.write(format_args!("; → {to} {words}{fate}"));
    }

    pub(crate) fn reply(&mut self, id: RequestId, response: &P::Response) {
        let words = (self.describe.response)(response);
        self.write(format_args!("; reply {id} {words}"));
    }

    pub(crate) fn arm(&mut self, timer: &P::Timer, due: Time) {
        let words = (self.describe.timer)(timer);
        self.write(format_args!("; arm {words} for {due}"));
    }

    pub(crate) fn disarm(&mut self, timer: &P::Timer) {
        let words = (self.describe.timer)(timer);
        self.write(format_args!("; disarm {words}"));
    }

    pub(crate) fn choose(&mut self, chosen: u32, bound: u32) {
        self.write(format_args!("; choose {chosen} of {bound}"));
    }

    pub(crate) fn end(&mut self, view: &str) {
        self.write(format_args!(" | {view}\n"));
    }

    fn write(&mut self, words: std::fmt::Arguments<'_>) {
        self.text.write_fmt(words).expect("a string takes what is written to it");
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
