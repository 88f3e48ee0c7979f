//! An engine that is killed at any moment holds whole batches, the first ones, and at least all that it called durable.
//!
//! A process writes batch after batch and says what has become durable; another kills it, again and again, and looks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use quorate_engine::{Batch, BatchNumber, Engine, EngineOptions, Import, LsmEngine, View};

type Map = BTreeMap<Bytes, Bytes>;

const CHILD: &str = "QUORATE_ENGINE_CRASH_DIR";
const ROUNDS: u64 = 40;
const KEYS: u64 = 400;
/// Every so many batches, the map is imported anew instead.
const IMPORT_EVERY: u64 = 59;

fn main() {
    match std::env::var(CHILD) {
        Ok(dir) => write_until_killed(Path::new(&dir)),
        Err(_) => kill_and_look(),
    }
}

fn open(dir: &Path) -> LsmEngine {
    let options = EngineOptions { memtable_bytes: 64 << 10, ..EngineOptions::default() };
    LsmEngine::open(dir, options).expect("what a crash leaves can be opened")
}

/// The last batch that an engine holds.
fn last(engine: &LsmEngine) -> u64 {
    let last = engine.get(b"last").expect("nothing is damaged");
    last.map_or(0, |last| String::from_utf8_lossy(&last).parse().expect("a number"))
}

/// What a batch changes: a function of its number.
fn changes(number: u64) -> Vec<(Bytes, Option<Bytes>)> {
    let mut changes: Vec<_> = (0..6)
        .map(|n| {
            let dice = random(number * 6 + n);
            let key = Bytes::from(format!("key {}", dice % KEYS));
            let value = Bytes::from(vec![b'a' + (number % 26) as u8; (dice >> 32) as usize % 1500]);
            (key, (!dice.is_multiple_of(5)).then_some(value))
        })
        .collect();
    changes.push(("last".into(), Some(number.to_string().into())));
    changes
}

fn write_until_killed(dir: &Path) {
    let mut engine = open(dir);
    let base = last(&engine);
    let mut said = 0;
    for number in base + 1.. {
        let written = if number.is_multiple_of(IMPORT_EVERY) {
            import(&mut engine, number)
        } else {
            let mut batch = Batch::default();
            for (key, value) in changes(number) {
                match value {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                }
            }
            engine.write(&mut batch)
        };
        assert_eq!(written, BatchNumber(number - base));
        if random(number).is_multiple_of(20) {
            engine.flush();
        }
        let durable = engine.poll().expect("the disk is well").0 + base;
        if durable > said {
            said = durable;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{durable}").and_then(|()| out.flush()).expect("somebody listens");
        }
    }
}

/// Puts the map with one batch more in the place of the map.
fn import(engine: &mut LsmEngine, number: u64) -> BatchNumber {
    let mut map: Map = everything(engine);
    apply(&mut map, number);
    let mut import = engine.import().expect("an import begins");
    for (key, value) in map {
        import.add(key, value).expect("a pair is added");
    }
    engine.adopt(import).expect("the import is adopted");
    engine.poll().expect("the disk is well")
}

fn everything(engine: &LsmEngine) -> Map {
    engine.scan(..).map(|pair| pair.expect("nothing is damaged")).collect()
}

fn apply(map: &mut Map, number: u64) {
    for (key, value) in changes(number) {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

fn kill_and_look() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut model = Map::new();
    let mut applied = 0;
    let mut durable = 0;
    let mut round = 0;
    // On a slow machine it takes more kills until enough was written to mean something.
    while round < ROUNDS || applied < ROUNDS * IMPORT_EVERY {
        round += 1;
        let mut child = Command::new(std::env::current_exe().expect("this program has a name"))
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let out = BufReader::new(child.stdout.take().expect("it was piped"));
        let listener = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.filter_map(|line| line.parse::<u64>().ok()).max()
        });
        // Not a wait for something: the moment is what is random.
        std::thread::sleep(Duration::from_micros(2_000 + random(round) % 120_000));
        assert!(child.try_wait().expect("it can be asked").is_none(), "the child ended by itself");
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
        durable = durable.max(listener.join().expect("it listens to the end").unwrap_or(0));

        let engine = open(dir.path());
        let found = last(&engine);
        assert!(found >= durable, "batch {durable} was durable, and {found} is the last");
        assert!(found >= applied, "batch {applied} was there, and {found} is the last");
        while applied < found {
            applied += 1;
            apply(&mut model, applied);
        }
        assert!(everything(&engine) == model, "half of a batch is there after batch {found}");
        drop(engine);
        durable = found;
        let trees = std::fs::read_dir(dir.path()).expect("it is there").count();
        assert_eq!(trees, 2, "the pointer, and the tree that it points to");
    }
    println!(
        "an engine that is killed at any moment holds the first batches, whole: {round} kills, {applied} batches"
    );
}

fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
