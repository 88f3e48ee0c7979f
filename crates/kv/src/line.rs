//! Waiting lines: keys below one name, in the order in which they were created. Whose key is the oldest holds the lock,
//! or leads.
//!
//! The naive version is one key that whoever creates it has. All who wait watch it, and when it goes all of them try
//! again: a thousand tries for one that succeeds, and who has waited longest has no better chance. In a line, each waits
//! for the key before its own alone.
//!
//! A key is bound to a lease, so that whoever dies gives up its place. It names the lease: a client that asks again,
//! because its connection broke or the node that it waited at has died, finds the place that it has.
//!
//! *Being first is no shield.* Who is first may have lost its lease a moment later and not know. What must be done by
//! the first alone is done [while its place is there](while_held), in one transaction.
//!
//! Here is what is asked of the store, and what its answers mean; who asks, and how one waits, is the caller's.
//!
//! *Omitted.* A line `a` has the keys of a line `a/b` among its own, as in etcd.

use bytes::Bytes;

use crate::request::{
    Compare, CompareTarget, DeleteRangeRequest, KeyRange, KeyValue, LeaseId, Operation, PutRequest,
    RangeEnd, RangeRequest, Relation, Response, Revision, SortOrder, SortTarget, TxnRequest,
    TxnResponse,
};

/// The keys of a line.
pub fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// All keys of a line.
pub fn all(prefix: Bytes) -> KeyRange {
    let mut end = prefix.to_vec();
    // It ends in a slash, so the key after all that begin with it ends in what follows a slash.
    if let Some(last) = end.last_mut() {
        *last = b'/' + 1;
    }
    KeyRange { start: prefix, end: RangeEnd::Before(end.into()) }
}

/// The name that a place has for a lease.
fn key(prefix: &[u8], lease: LeaseId) -> Bytes {
    let sign = if lease.0 < 0 { "-" } else { "" };
    let lease = format!("{sign}{:x}", lease.0.unsigned_abs());
    [prefix, lease.as_bytes()].concat().into()
}

/// A place in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    prefix: Bytes,
    /// The key that is there as long as the place is.
    pub key: Bytes,
    /// The revision at which it was created. Whoever comes later has a larger one.
    pub since: Revision,
    /// The lease that the key is bound to.
    pub lease: LeaseId,
}

/// What came of [`join`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The place.
    pub place: Place,
    /// Whether the lease had none before.
    pub is_new: bool,
    /// Whether it is the first.
    pub is_first: bool,
    /// What the place said before, if the lease had it already.
    pub said: Option<Bytes>,
}

/// What [`look`] has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The place is the first.
    First,
    /// This is the key of the one before it.
    Behind(Bytes),
    /// The place is gone: its lease has ended, or it was given up.
    Lost,
}

/// Takes a place in a line, with a value, unless the lease has one.
pub fn join(prefix: &Bytes, lease: LeaseId, value: Bytes) -> TxnRequest {
    let key = key(prefix, lease);
    let put = PutRequest {
        key: key.clone(),
        value,
        lease,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    };
    TxnRequest {
        compare: vec![is_created_at(key.clone(), Revision(0))],
        success: vec![Operation::Put(put), oldest(prefix)],
        failure: vec![one(key), oldest(prefix)],
    }
}

/// What the answer to [`join`] says.
pub fn joined(prefix: &Bytes, lease: LeaseId, txn: &TxnResponse) -> Joined {
    let [held, first] = read(txn);
    let since = held.map_or(txn.revision, |held| held.create_revision);
    let is_first = first.is_some_and(|first| first.create_revision == since);
    let place = Place { prefix: prefix.clone(), key: key(prefix, lease), since, lease };
    Joined { place, is_new: txn.succeeded, is_first, said: held.map(|held| held.value.clone()) }
}

/// Looks whether a place has become the first. Both reads are of one revision, so that there is none at which the place was
/// lost and yet seen as the first.
pub fn look(place: &Place) -> TxnRequest {
    let before = RangeRequest {
        max_create_revision: Revision(place.since.0 - 1),
        sort: Some((SortTarget::CreateRevision, SortOrder::Descending)),
        ..limited(all(place.prefix.clone()))
    };
    let success = vec![one(place.key.clone()), Operation::Range(before)];
    TxnRequest { success, ..TxnRequest::default() }
}

/// What the answer to [`look`] says.
pub fn seen(place: &Place, txn: &TxnResponse) -> Seen {
    let [own, before] = read(txn);
    if own.is_none_or(|own| own.create_revision != place.since) {
        return Seen::Lost;
    }
    before.map_or(Seen::First, |before| Seen::Behind(before.key.clone()))
}

/// Does something if a key is still the one that was created at a revision, which must not be 0: to a transaction that
/// says that there is no such key.
pub fn while_held(key: Bytes, since: Revision, operation: Operation) -> TxnRequest {
    TxnRequest {
        compare: vec![is_created_at(key, since)],
        success: vec![operation],
        failure: Vec::new(),
    }
}

/// Gives a place up, if it is still the one that was created at a revision.
pub fn leave(key: Bytes, since: Revision) -> TxnRequest {
    let range = KeyRange { start: key.clone(), end: RangeEnd::Single };
    let delete = DeleteRangeRequest { range, prev_kv: false };
    while_held(key, since, Operation::DeleteRange(delete))
}

/// Asks who is first.
pub fn ask_first(prefix: &Bytes) -> TxnRequest {
    TxnRequest { success: vec![oldest(prefix)], ..TxnRequest::default() }
}

/// What the answer to [`ask_first`] says.
pub fn first(txn: &TxnResponse) -> Option<&KeyValue> {
    let [first] = read(txn);
    first
}

/// A read of one key.
fn one(key: Bytes) -> Operation {
    Operation::Range(limited(KeyRange { start: key, end: RangeEnd::Single }))
}

/// A read of the oldest key of a line.
fn oldest(prefix: &Bytes) -> Operation {
    let sort = Some((SortTarget::CreateRevision, SortOrder::Ascending));
    Operation::Range(RangeRequest { sort, ..limited(all(prefix.clone())) })
}

/// A read of one key of a range.
fn limited(range: KeyRange) -> RangeRequest {
    RangeRequest { limit: 1, ..RangeRequest::of(range) }
}

/// That a key was created at a revision; 0 is that it is not there.
fn is_created_at(key: Bytes, revision: Revision) -> Compare {
    Compare {
        range: KeyRange { start: key, end: RangeEnd::Single },
        relation: Relation::Equal,
        target: CompareTarget::CreateRevision(revision),
    }
}

/// The first key that each of the operations has read; none for one that was no read, or has found nothing.
fn read<const N: usize>(txn: &TxnResponse) -> [Option<&KeyValue>; N] {
    std::array::from_fn(|place| match txn.responses.get(place)? {
        Response::Range(range) => range.kvs.first(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_after_the_line_and_the_lease_as_etcd_names_it() {
        let prefix = prefix(b"jobs");
        assert_eq!(key(&prefix, LeaseId(0x4ee7_a1ff_cad0_d80c)), "jobs/4ee7a1ffcad0d80c");
        assert_eq!(key(&prefix, LeaseId(-5)), "jobs/-5");
    }

    #[test]
    fn a_line_has_all_keys_below_its_name_and_no_other() {
        let range = all(prefix(b"jobs"));
        assert!(range.holds(b"jobs/") && range.holds(b"jobs/ff") && range.holds(b"jobs/\xff"));
        assert!(!range.holds(b"jobs") && !range.holds(b"jobs0") && !range.holds(b"jobs."));
    }
}
