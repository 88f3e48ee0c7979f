//! The leader of all three phases.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::quorum::{majority, reached_by_majority};
use quorate_core::{NodeId, Out};

use super::{
    Change, Config, Epoch, Message, Record, Role, Timer, Transaction, Zab, Zxid, broadcast,
};

impl Zab {
    /// No word from a leader for too long: stands.
    pub(super) fn stand(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let promised = self.durable.promised;
        self.role = Role::Standing(BTreeMap::from([(config.me, promised)]));
        broadcast(config, &Message::Stand(promised), out);
        out.arm(Timer::Patience, config.patience.clone());
    }

    /// Phase 1: a follower.
    pub(super) fn on_cepoch(
        &mut self,
        config: &Config,
        from: NodeId,
        promised: Epoch,
        out: &mut Out<'_, Self>,
    ) {
        let epoch = self.durable.promised;
        match &mut self.role {
            Role::Standing(promises) => {
                promises.insert(from, promised);
                if promises.len() >= majority(config.nodes.len()) {
                    let newest = promises.values().max().copied().unwrap_or_default();
                    self.discover(config, Epoch(newest.0 + 1), out);
                }
            }
            // Phase 3: a latecomer goes through the first two phases by itself.
            Role::Broadcasting(_) if promised > epoch => self.stand(config, out),
            Role::Broadcasting(_) if promised < epoch => out.send(from, Message::NewEpoch(epoch)),
            Role::Broadcasting(_) => {
                out.send(from, Message::NewLeader(epoch, self.durable.history.clone()));
            }
            _ => {}
        }
    }

    /// Phase 1: an epoch later than any that a majority has promised.
    fn discover(&mut self, config: &Config, epoch: Epoch, out: &mut Out<'_, Self>) {
        self.durable.promised = epoch;
        out.persist(Record::Promised(epoch));
        let own = (self.durable.acknowledged, self.durable.history.clone());
        self.role = Role::Discovering(BTreeMap::from([(config.me, own)]));
        broadcast(config, &Message::NewEpoch(epoch), out);
    }

    /// Phase 1: a follower has promised the epoch, and tells what it has.
    pub(super) fn on_ack_epoch(
        &mut self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        has: (Epoch, Vec<Transaction>),
        out: &mut Out<'_, Self>,
    ) {
        if epoch != self.durable.promised {
            return;
        }
        match &mut self.role {
            Role::Discovering(told) => {
                told.insert(from, has);
                if told.len() >= majority(config.nodes.len()) {
                    self.synchronise(config, out);
                }
            }
            Role::Synchronising(_) | Role::Broadcasting(_) => {
                out.send(from, Message::NewLeader(epoch, self.durable.history.clone()));
            }
            _ => {}
        }
    }

    /// Phase 2: the epoch begins with the history of whoever has acknowledged the newest leader, and of those has the most.
    /// All that was ever committed is in it: some of this majority has acknowledged it.
    fn synchronise(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Discovering(told) = &mut self.role else { return };
        let told = std::mem::take(told);
        let followers: Vec<NodeId> =
            told.keys().copied().filter(|node| *node != config.me).collect();
        let newest = told.into_values().max_by_key(|(acknowledged, history)| {
            (*acknowledged, history.last().map(|transaction| transaction.0))
        });
        if let Some((_, history)) = newest
            && !config.mutants.has("keeps_its_own_history")
        {
            self.durable.history = history;
        }
        let epoch = self.durable.promised;
        self.durable.acknowledged = epoch;
        let history = self.durable.history.clone();
        out.persist(Record::Acknowledged(epoch, history.clone()));
        self.role = Role::Synchronising(BTreeSet::from([config.me]));
        for follower in followers {
            out.send(follower, Message::NewLeader(epoch, history.clone()));
        }
    }

    /// Phases 2 and 3: a follower has all up to here.
    pub(super) fn on_ack(
        &mut self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        upto: Zxid,
        out: &mut Out<'_, Self>,
    ) {
        if epoch != self.durable.promised {
            return;
        }
        match &mut self.role {
            Role::Synchronising(followers) => {
                followers.insert(from);
                if followers.len() >= majority(config.nodes.len()) {
                    let start = self.durable.last();
                    let reached = followers.iter().map(|node| (*node, start)).collect();
                    self.role = Role::Broadcasting(reached);
                    out.disarm(Timer::Patience);
                    self.commit(config, start, out);
                    for change in self.awaited().collect::<Vec<_>>() {
                        self.propose(config, change, out);
                    }
                }
            }
            Role::Broadcasting(reached) => {
                let before = reached.entry(from).or_default();
                *before = upto.max(*before);
                self.count(config, out);
            }
            _ => {}
        }
    }

    /// Phase 3: proposes a change, unless that was done.
    pub(super) fn propose(&mut self, config: &Config, change: Change, out: &mut Out<'_, Self>) {
        if self.has(change) {
            return;
        }
        let Role::Broadcasting(reached) = &mut self.role else { return };
        let epoch = self.durable.promised;
        let Zxid(last_epoch, last) = self.durable.last();
        let counter = if last_epoch == epoch { last + 1 } else { 1 };
        let transaction = Transaction(Zxid(epoch, counter), change);
        reached.insert(config.me, transaction.0);
        self.durable.history.push(transaction);
        out.persist(Record::Accepted(transaction));
        broadcast(config, &Message::Propose(epoch, transaction), out);
        if config.mutants.has("delivers_what_it_proposes") {
            self.deliver(transaction.0, out);
        }
    }

    /// Phase 3: commits what a majority has. That may be of an earlier epoch: whoever acknowledges has acknowledged this
    /// leader before, and any later one prefers its history to those of earlier epochs.
    fn count(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        let Role::Broadcasting(reached) = &self.role else { return };
        let mut all: Vec<Zxid> = config
            .nodes
            .iter()
            .map(|node| reached.get(node).copied().unwrap_or_default())
            .collect();
        let by_majority = reached_by_majority(&mut all);
        if by_majority > self.committed {
            self.commit(config, by_majority, out);
        }
    }

    fn commit(&mut self, config: &Config, upto: Zxid, out: &mut Out<'_, Self>) {
        self.deliver(upto, out);
        broadcast(config, &Message::Commit(self.durable.promised, upto), out);
    }

    /// Says again what may have been lost.
    pub(super) fn say_again(&mut self, config: &Config, out: &mut Out<'_, Self>) {
        for change in self.awaited().collect::<Vec<_>>() {
            self.put(config, change, out);
        }
        let Role::Broadcasting(reached) = &self.role else { return };
        let epoch = self.durable.promised;
        for (follower, has) in reached.iter().filter(|(node, _)| **node != config.me) {
            let lacks = self.durable.history.iter().filter(|transaction| transaction.0 > *has);
            for transaction in lacks.filter(|_| !config.mutants.has("proposes_once")) {
                out.send(*follower, Message::Propose(epoch, *transaction));
            }
        }
        broadcast(config, &Message::Commit(epoch, self.committed), out);
    }
}
