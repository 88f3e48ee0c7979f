//! Reads that are carried out later, elsewhere, and piece by piece.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use quorate_kv::request::*;
use quorate_kv::store::{Allowance, Read, Store};

use crate::arbitrary::{any_command, any_get};
use crate::ask::*;

proptest! {
    #![proptest_config(Config {
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..Config::default()
    })]

    #[test]
    fn a_prepared_read_answers_as_one_at_once_would_have(
        commands in vec(any_command(), 0..40),
        gets in vec(any_get(), 1..10),
    ) {
        let mut store = Store::in_memory();
        for command in &commands {
            let _ = store.apply(command);
        }
        let mut prepared = Vec::new();
        for get in gets {
            let expected = store.range(get.clone());
            match (store.prepare(&get), expected) {
                (Ok(read), Ok(expected)) => prepared.push((read, expected)),
                (read, expected) => prop_assert_eq!(read.map(|_| ()), expected.map(|_| ())),
            }
        }
        store.delete(delete(from("\0"))).unwrap();
        store.commit();
        // Elsewhere is another thread.
        std::thread::spawn(move || {
            for (mut read, expected) in prepared {
                let size = |kv: &KeyValue| kv.key.len() + 2 * kv.value.len();
                let measure = read.measure(size).unwrap();
                let kvs: Vec<_> = read.kvs().unwrap().map(Result::unwrap).collect();
                assert_eq!(measure.bytes, expected.kvs.iter().map(size).sum());
                assert_eq!(measure.kvs, kvs.len());
                let RangeResponse { revision, count, more, kvs: expected } = expected;
                assert_eq!((measure.revision, measure.count, measure.more), (revision, count, more));
                assert_eq!(kvs, expected);
            }
        })
        .join()
        .expect("both passes agree with the answer");
    }
}

#[test]
fn a_read_that_takes_little_is_answered_and_one_that_takes_more_is_prepared() {
    let mut store = store_with(&["a=12345", "b=12345", "c=12345"]);
    let mut is_answered = |request: &RangeRequest, keys, bytes| {
        matches!(store.read(request, Allowance { keys, bytes }).unwrap(), Read::Answer(_))
    };
    let all = get(between("a", "d"));
    assert!(is_answered(&all, 3, 18));
    assert!(!is_answered(&all, 2, 18));
    assert!(!is_answered(&all, 3, 17));
    let sorted = RangeRequest { sort: Some((SortTarget::Value, SortOrder::Descending)), ..all };
    assert!(is_answered(&sorted, 3, 18));
    assert!(!is_answered(&sorted, 2, 18));
    assert!(!is_answered(&sorted, 3, 17));
    let first_of_all = RangeRequest { limit: 1, ..get(from("\0")) };
    assert!(is_answered(&first_of_all, 2, 6), "all keys need not be counted");
    let count_of_all = RangeRequest { count_only: true, ..get(from("\0")) };
    assert!(is_answered(&count_of_all, 0, 0));
}
