//! Space: what is deleted or overwritten gives it back, and what a view sees stays.

use bytes::Bytes;
use quorate_engine::{Batch, Engine, EngineOptions, Import, LsmEngine, View};

const KEYS: u32 = 5000;
const VALUE_BYTES: usize = 1000;

fn open(dir: &tempfile::TempDir) -> LsmEngine {
    let options = EngineOptions { memtable_bytes: 1 << 20, ..EngineOptions::default() };
    LsmEngine::open(dir.path(), options).expect("the engine opens")
}

fn key(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn value(round: u32, number: u32) -> Bytes {
    let mut state = u64::from(round) << 32 | u64::from(number) | 1 << 63;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.take(VALUE_BYTES).collect()
}

/// Writes every key, or deletes it, a hundred to a batch, and makes it durable.
fn write_all(engine: &mut LsmEngine, make: impl Fn(u32) -> Option<Bytes>) {
    for first in (0..KEYS).step_by(100) {
        let mut batch = Batch::default();
        for number in first..first + 100 {
            match make(number) {
                Some(value) => batch.put(key(number), value),
                None => batch.delete(key(number)),
            }
        }
        engine.write(&mut batch);
        engine.poll().expect("the disk is well");
    }
    let written = engine.write(&mut Batch::default());
    engine.flush();
    while engine.poll().expect("the disk is well") < written {
        std::thread::yield_now();
    }
}

/// What the files occupy in truth.
fn disk_bytes(dir: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Waits until no more than so many bytes are on the disk, which has to come by itself.
fn wait_until_at_most(engine: &mut LsmEngine, dir: &tempfile::TempDir, bytes: u64) {
    while disk_bytes(dir.path()) > bytes || engine.size().disk_bytes > bytes {
        engine.poll().expect("the disk is well");
        std::thread::yield_now();
    }
}

const LIVE_BYTES: u64 = KEYS as u64 * VALUE_BYTES as u64;

#[test]
fn deleting_everything_gives_the_space_back_by_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut engine = open(&dir);
    write_all(&mut engine, |number| Some(value(1, number)));
    assert!(disk_bytes(dir.path()) > LIVE_BYTES);
    write_all(&mut engine, |_| None);
    wait_until_at_most(&mut engine, &dir, LIVE_BYTES / 100);
    assert!(engine.scan(..).next().is_none());
}

#[test]
fn overwriting_does_not_grow() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut engine = open(&dir);
    for round in 0..10 {
        write_all(&mut engine, |number| Some(value(round, number)));
    }
    wait_until_at_most(&mut engine, &dir, LIVE_BYTES * 3);
    engine.close().expect("the disk is well");
    let engine = open(&dir);
    for number in 0..KEYS {
        assert_eq!(engine.get(&key(number)), Ok(Some(value(9, number))));
    }
}

#[test]
fn a_view_keeps_what_it_sees_and_gives_it_up_when_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut engine = open(&dir);
    write_all(&mut engine, |number| Some(value(1, number)));
    let view = engine.view();
    for round in 2..6 {
        write_all(&mut engine, |number| Some(value(round, number)));
    }
    write_all(&mut engine, |_| None);
    assert!(disk_bytes(dir.path()) > LIVE_BYTES, "the view needs its files");
    let reader = view.clone();
    let reader = std::thread::spawn(move || {
        let mut pairs = reader.scan(..);
        for number in 0..KEYS {
            let expected = (key(number), value(1, number));
            assert_eq!(pairs.next(), Some(Ok(expected)));
        }
        assert!(pairs.next().is_none());
    });
    reader.join().expect("the view reads what it saw");
    drop(view);
    wait_until_at_most(&mut engine, &dir, LIVE_BYTES / 100);
}

#[test]
fn a_view_outlives_the_tree_that_it_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut engine = open(&dir);
    write_all(&mut engine, |number| Some(value(1, number)));
    let view = engine.view();
    let mut import = engine.import().expect("an import begins");
    import.add("a".into(), "b".into()).expect("a pair is added");
    engine.adopt(import).expect("the import is adopted");
    assert_eq!(view.scan(..).count(), KEYS as usize);
    assert_eq!(view.get(&key(7)), Ok(Some(value(1, 7))));
    drop(view);
    wait_until_at_most(&mut engine, &dir, LIVE_BYTES / 100);
    assert_eq!(engine.scan(..).collect::<Vec<_>>(), [Ok(("a".into(), "b".into()))]);
}

#[test]
fn large_values_and_the_longest_and_shortest_keys_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut engine = open(&dir);
    let long_key = Bytes::from(vec![b'k'; quorate_engine::KEY_BYTES_MAX]);
    let large: Bytes = Bytes::from(vec![b'v'; 8 << 20]);
    let mut batch = Batch::default();
    batch.put(long_key.clone(), large.clone());
    batch.put([0_u8].to_vec(), "the shortest key");
    engine.write(&mut batch);
    engine.close().expect("the disk is well");
    let engine = open(&dir);
    assert_eq!(engine.get(&long_key), Ok(Some(large)));
    assert_eq!(engine.get(&[0]), Ok(Some("the shortest key".into())));
}
