//! From requests to messages. Keys and values are shared, not copied.

use super::messages;
use crate::request::{
    Command, CompactRequest, Compare, CompareTarget, DeleteRangeRequest, KeyRange,
    LeaseGrantRequest, Operation, PutRequest, RangeEnd, RangeRequest, Relation, SortOrder,
    SortTarget, TickRequest, TxnRequest,
};

pub(super) fn command(command: &Command) -> messages::Command {
    let request = match command {
        Command::Put(request) => messages::Request::Put(put(request)),
        Command::DeleteRange(request) => messages::Request::DeleteRange(delete_range(request)),
        Command::Txn(request) => messages::Request::Txn(txn(request)),
        Command::Compact(request) => messages::Request::Compact(compact(request)),
        Command::LeaseGrant(LeaseGrantRequest { id, ttl_seconds }) => {
            let grant = messages::LeaseGrant { id: id.0, ttl_seconds: *ttl_seconds };
            messages::Request::LeaseGrant(grant)
        }
        Command::LeaseRevoke(id) => messages::Request::LeaseRevoke(id.0),
        Command::LeaseRenew(id) => messages::Request::LeaseRenew(id.0),
        Command::Tick(TickRequest { term, from_ms, by_ms }) => {
            let tick = messages::Tick { term: *term, from_ms: *from_ms, by_ms: *by_ms };
            messages::Request::Tick(tick)
        }
        Command::Auth(command) => messages::Request::Auth(super::auth::encode(command)),
    };
    messages::Command { request: Some(request), asker: None }
}

pub(super) fn key_range(range: &KeyRange) -> Option<messages::KeyRange> {
    let end = match &range.end {
        RangeEnd::Single => None,
        RangeEnd::Before(end) => Some(messages::RangeEnd::Before(end.clone())),
        RangeEnd::Unbounded => Some(messages::RangeEnd::Unbounded(true)),
    };
    Some(messages::KeyRange { start: range.start.clone(), end })
}

fn put(request: &PutRequest) -> messages::Put {
    messages::Put {
        key: request.key.clone(),
        value: request.value.clone(),
        lease: request.lease.0,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

fn delete_range(request: &DeleteRangeRequest) -> messages::DeleteRange {
    messages::DeleteRange { range: key_range(&request.range), prev_kv: request.prev_kv }
}

fn compact(request: &CompactRequest) -> messages::Compact {
    messages::Compact { revision: request.revision.0, physical: request.physical }
}

fn txn(request: &TxnRequest) -> messages::Txn {
    messages::Txn {
        compare: request.compare.iter().map(compare).collect(),
        success: request.success.iter().map(operation).collect(),
        failure: request.failure.iter().map(operation).collect(),
    }
}

fn operation(operation: &Operation) -> messages::Operation {
    let request = match operation {
        Operation::Range(request) => messages::OperationRequest::Range(range(request)),
        Operation::Put(request) => messages::OperationRequest::Put(put(request)),
        Operation::DeleteRange(request) => {
            messages::OperationRequest::DeleteRange(delete_range(request))
        }
        Operation::Txn(request) => messages::OperationRequest::Txn(txn(request)),
    };
    messages::Operation { request: Some(request) }
}

fn range(request: &RangeRequest) -> messages::Range {
    let (sort_target, sort_order) = request
        .sort
        .map_or((0, 0), |(target, order)| (sort_target_code(target), sort_order_code(order)));
    messages::Range {
        range: key_range(&request.range),
        limit: request.limit as u64,
        revision: request.revision.map(|revision| revision.0),
        sort_target,
        sort_order,
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision.0,
        max_mod_revision: request.max_mod_revision.0,
        min_create_revision: request.min_create_revision.0,
        max_create_revision: request.max_create_revision.0,
    }
}

fn compare(compare: &Compare) -> messages::Compare {
    let target = match &compare.target {
        CompareTarget::Version(version) => messages::Target::Version(*version),
        CompareTarget::CreateRevision(revision) => messages::Target::CreateRevision(revision.0),
        CompareTarget::ModRevision(revision) => messages::Target::ModRevision(revision.0),
        CompareTarget::Value(value) => messages::Target::Value(value.clone()),
        CompareTarget::Lease(lease) => messages::Target::Lease(lease.0),
    };
    messages::Compare {
        range: key_range(&compare.range),
        relation: relation_code(compare.relation),
        target: Some(target),
    }
}

// No code is 0: that is what an absent field decodes to.

fn relation_code(relation: Relation) -> u32 {
    match relation {
        Relation::Equal => 1,
        Relation::Greater => 2,
        Relation::Less => 3,
        Relation::NotEqual => 4,
    }
}

fn sort_target_code(target: SortTarget) -> u32 {
    match target {
        SortTarget::Key => 1,
        SortTarget::Version => 2,
        SortTarget::CreateRevision => 3,
        SortTarget::ModRevision => 4,
        SortTarget::Value => 5,
    }
}

fn sort_order_code(order: SortOrder) -> u32 {
    match order {
        SortOrder::Ascending => 1,
        SortOrder::Descending => 2,
    }
}
