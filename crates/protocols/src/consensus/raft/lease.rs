//! Reads without a round, while no other can lead (thesis §6.4.1). Off unless clocks are trusted ([`Config::lease`]).
//!
//! Each heartbeat opens a round and sets a timer, and only then speaks. A follower that answers has heard us after
//! that, and *promises*: for one election timeout it votes for nobody, itself included. So once a majority has answered,
//! nobody else is elected before a promise given after the round's opening runs out, and until then whatever is
//! acknowledged is committed here. The round's timer ends the lease before the promises end.
//!
//! *The bound.* Let `T` be the election timeout, and `d` how far a clock's rate may be off. A promise lasts at least
//! `T / (1 + d)`; a timer set for `L` lasts at most `L / (1 - d)`. So `L = T (1 - d) / (1 + d)` would do, and
//! `T (1 - 2d)` is a little less: `(1 - 2d)(1 + d) = 1 - d - 2d² <= 1 - d`.
//!
//! *What could break a promise:*
//! - a crash of the follower: it promises anew at its start, unless it has never run before;
//! - a hint that the leader is gone, or a message of a later term: neither touches the promise, so a campaign that they
//!   bring about waits;
//! - a transfer of leadership, in which voters may not keep their promises: the leader forgoes its lease before it sends
//!   [`Message::TimeoutNow`], and for the rest of its term, since that message may arrive at any time.
//!
//! *A pause.* Whether the lease holds is decided at the end of a batch. Timers that are due fire before the end of a
//! batch, so however long we were stopped between a read's arrival and its answer, the lease is seen to be out.
//!
//! It must be on at all members or at none.
//!
//! [`Message::TimeoutNow`]: super::Message::TimeoutNow

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::Out;

use super::replication::Progress;
use super::{Config, Raft, Role, Timer};

/// How far clocks are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// By how many millionths a clock may be faster or slower than time itself, at most.
    pub drift_ppm: u32,
}

impl Lease {
    /// For how long a round that a majority has answered keeps others from leading.
    fn length(self, config: &Config) -> Duration {
        let million: u64 = 1_000_000;
        let lost = 2 * u64::from(self.drift_ppm);
        let lost = if config.mutants.has("lease_without_drift") { 0 } else { lost };
        config.election_timeout.mul_f64(million.saturating_sub(lost) as f64 / million as f64)
    }
}

/// What a leader knows of its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Held {
    /// The rounds whose timers have not run out.
    running: BTreeSet<u64>,
    /// Whether leadership was offered to another in this term.
    is_forgone: bool,
}

impl Raft {
    /// Leader: begins a round for the lease.
    pub(super) fn open_lease_round(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(lease) = config.lease else { return };
        let round = leader.reads.next_round();
        leader.lease.running.insert(round);
        let length = lease.length(config);
        out.arm(Timer::Lease(round), length..length);
    }

    pub(super) fn on_lease_timeout(&mut self, round: u64) {
        if let Role::Leader(leader) = &mut self.role {
            leader.lease.running = leader.lease.running.split_off(&(round + 1));
        }
    }

    /// Leader: gives the lease up for the rest of the term.
    pub(super) fn forgo_lease(&mut self, config: &Config) {
        if let Role::Leader(leader) = &mut self.role
            && !config.mutants.has("keeps_lease_through_transfer")
        {
            leader.lease.is_forgone = true;
        }
    }

    /// Leader: whether nobody else can have been elected by now.
    pub(super) fn holds_lease(&self, config: &Config) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if config.lease.is_none() || leader.lease.is_forgone || self.commit < leader.opened_at {
            return false;
        }
        let (progress, newest) = (&leader.progress, leader.reads.round());
        let confirmed = self.memberships.newest().reached_by_majority(|node| {
            if node == config.me { newest } else { progress.get(&node).map_or(0, Progress::round) }
        });
        leader.lease.running.first().is_some_and(|round| *round <= confirmed)
    }

    /// Follower: promises the leader that was just heard to vote for nobody for a while.
    pub(super) fn promise(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if config.lease.is_some() {
            self.has_promised = true;
            out.arm(Timer::Promise, config.election_timeout..config.election_timeout);
        }
    }

    /// At the start: a run before this one may have made a promise.
    pub(super) fn promise_again(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        // An answer to a leader leaves after the number of the run that gives it is durable: the first has none before.
        if self.boot > 1 && !config.mutants.has("votes_within_lease_after_restart") {
            self.promise(config, out);
        }
    }
}
