//! Where a shard keeps its data: an ordered map of byte strings that may be larger than memory.
//!
//! An [`Engine`] takes batches. A batch is visible at once, and durable *later*: the log of the node holds every entry
//! until the engine says that its effect is durable, so an engine needs no log of its own. After a crash it holds some
//! prefix of the batches that it was given, whole ones, and at least those it had called durable; the entries after
//! that are applied again.
//!
//! *Life of a batch.* [`Engine::write`] makes it visible and names it. [`Engine::flush`] begins to make all that was
//! written durable and returns at once. [`Engine::poll`], called now and then, says up to which batch that has come, and
//! reports what went wrong meanwhile.
//!
//! A [`View`] is the map as it was when the view was taken; it stays so for as long as it is held, however much is
//! written. Reading one blocks nobody, and may be done on another thread.
//!
//! *Life of an import.* [`Engine::import`] opens an empty map beside the one in use; sorted pairs are added to it; and
//! [`Engine::adopt`] puts it in the place of the one in use, durably and at once: a crash leaves the old or the new.
//!
//! What never may live here: what the bytes mean. That is the store's affair.
//!
//! Open first: this file, then [`memory`], then [`lsm`].

pub mod lsm;
pub mod memory;

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use thiserror::Error;

pub use lsm::{EngineOptions, LsmEngine};
pub use memory::{MemoryDisk, MemoryEngine};

/// The longest key; the shortest has one byte. What a client names a thing is checked before it comes here.
pub const KEY_BYTES_MAX: usize = 65_535;

/// The place of a batch among all that were given to an engine since it was opened, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchNumber(pub u64);

/// Why an engine could not do what it was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// What was read is not what was written. The data must be had from another replica.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// The file, or what is known of the place.
        what: String,
        /// How that was found.
        why: String,
    },
    /// There is no space left for what is to be made durable. Nothing is lost, and it goes on once there is.
    #[error("no space is left on the disk that holds {what}")]
    Full {
        /// The directory.
        what: String,
    },
    /// The disk failed.
    #[error("cannot {action} {what}: {why}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        what: String,
        /// What the system said.
        why: String,
    },
}

/// The result of asking an engine.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Changes that become visible together, and durable together. Of two changes to one key the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Each key with its new value, or none if it is to go.
    changes: Vec<(Bytes, Option<Bytes>)>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let key = key.into();
        assert_key(&key);
        self.changes.push((key, Some(value.into())));
    }

    /// Removes a key, whether it is there or not.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        assert_key(&key);
        self.changes.push((key, None));
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[(Bytes, Option<Bytes>)] {
        &self.changes
    }

    /// Takes the changes out, in order, and leaves the batch empty.
    pub fn drain(&mut self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        self.changes.drain(..)
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What can be read: an engine as it is now, or a view of it as it was.
pub trait View {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The pairs of a range of keys in ascending order. Nothing is read before it is asked for.
    fn scan(
        &self,
        range: impl RangeBounds<Bytes>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>>;
}

/// How much an engine holds, as far as it knows without looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// What its files occupy, in bytes.
    pub disk_bytes: u64,
    /// What is visible and not durable yet, in bytes of keys and values.
    pub unflushed_bytes: u64,
}

/// An ordered map that survives crashes (see the [module](self)).
pub trait Engine: View + Sized + 'static {
    /// The map as it was at one moment.
    type View: View + Clone + Send + Sync + 'static;
    /// A map that is being filled, to take this one's place.
    type Import: Import;

    /// Makes a batch visible, and empties it. Its name is its place.
    fn write(&mut self, batch: &mut Batch) -> BatchNumber;

    /// The map as it is now.
    fn view(&self) -> Self::View;

    /// Begins to make durable all that was written so far, and returns at once.
    fn flush(&mut self);

    /// The newest batch that is durable, it and all before it; and carries on with what goes on behind. An error is
    /// reported once, and is not the end: what is visible stays so, and what failed is tried again at the next call.
    fn poll(&mut self) -> Result<BatchNumber>;

    /// How much it holds.
    fn size(&self) -> Size;

    /// Begins to fill another map. One that was begun before and not adopted is dropped.
    fn import(&mut self) -> Result<Self::Import>;

    /// Puts the imported map in the place of this one; views of the old one stay good. When this returns that is
    /// durable: after a crash, it is the imported map that is there. Batches are counted on.
    fn adopt(&mut self, import: Self::Import) -> Result<()>;
}

/// A map that is being filled.
pub trait Import {
    /// Adds a pair. Keys must rise.
    fn add(&mut self, key: Bytes, value: Bytes) -> Result<()>;
}

fn assert_key(key: &[u8]) {
    assert!(!key.is_empty(), "a key is empty");
    assert!(key.len() <= KEY_BYTES_MAX, "a key is longer than an engine can keep");
}

/// Whether a range can hold any key, by its bounds alone.
fn may_hold_a_key(range: &impl RangeBounds<Bytes>) -> bool {
    use Bound::{Excluded, Included};
    match (range.start_bound(), range.end_bound()) {
        (Included(start), Included(end)) => start <= end,
        (Included(start) | Excluded(start), Included(end) | Excluded(end)) => start < end,
        _ => true,
    }
}
