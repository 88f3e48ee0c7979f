//! How the log is copied, and when an entry is committed (§5.3, §5.4).

use std::collections::VecDeque;

use quorate_core::{NodeId, Out};

use super::changes::Count;
use super::log::{Entry, Index, Term};
use super::message::{Append, Message, Outcome};
use super::transfer::Transfer;
use super::{Config, Raft, Record, Role, Timer};

/// What a leader knows of one follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    /// The follower's log agrees with ours up to here, durably.
    matched: Index,
    /// The next entry to send.
    next: Index,
    /// The messages with entries that are under way, oldest first: the last index of each, and its size in bytes.
    in_flight: VecDeque<(Index, usize)>,
    bytes_in_flight: usize,
    /// Whether `next` is a guess, and one message at a time tests it; else messages follow each other unanswered.
    is_probing: bool,
    /// While probing: whether the probe is under way.
    is_waiting: bool,
    /// The newest round of reads it has answered.
    round: u64,
    /// Whether it has answered since the last look of [`Raft::check_quorum`].
    has_answered: bool,
    /// Whether it is to get a message at the end of this batch, even one without entries.
    owes_message: bool,
    /// Looks of [`Raft::check_quorum`] since it last answered.
    silence: u32,
    /// Whether its application needs a snapshot, though its log does not.
    needs_snapshot: bool,
    /// The snapshot that is being sent to it.
    transfer: Option<Box<Transfer>>,
}

impl Progress {
    /// A follower of which nothing is known but whether it was heard.
    pub(super) fn new(next: Index, has_answered: bool) -> Self {
        Progress {
            matched: Index(0),
            next,
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            is_probing: true,
            is_waiting: false,
            round: 0,
            has_answered,
            owes_message: true,
            silence: 0,
            needs_snapshot: false,
            transfer: None,
        }
    }

    pub(super) fn matched(&self) -> Index {
        self.matched
    }

    /// Whether it is known to lack no more than so many of the entries up to `last`. Of one that never said what it
    /// holds, nothing is known.
    pub(super) fn lacks_at_most(&self, entries: u64, last: Index) -> bool {
        self.matched > Index(0) && last.0 - self.matched.0 <= entries
    }

    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn owes_message(&mut self) {
        self.owes_message = true;
    }

    /// Whether it has answered since the last look of [`Raft::check_quorum`].
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    pub(super) fn take_answered(&mut self) -> bool {
        let has_answered = std::mem::take(&mut self.has_answered);
        self.silence = if has_answered { 0 } else { self.silence + 1 };
        has_answered
    }

    /// How many looks of [`Raft::check_quorum`] in a row found that it had not answered.
    pub(super) fn silence(&self) -> u32 {
        self.silence
    }

    /// Whether it needs what is before `first`.
    pub(super) fn lacks_before(&self, first: Index) -> bool {
        self.next < first || self.needs_snapshot
    }

    /// Whether its application needs a snapshot, though its log does not.
    pub(super) fn needs_snapshot(&self) -> bool {
        self.needs_snapshot
    }

    /// Whether nothing is being sent that would help: the follower may have come up to the snapshot by itself, while we
    /// compacted what it lacks next.
    pub(super) fn has_no_use_of_its_transfer(&self) -> bool {
        self.transfer
            .as_ref()
            .is_none_or(|transfer| !self.needs_snapshot && transfer.is_outdated(self.matched))
    }

    pub(super) fn transfer(&self) -> Option<&Transfer> {
        self.transfer.as_deref()
    }

    pub(super) fn transfer_mut(&mut self) -> Option<&mut Transfer> {
        self.transfer.as_deref_mut()
    }

    pub(super) fn begin_transfer(&mut self, transfer: Transfer) {
        self.transfer = Some(Box::new(transfer));
    }

    pub(super) fn end_transfer(&mut self) {
        self.transfer = None;
    }

    /// The last entry of the next message; below `next` if it is to carry none.
    fn send_up_to(&self, config: &Config, last: Index) -> Index {
        let is_full = self.bytes_in_flight >= config.bytes_in_flight_max;
        if is_full || (self.is_probing && self.is_waiting) {
            return self.next.previous();
        }
        last.min(Index(self.matched.0.saturating_add(config.entries_in_flight_max)))
    }
}

impl Progress {
    /// Takes note of a message with entries.
    fn sent(&mut self, last: Index, bytes: usize) {
        self.next = last.next();
        self.in_flight.push_back((last, bytes));
        self.bytes_in_flight += bytes;
    }

    /// The follower holds everything up to `matched`.
    fn arrived(&mut self, matched: Index) {
        self.matched = self.matched.max(matched);
        self.next = self.next.max(matched.next());
        while let Some((_, bytes)) = self.in_flight.pop_front_if(|(last, _)| *last <= matched) {
            self.bytes_in_flight -= bytes;
        }
        self.is_probing = false;
        self.is_waiting = false;
    }

    /// The follower lacks what comes before `next`, and so will have refused all that is under way.
    fn probe_from(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.in_flight.clear();
        self.bytes_in_flight = 0;
        self.is_probing = true;
        self.is_waiting = false;
        self.owes_message = true;
    }
}

impl Raft {
    /// Adds entries to our own log, in records no larger than messages are.
    pub(super) fn append(
        &mut self,
        config: &Config,
        mut entries: Vec<Entry>,
        out: &mut Out<'_, Self>,
    ) {
        while !entries.is_empty() {
            let rest = entries.split_off(count_within(&entries, config.append_bytes_max));
            let after = self.log.last_index();
            for entry in &entries {
                self.log.push(entry.clone());
                if let Some(membership) = &entry.membership {
                    self.memberships.push(self.log.last_index(), membership.clone());
                }
            }
            self.persist_entries(after, entries, out);
            entries = rest;
        }
    }

    fn persist_entries(&mut self, after: Index, entries: Vec<Entry>, out: &mut Out<'_, Self>) {
        let number = out.persist(Record::Appended { after, entries, commit: self.commit });
        self.unsynced.push_back((number, self.log.last_index()));
        self.needed.appended(number, self.log.last_index());
    }

    pub(super) fn heartbeat(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        for progress in leader.progress.values_mut() {
            progress.owes_message = true;
            // A probe that got no answer until now is lost, or the follower is; another one finds out.
            progress.is_waiting = false;
            if let Some(transfer) = progress.transfer_mut() {
                transfer.heartbeat();
            }
        }
        self.open_lease_round(config, out);
        out.arm(Timer::Heartbeat, config.heartbeat_interval..config.heartbeat_interval);
        self.arm_flush(out);
    }

    /// Leader: sends every follower what it lacks, and a message without entries to those that are owed one.
    pub(super) fn replicate(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        self.look_after_transfers();
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.reads.round();
        let first = self.log.first_index();
        for (peer, progress) in &mut leader.progress {
            if progress.next < first {
                // It gets a snapshot. Meanwhile it must keep to us; and if it has what we lack, it says so.
                if std::mem::take(&mut progress.owes_message) {
                    let base = self.log.base();
                    let append = Append {
                        term: self.term,
                        previous_index: base.index,
                        previous_term: base.term,
                        entries: Vec::new(),
                        commit: self.commit,
                        round,
                        greeting: self.memory.early_greeting_for(self.boot, *peer),
                    };
                    // As below.
                    out.send_early(*peer, Message::Append(append));
                }
                continue;
            }
            loop {
                let last = progress.send_up_to(config, self.log.last_index());
                let entries = if last >= progress.next {
                    let unsent = self.log.slice(progress.next..=last);
                    unsent[..count_within(unsent, config.append_bytes_max)].to_vec()
                } else if progress.owes_message {
                    Vec::new()
                } else {
                    break;
                };
                let previous_index = progress.next.previous();
                let Some(previous_term) = self.log.term_at(previous_index) else { break };
                progress.owes_message = false;
                progress.is_waiting = progress.is_probing;
                if !progress.is_probing && !entries.is_empty() {
                    let bytes = entries.iter().map(|entry| entry.payload.len()).sum();
                    progress.sent(Index(previous_index.0 + entries.len() as u64), bytes);
                }
                let append = Append {
                    term: self.term,
                    previous_index,
                    previous_term,
                    entries,
                    commit: self.commit,
                    round,
                    greeting: self.memory.early_greeting_for(self.boot, *peer),
                };
                // May overtake our own disk: we count ourselves only once our copy is durable (`on_synced`), and what
                // others hold is theirs to answer for (thesis §10.2.1).
                out.send_early(*peer, Message::Append(append));
            }
        }
    }

    pub(super) fn on_append(
        &mut self,
        config: &Config,
        from: NodeId,
        append: Append,
        out: &mut Out<'_, Self>,
    ) {
        let round = append.round;
        if append.term < self.term {
            let greeting = self.greeting_for(from);
            let outcome = Outcome::Stale;
            out.send(from, Message::Appended { term: self.term, round, outcome, greeting });
            return;
        }
        if !terms_rise(&append) {
            self.nonsense += 1;
            return;
        }
        if self.is_leader() && append.term == self.term {
            // Two leaders in one term: election safety is broken, and nothing this peer says can be trusted.
            self.nonsense += 1;
            return;
        }
        self.hear_leader(config, from, append.term, out);
        let Some(append) = self.skip_compacted(append) else {
            self.nonsense += 1;
            return;
        };
        let previous = append.previous_index;
        let is_match = self.log.term_at(previous) == Some(append.previous_term)
            || (config.mutants.has("skips_log_matching") && previous <= self.log.last_index());
        let outcome = if is_match {
            match self.accept(config, append, out) {
                Some(matched) => self.matched(matched),
                None => return,
            }
        } else if config.mutants.has("acknowledges_conflicts") {
            Outcome::Matched(previous)
        } else {
            self.conflict_at(previous)
        };
        let greeting = self.greeting_for(from);
        let message = Message::Appended { term: self.term, round, outcome, greeting };
        if config.mutants.has("acknowledges_before_durable") {
            out.send_early(from, message);
        } else {
            out.send(from, message);
        }
    }

    /// The leader of a term that is not over has spoken.
    pub(super) fn hear_leader(
        &mut self,
        config: &Config,
        from: NodeId,
        term: Term,
        out: &mut Out<'_, Self>,
    ) {
        if term > self.term || self.leader(config) != Some(from) {
            self.follow(config, term, Some(from), out);
        } else {
            self.has_heard_leader = true;
            self.await_leader(config, out);
        }
        self.promise(config, out);
    }

    /// Follower: leaves out what we have compacted, and therefore have in common with every later leader (§5.4.3). None
    /// if the message contradicts that.
    fn skip_compacted(&self, mut append: Append) -> Option<Append> {
        let base = self.log.base();
        let Some(compacted) = base.index.0.checked_sub(append.previous_index.0).filter(|n| *n > 0)
        else {
            return Some(append);
        };
        let skipped = compacted.min(append.entries.len() as u64) as usize;
        let newest = append.entries.drain(..skipped).next_back();
        let is_at_base = skipped as u64 == compacted;
        append.previous_index = base.index;
        append.previous_term = base.term;
        (!is_at_base || newest.is_some_and(|entry| entry.term == base.term)).then_some(append)
    }

    fn matched(&self, matched: Index) -> Outcome {
        if self.needs_snapshot {
            Outcome::NeedsSnapshot(matched)
        } else {
            Outcome::Matched(matched)
        }
    }

    /// Follower: what we hold agrees with the leader's log up to `matched`.
    pub(super) fn acknowledge(&self, leader: NodeId, matched: Index, out: &mut Out<'_, Self>) {
        self.answer(leader, self.matched(matched), out);
    }

    /// Tells a leader what came of a piece of a snapshot. It answers no round, and is gated and greets like every
    /// answer.
    pub(super) fn answer(&self, leader: NodeId, outcome: Outcome, out: &mut Out<'_, Self>) {
        let (term, greeting) = (self.term, self.greeting_for(leader));
        out.send(leader, Message::Appended { term, round: 0, outcome, greeting });
    }

    /// Follower: takes the entries of a message whose beginning matches. Returns the last index that is known to match,
    /// or nothing if the message contradicts what is committed.
    fn accept(
        &mut self,
        config: &Config,
        append: Append,
        out: &mut Out<'_, Self>,
    ) -> Option<Index> {
        let Append { previous_index, entries, commit, .. } = append;
        let matched = Index(previous_index.0 + entries.len() as u64);
        // §5.3: skip what we have. The first entry of another term than ours, and all of ours behind it, give way;
        // mere age of the message must not remove anything that follows.
        let held = entries
            .iter()
            .zip(previous_index.0 + 1..)
            .take_while(|(entry, at)| match self.log.term_at(Index(*at)) {
                Some(term) => term == entry.term || config.mutants.has("ignores_conflicts"),
                None => false,
            })
            .count();
        let after = Index(previous_index.0 + held as u64);
        let new: Vec<Entry> = entries.into_iter().skip(held).collect();
        if !new.is_empty() || config.mutants.has("truncates_on_old_messages") {
            if after < self.commit {
                self.nonsense += 1;
                return None;
            }
            self.truncate_after(after);
            self.append(config, new, out);
        }
        // §5.3: what the leader has committed beyond this message may still differ from what we hold there.
        let bound = if config.mutants.has("commits_beyond_match") {
            self.log.last_index()
        } else {
            matched
        };
        self.commit_to(config, commit.min(bound), out);
        Some(matched)
    }

    fn truncate_after(&mut self, index: Index) {
        self.log.truncate_after(index);
        self.memberships.truncate_after(index);
        self.durable = self.durable.min(index);
        self.needed.truncated(index);
        for (_, last) in &mut self.unsynced {
            *last = (*last).min(index);
        }
    }

    fn conflict_at(&self, rejected: Index) -> Outcome {
        match self.log.term_at(rejected) {
            None => Outcome::Conflict { rejected, term: None, first: self.log.last_index().next() },
            Some(term) => Outcome::Conflict {
                rejected,
                term: Some(term),
                first: self.log.first_index_of_term_at(rejected),
            },
        }
    }

    pub(super) fn on_appended(
        &mut self,
        config: &Config,
        from: NodeId,
        term: Term,
        round: u64,
        outcome: Outcome,
        out: &mut Out<'_, Self>,
    ) {
        if term > self.term {
            self.follow(config, term, None, out);
            return;
        }
        let last = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.progress.get_mut(&from) else { return };
        if term < self.term {
            return;
        }
        progress.has_answered = true;
        progress.silence = 0;
        progress.round = progress.round.max(round);
        match outcome {
            Outcome::Matched(matched) | Outcome::NeedsSnapshot(matched) if matched <= last => {
                progress.arrived(matched);
                let needs_snapshot = matches!(outcome, Outcome::NeedsSnapshot(_));
                if needs_snapshot && !progress.needs_snapshot {
                    // What we send it is for its log, and may be older than what its application had.
                    progress.end_transfer();
                }
                progress.needs_snapshot = needs_snapshot;
                if progress.next <= last || progress.needs_snapshot || progress.transfer.is_some() {
                    self.arm_flush(out);
                }
                self.advance_commit(config, out);
                self.hand_over(config, out);
            }
            Outcome::Conflict { rejected, term, first }
                // Below `matched` there is no conflict: the answer is older than what we know.
                if rejected > progress.matched && rejected < progress.next =>
            {
                // §5.3: all we hold of the follower's term there, and before, may match. If we hold nothing of that
                // term, none of its entries of that term can. If its log is shorter, all it has may match.
                let guess = match term {
                    Some(term) => {
                        let last = self.log.last_index_up_to_term(term);
                        let is_held = self.log.term_at(last) == Some(term);
                        if is_held { last.next() } else { last.next().min(first) }
                    }
                    None => first,
                };
                progress.probe_from(guess.min(rejected));
                self.arm_flush(out);
                if config.mutants.has("yields_to_conflicts") && rejected > self.commit {
                    self.truncate_after(rejected.previous());
                }
            }
            Outcome::Conflict { .. } => {}
            Outcome::ChunksTaken { transfer, next } => self.on_chunks_taken(from, transfer, next),
            Outcome::Matched(_) | Outcome::NeedsSnapshot(_) | Outcome::Stale => self.nonsense += 1,
        }
        self.confirm_reads(config, out);
    }

    pub(super) fn on_synced(&mut self, config: &Config, upto: u64, out: &mut Out<'_, Self>) {
        while let Some((_, last)) = self.unsynced.front().filter(|(number, _)| *number <= upto) {
            self.durable = self.durable.max(*last);
            self.unsynced.pop_front();
        }
        self.memory.on_synced(upto);
        self.release(upto, out);
        self.on_vote_synced(config, upto, out);
        self.advance_commit(config, out);
    }

    /// Leader: commits what a majority holds durably.
    pub(super) fn advance_commit(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &self.role else { return };
        let own = if config.mutants.has("counts_itself_before_durable") {
            self.log.last_index()
        } else {
            self.durable
        };
        let membership = self.counted(config, Count::Copies);
        let index = membership.reached_by_majority(|node| {
            if node == config.me {
                own
            } else {
                leader.progress.get(&node).map_or(Index(0), Progress::matched)
            }
        });
        // §5.4.2: an entry of an older term is never counted; a later leader may still overwrite it.
        if self.log.term_at(index) == Some(self.term) || config.mutants.has("counts_older_term") {
            self.commit_to(config, index, out);
        }
    }

    pub(super) fn commit_to(&mut self, config: &Config, index: Index, out: &mut Out<'_, Self>) {
        if index <= self.commit {
            return;
        }
        assert!(index <= self.log.last_index(), "commit index beyond the log");
        let previous = self.commit;
        self.commit = index;
        if let Role::Leader(leader) = &mut self.role {
            // The members whose proposals these are answer them once they know; reads may wait for our first entry.
            for at in previous.0 + 1..=index.0 {
                if let Some(origin) = self.log.get(Index(at)).and_then(|entry| entry.origin)
                    && let Some(progress) = leader.progress.get_mut(&origin.node)
                {
                    progress.owes_message = true;
                    if !self.is_flush_armed {
                        self.is_flush_armed = true;
                        out.arm_now(Timer::Flush);
                    }
                }
            }
            if previous < leader.opened_at && index >= leader.opened_at {
                // Whoever has proposals in doubt from an earlier term may submit them again once it knows.
                leader.progress.values_mut().for_each(Progress::owes_message);
                self.arm_flush(out);
            }
        }
        self.settle_committed(config, previous, out);
        self.memberships.settle(self.commit);
        self.proceed_with_changes(config, out);
    }
}

/// Whether the terms of a message's entries rise from that before them to the sender's, as in every leader's log.
fn terms_rise(append: &Append) -> bool {
    let mut before = append.previous_term;
    let mut rises = |term| std::mem::replace(&mut before, term) <= term;
    append.entries.iter().all(|entry| rises(entry.term)) && rises(append.term)
}

/// How many of the first entries have payloads of at most `bytes_max` together; at least one, if there is any.
fn count_within(entries: &[Entry], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.payload.len();
        bytes <= bytes_max
    };
    entries.iter().take_while(fits).count().max(1).min(entries.len())
}
