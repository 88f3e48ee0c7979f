//! The event queue: what happens next, in virtual time, ties broken by the order of scheduling.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Time;

/// Events in the order of their time; those of one instant in the order in which they were scheduled.
///
/// The heap holds small keys only. The events lie still in a slab whose slots are reused, so that neither a large
/// message type nor a long run costs copies or allocation.
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<(Time, u64, u32)>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    scheduled: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Queue { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), scheduled: 0 }
    }

    #[inline]
    pub(crate) fn schedule(&mut self, at: Time, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 events wait");
                self.slots.push(Some(event));
                slot
            }
        };
        self.scheduled += 1;
        self.heap.push(Reverse((at, self.scheduled, slot)));
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        let event = self.slots[slot as usize].take().expect("a scheduled event lies in its slot");
        Some((at, event))
    }

    #[inline]
    pub(crate) fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_ties_by_the_order_of_scheduling() {
        let mut queue = Queue::new();
        for (at, event) in [(3, 'd'), (1, 'a'), (2, 'b'), (2, 'c')] {
            queue.schedule(Time(at), event);
        }
        assert_eq!(queue.next_time(), Some(Time(1)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
    }

    #[test]
    fn a_slot_is_used_again_once_its_event_has_happened() {
        let mut queue = Queue::new();
        for round in 0..100 {
            queue.schedule(Time(round), round);
            queue.schedule(Time(round), round);
            assert_eq!(queue.pop(), Some((Time(round), round)));
            assert_eq!(queue.pop(), Some((Time(round), round)));
        }
        assert_eq!(queue.slots.len(), 2);
    }
}
