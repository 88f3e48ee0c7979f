//! What the log does when there is no room: it says so before anything has happened, and goes on once
//! there is.

use std::path::Path;

use quorate_storage::{Log, LogError, LogId, LogOptions, MemoryVfs, Mutant, Sequence, Vfs};

const DIR: &str = "log";
const SEGMENT_BYTES: u64 = 4096;
const RECORD: [u8; 1000] = [7; 1000];

fn open(vfs: &MemoryVfs, mutant: Option<Mutant>) -> (Log<MemoryVfs>, Vec<u64>) {
    let mut options = LogOptions::new(LogId(0xfeed));
    options.segment_bytes = SEGMENT_BYTES;
    options.mutant = mutant;
    let mut found = Vec::new();
    let opened = Log::open(vfs.clone(), DIR, options, |sequence, bytes| {
        assert_eq!(bytes, &RECORD[..]);
        found.push(sequence.0);
    });
    (opened.expect("the log opens").0, found)
}

fn append(log: &mut Log<MemoryVfs>, records: usize) -> Sequence {
    (0..records).map(|_| log.append(&RECORD).expect("it fits")).last().expect("there are some")
}

fn fill(vfs: &MemoryVfs) {
    vfs.set_capacity(Some(vfs.used_bytes()));
}

#[track_caller]
fn assert_full<T: std::fmt::Debug>(outcome: Result<T, LogError>) {
    assert!(matches!(outcome, Err(LogError::Full { .. })), "{outcome:?}");
}

#[test]
fn a_batch_for_which_there_is_no_room_is_kept_and_written_once_there_is() {
    // Batches that go on to one new segment, and to several.
    for records in [4, 9] {
        let vfs = MemoryVfs::new();
        let (mut log, _) = open(&vfs, None);
        append(&mut log, 1);
        log.sync().expect("there is room");
        fill(&vfs);
        let last = append(&mut log, records);
        let before = log.buffered_bytes();
        for _ in 0..3 {
            assert_full(log.sync());
            assert_eq!((log.durable(), log.buffered_bytes()), (Sequence(1), before));
        }
        // None of it was begun: the power may fail now, and nothing unusual is found.
        let disk = vfs.duplicate();
        disk.crash(&mut |_| 1);
        assert_eq!(open(&disk, None).1, [1]);

        let last = Sequence(append(&mut log, 1).0.max(last.0));
        vfs.set_capacity(None);
        assert_eq!(log.sync().expect("there is room"), last);
        vfs.crash(&mut |_| 0);
        assert_eq!(open(&vfs, None).1, (1..=last.0).collect::<Vec<_>>());
    }
}

#[test]
fn room_that_was_found_for_a_part_of_a_batch_is_used_by_a_smaller_part_of_the_next() {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs, None);
    vfs.set_capacity(Some(vfs.used_bytes() + SEGMENT_BYTES));
    // Three segments more, of which there is room for one.
    let last = append(&mut log, 10);
    assert_full(log.sync());
    vfs.set_capacity(None);
    assert_eq!(log.sync().expect("there is room"), last);
    log.close().expect("there is room");
    assert_eq!(open(&vfs, None).1, (1..=10).collect::<Vec<_>>());
    let names = vfs.list(Path::new(DIR)).expect("it is there");
    assert!(!names.iter().any(|name| name.ends_with("preparing")), "{names:?}");
}

#[test]
fn a_log_says_early_that_it_is_full_and_what_still_fits() {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs, None);
    fill(&vfs);
    assert!(!log.is_full() && log.has_room(u64::MAX), "nobody knows yet");
    append(&mut log, 1);
    log.sync().expect("it fits");
    assert!(!log.is_full(), "the next segment is not due");
    append(&mut log, 1);
    log.sync().expect("it is durable, whatever comes next");
    assert!(log.is_full(), "half full, and there is no room for another");
    let record = RECORD.len() as u64 + quorate_storage::log::RECORD_OVERHEAD_BYTES_MAX;
    assert!(log.has_room(record) && !log.has_room(2 * record));
    assert_full(log.prepare_step());
    append(&mut log, 1);
    assert!(!log.has_room(record), "what waits is counted");
    assert_eq!(log.sync().expect("it was said to fit"), Sequence(3));
    vfs.set_capacity(None);
    log.prepare_step().expect("there is room");
    assert!(!log.is_full() && log.has_room(2 * record));
}

#[test]
fn released_segments_make_room() {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs, None);
    append(&mut log, 4);
    log.sync().expect("there is room");
    append(&mut log, 1);
    log.sync().expect("there is room");
    fill(&vfs);
    // One segment was prepared already.
    let mut last = Sequence(5);
    while !log.is_full() {
        last = append(&mut log, 1);
        log.sync().expect("it fits");
    }
    append(&mut log, 3);
    assert_full(log.sync());
    log.release_before(last).expect("giving up takes no room");
    assert!(!log.is_full());
    assert_eq!(log.sync().expect("a segment is used again"), Sequence(last.0 + 3));
}

#[test]
fn a_log_is_opened_read_and_closed_on_a_full_disk() {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs, None);
    // So full that not even the mark of an opening fits into the segment.
    let rest = SEGMENT_BYTES as usize - 512 - 3 * 1032 - 32;
    append(&mut log, 3);
    log.sync().expect("it fits");
    log.append(&vec![7; rest]).expect("it fits exactly");
    log.sync().expect("it fits exactly");
    drop(log);
    vfs.crash(&mut |_| 0);
    fill(&vfs);
    let mut options = LogOptions::new(LogId(0xfeed));
    options.segment_bytes = SEGMENT_BYTES;
    let mut found = 0;
    let opened = Log::open(vfs.clone(), DIR, options, |_, _| found += 1);
    let mut log = opened.expect("a full disk can be read").0;
    assert_eq!(found, 4);
    assert_full(log.write_watermark());
    assert_full(log.write_watermark());
    assert_eq!(log.buffered_bytes(), 0, "marks do not pile up");
    log.close().expect("there is nothing to lose");
}

#[test]
fn a_new_log_needs_room_and_leaves_nothing_behind_without_it() {
    let vfs = MemoryVfs::new();
    vfs.set_capacity(Some(SEGMENT_BYTES - 1));
    let mut options = LogOptions::new(LogId(0xfeed));
    options.segment_bytes = SEGMENT_BYTES;
    assert_full(Log::open(vfs.clone(), DIR, options.clone(), |_, _| {}));
    assert_eq!(vfs.files(), []);
    vfs.set_capacity(None);
    Log::open(vfs, DIR, options, |_, _| {}).expect("there is room");
}

#[test]
fn a_log_that_answers_without_room_is_caught() {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs, Some(Mutant::IgnoresFull));
    fill(&vfs);
    let last = append(&mut log, 4);
    assert_eq!(log.sync().expect("so it says"), last);
    drop(log);
    vfs.crash(&mut |_| 1);
    assert_eq!(open(&vfs, None).1, [0; 0], "what was answered is gone");
}
