//! How long one append and sync of 4 KiB takes on a real disk, beside overwriting a file in place
//! with the same writes, which is the least that it could take.
//!
//! `cargo run --release -p quorate-storage --example sync_latency -- DIRECTORY`

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use quorate_storage::{DiskVfs, Log, LogId, LogOptions, Vfs, VfsFile};

const SYNCS: usize = 4000;
const RECORD_BYTES: usize = 4096 - 32;
const SEGMENT_BYTES: u64 = 8 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let scratch = tempfile::tempdir_in(&parent)?;

    report("overwrite in place", overwrite_in_place(&scratch.path().join("file"))?);

    let mut options = LogOptions::new(LogId(1));
    options.segment_bytes = SEGMENT_BYTES;
    let (mut log, _) = Log::open(DiskVfs, scratch.path().join("log"), options, |_, _| {})?;
    report("log, fresh segments", append_and_sync(&mut log, false)?);
    report("log, recycled segments", append_and_sync(&mut log, true)?);
    log.close()?;
    Ok(())
}

fn overwrite_in_place(path: &Path) -> Result<Vec<Duration>, Box<dyn Error>> {
    let file = DiskVfs.create_new(path)?;
    file.write_at(&vec![0; SEGMENT_BYTES as usize], 0)?;
    file.sync_data()?;
    let block = [7; 4096];
    let mut spent = Vec::with_capacity(SYNCS);
    for sync in 0..SYNCS as u64 {
        let begun = Instant::now();
        file.write_at(&block, sync * 4096 % SEGMENT_BYTES)?;
        file.sync_data()?;
        spent.push(begun.elapsed());
    }
    Ok(spent)
}

fn append_and_sync(
    log: &mut Log<DiskVfs>,
    releases: bool,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let record = [7; RECORD_BYTES];
    let mut spent = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        log.append(&record)?;
        log.sync()?;
        spent.push(begun.elapsed());
        if releases {
            log.release_before(log.next())?;
        }
    }
    Ok(spent)
}

fn report(what: &str, mut spent: Vec<Duration>) {
    spent.sort_unstable();
    let at = |percent: usize| spent[(spent.len() - 1) * percent / 100].as_micros();
    println!("{what:24} p50 {:5} µs   p99 {:5} µs   max {:6} µs", at(50), at(99), at(100));
}
