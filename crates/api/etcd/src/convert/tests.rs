//! What each wire field means to the store.

use super::*;
use crate::proto::etcdserverpb::range_request::{SortOrder as Order, SortTarget as Target};

fn range(change: impl FnOnce(&mut wire::RangeRequest)) -> Result<store::RangeRequest, Error> {
    let mut request = wire::RangeRequest { key: "k".into(), ..Default::default() };
    change(&mut request);
    range_request(request)
}

fn sorted(order: i32, target: i32) -> Result<Option<(SortTarget, SortOrder)>, Error> {
    let request = range(|request| {
        request.sort_order = order;
        request.sort_target = target;
    });
    request.map(|request| request.sort)
}

fn compared(target: i32, result: i32, union: Option<TargetUnion>) -> Result<store::Compare, Error> {
    let compare = wire::Compare {
        result,
        target,
        key: "k".into(),
        target_union: union,
        ..Default::default()
    };
    let txn = txn_request(wire::TxnRequest { compare: vec![compare], ..Default::default() })?;
    Ok(txn.compare.into_iter().next().expect("one condition went in"))
}

#[test]
fn the_end_of_a_range_says_where_it_ends() {
    let end = |end: &'static [u8]| key_range("k".into(), Bytes::from_static(end)).end;
    assert_eq!(end(b""), RangeEnd::Single);
    assert_eq!(end(b"\0"), RangeEnd::Unbounded);
    assert_eq!(end(b"\0\0"), RangeEnd::Before(Bytes::from_static(b"\0\0")));
    assert_eq!(end(b"l"), RangeEnd::Before("l".into()));
}

#[test]
fn a_zero_byte_to_a_zero_byte_is_every_key() {
    let all = key_range(Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    assert_eq!(all, KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded });
}

#[test]
fn a_negative_limit_or_revision_is_none() {
    let request = range(|request| {
        request.limit = -1;
        request.revision = -1;
    });
    let request = request.expect("etcd takes such a request");
    assert_eq!((request.limit, request.revision), (0, None));
}

#[test]
fn a_limit_and_a_revision_are_kept() {
    let request = range(|request| {
        request.limit = 7;
        request.revision = 9;
    });
    let request = request.expect("the request is in order");
    assert_eq!((request.limit, request.revision), (7, Some(Revision(9))));
}

#[test]
fn the_four_bounds_on_revisions_keep_their_places() {
    let request = range(|request| {
        request.min_mod_revision = 1;
        request.max_mod_revision = 2;
        request.min_create_revision = 3;
        request.max_create_revision = 4;
    });
    let request = request.expect("the request is in order");
    assert_eq!((request.min_mod_revision, request.max_mod_revision), (Revision(1), Revision(2)));
    assert_eq!(
        (request.min_create_revision, request.max_create_revision),
        (Revision(3), Revision(4))
    );
}

#[test]
fn ascending_keys_need_no_sorting_and_descending_ones_do() {
    assert_eq!(sorted(Order::None as i32, Target::Key as i32), Ok(None));
    assert_eq!(sorted(Order::Ascend as i32, Target::Key as i32), Ok(None));
    let descending = Some((SortTarget::Key, SortOrder::Descending));
    assert_eq!(sorted(Order::Descend as i32, Target::Key as i32), Ok(descending));
}

#[test]
fn a_sort_target_without_an_order_is_sorted_in_ascending_order() {
    let ascending = Some((SortTarget::Value, SortOrder::Ascending));
    assert_eq!(sorted(Order::None as i32, Target::Value as i32), Ok(ascending));
}

#[test]
fn every_sort_target_is_known() {
    let targets = [
        (Target::Version, SortTarget::Version),
        (Target::Create, SortTarget::CreateRevision),
        (Target::Mod, SortTarget::ModRevision),
        (Target::Value, SortTarget::Value),
    ];
    for (target, expected) in targets {
        let descending = Some((expected, SortOrder::Descending));
        assert_eq!(sorted(Order::Descend as i32, target as i32), Ok(descending));
    }
}

#[test]
fn an_unknown_sort_is_refused() {
    assert_eq!(sorted(3, 0), Err(Error::InvalidSortOption));
    assert_eq!(sorted(0, 5), Err(Error::InvalidSortOption));
    assert_eq!(sorted(-1, 0), Err(Error::InvalidSortOption));
}

#[test]
fn each_comparison_reads_the_field_that_its_target_names() {
    let cases = [
        (0, TargetUnion::Version(5), CompareTarget::Version(5)),
        (1, TargetUnion::CreateRevision(5), CompareTarget::CreateRevision(Revision(5))),
        (2, TargetUnion::ModRevision(5), CompareTarget::ModRevision(Revision(5))),
        (3, TargetUnion::Value("v".into()), CompareTarget::Value("v".into())),
        (4, TargetUnion::Lease(5), CompareTarget::Lease(LeaseId(5))),
    ];
    for (target, union, expected) in cases {
        let compare = compared(target, 0, Some(union)).expect("the target is known");
        assert_eq!(compare.target, expected);
    }
}

#[test]
fn a_comparison_whose_union_holds_another_field_compares_with_zero() {
    let compare = compared(2, 0, Some(TargetUnion::Version(5))).expect("etcd takes it");
    assert_eq!(compare.target, CompareTarget::ModRevision(Revision(0)));
    let compare = compared(3, 0, None).expect("etcd takes it");
    assert_eq!(compare.target, CompareTarget::Value(Bytes::new()));
}

#[test]
fn every_relation_is_known_and_an_unknown_one_is_refused() {
    let relations = [Relation::Equal, Relation::Greater, Relation::Less, Relation::NotEqual];
    for (number, relation) in (0..).zip(relations) {
        assert_eq!(compared(0, number, None).expect("the relation is known").relation, relation);
    }
    assert!(matches!(compared(0, 4, None), Err(Error::Unsupported(_))));
    assert!(matches!(compared(5, 0, None), Err(Error::Unsupported(_))));
}

#[test]
fn an_operation_that_is_none_of_the_known_ones_is_refused_at_any_depth() {
    let empty =
        wire::TxnRequest { failure: vec![wire::RequestOp { request: None }], ..Default::default() };
    let nested = wire::TxnRequest {
        success: vec![wire::RequestOp { request: Some(Request::RequestTxn(empty.clone())) }],
        ..Default::default()
    };
    assert_eq!(txn_request(empty), Err(Error::KeyNotFound));
    assert_eq!(txn_request(nested), Err(Error::KeyNotFound));
}

#[test]
fn a_value_is_not_copied_on_its_way_to_the_store() {
    let value = Bytes::from(vec![7; 64]);
    let put = put_request(wire::PutRequest { value: value.clone(), ..Default::default() });
    assert_eq!(put.value.as_ptr(), value.as_ptr());
}

/// A transaction's answer that holds these.
fn answered(responses: Vec<store::Response>) -> store::TxnResponse {
    store::TxnResponse { revision: Revision(8), succeeded: true, responses }
}

#[test]
fn an_answer_inside_a_transaction_has_a_header_with_a_revision_alone() {
    let put = store::PutResponse { revision: Revision(8), prev_kv: None };
    let txn = txn_response(answered(vec![store::Response::Put(put)]));
    let expected = wire::ResponseHeader { revision: 8, ..Default::default() };
    match txn.responses[0].response.as_ref() {
        Some(Response::ResponsePut(put)) => assert_eq!(put.header, Some(expected)),
        other => panic!("a write is answered as a write, not with {other:?}"),
    }
}

#[test]
fn a_transaction_inside_a_transaction_is_answered_with_an_empty_header() {
    let txn = txn_response(answered(vec![store::Response::Txn(answered(vec![]))]));
    match txn.responses[0].response.as_ref() {
        Some(Response::ResponseTxn(txn)) => {
            assert_eq!(txn.header, Some(wire::ResponseHeader::default()));
        }
        other => panic!("a transaction is answered as one, not with {other:?}"),
    }
}
