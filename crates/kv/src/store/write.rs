//! Writes: one key, or the deletion of a range.

use bytes::Bytes;
use quorate_engine::{Engine, EngineError};

use super::Store;
use super::layout::{Place, history_key, index_key_in, key_of_live, live_key, live_key_in};
use super::version::{Change, Version};
use crate::error::Error;
use crate::request::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseId, PutRequest, PutResponse, RangeEnd, Revision,
};

/// One command on its way from the revision before it to the one it makes, if it changes anything.
pub(super) struct Step {
    base: Revision,
    next: Revision,
    /// The number of changes so far.
    changes: u32,
}

impl Step {
    pub(super) fn new(base: Revision, next: Revision) -> Self {
        Self { base, next, changes: 0 }
    }

    /// The revision that the store has come to, the writes of this command so far included.
    pub(super) fn now(&self) -> Revision {
        if self.changes > 0 { self.next } else { self.base }
    }

    /// The place of the next change.
    fn take_place(&mut self) -> Place {
        let place = Place { revision: self.next, sub: self.changes };
        self.changes += 1;
        place
    }
}

impl<E: Engine> Store<E> {
    /// Refuses a put that would keep what is not there.
    pub(super) fn check_kept(&self, request: &PutRequest) -> Result<(), Error> {
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && self.map().live_at(&request.key, self.meta.revision)?.is_none() {
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

    /// Writes a key, once the checks above have passed in the store as it was before the command.
    pub(super) fn put(
        &mut self,
        request: &PutRequest,
        step: &mut Step,
    ) -> Result<PutResponse, EngineError> {
        let (value, lease) = self.content(request, step)?;
        let raw = live_key_in(&mut self.arena, &request.key);
        let record = self.map().get(&raw)?;
        let before = record.clone().map(Version::decode).transpose()?;
        let place = step.take_place();
        let mut version =
            Version { place, create_revision: step.next, version: 1, lease, value: Some(value) };
        if let Some((created, writes)) = self.life_before(&request.key, before.as_ref())? {
            version.create_revision = created;
            version.version = writes + 1;
        }
        self.meta.bytes += version.size(&request.key);
        match (record, &before) {
            (Some(record), Some(before)) => self.retire(&request.key, before.place, record),
            _ => self.meta.live_keys += 1,
        }
        self.pending.set(raw, Some(version.encode_in(&mut self.arena)));
        self.note(&request.key, false, before.as_ref(), place);
        let prev_kv = before.filter(|_| request.prev_kv);
        let prev_kv = prev_kv.map(|before| before.into_key_value(request.key.clone(), false));
        Ok(PutResponse { revision: step.next, prev_kv })
    }

    /// The creation, and the number of writes since, of what a put goes on with.
    fn life_before(
        &self,
        key: &[u8],
        before: Option<&Version>,
    ) -> Result<Option<(Revision, i64)>, EngineError> {
        let life = |version: &Version| (version.create_revision, version.version);
        if before.is_none() && self.mutants.has("key_life_survives_deletion") {
            return Ok(self.map().older_at(key, self.meta.revision)?.as_ref().map(life));
        }
        Ok(before.map(life))
    }

    /// The value and the lease that a put writes, its own or those that it keeps.
    ///
    /// What it keeps is what was there before the command: that is what the checks have seen. It matters only where a
    /// transaction deletes every key from some key on and then writes one of them, which etcd lets pass.
    fn content(&self, request: &PutRequest, step: &Step) -> Result<(Bytes, LeaseId), EngineError> {
        if !request.ignore_value && !request.ignore_lease {
            return Ok((request.value.clone(), request.lease));
        }
        let kept = self
            .map()
            .live_at(&request.key, step.base)?
            .expect("a put that keeps what is there was let through without anything there");
        let value = if request.ignore_value { kept.value } else { Some(request.value.clone()) };
        let lease = if request.ignore_lease { kept.lease } else { request.lease };
        Ok((value.unwrap_or_default(), lease))
    }

    /// Deletes the keys of a range that are there.
    pub(super) fn delete_range(
        &mut self,
        request: &DeleteRangeRequest,
        step: &mut Step,
    ) -> Result<DeleteRangeResponse, EngineError> {
        let doomed = match request.range.end {
            RangeEnd::Single => {
                let raw = live_key(&request.range.start);
                let record = self.map().get(&raw)?;
                record.map(|record| (key_of_live(raw), record)).into_iter().collect()
            }
            _ => self.map().visible_now(&request.range).collect::<Result<Vec<_>, _>>()?,
        };
        // All is decoded before anything is written.
        let doomed = doomed
            .into_iter()
            .map(|(key, record)| Ok((key, Version::decode(record.clone())?, record)))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let deleted = doomed.len();
        let mut prev_kvs = Vec::new();
        for (key, version, record) in doomed {
            let place = step.take_place();
            self.pending.set(live_key_in(&mut self.arena, &key), None);
            let tombstone = version.ended_at(place).encode_in(&mut self.arena);
            self.retire(&key, place, tombstone);
            self.note(&key, true, Some(&version), place);
            self.retire(&key, version.place, record);
            if request.prev_kv {
                prev_kvs.push(version.into_key_value(key, false));
            }
        }
        self.meta.live_keys -= deleted as u64;
        Ok(DeleteRangeResponse { revision: step.now(), deleted, prev_kvs })
    }

    /// Adds the record of a version to its key's history.
    fn retire(&mut self, key: &[u8], place: Place, record: Bytes) {
        self.pending.set(history_key(&mut self.arena, key, place), Some(record));
    }

    /// Notes a change, and the version that ended with it.
    fn note(&mut self, key: &[u8], is_deletion: bool, ended: Option<&Version>, place: Place) {
        let ended = ended.map(|version| (version.place, version.size(key)));
        let change = Change::encode_in(&mut self.arena, key, is_deletion, ended, place);
        self.pending.note(index_key_in(&mut self.arena, place), change);
    }
}
