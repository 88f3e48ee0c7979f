//! Transactions: conditions, order, revisions, and all or nothing.

use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;

use crate::ask::*;

fn op_get(range: KeyRange) -> Operation {
    Operation::Range(get(range))
}

fn op_put(key: &str, value: &str) -> Operation {
    Operation::Put(put(key, value))
}

fn op_delete(range: KeyRange) -> Operation {
    Operation::DeleteRange(delete(range))
}

fn succeeds(store: &Store, range: KeyRange, relation: Relation, target: CompareTarget) -> bool {
    let request = TxnRequest { compare: vec![compare(range, relation, target)], ..always(vec![]) };
    match store.query(&Query::Txn(request)) {
        Ok(Response::Txn(response)) => response.succeeded,
        other => panic!("an empty transaction was answered with {other:?}"),
    }
}

/// The revision in an answer to an operation.
fn revision(response: &Response) -> i64 {
    match response {
        Response::Range(response) => response.revision.0,
        Response::Put(response) => response.revision.0,
        Response::DeleteRange(response) => response.revision.0,
        Response::Txn(response) => response.revision.0,
        other => panic!("{other:?} answers no operation"),
    }
}

#[test]
fn each_field_compares_in_each_relation() {
    use Relation::{Equal, Greater, Less, NotEqual};
    // Created at 2, written at 4, version 3.
    let store = store_with(&["a=m", "a=m", "a=m"]);
    type Field = fn(i64) -> CompareTarget;
    let targets: [(&str, Field, i64); 4] = [
        ("version", |n| CompareTarget::Version(n), 3),
        ("creation", |n| CompareTarget::CreateRevision(Revision(n)), 2),
        ("last write", |n| CompareTarget::ModRevision(Revision(n)), 4),
        ("lease", |n| CompareTarget::Lease(LeaseId(n)), 0),
    ];
    for (name, target, actual) in targets {
        for (expected, holds) in [
            (actual, [true, false, false, false]),
            (actual - 1, [false, true, false, true]),
            (actual + 1, [false, false, true, true]),
        ] {
            let found = [Equal, Greater, Less, NotEqual]
                .map(|relation| succeeds(&store, key("a"), relation, target(expected)));
            assert_eq!(found, holds, "{name} {actual} with {expected}");
        }
    }
    for (expected, holds) in [
        ("m", [true, false, false, false]),
        ("l", [false, true, false, true]),
        ("mm", [false, false, true, true]),
    ] {
        let found = [Equal, Greater, Less, NotEqual].map(|relation| {
            succeeds(&store, key("a"), relation, CompareTarget::Value(bytes(expected)))
        });
        assert_eq!(found, holds, "value m with {expected}");
    }
}

#[test]
fn a_missing_key_compares_as_zero_and_its_value_with_nothing() {
    use Relation::{Equal, Greater, Less, NotEqual};
    let store = store_with(&["a=1"]);
    for range in [key("b"), between("b", "c"), from("b"), between("b", "a")] {
        for (target, holds) in [
            (CompareTarget::Version(0), [true, false, false, false]),
            (CompareTarget::CreateRevision(Revision(0)), [true, false, false, false]),
            (CompareTarget::ModRevision(Revision(0)), [true, false, false, false]),
            (CompareTarget::Lease(LeaseId(0)), [true, false, false, false]),
            (CompareTarget::Version(1), [false, false, true, true]),
            (CompareTarget::Value(bytes("")), [false; 4]),
            (CompareTarget::Value(bytes("1")), [false; 4]),
        ] {
            let found = [Equal, Greater, Less, NotEqual]
                .map(|relation| succeeds(&store, range.clone(), relation, target.clone()));
            assert_eq!(found, holds, "{target:?} over {range:?}");
        }
    }
}

#[test]
fn a_condition_over_a_range_must_hold_for_every_key() {
    let store = store_with(&["a=1", "b=1", "c=2"]);
    let all_are =
        |range, value| succeeds(&store, range, Relation::Equal, CompareTarget::Value(bytes(value)));
    assert!(all_are(between("a", "c"), "1"));
    assert!(!all_are(from("a"), "1"));
    assert!(all_are(from("c"), "2"));
}

#[test]
fn one_failed_condition_chooses_the_other_block() {
    let mut store = store_with(&["a=1"]);
    let exists = compare(key("a"), Relation::Greater, CompareTarget::Version(0));
    let is_two = compare(key("a"), Relation::Equal, CompareTarget::Value(bytes("2")));
    let request = TxnRequest {
        compare: vec![exists, is_two],
        success: vec![op_put("a", "then")],
        failure: vec![op_put("a", "else")],
    };
    let response = store.txn(request).unwrap();
    assert!(!response.succeeded);
    assert_eq!(store.content(), "a=else");
}

#[test]
fn a_transaction_makes_one_revision_and_its_answers_count_as_they_go() {
    let mut store = store_with(&["a=1"]);
    let response = store
        .txn(always(vec![
            op_get(key("a")),
            op_delete(key("none")),
            op_put("b", "1"),
            op_get(from("a")),
            op_delete(key("none")),
            op_delete(key("a")),
            Operation::Txn(always(vec![op_get(from("a")), op_put("c", "1")])),
        ]))
        .unwrap();
    let revisions: Vec<_> = response.responses.iter().map(revision).collect();
    assert_eq!(revisions, [2, 2, 3, 3, 3, 3, 0], "a nested transaction has none, as in etcd");
    assert_eq!(response.revision, Revision(3));
    let Response::Range(after_put) = &response.responses[3] else { panic!("not a read") };
    assert_eq!(after_put.count, 2);
    let Response::Txn(nested) = &response.responses[6] else { panic!("not a transaction") };
    let Response::Range(after_delete) = &nested.responses[0] else { panic!("not a read") };
    assert_eq!((after_delete.count, text(&after_delete.kvs[0].key)), (1, "b"));
    assert_eq!(store.look("b"), Some((3, 3, 1, "1".into())));
    assert_eq!(store.look("c"), Some((3, 3, 1, "1".into())));
}

#[test]
fn a_transaction_that_changes_nothing_makes_no_revision() {
    let mut store = store_with(&["a=1"]);
    let response = store.txn(always(vec![op_get(key("a")), op_delete(key("none"))])).unwrap();
    assert_eq!((response.revision, store.revision()), (Revision(2), Revision(2)));
    assert!(store.txn(TxnRequest::default()).unwrap().succeeded);
    assert_eq!(store.revision(), Revision(2));
}

#[test]
fn nested_conditions_see_the_store_before_the_transaction() {
    let mut store = Store::in_memory();
    let nested = TxnRequest {
        compare: vec![compare(key("a"), Relation::Equal, CompareTarget::Version(1))],
        success: vec![op_put("b", "then")],
        failure: vec![op_put("b", "else")],
    };
    store.txn(always(vec![op_put("a", "1"), Operation::Txn(nested)])).unwrap();
    assert_eq!(store.content(), "a=1 b=else");
}

#[test]
fn nested_transactions_each_follow_their_own_conditions() {
    let mut store = store_with(&["a=1"]);
    let choose = |name: &str, then: &str, otherwise: &str| {
        Operation::Txn(TxnRequest {
            compare: vec![compare(key(name), Relation::Greater, CompareTarget::Version(0))],
            success: vec![op_put(then, "then")],
            failure: vec![op_put(otherwise, "else")],
        })
    };
    let deep = Operation::Txn(always(vec![choose("none", "p", "q"), choose("a", "r", "s")]));
    store.txn(always(vec![choose("a", "x", "y"), deep, choose("none", "v", "w")])).unwrap();
    assert_eq!(store.content(), "a=1 q=else r=then w=else x=then");
}

#[test]
fn a_transaction_that_is_refused_anywhere_leaves_no_trace() {
    let mut store = store_with(&["a=1", "a=2"]);
    store.compact(3, false).unwrap();
    let before = everything(&mut store);
    let keeps = PutRequest { ignore_value: true, ..put("none", "") };
    let leased = PutRequest { lease: LeaseId(9), ..put("b", "1") };
    let keeps_and_leased = PutRequest { lease: LeaseId(9), ..keeps.clone() };
    for (last, error) in [
        (Operation::Put(keeps), Error::KeyNotFound),
        (Operation::Put(leased), Error::LeaseNotFound),
        // Unlike a put alone, a put in a transaction is asked for its key first.
        (Operation::Put(keeps_and_leased), Error::KeyNotFound),
        (Operation::Range(get_at(key("a"), 2)), Error::Compacted),
        (Operation::Range(get_at(key("a"), -5)), Error::Compacted),
        // Not even its own revision can be named.
        (Operation::Range(get_at(key("a"), 4)), Error::FutureRevision),
    ] {
        let nested = Operation::Txn(always(vec![last]));
        let request = always(vec![op_put("c", "1"), op_delete(key("a")), nested]);
        assert_eq!(store.txn(request), Err(error));
        assert_eq!(everything(&mut store), before);
    }
}

#[test]
fn a_block_that_is_not_chosen_is_not_checked() {
    let mut store = Store::in_memory();
    let keeps = Operation::Put(PutRequest { ignore_value: true, ..put("none", "") });
    let request = TxnRequest { failure: vec![keeps], ..always(vec![op_put("a", "1")]) };
    assert!(store.txn(request).unwrap().succeeded);
}

#[test]
fn an_old_revision_read_inside_a_transaction_does_not_see_its_writes() {
    let mut store = store_with(&["a=1"]);
    let old = Operation::Range(get_at(key("a"), 2));
    let response = store.txn(always(vec![op_put("a", "2"), old])).unwrap();
    let Response::Range(old) = &response.responses[1] else { panic!("not a read") };
    assert_eq!((text(&old.kvs[0].value), old.revision), ("1", Revision(3)));
}

#[test]
fn a_key_deleted_and_written_in_one_transaction_starts_a_new_life() {
    let mut store = store_with(&["a=1"]);
    let response =
        store.txn(always(vec![op_delete(from("a")), op_put("a", "2"), op_get(key("a"))])).unwrap();
    assert_eq!(response.revision, Revision(3));
    assert_eq!(store.look("a"), Some((3, 3, 1, "2".into())));
    assert_eq!(store.content_of(get_at(key("a"), 2)), "a=1");
    store.compact(3, true).unwrap();
    assert_eq!((store.content().as_str(), store.bytes()), ("a=2", 2));
}

#[test]
fn a_value_kept_across_a_deletion_in_one_transaction_is_that_from_before() {
    let mut store = store_with(&["a=1"]);
    let keeps = Operation::Put(PutRequest { ignore_value: true, ..put("a", "") });
    store.txn(always(vec![op_delete(from("a")), keeps])).unwrap();
    assert_eq!(store.look("a"), Some((3, 3, 1, "1".into())));
}

#[test]
fn a_read_only_transaction_is_a_query_and_one_that_writes_is_not() {
    let store = store_with(&["a=1"]);
    let nested = Operation::Txn(always(vec![op_get(key("a"))]));
    let Ok(Response::Txn(response)) = store.query(&Query::Txn(always(vec![nested]))) else {
        panic!("a read-only transaction was refused");
    };
    assert_eq!(response.revision, Revision(2));
    let future = always(vec![Operation::Range(get_at(key("a"), 3))]);
    assert_eq!(store.query(&Query::Txn(future)), Err(Error::FutureRevision));
    for writes in [op_put("a", "2"), op_delete(key("none"))] {
        let answer = store.query(&Query::Txn(always(vec![writes])));
        assert!(matches!(answer, Err(Error::Unsupported(_))));
    }
}
