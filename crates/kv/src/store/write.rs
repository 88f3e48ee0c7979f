//! Writes: one key, or the deletion of a range.

use bytes::Bytes;

use super::Store;
use super::compaction::Garbage;
use super::history::{History, Version};
use super::mutant::Mutant;
use super::read::bounds;
use crate::error::Error;
use crate::request::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseId, PutRequest, PutResponse, Revision,
};

/// One command on its way from the revision before it to the one it makes, if it changes anything.
pub(super) struct Step {
    base: Revision,
    next: Revision,
    has_written: bool,
}

impl Step {
    pub(super) fn new(base: Revision, next: Revision) -> Self {
        Self { base, next, has_written: false }
    }

    /// The revision that the store has come to, the writes of this command so far included.
    pub(super) fn now(&self) -> Revision {
        if self.has_written { self.next } else { self.base }
    }
}

impl Store {
    /// Refuses a put that would keep what is not there.
    pub(super) fn check_kept(&self, request: &PutRequest) -> Result<(), Error> {
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && self.live_version_at(&request.key, self.revision).is_none() {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    /// Refuses a put that names a lease that nobody holds.
    pub(super) fn check_lease(&self, request: &PutRequest) -> Result<(), Error> {
        if self.lease_exists(request.lease) { Ok(()) } else { Err(Error::LeaseNotFound) }
    }

    /// Whether a key may be bound to a lease. Leases cannot be granted yet, so this is true of «no lease» alone.
    fn lease_exists(&self, lease: LeaseId) -> bool {
        lease == LeaseId(0)
    }

    fn live_version_at(&self, key: &Bytes, at: Revision) -> Option<&Version> {
        self.keys.get(key).and_then(|history| history.live_at(at))
    }

    /// Writes a key, once the checks above have passed in the store as it was before the command.
    pub(super) fn put(&mut self, request: &PutRequest, step: &mut Step) -> PutResponse {
        let (value, lease) = self.content(request, step);
        self.bytes += value.len();
        let mut version = Version {
            mod_revision: step.next,
            create_revision: step.next,
            version: 1,
            lease,
            value: Some(value),
        };
        let survives_deletion = self.is_mutant(Mutant::KeyLifeSurvivesDeletion);
        let mut prev_kv = None;
        match self.keys.get_mut(&request.key) {
            Some(history) => {
                let before = &history.newest;
                if before.is_live() || survives_deletion {
                    version.create_revision = before.create_revision;
                    version.version = before.version + 1;
                }
                if before.is_live() {
                    prev_kv = request.prev_kv.then(|| before.to_key_value(&request.key, false));
                    self.garbage.push_back(Garbage::new(step.next, &request.key));
                } else {
                    self.live_keys += 1;
                }
                history.push(version);
            }
            None => {
                // A key lives longer than its first value. Sharing the request's bytes here would hold the whole
                // first log entry in memory for as long as the key exists, so that a key costs one small copy.
                let key = Bytes::copy_from_slice(&request.key);
                self.bytes += key.len();
                self.live_keys += 1;
                self.keys.insert(key, History::new(version));
            }
        }
        step.has_written = true;
        PutResponse { revision: step.next, prev_kv }
    }

    /// The value and the lease that a put writes, its own or those that it keeps.
    ///
    /// What it keeps is what was there before the command: that is what the checks have seen. It matters only where a
    /// transaction deletes every key from some key on and then writes one of them, which etcd lets pass.
    fn content(&self, request: &PutRequest, step: &Step) -> (Bytes, LeaseId) {
        if !request.ignore_value && !request.ignore_lease {
            return (request.value.clone(), request.lease);
        }
        let kept = self
            .live_version_at(&request.key, step.base)
            .expect("a put that keeps what is there was let through without anything there");
        let value = if request.ignore_value { kept.value.as_ref() } else { Some(&request.value) };
        let lease = if request.ignore_lease { kept.lease } else { request.lease };
        (value.cloned().unwrap_or_default(), lease)
    }

    /// Deletes the keys of a range that are there.
    pub(super) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
        step: &mut Step,
    ) -> DeleteRangeResponse {
        let mut deleted = 0;
        let mut prev_kvs = Vec::new();
        let Some(bounds) = bounds(&request.range) else {
            return DeleteRangeResponse { revision: step.now(), deleted, prev_kvs };
        };
        for (key, history) in self.keys.range_mut::<[u8], _>(bounds) {
            if !history.newest.is_live() {
                continue;
            }
            if request.prev_kv {
                prev_kvs.push(history.newest.to_key_value(key, false));
            }
            // Once for the version that ends here, and once for the tombstone: a compaction at this revision
            // leaves neither.
            self.garbage.push_back(Garbage::new(step.next, key));
            self.garbage.push_back(Garbage::new(step.next, key));
            history.push(history.newest.ended_at(step.next));
            deleted += 1;
        }
        self.live_keys -= deleted;
        step.has_written |= deleted > 0;
        DeleteRangeResponse { revision: step.now(), deleted, prev_kvs }
    }
}
