//! A log a step at a time.

use std::time::Duration;

use quorate_core::NodeId;

use crate::log::{Event, MessageId, What};

/// Some events that belong together: a node's step, or something that no node took part in.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The place of its first event in the log.
    pub first: usize,
    /// Its events; at least one.
    pub events: &'a [Event],
}

impl Step<'_> {
    /// When it was taken.
    pub fn at(&self) -> Duration {
        self.events[0].at
    }

    /// The node that took it; none if no node did, or only the network.
    pub fn node(&self) -> Option<NodeId> {
        self.events[0].what.node()
    }

    /// The node's state at its end; none if the step never ended, or no node took it.
    pub fn view(&self) -> Option<&str> {
        match &self.events.last()?.what {
            What::View { view, .. } => Some(view),
            _ => None,
        }
    }

    /// Whether it takes a message of routine and nothing comes of that, so that what it sends is routine as well. `before`
    /// is the node's state until then.
    pub(crate) fn passes_routine_on(
        &self,
        is_routine: impl Fn(MessageId) -> bool,
        before: Option<&str>,
    ) -> bool {
        let What::Deliver { message, .. } = self.events[0].what else { return false };
        is_routine(message)
            && self.events.iter().all(|event| match &event.what {
                What::Persist { .. } | What::Reply { .. } => false,
                What::View { view, .. } => before == Some(view.as_str()),
                _ => true,
            })
    }

    /// Whether the event at that place is part of it.
    pub fn contains(&self, event: usize) -> bool {
        (self.first..self.first + self.events.len()).contains(&event)
    }
}

/// The steps of a log. See [`StepLog::steps`](crate::StepLog::steps).
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    events: &'a [Event],
    next: usize,
}

impl<'a> Steps<'a> {
    /// Those from the event at place `next` on.
    pub(crate) fn new(events: &'a [Event], next: usize) -> Self {
        Steps { events, next }
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let first = self.next;
        let opening = self.events.get(first)?;
        let mut end = first + 1;
        if opening.what.is_input() {
            let is_over = |end: usize| {
                end > first + 1 && matches!(self.events[end - 1].what, What::View { .. })
            };
            while end < self.events.len() && self.events[end].what.is_effect() && !is_over(end) {
                end += 1;
            }
        }
        self.next = end;
        Some(Step { first, events: &self.events[first..end] })
    }
}
