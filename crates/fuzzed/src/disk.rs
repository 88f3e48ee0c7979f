//! What disks give back, and files that were carried from elsewhere.

use std::path::Path;

use quorate_core::{Mutants, NodeId};
use quorate_engine::MemoryEngine;
use quorate_kv::request::{Command, LeaseId, PutRequest};
use quorate_kv::restore::Restore;
use quorate_kv::store::Store;
use quorate_kv::store::snapshot::{CHUNK_HEAD_BYTES, chunk_bytes};
use quorate_protocols::consensus::raft::Membership;
use quorate_storage::{Log, LogId, LogOptions, MemoryVfs, Vfs, VfsFile};

const DIR: &str = "log";

fn options() -> LogOptions {
    let mut options = LogOptions::new(LogId(7));
    options.segment_bytes = 4096;
    options
}

/// The first segment of a small log, and its name.
fn segment() -> (String, Vec<u8>) {
    let vfs = MemoryVfs::new();
    let (mut log, _) = Log::open(vfs.clone(), DIR, options(), |_, _| {}).expect("it is new");
    for record in [&b"first"[..], &[7; 600], b""] {
        log.append(record).expect("there is room");
        log.sync().expect("there is room");
    }
    drop(log);
    let names = vfs.list(Path::new(DIR)).expect("it is there");
    let whole = |name: &String| {
        let file = vfs.open(&Path::new(DIR).join(name)).expect("it is there");
        let mut bytes = vec![0; file.len().expect("it is there") as usize];
        file.read_at(&mut bytes, 0).expect("it is there");
        bytes
    };
    let segments = names.into_iter().map(|name| (whole(&name), name));
    let (bytes, name) = segments.max_by_key(|(bytes, _)| bytes.len()).expect("it has one");
    (name, bytes)
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    vec![segment().1]
}

pub(crate) fn log(bytes: &[u8]) {
    let vfs = MemoryVfs::new();
    vfs.create_dir_all(Path::new(DIR)).expect("there is room");
    let file = vfs.create_new(&Path::new(DIR).join(segment().0)).expect("there is none");
    file.write_at(bytes, 0).expect("there is room");
    file.sync_data().expect("there is room");
    vfs.sync_dir(Path::new(DIR)).expect("there is room");
    drop(file);
    // It is refused, or cut at its end.
    let _ = Log::open(vfs, DIR, options(), |_, _| {});
}

pub(crate) fn backups() -> Vec<Vec<u8>> {
    let mut store = Store::open(MemoryEngine::default(), Mutants::NONE).expect("it is empty");
    for number in 0..40 {
        let put = PutRequest {
            key: format!("key-{}", number % 7).into(),
            value: vec![number; 50].into(),
            lease: LeaseId(0),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        };
        store.apply(&Command::Put(put)).expect("it is a put");
    }
    let whole = |chunk_bytes_max| {
        let mut reader = store.snapshot(chunk_bytes_max).expect("it can be read");
        let chunks = std::iter::from_fn(|| reader.read().expect("it can be read"));
        chunks.flat_map(|chunk| chunk.to_vec()).collect()
    };
    [1 << 20, 300].map(whole).into()
}

/// Takes a file of chunks in, as `quorate snapshot restore` does.
pub(crate) fn backup(mut bytes: &[u8]) {
    let mut restore = Restore::begin(MemoryEngine::default()).expect("it is empty");
    for number in 0.. {
        let Some(head) = bytes.first_chunk::<CHUNK_HEAD_BYTES>() else { break };
        let Ok(length) = chunk_bytes(number, head) else { return };
        let end = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
        let (chunk, rest) = bytes.split_at(end);
        if restore.add(chunk).is_err() || rest.len() == bytes.len() {
            return;
        }
        bytes = rest;
    }
    // An error, unless nothing is missing.
    let _ = restore.finish(Membership::of_voters([NodeId(7)]), None);
}
