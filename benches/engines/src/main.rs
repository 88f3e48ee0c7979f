//! Puts one engine under the load that a shard's store makes, and prints what it cost.
//!
//! ```text
//! cargo run --release --manifest-path benches/engines/Cargo.toml -- quorate 1000000 /tmp/engine
//! ```
//!
//! One engine a process, since its memory is one of the figures.

mod candidates;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candidates::{Candidate, Changes};

const BATCH: u64 = 100;
const VALUE_BYTES: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: (quorate|quorate-plain|fjall|redb) KEYS DIRECTORY";
    let [name, keys, dir] = &arguments[..] else { panic!("{usage}") };
    let keys: u64 = keys.parse().expect(usage);
    let dir = PathBuf::from(dir);
    assert!(!dir.exists(), "{} is there already", dir.display());
    let mut engine = candidates::open(name, &dir).expect(usage);
    println!("engine {name}, {keys} keys, {VALUE_BYTES} bytes each");

    let mut revision = 0;
    let user_bytes = puts(&mut *engine, "insert", keys, |n| n, &mut revision);
    engine.flush();
    engine.settle(&dir);
    report_disk(&dir, "insert", user_bytes, keys);
    let overwrites = keys / 2;
    let picks = |n| random(n ^ 0x0bad_cafe) % keys;
    let more = puts(&mut *engine, "overwrite", overwrites, picks, &mut revision);
    engine.flush();
    engine.settle(&dir);
    report_disk(&dir, "overwrite", user_bytes + more, keys);

    reads(&*engine, keys);
    let garbage = collect(&mut *engine, overwrites, picks, keys, revision);
    engine.flush();
    engine.settle(&dir);
    report_disk(&dir, "collect", user_bytes + more + garbage, keys);
    println!("memory peak {} MiB", field("/proc/self/status", "VmHWM:") / 1024);

    drop(engine);
    let began = Instant::now();
    let engine = candidates::open(name, &dir).expect(usage);
    println!("reopen {:.3} s", began.elapsed().as_secs_f64());
    assert!(engine.get(&named(b'k', 7, None)).is_some(), "what was durable is there");
}

/// What a store does for each committed put, in batches.
fn puts(
    engine: &mut dyn Candidate,
    what: &str,
    count: u64,
    pick: impl Fn(u64) -> u64,
    revision: &mut u64,
) -> u64 {
    let mut times = Vec::new();
    let mut bytes = 0;
    let began = Instant::now();
    for first in (0..count).step_by(BATCH as usize) {
        let batch_began = Instant::now();
        let mut changes = Changes::new();
        for n in first..count.min(first + BATCH) {
            *revision += 1;
            let number = pick(n);
            let key = named(b'k', number, None);
            if let Some(old) = engine.get(&key) {
                changes.push((named(b'h', number, Some(*revision)), Some(old.to_vec())));
            }
            changes.push((key, Some(value(*revision))));
            changes.push((record(*revision), Some(vec![7; 20])));
        }
        bytes += changes.iter().map(bytes_of).sum::<u64>();
        engine.write(changes);
        times.push(batch_began.elapsed());
    }
    let spent = began.elapsed();
    report(what, count, spent, &mut times);
    bytes
}

/// Deletes what a store keeps of old revisions.
fn collect(
    engine: &mut dyn Candidate,
    overwrites: u64,
    pick: impl Fn(u64) -> u64,
    keys: u64,
    revision: u64,
) -> u64 {
    let mut times = Vec::new();
    let mut bytes = 0;
    let began = Instant::now();
    for first in (0..revision).step_by(BATCH as usize) {
        let batch_began = Instant::now();
        let mut changes = Changes::new();
        for n in first..revision.min(first + BATCH) {
            changes.push((record(n + 1), None));
            if n < overwrites {
                let history = named(b'h', pick(n), Some(keys + n + 1));
                changes.push((history, None));
            }
        }
        bytes += changes.iter().map(bytes_of).sum::<u64>();
        engine.write(changes);
        times.push(batch_began.elapsed());
    }
    report("collect", revision, began.elapsed(), &mut times);
    bytes
}

fn reads(engine: &dyn Candidate, keys: u64) {
    let count = 100_000;
    let mut times = Vec::new();
    for (what, offset) in [("get hit", 0), ("get miss", keys)] {
        let began = Instant::now();
        for n in 0..count {
            let found = engine.get(&named(b'k', random(n) % keys + offset, None));
            assert_eq!(found.is_some(), offset == 0);
        }
        report(what, count, began.elapsed(), &mut times);
    }
    let began = Instant::now();
    for n in 0..200 {
        engine.scan(&named(b'k', n, None), 1000);
    }
    report("scan a pair", 200_000, began.elapsed(), &mut times);
}

fn report(what: &str, count: u64, spent: Duration, times: &mut [Duration]) {
    let each = spent.as_secs_f64() * 1e6 / count as f64;
    print!("{what} {each:.2} us each");
    times.sort();
    if !times.is_empty() {
        let at =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        print!(
            ", batch ms p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.1}",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    println!();
}

fn report_disk(dir: &Path, what: &str, user_bytes: u64, keys: u64) {
    let disk = disk_bytes(dir);
    let written = field("/proc/self/io", "write_bytes:");
    println!(
        "after {what}: disk {} MiB, {} a key, user bytes {} MiB, written {:.1} times",
        disk >> 20,
        disk / keys,
        user_bytes >> 20,
        written as f64 / user_bytes as f64
    );
}

/// What the files of a directory occupy.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn bytes_of((key, value): &(Vec<u8>, Option<Vec<u8>>)) -> u64 {
    (key.len() + value.as_ref().map_or(0, Vec::len)) as u64
}

/// SplitMix64.
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of a number, 8 to 40 bytes, in one of the store's spaces.
fn named(space: u8, number: u64, revision: Option<u64>) -> Vec<u8> {
    let start = random(number);
    let mut key = vec![space, b'/'];
    key.extend(start.to_be_bytes());
    let more = (start % 33) as usize;
    key.extend((0..more).map(|n| b'a' + (start.rotate_left(n as u32) % 26) as u8));
    if let Some(revision) = revision {
        key.push(b'/');
        key.extend(revision.to_be_bytes());
    }
    key
}

fn record(revision: u64) -> Vec<u8> {
    let mut key = b"r/".to_vec();
    key.extend(revision.to_be_bytes());
    key
}

/// Half of it cannot be compressed.
fn value(seed: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES / 2 {
        value.extend(random(seed.wrapping_mul(31) + value.len() as u64).to_le_bytes());
    }
    value.resize(VALUE_BYTES, b'.');
    value
}
