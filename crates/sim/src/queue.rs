//! The event queue: what happens next, in virtual time, ties broken by the order of scheduling.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Time;

/// Events in the order of their time; those of one instant in the order in which they were scheduled.
///
/// The heap holds small keys only. The events lie still in a slab whose slots are reused, so that neither a large
/// message type nor a long run costs copies or allocation.
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    scheduled: u64,
}

/// An event's time, which in the order of scheduling it is, and its slot, in one number, so that one comparison tells
/// which comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

const SCHEDULED_BITS: u32 = 40;
const SLOT_BITS: u32 = 24;

impl Key {
    fn new(at: Time, scheduled: u64, slot: u32) -> Self {
        assert!(scheduled >> SCHEDULED_BITS == 0, "a run of more than 2^40 events");
        assert!(slot >> SLOT_BITS == 0, "more than 2^24 events wait");
        Key(u128::from(at.0) << 64 | u128::from(scheduled << SLOT_BITS | u64::from(slot)))
    }

    fn at(self) -> Time {
        Time((self.0 >> 64) as u64)
    }

    fn slot(self) -> usize {
        self.0 as usize & ((1 << SLOT_BITS) - 1)
    }
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
                let slot = self.slots.len() as u32;
                self.slots.push(Some(event));
                slot
            }
        };
        self.scheduled += 1;
        self.heap.push(Reverse(Key::new(at, self.scheduled, slot)));
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        let Reverse(key) = self.heap.pop()?;
        self.free.push(key.slot() as u32);
        let event = self.slots[key.slot()].take().expect("a scheduled event lies in its slot");
        Some((key.at(), event))
    }

    #[inline]
    pub(crate) fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(key)| key.at())
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
