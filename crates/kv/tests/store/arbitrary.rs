//! Random requests over few keys, few values and few revisions, so that they meet.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_kv::request::*;

fn any_key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "bb", "c", "d"])
        .prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn any_value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "long"])
        .prop_map(|value| Bytes::from_static(value.as_bytes()))
}

pub(crate) fn any_range() -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![
        3 => Just(RangeEnd::Single),
        2 => any_key().prop_map(RangeEnd::Before),
        1 => Just(RangeEnd::Unbounded),
    ];
    (any_key(), end).prop_map(|(start, end)| KeyRange { start, end })
}

fn any_revision() -> impl Strategy<Value = Revision> {
    prop_oneof![4 => 0..16_i64, 1 => -2..60_i64].prop_map(Revision)
}

fn any_bound() -> impl Strategy<Value = Revision> {
    prop_oneof![4 => Just(Revision(0)), 1 => any_revision()]
}

fn any_sort() -> impl Strategy<Value = (SortTarget, SortOrder)> {
    use SortTarget::{CreateRevision, Key, ModRevision, Value, Version};
    (
        prop::sample::select(vec![Key, Version, CreateRevision, ModRevision, Value]),
        prop::sample::select(vec![SortOrder::Ascending, SortOrder::Descending]),
    )
}

pub(crate) fn any_get() -> impl Strategy<Value = RangeRequest> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    let bounds = (any_bound(), any_bound(), any_bound(), any_bound());
    let revision = prop::option::weighted(0.5, any_revision());
    (any_range(), 0..4_usize, revision, prop::option::of(any_sort()), flags, bounds).prop_map(
        |(range, limit, revision, sort, (serializable, keys_only, count_only), bounds)| {
            RangeRequest {
                range,
                limit,
                revision,
                sort,
                serializable,
                keys_only,
                count_only,
                min_mod_revision: bounds.0,
                max_mod_revision: bounds.1,
                min_create_revision: bounds.2,
                max_create_revision: bounds.3,
            }
        },
    )
}

fn any_put() -> impl Strategy<Value = PutRequest> {
    let lease =
        prop_oneof![8 => Just(LeaseId(0)), 4 => any_lease(), 1 => any::<i64>().prop_map(LeaseId)];
    let kept = (prop::bool::weighted(0.15), prop::bool::weighted(0.1));
    (any_key(), any_value(), lease, any::<bool>(), kept).prop_map(
        |(key, value, lease, prev_kv, (ignore_value, ignore_lease))| PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { LeaseId(0) } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn any_delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (any_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

fn any_compare() -> impl Strategy<Value = Compare> {
    use Relation::{Equal, Greater, Less, NotEqual};
    let target = prop_oneof![
        (0..4_i64).prop_map(CompareTarget::Version),
        any_revision().prop_map(CompareTarget::CreateRevision),
        any_revision().prop_map(CompareTarget::ModRevision),
        any_value().prop_map(CompareTarget::Value),
        (-1..2_i64).prop_map(|lease| CompareTarget::Lease(LeaseId(lease))),
    ];
    (any_range(), prop::sample::select(vec![Equal, Greater, Less, NotEqual]), target)
        .prop_map(|(range, relation, target)| Compare { range, relation, target })
}

fn any_txn() -> impl Strategy<Value = TxnRequest> {
    let operation = prop_oneof![
        any_get().prop_map(Operation::Range),
        any_put().prop_map(Operation::Put),
        any_delete().prop_map(Operation::DeleteRange),
    ];
    let operation =
        operation.prop_recursive(3, 12, 3, |inner| txn_of(inner).prop_map(Operation::Txn));
    txn_of(operation)
}

fn txn_of(
    operation: impl Strategy<Value = Operation> + Clone,
) -> impl Strategy<Value = TxnRequest> {
    (vec(any_compare(), 0..2), vec(operation.clone(), 0..4), vec(operation, 0..3))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

fn any_compact() -> impl Strategy<Value = CompactRequest> {
    (any_revision(), any::<bool>())
        .prop_map(|(revision, physical)| CompactRequest { revision, physical })
}

/// Few, and at the ends of the order in which their keys are kept.
fn any_lease() -> impl Strategy<Value = LeaseId> {
    prop::sample::select(vec![1, 2, i64::MAX, i64::MIN, -1]).prop_map(LeaseId)
}

fn any_grant() -> impl Strategy<Value = LeaseGrantRequest> {
    (any_lease(), 0..4_i64).prop_map(|(id, ttl_seconds)| LeaseGrantRequest { id, ttl_seconds })
}

fn any_tick() -> impl Strategy<Value = TickRequest> {
    (0..3_u64, 0..700_u64).prop_map(|(from_ms, by_ms)| TickRequest { term: 1, from_ms, by_ms })
}

pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        6 => any_put().prop_map(Command::Put),
        2 => any_delete().prop_map(Command::DeleteRange),
        3 => any_txn().prop_map(Command::Txn),
        1 => any_compact().prop_map(Command::Compact),
        2 => any_grant().prop_map(Command::LeaseGrant),
        1 => any_lease().prop_map(Command::LeaseRevoke),
        1 => any_lease().prop_map(Command::LeaseRenew),
        3 => any_tick().prop_map(Command::Tick),
    ]
}
