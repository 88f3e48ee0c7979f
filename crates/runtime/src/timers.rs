//! Deadlines for a protocol's timers.
//!
//! A follower sets its election timer anew with every message of its leader, and it almost never fires. So a timer
//! that is set later than it was before is left where it is in the queue, and moved when its old time comes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Instant;

/// The timers of one node that are set.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    set: BTreeMap<T, Deadline>,
    /// In the order of time; the time of an entry may be before its timer's deadline, never after it.
    queue: BinaryHeap<Reverse<(Instant, T)>>,
    /// Those that fire at the end of the batch.
    now: Vec<T>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    queued_at: Instant,
}

impl<T: Clone + Ord> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers { set: BTreeMap::new(), queue: BinaryHeap::new(), now: Vec::new() }
    }

    /// Sets a timer to fire at the end of the batch.
    pub(crate) fn arm_now(&mut self, timer: T) {
        self.set.remove(&timer);
        if !self.now.contains(&timer) {
            self.now.push(timer);
        }
    }

    /// Sets a timer.
    pub(crate) fn arm(&mut self, timer: T, at: Instant) {
        self.now.retain(|due| *due != timer);
        match self.set.get_mut(&timer) {
            Some(deadline) if deadline.queued_at <= at => deadline.at = at,
            _ => {
                self.queue.push(Reverse((at, timer.clone())));
                self.set.insert(timer, Deadline { at, queued_at: at });
            }
        }
    }

    /// Unsets a timer.
    pub(crate) fn disarm(&mut self, timer: &T) {
        self.now.retain(|due| due != timer);
        self.set.remove(timer);
    }

    /// The next timer that is due; it is unset. Those whose deadline has passed come first, in the order of their
    /// deadlines; those for the end of the batch come last, so that whoever acts at the end of a batch knows of every
    /// deadline that `now` has seen pass.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        while self.queue.peek().is_some_and(|Reverse((queued_at, _))| *queued_at <= now) {
            let Reverse((queued_at, timer)) = self.queue.pop()?;
            match self.set.get_mut(&timer) {
                // Even if it is due: others may be that were due before.
                Some(deadline) if deadline.queued_at == queued_at && deadline.at > queued_at => {
                    deadline.queued_at = deadline.at;
                    self.queue.push(Reverse((deadline.at, timer)));
                }
                Some(deadline) if deadline.queued_at == queued_at => {
                    self.set.remove(&timer);
                    return Some(timer);
                }
                // Unset since, or set anew for an earlier time.
                _ => {}
            }
        }
        if self.now.is_empty() { None } else { Some(self.now.remove(0)) }
    }

    /// When to look again: not after the next deadline.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether a timer waits for the end of the batch.
    pub(crate) fn has_now(&self) -> bool {
        !self.now.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn due(timers: &mut Timers<u8>, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| timers.pop_due(now)).collect()
    }

    #[test]
    fn timers_fire_once_in_the_order_of_their_deadlines() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.arm(1, at(20));
        timers.arm(2, at(10));
        assert_eq!(due(&mut timers, at(9)), []);
        assert_eq!(due(&mut timers, at(20)), [2, 1]);
        assert_eq!(due(&mut timers, at(99)), []);
    }

    #[test]
    fn a_timer_set_later_or_earlier_fires_at_its_new_deadline_alone() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.arm(1, at(10));
        timers.arm(1, at(30));
        assert_eq!(due(&mut timers, at(29)), []);
        timers.arm(1, at(40));
        timers.arm(1, at(35));
        assert_eq!(due(&mut timers, at(36)), [1]);
        assert_eq!(due(&mut timers, at(99)), []);
    }

    #[test]
    fn an_unset_timer_does_not_fire_even_if_it_is_set_again_later() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.arm(1, at(10));
        timers.disarm(&1);
        timers.arm(1, at(20));
        assert_eq!(due(&mut timers, at(15)), []);
        assert_eq!(due(&mut timers, at(20)), [1]);
        timers.arm_now(2);
        timers.disarm(&2);
        assert_eq!(due(&mut timers, at(99)), []);
    }

    #[test]
    fn a_timer_for_the_end_of_the_batch_is_due_at_once_and_after_every_deadline_that_has_passed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.arm_now(7);
        timers.arm_now(7);
        timers.arm(2, at(2));
        timers.arm(1, at(1));
        timers.arm(3, at(4));
        assert_eq!(due(&mut timers, at(3)), [1, 2, 7]);
    }

    #[test]
    fn timers_that_were_set_later_fire_in_the_order_of_their_new_deadlines() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        timers.arm(1, at(10));
        timers.arm(2, at(20));
        timers.arm(1, at(30));
        assert_eq!(due(&mut timers, at(40)), [2, 1]);
    }
}
