//! Between the wire's messages and the store's types: the one place that knows both.
//!
//! What the wire can say and the store's types cannot is decided here, as etcd decides it: a negative limit or
//! revision is none, an unknown sort is refused. Everything else that can be wrong with a request is left to the
//! node, which validates what it is asked whoever asks.

use bytes::Bytes;
use quorate_kv::error::Error;
use quorate_kv::request::{
    self as store, CompareTarget, KeyRange, LeaseId, Operation, RangeEnd, Relation, Revision,
    SortOrder, SortTarget,
};

use crate::proto::etcdserverpb::{
    self as wire, compare, compare::TargetUnion, range_request, request_op::Request,
    response_op::Response,
};
use crate::proto::mvccpb;

/// The keys that a pair of wire fields means: no end is one key, a single zero byte is no bound.
pub fn key_range(start: Bytes, end: Bytes) -> KeyRange {
    let end = match end.as_ref() {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Unbounded,
        _ => RangeEnd::Before(end),
    };
    KeyRange { start, end }
}

/// The pair of wire fields that means these keys.
pub fn key_range_to_wire(range: KeyRange) -> (Bytes, Bytes) {
    let end = match range.end {
        RangeEnd::Single => Bytes::new(),
        RangeEnd::Before(end) => end,
        RangeEnd::Unbounded => Bytes::from_static(&[0]),
    };
    (range.start, end)
}

/// A read.
///
/// # Errors
/// [`Error::InvalidSortOption`] for an order or a target outside the closed set.
pub fn range_request(request: wire::RangeRequest) -> Result<store::RangeRequest, Error> {
    Ok(store::RangeRequest {
        sort: sort(request.sort_order, request.sort_target)?,
        range: key_range(request.key, request.range_end),
        limit: usize::try_from(request.limit).unwrap_or(0),
        revision: (request.revision > 0).then_some(Revision(request.revision)),
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: Revision(request.min_mod_revision),
        max_mod_revision: Revision(request.max_mod_revision),
        min_create_revision: Revision(request.min_create_revision),
        max_create_revision: Revision(request.max_create_revision),
    })
}

fn sort(order: i32, target: i32) -> Result<Option<(SortTarget, SortOrder)>, Error> {
    use range_request::{SortOrder as Order, SortTarget as Target};
    let order = Order::try_from(order).map_err(|_| Error::InvalidSortOption)?;
    let target = match Target::try_from(target).map_err(|_| Error::InvalidSortOption)? {
        // Keys come in ascending order anyway; unless that is asked for by name, nothing has to be sorted.
        Target::Key if order != Order::Descend => return Ok(None),
        Target::Key => SortTarget::Key,
        Target::Version => SortTarget::Version,
        Target::Create => SortTarget::CreateRevision,
        Target::Mod => SortTarget::ModRevision,
        Target::Value => SortTarget::Value,
    };
    // A target without an order is sorted in ascending order, as etcd does.
    let order = match order {
        Order::None | Order::Ascend => SortOrder::Ascending,
        Order::Descend => SortOrder::Descending,
    };
    Ok(Some((target, order)))
}

/// A change as a watch is told of it.
pub fn event(event: &store::Event, prev_kv: bool) -> mvccpb::Event {
    use mvccpb::event::EventType;
    let kind = if event.is_deletion { EventType::Delete } else { EventType::Put };
    // The buffers are shared, not copied.
    mvccpb::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.kv.clone())),
        prev_kv: event.prev_kv.clone().filter(|_| prev_kv).map(key_value),
    }
}

/// A write of one key.
pub fn put_request(request: wire::PutRequest) -> store::PutRequest {
    store::PutRequest {
        key: request.key,
        value: request.value,
        lease: LeaseId(request.lease),
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A deletion.
pub fn delete_range_request(request: wire::DeleteRangeRequest) -> store::DeleteRangeRequest {
    store::DeleteRangeRequest {
        range: key_range(request.key, request.range_end),
        prev_kv: request.prev_kv,
    }
}

/// A transaction, with those inside it.
///
/// # Errors
/// As [`range_request()`]; [`Error::KeyNotFound`] for an operation that is none of the known ones, as etcd answers it;
/// [`Error::Unsupported`] for a comparison outside the closed set.
pub fn txn_request(request: wire::TxnRequest) -> Result<store::TxnRequest, Error> {
    Ok(store::TxnRequest {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: operations(request.success)?,
        failure: operations(request.failure)?,
    })
}

fn operations(block: Vec<wire::RequestOp>) -> Result<Vec<Operation>, Error> {
    block
        .into_iter()
        .map(|operation| match operation.request.ok_or(Error::KeyNotFound)? {
            Request::RequestRange(range) => range_request(range).map(Operation::Range),
            Request::RequestPut(put) => Ok(Operation::Put(put_request(put))),
            Request::RequestDeleteRange(delete) => {
                Ok(Operation::DeleteRange(delete_range_request(delete)))
            }
            Request::RequestTxn(txn) => txn_request(txn).map(Operation::Txn),
        })
        .collect()
}

fn compare(compare: wire::Compare) -> Result<store::Compare, Error> {
    use compare::{CompareResult, CompareTarget as Target};
    // etcd takes a relation that it does not know to hold. A condition is there to prevent something, so this face
    // would rather refuse one that it cannot read.
    let relation = match CompareResult::try_from(compare.result)
        .map_err(|_| Error::Unsupported("a comparison with an unknown result"))?
    {
        CompareResult::Equal => Relation::Equal,
        CompareResult::Greater => Relation::Greater,
        CompareResult::Less => Relation::Less,
        CompareResult::NotEqual => Relation::NotEqual,
    };
    let target = Target::try_from(compare.target)
        .map_err(|_| Error::Unsupported("a comparison with an unknown target"))?;
    // Where the target names one field and the union holds another, or none, etcd compares with the zero of the
    // field that is named.
    let target = match (target, compare.target_union) {
        (Target::Version, Some(TargetUnion::Version(version))) => CompareTarget::Version(version),
        (Target::Version, _) => CompareTarget::Version(0),
        (Target::Create, Some(TargetUnion::CreateRevision(revision))) => {
            CompareTarget::CreateRevision(Revision(revision))
        }
        (Target::Create, _) => CompareTarget::CreateRevision(Revision(0)),
        (Target::Mod, Some(TargetUnion::ModRevision(revision))) => {
            CompareTarget::ModRevision(Revision(revision))
        }
        (Target::Mod, _) => CompareTarget::ModRevision(Revision(0)),
        (Target::Value, Some(TargetUnion::Value(value))) => CompareTarget::Value(value),
        (Target::Value, _) => CompareTarget::Value(Bytes::new()),
        (Target::Lease, Some(TargetUnion::Lease(lease))) => CompareTarget::Lease(LeaseId(lease)),
        (Target::Lease, _) => CompareTarget::Lease(LeaseId(0)),
    };
    Ok(store::Compare { range: key_range(compare.key, compare.range_end), relation, target })
}

/// A compaction.
pub fn compact_request(request: wire::CompactionRequest) -> store::CompactRequest {
    store::CompactRequest { revision: Revision(request.revision), physical: request.physical }
}

/// A key with its value.
pub fn key_value(kv: store::KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

/// What a read found. The header is the caller's to give.
pub fn range_response(response: store::RangeResponse) -> wire::RangeResponse {
    wire::RangeResponse {
        header: None,
        kvs: response.kvs.into_iter().map(key_value).collect(),
        more: response.more,
        count: saturating(response.count),
    }
}

/// What a write answered. The header is the caller's to give.
pub fn put_response(response: store::PutResponse) -> wire::PutResponse {
    wire::PutResponse { header: None, prev_kv: response.prev_kv.map(key_value) }
}

/// What a deletion answered. The header is the caller's to give.
pub fn delete_range_response(response: store::DeleteRangeResponse) -> wire::DeleteRangeResponse {
    wire::DeleteRangeResponse {
        header: None,
        deleted: saturating(response.deleted),
        prev_kvs: response.prev_kvs.into_iter().map(key_value).collect(),
    }
}

/// What a transaction answered. The header is the caller's to give; as in etcd, those of the answers inside it hold
/// a revision and nothing else.
pub fn txn_response(response: store::TxnResponse) -> wire::TxnResponse {
    wire::TxnResponse {
        header: None,
        succeeded: response.succeeded,
        responses: response.responses.into_iter().map(response_op).collect(),
    }
}

fn response_op(response: store::Response) -> wire::ResponseOp {
    let response = match response {
        store::Response::Range(range) => {
            let header = inner_header(range.revision);
            Response::ResponseRange(wire::RangeResponse { header, ..range_response(range) })
        }
        store::Response::Put(put) => {
            let header = inner_header(put.revision);
            Response::ResponsePut(wire::PutResponse { header, ..put_response(put) })
        }
        store::Response::DeleteRange(delete) => {
            let header = inner_header(delete.revision);
            let delete = delete_range_response(delete);
            Response::ResponseDeleteRange(wire::DeleteRangeResponse { header, ..delete })
        }
        store::Response::Txn(txn) => {
            // etcd leaves this one empty.
            let header = Some(wire::ResponseHeader::default());
            Response::ResponseTxn(wire::TxnResponse { header, ..txn_response(txn) })
        }
        store::Response::Compact(_)
        | store::Response::LeaseGrant(_)
        | store::Response::LeaseRevoke(_)
        | store::Response::LeaseRenew(_)
        | store::Response::LeaseStatus(_)
        | store::Response::Leases(_)
        | store::Response::Ticked
        | store::Response::Auth(_) => {
            unreachable!("a transaction holds reads, writes and deletions")
        }
    };
    wire::ResponseOp { response: Some(response) }
}

fn inner_header(revision: Revision) -> Option<wire::ResponseHeader> {
    Some(wire::ResponseHeader { revision: revision.0, ..Default::default() })
}

/// A count as the wire has it.
fn saturating(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
