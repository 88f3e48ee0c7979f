//! Every target with some thousand damaged seeds, the same in every run: none may panic, hang, or take memory without
//! measure. What they take is counted in this process, so all run in one test, one after the other.

use std::panic::{catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use peak_alloc::PeakAlloc;
use quorate_fuzzed::mutate::{Random, damaged};
use quorate_fuzzed::{TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What reading may take whatever is read, in bytes, and for each byte of it.
const ROOM: usize = 4 << 20;
const ROOM_A_BYTE: usize = 256;

/// The panics of all threads: a task that panics takes its connection with it, and nothing else tells.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Why a target failed, if it did.
fn fault(target: &Target, bytes: &[u8]) -> Option<String> {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let panics = PANICS.load(Relaxed);
    if catch_unwind(|| (target.run)(bytes)).is_err() || PANICS.load(Relaxed) > panics {
        return Some("it panicked".into());
    }
    let taken = MEMORY.peak_usage().saturating_sub(before);
    (taken > ROOM + ROOM_A_BYTE * bytes.len()).then(|| format!("it took {taken} bytes"))
}

#[test]
fn whatever_is_read_is_refused_or_understood_in_little_memory() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Relaxed);
        usual(panic);
    }));
    for (number, target) in (0..).zip(TARGETS) {
        let seeds = (target.seeds)();
        let mut random = Random::new(number);
        let rounds = (0..target.rounds).map(|_| damaged(&seeds, &mut random));
        for bytes in seeds.iter().cloned().chain(rounds) {
            if let Some(why) = fault(target, &bytes) {
                let name = target.name;
                panic!(
                    "{name}: {why}, when given these {} bytes: {}",
                    bytes.len(),
                    bytes.escape_ascii()
                );
            }
        }
    }
}
