//! A store's past, for whoever watches.

use std::fmt;
use std::sync::Arc;

use quorate_engine::{EngineError, View};

use crate::request::Revision;
use crate::store::{AuthTable, Changes, Portion, PreparedChanges};

/// A store's past, from its last compaction up to when it was asked for; of whichever engine the store lies in. Cheap to
/// clone.
#[derive(Clone)]
pub struct History {
    /// The term of the replica that was asked.
    pub term: u64,
    /// The revision of its store.
    pub now: Revision,
    /// The oldest revision whose changes are known; -1 if nothing was compacted yet.
    pub compacted: Revision,
    /// Who may read what, as of then.
    pub auth: Arc<AuthTable>,
    /// None once nobody can ask for it any more: it would keep files from being removed.
    past: Option<Arc<Past>>,
}

/// Reads a past in whichever engine it is: see [`PreparedChanges::read`].
type Past = dyn Fn(Revision, Revision, Portion, bool) -> Result<Changes, EngineError> + Send + Sync;

impl History {
    /// The history in a store that is being prepared.
    pub fn new<V>(term: u64, changes: PreparedChanges<V>) -> Self
    where
        V: View + Send + Sync + 'static,
    {
        let (now, compacted, auth) = (changes.now, changes.compacted, changes.auth.clone());
        let past = move |from, upto, portion, prev_kv| changes.read(from, upto, portion, prev_kv);
        History { term, now, compacted, auth, past: Some(Arc::new(past)) }
    }

    /// See [`PreparedChanges::read`]. It may read from the disk, so this is not for an event loop.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn read(
        &self,
        from: Revision,
        upto: Revision,
        portion: Portion,
        prev_kv: bool,
    ) -> Result<Changes, EngineError> {
        let past = self.past.as_ref().expect("a history was released and then read");
        past(from, upto, portion, prev_kv)
    }

    pub(super) fn is_released(&self) -> bool {
        self.past.is_none()
    }

    /// Lets go of what it was read from.
    pub(super) fn release(&mut self) {
        self.past = None;
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("now", &self.now).finish_non_exhaustive()
    }
}

/// Two are the same if they are of one request.
impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        match (&self.past, &other.past) {
            (Some(past), Some(other)) => Arc::ptr_eq(past, other),
            (None, None) => self.now == other.now,
            _ => false,
        }
    }
}

impl Eq for History {}
