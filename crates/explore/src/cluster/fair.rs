//! What a fair run may not leave undone for ever.
//!
//! The notion is weak fairness, of each thing by itself: what could be done at every moment from some moment on is done
//! at some time. A message that stays under way arrives, so none is lost for ever; a timer that stays armed fires; a disk
//! that has something to sync syncs. A timer that is armed anew, or disarmed, waits from the beginning: the next firing
//! owes nothing to the wait before, and so a leader that is heard often enough may be followed for ever.
//!
//! Nothing else is ever due: that a node crashes, that a message arrives twice, that a client asks or a connection breaks
//! may happen or not. Choices are decided by whoever wants the worst. A protocol that ends *with probability one* may
//! therefore be found to go on for ever.

use super::{Change, Event, Explorer, State};
use crate::live::Noted;
use crate::model::Model;
use crate::node::Timers;

/// One thing that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Duty {
    /// A message of that print arrives.
    Deliver(u64),
    /// An armed timer fires. It is due as well where it may not within the bounds.
    Fire { node: usize, timer: usize },
    /// A disk that has something to sync does so.
    Sync { node: usize },
}

/// What a change does of what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doer {
    /// None: the change is one that need not happen.
    pub(crate) done: Option<Duty>,
    pub(crate) node: usize,
    /// The timers of that node that wait from the beginning, or no more.
    pub(crate) touched: Timers,
}

impl<M: Model> Explorer<'_, M> {
    /// What is to be noted of a state that is about to be explored.
    pub(crate) fn note(&mut self, state: &State<M>) -> Noted {
        Noted { duties: self.duties(state), is_cut: self.is_cut(state), changes: Vec::new() }
    }

    /// What a fair run may not leave undone for ever, if it stays as in this state. A message that would change nothing
    /// is not of it: it may arrive now, unseen.
    fn duties(&mut self, state: &State<M>) -> Vec<Duty> {
        let mut duties = Vec::new();
        let mut events = Vec::new();
        self.list_events(state, &mut events);
        for event in events {
            let Event::Deliver { letter, is_repeated: false } = event else { continue };
            let before = &state.nodes[self.mover(state, event)];
            let turns = self.turns(state, event);
            if !turns.iter().any(|turned| turned.is_idle(before, true)) {
                duties.push(Duty::Deliver(state.letters[letter].prints[0]));
            }
        }
        for (node, known) in state.nodes.iter().enumerate() {
            let armed = (0..self.model.timers().len()).filter(|timer| known.is_armed(*timer));
            duties.extend(armed.map(|timer| Duty::Fire { node, timer }));
            duties.extend((known.unsynced() > 0).then_some(Duty::Sync { node }));
        }
        duties
    }

    /// Whether a timer is armed that has fired as often as it may: what would be next is beyond the bounds.
    fn is_cut(&self, state: &State<M>) -> bool {
        let timers = self.model.timers();
        state.nodes.iter().any(|known| {
            (0..timers.len()).any(|timer| known.is_armed(timer) && !self.may_fire(state, timer))
        })
    }
}

impl<M: Model> Change<M> {
    /// What it does of what is due in the state that it changes.
    pub(crate) fn doer(&self, state: &State<M>) -> Doer {
        let node = self.moved;
        let done = match self.event {
            Event::Deliver { letter, is_repeated: false } => {
                Some(Duty::Deliver(state.letters[letter].prints[0]))
            }
            Event::Fire { timer, .. } => Some(Duty::Fire { node, timer }),
            Event::Sync { .. } => Some(Duty::Sync { node }),
            _ => None,
        };
        Doer { done, node, touched: self.turned.touched }
    }
}
