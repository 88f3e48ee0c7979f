//! How fast the store is by itself, without Raft, log or network: what a command costs while it gathers, and what writing
//! each hundred of them to an engine in memory adds.
//!
//! `cargo run --release -p quorate-kv --example store -- [KEYS] [VALUE_BYTES]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_kv::request::*;
use quorate_kv::store::Store;

fn key(number: usize) -> Bytes {
    // Spread over the key space, as hashes are.
    format!("/registry/{:016x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).into()
}

fn put(number: usize, value: &Bytes) -> Command {
    Command::Put(PutRequest {
        key: key(number),
        value: value.clone(),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn get(range: KeyRange, limit: usize) -> Query {
    Query::Range(RangeRequest {
        range,
        limit,
        revision: None,
        sort: None,
        serializable: false,
        keys_only: false,
        count_only: false,
        min_mod_revision: Revision(0),
        max_mod_revision: Revision(0),
        min_create_revision: Revision(0),
        max_create_revision: Revision(0),
    })
}

/// The commands that a shard applies in a turn.
const TURN: usize = 100;

fn timed(what: &str, times: usize, mut each: impl FnMut(usize)) {
    let began = Instant::now();
    for number in 0..times {
        each(number);
    }
    let took = began.elapsed();
    let rate = times as f64 / took.as_secs_f64();
    let nanos = took.as_nanos() / times as u128;
    println!("{what:<40} {rate:>12.0} /s {nanos:>10} ns each");
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let keys: usize = arguments.next().unwrap_or(100_000);
    let value = Bytes::from(vec![b'v'; arguments.next().unwrap_or(100)]);
    let mut store = Store::in_memory();
    let commands: Vec<Command> = (0..keys).map(|number| put(number, &value)).collect();
    for what in ["put of a new key", "put over an old value"] {
        let mut committing = Duration::ZERO;
        timed(what, keys, |number| {
            store.apply(&commands[number]).expect("a plain put");
            if (number + 1).is_multiple_of(TURN) {
                let began = Instant::now();
                store.commit();
                committing += began.elapsed();
            }
        });
        println!(
            "{:<40} {:>27} ns each",
            "  of that, to commit",
            committing.as_nanos() / keys as u128
        );
    }
    let queries: Vec<Query> = (0..keys)
        .map(|number| get(KeyRange { start: key(number), end: RangeEnd::Single }, 0))
        .collect();
    timed("get of one key", keys, |number| {
        black_box(store.query(&queries[number]).expect("a plain get"));
    });
    let all = || KeyRange { start: Bytes::from_static(b"/"), end: RangeEnd::Unbounded };
    let whole = get(all(), 0);
    timed("range of all keys", 10, |_| {
        black_box(store.query(&whole).expect("a plain range"));
    });
    let old = {
        let Query::Range(range) = get(all(), 0) else { unreachable!("a get is a range") };
        Query::Range(RangeRequest { revision: Some(Revision(1 + keys as i64)), ..range })
    };
    timed("range of all keys, before the second put", 10, |_| {
        black_box(store.query(&old).expect("a plain range"));
    });
    let first = get(all(), 10);
    timed("range of all keys, limit 10", 10, |_| {
        black_box(store.query(&first).expect("a plain range"));
    });
}
