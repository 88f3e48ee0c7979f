//! Reads that take long, handed to whoever asked, to be carried out on any thread.
//!
//! An event loop that passed over a million keys for one client would let all others wait, and so would an answer that
//! was put together in memory before its first byte leaves. So the node answers what is short, and hands out the rest
//! with a view of its store as it is; the store goes on meanwhile.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use quorate_engine::{EngineError, View};

use crate::request::{KeyValue, Revision};
use crate::store::{Allowance, Measure, PreparedDigest, PreparedRange};

/// What the node answers by itself. All longer ones are handed out.
pub const SHORT: Allowance = Allowance { keys: 4096, bytes: 256 << 10 };

/// A read of a range.
#[derive(Clone)]
pub struct LongRead {
    term: u64,
    range: Arc<dyn Range>,
}

/// Who is given the answer to a [`LongRead`].
pub trait Audience {
    /// How much a key takes in the answer's encoding.
    fn size(&self, kv: &KeyValue) -> usize;

    /// Is told how much there is, before the first key.
    fn begin(&mut self, measure: Measure) -> ControlFlow<()>;

    /// Takes the next key. When it breaks off, none follows.
    fn take(&mut self, kv: KeyValue) -> ControlFlow<()>;
}

/// A range of whichever engine it is.
trait Range: Send + Sync {
    fn tell(&self, audience: &mut dyn Audience) -> Result<(), EngineError>;
}

impl<V: View + Clone + Send + Sync> Range for PreparedRange<V> {
    fn tell(&self, audience: &mut dyn Audience) -> Result<(), EngineError> {
        let mut range = self.clone();
        let measure = range.measure(|kv| audience.size(kv))?;
        if audience.begin(measure).is_continue() {
            for kv in range.kvs()? {
                if audience.take(kv?).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl LongRead {
    pub(crate) fn new<V>(term: u64, range: PreparedRange<V>) -> Self
    where
        V: View + Clone + Send + Sync + 'static,
    {
        LongRead { term, range: Arc::new(range) }
    }

    /// The term of the replica that was asked.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Carries it out. It reads from the disk, so this is not for an event loop.
    ///
    /// # Errors
    /// What the engine could not read; the audience may have been given a part.
    pub fn tell(&self, audience: &mut dyn Audience) -> Result<(), EngineError> {
        self.range.tell(audience)
    }
}

impl fmt::Debug for LongRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongRead").field("term", &self.term).finish_non_exhaustive()
    }
}

/// Two are the same if they are of one request.
impl PartialEq for LongRead {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.range, &other.range)
    }
}

impl Eq for LongRead {}

/// One number for all that can be read at some revisions (see [`crate::store::Store::digest`]).
#[derive(Clone)]
pub struct LongDigest {
    /// The term of the replica that was asked.
    pub term: u64,
    /// The revision of its store.
    pub revision: Revision,
    /// The oldest revision that is looked at.
    pub compact_revision: Revision,
    /// The newest.
    pub upto: Revision,
    digest: Arc<dyn Fn() -> Result<u64, EngineError> + Send + Sync>,
}

impl LongDigest {
    pub(crate) fn new<V>(term: u64, revision: Revision, digest: PreparedDigest<V>) -> Self
    where
        V: View + Send + Sync + 'static,
    {
        LongDigest {
            term,
            revision,
            compact_revision: digest.compacted,
            upto: digest.upto,
            digest: Arc::new(move || digest.compute()),
        }
    }

    /// Computes it. It reads all of the store from the disk, so this is not for an event loop.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn compute(&self) -> Result<u64, EngineError> {
        (self.digest)()
    }
}

impl fmt::Debug for LongDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongDigest").field("upto", &self.upto).finish_non_exhaustive()
    }
}

/// Two are the same if they are of one request.
impl PartialEq for LongDigest {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.digest, &other.digest)
    }
}

impl Eq for LongDigest {}
