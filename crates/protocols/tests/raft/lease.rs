//! How long leases and promises last: a lease must be out before any promise it rests on, whatever the clocks do.

use std::time::Duration;

use quorate_core::{Mutants, NodeId};
use quorate_protocols::consensus::raft::{Config, Lease, Timer};

use crate::member::{Deeds, Member};

/// The bug that the measuring below is for.
pub(crate) const MUTANT_MEASURED: &str = "lease_without_drift";

/// How long the lease's timer runs on the slowest clock allowed, and a promise's on the fastest.
fn lease_and_promise(drift_ppm: u32, mutants: Mutants) -> (Duration, Duration) {
    let mut config = Config::new(NodeId(1), vec![NodeId(1)]);
    config.lease = Some(Lease { drift_ppm });
    config.mutants = mutants;
    let mut member = Member::new(config);
    let run = |deeds: Deeds, is_sought: fn(&Timer) -> bool| {
        let (_, after) = deeds.armed.into_iter().find(|(timer, _)| is_sought(timer))?;
        Some(after.start)
    };
    member.boot();
    member.fire(Timer::Election);
    let deeds = member.sync(member.unsynced());
    let lease = run(deeds, |timer| matches!(timer, Timer::Lease(_))).expect("it leads, alone");
    member.sync(member.unsynced());
    member.crash(0);
    let deeds = member.boot();
    let promise = run(deeds, |timer| *timer == Timer::Promise).expect("its second run promises");
    let drift = f64::from(drift_ppm) / 1e6;
    (lease.div_f64(1.0 - drift), promise.div_f64(1.0 + drift))
}

#[test]
fn a_lease_is_out_before_the_promises_it_rests_on() {
    for drift_ppm in [0, 1, 100, 10_000, 200_000] {
        let (lease, promise) = lease_and_promise(drift_ppm, Mutants::NONE);
        assert!(lease <= promise, "{drift_ppm} ppm: {lease:?} is longer than {promise:?}");
    }
    let (lease, promise) = lease_and_promise(0, Mutants::NONE);
    assert_eq!(lease, promise, "perfect clocks cost nothing");
}

#[test]
fn a_lease_that_trusts_the_clocks_too_much_outlasts_a_promise() {
    let (lease, promise) = lease_and_promise(100, Mutants::only(MUTANT_MEASURED));
    assert!(lease > promise, "{MUTANT_MEASURED} goes unnoticed");
}
