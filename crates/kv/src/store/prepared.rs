//! A read that is done later and elsewhere, from the map as it was when it was prepared.

use bytes::Bytes;
use quorate_engine::{EngineError, View};

use super::map::Map;
use super::read::{Allowance, Reading};
use crate::request::{KeyValue, RangeRequest, RangeResponse, Revision};

/// What becomes of a read.
#[derive(Debug)]
pub enum Read<V> {
    /// It took little, and is answered.
    Answer(RangeResponse),
    /// It takes more, and is best carried out elsewhere.
    Prepared(PreparedRange<V>),
}

/// A read that is ready to be carried out, in two passes: one that says how much there is ([`PreparedRange::measure`]),
/// and one that gives it out piece by piece ([`PreparedRange::kvs`]). Both see the store as it was when the read was
/// prepared. It may go to another thread; the store waits for nothing.
#[derive(Clone, Debug)]
pub struct PreparedRange<V> {
    pub(super) view: V,
    pub(super) request: RangeRequest,
    pub(super) now: Revision,
    pub(super) live_keys: usize,
    /// What the first pass has chosen, where the answer is sorted.
    pub(super) chosen: Option<Vec<Bytes>>,
}

/// All of an answer but its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// As [`RangeResponse::revision`].
    pub revision: Revision,
    /// As [`RangeResponse::count`].
    pub count: usize,
    /// As [`RangeResponse::more`].
    pub more: bool,
    /// How many keys [`PreparedRange::kvs`] gives.
    pub kvs: usize,
    /// The sum of what the caller says that each of them takes.
    pub bytes: usize,
}

impl<V: View> PreparedRange<V> {
    /// Passes over the range once. `size` says how much one key of the answer takes in the caller's encoding.
    ///
    /// # Errors
    /// What the engine could not read.
    pub fn measure(
        &mut self,
        mut size: impl FnMut(&KeyValue) -> usize,
    ) -> Result<Measure, EngineError> {
        let (mut kvs, mut bytes) = (0, 0);
        let mut take = |kv: KeyValue| {
            kvs += 1;
            bytes += size(&kv);
        };
        let mut allowance = Allowance::UNBOUNDED;
        let pass = self.reading().pass(&mut allowance, &mut take)?;
        let pass = pass.expect("a read without bounds was given up");
        self.chosen = pass.chosen;
        if self.chosen.is_some() {
            for kv in self.kvs()? {
                take(kv?);
            }
        }
        Ok(Measure { revision: self.now, count: pass.count, more: pass.more, kvs, bytes })
    }

    /// The keys of the answer, in order. A sorted answer must have been measured before.
    ///
    /// # Errors
    /// What the engine could not read, at once or in the place of a key.
    ///
    /// # Panics
    /// If the answer is sorted and was not measured.
    pub fn kvs(
        &self,
    ) -> Result<impl Iterator<Item = Result<KeyValue, EngineError>> + '_, EngineError> {
        assert!(
            self.chosen.is_some() || !self.reading().is_sorted(),
            "a sorted answer was asked for its keys before it was measured"
        );
        self.reading().kvs(self.chosen.as_deref())
    }

    fn reading(&self) -> Reading<'_, V> {
        let PreparedRange { view, request, now, live_keys, .. } = self;
        Reading { map: Map::new(view), request, now: *now, live_keys: *live_keys }
    }
}
