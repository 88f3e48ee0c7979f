//! How far a run has gone within the bounds.

use super::Event;
use crate::node::TIMERS_MAX;

/// How much of each bound is used up.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Spent {
    pub(super) crashes: u8,
    pub(super) repeats: u8,
    pub(super) requests: u8,
    pub(super) hints: u8,
    pub(super) fired: [u8; TIMERS_MAX],
}

impl Spent {
    /// What is used up once an event has happened.
    pub(super) fn by(mut self, event: Event) -> Self {
        match event {
            Event::Deliver { is_repeated, .. } => self.repeats += u8::from(is_repeated),
            Event::Fire { timer, is_counted, .. } => self.fired[timer] += u8::from(is_counted),
            Event::Ask { .. } => self.requests += 1,
            Event::Lost { .. } => self.hints += 1,
            Event::Sync { .. } => {}
            Event::Crash { .. } => self.crashes += 1,
        }
        self
    }

    /// In words, of as many timers as there are.
    pub(super) fn words(&self, timers: usize) -> impl Iterator<Item = u64> {
        let rare = [self.crashes, self.repeats, self.requests, self.hints, 0, 0, 0, 0];
        let (fired, _) = self.fired[..timers.next_multiple_of(8)].as_chunks();
        [rare].into_iter().chain(fired.iter().copied()).map(u64::from_le_bytes)
    }
}
