//! Leases: keys that go when nobody renews what they are bound to.
//!
//! *Life of a lease.* It is granted for a time to live, and renewed by whoever holds it; keys are bound to it by the puts
//! that name it. It ends when it is revoked, or when its time is over; either deletes the keys bound to it, all at one
//! revision.
//!
//! *Time* is a number in the store, the lease clock, that entries of the log move on ([`TickRequest`]): so all replicas agree
//! on it, and whether a lease is over depends on nothing else. The leader counts how long it has led by its own timers, and
//! proposes what it has counted. Time during which there is no leader, or none that can commit, or in which the leader
//! was stopped, is not counted: nobody could have renewed anything then. A tick counts only in the term in which it was
//! measured, and only on top of the time that it was measured from; so no moment counts twice, whoever repeats what.
//!
//! What has passed before a lease was granted may be counted after: what is on its way, and what the leader has
//! gathered since, each at most [`TICK_MS_MAX`]. So a deadline is [`SLACK_MS`] beyond the time to live. A lease lives at
//! least as long as it was granted for, by the leader's clock; and, while the leader is well, at most that and
//! [`SLACK_MS`] and two ticks. A change of leader adds the time that it took.
//!
//! | key | value | what for |
//! |---|---|---|
//! | `b` lease key | nothing | a key that is bound to a lease |
//! | `c` | the lease clock, 8 bytes | |
//! | `l` lease | time to live in seconds and deadline, 8 bytes each | a lease |
//!
//! The leases themselves are in memory too; the keys bound to them are not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::{Buf, BufMut, Bytes};
use quorate_engine::{Engine, EngineError};

use super::Store;
use super::layout::{damaged, live_key};
use super::version::Version;
use super::write::Step;
use crate::error::Error;
use crate::request::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseId, LeaseRenewResponse, LeaseRevokeResponse,
    LeaseStatus, LeasesResponse, TickRequest,
};

/// How much one tick counts at most, in milliseconds.
pub const TICK_MS_MAX: u64 = 500;

/// How much longer than its time to live a lease is kept, so that it never ends early.
pub const SLACK_MS: u64 = 2 * TICK_MS_MAX;

const BINDING: u8 = b'b';
const CLOCK_KEY: &[u8] = b"c";
const LEASE: u8 = b'l';

/// One lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    ttl_seconds: i64,
    /// By the lease clock, in milliseconds.
    deadline_ms: u64,
}

/// All leases, as the engine has them too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leases {
    clock_ms: u64,
    by_id: BTreeMap<LeaseId, Lease>,
    by_deadline: BTreeSet<(u64, LeaseId)>,
}

impl Leases {
    /// Those in an engine.
    pub(super) fn read<E: Engine>(engine: &E) -> Result<Self, EngineError> {
        let mut leases = Leases::default();
        if let Some(mut clock) = engine.get(CLOCK_KEY)? {
            leases.clock_ms =
                clock.try_get_u64().map_err(|_| damaged("the lease clock", "it is cut short"))?;
        }
        let bounds = (Bound::Included(lease_prefix()), Bound::Excluded(after(LEASE)));
        for found in engine.scan(bounds) {
            let (raw, record) = found?;
            let cut_short = |_| damaged(format!("the lease {raw:?}"), "it is cut short");
            let id = LeaseId((&raw[1..]).try_get_i64().map_err(cut_short)?);
            let mut rest = record;
            let ttl_seconds = rest.try_get_i64().map_err(cut_short)?;
            let deadline_ms = rest.try_get_u64().map_err(cut_short)?;
            leases.set(id, Lease { ttl_seconds, deadline_ms });
        }
        Ok(leases)
    }

    fn set(&mut self, id: LeaseId, lease: Lease) {
        if let Some(before) = self.by_id.insert(id, lease) {
            self.by_deadline.remove(&(before.deadline_ms, id));
        }
        self.by_deadline.insert((lease.deadline_ms, id));
    }

    fn remove(&mut self, id: LeaseId) {
        if let Some(lease) = self.by_id.remove(&id) {
            self.by_deadline.remove(&(lease.deadline_ms, id));
        }
    }

    /// When a lease is over that is granted or renewed now.
    fn deadline_ms(&self, ttl_seconds: i64) -> u64 {
        let ttl_ms = u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(1000);
        self.clock_ms.saturating_add(ttl_ms).saturating_add(SLACK_MS)
    }
}

impl<E: Engine> Store<E> {
    /// The number of leases.
    pub fn leases(&self) -> usize {
        self.leases.by_id.len()
    }

    /// The lease clock, in milliseconds.
    pub fn lease_clock_ms(&self) -> u64 {
        self.leases.clock_ms
    }

    /// Of the leases that are over when the clock has come this far, the one that was over first.
    pub fn first_expired(&self, clock_ms: u64) -> Option<LeaseId> {
        self.leases
            .by_deadline
            .first()
            .filter(|(deadline, _)| {
                *deadline <= clock_ms || self.mutants.has("leases_end_without_being_over")
            })
            .map(|(_, id)| *id)
    }

    /// Whether a key may be bound to this lease: it was granted, or is none.
    pub(super) fn lease_exists(&self, lease: LeaseId) -> bool {
        lease == LeaseId(0) || self.leases.by_id.contains_key(&lease)
    }

    pub(super) fn grant_lease(
        &mut self,
        request: &LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, Error> {
        let LeaseGrantRequest { id, ttl_seconds } = *request;
        if self.leases.by_id.contains_key(&id) {
            return Err(Error::LeaseExists);
        }
        self.set_lease(id, ttl_seconds);
        Ok(LeaseGrantResponse { revision: self.meta.revision, id, ttl_seconds })
    }

    pub(super) fn renew_lease(&mut self, id: LeaseId) -> Result<LeaseRenewResponse, Error> {
        let lease = self.leases.by_id.get(&id).copied().ok_or(Error::LeaseNotFound)?;
        if !self.mutants.has("renewals_change_nothing") {
            self.set_lease(id, lease.ttl_seconds);
        }
        let ttl_seconds = lease.ttl_seconds;
        Ok(LeaseRenewResponse { revision: self.meta.revision, ttl_seconds })
    }

    fn set_lease(&mut self, id: LeaseId, ttl_seconds: i64) {
        let deadline_ms = self.leases.deadline_ms(ttl_seconds);
        self.leases.set(id, Lease { ttl_seconds, deadline_ms });
        let mut record = Vec::with_capacity(16);
        record.put_i64(ttl_seconds);
        record.put_u64(deadline_ms);
        self.pending.set(lease_key(id), Some(record.into()));
    }

    /// Ends a lease, and deletes the keys that are bound to it.
    pub(super) fn revoke_lease(
        &mut self,
        id: LeaseId,
        step: &mut Step,
    ) -> Result<LeaseRevokeResponse, Error> {
        if !self.leases.by_id.contains_key(&id) {
            return Err(Error::LeaseNotFound);
        }
        if !self.mutants.has("revocation_leaves_keys") {
            let mut doomed = Vec::new();
            for key in self.bound_keys(id)? {
                let record = self.map().get(&live_key(&key))?.ok_or_else(|| {
                    damaged(format!("the key {key:?}"), "it is bound to a lease and not there")
                })?;
                doomed.push((key, Version::decode(record.clone())?, record));
            }
            self.delete_each(doomed, step, |_, _| ());
        }
        self.pending.set(lease_key(id), None);
        self.leases.remove(id);
        Ok(LeaseRevokeResponse { revision: step.now() })
    }

    /// Moves the lease clock on, if nothing else has since.
    pub(super) fn tick(&mut self, request: &TickRequest) {
        let is_next = request.from_ms == self.leases.clock_ms
            || self.mutants.has("ticks_count_more_than_once");
        if is_next {
            self.leases.clock_ms += request.by_ms.min(TICK_MS_MAX);
            let clock = self.leases.clock_ms.to_be_bytes();
            self.pending.set(Bytes::from_static(CLOCK_KEY), Some(Bytes::copy_from_slice(&clock)));
        }
    }

    /// How a lease is doing; `keys` asks for what is bound to it.
    pub(super) fn lease_status(&self, id: LeaseId, keys: bool) -> Result<LeaseStatus, Error> {
        let revision = self.meta.revision;
        let Some(lease) = self.leases.by_id.get(&id) else {
            let none = LeaseStatus { revision, left_seconds: None, ttl_seconds: 0, keys: vec![] };
            return Ok(none);
        };
        let left_ms = lease.deadline_ms.saturating_sub(self.leases.clock_ms + SLACK_MS);
        Ok(LeaseStatus {
            revision,
            left_seconds: Some(i64::try_from(left_ms.div_ceil(1000)).unwrap_or(i64::MAX)),
            ttl_seconds: lease.ttl_seconds,
            keys: if keys { self.bound_keys(id)? } else { Vec::new() },
        })
    }

    /// Every lease, the one that ends next first.
    pub(super) fn all_leases(&self) -> LeasesResponse {
        let leases = self.leases.by_deadline.iter().map(|(_, id)| *id).collect();
        LeasesResponse { revision: self.meta.revision, leases }
    }

    /// Binds a key to a lease instead of another; 0 is none.
    pub(super) fn rebind(&mut self, key: &[u8], from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if from != LeaseId(0) {
            self.pending.set(binding_key(from, key), None);
        }
        if to != LeaseId(0) {
            self.pending.set(binding_key(to, key), Some(Bytes::new()));
        }
    }

    /// The keys that are bound to a lease.
    pub(super) fn bound_keys(&self, id: LeaseId) -> Result<Vec<Bytes>, EngineError> {
        let prefix = binding_key(id, &[]);
        let end = match id.0.cast_unsigned().checked_add(1) {
            Some(next) => binding_key(LeaseId(next.cast_signed()), &[]),
            None => after(BINDING),
        };
        let bounds = (Bound::Included(prefix.clone()), Bound::Excluded(end));
        self.map().scan(bounds).map(|found| Ok(found?.0.slice(prefix.len()..))).collect()
    }
}

fn lease_prefix() -> Bytes {
    Bytes::from_static(&[LEASE])
}

fn after(family: u8) -> Bytes {
    Bytes::copy_from_slice(&[family + 1])
}

fn lease_key(id: LeaseId) -> Bytes {
    let mut raw = Vec::with_capacity(9);
    raw.push(LEASE);
    raw.put_i64(id.0);
    raw.into()
}

fn binding_key(id: LeaseId, key: &[u8]) -> Bytes {
    let mut raw = Vec::with_capacity(9 + key.len());
    raw.push(BINDING);
    raw.put_i64(id.0);
    raw.extend_from_slice(key);
    raw.into()
}
