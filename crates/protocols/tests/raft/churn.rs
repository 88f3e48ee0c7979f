//! What storms do to who takes part: members come, go, and lose their disks.

use bytes::Bytes;
use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{Change, Member as Named, Raft, Request, Standing};

use crate::dice::Dice;
use crate::member::Member;
use crate::storm::Storm;

impl Storm {
    /// Some change of who takes part, whether it makes sense or not. There are always three voters before and
    /// after it, so that one of them may be lost.
    pub(crate) fn churn(&mut self, at: usize) -> Result<(), String> {
        let leads = |member: &Member| member.raft().is_some_and(Raft::is_leader);
        let leader = self.members.iter().position(leads).filter(|_| self.dice.chance(800));
        let at = leader.unwrap_or(at);
        let Some(raft) = self.members[at].raft() else { return Ok(()) };
        let voters = raft.membership().voters();
        let learners: Vec<NodeId> =
            raft.membership().nodes().into_iter().filter(|node| !voters.contains(node)).collect();
        let strange: Vec<NodeId> =
            self.members.iter().map(Member::id).filter(|id| !voters.contains(id)).collect();
        if voters.len() < 3 {
            return Ok(());
        }
        let may_lose = voters.len() > 3;
        let mut changes = Vec::new();
        let pick = |dice: &mut Dice, of: &[NodeId]| of.get(dice.below(of.len().max(1))).copied();
        let voters: Vec<NodeId> = voters.into_iter().collect();
        if let Some(node) = pick(&mut self.dice, &learners) {
            changes.push(Change::Promote { node });
        }
        if let Some(node) = pick(&mut self.dice, &voters)
            && (may_lose || !changes.is_empty())
            && self.dice.chance(500)
        {
            let is_demoted = self.dice.chance(300);
            changes.push(if is_demoted {
                Change::Demote { node }
            } else {
                Change::Remove { node }
            });
        }
        if let Some(node) = pick(&mut self.dice, &strange)
            && self.dice.chance(500)
        {
            let context = Bytes::from_static(b"spare");
            changes = vec![Change::AddLearner { node, context }];
        }
        let change = if changes.len() == 1 { changes.remove(0) } else { Change::All(changes) };
        self.put(at, Request::ChangeMembership(change))
    }

    /// A member that all agree on loses its disk, unless another has not got over such a loss yet: if it is the state of
    /// the only other one that holds all that is committed, nobody can lead.
    pub(crate) fn wipe(&mut self, at: usize) -> Result<(), String> {
        if !self.all_are_well() {
            return Ok(());
        }
        self.crash(at)?;
        self.members[at].replace_disk(None, true);
        // The application's state may be elsewhere.
        if self.dice.chance(500) {
            self.members[at].replace_saved(None);
        }
        self.damaged = Some(at);
        self.tally.wipes += 1;
        Ok(())
    }

    /// Whether every member is up, and the membership in its log names this one as it is, or not at all: so does any
    /// membership that may ever come to be committed.
    pub(crate) fn is_whole_to_all(&self, at: usize) -> bool {
        let Some(life) = self.members[at].raft().map(Raft::life) else { return false };
        self.members.iter().map(Member::raft).all(|raft| {
            let member = raft.map(|raft| raft.membership().get(self.members[at].id()));
            let is_whole = |m: &Named| m.life == life && m.standing != Standing::Recovering;
            member.is_some_and(|member| member.is_none_or(is_whole))
        })
    }

    /// Whether the newest membership that anybody knows to be committed names the member as it is, or not at all.
    pub(crate) fn is_whole(&self, at: usize) -> bool {
        let Some(raft) = self.members[at].raft() else { return false };
        let rafts = self.members.iter().filter_map(Member::raft);
        let newest = rafts.max_by_key(|raft| raft.commit());
        let membership = newest.map(|raft| raft.committed_membership());
        let member = membership.and_then(|membership| membership.get(self.members[at].id()));
        member.is_none_or(|m| m.life == raft.life() && m.standing != Standing::Recovering)
    }

    /// The members that take part in the end, all of them whole.
    pub(crate) fn inside(&self) -> Vec<usize> {
        let rafts = self.members.iter().filter_map(Member::raft);
        let newest = rafts.max_by_key(|raft| raft.commit());
        let Some(membership) = newest.map(|raft| raft.committed_membership()) else {
            return Vec::new();
        };
        (0..self.members.len())
            .filter(|at| membership.get(self.members[*at].id()).is_some())
            .collect()
    }
}
