//! What every engine must keep, asked of each of them: random lives beside a model.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_engine::memory::MemoryDisk;
use quorate_engine::{
    Batch, BatchNumber, Engine, EngineOptions, Import, LsmEngine, MemoryEngine, View,
};

type Map = BTreeMap<Bytes, Bytes>;

/// Something that an engine is opened on, again and again.
trait Disk {
    type Engine: Engine;

    fn open(&self) -> Self::Engine;
}

impl Disk for MemoryDisk {
    type Engine = MemoryEngine;

    fn open(&self) -> MemoryEngine {
        MemoryEngine::open(self.clone())
    }
}

struct RealDisk(tempfile::TempDir);

impl Disk for RealDisk {
    type Engine = LsmEngine;

    fn open(&self) -> LsmEngine {
        // Small, so that memtables fill by themselves and there is much to merge.
        let options = EngineOptions {
            memtable_bytes: 4 << 10,
            cache_bytes: 64 << 10,
            ..EngineOptions::default()
        };
        LsmEngine::open(self.0.path(), options).expect("the engine opens")
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(Bytes, Option<Bytes>)>),
    Flush,
    Poll,
    WaitUntilDurable,
    TakeView,
    DropView,
    Crash,
    Adopt(Map),
    BeginImportOnly(Map),
}

fn key() -> impl Strategy<Value = Bytes> {
    // Few keys, so that they meet; some of them prefixes of others.
    (0_u8..40)
        .prop_map(|key| Bytes::from(format!("{:0width$}", key, width = usize::from(key % 3) + 1)))
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => (any::<u8>(), 0_usize..40).prop_map(|(byte, len)| Bytes::from(vec![byte; len])),
        1 => any::<u8>().prop_map(|byte| Bytes::from(vec![byte; 20_000])),
    ]
}

fn map() -> impl Strategy<Value = Map> {
    prop::collection::btree_map(key(), value(), 0..20)
}

fn step() -> impl Strategy<Value = Step> {
    let change = (key(), prop::option::weighted(0.7, value()));
    prop_oneof![
        20 => prop::collection::vec(change, 0..12).prop_map(Step::Write),
        3 => Just(Step::Flush),
        4 => Just(Step::Poll),
        2 => Just(Step::WaitUntilDurable),
        2 => Just(Step::TakeView),
        1 => Just(Step::DropView),
        2 => Just(Step::Crash),
        1 => map().prop_map(Step::Adopt),
        1 => map().prop_map(Step::BeginImportOnly),
    ]
}

fn contents(view: &impl View, range: (Bound<Bytes>, Bound<Bytes>)) -> Vec<(Bytes, Bytes)> {
    view.scan(range).map(|pair| pair.expect("nothing is damaged")).collect()
}

fn everything(view: &impl View) -> Vec<(Bytes, Bytes)> {
    contents(view, (Bound::Unbounded, Bound::Unbounded))
}

fn pairs(map: &Map) -> Vec<(Bytes, Bytes)> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Reads in every way, and compares.
fn check(view: &impl View, map: &Map) {
    let all = pairs(map);
    assert_eq!(everything(view), all);
    let mut falling: Vec<_> = view.scan(..).rev().map(|pair| pair.expect("sound")).collect();
    falling.reverse();
    assert_eq!(falling, all);
    for key in 0_u8..40 {
        let key = Bytes::from(format!("{key:02}"));
        assert_eq!(view.get(&key), Ok(map.get(&key).cloned()));
    }
    let (low, high) = (Bytes::from("1"), Bytes::from("27"));
    for range in [
        (Bound::Included(low.clone()), Bound::Excluded(high.clone())),
        (Bound::Excluded(low.clone()), Bound::Included(high.clone())),
        (Bound::Excluded(low.clone()), Bound::Unbounded),
    ] {
        let expected: Vec<_> =
            map.range(range.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(contents(view, range), expected);
    }
    assert_eq!(contents(view, (Bound::Included(high), Bound::Excluded(low))), []);
    // From both ends at once, in turn.
    let mut scan = view.scan(..);
    let mut expected = all.into_iter();
    loop {
        let (front, expected_front) = (scan.next().transpose(), expected.next());
        assert_eq!(front, Ok(expected_front));
        let (back, expected_back) = (scan.next_back().transpose(), expected.next_back());
        assert_eq!(back, Ok(expected_back.clone()));
        if expected_back.is_none() {
            break;
        }
    }
}

fn wait_until_durable<E: Engine>(engine: &mut E, upto: BatchNumber) {
    engine.flush();
    while engine.poll().expect("the disk is well") < upto {
        std::thread::yield_now();
    }
}

fn live<D: Disk>(disk: &D, steps: Vec<Step>) {
    let mut engine = disk.open();
    // What the map was after each batch since the engine was opened.
    let mut history = vec![Map::new()];
    let mut durable = BatchNumber(0);
    let mut views: Vec<(<D::Engine as Engine>::View, Map)> = Vec::new();
    for step in steps {
        let now = history.last().expect("there is a first").clone();
        match step {
            Step::Write(changes) => {
                let mut next = now;
                let mut batch = Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => {
                            batch.put(key.clone(), value.clone());
                            next.insert(key, value);
                        }
                        None => {
                            batch.delete(key.clone());
                            next.remove(&key);
                        }
                    }
                }
                assert_eq!(engine.write(&mut batch), BatchNumber(history.len() as u64));
                assert!(batch.is_empty());
                history.push(next);
            }
            Step::Flush => engine.flush(),
            Step::Poll => {
                let polled = engine.poll().expect("the disk is well");
                assert!(polled >= durable && polled.0 < history.len() as u64);
                durable = polled;
            }
            Step::WaitUntilDurable => {
                durable = BatchNumber(history.len() as u64 - 1);
                wait_until_durable(&mut engine, durable);
            }
            Step::TakeView => views.push((engine.view(), now)),
            Step::DropView => drop(views.pop()),
            Step::Crash => {
                drop(engine);
                engine = disk.open();
                let found: Map = everything(&engine).into_iter().collect();
                let kept = &history[durable.0 as usize..];
                assert!(kept.contains(&found), "a crash lost what was durable, or half of a batch");
                history = vec![found];
                durable = BatchNumber(0);
            }
            Step::Adopt(map) => {
                let mut import = engine.import().expect("an import begins");
                for (key, value) in &map {
                    import.add(key.clone(), value.clone()).expect("a pair is added");
                }
                engine.adopt(import).expect("the import is adopted");
                durable = BatchNumber(history.len() as u64);
                assert_eq!(engine.poll(), Ok(durable));
                history.push(map);
            }
            Step::BeginImportOnly(map) => {
                let mut import = engine.import().expect("an import begins");
                for (key, value) in map {
                    import.add(key, value).expect("a pair is added");
                }
            }
        }
        check(&engine, history.last().expect("there is a first"));
        for (view, map) in &views {
            assert_eq!(everything(view), pairs(map));
        }
    }
    for (view, map) in views {
        let reader = std::thread::spawn(move || check(&view, &map));
        reader.join().expect("a view reads the same on another thread");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_engine_in_memory_lives_as_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        live(&MemoryDisk::new(), steps);
    }

    #[test]
    fn the_engine_on_a_disk_lives_as_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        live(&RealDisk(tempfile::tempdir().expect("a directory")), steps);
    }
}
