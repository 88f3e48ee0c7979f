//! The fingerprint of a node's data: one number for all that can be read, by which members can be compared.
//!
//! To compute one means to read the whole store, which may take minutes. So it is done on a thread of its own, one at a time,
//! and whoever wants it asks again until it is there.

use std::sync::{Arc, Mutex, PoisonError};

use quorate_kv::error::Error;
use quorate_kv::long_read::LongDigest;
use quorate_kv::request::Revision;

/// One number for what can be read from one revision to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint {
    /// The oldest revision that was looked at. Fingerprints of different ones can't be compared.
    pub(crate) compacted: Revision,
    pub(crate) hash: u64,
}

/// The last one that was asked for.
#[derive(Debug, Default)]
struct Work {
    upto: Option<Revision>,
    /// None as long as it is being computed.
    outcome: Option<Result<Fingerprint, Error>>,
}

impl Work {
    fn is_under_way(&self) -> bool {
        self.upto.is_some() && self.outcome.is_none()
    }
}

/// Where fingerprints of one node are computed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprints(Arc<Mutex<Work>>);

impl Fingerprints {
    /// What is known of the fingerprint at a revision, if anything is; as long as any is being computed, that it is not
    /// there yet.
    pub(crate) fn known(&self, upto: Revision) -> Option<Result<Option<Fingerprint>, Error>> {
        let mut work = self.work();
        if work.is_under_way() {
            return Some(Ok(None));
        }
        if work.upto != Some(upto) {
            return None;
        }
        // It is told once: who asks again wants to know what is there by then.
        work.upto = None;
        work.outcome.take().map(|outcome| outcome.map(Some))
    }

    /// Begins to compute one, unless another is being computed.
    pub(crate) fn begin(&self, digest: LongDigest) {
        let mut work = self.work();
        if work.is_under_way() {
            return;
        }
        *work = Work { upto: Some(digest.upto), outcome: None };
        let all = self.clone();
        tokio::task::spawn_blocking(move || {
            let compacted = digest.compact_revision;
            let outcome = digest.compute().map(|hash| Fingerprint { compacted, hash });
            all.work().outcome = Some(outcome.map_err(Error::from));
        });
    }

    fn work(&self) -> std::sync::MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
