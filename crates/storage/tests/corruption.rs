//! What the log does when something that was durable is no longer what it was, and when the disk
//! refuses.

use std::path::{Path, PathBuf};

use quorate_storage::log::Result as LogResult;
use quorate_storage::{
    Log, LogError, LogId, LogOptions, MemoryVfs, Mutant, Sequence, Vfs, VfsFile,
};

const DIR: &str = "log";
const BATCH: u64 = 3;

fn options() -> LogOptions {
    let mut options = LogOptions::new(LogId(0xfeed));
    options.segment_bytes = 1024;
    options
}

type Records = Vec<(u64, Vec<u8>)>;

fn open(vfs: &MemoryVfs) -> LogResult<(Log<MemoryVfs>, Records)> {
    open_with(vfs, None)
}

fn open_with(vfs: &MemoryVfs, mutant: Option<Mutant>) -> LogResult<(Log<MemoryVfs>, Records)> {
    let mut records = Vec::new();
    let mut options = options();
    options.mutant = mutant;
    let (log, _) = Log::open(vfs.clone(), DIR, options, |sequence, bytes| {
        records.push((sequence.0, bytes.to_vec()));
    })?;
    Ok((log, records))
}

/// A log of three segments, the last batch of which is in the last one.
fn written() -> (MemoryVfs, Log<MemoryVfs>, Records) {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs).expect("an empty disk takes a log");
    let mut records = Records::new();
    for number in 1..=8 * BATCH {
        let bytes = vec![number as u8; 10 + number as usize % 7];
        log.append(&bytes).expect("the record fits");
        records.push((number, bytes));
        if number % BATCH == 0 {
            log.sync().expect("the disk is healthy");
        }
    }
    assert_eq!(files(&vfs).len(), 3, "the cases below are about three segments");
    (vfs, log, records)
}

fn files(vfs: &MemoryVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let names = vfs.list(Path::new(DIR)).expect("the directory is there");
    let names = names.into_iter().filter(|name| name.ends_with(".segment"));
    let read = |name| {
        let path = Path::new(DIR).join(name);
        let file = vfs.open(&path).expect("the file is there");
        let mut bytes = vec![0; file.len().expect("it has a length") as usize];
        file.read_at(&mut bytes, 0).expect("it can be read");
        (path, bytes)
    };
    names.map(read).collect()
}

fn lose_everything_unsynced(vfs: &MemoryVfs) {
    vfs.crash(&mut |_| 0);
}

/// Flips each byte of the log in turn and gives what opening makes of it.
fn with_each_byte_flipped(
    vfs: &MemoryVfs,
    mut check: impl FnMut(&Path, u64, LogResult<(Log<MemoryVfs>, Records)>),
) {
    for (path, bytes) in files(vfs) {
        for offset in 0..bytes.len() as u64 {
            let disk = vfs.duplicate();
            disk.corrupt(&path, offset, 0x40);
            let before = files(&disk);
            let outcome = open(&disk);
            if outcome.is_err() {
                assert!(files(&disk) == before, "a refusal has changed {}", path.display());
            }
            check(&path, offset, outcome);
        }
    }
}

#[test]
fn in_a_closed_log_no_rotten_byte_loses_a_record() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    let (mut refused, mut harmless) = (0, 0);
    with_each_byte_flipped(&vfs, |path, offset, outcome| match outcome {
        Ok((_, found)) => {
            assert!(found == records, "{} at {offset}: records were lost", path.display());
            harmless += 1;
        }
        Err(LogError::Corrupt { file, .. } | LogError::NotALog { file, .. }) => {
            assert_eq!(file, path, "the wrong file is blamed");
            refused += 1;
        }
        Err(error) => panic!("{} at {offset}: {error}", path.display()),
    });
    assert!(refused > 24 * 32 && harmless > 0, "{refused} refused, {harmless} harmless");
}

#[test]
fn after_a_crash_only_the_very_last_batch_can_be_mistaken_for_a_torn_one() {
    let (vfs, _log, records) = written();
    lose_everything_unsynced(&vfs);
    let vouched = records.len() - BATCH as usize;
    with_each_byte_flipped(&vfs, |path, offset, outcome| match outcome {
        Ok((_, found)) => {
            assert!(found.len() >= vouched, "{} at {offset}: records were lost", path.display());
            assert_eq!(found, records[..found.len()]);
        }
        Err(error) => {
            let is_refusal = matches!(error, LogError::Corrupt { .. } | LogError::NotALog { .. });
            assert!(is_refusal, "{} at {offset}: {error}", path.display());
        }
    });
}

#[test]
fn once_opened_again_the_last_batch_is_vouched_for_too() {
    let (vfs, _log, records) = written();
    lose_everything_unsynced(&vfs);
    drop(open(&vfs).expect("a crashed log opens"));
    lose_everything_unsynced(&vfs);
    with_each_byte_flipped(&vfs, |path, offset, outcome| {
        if let Ok((_, found)) = outcome {
            assert!(found == records, "{} at {offset}: records were lost", path.display());
        }
    });
}

#[test]
fn a_refusal_says_where_and_what_to_do() {
    let (vfs, log, _) = written();
    log.close().expect("the disk is healthy");
    let (path, _) = files(&vfs).swap_remove(0);
    vfs.corrupt(&path, 512 + 32, 1);
    let error = open(&vfs).expect_err("the first record has rotted");
    let LogError::Corrupt { file, offset: 512, sequence: Sequence(1), .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*file, path);
    let message = error.to_string();
    for part in [path.to_str().expect("ASCII"), "byte 512", "record 1", "from its peers", "backup"]
    {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[test]
fn a_missing_segment_is_named_wherever_it_was() {
    let (vfs, log, _) = written();
    log.close().expect("the disk is healthy");
    let paths: Vec<PathBuf> = files(&vfs).into_iter().map(|(path, _)| path).collect();
    for (missing, blamed, is_readable) in
        [(vec![1], 1, true), (vec![2], 2, true), (vec![1, 2], 1, true), (vec![0, 1, 2], 2, false)]
    {
        let disk = vfs.duplicate();
        for place in &missing {
            disk.remove(&paths[*place]).expect("the file is there");
        }
        let error = open(&disk).expect_err("a segment is missing");
        let LogError::Missing { file, sequence, readable_from } = &error else { panic!("{error}") };
        assert_eq!(*file, paths[blamed]);
        assert_eq!(*readable_from, is_readable.then_some(Sequence(1)));
        assert!(error.is_damage() && (!is_readable || *sequence > Sequence(1)), "{error}");
    }
}

#[test]
fn a_log_whose_last_segment_is_not_missed_is_caught() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    let (path, _) = files(&vfs).swap_remove(2);
    vfs.remove(&path).expect("the file is there");
    let found = open_with(&vfs, Some(Mutant::MissesNothing)).expect("it misses nothing").1;
    assert!(found.len() < records.len(), "the mutant was to lose records");
}

#[test]
fn a_spoilt_or_missing_note_of_the_logs_reach_does_no_harm() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    let note = Path::new(DIR).join("REACH");
    for spoil in [
        |vfs: &MemoryVfs, note: &Path| vfs.corrupt(note, 33, 0x10),
        |vfs: &MemoryVfs, note: &Path| vfs.remove(note).expect("it is there"),
        |vfs: &MemoryVfs, note: &Path| {
            vfs.open(note).and_then(|file| file.set_len(7)).expect("it is there");
        },
    ] {
        let disk = vfs.duplicate();
        spoil(&disk, &note);
        assert_eq!(open(&disk).expect("the log is whole").1, records);
        // And it is written again.
        let (path, _) = files(&disk).swap_remove(2);
        disk.remove(&path).expect("the file is there");
        assert!(matches!(open(&disk), Err(LogError::Missing { .. })));
    }
}

#[test]
fn files_of_somebody_elses_are_left_alone() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    for name in ["notes.txt", "1.segment", "next-.preparing"] {
        vfs.create_new(&Path::new(DIR).join(name)).expect("the name is free");
    }
    assert_eq!(open(&vfs).expect("the log is whole").1, records);
    assert!(vfs.open(&Path::new(DIR).join("notes.txt")).is_ok());
}

#[test]
fn a_segment_that_cannot_be_read_is_read_again_and_then_named() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    for (path, _) in vfs.files() {
        for (times, is_read) in [(1, true), (2, false)] {
            let disk = vfs.duplicate();
            disk.fail_reads(&path, 0..u64::MAX, Some(times));
            match open(&disk) {
                Ok((_, found)) => assert!(is_read && found == records),
                Err(LogError::Unreadable { file, .. }) => assert!(!is_read && file == path),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(disk.errors(), u64::from(times));
        }
    }
}

#[test]
fn damage_says_what_can_still_be_read() {
    let (vfs, mut log, records) = written();
    let released = Sequence(records.len() as u64 / 2);
    log.release_before(released).expect("the disk is healthy");
    let first = log.first();
    assert!(first > Sequence(1), "a segment was to be released");
    log.close().expect("the disk is healthy");
    let (path, bytes) = files(&vfs).swap_remove(0);
    let third = 512 + 2 * 48 + 16;
    assert_eq!(bytes[third..third + 8], (first.0 + 2).to_le_bytes(), "a sequence lies there");
    vfs.corrupt(&path, third as u64, 1);
    let error = open(&vfs).expect_err("the third record has rotted");
    let LogError::Corrupt { sequence, readable_from, .. } = &error else { panic!("{error}") };
    assert_eq!((*sequence, *readable_from), (Sequence(first.0 + 2), Some(first)));
    let said = format!("records {} to {} can still be read", first, first.0 + 1);
    assert!(error.to_string().contains(&said), "{error}");
    // Where the log begins is in the header alone.
    vfs.corrupt(&path, 40, 1);
    let error = open(&vfs).expect_err("the header has rotted");
    assert!(matches!(&error, LogError::Corrupt { readable_from: None, .. }), "{error}");
}

#[test]
fn a_log_that_cuts_rot_off_is_caught() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    let (path, _) = files(&vfs).swap_remove(2);
    vfs.corrupt(&path, 512 + 32, 1);
    assert!(matches!(open(&vfs), Err(LogError::Corrupt { .. })), "the healthy log refuses");
    let found = open_with(&vfs, Some(Mutant::CutsRot)).expect("it takes it for torn").1;
    assert!(found.len() < records.len(), "the mutant was to lose records");
}

#[test]
fn a_segment_cut_short_is_corruption() {
    let (vfs, log, _) = written();
    log.close().expect("the disk is healthy");
    let (path, bytes) = files(&vfs).swap_remove(2);
    for length in [0, 100, 512, bytes.len() as u64 - 1] {
        let disk = vfs.duplicate();
        disk.open(&path).and_then(|file| file.set_len(length)).expect("the file is there");
        let error = open(&disk).expect_err("a segment was cut short");
        assert!(matches!(&error, LogError::Corrupt { file, .. } if *file == path), "{error}");
    }
}

#[test]
fn another_logs_segment_is_not_taken_for_ones_own() {
    let (vfs, log, _) = written();
    log.close().expect("the disk is healthy");
    let mut stranger = options();
    stranger.log_id = LogId(0xbeef);
    let error = Log::open(vfs, DIR, stranger, |_, _| {}).expect_err("it is another log");
    assert!(matches!(error, LogError::NotALog { .. }), "{error}");
}

#[test]
fn after_a_failed_sync_or_write_the_log_takes_nothing_more() {
    let inject: [fn(&MemoryVfs); 2] = [MemoryVfs::fail_next_sync, MemoryVfs::fail_next_write];
    for inject in inject {
        let (vfs, mut log, records) = written();
        log.append(b"unlucky").expect("the record fits");
        inject(&vfs);
        assert!(matches!(log.sync(), Err(LogError::Io { .. })));
        assert!(matches!(log.sync(), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.append(b"more"), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.release_before(Sequence(9)), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.prepare_step(), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.close(), Err(LogError::Poisoned { .. })));
        lose_everything_unsynced(&vfs);
        let (_, found) = open(&vfs).expect("the synced part is whole");
        assert_eq!(found, records);
    }
}

#[test]
fn what_recovery_hands_over_is_durable_even_if_its_sync_had_failed_before() {
    let (vfs, mut log, _) = written();
    log.append(b"seen in memory only").expect("the record fits");
    vfs.fail_next_sync();
    log.sync().expect_err("the sync was made to fail");
    drop(log);
    let (log, handed_over) = open(&vfs).expect("the process starts again");
    assert_eq!(handed_over.last().expect("it has records").1, b"seen in memory only");
    drop(log);
    lose_everything_unsynced(&vfs);
    let (_, found) = open(&vfs).expect("a crashed log opens");
    assert_eq!(found, handed_over);
}

#[test]
fn a_record_that_fits_exactly_is_taken_and_a_longer_one_refused() {
    let vfs = MemoryVfs::new();
    let (mut log, _) = open(&vfs).expect("an empty disk takes a log");
    let longest = vec![1; log.record_bytes_max() as usize];
    let error = log.append(&[&longest[..], &[0]].concat()).expect_err("it is too long");
    assert!(matches!(error, LogError::TooLarge { bytes: 481, bytes_max: 480 }), "{error}");
    // The refusal has left no trace; several whole segments in one batch are no obstacle.
    for number in 1..=3 {
        assert_eq!(log.append(&longest).expect("it fits exactly"), Sequence(number));
    }
    assert_eq!(log.sync().expect("the disk is healthy"), Sequence(3));
    log.close().expect("the disk is healthy");
    let (_, found) = open(&vfs).expect("a closed log opens");
    assert_eq!(found.len(), 3);
}

#[test]
fn released_segments_are_used_again_and_their_number_is_bounded() {
    let (vfs, mut log, _) = written();
    let everything = log.next();
    for _ in 0..60 {
        log.append(&[3; 400]).expect("the record fits");
    }
    log.sync().expect("the disk is healthy");
    log.release_before(everything).expect("the disk is healthy");
    assert_eq!(log.first(), Sequence(everything.0));
    log.release_before(log.next()).expect("the disk is healthy");
    assert_eq!(files(&vfs).len(), 1, "the segment in use stays");
    let free = || {
        let names = vfs.list(Path::new(DIR)).expect("the directory is there");
        names.iter().filter(|name| name.ends_with(".free")).count()
    };
    assert_eq!(free(), 2);
    assert!(!log.prepare_step().expect("the disk is healthy"), "nothing is left to prepare");
    let first = log.next();
    for _ in 0..2 {
        log.append(&[4; 400]).expect("the record fits");
    }
    log.sync().expect("the disk is healthy");
    assert_eq!(free(), 0);
    log.release_before(first).expect("the disk is healthy");
    log.close().expect("the disk is healthy");
    let (_, found) = open(&vfs).expect("a closed log opens");
    assert_eq!(found.iter().map(|(_, bytes)| bytes[0]).collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn opening_and_closing_an_idle_log_does_not_make_it_grow() {
    let (vfs, log, records) = written();
    log.close().expect("the disk is healthy");
    let before = files(&vfs);
    for _ in 0..5 {
        let (log, found) = open(&vfs).expect("a closed log opens");
        assert_eq!(found, records);
        log.close().expect("the disk is healthy");
    }
    assert!(files(&vfs) == before);
}
