//! How a proposal put to any member is committed at most once, and if it can be, at least once.
//!
//! The life of a proposal: it is put to a member, its *origin*, which names it and keeps it (`Proposals`). The origin
//! submits it to the leader of its term, again and again until it sees it in the committed log. Three rules keep it
//! from being committed twice:
//!
//! 1. A leader takes a proposal only in the term for which it was submitted, and remembers what it has taken in that
//!    term (`Taken`); so within a term, repeated messages do no harm.
//! 2. The origin submits it for another term only once an entry of a later term is committed, and the proposal is not
//!    before that entry. Whatever was appended in the earlier term and is not before it is gone for ever, by log
//!    matching.
//! 3. The names of proposals rise. What is below the smallest open one is settled, so a leader need not remember it:
//!    it refuses it.
//!
//! A client so sees an unknown outcome only when time has run out, and a change of leader costs it a delay.
//!
//! *Snapshots.* What leaders remember (rules 1 and 3) is never read from the log, so compaction takes nothing from it:
//! whatever they took in earlier terms and has since been compacted, they can't be made to take again, because it would
//! have to be submitted for their own term first. That is for the origin to decide, and rule 2 has it look at every
//! entry up to one of a later term. With a snapshot that it installs, the origin passes over entries it never sees. Be
//! `s` the term of the snapshot's last entry. What it had submitted in a term up to `s` may be among them; it can neither
//! find out nor ever submit it again, so its outcome is unknown. What it had submitted in a term after `s` is not: a
//! leader appends a submission in the term that it is for, and terms rise along the log. What was not submitted, or was
//! given back by rule 2, is in no log at all, and goes on as if nothing had been. For the rest of the log rule 2 holds as
//! before, since all that is still open and was submitted will be behind the snapshot if it is anywhere. A member that
//! comes back with a state ahead of its log passes over entries too, but has no open proposals; those of its earlier runs
//! have another boot number, which is why the record that a compaction writes repeats it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_core::{NodeId, Out, RequestId};

use super::log::{Entry, Index, Origin, Term};
use super::message::{Message, Submission};
use super::{Config, Raft, Refusal, Response, Role};

/// The own proposals of a member that are not settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Proposals {
    open: BTreeMap<RequestId, Open>,
    /// The size of their payloads.
    bytes: usize,
    /// Those that wait for a leader to be submitted to.
    fresh: BTreeSet<RequestId>,
    /// The name that the next proposal will have, at least.
    next: RequestId,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    payload: Bytes,
    /// The term in which it was last submitted; none if it has been in no log since then for sure.
    submitted: Option<Term>,
    retries: u32,
}

impl Open {
    /// The answer if it is given up now.
    fn given_up(&self) -> Response {
        match self.submitted {
            Some(_) => Response::Unknown,
            None => Response::Refused(Refusal::NoLeader),
        }
    }
}

impl Proposals {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn open(&mut self, id: RequestId, payload: Bytes) {
        assert!(id >= self.next, "request ids must rise");
        self.next = RequestId(id.0 + 1);
        self.bytes += payload.len();
        self.open.insert(id, Open { payload, submitted: None, retries: 0 });
        self.fresh.insert(id);
    }

    /// The proposals to submit in `term`: new ones, those given back, and those that were perhaps lost on the way.
    ///
    /// What was to be sent again in an earlier term, and found no leader before that term was over, waits to be given
    /// back like everything else of that term (rule 2).
    fn submit(&mut self, term: Term) -> Vec<(RequestId, Bytes)> {
        let fresh = std::mem::take(&mut self.fresh);
        let mut submitted = Vec::with_capacity(fresh.len());
        for id in fresh {
            if let Some(open) = self.open.get_mut(&id)
                && open.submitted.is_none_or(|submitted| submitted == term)
            {
                open.submitted = Some(term);
                submitted.push((id, open.payload.clone()));
            }
        }
        submitted
    }

    /// An own proposal is in the committed log. Whether anybody still waits for it.
    pub(super) fn settle(&mut self, id: RequestId) -> bool {
        self.fresh.remove(&id);
        let settled = self.open.remove(&id);
        self.bytes -= settled.as_ref().map_or(0, |open| open.payload.len());
        settled.is_some()
    }

    /// An entry of `term` is committed: what was submitted in an earlier term and is still open never will be by that
    /// submission. Whether anything is to be submitted again.
    pub(super) fn give_back_before(&mut self, term: Term) -> bool {
        for (id, open) in &mut self.open {
            if open.submitted.is_some_and(|submitted| submitted < term) {
                open.submitted = None;
                self.fresh.insert(*id);
            }
        }
        !self.fresh.is_empty()
    }

    /// Proposals named below this are settled.
    fn settled_below(&self) -> RequestId {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    /// What was submitted in `term` or before may be in a part of the log that we shall never see: gives it up.
    fn give_up_submitted_up_to(&mut self, term: Term, mut give_up: impl FnMut(RequestId)) {
        self.open.retain(|id, open| {
            let is_in_doubt = open.submitted.is_some_and(|submitted| submitted <= term);
            if is_in_doubt {
                self.fresh.remove(id);
                self.bytes -= open.payload.len();
                give_up(*id);
            }
            !is_in_doubt
        });
    }

    /// Counts a retry; gives up what has waited too long, and has the rest submitted again.
    pub(super) fn retry(&mut self, retries_max: u32, mut give_up: impl FnMut(RequestId, Response)) {
        self.open.retain(|id, open| {
            open.retries += 1;
            if open.retries <= retries_max {
                return true;
            }
            self.fresh.remove(id);
            self.bytes -= open.payload.len();
            give_up(*id, open.given_up());
            false
        });
    }

    /// Gives up everything.
    pub(super) fn give_up_all(&mut self, mut give_up: impl FnMut(RequestId, Response)) {
        for (id, open) in std::mem::take(&mut self.open) {
            give_up(id, open.given_up());
        }
        self.fresh.clear();
        self.bytes = 0;
    }

    /// Marks for another submission what was submitted in `term` and has been waiting since the last retry: the message
    /// may be lost, and the leader knows what it has taken.
    fn resubmit(&mut self, term: Term) {
        for (id, open) in &self.open {
            // The first retry after it came may have come at once; by the second, it has waited a whole interval.
            if open.submitted == Some(term) && open.retries > 1 {
                self.fresh.insert(*id);
            }
        }
    }
}

/// What a leader has taken of one member's proposals in its term.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    boot: u64,
    settled_below: RequestId,
    ids: BTreeSet<RequestId>,
}

impl Taken {
    /// Takes note of a message; whether its proposals are of the member's newest known run.
    fn observe(&mut self, boot: u64, settled_below: RequestId) -> bool {
        if boot > self.boot {
            *self = Taken { boot, settled_below, ids: BTreeSet::new() };
        } else if boot == self.boot && settled_below > self.settled_below {
            self.settled_below = settled_below;
            self.ids = self.ids.split_off(&settled_below);
        }
        boot == self.boot
    }

    /// Whether the proposal is new; it is not from then on.
    fn take(&mut self, config: &Config, id: RequestId) -> bool {
        let is_open = id >= self.settled_below || config.mutants.has("accepts_settled_proposals");
        is_open && self.ids.insert(id)
    }
}

impl Raft {
    pub(super) fn propose(
        &mut self,
        config: &Config,
        id: RequestId,
        payload: Bytes,
        out: &mut Out<'_, Self>,
    ) {
        self.proposals.open(id, payload);
        self.arm_retry(config, out);
        self.arm_flush(out);
    }

    /// Leader: moves our own proposals and those of others into the log, durably.
    pub(super) fn append_batch(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.transfer_to.is_some() {
            // The receiver must catch up with a log that stands still. What waits is submitted to it.
            return;
        }
        let mut batch = std::mem::take(&mut leader.batch);
        for (request, payload) in self.proposals.submit(self.term) {
            let origin = Origin { node: config.me, boot: self.boot, request };
            batch.push(Entry { term: self.term, origin: Some(origin), payload, membership: None });
        }
        if !batch.is_empty() {
            self.append(config, batch, out);
        }
    }

    /// Follower: sends what waits to the leader.
    pub(super) fn submit(&mut self, config: &Config, leader: NodeId, out: &mut Out<'_, Self>) {
        let proposals = self.proposals.submit(self.term);
        let mut rest = proposals.into_iter().peekable();
        while rest.peek().is_some() {
            let mut bytes = 0;
            let mut proposals = Vec::new();
            while let Some((id, payload)) = rest.next_if(|(_, payload)| {
                bytes == 0 || bytes + payload.len() <= config.append_bytes_max
            }) {
                bytes += payload.len();
                proposals.push((id, payload));
            }
            let settled_below = self.proposals.settled_below();
            let submission =
                Submission { term: self.term, boot: self.boot, settled_below, proposals };
            out.send(leader, Message::Submit(submission));
        }
    }

    pub(super) fn on_submit(
        &mut self,
        config: &Config,
        from: NodeId,
        submission: Submission,
        out: &mut Out<'_, Self>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        if self.memberships.newest().get(from).is_none() {
            return;
        }
        let repeats_allowed = config.mutants.has("accepts_repeated_proposals");
        if submission.term != self.term && !repeats_allowed {
            return;
        }
        let taken = leader.taken.entry(from).or_default();
        if !taken.observe(submission.boot, submission.settled_below) {
            return;
        }
        for (request, payload) in submission.proposals {
            if taken.take(config, request) || repeats_allowed {
                let origin = Origin { node: from, boot: submission.boot, request };
                leader.batch.push(Entry {
                    term: self.term,
                    origin: Some(origin),
                    payload,
                    membership: None,
                });
            }
        }
        self.arm_flush(out);
    }

    /// Answers the own proposals among the entries that were just committed, and finds those that were lost.
    pub(super) fn settle_committed(
        &mut self,
        config: &Config,
        previous: Index,
        out: &mut Out<'_, Self>,
    ) {
        let mut newest_opening = None;
        for at in previous.0 + 1..=self.commit.0 {
            let index = Index(at);
            let Some(entry) = self.log.get(index) else { break };
            match entry.origin {
                Some(origin) if origin.node == config.me && origin.boot == self.boot => {
                    if self.proposals.settle(origin.request) {
                        out.reply(origin.request, Response::Committed(index));
                    }
                }
                Some(_) => {}
                None => newest_opening = Some(entry.term),
            }
        }
        if let Some(term) = newest_opening
            && self.proposals.give_back_before(term)
        {
            self.arm_flush(out);
        }
    }

    /// A snapshot whose last entry is of `term` took the place of entries that we have not seen.
    pub(super) fn skipped_to(&mut self, config: &Config, term: Term, out: &mut Out<'_, Self>) {
        if config.mutants.has("resubmits_after_snapshot") {
            self.proposals.give_back_before(term.next());
            self.arm_flush(out);
            return;
        }
        self.proposals.give_up_submitted_up_to(term, |id| out.reply(id, Response::Unknown));
    }

    /// Submits again what the leader may not have heard.
    pub(super) fn submit_again(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if config.mutants.has("resubmits_without_barrier") {
            self.proposals.give_back_before(self.term);
        }
        if !self.is_leader() {
            self.proposals.resubmit(self.term);
        }
        self.arm_flush(out);
    }
}
