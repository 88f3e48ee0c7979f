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
