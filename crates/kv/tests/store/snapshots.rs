//! Snapshots: there and back, and everything that may be wrong with one on the way.

use bytes::Bytes;
use quorate_core::{Mutants, NodeId};
use quorate_engine::MemoryEngine;
use quorate_engine::memory::MemoryDisk;
use quorate_kv::error::Error;
use quorate_kv::request::*;
use quorate_kv::restore::Restore;
use quorate_kv::store::Store;
use quorate_kv::store::snapshot::{CHUNK_HEAD_BYTES, SnapshotError, SnapshotWriter, chunk_bytes};
use quorate_protocols::consensus::raft::Membership;

use crate::ask::*;

/// A store with old versions, a tombstone, garbage, keys with zeros in them and a value of many chunks.
fn rich_store() -> Store {
    let mut store = store_with(&["a=1", "a=2", "b=1", "a\0b=1", "\0=1", "a=3"]);
    store.put(put("long", &"long".repeat(200))).unwrap();
    store.delete(delete(key("b"))).unwrap();
    store.apply_at(&Command::Put(put("c", "")), Revision(20)).unwrap();
    store.commit_with(b"entry 9");
    store.compact(4, false).unwrap();
    store.collect_garbage(1).unwrap();
    store
}

fn chunks(store: &mut Store, chunk_bytes_max: usize) -> Vec<Bytes> {
    let mut reader = store.snapshot(chunk_bytes_max).unwrap();
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

fn take_in(chunks: &[Bytes]) -> Result<Store, SnapshotError> {
    let mut store = store_with(&["old=1"]);
    let mut writer = store.import()?;
    for chunk in chunks {
        writer.add(chunk)?;
    }
    store.adopt(writer)?;
    Ok(store)
}

#[test]
fn a_store_comes_back_as_it_was_whatever_the_size_of_a_chunk() {
    let mut store = rich_store();
    for chunk_bytes_max in [0, 64, 100, 1000, 1 << 20] {
        let chunks = chunks(&mut store, chunk_bytes_max);
        assert!(chunk_bytes_max > 100 || chunks.len() > 10, "the value is cut");
        for chunk in chunks.iter().skip(1).filter(|_| chunk_bytes_max > 34) {
            assert!(chunk.len() <= chunk_bytes_max, "{} bytes", chunk.len());
        }
        let mut copy = take_in(&chunks).unwrap();
        assert_eq!(everything(&mut copy), everything(&mut store));
        assert_eq!(copy.digest(), store.digest());
        assert_eq!(copy.applied(), b"entry 9");
        assert_eq!(copy.content_of(get_at(from("a"), 4)), store.content_of(get_at(from("a"), 4)));
        collect_all(&mut copy);
        assert!(copy.bytes() < store.bytes(), "it goes on with the garbage");
    }
}

#[test]
fn an_empty_store_has_a_snapshot() {
    let mut copy = take_in(&chunks(&mut Store::in_memory(), 100)).unwrap();
    assert_eq!((copy.revision(), copy.content().as_str()), (Revision(1), ""));
    copy.put(put("a", "1")).unwrap();
    assert_eq!(copy.content(), "a=1");
}

#[test]
fn the_first_chunk_says_what_the_snapshot_is_of() {
    let mut store = rich_store();
    let reader = store.snapshot(100).unwrap();
    let mut writer = store.import().unwrap();
    writer.add(&chunks(&mut rich_store(), 100)[0]).unwrap();
    let info = writer.info().expect("the first chunk was taken");
    assert_eq!(info, reader.info());
    assert_eq!((info.revision, info.compact_revision), (Revision(20), Revision(4)));
    assert_eq!((info.live_keys, &info.applied[..]), (5, &b"entry 9"[..]));
}

#[test]
fn writes_do_not_reach_a_snapshot_that_was_begun() {
    let mut store = rich_store();
    let before = chunks(&mut store, 100);
    let mut reader = store.snapshot(100).unwrap();
    reader.read().unwrap();
    store.delete(delete(from("\0"))).unwrap();
    store.commit();
    let rest: Vec<_> = std::iter::from_fn(|| reader.read().unwrap()).collect();
    assert_eq!(rest, before[1..]);
}

#[test]
fn a_reader_goes_back_to_any_chunk_and_gives_the_same_again() {
    let mut store = rich_store();
    let mut reader = store.snapshot(64).unwrap();
    let mut marks = vec![reader.mark()];
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.read().unwrap() {
        chunks.push(chunk);
        marks.push(reader.mark());
    }
    for (number, mark) in marks.into_iter().enumerate() {
        assert_eq!(mark.chunk(), number as u64);
        reader.rewind(mark);
        let again: Vec<_> = std::iter::from_fn(|| reader.read().unwrap()).collect();
        assert_eq!(again, chunks[number..]);
    }
}

#[test]
fn every_flipped_byte_is_detected_and_the_chunk_can_be_given_again() {
    let chunks = chunks(&mut rich_store(), 100);
    let mut engine = MemoryEngine::default();
    let mut writer = SnapshotWriter::begin(&mut engine).unwrap();
    for (number, chunk) in chunks.iter().enumerate() {
        for at in 0..chunk.len() {
            for flipped in [1, 0x80, 0xff] {
                let mut wrong = chunk.to_vec();
                wrong[at] ^= flipped;
                let error = writer.add(&wrong).expect_err("a byte was flipped");
                assert!(error.to_string().contains(&format!("chunk {number} ")), "{error}");
            }
        }
        writer.add(chunk).unwrap();
    }
    assert!(writer.is_whole());
}

#[test]
fn a_stream_that_ends_early_is_detected_and_the_store_stays_as_it_was() {
    let chunks = chunks(&mut rich_store(), 100);
    for taken in 0..chunks.len() {
        let error = take_in(&chunks[..taken]).expect_err("chunks are missing");
        assert_eq!(error, SnapshotError::Truncated { expected: taken as u64 });
    }
    for (number, chunk) in chunks.iter().enumerate() {
        for length in 0..chunk.len() {
            let mut cut = chunks[..number].to_vec();
            cut.push(chunk.slice(..length));
            assert!(
                matches!(take_in(&cut), Err(SnapshotError::DamagedChunk { .. })),
                "{length} bytes of chunk {number} pass for it"
            );
        }
    }
}

#[test]
fn a_chunk_out_of_turn_is_refused_and_the_right_one_can_follow() {
    let chunks = chunks(&mut rich_store(), 100);
    let mut store = store_with(&["old=1"]);
    let mut writer = store.import().unwrap();
    for (expected, chunk) in chunks.iter().enumerate() {
        for (got, other) in chunks.iter().enumerate().filter(|(got, _)| *got != expected) {
            let (expected, got) = (expected as u64, got as u64);
            assert_eq!(writer.add(other), Err(SnapshotError::OutOfOrder { expected, got }));
        }
        assert_eq!(writer.expects(), expected as u64);
        writer.add(chunk).unwrap();
    }
    assert!(writer.add(&chunks[0]).is_err(), "nothing follows the last chunk");
    assert_eq!(store.content(), "old=1", "nothing is adopted yet");
    store.adopt(writer).unwrap();
    assert_eq!(store.digest(), rich_store().digest());
}

#[test]
fn chunks_of_two_snapshots_do_not_pass_for_one() {
    let ours = chunks(&mut rich_store(), 100);
    let mut other = rich_store();
    other.put(put("c", "x")).unwrap();
    let theirs = chunks(&mut other, 100);
    assert_eq!(ours.len(), theirs.len());
    for number in (0..ours.len()).filter(|number| ours[*number] != theirs[*number]) {
        let mut mixed = ours.clone();
        mixed[number] = theirs[number].clone();
        let outcome = take_in(&mixed).map(|_| ());
        assert!(
            matches!(outcome, Err(SnapshotError::Inconsistent { .. })),
            "{number}: {outcome:?}"
        );
    }
}

#[test]
fn a_damaged_store_is_replaced_by_a_snapshot_durably() {
    let disk = MemoryDisk::new();
    let mut engine = MemoryEngine::open(disk.clone());
    disk.rot();
    let mut writer = SnapshotWriter::begin(&mut engine).unwrap();
    for chunk in chunks(&mut rich_store(), 100) {
        writer.add(&chunk).unwrap();
    }
    writer.adopt(&mut engine).unwrap();
    let opened = Store::open(MemoryEngine::open(disk), Mutants::NONE).unwrap();
    assert_eq!(opened.digest(), rich_store().digest());
}

#[test]
fn a_file_of_chunks_can_be_cut_into_them_again() {
    let chunks = chunks(&mut rich_store(), 100);
    let file = chunks.concat();
    let mut rest = &file[..];
    for (number, chunk) in chunks.iter().enumerate() {
        let head = rest.first_chunk::<CHUNK_HEAD_BYTES>().expect("a chunk begins");
        let length = chunk_bytes(number as u64, head).unwrap();
        assert_eq!(length, chunk.len() as u64);
        rest = &rest[chunk.len()..];
    }
    assert!(rest.is_empty());
    let error = chunk_bytes(0, b"{\"not\": \"a chunk\"}").expect_err("it is no chunk");
    assert!(error.to_string().contains("right file"), "{error}");
}

#[test]
fn the_digest_of_a_revision_is_that_of_a_store_which_has_come_no_further() {
    let mut store = store_with(&["a=1", "b=1", "a=2"]);
    store.delete(delete(key("b"))).unwrap();
    let at = store.revision();
    let now = store.digest().unwrap();
    let digest_at = |store: &mut Store, upto| store.prepare_digest(upto).unwrap().compute();
    assert_eq!(digest_at(&mut store, None), Ok(now));
    store.put(put("a", "3")).unwrap();
    store.put(put("b", "3")).unwrap();
    store.put(put("c", "3")).unwrap();
    store.delete(delete(key("c"))).unwrap();
    assert_eq!(digest_at(&mut store, Some(at)), Ok(now), "what came later is not looked at");
    assert_ne!(digest_at(&mut store, Some(Revision(at.0 + 1))), Ok(now));
    let mut other = store_with(&["a=1", "b=1", "a=x"]);
    other.delete(delete(key("b"))).unwrap();
    assert_ne!(digest_at(&mut other, Some(at)), Ok(now), "another value has another digest");
    store.compact(at.0, true).unwrap();
    assert_eq!(store.prepare_digest(Some(Revision(at.0 - 1))).err(), Some(Error::Compacted));
    let ahead = Revision(store.revision().0 + 1);
    assert_eq!(store.prepare_digest(Some(ahead)).err(), Some(Error::FutureRevision));
}

#[test]
fn a_restored_store_goes_on_from_the_revision_of_the_backup_or_from_a_higher_one() {
    let mut store = rich_store();
    let chunks = chunks(&mut store, 100);
    let restore = |raised_by| {
        let mut restore = Restore::begin(MemoryEngine::default()).unwrap();
        for chunk in &chunks {
            restore.add(chunk).unwrap();
        }
        restore.finish(Membership::of_voters([NodeId(7)]), raised_by)
    };
    let (info, engine) = restore(None).unwrap();
    let same = Store::open(engine, Mutants::NONE).unwrap();
    assert_eq!(same.content(), store.content());
    assert_eq!((info.revision, same.digest()), (store.revision(), store.digest()));
    assert_ne!(same.applied(), store.applied(), "the log is another one");

    let (info, engine) = restore(Some(100)).unwrap();
    let mut raised = Store::open(engine, Mutants::NONE).unwrap();
    let revision = store.revision().0 + 100;
    assert_eq!((info.revision, info.compact_revision), (Revision(revision), Revision(revision)));
    collect_all(&mut raised);
    assert_eq!(raised.content(), store.content(), "what is there stays as it is");
    let early = raised.range(get_at(from("a"), store.revision().0)).unwrap_err();
    assert_eq!(early, Error::Compacted);
    assert_eq!(raised.put(put("a", "4")).unwrap().revision, Revision(revision + 1));

    let too_far = restore(Some(u64::MAX)).map(drop).expect_err("there are not so many");
    assert!(too_far.to_string().contains("cannot be raised"), "{too_far}");
    let mut half = Restore::begin(MemoryEngine::default()).unwrap();
    half.add(&chunks[0]).unwrap();
    let refused =
        half.finish(Membership::of_voters([NodeId(7)]), None).map(drop).expect_err("a half");
    assert!(refused.to_string().contains("ends before its last chunk"), "{refused}");
}
