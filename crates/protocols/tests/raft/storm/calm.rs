//! After a storm: everything heals, time passes in order, and what is pending must be answered.

use std::time::Duration;

use quorate_core::NodeId;
use quorate_protocols::consensus::raft::{Raft, Timer};

use super::Storm;
use crate::member::Member;

/// How long the calm may take to resolve everything: many election timeouts.
const CALM: Duration = Duration::from_secs(20);

impl Storm {
    /// Nothing fails any more, and time passes in order, until it comes to `end`.
    fn calm(&mut self, end: Duration) -> Result<(), String> {
        while self.now < end {
            if let Some(at) = (0..self.members.len()).find(|at| self.members[*at].unsynced() > 0) {
                self.sync(at, self.members[at].unsynced())?;
            } else if let Some(at) =
                (0..self.members.len()).find(|at| self.members[*at].is_armed(Timer::Flush))
            {
                self.fire(at, Timer::Flush)?;
            } else if !self.letters.is_empty() {
                let letter = self.letters.remove(0);
                self.deliver(letter)?;
            } else if let Some((&(at, timer), &due)) =
                self.deadlines.iter().min_by_key(|(_, due)| **due)
            {
                self.now = self.now.max(due);
                self.fire(at, timer)?;
            } else {
                return Err("no timer is set anywhere: nothing will ever happen again".into());
            }
        }
        Ok(())
    }

    fn heal(&mut self) {
        self.cuts.clear();
        self.weather.crash = 0;
        for at in 0..self.members.len() {
            if !self.members[at].is_up() {
                self.boot(at);
            }
        }
    }

    /// After the storm: everything is resolved, one leads, and all hold and know the same.
    pub(super) fn settles(&mut self) -> Result<(), String> {
        self.heal();
        self.calm(self.now + CALM)?;
        self.all_resolved("after the storm")?;
        // The cluster works as if nothing had been.
        let committed = self.tally.committed;
        let inside = self.inside();
        for at in inside.iter().copied() {
            self.ask(at, false)?;
            self.ask(at, true)?;
        }
        self.calm(self.now + Duration::from_secs(1))?;
        self.all_resolved("in the calm")?;
        if self.tally.committed != committed + inside.len() {
            return Err("liveness: a proposal failed in the calm".into());
        }
        let leaders: Vec<NodeId> = self
            .members
            .iter()
            .filter(|m| m.raft().is_some_and(Raft::is_leader))
            .map(Member::id)
            .collect();
        if leaders.len() != 1 {
            return Err(format!("liveness: {leaders:?} lead in the calm"));
        }
        if self.members.iter().any(|m| m.replica().is_some_and(|replica| replica.views() > 0)) {
            return Err("a view is kept that no transfer needs".into());
        }
        let last = self.properties.commit();
        for member in inside.iter().map(|at| &self.members[*at]) {
            if member.raft().is_some_and(Raft::needs_snapshot) {
                return Err(format!("liveness: {} has no state in the calm", member.id()));
            }
            if member
                .raft()
                .is_none_or(|raft| raft.commit() != last || raft.log().last_index() != last)
            {
                return Err(format!("liveness: {} lags behind {last} in the calm", member.id()));
            }
        }
        Ok(())
    }

    fn all_resolved(&mut self, when: &str) -> Result<(), String> {
        // Who takes no part may wait for ever.
        let inside: Vec<NodeId> =
            self.inside().into_iter().map(|at| self.members[at].id()).collect();
        self.asked.retain(|(node, _), _| inside.contains(node));
        if let Some(at) = self.damaged.filter(|at| !self.is_whole(*at)) {
            return Err(format!("liveness: {} was not taken in again", self.members[at].id()));
        }
        match self.asked.first_key_value() {
            Some(((node, id), _)) => Err(format!(
                "liveness: {} requests, {id} of {node} first, are unanswered {when}",
                self.asked.len()
            )),
            None => Ok(()),
        }
    }
}
