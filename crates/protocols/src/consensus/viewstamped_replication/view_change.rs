//! View changes (section 4.2): f + 1 replicas tell the next primary what they know, and it begins with the newest of it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{NodeId, Out};

use super::{Config, Known, Message, Replica, Status, Timer, View, Vote, broadcast};

/// What was heard of the view that a replica is on its way to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Votes {
    /// Who else is on its way.
    on_the_way: BTreeSet<NodeId>,
    /// At its primary: what others know.
    told: BTreeMap<NodeId, Vote>,
    has_told: bool,
}

impl Replica {
    pub(super) fn on_suspicion(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let takes_part =
            self.status != Status::Recovering || config.mutants.has("recovering_replica_votes");
        if takes_part && !self.is_primary(config) {
            self.start_view_change(config, View(self.view.0 + 1), out);
        }
    }

    /// Step 1.
    pub(super) fn start_view_change(
        &mut self,
        config: &Config,
        view: View,
        out: &mut Out<'_, Self>,
    ) {
        self.advance(config, view, out);
        self.status = Status::ViewChange;
        self.votes = Votes::default();
        out.disarm(Timer::Heartbeat);
        out.arm(Timer::Suspect, config.patience.clone());
        broadcast(config, &Message::StartViewChange(view), out);
    }

    /// Joins a view change of which it hears, and says whether it is part of that one.
    fn joins(&mut self, config: &Config, view: View, out: &mut Out<'_, Self>) -> bool {
        // Section 4.3: who recovers doesn't know what it once vouched for, and would vouch for its absence.
        let is_out =
            self.status == Status::Recovering && !config.mutants.has("recovering_replica_votes");
        if is_out || view < self.view {
            return false;
        }
        if view > self.view {
            self.start_view_change(config, view, out);
        }
        self.status == Status::ViewChange
    }

    /// Step 2.
    pub(super) fn on_start_view_change(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        out: &mut Out<'_, Self>,
    ) {
        if !self.joins(config, view, out) {
            return;
        }
        self.votes.on_the_way.insert(from);
        if self.votes.has_told || self.votes.on_the_way.len() + 1 < config.quorum() {
            return;
        }
        self.votes.has_told = true;
        let vote = Vote { last_normal: self.last_normal, known: self.known() };
        let primary = config.primary(view);
        if primary == config.me {
            self.on_do_view_change(config, primary, view, vote, out);
        } else {
            out.send(primary, Message::DoViewChange(view, vote));
        }
    }

    /// Step 3.
    pub(super) fn on_do_view_change(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        vote: Vote,
        out: &mut Out<'_, Self>,
    ) {
        if config.primary(view) != config.me || !self.joins(config, view, out) {
            return;
        }
        self.votes.told.insert(from, vote);
        if self.votes.told.len() < config.quorum() {
            return;
        }
        let told = std::mem::take(&mut self.votes.told);
        let commit = told.values().map(|vote| vote.known.commit).max().unwrap_or_default();
        // What was committed is in the log of one of any f + 1; of the logs of the latest view the longest has all of it. A
        // log of an earlier view may be longer, with what was never committed.
        let newest = told.into_values().max_by_key(|vote| {
            let is_view_ignored = config.mutants.has("takes_the_longest_log");
            (if is_view_ignored { View(0) } else { vote.last_normal }, vote.known.log.len())
        });
        let Some(Vote { known: Known { log, .. }, .. }) = newest else { return };
        self.enter(config, view, Known { log, commit }, out);
        broadcast(config, &Message::StartView(view, self.known()), out);
    }

    /// Step 5.
    pub(super) fn on_start_view(
        &mut self,
        config: &Config,
        from: NodeId,
        view: View,
        known: Known,
        out: &mut Out<'_, Self>,
    ) {
        let is_news = view > self.view || (view == self.view && self.status == Status::ViewChange);
        if self.status == Status::Recovering || !is_news || config.primary(view) != from {
            return;
        }
        self.enter(config, view, known, out);
        if self.commit < self.op_number() {
            out.send(from, Message::PrepareOk(view, self.op_number()));
        }
    }
}
