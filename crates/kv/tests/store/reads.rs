//! Reads of ranges, now and before.

use quorate_kv::error::Error;
use quorate_kv::request::*;

use crate::ask::*;

/// a: created 2, written 6, version 2. b: created and written 3. c: 4. d: 5.
fn four_keys() -> quorate_kv::store::Store {
    store_with(&["a=4", "b=3", "c=2", "d=1", "a=5"])
}

fn names(response: &RangeResponse) -> String {
    response.kvs.iter().map(|kv| text(&kv.key)).collect()
}

#[test]
fn a_range_ends_before_its_end() {
    let store = four_keys();
    assert_eq!(store.content_of(get(between("b", "d"))), "b=3 c=2");
    assert_eq!(store.content_of(get(from("c"))), "c=2 d=1");
    assert_eq!(store.content_of(get(key("c"))), "c=2");
    assert_eq!(store.content_of(get(key("cc"))), "");
}

#[test]
fn a_range_that_ends_at_or_before_its_start_is_empty() {
    let store = four_keys();
    for range in [between("b", "b"), between("c", "a"), between("c", "")] {
        let response = store.range(get(range)).unwrap();
        assert_eq!((response.count, response.kvs.len(), response.more), (0, 0, false));
    }
}

#[test]
fn a_limit_cuts_the_answer_but_not_the_count() {
    let store = four_keys();
    let limited = |limit| store.range(RangeRequest { limit, ..get(from("a")) }).unwrap();
    let two = limited(2);
    assert_eq!((names(&two).as_str(), two.count, two.more), ("ab", 4, true));
    let four = limited(4);
    assert_eq!((names(&four).as_str(), four.count, four.more), ("abcd", 4, false));
}

#[test]
fn a_count_ignores_the_limit_and_the_bounds_and_shows_no_keys() {
    let request = RangeRequest {
        count_only: true,
        limit: 1,
        min_mod_revision: Revision(6),
        ..get(from("a"))
    };
    let response = four_keys().range(request).unwrap();
    assert_eq!((response.count, response.kvs.len(), response.more), (4, 0, false));
}

#[test]
fn bounds_on_revisions_filter_before_the_limit_and_leave_the_count_alone() {
    let store = four_keys();
    let ask = |request| {
        let response = store.range(request).unwrap();
        assert_eq!(response.count, 4);
        (names(&response), response.more)
    };
    let all = get(from("a"));
    assert_eq!(
        ask(RangeRequest { min_mod_revision: Revision(5), ..all.clone() }),
        ("ad".into(), false)
    );
    assert_eq!(
        ask(RangeRequest { max_mod_revision: Revision(4), ..all.clone() }),
        ("bc".into(), false)
    );
    assert_eq!(
        ask(RangeRequest { min_create_revision: Revision(4), ..all.clone() }),
        ("cd".into(), false)
    );
    assert_eq!(
        ask(RangeRequest { max_create_revision: Revision(3), ..all.clone() }),
        ("ab".into(), false)
    );
    assert_eq!(
        ask(RangeRequest { max_create_revision: Revision(3), limit: 1, ..all.clone() }),
        ("a".into(), true)
    );
    assert_eq!(
        ask(RangeRequest { max_create_revision: Revision(3), limit: 2, ..all }),
        ("ab".into(), false)
    );
}

#[test]
fn every_target_sorts_in_both_directions() {
    use SortOrder::{Ascending, Descending};
    use SortTarget::{CreateRevision, Key, ModRevision, Value, Version};
    let store = four_keys();
    for (target, order, expected) in [
        (Key, Ascending, "abcd"),
        (Key, Descending, "dcba"),
        (CreateRevision, Ascending, "abcd"),
        (CreateRevision, Descending, "dcba"),
        (ModRevision, Ascending, "bcda"),
        (ModRevision, Descending, "adcb"),
        (Value, Ascending, "dcba"),
        (Value, Descending, "abcd"),
        // Keys that tie are in ascending order both ways.
        (Version, Ascending, "bcda"),
        (Version, Descending, "abcd"),
    ] {
        let request = RangeRequest { sort: Some((target, order)), ..get(from("a")) };
        let response = store.range(request).unwrap();
        assert_eq!(names(&response), expected, "by {target:?}, {order:?}");
    }
}

#[test]
fn a_sort_comes_before_the_limit_and_before_the_values_are_left_out() {
    let request = RangeRequest {
        sort: Some((SortTarget::Value, SortOrder::Ascending)),
        limit: 2,
        keys_only: true,
        ..get(from("a"))
    };
    let response = four_keys().range(request).unwrap();
    assert_eq!((names(&response).as_str(), response.count, response.more), ("dc", 4, true));
    assert!(response.kvs.iter().all(|kv| kv.value.is_empty()));
}

#[test]
fn an_old_revision_shows_what_was_there_then_under_the_revision_of_now() {
    let mut store = store_with(&["a=1", "b=1", "a=2"]);
    store.delete(delete(key("b"))).unwrap();
    store.put(put("b", "3")).unwrap();
    let at = |revision| store.content_of(get_at(from("a"), revision));
    assert_eq!(at(1), "");
    assert_eq!(at(2), "a=1");
    assert_eq!(at(3), "a=1 b=1");
    assert_eq!(at(4), "a=2 b=1");
    assert_eq!(at(5), "a=2");
    assert_eq!(at(6), "a=2 b=3");
    let response = store.range(get_at(key("b"), 3)).unwrap();
    assert_eq!((response.revision, response.count), (Revision(6), 1));
    let b = &response.kvs[0];
    assert_eq!((b.create_revision, b.mod_revision, b.version), (Revision(3), Revision(3), 1));
}

#[test]
fn a_revision_that_is_not_positive_is_the_newest() {
    let store = four_keys();
    for revision in [0, -1, -5] {
        assert_eq!(store.content_of(get_at(key("a"), revision)), "a=5");
    }
}

#[test]
fn a_revision_that_no_write_has_made_is_refused() {
    let store = four_keys();
    assert!(store.range(get_at(key("a"), 6)).is_ok());
    assert_eq!(store.range(get_at(key("a"), 7)), Err(Error::FutureRevision));
    let counts = RangeRequest { count_only: true, ..get_at(key("a"), 7) };
    assert_eq!(store.range(counts), Err(Error::FutureRevision));
}
