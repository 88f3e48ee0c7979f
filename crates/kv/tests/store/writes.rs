//! Puts and deletions.

use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;

use crate::ask::*;

#[test]
fn the_empty_store_is_at_revision_one() {
    let store = Store::in_memory();
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(store.compact_revision(), Revision(-1));
    assert_eq!((store.live_keys(), store.bytes()), (0, 0));
}

#[test]
fn each_put_makes_one_revision_and_one_version() {
    let mut store = Store::in_memory();
    assert_eq!(store.put(put("a", "1")).unwrap().revision, Revision(2));
    assert_eq!(store.put(put("b", "2")).unwrap().revision, Revision(3));
    assert_eq!(store.put(put("a", "3")).unwrap().revision, Revision(4));
    assert_eq!(store.look("a"), Some((2, 4, 2, "3".into())));
    assert_eq!(store.look("b"), Some((3, 3, 1, "2".into())));
    assert_eq!(store.live_keys(), 2);
}

#[test]
fn a_put_of_the_same_value_is_still_a_write() {
    let mut store = store_with(&["a=1"]);
    store.put(put("a", "1")).unwrap();
    assert_eq!(store.look("a"), Some((2, 3, 2, "1".into())));
}

#[test]
fn a_put_answers_with_what_was_there_only_if_asked() {
    let mut store = store_with(&["a=1"]);
    assert_eq!(store.put(put("a", "2")).unwrap().prev_kv, None);
    let asks = |name| PutRequest { prev_kv: true, ..put(name, "3") };
    let before = store.put(asks("a")).unwrap().prev_kv.expect("the key was there");
    assert_eq!((text(&before.key), text(&before.value)), ("a", "2"));
    assert_eq!((before.create_revision, before.mod_revision), (Revision(2), Revision(3)));
    assert_eq!(store.put(asks("new")).unwrap().prev_kv, None);
}

#[test]
fn a_deletion_of_nothing_makes_no_revision() {
    let mut store = store_with(&["a=1"]);
    for range in [key("b"), between("b", "c"), from("b"), between("a", "a"), between("z", "a")] {
        let response = store.delete(delete(range)).unwrap();
        assert_eq!((response.revision, response.deleted), (Revision(2), 0));
    }
    assert_eq!(store.revision(), Revision(2));
}

#[test]
fn a_deletion_of_many_keys_makes_one_revision() {
    let mut store = store_with(&["a=1", "b=2", "c=3", "d=4"]);
    let request = DeleteRangeRequest { prev_kv: true, ..delete(between("b", "d")) };
    let response = store.delete(request).unwrap();
    assert_eq!((response.revision, response.deleted), (Revision(6), 2));
    let names: Vec<_> = response.prev_kvs.iter().map(|kv| text(&kv.key)).collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(store.content(), "a=1 d=4");
    assert_eq!(store.live_keys(), 2);
}

#[test]
fn a_key_deleted_twice_is_deleted_once() {
    let mut store = store_with(&["a=1"]);
    assert_eq!(store.delete(delete(key("a"))).unwrap().deleted, 1);
    assert_eq!(store.delete(delete(from("a"))).unwrap().deleted, 0);
    assert_eq!(store.revision(), Revision(3));
}

#[test]
fn a_key_written_again_after_its_deletion_starts_a_new_life() {
    let mut store = store_with(&["a=1", "a=2"]);
    store.delete(delete(key("a"))).unwrap();
    let request = PutRequest { prev_kv: true, ..put("a", "3") };
    assert_eq!(store.put(request).unwrap().prev_kv, None);
    assert_eq!(store.look("a"), Some((5, 5, 1, "3".into())));
}

#[test]
fn ignore_value_keeps_the_value_and_counts_as_a_write() {
    let mut store = store_with(&["a=1"]);
    store.put(PutRequest { ignore_value: true, ..put("a", "") }).unwrap();
    assert_eq!(store.look("a"), Some((2, 3, 2, "1".into())));
    store.put(PutRequest { ignore_lease: true, ..put("a", "2") }).unwrap();
    assert_eq!(store.look("a"), Some((2, 4, 3, "2".into())));
}

#[test]
fn a_put_that_keeps_what_is_not_there_is_refused_and_leaves_no_trace() {
    let mut store = store_with(&["a=1"]);
    store.delete(delete(key("a"))).unwrap();
    let before = everything(&mut store);
    for name in ["a", "b"] {
        let value = PutRequest { ignore_value: true, ..put(name, "") };
        let lease = PutRequest { ignore_lease: true, ..put(name, "1") };
        assert_eq!(store.put(value), Err(Error::KeyNotFound));
        assert_eq!(store.put(lease), Err(Error::KeyNotFound));
    }
    assert_eq!(everything(&mut store), before);
}

#[test]
fn a_lease_that_was_never_granted_is_refused_before_the_key_is_looked_for() {
    let mut store = Store::in_memory();
    let request = PutRequest { lease: LeaseId(7), ignore_value: true, ..put("a", "") };
    assert_eq!(store.put(request), Err(Error::LeaseNotFound));
    assert_eq!(everything(&mut store), everything(&mut Store::in_memory()));
}

#[test]
fn a_revision_that_comes_with_the_command_may_leave_gaps() {
    let mut store = Store::in_memory();
    store.apply_at(&Command::Put(put("a", "1")), Revision(10), &[]).unwrap();
    store.apply_at(&Command::DeleteRange(delete(key("b"))), Revision(15), &[]).unwrap();
    assert_eq!(store.revision(), Revision(10));
    store.apply_at(&Command::Put(put("a", "2")), Revision(20), &[]).unwrap();
    assert_eq!(store.look("a"), Some((10, 20, 2, "2".into())));
    assert_eq!(store.content_of(get_at(key("a"), 19)), "a=1");
    assert_eq!(store.content_of(get_at(key("a"), 9)), "");
}

#[test]
#[should_panic(expected = "a revision that is already taken")]
fn a_revision_is_never_given_twice() {
    let mut store = store_with(&["a=1"]);
    let _ = store.apply_at(&Command::Put(put("a", "2")), Revision(2), &[]);
}

#[test]
fn neither_key_nor_value_keeps_the_request_in_memory() {
    let entry = bytes("name, and a value that is larger than its key");
    let of_entry = entry.as_ptr_range();
    let request = PutRequest { key: entry.slice(..4), value: entry.slice(4..), ..put("", "") };
    let mut store = Store::in_memory();
    store.put(request).unwrap();
    let kv = store.range(get(key("name"))).unwrap().kvs.remove(0);
    assert_eq!(text(&kv.value), ", and a value that is larger than its key");
    assert!(!of_entry.contains(&kv.value.as_ptr()));
    assert!(!of_entry.contains(&kv.key.as_ptr()));
}

#[test]
fn the_size_is_that_of_key_and_value_of_each_version_that_is_held() {
    let mut store = store_with(&["key=12345", "key=123"]);
    assert_eq!(store.bytes(), 3 + 5 + 3 + 3);
    store.delete(delete(key("key"))).unwrap();
    assert_eq!(store.bytes(), 3 + 5 + 3 + 3);
    store.compact(3, true).unwrap();
    assert_eq!(store.bytes(), 3 + 3);
    store.compact(4, true).unwrap();
    assert_eq!(store.bytes(), 0);
}
