//! How fast the store is by itself, without Raft, log or network: what a command costs while it gathers, what writing
//! each hundred of them to its engine adds, and what the engine's threads do behind. The engine is in memory, or in a
//! directory that is not there yet, and is then flushed as a node flushes it. Times are of the processor, which a busy machine disturbs least.
//!
//! `cargo run --release -p quorate-kv --example store -- [KEYS] [VALUE_BYTES] [DIRECTORY]`

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::Mutants;
use quorate_engine::{Engine, EngineOptions, LsmEngine};
use quorate_kv::request::*;
use quorate_kv::store::Store;
use rustix::time::{ClockId, clock_gettime};

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

/// Bytes that cannot be compressed.
fn random_value(bytes: usize) -> Bytes {
    let mut word = 1_u64;
    let mut next = || {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (word >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn get(range: KeyRange, limit: usize) -> Query {
    Query::Range(RangeRequest { limit, ..RangeRequest::of(range) })
}

/// The commands that a shard applies in a turn.
const TURN: usize = 100;

fn timed(what: &str, times: usize, mut each: impl FnMut(usize)) {
    let began = cpu();
    for number in 0..times {
        each(number);
    }
    let took = cpu() - began;
    let rate = times as f64 / took.as_secs_f64();
    let nanos = took.as_nanos() / times as u128;
    println!("{what:<40} {rate:>12.0} /s {nanos:>10} ns each");
}

/// How many turns lie between two looks at how much is to be flushed, and how much it is then.
const UPKEEP_TURNS: usize = 20;
const FLUSH_BYTES: u64 = 64 << 20;

fn puts<E: Engine>(
    what: &str,
    store: &mut Store<E>,
    commands: &[Command],
    pick: impl Fn(usize) -> usize,
) {
    let mut committing = Duration::ZERO;
    let behind = cpu_of_engine();
    timed(what, commands.len(), |number| {
        store.apply(&commands[pick(number)]).expect("a plain put");
        if (number + 1).is_multiple_of(TURN) {
            let began = cpu();
            store.commit();
            if (number + 1).is_multiple_of(TURN * UPKEEP_TURNS) {
                if store.size().unflushed_bytes >= FLUSH_BYTES {
                    store.flush();
                }
                store.poll().expect("an engine without faults");
            }
            committing += cpu() - began;
        }
    });
    let each = |spent: Duration| spent.as_nanos() / commands.len() as u128;
    println!("{:<40} {:>27} ns each", "  of that, to commit", each(committing));
    println!("{:<40} {:>27} ns each", "  and behind, so far", each(cpu_of_engine() - behind));
}

/// How long this thread has run.
fn cpu() -> Duration {
    let ran = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(ran.tv_sec as u64, ran.tv_nsec as u32)
}

/// How long the threads of the engine have run.
fn cpu_of_engine() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ran = threads.filter_map(|thread| {
        let is_of_engine =
            std::fs::read_to_string(thread.path().join("comm")).ok()?.starts_with("engine-");
        let ran = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let ran = ran.split_whitespace().next()?.parse().ok()?;
        is_of_engine.then(|| Duration::from_nanos(ran))
    });
    ran.sum()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or| arguments.next().map_or(or, |text| text.parse().expect("a number"));
    let (keys, value_bytes) = (number(100_000), number(100));
    match arguments.next() {
        None => measure(Store::in_memory(), keys, value_bytes),
        Some(dir) => {
            assert!(!std::path::Path::new(&dir).exists(), "{dir} is there already");
            let engine = LsmEngine::open(dir, EngineOptions::default()).expect("an engine");
            measure(Store::open(engine, Mutants::NONE).expect("a store"), keys, value_bytes);
        }
    }
}

fn measure<E: Engine>(mut store: Store<E>, keys: usize, value_bytes: usize) {
    let value = random_value(value_bytes);
    let commands: Vec<Command> = (0..keys).map(|number| put(number, &value)).collect();
    puts("put of a new key", &mut store, &commands, |number| number);
    puts("put over an old value", &mut store, &commands, |number| number);
    let few = keys.min(10_000);
    puts("put over the values of a few keys", &mut store, &commands, |number| number * 7919 % few);
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
