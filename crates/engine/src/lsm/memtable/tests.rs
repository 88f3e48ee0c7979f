//! A memtable against the map that it stands for.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Bytes, Option<Bytes>>;

/// Short keys of few letters, so that many are the same, or begin with another; and long ones that differ at their end.
fn any_key() -> impl Strategy<Value = Bytes> {
    let few = vec(prop::sample::select(vec![0, 1, b'a', 0xff]), 1..5);
    let long = vec(prop::sample::select(vec![0, b'a', 0xff]), 1..4)
        .prop_map(|end| [&b"what they share"[..], &end].concat());
    let number = any::<u16>().prop_map(|number| number.to_be_bytes().to_vec());
    prop_oneof![few, long, number].prop_map(Bytes::from)
}

fn any_change() -> impl Strategy<Value = Change> {
    let value = prop::option::of(any::<u8>().prop_map(|byte| Bytes::from(vec![byte; 3])));
    (any_key(), value)
}

fn any_bound() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![
        any_key().prop_map(Bound::Included),
        any_key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

fn write(memtable: &mut Memtable, model: &mut Model, changes: &[Change]) {
    for (key, value) in changes.iter().cloned() {
        memtable.insert(key.clone(), value.clone());
        model.insert(key, value);
    }
}

fn assert_same(memtable: &Memtable, model: &Model, range: &(Bound<Bytes>, Bound<Bytes>)) {
    for (key, value) in model {
        assert_eq!(memtable.get(key), Some(value));
    }
    let bytes = model.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len));
    assert_eq!(memtable.bytes(), bytes.sum::<usize>() as u64);
    assert_eq!(memtable.entries, model.len() as u64);
    for range in [range, &(Bound::Unbounded, Bound::Unbounded)] {
        if !crate::may_hold_a_key(range) {
            continue;
        }
        let expected: Vec<Change> =
            model.range(range.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut found: Vec<Change> = memtable.ascending(range).collect();
        assert_eq!(found, expected);
        found = memtable.descending(range).collect();
        found.reverse();
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_the_last_change_to_each_key_and_a_clone_what_it_held(
        before in vec(any_change(), 0..600),
        after in vec(any_change(), 0..600),
        range in (any_bound(), any_bound()),
    ) {
        let (mut memtable, mut model) = (Memtable::default(), Model::new());
        write(&mut memtable, &mut model, &before);
        let (seen, expected) = (memtable.clone(), model.clone());
        write(&mut memtable, &mut model, &after);
        assert_same(&memtable, &model, &range);
        assert_same(&seen, &expected, &range);
    }
}

#[test]
fn keys_that_rise_fall_or_are_scattered_make_a_tree_of_several_levels() {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    let orders: [fn(u32) -> u32; 3] =
        [|number| number, |number| u32::MAX - number, |number| number.wrapping_mul(0x9e37_79b9)];
    for order in orders {
        let (mut memtable, mut model) = (Memtable::default(), Model::new());
        let changes: Vec<Change> = (0..40_000)
            .map(|number| (Bytes::from(order(number).to_be_bytes().to_vec()), None))
            .collect();
        write(&mut memtable, &mut model, &changes);
        let Node::Inner(root) = &*memtable.root else { panic!("the root is a leaf") };
        assert!(matches!(&*root.children[0], Node::Inner(_)), "the tree has two levels");
        assert_same(&memtable, &model, &everything);
    }
}

#[test]
fn a_value_that_is_deleted_still_counts_as_memory_since_it_may_be_part_of_a_larger_piece() {
    let mut memtable = Memtable::default();
    memtable.insert(Bytes::from("key"), Some(Bytes::from(vec![7; 1000])));
    let footprint = memtable.footprint();
    memtable.insert(Bytes::from("key"), None);
    assert_eq!(memtable.bytes(), 3);
    assert_eq!(memtable.footprint(), footprint);
    memtable.insert(Bytes::from("key"), Some(Bytes::from("new")));
    assert_eq!(memtable.footprint(), footprint + 3);
}
