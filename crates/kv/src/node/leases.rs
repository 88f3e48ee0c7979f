//! How a replica's leases come to their end: the leader counts time, and every replica ends what is over when it applies
//! a tick. [`crate::store`]'s `leases.rs` has the argument why none ends early.

use std::time::Duration;

use quorate_engine::Engine;
use quorate_protocols::consensus::raft::{self, Term};

use super::Config;
use super::shard::{Admitted, Shard};
use crate::error::Error;
use crate::request::{Command, Response, TickRequest};
use crate::service::NodeResponse;
use crate::store::TICK_MS_MAX;
use crate::wire;

/// How many leases one tick ends at most; the next one ends more. So a hundred thousand that are over at one time keep
/// nobody waiting.
const ENDED_PER_TICK: usize = 256;

/// The time that a leader has counted and not proposed yet.
#[derive(Debug, Default)]
pub(super) struct LeaseTime {
    /// The term in which it was counted.
    term: Term,
    counted: Duration,
}

impl<E: Engine> Shard<E> {
    /// Time has passed, of which the last timer tells. It counts if this replica has led all the while.
    pub(super) fn count_time(&mut self, config: &Config) {
        let term = self.raft().term();
        let has_led = self.raft().is_leader() && self.lease_time.term == term;
        let longest = Duration::from_millis(TICK_MS_MAX);
        let sum = (self.lease_time.counted + config.upkeep_interval).min(longest);
        let counted = if has_led { sum } else { Duration::ZERO };
        self.lease_time = LeaseTime { term, counted };
    }

    /// Proposes the time that was counted, if there is anything that it matters to.
    pub(super) fn propose_tick(&mut self) -> Admitted {
        let counted = std::mem::take(&mut self.lease_time.counted);
        let term = self.raft().term();
        let is_mine = self.raft().is_leader() && self.lease_time.term == term;
        let from_ms = self.store().lease_clock_ms();
        let is_behind = self.store().first_expired(from_ms).is_some();
        // What ends with a lease is not to change either, in a cluster whose members differ.
        let is_still = self.register().alarms().is_corrupt();
        if !is_mine || is_still || self.store().leases() == 0 || (counted.is_zero() && !is_behind) {
            let term = term.0;
            let outcome = Ok(Response::Ticked);
            return Admitted::Answer(NodeResponse::Done { term, outcome });
        }
        let by_ms = counted.as_millis() as u64;
        let tick = Command::Tick(TickRequest { term: term.0, from_ms, by_ms });
        Admitted::Ask(raft::Request::Propose(wire::encode(&tick)))
    }

    /// Applies a tick that is in the log at a place of `term`: ends some of the leases that are over, each at a
    /// revision of its own, and moves the clock. If that fails, it can be applied again: what has ended stays ended.
    pub(super) fn apply_tick(&mut self, tick: &TickRequest, term: Term) -> Result<Response, Error> {
        let is_counted = tick.term == term.0 && tick.from_ms == self.store().lease_clock_ms();
        let passed_ms = if is_counted { tick.by_ms.min(TICK_MS_MAX) } else { 0 };
        let clock_ms = self.store().lease_clock_ms() + passed_ms;
        for _ in 0..ENDED_PER_TICK {
            let Some(lease) = self.store().first_expired(clock_ms) else { break };
            self.apply_command(&Command::LeaseRevoke(lease))?;
        }
        if tick.term == term.0 {
            self.apply_command(&Command::Tick(*tick))?;
        }
        Ok(Response::Ticked)
    }
}
