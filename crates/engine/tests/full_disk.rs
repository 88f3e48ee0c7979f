//! A full disk is said to be full, loses nothing that is visible, and is gone on with once there is space.
//!
//! A limit on the size of a file stands in for a full disk, since that needs no rights. A process is killed for passing
//! it unless it was started otherwise, so a shell starts it.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use quorate_engine::{Batch, BatchNumber, Engine, EngineError, EngineOptions, LsmEngine, View};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CHILD: &str = "QUORATE_ENGINE_FULL_DIR";
const VALUE_BYTES: usize = 1000;
const KEYS: u32 = 2000;

fn main() {
    if let Ok(dir) = std::env::var(CHILD) {
        return fill(Path::new(&dir));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\""])
        .arg(std::env::current_exe().expect("this program has a name"))
        .env(CHILD, dir.path())
        .status()
        .expect("a shell starts");
    assert!(status.success(), "the child failed");
    println!(
        "a full disk is said to be full, loses nothing, and is gone on with once there is space"
    );
}

fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).expect("it may be lowered");
}

fn open(dir: &Path) -> LsmEngine {
    LsmEngine::open(dir, EngineOptions::default()).expect("the engine opens")
}

fn value(round: u8, key: u32) -> Bytes {
    // Nothing that can be compressed much.
    let mut state = u64::from(key) << 8 | u64::from(round) | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.take(VALUE_BYTES).collect()
}

fn write_all(engine: &mut LsmEngine, round: u8) -> BatchNumber {
    let mut batch = Batch::default();
    for key in 0..KEYS {
        batch.put(Bytes::copy_from_slice(&key.to_be_bytes()), value(round, key));
    }
    engine.write(&mut batch)
}

fn holds(engine: &LsmEngine, round: u8) -> bool {
    let mut pairs = engine.scan(..);
    let all = (0..KEYS).all(|key| {
        let pair = pairs.next().expect("all keys are there").expect("nothing is damaged");
        pair == (Bytes::copy_from_slice(&key.to_be_bytes()), value(round, key))
    });
    all && pairs.next().is_none()
}

fn wait_until_durable(engine: &mut LsmEngine, upto: BatchNumber) {
    // What was full before may be said once more.
    while engine.poll().unwrap_or_default() < upto {
        std::thread::yield_now();
    }
}

fn fill(dir: &Path) {
    let mut engine = open(dir);
    let first = write_all(&mut engine, 1);
    engine.flush();
    wait_until_durable(&mut engine, first);

    limit(Some(100 << 10));
    let second = write_all(&mut engine, 2);
    engine.flush();
    for _ in 0..3 {
        let error = loop {
            match engine.poll() {
                Ok(durable) => assert_eq!(durable, first),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, EngineError::Full { .. }), "{error}");
    }
    assert!(holds(&engine, 2), "what is visible stays so");
    let files = std::fs::read_dir(dir.join("1/tables")).expect("there are tables").count();
    assert!(files <= 2, "each attempt leaves something: {files} files");

    let mut import = engine.import().expect("an import needs little space to begin");
    let imported = (0..KEYS).try_for_each(|key| {
        quorate_engine::Import::add(
            &mut import,
            Bytes::copy_from_slice(&key.to_be_bytes()),
            value(3, key),
        )
    });
    let adopted = imported.and_then(|()| engine.adopt(import));
    assert!(matches!(adopted, Err(EngineError::Full { .. })), "{adopted:?}");
    assert!(holds(&engine, 2), "an import that failed changes nothing");

    limit(None);
    wait_until_durable(&mut engine, second);
    drop(engine);
    assert!(holds(&open(dir), 2), "what is durable stays so");
}
