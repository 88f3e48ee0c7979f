//! The store across crashes, and over an engine that fails.

use std::cell::Cell;
use std::ops::RangeBounds;
use std::rc::Rc;

use bytes::Bytes;
use quorate_core::Mutants;
use quorate_engine::memory::{MemoryDisk, MemoryImport, MemoryView};
use quorate_engine::{Batch, BatchNumber, Engine, EngineError, MemoryEngine, Size, View};
use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::store::Store;

use crate::ask::*;

fn open_with(disk: &MemoryDisk, mutants: Mutants) -> Store {
    Store::open(MemoryEngine::open(disk.clone()), mutants).expect("nothing is damaged")
}

fn open(disk: &MemoryDisk) -> Store {
    open_with(disk, Mutants::NONE)
}

fn make_durable(store: &mut Store) {
    let batch = store.commit();
    store.flush();
    assert_eq!(store.poll(), Ok(batch));
}

/// The entries of a log: one put each, and a compaction in between.
fn entries() -> Vec<Command> {
    let put = |number: usize| Command::Put(put(["a", "b", "c"][number % 3], &number.to_string()));
    let compact = CompactRequest { revision: Revision(6), physical: false };
    (0..8).map(put).chain([Command::Compact(compact)]).chain((8..20).map(put)).collect()
}

/// Applies the entries that a store has not applied yet, as a shard does after a crash.
fn replay(store: &mut Store, entries: &[Command]) {
    let applied = store.applied().first().copied().unwrap_or_default();
    for (index, entry) in entries.iter().enumerate().skip(applied.into()) {
        let next = Revision(store.revision().0 + 1);
        store.apply_at(entry, next, &[index as u8 + 1]).expect("the entry is sound");
        store.commit();
        store.collect_garbage(2).expect("nothing is damaged");
    }
}

/// Whether a store that crashes after each entry, with what was durable then, comes to the same end.
fn survives_crashes(mutants: Mutants) -> bool {
    let entries = entries();
    let mut whole = Store::in_memory();
    replay(&mut whole, &entries);
    (1..=entries.len()).all(|durable| {
        let disk = MemoryDisk::new();
        let mut store = open_with(&disk, mutants);
        replay(&mut store, &entries[..durable]);
        make_durable(&mut store);
        // What comes after is lost.
        replay(&mut store, &entries);
        drop(store);
        let mut store = open_with(&disk, mutants);
        replay(&mut store, &entries);
        store.digest() == whole.digest() && store.revision() == whole.revision()
    })
}

#[test]
fn each_entry_takes_effect_once_whenever_the_crash_comes() {
    assert!(survives_crashes(Mutants::NONE));
}

/// Whether the revision stays where it was when all that made it is compacted away, and the store opened again.
fn keeps_its_revision(mutants: Mutants) -> bool {
    let disk = MemoryDisk::new();
    let mut store = open_with(&disk, mutants);
    store.put(put("a", "1")).unwrap();
    store.delete(delete(key("a"))).unwrap();
    store.compact(3, true).unwrap();
    make_durable(&mut store);
    let store = open_with(&disk, mutants);
    (store.revision(), store.compact_revision()) == (Revision(3), Revision(3))
}

#[test]
fn the_revision_does_not_go_back_when_all_that_made_it_is_compacted() {
    assert!(keeps_its_revision(Mutants::NONE));
}

#[cfg(feature = "mutants")]
#[test]
fn crashes_show_the_mutants_that_part_the_effect_from_the_record_of_it() {
    assert!(!keeps_its_revision(Mutants::only("revision_goes_back_after_compaction_crash")));
    assert!(!survives_crashes(Mutants::only("applies_twice_around_snapshot")));
}

#[test]
fn a_crash_between_two_steps_of_a_compaction_repeats_nothing_and_forgets_nothing() {
    let build = |store: &mut Store| {
        for number in 0..10 {
            store.put(put("a", &number.to_string())).unwrap();
        }
        store.delete(delete(key("a"))).unwrap();
        store.put(put("b", "1")).unwrap();
        store.compact(11, false).unwrap();
    };
    let mut whole = Store::in_memory();
    build(&mut whole);
    collect_all(&mut whole);
    for steps in 0..12 {
        let disk = MemoryDisk::new();
        let mut store = open(&disk);
        build(&mut store);
        for _ in 0..steps {
            store.collect_garbage(1).unwrap();
        }
        make_durable(&mut store);
        let mut store = open(&disk);
        assert_eq!(store.digest(), whole.digest());
        collect_all(&mut store);
        assert_eq!(store.bytes(), whole.bytes());
        assert_eq!(store.content_of(get_at(from("a"), 11)), "a=9");
    }
}

#[test]
fn what_was_applied_and_not_committed_is_seen_by_reads_and_lost_by_a_crash() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    store.put(put("a", "1")).unwrap();
    make_durable(&mut store);
    store.put(put("a", "2")).unwrap();
    store.put(put("b", "2")).unwrap();
    store.delete(delete(key("a"))).unwrap();
    assert_eq!((store.content().as_str(), store.live_keys()), ("b=2", 1));
    assert_eq!(store.content_of(get_at(from("a"), 3)), "a=2");
    let store = open(&disk);
    assert_eq!((store.content().as_str(), store.revision()), ("a=1", Revision(2)));
}

#[test]
fn a_refused_command_moves_what_is_applied_and_nothing_else() {
    let mut store = store_with(&["a=1"]);
    let before = store.digest();
    let leased = Command::Put(PutRequest { lease: LeaseId(1), ..put("a", "2") });
    assert_eq!(store.apply_at(&leased, Revision(3), b"here"), Err(Error::LeaseNotFound));
    assert_eq!((store.applied(), store.digest()), (&b"here"[..], before));
}

#[test]
fn damage_is_told_and_not_taken_for_an_empty_store() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    store.put(put("a", "1")).unwrap();
    make_durable(&mut store);
    disk.rot();
    let told = store.range(get(key("a"))).expect_err("the disk is rotten");
    assert!(matches!(told, Error::Storage(EngineError::Corrupt { .. })), "{told}");
    assert!(matches!(store.digest(), Err(EngineError::Corrupt { .. })));
    let opened = Store::open(MemoryEngine::open(disk), Mutants::NONE);
    assert!(matches!(opened, Err(Error::Storage(_))));
}

/// An engine that fails once it has been read so many times.
#[derive(Debug)]
struct Flaky {
    inner: MemoryEngine,
    reads_left: Rc<Cell<usize>>,
}

impl Flaky {
    fn check(&self) -> Result<(), EngineError> {
        let left = self.reads_left.get().checked_sub(1).ok_or(EngineError::Io {
            action: "read",
            what: "a test".into(),
            why: "it was told to fail".into(),
        })?;
        self.reads_left.set(left);
        Ok(())
    }
}

impl View for Flaky {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.check()?;
        self.inner.get(key)
    }
    fn scan(
        &self,
        range: impl RangeBounds<Bytes>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), EngineError>> {
        self.inner.scan(range).map(|pair| self.check().and(pair))
    }
}

impl Engine for Flaky {
    type View = MemoryView;
    type Import = MemoryImport;
    fn write(&mut self, batch: &mut Batch) -> BatchNumber {
        self.inner.write(batch)
    }
    fn view(&self) -> MemoryView {
        self.inner.view()
    }
    fn flush(&mut self) {
        self.inner.flush();
    }
    fn poll(&mut self) -> Result<BatchNumber, EngineError> {
        self.inner.poll()
    }
    fn size(&self) -> Size {
        self.inner.size()
    }
    fn import(&mut self) -> Result<MemoryImport, EngineError> {
        self.inner.import()
    }
    fn adopt(&mut self, import: MemoryImport) -> Result<(), EngineError> {
        self.inner.adopt(import)
    }
}

#[test]
fn an_engine_that_fails_anywhere_in_a_command_leaves_nothing_of_it() {
    let before = ["a=1", "b=1", "c=1", "a=2"].map(|each| {
        let (key, value) = each.split_once('=').expect("a put is key=value");
        Command::Put(put(key, value))
    });
    let txn = Command::Txn(TxnRequest {
        compare: vec![compare(from("a"), Relation::Greater, CompareTarget::Version(0))],
        success: vec![
            Operation::Put(put("d", "1")),
            Operation::Put(put("b", "2")),
            Operation::Range(get_at(from("a"), 4)),
            Operation::DeleteRange(delete(between("a", "b"))),
            Operation::Range(get(from("a"))),
            Operation::Put(put("e", "1")),
        ],
        failure: vec![],
    });
    let mut failures = 0;
    for reads in 0.. {
        let reads_left = Rc::new(Cell::new(usize::MAX));
        let engine = Flaky { inner: MemoryEngine::default(), reads_left: reads_left.clone() };
        let mut store = Store::open(engine, Mutants::NONE).expect("nothing is damaged");
        let mut healthy = Store::in_memory();
        // Half of what was there is in the engine, and half is not.
        for (number, command) in before.iter().enumerate() {
            let next = Revision(2 + number as i64);
            assert_eq!(store.apply_at(command, next, b"before"), healthy.apply(command));
            if number == 1 {
                store.commit();
            }
        }
        let (digest, bytes) = (store.digest(), store.bytes());
        reads_left.set(reads);
        let outcome = store.apply_at(&txn, Revision(6), b"after");
        reads_left.set(usize::MAX);
        let expected = healthy.apply(&txn);
        if outcome.is_ok() {
            assert_eq!((outcome, store.digest()), (expected, healthy.digest()));
            break;
        }
        failures += 1;
        assert!(matches!(outcome, Err(Error::Storage(_))), "{outcome:?}");
        assert_eq!((store.digest(), store.bytes()), (digest, bytes));
        assert_eq!((store.applied(), store.revision()), (&b"before"[..], Revision(5)));
        assert_eq!(store.apply_at(&txn, Revision(6), b"after"), expected, "it can be done later");
        store.commit();
        assert_eq!((store.digest(), store.live_keys()), (healthy.digest(), healthy.live_keys()));
    }
    assert!(failures > 5, "the command reads in many places");
}

#[test]
fn a_step_of_collecting_that_fails_removes_nothing() {
    let reads_left = Rc::new(Cell::new(usize::MAX));
    let engine = Flaky { inner: MemoryEngine::default(), reads_left: reads_left.clone() };
    let mut store = Store::open(engine, Mutants::NONE).expect("nothing is damaged");
    for number in 0..5 {
        store.apply(&Command::Put(put("a", &number.to_string()))).unwrap();
    }
    let compact = CompactRequest { revision: Revision(6), physical: false };
    store.apply(&Command::Compact(compact)).unwrap();
    let bytes = store.bytes();
    reads_left.set(3);
    assert!(store.collect_garbage(100).is_err());
    assert_eq!((store.bytes(), store.collected()), (bytes, Revision(-1)));
    reads_left.set(usize::MAX);
    assert_eq!(store.collect_garbage(100), Ok(false));
    assert_eq!(store.bytes(), 2);
}
