//! Whatever byte of whatever file is wrong: what is read is right, or said to be damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_engine::{Batch, Engine, EngineError, EngineOptions, LsmEngine, View};

type Map = BTreeMap<Bytes, Bytes>;

fn options() -> EngineOptions {
    EngineOptions { memtable_bytes: 64 << 10, cache_bytes: 1 << 20, ..EngineOptions::default() }
}

/// An engine with several tables, closed.
fn make(dir: &Path) -> Map {
    let mut engine = LsmEngine::open(dir, options()).expect("the engine opens");
    let mut map = Map::new();
    for round in 0..9_u32 {
        let mut batch = Batch::default();
        for key in 0..300_u32 {
            let key = Bytes::from(format!("key {:05}", (key * 7 + round * 911) % 2000));
            if (round + key.len() as u32 + u32::from(key[8])).is_multiple_of(7) {
                batch.delete(key.clone());
                map.remove(&key);
            } else {
                let value = Bytes::from(format!("{round} {}", "x".repeat((round * 13) as usize)));
                batch.put(key.clone(), value.clone());
                map.insert(key, value);
            }
        }
        let written = engine.write(&mut batch);
        engine.flush();
        while engine.poll().expect("the disk is well") < written {
            std::thread::yield_now();
        }
    }
    engine.close().expect("the disk is well");
    map
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("it is within"));
        fs::create_dir_all(target.parent().expect("it has one")).expect("a directory");
        fs::copy(file, target).expect("a copy");
    }
}

fn assert_corrupt(error: &EngineError, what: &str) {
    assert!(matches!(error, EngineError::Corrupt { .. }), "{what}: {error}");
}

/// Reads everything. Says whether damage was found.
fn finds_damage(dir: &Path, map: &Map, what: &str) -> bool {
    let mut engine = match LsmEngine::open(dir, options()) {
        Ok(engine) => engine,
        Err(error) => {
            assert_corrupt(&error, what);
            return true;
        }
    };
    let mut is_found = false;
    for (key, value) in map.iter().step_by(3) {
        match engine.get(key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "{what}"),
            Err(error) => {
                assert_corrupt(&error, what);
                is_found = true;
            }
        }
    }
    let mut expected = map.iter();
    for pair in engine.scan(..) {
        match pair {
            Ok((key, value)) => assert_eq!(Some((&key, &value)), expected.next(), "{what}"),
            Err(error) => {
                assert_corrupt(&error, what);
                is_found = true;
            }
        }
    }
    assert!(is_found || expected.next().is_none(), "{what}: something is missing");
    if let Err(error) = engine.poll() {
        assert_corrupt(&error, what);
    }
    is_found
}

#[test]
fn a_wrong_byte_anywhere_is_damage_or_does_no_harm() {
    let whole = tempfile::tempdir().expect("a directory");
    let map = make(whole.path());
    assert!(!finds_damage(whole.path(), &map, "nothing"));
    let mut found = 0;
    let mut tried = 0;
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for file in files(whole.path()) {
        let name = file.strip_prefix(whole.path()).expect("it is within");
        for attempt in 0..60 {
            let dir = tempfile::tempdir().expect("a directory");
            copy(whole.path(), dir.path());
            let path = dir.path().join(name);
            let mut bytes = fs::read(&path).expect("it is there");
            // The ends of files hold what leads to the rest of them.
            let at = if attempt % 2 == 0 {
                random(bytes.len())
            } else {
                bytes.len() - 1 - random(bytes.len().min(200))
            };
            let kind = match attempt % 5 {
                0 | 1 => {
                    bytes[at] ^= 1 << random(8);
                    "a bit is wrong"
                }
                2 => {
                    bytes[at] = bytes[at].wrapping_add(1 + random(255) as u8);
                    "a byte is wrong"
                }
                3 => {
                    bytes.truncate(at);
                    "it is cut"
                }
                _ => {
                    let end = bytes.len().min(at + 64);
                    bytes[at..end].fill(0);
                    "it is partly zero"
                }
            };
            fs::write(&path, &bytes).expect("it can be written");
            let what = format!("{}, byte {at}: {kind}", name.display());
            found += usize::from(finds_damage(dir.path(), &map, &what));
            tried += 1;
        }
    }
    assert!(found * 2 > tried, "damage was found in {found} of {tried} only");
}

#[test]
fn a_missing_file_is_damage() {
    let whole = tempfile::tempdir().expect("a directory");
    let map = make(whole.path());
    for file in files(whole.path()) {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        let name = file.strip_prefix(whole.path()).expect("it is within");
        fs::remove_file(dir.path().join(name)).expect("it was there");
        assert!(finds_damage(dir.path(), &map, &format!("{} is missing", name.display())));
    }
}
