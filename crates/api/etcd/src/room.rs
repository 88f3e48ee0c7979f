//! Room for what clients have begun to say and not finished.
//!
//! A request is in memory as soon as its first bytes are. A client that begins many and ends none would fill a node with
//! them: a connection may have thousands of calls under way, and each may be as long as a request can be. So all that waits
//! for its rest has to fit into one [`Room`]; what doesn't is refused at once, as are requests that come in faster than they
//! can be carried out. What arrives in one piece that says it is all needs none of it.
//!
//! *Omitted.* A limit in time: who never ends a request keeps its part of the room until the connection ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_kv::error::Error as StoreError;

use crate::error::Error;

/// The room of one node.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    bytes: usize,
}

impl Room {
    /// So many bytes of it.
    pub(crate) fn new(bytes: usize) -> Self {
        Room { taken: AtomicUsize::new(0), bytes }
    }

    /// A place in it that takes nothing yet.
    pub(crate) fn place(self: &Arc<Self>) -> Place {
        Place { room: self.clone(), bytes: 0 }
    }
}

/// What one unfinished request takes. It is given back with it.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Place {
    /// Has the place take so many bytes, if that is more than it takes.
    ///
    /// # Errors
    /// If there is no room for them: too many requests.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        let taken = self.room.taken.fetch_add(more, Ordering::Relaxed) + more;
        self.bytes += more;
        if taken > self.room.bytes && more > 0 {
            return Err(StoreError::TooManyRequests.into());
        }
        Ok(())
    }

    /// Gives back what it takes: the request is whole.
    pub(crate) fn clear(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_given_back_can_be_had_again() {
        let room = Arc::new(Room::new(100));
        let (mut one, mut other) = (room.place(), room.place());
        one.grow_to(40).expect("there is room");
        one.grow_to(60).expect("there is room for 20 more");
        one.grow_to(50).expect("it has that");
        other.grow_to(41).expect_err("there is room for 40");
        drop(other);
        let mut other = room.place();
        other.grow_to(40).expect("there is room for 40");
        one.clear();
        drop(other);
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
