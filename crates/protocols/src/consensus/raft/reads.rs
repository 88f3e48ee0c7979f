//! Linearizable reads without a write: ReadIndex (thesis §6.4).
//!
//! A leader that notes its commit index, and *then* hears from a majority that it still leads, knows that nothing
//! newer was acknowledged when the read came in. One round of messages serves every read that came before it.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::{NodeId, Out, RequestId};

use super::log::Index;
use super::message::{Message, Ticket};
use super::replication::Progress;
use super::{Config, Raft, Refusal, Response, Role};

/// The own reads of a member that are not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reads {
    /// Those that no question to a leader covers yet, each with the number of retries.
    fresh: BTreeMap<RequestId, u32>,
    /// Those that a question covers, by its number.
    asked: BTreeMap<u64, BTreeMap<RequestId, u32>>,
    last_number: u64,
    /// The newest question at the last retry: those up to it have had time enough.
    last_retried: u64,
}

impl Reads {
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.asked.values().map(BTreeMap::len).sum::<usize>()
    }

    /// Forgets what was asked: the answers may never come. An index that does come is as good as ever.
    pub(super) fn ask_again(&mut self) {
        for (_, reads) in std::mem::take(&mut self.asked) {
            self.fresh.extend(reads);
        }
    }

    pub(super) fn retry(&mut self, retries_max: u32, mut give_up: impl FnMut(RequestId, Response)) {
        let unanswered = self.asked.split_off(&(self.last_retried + 1));
        for (_, reads) in std::mem::replace(&mut self.asked, unanswered) {
            self.fresh.extend(reads);
        }
        self.last_retried = self.last_number;
        for reads in self.asked.values_mut() {
            reads.values_mut().for_each(|retries| *retries += 1);
        }
        self.fresh.retain(|id, retries| {
            *retries += 1;
            if *retries > retries_max {
                give_up(*id, Response::Refused(Refusal::NoLeader));
            }
            *retries <= retries_max
        });
    }

    /// Covers all fresh reads by one new question.
    fn ask(&mut self) -> Option<u64> {
        if self.fresh.is_empty() {
            return None;
        }
        self.last_number += 1;
        self.asked.insert(self.last_number, std::mem::take(&mut self.fresh));
        Some(self.last_number)
    }

    fn answer(&mut self, number: u64) -> BTreeMap<RequestId, u32> {
        self.asked.remove(&number).unwrap_or_default()
    }
}

/// The reads that a leader is about to confirm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct LeaderReads {
    /// The newest round that was opened.
    round: u64,
    /// Questions that no round covers yet.
    waiting: Vec<(NodeId, Ticket)>,
    /// Rounds that no majority has answered yet.
    open: VecDeque<Round>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Round {
    number: u64,
    /// What was committed when it was opened.
    index: Index,
    questions: Vec<(NodeId, Ticket)>,
}

impl LeaderReads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Opens a round that covers no questions.
    pub(super) fn next_round(&mut self) -> u64 {
        self.round += 1;
        self.round
    }
}

impl Raft {
    pub(super) fn read(&mut self, config: &Config, id: RequestId, out: &mut Out<'_, Self>) {
        if config.mutants.has("serves_stale_reads") && self.is_leader() {
            out.reply(id, Response::Readable(self.commit));
            return;
        }
        if config.mutants.has("lease_survives_pause") && self.holds_lease(config) {
            out.reply(id, Response::Readable(self.commit));
            return;
        }
        self.reads.fresh.insert(id, 0);
        self.arm_retry(config, out);
        self.arm_flush(out);
    }

    /// Follower: asks the leader for an index for all reads that wait.
    pub(super) fn ask_for_read_index(&mut self, leader: NodeId, out: &mut Out<'_, Self>) {
        if let Some(number) = self.reads.ask() {
            let ticket = Ticket { boot: self.boot, number };
            out.send(leader, Message::ReadIndex { ticket });
        }
    }

    pub(super) fn on_read_index(&mut self, from: NodeId, ticket: Ticket, out: &mut Out<'_, Self>) {
        // A member that doesn't lead says nothing: the asker asks again once it knows who does.
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.waiting.push((from, ticket));
            self.arm_flush(out);
        }
    }

    pub(super) fn on_read_index_answer(
        &mut self,
        ticket: Ticket,
        index: Index,
        out: &mut Out<'_, Self>,
    ) {
        // Numbers start again with each run: an answer to an earlier run's question knows nothing of this one's reads.
        if ticket.boot == self.boot {
            for id in self.reads.answer(ticket.number).into_keys() {
                out.reply(id, Response::Readable(index));
            }
        }
    }

    /// Leader: while nobody else can lead, what is committed here is all that was ever acknowledged (`lease`).
    pub(super) fn read_by_lease(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        if !self.holds_lease(config) {
            return;
        }
        let index = self.commit;
        if let Some(number) = self.reads.ask() {
            self.on_read_index_answer(Ticket { boot: self.boot, number }, index, out);
        }
        let Role::Leader(leader) = &mut self.role else { return };
        for (asker, ticket) in std::mem::take(&mut leader.reads.waiting) {
            out.send(asker, Message::ReadIndexAnswer { ticket, index });
        }
    }

    /// Leader: has the next messages to the followers confirm the reads that wait.
    pub(super) fn open_read_round(&mut self, config: &Config) {
        let Role::Leader(leader) = &mut self.role else { return };
        // §8: before an entry of our own term is committed, we don't know what is.
        let is_open =
            self.commit >= leader.opened_at || config.mutants.has("reads_before_its_term_opens");
        if !is_open {
            return;
        }
        if let Some(number) = self.reads.ask() {
            let ticket = Ticket { boot: self.boot, number };
            leader.reads.waiting.push((config.me, ticket));
        }
        if !leader.reads.waiting.is_empty() {
            leader.reads.round += 1;
            let questions = std::mem::take(&mut leader.reads.waiting);
            leader.reads.open.push_back(Round {
                number: leader.reads.round,
                index: self.commit,
                questions,
            });
            for progress in leader.progress.values_mut() {
                progress.owes_message();
            }
        }
    }

    /// Leader: answers the rounds that a majority has answered.
    pub(super) fn confirm_reads(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.open.is_empty() {
            return;
        }
        let (progress, newest) = (&leader.progress, leader.reads.round);
        let confirmed = self.memberships.newest().reached_by_majority(|node| {
            if node == config.me { newest } else { progress.get(&node).map_or(0, Progress::round) }
        });
        let mut own = Vec::new();
        while leader.reads.open.front().is_some_and(|round| round.number <= confirmed) {
            let Some(Round { index, questions, .. }) = leader.reads.open.pop_front() else { break };
            for (asker, ticket) in questions {
                if asker == config.me {
                    own.push((ticket, index));
                } else {
                    out.send(asker, Message::ReadIndexAnswer { ticket, index });
                }
            }
        }
        for (ticket, index) in own {
            self.on_read_index_answer(ticket, index, out);
        }
    }
}
