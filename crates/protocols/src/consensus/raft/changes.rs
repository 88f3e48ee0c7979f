//! Who takes part may change while the group works (thesis §4, §6 of the paper).
//!
//! A membership is an entry of the log, and in force from the moment it is in a log, committed or not. A change that
//! moves one vote at most is one such entry: any two majorities before and after it meet (thesis §4.1). Any other goes
//! through a joint membership, under which everything needs both majorities; once that is committed, the leader appends
//! what it leads to by itself (thesis §4.3), and so does a leader that found it in its log.
//!
//! What a leader refuses, and why:
//!
//! - a change while another is under way, or two of them might move two votes;
//! - a change before an entry of its own term is committed: an older leader's change may be hidden in a minority, and
//!   the majorities of that one and ours need not meet (the correction of the thesis of July 2015);
//! - the promotion of a learner that has not caught up: everything might have to wait for it (thesis §4.2.1). It has if
//!   it lacked no more than [`Config::caught_up_within`] entries at the leader's last look for its majority, and has
//!   answered and lacks no more now. One that never answered under the life that is named may be gone, or live
//!   another: its vote would have to be waited for, and it could be for ever;
//! - what would leave no majority of those that the leader has heard lately.
//!
//! A leader that is no voter any more leads until the entry that says so is committed, without counting itself, and then
//! hands over (thesis §4.2.2). Those that leave are sent the log for one or two election timeouts more, so that they
//! learn that they have left; one that doesn't learn it is refused by the pre-vote, and disturbs nobody.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use quorate_core::{NodeId, Out, RequestId};

use super::log::{Entry, Index, Log, Term};
use super::membership::{Member, Membership, Memberships, Standing, voters_of};
use super::memory::Greeting;
use super::message::Message;
use super::replication::Progress;
use super::{Config, Raft, Refusal, Response, Role};

/// The names of the deliberate bugs among [`super::MUTANTS`] that show only where members come and go,
/// or forget.
pub const MUTANTS: &[&str] = &[
    "votes_after_memory_loss",
    "counts_other_lives",
    "forgets_whom_it_met",
    "counts_past_forgotten_runs",
    "tells_its_run_early",
    "forgets_life_when_compacting",
    "forgets_whom_it_met_when_compacting",
    "counts_learners",
    "changes_before_first_commit",
    "commits_joint_by_new_majority_only",
    "votes_by_old_majority_only",
    "learner_campaigns",
];

/// A change of who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Takes a node in, which doesn't vote yet.
    AddLearner {
        /// The node.
        node: NodeId,
        /// What the application keeps about it.
        context: Bytes,
    },
    /// Gives a learner a vote.
    Promote {
        /// The learner.
        node: NodeId,
    },
    /// Makes a learner of a voter.
    Demote {
        /// The voter.
        node: NodeId,
    },
    /// Lets a member go.
    Remove {
        /// The member.
        node: NodeId,
    },
    /// Replaces what the application keeps about a member.
    Update {
        /// The member.
        node: NodeId,
        /// What it keeps from now on.
        context: Bytes,
    },
    /// All of these, in this order, or none.
    All(Vec<Change>),
}

impl Change {
    /// `life_of` says in which life a node was last heard of.
    fn apply_to(
        &self,
        members: &mut BTreeMap<NodeId, Member>,
        life_of: &dyn Fn(NodeId) -> u64,
    ) -> Result<(), Refusal> {
        let stand = |members: &mut BTreeMap<NodeId, Member>, node, standing| {
            let member = members.get_mut(&node).ok_or(Refusal::NoSuchMember)?;
            let before = std::mem::replace(&mut member.standing, standing);
            if before == standing { Err(Refusal::AlreadyThere) } else { Ok(()) }
        };
        match self {
            Change::AddLearner { node, context } => {
                let (standing, context) = (Standing::Learner, context.clone());
                let member = Member { standing, life: life_of(*node), context };
                match members.insert(*node, member) {
                    Some(_) => Err(Refusal::AlreadyThere),
                    None => Ok(()),
                }
            }
            Change::Promote { node } => stand(members, *node, Standing::Voter),
            Change::Demote { node } => stand(members, *node, Standing::Learner),
            Change::Remove { node } => {
                members.remove(node).map(|_| ()).ok_or(Refusal::NoSuchMember)
            }
            Change::Update { node, context } => {
                let member = members.get_mut(node).ok_or(Refusal::NoSuchMember)?;
                member.context = context.clone();
                Ok(())
            }
            Change::All(changes) => {
                changes.iter().try_for_each(|change| change.apply_to(members, life_of))
            }
        }
    }
}

/// What a leader keeps about changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Who waits for the change under way.
    asked: Option<RequestId>,
    /// Who answered between the last two looks for a majority.
    active: BTreeSet<NodeId>,
    /// Who had caught up at the last look.
    caught_up: BTreeSet<NodeId>,
    /// Who took no part any more at the last look, and was still sent the log.
    leaving: BTreeSet<NodeId>,
    /// Who spoke in this term for another life than the membership named.
    reborn: BTreeSet<NodeId>,
}

impl Hash for Changes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Changes { asked, active, caught_up, leaving, reborn } = self;
        asked.hash(state);
        for nodes in [active, caught_up, leaving, reborn] {
            NodeId::hash_each(nodes, state);
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// Votes.
    Votes,
    /// Copies of an entry.
    Copies,
}

/// The memberships of a log, and whether this member was ever in one that was committed.
pub(super) fn memberships_of(me: NodeId, log: &Log, commit: Index) -> (Memberships, bool) {
    let base = log.base();
    let mut memberships = Memberships::beginning(base.index, base.membership.clone());
    let mut was_member = base.membership.get(me).is_some();
    for at in base.index.0 + 1..=log.last_index().0 {
        let entry = log.get(Index(at));
        if let Some(membership) = entry.and_then(|entry| entry.membership.as_ref()) {
            was_member |= Index(at) <= commit && membership.get(me).is_some();
            memberships.push(Index(at), membership.clone());
        }
    }
    memberships.settle(commit);
    (memberships, was_member)
}

impl Raft {
    /// The membership as it is counted.
    pub(super) fn counted(&self, config: &Config, count: Count) -> Cow<'_, Membership> {
        let membership: &Membership = self.memberships.newest();
        let mut counted = Cow::Borrowed(membership);
        if config.mutants.has("counts_learners") {
            for member in counted.to_mut().members.values_mut() {
                member.standing = Standing::Voter;
            }
        }
        if config.mutants.has("commits_joint_by_new_majority_only") && count == Count::Copies {
            counted.to_mut().outgoing.clear();
        }
        if config.mutants.has("votes_by_old_majority_only")
            && count == Count::Votes
            && membership.is_joint()
        {
            let outgoing = std::mem::take(&mut counted.to_mut().outgoing);
            counted.to_mut().members = outgoing;
        }
        counted
    }

    /// Whether this member's vote counts in the membership in force, or in the committed one. Until the entry is
    /// committed that takes its vote away, it may be the only one with a log that wins (thesis §4.2.2); it doesn't count
    /// itself then.
    pub(super) fn may_campaign(&self, config: &Config) -> bool {
        let counts = |membership: &Membership| {
            let votes = membership.is_voter(config.me) || config.mutants.has("learner_campaigns");
            votes && membership.get(config.me).is_some_and(|member| member.life == self.memory.life)
        };
        counts(self.memberships.newest()) || counts(self.committed_membership())
    }

    /// Whether an acknowledgement is to be looked at. A leader that hears of another life than the membership names
    /// takes the member in again.
    pub(super) fn is_counted(
        &mut self,
        config: &Config,
        from: NodeId,
        term: Term,
        greeting: Greeting,
        out: &mut Out<'_, Self>,
    ) -> bool {
        if term != self.term || self.speaks_for_itself(config, from, greeting) {
            return true;
        }
        // A straggler of a life that is over must not bring that back. One of this term was sent after all lives began that
        // were named in earlier terms; and those that we have named ourselves in this term, we have met.
        let is_newest = self.memory.met.get(&from).is_some_and(|met| met.life == greeting.life);
        if let Role::Leader(leader) = &mut self.role
            && is_newest
        {
            leader.changes.reborn.insert(from);
            self.readmit(config, out);
        }
        false
    }

    /// Leader: takes in a member that lost its memory, or gives one its vote back that has caught up.
    fn readmit(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &self.role else { return };
        let may_change = config.readmit_members
            && !self.is_changing()
            && leader.transfer_to.is_none()
            && self.commit >= leader.opened_at;
        if !may_change {
            return;
        }
        let members = &self.memberships.newest().members;
        let reborn = leader.changes.reborn.iter().filter_map(|node| {
            let life = self.memory.met.get(node)?.life;
            let member = members.get(node).filter(|member| member.life != life)?;
            let standing = match member.standing {
                Standing::Voter => Standing::Recovering,
                standing => standing,
            };
            Some((*node, Member { standing, life, context: member.context.clone() }))
        });
        let recovered = members
            .iter()
            .filter(|(_, member)| member.standing == Standing::Recovering)
            .map(|(node, member)| (*node, Member { standing: Standing::Voter, ..member.clone() }));
        let changed = reborn.chain(recovered).find_map(|(node, member)| {
            let mut members = members.clone();
            members.insert(node, member);
            self.admit(config, members).ok()
        });
        if let Some(membership) = changed {
            self.append_membership(config, membership, out);
        }
    }

    /// Leader: sends the log to whom the membership in force names. `previous` was in force before; who was not in it,
    /// or had another life, is sent the log from `next` until more is known.
    pub(super) fn follow_membership(
        &mut self,
        config: &Config,
        previous: &Membership,
        next: Index,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        let membership = self.memberships.newest();
        for node in membership.nodes().into_iter().filter(|node| *node != config.me) {
            let life = |membership: &Membership| membership.get(node).map(|member| member.life);
            if life(previous) != life(membership) {
                // A leader that was just elected has heard a majority. Who comes in later has yet to be heard.
                let is_heard = previous.members.is_empty();
                leader.progress.insert(node, Progress::new(next, is_heard));
            }
        }
    }

    pub(super) fn change(
        &mut self,
        config: &Config,
        id: RequestId,
        change: &Change,
        out: &mut Out<'_, Self>,
    ) {
        let refusal = match self.plan(config, change) {
            Ok(membership) => {
                if let Role::Leader(leader) = &mut self.role {
                    leader.changes.asked = Some(id);
                }
                self.append_membership(config, membership, out);
                return;
            }
            Err(refusal) => refusal,
        };
        out.reply(id, Response::Refused(refusal));
    }

    /// Leader: the membership to append first for this change.
    fn plan(&self, config: &Config, change: &Change) -> Result<Membership, Refusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(Refusal::NotLeader { leader: self.leader(config) });
        };
        let membership = self.memberships.newest();
        if self.is_changing() || leader.transfer_to.is_some() {
            return Err(Refusal::ChangeUnderWay);
        }
        // The majorities of a change by an older leader, which we may not know of, and of ours need not meet before one
        // of our own term's entries is committed (thesis, correction of July 2015).
        if self.commit < leader.opened_at && !config.mutants.has("changes_before_first_commit") {
            return Err(Refusal::TermNotOpen);
        }
        let mut members = membership.members.clone();
        change
            .apply_to(&mut members, &|node| self.memory.met.get(&node).map_or(0, |met| met.life))?;
        if members == membership.members {
            return Err(Refusal::AlreadyThere);
        }
        self.admit(config, members)
    }

    /// Leader: how to come from the membership in force, which is not joint, to `members`, if that would be wise.
    fn admit(
        &self,
        config: &Config,
        members: BTreeMap<NodeId, Member>,
    ) -> Result<Membership, Refusal> {
        let before: BTreeSet<NodeId> = voters_of(&self.memberships.newest().members).collect();
        let after: BTreeSet<NodeId> = voters_of(&members).collect();
        if after.is_empty() {
            return Err(Refusal::LastVoter);
        }
        if !after.difference(&before).all(|node| self.has_caught_up(config, *node)) {
            return Err(Refusal::NotCaughtUp);
        }
        let mut changed = Membership { members, outgoing: BTreeMap::new() };
        if before != after && !changed.has_majority(|node| self.is_active(config, node)) {
            return Err(Refusal::NoQuorum);
        }
        if before.symmetric_difference(&after).count() > 1 {
            let outgoing = &self.memberships.newest().members;
            let voters = outgoing.iter().filter(|(node, _)| before.contains(node));
            changed.outgoing = voters.map(|(node, member)| (*node, member.clone())).collect();
        }
        Ok(changed)
    }

    /// Whether the membership in force is not committed, or joint.
    fn is_changing(&self) -> bool {
        self.commit < self.memberships.newest_index() || self.memberships.newest().is_joint()
    }

    /// Leader: whether a node was heard lately.
    fn is_active(&self, config: &Config, node: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        node == config.me
            || leader.changes.active.contains(&node)
            || leader.progress.get(&node).is_some_and(Progress::has_answered)
    }

    /// Leader: whether a node holds nearly everything, and did at the last look.
    fn has_caught_up(&self, config: &Config, node: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let last = self.log.last_index();
        let is_near = |progress: &Progress| progress.lacks_at_most(config.caught_up_within, last);
        leader.changes.caught_up.contains(&node)
            && self.is_active(config, node)
            && leader.progress.get(&node).is_some_and(is_near)
    }

    fn append_membership(
        &mut self,
        config: &Config,
        membership: Membership,
        out: &mut Out<'_, Self>,
    ) {
        let previous = self.memberships.newest().clone();
        let next = self.log.last_index().next();
        let entry = Entry {
            term: self.term,
            origin: None,
            payload: Bytes::new(),
            membership: Some(membership.into()),
        };
        self.append(config, vec![entry], out);
        self.follow_membership(config, &previous, next);
        self.arm_flush(out);
    }

    /// What there is to do once something is committed.
    pub(super) fn proceed_with_changes(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let is_member = self.committed_membership().get(config.me).is_some();
        self.was_member |= is_member;
        let index = self.memberships.newest_index();
        let Role::Leader(leader) = &mut self.role else { return };
        if self.commit < index || self.commit < leader.opened_at {
            return;
        }
        let membership = self.memberships.newest().clone();
        if membership.is_joint() {
            let last = Membership { outgoing: BTreeMap::new(), ..(*membership).clone() };
            self.append_membership(config, last, out);
            return;
        }
        if let Some(id) = leader.changes.asked.take() {
            out.reply(id, Response::Changed(index));
        }
        if !membership.is_voter(config.me) {
            self.abdicate(config, out);
        }
    }

    /// Leader that may lead no longer: tells everybody what is committed, and the most advanced voter to campaign.
    fn abdicate(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.progress.values_mut().for_each(Progress::owes_message);
        let matched = |node: &NodeId| leader.progress.get(node).map(Progress::matched);
        let heir = self.memberships.newest().voters().into_iter().max_by_key(matched);
        self.replicate(config, out);
        if let Some(heir) = heir {
            out.send(heir, Message::TimeoutNow { term: self.term });
        }
        self.follow(config, self.term, None, out);
    }

    /// Leader no more: whoever waits for a change is told that nobody knows.
    pub(super) fn leave_change(&mut self, out: &mut Out<'_, Self>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(id) = leader.changes.asked.take() {
            out.reply(id, Response::Unknown);
        }
    }

    /// Leader, at each look for its majority: who answered, who has caught up, and who need not be sent anything more.
    pub(super) fn look_after_members(
        &mut self,
        config: &Config,
        answered: BTreeSet<NodeId>,
        out: &mut Out<'_, Self>,
    ) {
        let last = self.log.last_index();
        let is_settled = !self.is_changing();
        let Role::Leader(leader) = &mut self.role else { return };
        let near = |progress: &Progress| progress.lacks_at_most(config.caught_up_within, last);
        let caught_up = leader.progress.iter().filter(|(_, progress)| near(progress));
        leader.changes.caught_up = caught_up.map(|(node, _)| *node).collect();
        leader.changes.active = answered;
        let nodes = self.memberships.newest().nodes();
        let is_leaving = |node: &NodeId| is_settled && !nodes.contains(node);
        let gone = std::mem::take(&mut leader.changes.leaving);
        leader.progress.retain(|node, _| !(is_leaving(node) && gone.contains(node)));
        leader.changes.leaving =
            leader.progress.keys().copied().filter(|node| is_leaving(node)).collect();
        self.readmit(config, out);
    }
}
