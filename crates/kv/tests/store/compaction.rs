//! Compaction: what can no longer be read, what still can, and when the space is free.

use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;

use crate::ask::*;

/// a: written at 2 and 3. b: written at 4, deleted at 5, written at 6.
fn store_with_a_past() -> Store {
    let mut store = store_with(&["a=1", "a=2", "b=1"]);
    store.delete(delete(key("b"))).unwrap();
    store.put(put("b", "2")).unwrap();
    store
}

#[test]
fn reads_below_the_compacted_revision_are_refused_and_reads_at_it_are_not() {
    for physical in [false, true] {
        let mut store = store_with_a_past();
        assert_eq!(store.compact(4, physical).unwrap().revision, Revision(6));
        assert_eq!(store.compact_revision(), Revision(4));
        assert_eq!(store.range(get_at(from("a"), 3)), Err(Error::Compacted));
        assert_eq!(store.content_of(get_at(from("a"), 4)), "a=2 b=1");
        assert_eq!(store.content_of(get_at(from("a"), 5)), "a=2");
        assert_eq!(store.content_of(get_at(from("a"), 6)), "a=2 b=2");
        assert_eq!(store.content_of(get_at(from("a"), -3)), "a=2 b=2");
    }
}

#[test]
fn a_compaction_neither_goes_back_nor_ahead_and_makes_no_revision() {
    let mut store = store_with_a_past();
    assert_eq!(store.compact(7, false), Err(Error::FutureRevision));
    store.compact(4, false).unwrap();
    assert_eq!(store.compact(4, false), Err(Error::Compacted));
    assert_eq!(store.compact(3, true), Err(Error::Compacted));
    store.compact(6, false).unwrap();
    assert_eq!(store.revision(), Revision(6));
}

#[test]
fn the_first_compaction_may_be_at_zero_but_not_below() {
    let mut store = Store::in_memory();
    assert_eq!(store.compact(-1, false), Err(Error::Compacted));
    assert_eq!(store.compact(2, false), Err(Error::FutureRevision));
    store.compact(0, false).unwrap();
    assert_eq!(store.compact(0, false), Err(Error::Compacted));
    store.compact(1, false).unwrap();
}

#[test]
fn a_physical_compaction_frees_everything_at_once() {
    let mut store = store_with_a_past();
    store.compact(6, true).unwrap();
    let fresh = store_with(&["a=2", "b=2"]);
    assert_eq!(store.bytes(), fresh.bytes());
}

#[test]
fn a_deleted_key_is_forgotten_once_its_deletion_is_compacted() {
    let mut store = store_with(&["gone=1"]);
    store.delete(delete(key("gone"))).unwrap();
    store.compact(2, true).unwrap();
    assert_eq!(store.content_of(get_at(key("gone"), 2)), "gone=1");
    store.compact(3, true).unwrap();
    assert_eq!(store.bytes(), 0);
    store.put(put("gone", "2")).unwrap();
    assert_eq!(store.look("gone"), Some((4, 4, 1, "2".into())));
}

#[test]
fn a_large_compaction_is_spread_over_steps() {
    let mut store = Store::in_memory();
    for _ in 0..1000 {
        store.put(put("a", "0123456789")).unwrap();
    }
    let full = store.bytes();
    store.compact(store.revision().0, false).unwrap();
    assert_eq!(store.bytes(), full, "the command itself removes nothing");
    assert_eq!(store.range(get_at(key("a"), 1000)), Err(Error::Compacted), "all is out of reach");
    let mut steps = 0;
    let mut has_more = true;
    while has_more {
        assert!(store.has_garbage());
        let before = store.bytes();
        has_more = store.collect_garbage(100).unwrap();
        assert!(before - store.bytes() <= 100 * (1 + 10), "no step removes much");
        store.put(put("b", "")).unwrap();
        steps += 1;
    }
    assert_eq!(steps, 11, "a step of 100 changes, and one that finds no more");
    assert_eq!(store.collected(), Revision(1001));
    assert_eq!(store.content(), "a=0123456789 b=");
}

#[test]
fn a_refused_command_frees_nothing() {
    let mut store = store_with(&["a=1"; 200]);
    store.compact(200, false).unwrap();
    let before = everything(&mut store);
    assert!(store.put(PutRequest { lease: LeaseId(1), ..put("a", "1") }).is_err());
    assert!(store.compact(1, true).is_err());
    assert_eq!(everything(&mut store), before);
}

#[test]
fn what_one_transaction_wrote_and_deleted_is_garbage_at_its_own_revision() {
    let mut store = Store::in_memory();
    let write = Operation::Txn(always(vec![Operation::Put(put("a", "1"))]));
    let undo = Operation::Txn(always(vec![Operation::DeleteRange(delete(key("a")))]));
    store.txn(always(vec![write, undo])).unwrap();
    assert_eq!((store.content().as_str(), store.live_keys()), ("", 0));
    store.compact(2, true).unwrap();
    assert_eq!(store.bytes(), 0);
}

#[test]
fn the_digest_does_not_depend_on_how_much_garbage_is_gone() {
    let busy_store = || {
        let mut store = store_with_a_past();
        for number in 0..100 {
            store.put(put("a", "3")).unwrap();
            store.put(put(&format!("gone {number}"), "1")).unwrap();
            store.delete(delete(between("gone", "h"))).unwrap();
        }
        store
    };
    let (mut lazy, mut eager) = (busy_store(), busy_store());
    let uncompacted = lazy.digest().unwrap();
    lazy.compact(290, false).unwrap();
    eager.compact(290, true).unwrap();
    assert_ne!(lazy.bytes(), eager.bytes());
    assert_eq!(lazy.digest().unwrap(), eager.digest().unwrap());
    assert_ne!(lazy.digest().unwrap(), uncompacted);
}

#[test]
fn the_digest_tells_histories_apart_that_end_alike() {
    let mut seen = std::collections::BTreeMap::new();
    for history in [
        &[][..],
        &["a=1"],
        &["a=1", "a=1"],
        &["a=2", "a=1"],
        &["b=1", "a=1"],
        &["a=1", "b=1"],
        &["a=", "a=1"],
        &["a=1\0"],
        &["a\0=1"],
        &["a=12345678"],
        &["a=123456789"],
    ] {
        if let Some(other) = seen.insert(store_with(history).digest().unwrap(), history) {
            panic!("{history:?} and {other:?} have the same digest");
        }
    }
}
