//! Watches: whoever asked is told of every change of the keys it named, in order, once, and from the revision it named.
//!
//! The naive version has whoever writes tell all who watch. Then the slowest of them sets the pace of writes, or its
//! unread messages fill the memory. Here nobody tells anybody: the store keeps its past ([`History`]), and the
//! [`Hub`] reads it, far from the event loop that writes. Most watches are *level*: they have been told of all that the hub
//! has read, and one look at a change finds those that it concerns ([`index`]). One whose client doesn't take
//! what it is sent, or that begins in the past, is *behind*: the hub notes how far it has been told, forgets the rest, and
//! reads it again later. So a watch costs a bounded amount of memory, however slow it is, and the only thing that it can
//! lose is what a compaction has dropped, of which it is told.
//!
//! What lives here: the hub, as a state machine. Whoever drives it gives it newer histories and lets it [`Hub::work`].
//!
//! Invariants:
//! - A watch is told of the changes of one revision in one notice, and of no revision twice.
//! - A level watch has been told of all that concerns it up to [`Hub::position`]; one that is behind, of all before `next`.
//! - What a progress notice claims has been told before.
//!
//! Departures from etcd: progress that was asked for is told once every watch of the stream is level and the hub has read
//! all that this node had applied when it was asked, where etcd 3.5.1 answers at once with what it may not have sent. A
//! watch from a later revision on counts as told of what is before that, and so keeps its stream from being told of less.

mod history;
mod hub;
pub mod index;
mod notice;

pub use history::History;
pub use hub::{Hub, Limits, MUTANTS, WATCHES_PER_STREAM_MAX};
pub use notice::{Notice, Refusal, StreamId, Watch};
