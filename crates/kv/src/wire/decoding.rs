//! From messages to requests. The bytes are of unknown origin: everything is checked, and nothing panics.

use super::{WireError, messages};
use crate::request::{
    Command, CompactRequest, Compare, CompareTarget, DeleteRangeRequest, KeyRange,
    LeaseGrantRequest, LeaseId, Operation, PutRequest, RangeEnd, RangeRequest, Relation, Revision,
    SortOrder, SortTarget, TXN_DEPTH_MAX, TickRequest, TxnRequest,
};

pub(super) fn command(message: messages::Command) -> Result<Command, WireError> {
    Ok(match message.request.ok_or(WireError::Missing("kind of command"))? {
        messages::Request::Put(message) => Command::Put(put(message)),
        messages::Request::DeleteRange(message) => Command::DeleteRange(delete_range(message)?),
        messages::Request::Txn(message) => Command::Txn(txn(message, TXN_DEPTH_MAX)?),
        messages::Request::Compact(message) => Command::Compact(compact(&message)),
        messages::Request::LeaseGrant(message) => Command::LeaseGrant(LeaseGrantRequest {
            id: LeaseId(message.id),
            ttl_seconds: message.ttl_seconds,
        }),
        messages::Request::LeaseRevoke(id) => Command::LeaseRevoke(LeaseId(id)),
        messages::Request::LeaseRenew(id) => Command::LeaseRenew(LeaseId(id)),
        messages::Request::Tick(messages::Tick { term, from_ms, by_ms }) => {
            Command::Tick(TickRequest { term, from_ms, by_ms })
        }
        messages::Request::Auth(message) => Command::Auth(super::auth::decode(message)?),
    })
}

pub(super) fn key_range(message: Option<messages::KeyRange>) -> Result<KeyRange, WireError> {
    let message = message.ok_or(WireError::Missing("range of keys"))?;
    let end = match message.end {
        None => RangeEnd::Single,
        Some(messages::RangeEnd::Before(end)) => RangeEnd::Before(end),
        Some(messages::RangeEnd::Unbounded(true)) => RangeEnd::Unbounded,
        Some(messages::RangeEnd::Unbounded(false)) => {
            return Err(WireError::Unknown { field: "end of a range", value: 0 });
        }
    };
    Ok(KeyRange { start: message.start, end })
}

fn put(message: messages::Put) -> PutRequest {
    PutRequest {
        key: message.key,
        value: message.value,
        lease: LeaseId(message.lease),
        prev_kv: message.prev_kv,
        ignore_value: message.ignore_value,
        ignore_lease: message.ignore_lease,
    }
}

fn delete_range(message: messages::DeleteRange) -> Result<DeleteRangeRequest, WireError> {
    Ok(DeleteRangeRequest { range: key_range(message.range)?, prev_kv: message.prev_kv })
}

fn compact(message: &messages::Compact) -> CompactRequest {
    CompactRequest { revision: Revision(message.revision), physical: message.physical }
}

fn txn(message: messages::Txn, depth_max: usize) -> Result<TxnRequest, WireError> {
    let depth_left = depth_max.checked_sub(1).ok_or(WireError::TooDeep)?;
    let block = |operations: Vec<messages::Operation>| -> Result<Vec<Operation>, WireError> {
        operations.into_iter().map(|message| operation(message, depth_left)).collect()
    };
    Ok(TxnRequest {
        compare: message.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: block(message.success)?,
        failure: block(message.failure)?,
    })
}

fn operation(message: messages::Operation, depth_left: usize) -> Result<Operation, WireError> {
    Ok(match message.request.ok_or(WireError::Missing("kind of operation"))? {
        messages::OperationRequest::Range(message) => Operation::Range(range(message)?),
        messages::OperationRequest::Put(message) => Operation::Put(put(message)),
        messages::OperationRequest::DeleteRange(message) => {
            Operation::DeleteRange(delete_range(message)?)
        }
        messages::OperationRequest::Txn(message) => Operation::Txn(txn(message, depth_left)?),
    })
}

fn range(message: messages::Range) -> Result<RangeRequest, WireError> {
    let limit = usize::try_from(message.limit)
        .map_err(|_| WireError::Unknown { field: "limit", value: message.limit })?;
    let sort = match (message.sort_target, message.sort_order) {
        (0, 0) => None,
        (target, order) => Some((sort_target(target)?, sort_order(order)?)),
    };
    Ok(RangeRequest {
        range: key_range(message.range)?,
        limit,
        revision: message.revision.map(Revision),
        sort,
        serializable: message.serializable,
        keys_only: message.keys_only,
        count_only: message.count_only,
        min_mod_revision: Revision(message.min_mod_revision),
        max_mod_revision: Revision(message.max_mod_revision),
        min_create_revision: Revision(message.min_create_revision),
        max_create_revision: Revision(message.max_create_revision),
    })
}

fn compare(message: messages::Compare) -> Result<Compare, WireError> {
    let target = match message.target.ok_or(WireError::Missing("target of a comparison"))? {
        messages::Target::Version(version) => CompareTarget::Version(version),
        messages::Target::CreateRevision(revision) => {
            CompareTarget::CreateRevision(Revision(revision))
        }
        messages::Target::ModRevision(revision) => CompareTarget::ModRevision(Revision(revision)),
        messages::Target::Value(value) => CompareTarget::Value(value),
        messages::Target::Lease(lease) => CompareTarget::Lease(LeaseId(lease)),
    };
    Ok(Compare { range: key_range(message.range)?, relation: relation(message.relation)?, target })
}

fn relation(code: u32) -> Result<Relation, WireError> {
    match code {
        1 => Ok(Relation::Equal),
        2 => Ok(Relation::Greater),
        3 => Ok(Relation::Less),
        4 => Ok(Relation::NotEqual),
        _ => Err(WireError::Unknown { field: "relation of a comparison", value: code.into() }),
    }
}

fn sort_target(code: u32) -> Result<SortTarget, WireError> {
    match code {
        1 => Ok(SortTarget::Key),
        2 => Ok(SortTarget::Version),
        3 => Ok(SortTarget::CreateRevision),
        4 => Ok(SortTarget::ModRevision),
        5 => Ok(SortTarget::Value),
        _ => Err(WireError::Unknown { field: "target of a sort", value: code.into() }),
    }
}

fn sort_order(code: u32) -> Result<SortOrder, WireError> {
    match code {
        1 => Ok(SortOrder::Ascending),
        2 => Ok(SortOrder::Descending),
        _ => Err(WireError::Unknown { field: "order of a sort", value: code.into() }),
    }
}
