//! The protocol over the real log.

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_sim::{Failure, LogDisk, Plan, RecordCodec, Report, Rule, Until, run_seeds};
use quorate_storage::{LogId, LogOptions};

use crate::clients::{bounds, run_on};
use crate::protocol::{Bug, Record, Registers};

/// How long a record is: more than a sector, so that a write can be torn in the middle of one.
const RECORD_BYTES: usize = 700;

/// Fixed-width fields, a tag first, and padding.
struct Codec;

impl RecordCodec<Registers> for Codec {
    type Error = String;

    fn encode(&self, record: &Record, into: &mut Vec<u8>) {
        let (tag, register, (round, node), value) = match *record {
            Record::Promised { register, ballot } => (0, register, ballot, 0),
            Record::Accepted { register, ballot, value } => (1, register, ballot, value),
        };
        let start = into.len();
        into.push(tag);
        into.extend(register.to_le_bytes());
        into.extend(round.to_le_bytes());
        into.extend(node.0.to_le_bytes());
        into.extend(value.to_le_bytes());
        into.resize(start + RECORD_BYTES, 0xaa);
    }

    fn decode(&self, bytes: Bytes) -> Result<Record, String> {
        if bytes.len() != RECORD_BYTES {
            return Err(format!("{} bytes instead of {RECORD_BYTES}", bytes.len()));
        }
        let number = |from: usize, width: usize| {
            bytes[from..from + width].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
        };
        let (register, ballot) = (number(1, 4) as u32, (number(5, 4) as u32, NodeId(number(9, 8))));
        match bytes[0] {
            0 => Ok(Record::Promised { register, ballot }),
            1 => Ok(Record::Accepted { register, ballot, value: number(17, 8) }),
            tag => Err(format!("no record has the tag {tag}")),
        }
    }
}

fn options(mutant: Option<quorate_storage::Mutant>) -> LogOptions {
    let mut options = LogOptions::new(LogId(1));
    options.segment_bytes = 8 << 10;
    options.mutant = mutant;
    options
}

fn run_seed(
    seed: u64,
    bug: Option<Bug>,
    mutant: Option<quorate_storage::Mutant>,
) -> Result<Report, Failure> {
    let plan = Plan::draw(seed, &bounds());
    run_on(&plan, bug, |_| LogDisk::with_options(Codec, options(mutant), Default::default), false)
        .result
}

#[test]
fn the_protocol_survives_on_a_real_log_that_is_torn() {
    let campaign = run_seeds(0..40, 2, Until::AllSeeds, |seed| run_seed(seed, None, None));
    assert!(campaign.failures.is_empty(), "{campaign}");
    assert!(campaign.counters.torn > 0, "{campaign}");
    assert!(campaign.counters.records_lost > 0, "{campaign}");
    assert!(campaign.counters.syncs_put_off > 0, "{campaign}");
    assert!(campaign.counters.syncs_failed > 0, "{campaign}");
    assert!(campaign.counters.boots_refused > 0, "{campaign}");
}

#[test]
fn a_run_on_a_real_log_is_the_same_twice() {
    for seed in 0..5 {
        let first = run_seed(seed, None, None).expect("it survives");
        assert_eq!(run_seed(seed, None, None), Ok(first));
    }
}

#[test]
fn a_log_that_loses_what_it_synced_is_caught() {
    use quorate_storage::Mutant;
    let mutants =
        [Mutant::SkipsSync, Mutant::LosesTail, Mutant::IgnoresFull, Mutant::ForgetsDirectory];
    for mutant in mutants {
        let campaign =
            run_seeds(0..100, 2, Until::FirstFailure, |seed| run_seed(seed, None, Some(mutant)));
        let failure = campaign.failures.first();
        let failure = failure.unwrap_or_else(|| panic!("{mutant:?} was not caught"));
        assert_eq!(failure.rule, Rule::Disk, "{failure}");
    }
}

#[test]
fn promises_that_leave_before_they_are_durable_are_caught_on_a_real_log() {
    let early = Some(Bug::PromisesEarly);
    let campaign = run_seeds(0..400, 2, Until::FirstFailure, |seed| run_seed(seed, early, None));
    assert_eq!(campaign.failures.first().map(|failure| failure.rule), Some(Rule::Invariant));
}
