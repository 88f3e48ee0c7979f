//! What must hold whatever the disk does to writes that were not synced.
//!
//! A random schedule of appends, syncs, releases, restarts and power cuts runs against a log on a
//! [`MemoryVfs`], beside a model that knows what was appended and what was acknowledged. After each
//! opening:
//! - every acknowledged record that was not released is there, in order, byte for byte;
//! - what is there is a prefix of what was appended.
//!
//! The mutants at the end show that these properties can fail.

use std::cell::Cell;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use quorate_storage::log::Result as LogResult;
use quorate_storage::{
    Log, LogId, LogOptions, MemoryVfs, Mutant, Recovered, Sequence, Vfs, VfsFile,
};

const DIR: &str = "data/log";
const PAGE_BYTES: u64 = 4096;

/// Few lengths, so that a record often takes exactly the place of one that was torn.
const LENGTHS: [usize; 6] = [0, 5, 250, 900, 1400, 2700];

/// One thing that happens to the log. Numbers are seeds, reduced to what is possible at the time.
#[derive(Clone, Debug)]
enum Action {
    Append {
        bytes: usize,
    },
    Sync,
    Release {
        fraction: u64,
    },
    PrepareStep,
    Close,
    /// The process dies at some point of a batch; the machine and its page cache live on.
    Kill {
        seed: u64,
    },
    /// The power fails, once more in the midst of each of `again` recoveries.
    Crash {
        seed: u64,
        again: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        10 => prop::sample::select(&LENGTHS[..]).prop_map(|bytes| Action::Append { bytes }),
        6 => Just(Action::Sync),
        1 => (0_u64..=100).prop_map(|fraction| Action::Release { fraction }),
        1 => Just(Action::PrepareStep),
        1 => Just(Action::Close),
        2 => any::<u64>().prop_map(|seed| Action::Kill { seed }),
        3 => (any::<u64>(), 0_usize..3).prop_map(|(seed, again)| Action::Crash { seed, again }),
    ]
}

/// A generator that needs no state but a number (xorshift).
fn chooser(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % bound
    }
}

/// A record's bytes follow from its place, its length, and how often its place was written before.
fn payload(sequence: Sequence, bytes: usize, attempt: u64) -> Vec<u8> {
    let mut next = chooser(sequence.0.wrapping_mul(0x9e37_79b9) ^ (attempt << 40) ^ bytes as u64);
    (0..bytes).map(|_| next(256) as u8).collect()
}

fn options(segment_pages: u64, mutant: Option<Mutant>) -> LogOptions {
    let mut options = LogOptions::new(LogId(0xfeed));
    options.segment_bytes = segment_pages * PAGE_BYTES;
    options.mutant = mutant;
    options
}

type Records = Vec<(Sequence, Vec<u8>)>;

fn open(vfs: &MemoryVfs, options: &LogOptions) -> LogResult<(Log<MemoryVfs>, Recovered, Records)> {
    let mut records = Vec::new();
    let (log, recovered) = Log::open(vfs.clone(), DIR, options.clone(), |sequence, bytes| {
        records.push((sequence, bytes.to_vec()));
    })?;
    Ok((log, recovered, records))
}

/// How often a run met what it is for; a search that never did would prove nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    unacknowledged_survived: u64,
    unacknowledged_lost: u64,
    remains_zeroed: u64,
    released: u64,
    segments_recycled: u64,
}

/// What the log should know.
#[derive(Default)]
struct Model {
    reached: Reached,
    /// Everything appended; record n is at n - 1.
    appended: Vec<Vec<u8>>,
    acknowledged: u64,
    /// Everything before this place may be gone.
    released: u64,
    attempts: u64,
}

impl Model {
    fn check(&mut self, recovered: &Recovered, records: &Records) -> TestCaseResult {
        prop_assert!(
            recovered.last.0 >= self.acknowledged,
            "record {} was acknowledged and the log ends at {}",
            self.acknowledged,
            recovered.last
        );
        prop_assert!(recovered.last.0 <= self.appended.len() as u64, "records from nowhere");
        prop_assert!(recovered.first.0 <= self.released.max(1), "records are gone unreleased");
        let places: Vec<u64> = records.iter().map(|(sequence, _)| sequence.0).collect();
        let expected: Vec<u64> = (recovered.first.0..=recovered.last.0).collect();
        prop_assert_eq!(places, expected, "the places are not dense");
        for (sequence, bytes) in records {
            let appended = &self.appended[sequence.0 as usize - 1];
            prop_assert!(bytes == appended, "record {} has changed", sequence);
        }
        let (last, appended) = (recovered.last.0, self.appended.len() as u64);
        self.reached.unacknowledged_survived += u64::from(last > self.acknowledged);
        self.reached.unacknowledged_lost += u64::from(last < appended);
        self.reached.remains_zeroed += u64::from(recovered.zeroed_bytes > 0);
        self.reached.released += u64::from(recovered.first.0 > 1);
        // What was handed over is durable, and what was not is gone for good.
        self.appended.truncate(recovered.last.0 as usize);
        self.acknowledged = recovered.last.0;
        Ok(())
    }
}

fn run(actions: &[Action], options: &LogOptions, model: &mut Model) -> TestCaseResult {
    let vfs = MemoryVfs::new();
    let (mut log, ..) = open(&vfs, options).expect("an empty disk takes a log");
    for action in actions {
        let reopens = matches!(action, Action::Close | Action::Kill { .. } | Action::Crash { .. });
        match action {
            Action::Append { bytes } => {
                model.attempts += 1;
                let bytes = payload(log.next(), *bytes, model.attempts);
                let (left, right) = bytes.split_at(bytes.len() / 3);
                let sequence = log.append_parts(&[left, right]).expect("the record fits");
                model.appended.push(bytes);
                prop_assert_eq!(sequence.0, model.appended.len() as u64);
            }
            Action::Sync => {
                let free = free_files(&vfs);
                model.acknowledged = log.sync().expect("the disk is healthy").0;
                model.reached.segments_recycled += u64::from(free_files(&vfs) < free);
            }
            Action::Release { fraction } => {
                let before = Sequence(model.acknowledged * fraction / 100);
                model.released = model.released.max(before.0);
                log.release_before(before).expect("the disk is healthy");
            }
            Action::PrepareStep => {
                log.prepare_step().expect("the disk is healthy");
            }
            Action::Close => {
                model.acknowledged = log.next().0 - 1;
                log.close().expect("the disk is healthy");
                log = open(&vfs, options).expect("a closed log opens").0;
            }
            Action::Kill { seed } => {
                be_stopped_in_a_batch(&vfs, &mut log, model, &mut chooser(*seed));
                vfs.resume();
            }
            Action::Crash { seed, again } => {
                let mut choose = chooser(*seed);
                be_stopped_in_a_batch(&vfs, &mut log, model, &mut choose);
                vfs.crash(&mut choose);
                for _ in 0..*again {
                    interrupt_recovery(&vfs, options, &mut choose);
                }
            }
        }
        if reopens {
            let (reopened, recovered, records) = open(&vfs, options)
                .map_err(|error| TestCaseError::fail(format!("the log did not open: {error}")))?;
            model.check(&recovered, &records)?;
            log = reopened;
        }
    }
    vfs.crash(&mut chooser(actions.len() as u64));
    let (_, recovered, records) = open(&vfs, options)
        .map_err(|error| TestCaseError::fail(format!("the log did not open: {error}")))?;
    model.check(&recovered, &records)
}

/// Appends and syncs some records, of which the disk takes only the first few changes.
fn be_stopped_in_a_batch(
    vfs: &MemoryVfs,
    log: &mut Log<MemoryVfs>,
    model: &mut Model,
    choose: &mut dyn FnMut(u64) -> u64,
) {
    vfs.stop_after(choose(10));
    for _ in 0..choose(8) {
        model.attempts += 1;
        let bytes = LENGTHS[choose(LENGTHS.len() as u64) as usize];
        let bytes = payload(log.next(), bytes, model.attempts);
        log.append(&bytes).expect("the record fits");
        model.appended.push(bytes);
    }
    if let Ok(durable) = log.sync() {
        model.acknowledged = durable.0;
    }
    // Otherwise the log has failed and is dropped by the caller; a watermark may be cut off too.
    let _ = log.write_watermark().map(|durable| model.acknowledged = durable.0);
}

/// Cuts the power in the middle of a recovery, or lets it meet a failing disk.
fn interrupt_recovery(vfs: &MemoryVfs, options: &LogOptions, choose: &mut dyn FnMut(u64) -> u64) {
    match choose(4) {
        0 => vfs.fail_next_sync(),
        1 => vfs.fail_next_write(),
        _ => vfs.stop_after(choose(8)),
    }
    let _ = open(vfs, options);
    vfs.crash(choose);
}

/// Runs random schedules until one breaks a property.
fn search(mutant: Option<Mutant>, cases: u32) -> Result<Reached, String> {
    let reached = Cell::new(Reached::default());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let schedules = (1_u64..5, prop::collection::vec(action(), 1..60));
    let outcome = TestRunner::new_with_rng(
        config,
        // The same schedules on every machine and in every run.
        prop::test_runner::TestRng::deterministic_rng(prop::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&schedules, |(segment_pages, actions)| {
        let mut model = Model { reached: reached.get(), ..Model::default() };
        let outcome = run(&actions, &options(segment_pages, mutant), &mut model);
        reached.set(model.reached);
        outcome
    });
    outcome.map(|()| reached.get()).map_err(|error| error.to_string())
}

fn free_files(vfs: &MemoryVfs) -> usize {
    let names = vfs.list(Path::new(DIR)).expect("the directory is there");
    names.iter().filter(|name| name.ends_with(".free")).count()
}

#[test]
fn what_was_acknowledged_survives_and_what_survives_is_a_prefix() {
    let reached = search(None, 4000).unwrap_or_else(|error| panic!("{error}"));
    assert!(
        reached.unacknowledged_survived > 100
            && reached.unacknowledged_lost > 100
            && reached.remains_zeroed > 100
            && reached.released > 100
            && reached.segments_recycled > 100,
        "the search has missed what it is for: {reached:?}"
    );
}

#[test]
fn a_recovery_that_loses_a_record_behind_a_torn_tail_is_caught() {
    let error = search(Some(Mutant::LosesTail), 4000).expect_err("the mutant was not caught");
    assert!(error.contains("was acknowledged and the log ends at"), "{error}");
}

#[test]
fn a_sync_that_does_not_sync_is_caught() {
    let error = search(Some(Mutant::SkipsSync), 4000).expect_err("the mutant was not caught");
    assert!(error.contains("was acknowledged") || error.contains("did not open"), "{error}");
}

#[test]
fn a_segment_whose_name_is_not_durable_is_caught() {
    let error = search(Some(Mutant::ForgetsDirectory), 4000).expect_err("it was not caught");
    assert!(error.contains("was acknowledged") || error.contains("did not open"), "{error}");
}

/// The search above all but never gets here: what is written after the cut has to end exactly where
/// an old record begins, on a page's boundary, with the sequence that the old record carries.
#[test]
fn what_a_torn_batch_has_left_behind_never_comes_back() {
    let vfs = MemoryVfs::new();
    let options = options(4, None);
    let (mut log, ..) = open(&vfs, &options).expect("an empty disk takes a log");
    log.append(&[1; 64]).expect("the record fits");
    log.sync().expect("the disk is healthy");
    // The first record of this batch ends at byte 4096, and everything before there is lost.
    let start = 512 + 96;
    log.append(&vec![2; 4096 - start - 32]).expect("the record fits");
    log.append(b"never acknowledged").expect("the record fits");
    vfs.stop_after(1);
    log.sync().expect_err("the disk was stopped between write and sync");
    let mut answers = [2, 4096 / 512 - 2, 1].into_iter();
    vfs.crash(&mut |_| answers.next().expect("one write was not synced"));

    let (mut log, recovered, _) = open(&vfs, &options).expect("a crashed log opens");
    assert_eq!(recovered.last, Sequence(1));
    assert!(recovered.zeroed_bytes > 0, "the second half of the batch was to survive");
    // Opening has written a watermark of 32 bytes.
    log.append(&vec![3; 4096 - start - 32 - 32]).expect("the record fits");
    log.sync().expect("the disk is healthy");
    vfs.crash(&mut |_| 0);
    let (_, recovered, _) = open(&vfs, &options).expect("a crashed log opens");
    assert_eq!(recovered.last, Sequence(2), "an old record was taken for a new one");
}

#[test]
fn the_same_schedule_leaves_the_same_bytes() {
    let disk = || {
        let vfs = MemoryVfs::new();
        let (mut log, ..) = open(&vfs, &options(1, None)).expect("an empty disk takes a log");
        for bytes in 0..40 {
            log.append(&payload(log.next(), bytes * 30, 0)).expect("the record fits");
            if bytes % 7 == 0 {
                log.sync().expect("the disk is healthy");
            }
        }
        vfs.stop_after(3);
        let _ = log.sync();
        vfs.crash(&mut chooser(5));
        open(&vfs, &options(1, None)).expect("a crashed log opens");
        contents(&vfs)
    };
    assert_eq!(disk(), disk());
}

fn contents(vfs: &MemoryVfs) -> Vec<(String, Vec<u8>)> {
    let names = vfs.list(Path::new(DIR)).expect("the directory is there");
    let read = |name: String| {
        let file = vfs.open(&Path::new(DIR).join(&name)).expect("the file is there");
        let mut bytes = vec![0; file.len().expect("it has a length") as usize];
        file.read_at(&mut bytes, 0).expect("it can be read");
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}
