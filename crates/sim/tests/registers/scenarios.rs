//! Faults by hand: each does what it says.

use std::time::Duration;

use quorate_core::NodeId;
use quorate_sim::{Fault, Plan, Ppm, RecordDisk, Scheduled, Time};

use quorate_trace::text;

use crate::clients::{bounds, run_on};

/// The trace of a calm run, but for one fault after two seconds.
fn traced(fault: Fault) -> String {
    let mut plan = Plan::calm(1, &bounds());
    plan.mix.hints = Ppm::percent(100);
    plan.faults = vec![Scheduled { index: 0, at: Time::from(Duration::from_secs(2)), fault }];
    let outcome = run_on(&plan, None, |_| RecordDisk::new(), true);
    outcome.result.expect("a correct protocol survives");
    text::in_full(&outcome.trace.expect("the run was traced"))
}

/// The times at which a node took a step, in nanoseconds.
fn steps_of(trace: &str, node: &str) -> Vec<u64> {
    let of_node = trace.lines().filter(|line| line.split(' ').nth(1) == Some(node));
    let times = of_node.filter_map(|line| line.split(' ').next());
    times.map(|time| time.replace('.', "").parse().expect("a line begins with its time")).collect()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_crashed_node_is_silent_until_it_boots_from_its_disk() {
    let lasts = Duration::from_secs(1);
    let trace = traced(Fault::Crash { node: NodeId(2), down: lasts, mid_write: false });
    assert!(trace.contains("2.000000000 n2 crashes for 1s"), "{trace}");
    let down = 2 * SECOND..3 * SECOND;
    assert!(steps_of(&trace, "n1").iter().any(|at| down.contains(at)));
    // The note on the crash itself carries the node's name.
    assert_eq!(steps_of(&trace, "n2").iter().filter(|at| down.contains(at)).count(), 1);
    assert!(trace.contains("\n3.000000000 n2 boot"), "{trace}");
    assert!(trace.contains(" n1 lost n2"), "others are told");
}

#[test]
fn a_crash_at_the_next_write_strikes_while_the_sync_is_under_way() {
    let down = Duration::from_secs(1);
    let trace = traced(Fault::Crash { node: NodeId(2), down, mid_write: true });
    let before_crash = trace.split(" n2 crashes").next().expect("a split has a first part");
    let last_step = before_crash.lines().rfind(|line| line.contains(" n2 "));
    assert!(last_step.is_some_and(|line| line.contains("persist")), "{last_step:?}");
}

#[test]
fn a_paused_node_takes_its_backlog_at_once() {
    let trace = traced(Fault::Pause { node: NodeId(2), lasts: Duration::from_secs(1) });
    let steps = steps_of(&trace, "n2");
    assert!(!steps.iter().any(|at| (2 * SECOND + 1..3 * SECOND).contains(at)));
    assert!(steps.iter().filter(|at| **at == 3 * SECOND).count() > 10, "{trace}");
}

#[test]
fn a_muted_node_hears_but_is_not_heard() {
    let lasts = Duration::from_secs(1);
    let trace = traced(Fault::OneWay { unheard: vec![NodeId(2)], lasts });
    let during = |line: &&str| line.starts_with("2.5");
    let lines: Vec<&str> = trace.lines().filter(during).collect();
    assert!(lines.iter().any(|line| line.contains(" n2 ← ")), "{trace}");
    assert!(!lines.iter().any(|line| line.contains(" ← n2 ")), "{trace}");
    assert!(lines.iter().any(|line| line.contains("(cut)")), "{trace}");
}

#[test]
fn a_partition_ends_and_both_sides_talk_again() {
    let lasts = Duration::from_secs(1);
    let trace = traced(Fault::Partition { side: vec![NodeId(2)], lasts });
    let across = |line: &&str| line.contains(" n2 ← ") || line.contains(" ← n2 ");
    assert!(!trace.lines().filter(|line| line.starts_with("2.5")).any(|line| across(&line)));
    assert!(trace.lines().filter(|line| line.starts_with("3.5")).any(|line| across(&line)));
}

#[test]
fn a_stalled_disk_syncs_nothing_until_the_stall_is_over() {
    let trace = traced(Fault::Stall { node: NodeId(2), lasts: Duration::from_secs(1) });
    let synced: Vec<&str> = trace.lines().filter(|line| line.contains(" n2 synced ")).collect();
    assert!(!synced.iter().any(|line| line.starts_with("2.")), "{synced:?}");
    assert!(synced.iter().any(|line| line.starts_with("3.")), "{synced:?}");
}

#[test]
fn a_full_disk_holds_back_what_waits_for_it_and_ends_nothing() {
    let trace = traced(Fault::FullDisk { node: NodeId(2), lasts: Duration::from_secs(1) });
    let at = |line: &str, second| line.starts_with(second);
    let of_node: Vec<&str> = trace.lines().filter(|line| line.contains(" n2 ")).collect();
    let synced = |line: &&&str| line.contains(" n2 synced ");
    assert!(!of_node.iter().filter(synced).any(|line| at(line, "2.")), "{of_node:?}");
    assert!(of_node.iter().filter(synced).any(|line| at(line, "3.")), "{of_node:?}");
    assert!(of_node.iter().any(|line| at(line, "2.5") && line.contains(" n2 ← ")), "it hears");
    assert!(!trace.contains("n2 crashes"), "{trace}");
}

#[test]
fn a_sync_that_fails_ends_the_process() {
    let down = Duration::from_secs(1);
    let trace = traced(Fault::FailSync { node: NodeId(2), down });
    let crash = trace.lines().find(|line| line.contains("n2 crashes")).expect("it ends");
    assert!(crash.starts_with("2.0") && crash.contains("for 1s"), "{crash}");
    assert_eq!(trace.matches(" n2 boot").count(), 2);
}

#[test]
fn a_node_whose_disk_cannot_be_read_boots_once_it_can() {
    let down = Duration::from_millis(100);
    let trace = traced(Fault::BadReads { node: NodeId(2), times: 5, down });
    // Each boot tries twice, and the third time it works.
    assert_eq!(trace.matches("n2 cannot boot: the disk cannot be read").count(), 2, "{trace}");
    assert_eq!(trace.matches(" n2 boot").count(), 2);
}
