//! Who leads: campaigns, votes, and how a leader is deposed (§5.2, thesis §4.2.3 and §9.6).

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_core::{NodeId, Out, RequestId};

use super::changes::Count;
use super::log::{Entry, Index, Term};
use super::membership::{Membership, voters_of};
use super::message::{Message, VoteKind};
use super::{Config, Leader, Raft, Record, Refusal, Response, Role, Timer};

impl Raft {
    /// Follower: gives the leader one election timeout to be heard; while there is none, a random time more, so that
    /// two candidates seldom ask at once.
    pub(super) fn await_leader(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let timeout = config.election_timeout;
        let spread = if self.has_heard_leader { timeout } else { timeout * 2 };
        out.arm(Timer::Election, timeout..spread);
    }

    /// The silence is first noted, and after a random while acted upon, so that the voters have noted it as well when
    /// the first candidate asks them.
    pub(super) fn on_election_timeout(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        match &self.role {
            Role::Leader(_) => {}
            Role::Follower { .. } if self.has_heard_leader => {
                self.suspect_leader(config.election_timeout, out);
            }
            _ => self.campaign(config, VoteKind::Pre, out),
        }
    }

    /// A broken connection is a good reason to suspect the leader at once. If it is well, the others say so by refusing
    /// their pre-vote, and nothing comes of it.
    pub(super) fn on_lost(&mut self, config: &Config, peer: NodeId, out: &mut Out<'_, Self>) {
        self.on_lost_follower(peer);
        if matches!(self.role, Role::Follower { leader: Some(leader) } if leader == peer) {
            self.suspect_leader(config.election_timeout / 8, out);
        }
    }

    fn suspect_leader(&mut self, campaign_within: Duration, out: &mut Out<'_, Self>) {
        self.has_heard_leader = false;
        self.role = Role::Follower { leader: None };
        out.arm(Timer::Election, Duration::ZERO..campaign_within);
    }

    fn campaign(&mut self, config: &Config, kind: VoteKind, out: &mut Out<'_, Self>) {
        // A leader's state is what others are sent, and what reads are answered from. Nor does a vote for ourselves
        // keep a promise to vote for nobody.
        if self.needs_snapshot || (self.has_promised && kind != VoteKind::Handover) {
            self.await_leader(config, out);
            return;
        }
        if !self.may_campaign(config) {
            return;
        }
        let term = self.term.next();
        if kind == VoteKind::Pre {
            self.role = Role::PreCandidate { votes: BTreeSet::from([config.me]) };
        } else {
            self.enter_term(config, term, Some(config.me), out);
            let voted = out.persisted();
            self.role = Role::Candidate { votes: BTreeSet::from([config.me]), voted };
        }
        self.has_heard_leader = false;
        out.arm(Timer::Election, config.election_timeout..config.election_timeout * 2);
        for peer in self.memberships.newest().voters() {
            if peer == config.me {
                continue;
            }
            // Waits until our vote for ourselves is durable.
            out.send(
                peer,
                Message::RequestVote {
                    term,
                    last_term: self.log.last_term(),
                    last_index: self.log.last_index(),
                    kind,
                    greeting: self.greeting_for(peer),
                },
            );
        }
        if kind == VoteKind::Pre {
            self.count_votes(config, out);
        }
    }

    pub(super) fn on_request_vote(
        &mut self,
        config: &Config,
        from: NodeId,
        term: Term,
        last: (Term, Index),
        kind: VoteKind,
        out: &mut Out<'_, Self>,
    ) {
        let is_pre = kind == VoteKind::Pre;
        // Thesis §4.2.3: whoever hears a leader keeps to it, and doesn't even enter the candidate's term.
        let keeps_leader = (self.has_heard_leader || self.has_promised || self.is_leader())
            && kind != VoteKind::Handover;
        if term > self.term && !keeps_leader && !is_pre {
            self.follow(config, term, None, out);
        }
        let is_up_to_date = last >= (self.log.last_term(), self.log.last_index())
            || config.mutants.has("grants_to_shorter_logs");
        let is_granted = is_up_to_date
            && if is_pre {
                term > self.term && !keeps_leader
            } else {
                (!self.has_promised || kind == VoteKind::Handover)
                    && term == self.term
                    && self.vote.is_none_or(|vote| vote == from)
            };
        if is_granted && !is_pre && self.vote.is_none() {
            self.vote = Some(from);
            self.role = Role::Follower { leader: None };
            if !config.mutants.has("forgets_its_vote") {
                out.persist(Record::Voted { term, vote: self.vote });
            }
            self.await_leader(config, out);
        }
        let term = if is_granted { term } else { self.term };
        let greeting = self.greeting_for(from);
        let message = Message::Vote { term, is_pre, is_granted, greeting };
        if config.mutants.has("votes_before_durable") {
            out.send_early(from, message);
        } else {
            out.send(from, message);
        }
    }

    pub(super) fn on_vote(
        &mut self,
        config: &Config,
        from: NodeId,
        term: Term,
        is_pre: bool,
        is_granted: bool,
        out: &mut Out<'_, Self>,
    ) {
        match &mut self.role {
            // A grant of an earlier campaign has another term, or is of the other kind: it elects nobody.
            Role::PreCandidate { votes } if is_granted && is_pre && term == self.term.next() => {
                votes.insert(from);
            }
            Role::Candidate { votes, .. } if is_granted && !is_pre && term == self.term => {
                votes.insert(from);
            }
            _ if !is_granted && term > self.term => {
                self.follow(config, term, None, out);
                return;
            }
            _ => return,
        }
        self.count_votes(config, out);
    }

    /// Candidate: once our own vote is durable it counts; the others were asked only after that.
    pub(super) fn on_vote_synced(&mut self, config: &Config, upto: u64, out: &mut Out<'_, Self>) {
        if matches!(self.role, Role::Candidate { voted, .. } if voted <= upto) {
            self.count_votes(config, out);
        }
    }

    fn count_votes(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let (Role::PreCandidate { votes } | Role::Candidate { votes, .. }) = &self.role else {
            return;
        };
        let membership = self.counted(config, Count::Votes);
        if !membership.has_majority(|node| votes.contains(&node)) {
            return;
        }
        if matches!(self.role, Role::PreCandidate { .. }) {
            self.campaign(config, VoteKind::Real, out);
        } else {
            self.lead(config, out);
        }
    }

    fn lead(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let next = self.log.last_index().next();
        self.role = Role::Leader(Box::new(Leader {
            progress: Default::default(),
            opened_at: next,
            batch: Vec::new(),
            taken: Default::default(),
            reads: Default::default(),
            transfer_to: None,
            transfers: 0,
            changes: Default::default(),
            lease: Default::default(),
        }));
        self.follow_membership(config, &Membership::default(), next);
        out.disarm(Timer::Election);
        out.arm(Timer::Quorum, config.election_timeout..config.election_timeout);
        // §5.4.2 and §8: only an entry of our own term tells which older ones are committed.
        self.append(
            config,
            vec![Entry {
                term: self.term,
                origin: None,
                payload: Default::default(),
                membership: None,
            }],
            out,
        );
        self.reads.ask_again();
        self.heartbeat(config, out);
    }

    /// Enters a later term, or accepts a leader of this one.
    pub(super) fn follow(
        &mut self,
        config: &Config,
        term: Term,
        leader: Option<NodeId>,
        out: &mut Out<'_, Self>,
    ) {
        if term > self.term {
            self.enter_term(config, term, None, out);
        }
        if self.is_leader() {
            out.disarm(Timer::Heartbeat);
            out.disarm(Timer::Quorum);
            self.leave_change(out);
        }
        self.role = Role::Follower { leader };
        self.has_heard_leader = leader.is_some();
        self.await_leader(config, out);
        if leader.is_some() {
            // What the last leader didn't do, this one will; proposals wait for its first entry (`proposals`).
            self.reads.ask_again();
            self.arm_flush(out);
        }
    }

    fn enter_term(
        &mut self,
        _config: &Config,
        term: Term,
        vote: Option<NodeId>,
        out: &mut Out<'_, Self>,
    ) {
        assert!(term > self.term, "a term is entered once");
        self.term = term;
        self.vote = vote;
        out.persist(Record::Voted { term, vote });
    }

    /// Leader: steps down unless a majority has answered since the last look (thesis §6.2).
    pub(super) fn check_quorum(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let answered = leader
            .progress
            .iter_mut()
            .filter_map(|(node, progress)| progress.take_answered().then_some(*node));
        let answered: BTreeSet<NodeId> = answered.collect();
        // A transfer that has not happened by now was lost, or its receiver is; we go on.
        leader.transfer_to = None;
        let membership = self.memberships.newest();
        if membership.has_majority(|node| node == config.me || answered.contains(&node)) {
            out.arm(Timer::Quorum, config.election_timeout..config.election_timeout);
            self.look_after_members(config, answered, out);
            self.arm_flush(out);
        } else {
            self.follow(config, self.term, None, out);
        }
    }

    pub(super) fn transfer(
        &mut self,
        config: &Config,
        id: RequestId,
        to: NodeId,
        out: &mut Out<'_, Self>,
    ) {
        let response = match &mut self.role {
            _ if !voters_of(&self.memberships.newest().members).any(|voter| voter == to) => {
                Response::Refused(Refusal::NoSuchMember)
            }
            Role::Leader(_) if to == config.me => Response::Transferring,
            Role::Leader(leader) => {
                // The transfer has one election timeout, from now. One that takes another's place has what is left, or
                // repeated requests would keep us from ever looking whether a majority still answers.
                if leader.transfer_to.replace(to).is_none() {
                    out.arm(Timer::Quorum, config.election_timeout..config.election_timeout);
                }
                Response::Transferring
            }
            Role::Follower { leader } => Response::Refused(Refusal::NotLeader { leader: *leader }),
            _ => Response::Refused(Refusal::NotLeader { leader: None }),
        };
        out.reply(id, response);
        self.hand_over(config, out);
    }

    /// Leader: once the receiver of a transfer has all we have, tells it to campaign.
    pub(super) fn hand_over(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &self.role else { return };
        if let Some(to) = leader.transfer_to
            && leader.progress.get(&to).is_some_and(|p| p.matched() == self.log.last_index())
        {
            self.forgo_lease(config);
            out.send(to, Message::TimeoutNow { term: self.term });
        }
    }

    pub(super) fn on_timeout_now(
        &mut self,
        config: &Config,
        from: NodeId,
        term: Term,
        out: &mut Out<'_, Self>,
    ) {
        if term == self.term && self.leader(config) == Some(from) {
            self.campaign(config, VoteKind::Handover, out);
        }
    }
}
