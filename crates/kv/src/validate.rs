//! What can be said against a request without looking at the store. A face asks before it proposes a command, so that
//! what is malformed never reaches the log. The rules, and which of them speaks first, are etcd's.
//!
//! Not here: sort options outside the closed set. [`crate::request::SortTarget`] and [`crate::request::SortOrder`]
//! cannot hold one, so that the face refuses them (`InvalidSortOption`) where it reads its wire format.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::error::Error;
use crate::request::{
    Command, DeleteRangeRequest, KEY_BYTES_MAX, KeyRange, LEASE_TTL_SECONDS_MAX, LeaseId,
    Operation, PutRequest, Query, RangeEnd, TXN_DEPTH_MAX, TxnRequest,
};

/// A request of either kind, by reference.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// One that goes through the log.
    Command(&'a Command),
    /// One that does not.
    Query(&'a Query),
}

impl<'a> From<&'a Command> for Request<'a> {
    fn from(command: &'a Command) -> Self {
        Self::Command(command)
    }
}

impl<'a> From<&'a Query> for Request<'a> {
    fn from(query: &'a Query) -> Self {
        Self::Query(query)
    }
}

/// Checks a request. A block of a transaction may have up to `operations_max` operations.
///
/// # Errors
/// `EmptyKey`, `KeyTooLong`, `ValueProvided`, `LeaseProvided`, `LeaseTtlTooLarge`, `TooManyOperations` (for a transaction nested too deep as well) and
/// `DuplicateKey`.
pub fn validate<'a>(request: impl Into<Request<'a>>, operations_max: usize) -> Result<(), Error> {
    match request.into() {
        Request::Command(Command::Put(put)) => check_put(put),
        Request::Command(Command::DeleteRange(delete)) => check_range(&delete.range),
        Request::Command(Command::Txn(txn)) | Request::Query(Query::Txn(txn)) => {
            check_txn(txn, operations_max)
        }
        Request::Command(Command::LeaseGrant(grant)) => match grant.ttl_seconds {
            ttl if ttl > LEASE_TTL_SECONDS_MAX => Err(Error::LeaseTtlTooLarge),
            _ if grant.id == LeaseId(0) => Err(Error::Unsupported("a lease without an id")),
            _ => Ok(()),
        },
        Request::Command(
            Command::Compact(_)
            | Command::LeaseRevoke(_)
            | Command::LeaseRenew(_)
            | Command::Tick(_)
            | Command::Auth(_),
        )
        | Request::Query(Query::LeaseStatus { .. } | Query::Leases | Query::Auth(_)) => Ok(()),
        Request::Query(Query::Range(range)) => check_range(&range.range),
    }
}

/// Whether neither block of a transaction can write, so that it may be asked as a query.
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|operation| match operation {
        Operation::Range(_) => true,
        Operation::Put(_) | Operation::DeleteRange(_) => false,
        Operation::Txn(nested) => is_read_only(nested),
    })
}

fn check_key(key: &Bytes) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::EmptyKey),
        1..=KEY_BYTES_MAX => Ok(()),
        _ => Err(Error::KeyTooLong),
    }
}

fn check_range(range: &KeyRange) -> Result<(), Error> {
    check_key(&range.start)?;
    match &range.end {
        RangeEnd::Before(end) if end.len() > KEY_BYTES_MAX => Err(Error::KeyTooLong),
        _ => Ok(()),
    }
}

fn check_put(put: &PutRequest) -> Result<(), Error> {
    check_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease.0 != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

fn check_txn(txn: &TxnRequest, operations_max: usize) -> Result<(), Error> {
    check_operations(txn, operations_max, TXN_DEPTH_MAX)?;
    // Only now, since the work below is bounded by the number of operations.
    Writes::of(&txn.success)?;
    Writes::of(&txn.failure)?;
    Ok(())
}

fn check_operations(
    txn: &TxnRequest,
    operations_max: usize,
    depth_max: usize,
) -> Result<(), Error> {
    let operations = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if operations > operations_max || depth_max == 0 {
        return Err(Error::TooManyOperations);
    }
    for compare in &txn.compare {
        check_range(&compare.range)?;
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Range(range) => check_range(&range.range)?,
            Operation::Put(put) => check_put(put)?,
            Operation::DeleteRange(delete) => check_range(&delete.range)?,
            Operation::Txn(nested) => {
                check_operations(nested, operations_max - operations, depth_max - 1)?;
            }
        }
    }
    Ok(())
}

/// What a block of operations could write.
///
/// A key may be put once, and not if the same block deletes it: the answer would depend on the order, and a watcher
/// could see a revision that contradicts itself. The two blocks of one nested transaction exclude each other, so that
/// both may put a key, and one may delete what the other puts.
///
/// Two gaps are etcd's, and kept so that what passes there passes here: of two nested transactions side by side the
/// later may delete what the earlier puts; and a deletion of every key from some key on conflicts with nothing.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deleted_keys: BTreeSet<&'a [u8]>,
    /// Starts with their ends. The ranges are disjoint, so that a key can only lie in the last that starts before it.
    deleted_ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Writes<'a> {
    fn of(operations: &'a [Operation]) -> Result<Self, Error> {
        let mut writes = Self::default();
        for operation in operations {
            if let Operation::DeleteRange(delete) = operation {
                writes.delete(delete);
            }
        }
        for operation in operations {
            if let Operation::Txn(txn) = operation {
                writes.add_nested(Self::of(&txn.success)?, Self::of(&txn.failure)?)?;
            }
        }
        for operation in operations {
            if let Operation::Put(put) = operation {
                writes.put(&put.key)?;
            }
        }
        Ok(writes)
    }

    fn add_nested(&mut self, success: Self, failure: Self) -> Result<(), Error> {
        let puts: BTreeSet<_> = success.puts.union(&failure.puts).copied().collect();
        for key in puts {
            self.put(key)?;
        }
        for block in [success, failure] {
            self.deleted_keys.extend(block.deleted_keys);
            for (start, end) in block.deleted_ranges {
                self.delete_between(start, end);
            }
        }
        Ok(())
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if self.deletes(key) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }

    fn deletes(&self, key: &[u8]) -> bool {
        self.deleted_keys.contains(key)
            || self.deleted_ranges.range(..=key).next_back().is_some_and(|(_, end)| key < *end)
    }

    fn delete(&mut self, delete: &'a DeleteRangeRequest) {
        let start = &delete.range.start[..];
        match &delete.range.end {
            RangeEnd::Single => {
                self.deleted_keys.insert(start);
            }
            RangeEnd::Before(end) => self.delete_between(start, end),
            RangeEnd::Unbounded => {}
        }
    }

    /// Adds a range, merged with those that it touches.
    fn delete_between(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        if end <= start {
            return;
        }
        while let Some((&other_start, &other_end)) = self.deleted_ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.deleted_ranges.remove(other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.deleted_ranges.insert(start, end);
    }
}
