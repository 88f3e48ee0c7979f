//! What is refused without a look at the store.

use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;
use quorate_kv::validate::{Request, is_read_only};

use crate::ask::*;

fn validate<'a>(request: impl Into<Request<'a>>) -> Result<(), Error> {
    quorate_kv::validate::validate(request, TXN_OPERATIONS_MAX)
}

fn check(operations: Vec<Operation>) -> Result<(), Error> {
    let as_success = validate(&Command::Txn(always(operations.clone())));
    let request = TxnRequest { failure: operations, ..TxnRequest::default() };
    assert_eq!(validate(&Command::Txn(request)), as_success, "both blocks have the same rules");
    as_success
}

fn op_put(key: &str) -> Operation {
    Operation::Put(put(key, ""))
}

fn op_delete(range: KeyRange) -> Operation {
    Operation::DeleteRange(delete(range))
}

fn nested(success: Vec<Operation>, failure: Vec<Operation>) -> Operation {
    Operation::Txn(TxnRequest { success, failure, ..TxnRequest::default() })
}

fn reads(count: usize) -> Vec<Operation> {
    vec![Operation::Range(get(key("a"))); count]
}

#[test]
fn every_request_needs_a_key() {
    assert_eq!(validate(&Command::Put(put("", "1"))), Err(Error::EmptyKey));
    assert_eq!(validate(&Command::DeleteRange(delete(from("")))), Err(Error::EmptyKey));
    assert_eq!(validate(&Query::Range(get(between("", "b")))), Err(Error::EmptyKey));
    for operation in [op_put(""), op_delete(key("")), Operation::Range(get(key("")))] {
        assert_eq!(check(vec![operation.clone()]), Err(Error::EmptyKey));
        assert_eq!(check(vec![nested(vec![], vec![operation])]), Err(Error::EmptyKey));
    }
    let request = TxnRequest {
        compare: vec![compare(key(""), Relation::Equal, CompareTarget::Version(0))],
        ..TxnRequest::default()
    };
    assert_eq!(validate(&Query::Txn(request)), Err(Error::EmptyKey));
}

#[test]
fn a_key_has_at_most_as_many_bytes_as_the_engine_has_room_for_at_worst() {
    // Zeros are escaped, so a key of nothing else is longest in the engine.
    let longest = "\0".repeat(KEY_BYTES_MAX);
    let mut store = Store::in_memory();
    store.apply(&Command::Put(put(&longest, "1"))).expect("there is room for it");
    let longer = format!("{longest}a");
    assert_eq!(validate(&Command::Put(put(&longest, "1"))), Ok(()));
    assert_eq!(validate(&Command::Put(put(&longer, "1"))), Err(Error::KeyTooLong));
    assert_eq!(validate(&Query::Range(get(between("a", &longer)))), Err(Error::KeyTooLong));
}

#[test]
fn what_is_kept_cannot_be_given_too() {
    let value = PutRequest { ignore_value: true, ..put("a", "1") };
    assert_eq!(validate(&Command::Put(value)), Err(Error::ValueProvided));
    let lease = PutRequest { ignore_lease: true, lease: LeaseId(1), ..put("a", "1") };
    assert_eq!(validate(&Command::Put(lease)), Err(Error::LeaseProvided));
    let both = PutRequest { ignore_value: true, ignore_lease: true, ..put("a", "") };
    assert_eq!(validate(&Command::Put(both)), Ok(()));
}

#[test]
fn a_compaction_is_judged_by_the_store_alone() {
    let request = CompactRequest { revision: Revision(-7), physical: false };
    assert_eq!(validate(&Command::Compact(request)), Ok(()));
}

#[test]
fn a_block_holds_at_most_128_operations() {
    assert_eq!(check(reads(128)), Ok(()));
    assert_eq!(check(reads(129)), Err(Error::TooManyOperations));
    let condition = compare(key("a"), Relation::Equal, CompareTarget::Version(0));
    let conditions =
        |count| TxnRequest { compare: vec![condition.clone(); count], ..TxnRequest::default() };
    assert_eq!(validate(&Command::Txn(conditions(128))), Ok(()));
    assert_eq!(validate(&Command::Txn(conditions(129))), Err(Error::TooManyOperations));
}

#[test]
fn a_nested_transaction_has_what_the_largest_block_around_it_leaves() {
    assert_eq!(check(vec![nested(reads(127), vec![])]), Ok(()));
    assert_eq!(check(vec![nested(reads(128), vec![])]), Err(Error::TooManyOperations));
    let beside = |count| TxnRequest {
        success: reads(64),
        failure: vec![nested(vec![], reads(count))],
        ..TxnRequest::default()
    };
    assert_eq!(validate(&Command::Txn(beside(64))), Ok(()));
    assert_eq!(validate(&Command::Txn(beside(65))), Err(Error::TooManyOperations));
}

#[test]
fn transactions_nest_only_so_deep() {
    let deep = |depth: usize| {
        (1..depth).fold(always(reads(1)), |txn, _| always(vec![Operation::Txn(txn)]))
    };
    assert_eq!(validate(&Command::Txn(deep(TXN_DEPTH_MAX))), Ok(()));
    assert_eq!(validate(&Command::Txn(deep(TXN_DEPTH_MAX + 1))), Err(Error::TooManyOperations));
}

#[test]
fn a_key_is_put_once_and_not_where_it_is_deleted() {
    let refused = Err(Error::DuplicateKey);
    assert_eq!(check(vec![op_put("a"), op_put("b")]), Ok(()));
    assert_eq!(check(vec![op_put("a"), op_put("a")]), refused);
    assert_eq!(check(vec![op_put("a"), op_delete(key("a"))]), refused);
    assert_eq!(check(vec![op_delete(key("a")), op_put("a")]), refused);
    assert_eq!(check(vec![op_delete(key("a")), op_put("a\0")]), Ok(()));
    assert_eq!(check(vec![op_delete(between("a", "c")), op_put("b")]), refused);
    assert_eq!(check(vec![op_delete(between("a", "c")), op_put("c")]), Ok(()));
    assert_eq!(check(vec![op_delete(between("c", "a")), op_put("b")]), Ok(()));
    assert_eq!(check(vec![op_delete(key("a")), op_delete(from("a"))]), Ok(()));
}

#[test]
fn overlapping_deletions_are_all_remembered() {
    let deletions = [("m", "p"), ("a", "c"), ("b", "d"), ("x", "z"), ("e", "f"), ("d", "e")];
    let with = |key| {
        let deletions = deletions.iter().map(|(start, end)| op_delete(between(start, end)));
        check(deletions.chain([op_put(key)]).collect())
    };
    for free in ["Z", "f", "l", "p", "q", "w", "z", "zz"] {
        assert_eq!(with(free), Ok(()), "{free}");
    }
    for deleted in ["a", "b", "bb", "c", "d", "dd", "e", "ee", "m", "o", "x", "yy"] {
        assert_eq!(with(deleted), Err(Error::DuplicateKey), "{deleted}");
    }
}

#[test]
fn the_two_blocks_of_a_nested_transaction_exclude_each_other() {
    assert_eq!(check(vec![nested(vec![op_put("a")], vec![op_put("a")])]), Ok(()));
    assert_eq!(check(vec![nested(vec![op_put("a")], vec![op_delete(key("a"))])]), Ok(()));
}

#[test]
fn nested_writes_count_for_the_transaction_around_them() {
    let refused = Err(Error::DuplicateKey);
    let puts = || nested(vec![op_put("a")], vec![]);
    let deletes = || nested(vec![], vec![op_delete(between("a", "b"))]);
    assert_eq!(check(vec![puts(), op_put("a")]), refused);
    assert_eq!(check(vec![puts(), nested(vec![], vec![op_put("a")])]), refused);
    assert_eq!(check(vec![puts(), op_delete(key("a"))]), refused);
    assert_eq!(check(vec![op_put("a"), deletes()]), refused);
    assert_eq!(check(vec![deletes(), puts()]), refused);
    assert_eq!(check(vec![nested(vec![deletes()], vec![]), puts()]), refused);
}

#[test]
fn two_gaps_are_etcds() {
    let puts = nested(vec![op_put("a")], vec![]);
    let deletes = nested(vec![op_delete(key("a"))], vec![]);
    assert_eq!(check(vec![puts, deletes]), Ok(()));
    assert_eq!(check(vec![op_delete(from("a")), op_put("b")]), Ok(()));
}

#[test]
fn a_missing_key_is_found_before_a_duplicate_one() {
    assert_eq!(check(vec![op_put("a"), op_put("a"), op_put("")]), Err(Error::EmptyKey));
}

#[test]
fn a_transaction_is_read_only_if_no_block_at_any_depth_writes() {
    assert!(is_read_only(&TxnRequest::default()));
    assert!(is_read_only(&always(vec![nested(reads(1), reads(2))])));
    assert!(!is_read_only(&always(vec![nested(reads(1), vec![op_put("a")])])));
    let request = TxnRequest { failure: vec![op_delete(key("a"))], ..always(reads(1)) };
    assert!(!is_read_only(&request));
}
