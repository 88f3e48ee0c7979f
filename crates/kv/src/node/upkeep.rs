//! What a replica does beside answering: it has its store made durable, and its log forget what the store holds.
//!
//! Every tick notes how far the store has come, and asks the engine how far it is durable. Once a note is durable, the
//! log before it can go ([`raft::Raft::compact`]). An engine that has much to make durable is told to; so the log that a
//! restart has to apply again stays short, and so does the part of it in memory.
//!
//! [`raft::Raft::compact`]: quorate_protocols::consensus::raft::Raft::compact

use std::collections::VecDeque;

use quorate_core::Out;
use quorate_engine::{BatchNumber, Engine, EngineError};
use quorate_protocols::consensus::raft::Index;

use super::shard::Shard;
use super::{Config, Lift, Node};

/// How far a store is durable.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Which entry each of some batches had come to, oldest first; those that are not durable yet.
    notes: VecDeque<(BatchNumber, Index)>,
    /// The newest entry that was told to be made durable.
    flushed: Index,
    /// Whether the engine's disk had no space left at the last tick.
    is_full: bool,
    /// Whether the store was larger than its quota at the last tick.
    is_over_quota: bool,
}

impl Upkeep {
    /// That of a store that begins durably at this entry.
    pub(super) fn beginning(applied: Index) -> Self {
        Upkeep { notes: VecDeque::new(), flushed: applied, is_full: false, is_over_quota: false }
    }

    /// Whether, at the last tick, the engine's disk had no space left, or the store was larger than its quota.
    pub(super) fn is_full(&self) -> bool {
        self.is_full || self.is_over_quota
    }

    /// Whether the store was larger than its quota at the last tick.
    pub(super) fn is_over_quota(&self) -> bool {
        self.is_over_quota
    }

    /// Up to `durable`, batches are durable: the newest entry whose effect is.
    fn settle(&mut self, durable: BatchNumber) -> Option<Index> {
        let mut settled = None;
        while let Some((_, index)) = self.notes.pop_front_if(|(batch, _)| *batch <= durable) {
            settled = Some(index);
        }
        settled
    }
}

impl<E: Engine> Shard<E> {
    /// Does what is due.
    pub(super) fn keep_up(
        &mut self,
        config: &Config,
        lift: &mut Lift<'_>,
        out: &mut Out<'_, Node<E>>,
    ) {
        self.count_time(config);
        if self.has_failed() {
            return;
        }
        let applied = self.applied();
        let batch = self.store_mut().commit();
        if self.upkeep.notes.back().is_none_or(|(newest, _)| *newest < batch) {
            self.upkeep.notes.push_back((batch, applied));
        }
        let size = self.store().size();
        let bytes = size.disk_bytes + size.unflushed_bytes;
        self.upkeep.is_over_quota = config.quota_bytes.is_some_and(|quota| bytes > quota);
        let is_due = size.unflushed_bytes >= config.flush_bytes
            || applied.0 - self.upkeep.flushed.0 >= config.flush_entries
            // What was removed makes room only once that is durable.
            || (self.upkeep.is_over_quota && size.unflushed_bytes > 0);
        if is_due {
            self.upkeep.flushed = applied;
            self.store_mut().flush();
        }
        match self.store_mut().poll() {
            Ok(durable) => {
                self.upkeep.is_full = false;
                if let Some(upto) = self.upkeep.settle(durable) {
                    self.with_raft(config, lift, out, |raft, out| {
                        raft.compact(&config.raft, upto, out);
                    });
                }
            }
            // Nothing is lost: the log has it all, and the engine tries again.
            Err(EngineError::Full { .. }) => self.upkeep.is_full = true,
            Err(error) => self.fail(config, error.into(), lift, out),
        }
    }
}
