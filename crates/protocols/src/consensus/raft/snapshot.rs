//! Snapshots: what stands for a prefix of the log (§7), and how a member comes to hold one.
//!
//! Raft never holds the state itself. The application says up to where its state is durable, and the log before that
//! goes ([`Raft::compact`]); it installs the state that a leader sends (`transfer`), and the log begins there
//! ([`Raft::installed`]); it starts with a state that its log knows nothing of, and the log begins there as well
//! ([`Durable::applied`]).
//!
//! Whatever the reason, one record says it: [`Record::Compacted`] repeats what all records before it said of terms,
//! votes, and memories. Once it is durable, those before the first one that still holds an entry can go.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_core::Out;

use super::log::{Index, Term};
use super::membership::Membership;
use super::{Config, Durable, Raft, Record, changes};

/// What a prefix of the log came to. The state itself is the application's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The last entry of the prefix.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// Who takes part after it.
    pub membership: Arc<Membership>,
}

/// Which records a member still needs to know after a crash what it knows now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needed {
    /// The newest record that repeats what those before it said, entries apart; 0 if there is none.
    summary: u64,
    /// The records with entries: the number of each, and the last index for which it still speaks.
    holders: VecDeque<(u64, Index)>,
}

impl Needed {
    /// Entries up to `last` are in the record of this number.
    pub(super) fn appended(&mut self, number: u64, last: Index) {
        self.holders.push_back((number, last));
    }

    /// Entries behind `index` are no more.
    pub(super) fn truncated(&mut self, index: Index) {
        for (_, last) in self.holders.iter_mut().rev().take_while(|(_, last)| *last > index) {
            *last = index;
        }
    }

    /// The record of this number repeats what those before it said, entries behind `base` apart.
    pub(super) fn summed_up(&mut self, number: u64, base: Index) {
        self.summary = number;
        while self.holders.pop_front_if(|(_, last)| *last <= base).is_some() {}
    }

    /// The first record that is still needed; 0 if all are.
    fn first(&self) -> u64 {
        self.holders.front().map_or(self.summary, |(number, _)| self.summary.min(*number))
    }
}

impl Durable {
    /// Folds [`Record::Compacted`].
    pub(super) fn compacted(&mut self, number: u64, base: Snapshot, keeps_tail: bool) {
        if keeps_tail {
            self.needed.summed_up(number, base.index);
            self.log.compact(base);
        } else {
            self.needed.truncated(base.index);
            self.needed.summed_up(number, base.index);
            self.log.reset(base);
        }
    }

    /// Folds entries behind `after`. If the log doesn't reach that far, those between were released, and a later record
    /// says what stands for them.
    pub(super) fn makes_room_after(&mut self, after: Index) {
        if after > self.log.last_index() {
            let unknown = Snapshot { index: after, ..Snapshot::default() };
            self.log.reset(unknown);
        }
        self.log.truncate_after(after);
        self.needed.truncated(after);
    }
}

impl Raft {
    /// What the entries up to `index` come to; none if the log begins later, or ends before.
    pub fn snapshot_at(&self, index: Index) -> Option<Snapshot> {
        self.log.snapshot_at(index)
    }

    /// The state that the application has made durable holds all entries up to `upto`: forgets them, but for those that
    /// a follower which is only a little behind will want.
    ///
    /// However far behind a follower is, it keeps no more than that in our memory: what it lacks then, it gets as a
    /// snapshot.
    pub fn compact(&mut self, config: &Config, upto: Index, out: &mut Out<'_, Self>) {
        let mut upto = upto.min(self.commit).min(self.durable);
        if config.mutants.has("compacts_uncommitted") {
            upto = self.log.last_index();
        }
        let base = self.first_kept(config, upto).previous();
        if base <= self.log.base().index {
            return;
        }
        let Some(base) = self.log.snapshot_at(base) else { return };
        self.log.compact(base);
        self.sum_up(config, true, out);
    }

    /// The first entry up to `upto` that is kept for followers.
    fn first_kept(&self, config: &Config, upto: Index) -> Index {
        let first = self.log.first_index();
        if upto < first {
            return first;
        }
        // A transfer under way must find what follows it still there, or it was for nothing; but it may be slow for
        // ever, and must not keep the log from being compacted. What follows it is kept up to four times as long.
        let oldest = self.oldest_transfer().unwrap_or(upto);
        let (mut entries, mut bytes) = (0, 0);
        let mut first_kept = upto.next();
        for entry in self.log.slice(first..=upto).iter().rev() {
            let times = if first_kept > oldest.next() { 4 } else { 1 };
            entries += 1;
            bytes += entry.payload.len();
            if entries > config.entries_kept * times || bytes > config.bytes_kept * times as usize {
                break;
            }
            first_kept = first_kept.previous();
        }
        first_kept
    }

    /// Writes the record that says where the log begins, and all that older ones said beside.
    fn sum_up(&mut self, config: &Config, keeps_tail: bool, out: &mut Out<'_, Self>) {
        let snapshot = self.log.base().clone();
        let base = snapshot.index;
        let mut record = Record::Compacted {
            snapshot,
            keeps_tail,
            life: self.memory.life,
            born: self.memory.born,
            boot: self.boot,
            met: self.memory.met.clone(),
            term: self.term,
            vote: self.vote,
            commit: self.commit,
        };
        if let Record::Compacted { life, met, vote, .. } = &mut record {
            if config.mutants.has("forgets_vote_when_compacting") {
                *vote = None;
            }
            if config.mutants.has("forgets_life_when_compacting") {
                *life = 0;
            }
            if config.mutants.has("forgets_whom_it_met_when_compacting") {
                met.clear();
            }
        }
        let number = out.persist(record);
        self.needed.summed_up(number, base);
        self.unsynced.push_back((number, self.log.last_index()));
        self.unreleased = Some(number);
        if config.mutants.has("releases_too_early") {
            let synced = self.unsynced.front().map_or(number, |(number, _)| *number);
            out.release(self.needed.first().min(synced));
        }
    }

    /// Lets the world forget what is said again by a record that is durable.
    pub(super) fn release(&mut self, synced: u64, out: &mut Out<'_, Self>) {
        if self.unreleased.take_if(|number| *number <= synced).is_some() {
            out.release(self.needed.first());
        }
    }

    /// The application holds this state durably, and its own before is gone: the log begins there. It is a snapshot
    /// that a leader has sent (`transfer`).
    ///
    /// The entries behind it stay if the log holds its last entry; else none of them can be committed, since what is
    /// committed there differs, and they go (§7). Whoever is told that we hold it learns so once the record is durable.
    pub fn installed(&mut self, config: &Config, snapshot: Snapshot, out: &mut Out<'_, Self>) {
        self.needs_snapshot = false;
        let leader = self.end_of_transfer();
        let snapshot_index = snapshot.index;
        if snapshot.index > self.log.base().index {
            let keeps_tail = self.log.term_at(snapshot.index) == Some(snapshot.term)
                || (config.mutants.has("installs_without_resetting_log")
                    && snapshot.index <= self.log.last_index());
            self.begin_at(config, snapshot, keeps_tail, out);
        }
        if let Some(leader) = leader {
            self.acknowledge(leader, snapshot_index, out);
        }
    }

    fn begin_at(
        &mut self,
        config: &Config,
        base: Snapshot,
        keeps_tail: bool,
        out: &mut Out<'_, Self>,
    ) {
        let Snapshot { index, term, .. } = base;
        if keeps_tail {
            // While they are still there, the entries tell what became of our own proposals.
            self.commit_to(config, index, out);
            self.log.compact(base);
        } else {
            self.log.reset(base);
            self.durable = Index(0);
            self.unsynced.clear();
            self.needed.truncated(index);
            self.commit = self.commit.max(index);
            self.skipped_to(config, term, out);
        }
        let (memberships, was_member) = changes::memberships_of(config.me, &self.log, self.commit);
        self.memberships = memberships;
        self.was_member |= was_member;
        self.sum_up(config, keeps_tail, out);
    }

    /// At the start: takes in a state of the application that the log may know nothing of.
    ///
    /// What the application has applied is committed. It may be ahead of our log: it made a snapshot durable and we
    /// crashed before our own record of it was, or entries were committed by others before our copies of them were
    /// durable. If the log holds the last entry applied, nothing is to be done. If not, it ends before it, or differs
    /// from it there; then everything behind it differs from what is committed, or is not there at all, so we have told
    /// nobody that we hold anything committed that we don't find in the application's state: an entry that we
    /// acknowledged behind that point would have had the committed one before it. So the log begins there, and holds
    /// nothing more.
    ///
    /// A term that is newer than ours was lost with records that were not durable. So was any vote in it, which has
    /// therefore never left.
    ///
    /// All this holds as well if our memory was lost, for what is in the log and in the state is as good as ever. Only
    /// the term and the vote may be wrong then; but we speak for a life in which we have neither voted nor acknowledged.
    pub(super) fn take_in_applied(
        &mut self,
        config: &Config,
        applied: Snapshot,
        out: &mut Out<'_, Self>,
    ) {
        if applied.index < self.log.base().index {
            // The log begins later than the state ends: what is between is nowhere here.
            self.needs_snapshot = true;
        } else if self.log.term_at(applied.index) == Some(applied.term) {
            self.commit = self.commit.max(applied.index);
        } else {
            if applied.term > self.term {
                self.term = applied.term;
                self.vote = None;
            }
            self.begin_at(config, applied, false, out);
        }
    }

    /// At the start: what had been summed up before the crash can go now, if it could not then.
    pub(super) fn release_at_start(&mut self, out: &mut Out<'_, Self>) {
        if self.needed.first() > 0 {
            out.release(self.needed.first());
        }
    }
}
